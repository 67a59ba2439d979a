package stories_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// Each row is a way to answer. Whatever it is, the cookies are on the final
// header, once, and nothing that carries them is for a cache.
func TestSwapOnTheWire(t *testing.T) {
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
		"a reverse proxy": {apptest.Backend(t), 200, 1},
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
					a := apptest.New(t, stytchtest.Config{InProcess: true})
					got, early := apptest.FetchPage(t, a.Site(t, http2, row.handler), method)
					require.NotNil(t, got)
					assert.Equal(t, protocol, got.Proto)
					assert.Equal(t, row.status, got.StatusCode)
					assert.Equal(t, "+stytch_session +stytch_session_jwt -sid", apptest.SetCookieNames(got.Header))
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

// A handler that panics loses nobody: the next request has the same session.
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
		assert.Equal(t, "+stytch_session +stytch_session_jwt -sid", apptest.SetCookieNames(got.Header))
		assert.Equal(t, a.Stytch.Sessions()[0].Token, got.Cookies()[0].Value)
		assert.Equal(t, 1, a.Stytch.Count("migrate"))
	}
}

// A connection that the handler takes over is its own.
func TestHijack(t *testing.T) {
	for name, upgrade := range map[string]string{"an upgrade": "\r\nConnection: Upgrade\r\nUpgrade: chat", "out of the blue": ""} {
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

// plain is a ResponseWriter that can nothing more; its inner one flushes.
type plain struct {
	http.ResponseWriter
	inner http.ResponseWriter
}

func (p plain) Unwrap() http.ResponseWriter { return p.inner }

// three hides everything of a ResponseWriter but its three methods.
type three struct{ http.ResponseWriter }

// Where nothing is to be written the handler has the server's own writer.
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

// A wrapped response can what the server's own can, no more and no less.
func TestWrappedResponseKeepsItsInterfaces(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		a := apptest.New(t, stytchtest.Config{InProcess: true})
		kinds := func(w http.ResponseWriter) string {
			_, flush := w.(http.Flusher)
			_, flushError := w.(interface{ FlushError() error })
			_, hijack := w.(http.Hijacker)
			_, read := w.(io.ReaderFrom)
			_, push := w.(http.Pusher)
			_, str := w.(io.StringWriter)
			return fmt.Sprint(flush, flushError, hijack, read, push, str)
		}
		var own, wrapped string
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			own = kinds(w)
			a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { wrapped = kinds(w) })).ServeHTTP(w, r)
		}))
		s.EnableHTTP2, s.TLS = http2, &tls.Config{MinVersion: tls.VersionTLS12}
		s.StartTLS()
		defer s.Close()
		got, _ := apptest.FetchPage(t, s, http.MethodGet)
		require.Len(t, got.Cookies(), 3)
		assert.Equal(t, own, wrapped)
	}
	three := three{httptest.NewRecorder()}
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
		r.Header.Set("Cookie", "sid=ada-1")
		a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, flushes := w.(http.Flusher)
			assert.False(t, flushes)
			assert.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
		})).ServeHTTP(three, r)
	})
}

// A middleware outside may leave flushing to the writer inside its own, or flush itself.
func TestFlushThroughAWriterThatUnwraps(t *testing.T) {
	for _, flushes := range []bool{false, true} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			rec := httptest.NewRecorder()
			var outer http.ResponseWriter = plain{three{rec}, rec}
			if flushes {
				outer = struct {
					plain
					http.Flusher
				}{plain{three{rec}, rec}, rec}
			}
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, can := w.(http.Flusher)
				assert.Equal(t, flushes, can)
				assert.NoError(t, http.NewResponseController(w).Flush())
			})).ServeHTTP(outer, r)
			assert.True(t, rec.Flushed)
			assert.Len(t, rec.Result().Cookies(), 3)
		})
	}
}

// able is such a writer that does all else itself.
type able struct {
	plain
	did *[]string
}

func (a able) does(what string) { *a.did = append(*a.did, what) }

func (a able) Hijack() (net.Conn, *bufio.ReadWriter, error) { a.does("hijack"); return nil, nil, nil }

func (a able) Push(target string, _ *http.PushOptions) error { a.does("push " + target); return nil }

func (a able) ReadFrom(src io.Reader) (int64, error) {
	a.does("read from")
	return io.Copy(a.plain, src)
}

// Such a writer goes on to be asked for what it does itself, by a handler that
// knows of no ResponseController; and one that can't is not said to.
func TestAWriterThatOnlyUnwrapsKeepsTheRest(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		serve := func(w http.ResponseWriter, h http.HandlerFunc) {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			a.Middleware.Handler(h).ServeHTTP(w, r)
		}
		var did []string
		rec := httptest.NewRecorder()
		serve(able{plain{three{rec}, rec}, &did}, func(w http.ResponseWriter, _ *http.Request) {
			_, _, err := w.(http.Hijacker).Hijack()
			assert.NoError(t, err)
			assert.NoError(t, w.(http.Pusher).Push("/style.css", nil))
			_, err = io.Copy(w, io.LimitReader(zeros{}, 4))
			assert.NoError(t, err)
		})
		assert.Equal(t, []string{"hijack", "push /style.css", "read from"}, did)
		assert.Len(t, rec.Result().Cookies(), 3)

		rec = httptest.NewRecorder()
		serve(plain{three{rec}, rec}, func(w http.ResponseWriter, _ *http.Request) {
			assert.NotImplements(t, (*http.Hijacker)(nil), w)
			if p, ok := w.(http.Pusher); ok {
				assert.ErrorIs(t, p.Push("/style.css", nil), http.ErrNotSupported)
			}
			_, err := io.Copy(w, io.LimitReader(zeros{}, 4))
			assert.NoError(t, err)
		})
		assert.Equal(t, 4, rec.Body.Len())
		assert.Len(t, rec.Result().Cookies(), 3)
	})
}
