package apptest

import (
	"context"
	"fmt"
	"io"
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

// Visit sends a request with the legacy cookie of ada, and returns the final
// response, its body read, and the informational ones before it.
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

func SetCookieNames(h http.Header) string {
	rec := httptest.NewRecorder()
	rec.Header()["Set-Cookie"] = h["Set-Cookie"]
	return strings.Join((&Reply{ResponseRecorder: rec}).Cookies(), " ")
}

// Backend is an application of its own that sends hints before a page in parts.
func ReverseProxy(t *testing.T) http.Handler {
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
