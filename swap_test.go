package stytchmigrate_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// site serves h behind the middleware over TLS, by HTTP/1.1 or HTTP/2.
func (a *app) site(t *testing.T, http2 bool, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(a.m.Handler(h))
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// visit sends a request with the legacy cookie of ada, and returns the final
// response, its body read, and the informational ones before it.
func fetchPage(t *testing.T, s *httptest.Server, method string) (final *http.Response, early []textproto.MIMEHeader) {
	t.Helper()
	ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { early = append(early, h); return nil },
	})
	r, err := http.NewRequestWithContext(ctx, method, s.URL, nil)
	require.NoError(t, err)
	r.Host = "app.example.com"
	r.Header.Set("Cookie", "sid=ada-1")
	final, err = s.Client().Do(r)
	if err != nil {
		return nil, early
	}
	defer final.Body.Close()
	_, _ = io.Copy(io.Discard, final.Body)
	return final, early
}

func names(h http.Header) string {
	rec := httptest.NewRecorder()
	rec.Header()["Set-Cookie"] = h["Set-Cookie"]
	return strings.Join((&reply{ResponseRecorder: rec}).cookies(), " ")
}

// backend is an application of its own that sends hints before a page in parts.
func backend(t *testing.T) http.Handler {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload; as=style")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Cache-Control", "public")
		for range 5 {
			fmt.Fprint(w, "part ")
			w.(http.Flusher).Flush()
		}
	}))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.FlushInterval = time.Microsecond
	return proxy
}

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
		"a reverse proxy": {backend(t), 200, 1},
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
					a := newApp(t, stytchtest.Config{InProcess: true})
					got, early := fetchPage(t, a.site(t, http2, row.handler), method)
					require.NotNil(t, got)
					assert.Equal(t, protocol, got.Proto)
					assert.Equal(t, row.status, got.StatusCode)
					assert.Equal(t, "+stytch_session +stytch_session_jwt -sid", names(got.Header))
					obeys(t, "app.example.com", got.Header)
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
		a := newApp(t, stytchtest.Config{InProcess: true})
		broken := true
		s := a.site(t, http2, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			if broken {
				panic("a bug of the application")
			}
		}))
		got, _ := fetchPage(t, s, http.MethodGet)
		assert.Nil(t, got)
		broken = false
		got, _ = fetchPage(t, s, http.MethodGet)
		require.NotNil(t, got)
		assert.Equal(t, "+stytch_session +stytch_session_jwt -sid", names(got.Header))
		assert.Equal(t, a.stytch.Sessions()[0].Token, got.Cookies()[0].Value)
		assert.Equal(t, 1, a.stytch.Count("migrate"))
	}
}

// A connection that the handler takes over is its own.
func TestHijack(t *testing.T) {
	for name, upgrade := range map[string]string{"an upgrade": "\r\nConnection: Upgrade\r\nUpgrade: chat", "out of the blue": ""} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, stytchtest.Config{InProcess: true})
			s := httptest.NewServer(a.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if assert.NoError(t, err) {
					fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\n\r\n")
					conn.Close()
				}
			})))
			defer s.Close()
			got := raw(t, s, "GET / HTTP/1.1\r\nHost: app.example.com\r\nCookie: sid=ada-1"+upgrade)
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
	inBubble(t, func(t *testing.T, a *app) {
		var got http.ResponseWriter
		serve := func(cookies string) http.ResponseWriter {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
			r.Header.Set("Cookie", cookies)
			a.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { got = w })).ServeHTTP(w, r)
			return w
		}
		cookies, _ := a.signedIn(a.ada)
		for _, c := range []string{"", "theme=dark", "sid=nobody", cookies} {
			assert.Same(t, serve(c), got, c)
		}
		assert.NotSame(t, serve("sid=ada-1"), got)
	})
}

// A wrapped response can what the server's own can, no more and no less.
func TestWrappedResponseKeepsItsInterfaces(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		a := newApp(t, stytchtest.Config{InProcess: true})
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
			a.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { wrapped = kinds(w) })).ServeHTTP(w, r)
		}))
		s.EnableHTTP2, s.TLS = http2, &tls.Config{MinVersion: tls.VersionTLS12}
		s.StartTLS()
		defer s.Close()
		got, _ := fetchPage(t, s, http.MethodGet)
		require.Len(t, got.Cookies(), 3)
		assert.Equal(t, own, wrapped)
	}
	three := three{httptest.NewRecorder()}
	inBubble(t, func(t *testing.T, a *app) {
		r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
		r.Header.Set("Cookie", "sid=ada-1")
		a.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, flushes := w.(http.Flusher)
			assert.False(t, flushes)
			assert.ErrorIs(t, http.NewResponseController(w).Flush(), http.ErrNotSupported)
		})).ServeHTTP(three, r)
	})
}

// A middleware outside may leave flushing to the writer inside its own, or flush itself.
func TestFlushThroughAWriterThatUnwraps(t *testing.T) {
	for _, flushes := range []bool{false, true} {
		inBubble(t, func(t *testing.T, a *app) {
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
			a.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
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
	inBubble(t, func(t *testing.T, a *app) {
		serve := func(w http.ResponseWriter, h http.HandlerFunc) {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			a.m.Handler(h).ServeHTTP(w, r)
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
