package writers

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func declaresTrailer(v *visit) {
	v.trailed(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		page(w, r)
		w.Header().Set("X-Sum", "1")
	})
}

func addsTrailer(v *visit) {
	v.trailed(func(w http.ResponseWriter, r *http.Request) {
		page(w, r)
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
	})
}

// trailed is that a trailer arrives, and no cookie in it.
func (v *visit) trailed(h http.HandlerFunc) {
	v.t.Helper()
	v.serve(h)
	got := v.get()
	assert.Equal(v.t, v.wants("200 "+v.page()), v.told(got))
	assert.Equal(v.t, http.Header{"X-Sum": {"1"}}, got.Trailer)
	v.comesBack(true)
}

// hinted answers with two informational headers before the final one.
func hinted(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public")
	w.Header().Set("Link", "</a.css>; rel=preload; as=style")
	w.WriteHeader(http.StatusEarlyHints)
	w.WriteHeader(http.StatusProcessing)
	_, _ = io.WriteString(w, "page")
}

func sendsHints(v *visit) {
	v.serve(hinted)
	v.isHinted()
}

func hintsInside(v *visit) {
	v.serveProxied(hinted)
	v.isHinted()
}

// isHinted is that hints arrive as they were sent, and the cookies after them.
func (v *visit) isHinted() {
	v.t.Helper()
	var early []string
	got := v.do(traced(v.request(http.MethodGet, "/", nil), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			early = append(early, fmt.Sprint(code, h["Link"], h["Set-Cookie"], []string{h.Get("Cache-Control")}))
			return nil
		},
	}))
	assert.Equal(v.t, v.wants("200 page"), v.told(got))
	link := "[</a.css>; rel=preload; as=style] [] [public]"
	assert.Equal(v.t, []string{"103 " + link, "102 " + link}, early)
	v.comesBack(true)
}

func traced(r *http.Request, trace *httptrace.ClientTrace) *http.Request {
	return r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
}

// echo sends back what it is sent.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Cache-Control", "public")
	_, _ = w.Write(body)
}

func continues(v *visit) {
	v.serve(echo)
	v.isContinued()
}

func continuesInside(v *visit) {
	v.serveProxied(echo)
	v.isContinued()
}

func continuesOutside(v *visit) {
	v.serve(echo)
	v.url = newServer(v.t, newProxy(v.t, v.url)).URL
	v.isContinued()
}

// neverContinues is that a body which the handler does not want is not sent.
func neverContinues(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) { http.Error(w, who(r), http.StatusForbidden) })
	body := strings.NewReader("a body")
	r := v.request(http.MethodPost, "/", body)
	r.Header.Set("Expect", "100-continue")
	got := v.do(r)
	assert.Equal(v.t, http.StatusForbidden, got.StatusCode)
	assert.Equal(v.t, v.wants("403 -"), v.headed(got, ""))
	assert.Equal(v.t, len("a body"), body.Len())
	v.comesBack(true)
}

// isContinued is that a client which waits for leave to send its body gets that.
func (v *visit) isContinued() {
	v.t.Helper()
	var allowed atomic.Bool
	r := v.request(http.MethodPost, "/", strings.NewReader("a body"))
	r.Header.Set("Expect", "100-continue")
	r = traced(r, &httptrace.ClientTrace{Got100Continue: func() { allowed.Store(true) }})
	assert.Equal(v.t, v.wants("200 a body"), v.told(v.do(r)))
	assert.True(v.t, allowed.Load())
	v.comesBack(true)
}

// serveProxied has h behind a proxy that is behind the middleware.
func (v *visit) serveProxied(h http.HandlerFunc) {
	v.t.Helper()
	proxy := newProxy(v.t, newServer(v.t, h).URL)
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Del("Cache-Control") // the backend sets its own
		proxy.ServeHTTP(w, r)
	})
}

func newServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// newProxy passes each byte on as it comes.
func newProxy(t *testing.T, backend string) http.Handler {
	t.Helper()
	u, err := url.Parse(backend)
	require.NoError(t, err)
	transport := &http.Transport{ExpectContinueTimeout: patience}
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Transport: transport, ErrorLog: log.New(io.Discard, "", 0), FlushInterval: time.Microsecond,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.Out.Host = r.In.Host
		},
	}
}
