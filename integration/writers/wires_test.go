package writers

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// wire is a version of HTTP, and how it is carried.
type wire struct {
	name      string
	proto     string // what responses say
	start     func(*httptest.Server)
	transport func(t *testing.T, s *httptest.Server) http.RoundTripper
}

var (
	http10 = wire{"HTTP/1.0", "HTTP/1.0", (*httptest.Server).Start, func(*testing.T, *httptest.Server) http.RoundTripper { return oldest{} }}
	http11 = wire{"HTTP/1.1", "HTTP/1.1", (*httptest.Server).Start, own}
	https  = wire{"HTTPS", "HTTP/1.1", (*httptest.Server).StartTLS, own}
	h2     = wire{"h2", "HTTP/2.0", startHTTP2, own}
	h2c    = wire{"h2c", "HTTP/2.0", startUnencrypted, unencrypted}
)

// A handler that streams, answers in parts or is answered to needs some of these.
var (
	everyWire = []wire{http10, http11, https, h2, h2c}
	since11   = []wire{http11, https, h2, h2c}
	before2   = []wire{http11, https}
	since2    = []wire{h2, h2c}
)

func own(_ *testing.T, s *httptest.Server) http.RoundTripper {
	transport := s.Client().Transport.(*http.Transport)
	transport.ExpectContinueTimeout = patience
	return transport
}

func startHTTP2(s *httptest.Server) {
	s.EnableHTTP2 = true
	s.StartTLS()
}

func startUnencrypted(s *httptest.Server) {
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
}

func unencrypted(t *testing.T, _ *httptest.Server) http.RoundTripper {
	transport := &http.Transport{Protocols: new(http.Protocols), ExpectContinueTimeout: patience}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// open serves h. It says nothing of handlers that panic.
func (w wire) open(t *testing.T, h http.Handler) (url string, client *http.Client) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.start(s)
	t.Cleanup(s.Close)
	return s.URL, &http.Client{Transport: w.transport(t, s), CheckRedirect: stay}
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// oldest sends requests without a body by HTTP/1.0, which http.Transport does not.
type oldest struct{}

func (oldest) RoundTrip(r *http.Request) (*http.Response, error) {
	conn, err := (&net.Dialer{}).DialContext(r.Context(), "tcp", r.URL.Host)
	if err != nil {
		return nil, err
	}
	deadline, _ := r.Context().Deadline()
	_ = conn.SetDeadline(deadline)
	fmt.Fprintf(conn, "%s %s HTTP/1.0\r\nHost: %s\r\n", r.Method, r.URL.RequestURI(), r.URL.Host)
	_ = r.Header.Write(conn)
	_, _ = io.WriteString(conn, "\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), r)
	if err != nil {
		conn.Close()
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{resp.Body, conn}
	return resp, nil
}
