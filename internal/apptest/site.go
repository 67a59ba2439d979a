package apptest

import (
	"bufio"
	"context"
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

	"github.com/stretchr/testify/require"
)

// Site serves h behind the middleware over TLS, by HTTP/1.1 or HTTP/2.
func (a *App) Site(t *testing.T, http2 bool, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(a.Middleware.Handler(h))
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// FetchPage sends a request with a legacy cookie of ada's. It returns the final
// response with its body read, nil if the connection broke off, and the headers
// of the 1xx responses before it.
func FetchPage(t *testing.T, s *httptest.Server, method string) (final *http.Response, early []textproto.MIMEHeader) {
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

// SetCookieNames is Reply.Cookies of a response that came over a socket.
func SetCookieNames(h http.Header) string {
	rec := httptest.NewRecorder()
	rec.Header()["Set-Cookie"] = h["Set-Cookie"]
	return strings.Join((&Reply{ResponseRecorder: rec}).Cookies(), " ")
}

// RawRequest sends the lines of a request over a socket as they are, for headers
// that net/http's client refuses to send.
func RawRequest(t *testing.T, s *httptest.Server, head string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	go func() { _, _ = conn.Write([]byte(head + "\r\nConnection: close\r\n\r\n")) }() // the server may answer before the end
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	return resp
}

// ReverseProxy is a proxy to a server that sends early hints before a page in
// several parts.
func ReverseProxy(t *testing.T) http.Handler {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(pageInParts))
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.FlushInterval = time.Microsecond
	return proxy
}

func pageInParts(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Link", "</style.css>; rel=preload; as=style")
	w.WriteHeader(http.StatusEarlyHints)
	w.Header().Set("Cache-Control", "public")
	for range 5 {
		fmt.Fprint(w, "part ")
		w.(http.Flusher).Flush()
	}
}
