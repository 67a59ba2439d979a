package stories_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// A browser asks for a page with a legacy cookie, over a socket, by HTTP/1.1 and by
// HTTP/2. The handler may answer in every way that net/http knows, panic, or take the
// connection over. What the browser gets is all that counts here.

// Each row is a way to answer. In all of them the cookies are on the final header,
// once, and no cache may keep the response.
func TestCookiesOnTheWire(t *testing.T) {
	handle := func(f func(w http.ResponseWriter, rc *http.ResponseController)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { f(w, http.NewResponseController(w)) })
	}
	type w = http.ResponseWriter
	type rc = *http.ResponseController
	for name, row := range map[string]struct {
		handler http.Handler
		status  int
		early   int
	}{
		"nothing written":     {handle(func(w w, _ rc) {}), 200, 0},
		"write":               {handle(func(w w, _ rc) { fmt.Fprint(w, "a"); fmt.Fprint(w, "b") }), 200, 0},
		"write a string":      {handle(func(w w, _ rc) { _, _ = io.WriteString(w, "page") }), 200, 0},
		"read from":           {handle(func(w w, _ rc) { _, _ = io.Copy(w, io.LimitReader(zeros{}, 1<<17)) }), 200, 0},
		"flush":               {handle(func(w w, _ rc) { w.(http.Flusher).Flush(); fmt.Fprint(w, "page") }), 200, 0},
		"flush by controller": {handle(func(w w, rc rc) { _ = rc.Flush(); fmt.Fprint(w, "page") }), 200, 0},
		"no content":          {handle(func(w w, _ rc) { w.WriteHeader(204) }), 204, 0},
		"not modified":        {handle(func(w w, _ rc) { w.Header().Set("Etag", `"1"`); w.WriteHeader(304) }), 304, 0},
		"an error":            {handle(func(w w, _ rc) { http.Error(w, "no", 500) }), 500, 0},
		"a status twice":      {handle(func(w w, _ rc) { w.WriteHeader(201); w.WriteHeader(202) }), 201, 0},
		"cacheable": {handle(func(w w, _ rc) {
			w.Header().Set("Cache-Control", "public, max-age=600")
			w.Header()["cdn-cache-control"] = []string{"max-age=600"}
			w.Header().Set("Surrogate-Control", "max-age=600")
			w.Header().Set("X-Accel-Expires", "600")
			fmt.Fprint(w, "page")
		}), 200, 0},
		"early hints": {handle(func(w w, _ rc) {
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(103)
			w.WriteHeader(103)
			fmt.Fprint(w, "page")
		}), 200, 2},
		"a reverse proxy": {apptest.ReverseProxy(t), 200, 1},
		"deadlines and trailer": {handle(func(w w, rc rc) {
			assert.NoError(t, rc.SetWriteDeadline(time.Now().Add(time.Minute)))
			w.Header().Set("Trailer", "X-Sum")
			fmt.Fprint(w, "page")
			w.Header().Set("X-Sum", "1")
		}), 200, 0},
	} {
		for protocol, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				t.Run(name+" "+method+" "+protocol, func(t *testing.T) {
					t.Parallel()
					a := apptest.New(t, stytchtest.Config{InProcess: true})
					got, early := apptest.FetchPage(t, a.Site(t, http2, row.handler), method)
					require.NotNil(t, got)
					assert.Equal(t, protocol, got.Proto)
					assert.Equal(t, row.status, got.StatusCode)
					assert.Equal(t, "+stytch_session +stytch_session_jwt", apptest.SetCookieNames(got.Header))
					apptest.RequireValidCookies(t, "app.example.com", got.Header)
					assert.Len(t, early, row.early)
					for _, h := range early {
						assert.Empty(t, h["Set-Cookie"], "cookies before the final header")
					}
				})
			}
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A handler that panics signs no user out: the next request has the same session.
func TestPanicAfterTheExchange(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		a := apptest.New(t, stytchtest.Config{InProcess: true})
		broken := true
		s := a.Site(t, http2, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if broken {
				panic("a bug of the application")
			}
		}))
		got, _ := apptest.FetchPage(t, s, http.MethodGet)
		assert.Nil(t, got)
		broken = false
		got, _ = apptest.FetchPage(t, s, http.MethodGet)
		require.NotNil(t, got)
		assert.Equal(t, "+stytch_session +stytch_session_jwt", apptest.SetCookieNames(got.Header))
		assert.Equal(t, a.Stytch.Sessions()[0].Token, got.Cookies()[0].Value)
		assert.Equal(t, 1, a.Stytch.Count("migrate"))
	}
}

// A connection that the handler takes over is its own.
func TestHijack(t *testing.T) {
	for name, upgrade := range map[string]string{"an upgrade": "\r\nConnection: Upgrade\r\nUpgrade: chat", "without an upgrade": ""} {
		t.Run(name, func(t *testing.T) {
			a := apptest.New(t, stytchtest.Config{InProcess: true})
			s := httptest.NewServer(a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if assert.NoError(t, err) {
					fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\n")
					conn.Close()
				}
			})))
			defer s.Close()
			got := apptest.RawRequest(t, s, "GET / HTTP/1.1\r\nHost: app.example.com\r\nCookie: sid=ada-1"+upgrade)
			assert.Equal(t, 101, got.StatusCode)
			assert.Equal(t, http.Header{"Upgrade": {"chat"}}, got.Header)
		})
	}
}

// If no cookie is to be written, the handler gets the server's own writer.
func TestResponseIsWrappedOnlyToWrite(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var got http.ResponseWriter
		serve := func(cookies string) http.ResponseWriter {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
			r.Header.Set("Cookie", cookies)
			a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { got = w })).ServeHTTP(w, r)
			return w
		}
		cookies, _ := a.SignedIn(a.Ada)
		for _, c := range []string{"", "theme=dark", "sid=nobody", cookies} {
			assert.Same(t, serve(c), got, c)
		}
		assert.NotSame(t, serve("sid=ada-1"), got)
	})
}

// httputil.ReverseProxy flushes from another goroutine than the one that writes. The
// cookies are written once all the same.
func TestFlushFromAnotherGoroutine(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		a := apptest.New(t, stytchtest.Config{InProcess: true})
		s := a.Site(t, http2, apptest.ReverseProxy(t))
		for range 5 {
			got, _ := apptest.FetchPage(t, s, http.MethodGet)
			require.NotNil(t, got)
			assert.Equal(t, "+stytch_session +stytch_session_jwt", apptest.SetCookieNames(got.Header))
		}
	}
}

// net/http refuses some Cookie headers before the middleware sees them.
func TestRubbishCookieHeadersOverASocket(t *testing.T) {
	a := apptest.New(t, stytchtest.Config{})
	s := httptest.NewServer(a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Outcome", stytchmigrate.OutcomeFromContext(r.Context()).String())
	})))
	defer s.Close()
	for name, row := range map[string]struct {
		cookies string
		status  int
		outcome string
	}{
		"a session":                {"sid=ada-1", 200, "migrated"},
		"half a megabyte":          {"x=" + strings.Repeat("a", 1<<19) + "; sid=ada-1", 200, "migrated"},
		"more than a server reads": {"x=" + strings.Repeat("a", 2<<20), 431, ""},
		"NUL":                      {"sid=ada-1\x00", 400, ""},
		"not UTF-8":                {"sid=\xff\xfe", 200, "anonymous"},
		"a header of its own":      {"sid=a\r\nX-Other: 1", 200, "anonymous"},
		"two lines":                {"theme=dark\r\nCookie: sid=ada-1", 200, "migrated"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := apptest.RawRequest(t, s, "GET / HTTP/1.1\r\nHost: app.example.com\r\nCookie: "+row.cookies)
			defer resp.Body.Close()
			assert.Equal(t, row.status, resp.StatusCode)
			assert.Equal(t, row.outcome, resp.Header.Get("X-Outcome"))
			apptest.RequireValidCookies(t, "app.example.com", resp.Header)
			assert.Equal(t, row.outcome == "migrated", len(resp.Header["Set-Cookie"]) > 0)
		})
	}
}
