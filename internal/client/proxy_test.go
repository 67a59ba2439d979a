package client_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// refusingProxy answers each CONNECT with a status line, and returns its URL.
func refusingProxy(t *testing.T, statusLine string) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", statusLine)
			}
			conn.Close()
		}
	}()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

// Each row is the status line by which a proxy refuses, and what is said of it: by the
// package's own transport, and by one of the application's, of which net/http returns
// the words only. The words of a proxy are never quoted.
func TestProxyRefuses(t *testing.T) {
	const refuses, unknown = "the proxy refuses the connection", "transport failed (*errors.errorString)"
	for _, tt := range []struct{ line, own, application string }{
		{"407 Proxy Authentication Required", refuses + ": 407 Proxy Authentication Required", refuses + ": 407 Proxy Authentication Required"},
		{"403 Forbidden", refuses + ": 403 Forbidden", refuses + ": 403 Forbidden"},
		{"502 Bad gateway", refuses + ": 502 Bad Gateway", refuses + ": 502 Bad Gateway"},
		{"503 canary", refuses + ": 503 Service Unavailable", unknown},
		{"599 canary", refuses + ": 599", unknown},
		{"204 No Content", refuses + ": 204 No Content", refuses + ": 204 No Content"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			proxy := http.ProxyURL(refusingProxy(t, tt.line))
			useDefaultTransport(t, func(d *http.Transport) { d.Proxy = proxy })
			said := logOf(t, newClient(nil))
			assert.Contains(t, said, `"reason":"`+tt.own+`"`)
			assert.NotContains(t, said, "canary")

			said = logOf(t, newClient(&http.Client{Transport: &http.Transport{Proxy: proxy}}))
			assert.Contains(t, said, `"reason":"`+tt.application+`"`)
			assert.NotContains(t, said, "canary")
		})
	}
}

// Each row is an error of a transport of the application's.
func TestRefusalOfAProxyByItsError(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{errors.New("Forbidden"), "the proxy refuses the connection: 403 Forbidden"},
		{errors.New("Forbidden canary"), "transport failed (*errors.errorString)"},
		{errors.New("OK"), "transport failed (*errors.errorString)"},
		{errors.New(""), "transport failed (*errors.errorString)"},
		{fmt.Errorf("canary: %w", errors.New("Forbidden")), "transport failed (*fmt.wrapError)"},
		{&net.OpError{Op: "socks connect", Err: errors.New("canary")}, "the proxy refuses the connection (SOCKS)"},
		{&net.OpError{Op: "dial", Err: errors.New("canary")}, "transport failed (*net.OpError)"},
	} {
		assert.Contains(t, logOf(t, over(fail(tt.err))), `"reason":"`+tt.want+`"`)
	}
}

// useDefaultTransport changes the default transport for the time of a test.
func useDefaultTransport(t *testing.T, change func(*http.Transport)) {
	t.Helper()
	before := http.DefaultTransport
	changed := before.(*http.Transport).Clone()
	change(changed)
	http.DefaultTransport = changed
	t.Cleanup(func() { http.DefaultTransport = before })
}
