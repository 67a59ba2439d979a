package client_test

import (
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// certificate is self-signed, for a host and a time.
func certificate(t *testing.T, host string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mallory@example.com"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: until.Add(-time.Hour), NotAfter: until, DNSNames: []string{host}, EmailAddresses: []string{"mallory@example.com"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	if ip := net.ParseIP(host); ip != nil {
		c.DNSNames, c.IPAddresses = nil, []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// good is a Stytch that knows every session.
func good(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"user_id":"user-1"}`) }

// Each row is a certificate that a server in Stytch's place shows. It is no use to
// try again, and the log holds nothing that is written in the certificate.
func TestCertificate(t *testing.T) {
	soon := time.Now().Add(time.Minute)
	for name, row := range map[string]struct {
		cert    tls.Certificate
		trusted bool
		why     string
	}{
		"good":        {certificate(t, "127.0.0.1", soon), true, ""},
		"unknown":     {certificate(t, "127.0.0.1", soon), false, "certificate is signed by an unknown authority"},
		"other host":  {certificate(t, "mallory.example", soon), true, "certificate is for another host"},
		"other IP":    {certificate(t, "127.0.0.2", soon), true, "certificate is for another host"},
		"has expired": {certificate(t, "127.0.0.1", time.Now().Add(-time.Second)), true, "certificate has expired or is not valid yet"},
		"not yet":     {certificate(t, "127.0.0.1", soon.Add(2*time.Hour)), true, "certificate has expired or is not valid yet"},
	} {
		t.Run(name, func(t *testing.T) {
			var connections atomic.Int32
			srv := httptest.NewUnstartedServer(http.HandlerFunc(good))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					connections.Add(1)
				}
			}
			srv.TLS = &tls.Config{Certificates: []tls.Certificate{row.cert}}
			srv.StartTLS()
			t.Cleanup(srv.Close)
			roots := x509.NewCertPool()
			if row.trusted {
				leaf, err := x509.ParseCertificate(row.cert.Certificate[0])
				require.NoError(t, err)
				roots.AddCert(leaf)
			}
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
			t.Cleanup(transport.CloseIdleConnections)
			c := newClient(&http.Client{Transport: transport})
			c.Base = srv.URL
			err := migrate(t, c)
			assert.EqualValues(t, 1, connections.Load(), "tried once")
			if row.why == "" {
				assert.NoError(t, err)
				return
			}
			assert.EqualError(t, err, "stytchmigrate: migrate: "+row.why)
			said := logOf(t, c)
			assert.Contains(t, said, row.why)
			assert.NotContains(t, said, "mallory")
		})
	}
}

// A redirect would take the project's secret and the user's token to another host.
// What the application's client does with redirects, cookies and time does not count.
func TestOnlyTransportOfHTTPClient(t *testing.T) {
	var seen atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Empty(t, r.Header["Cookie"])
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
		}))
		t.Cleanup(srv.Close)
		c := newClient(&http.Client{Transport: srv.Client().Transport, Timeout: time.Nanosecond, Jar: jar{}})
		c.Base = srv.URL
		assert.EqualError(t, migrate(t, c), fmt.Sprintf("stytch answered %d to migrate", status))
	}
	assert.Zero(t, seen.Load())
}

// jar has a cookie for every host.
type jar struct{}

func (jar) SetCookies(*url.URL, []*http.Cookie) {}
func (jar) Cookies(*url.URL) []*http.Cookie     { return []*http.Cookie{{Name: "a", Value: "b"}} }

// Without a client of the application's, the default transport is used. Programs that
// trace their calls put a transport of another type in its place.
func TestDefaultTransport(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(good))
	t.Cleanup(srv.Close)
	usual := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = usual })
	traced := 0
	for _, row := range []struct {
		transport http.RoundTripper
		client    *http.Client
		traced    int
	}{
		{usual, nil, 0},
		{usual, &http.Client{}, 0},
		{stub(func(r *http.Request) (*http.Response, error) { traced++; return usual.RoundTrip(r) }), nil, 1},
	} {
		http.DefaultTransport = row.transport
		c := newClient(row.client)
		c.Base = srv.URL
		require.NoError(t, migrate(t, c))
		assert.Equal(t, row.traced, traced)
	}
}

// A gigabyte of zeros is a megabyte on the wire.
func TestCompressedBody(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		zeros := make([]byte, 1<<20)
		for range 1 << 10 {
			if _, err := z.Write(zeros); err != nil {
				return // the client has read enough
			}
		}
		_ = z.Close()
	}))
	t.Cleanup(srv.Close)
	c := newClient(srv.Client())
	c.Base = srv.URL
	assert.EqualError(t, migrate(t, c), "stytchmigrate: migrate: answer 200 is longer than 1 MiB")
}

// stale is a connection whose server closes it after the first answer. Its client
// learns of that from the next request on it.
type stale struct {
	net.Conn
	answered atomic.Bool
}

func (c *stale) Write(p []byte) (int, error) { c.answered.Store(true); return c.Conn.Write(p) }

func (c *stale) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.answered.Load() {
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

type staleListener struct {
	net.Listener
	accepted atomic.Int64
}

func (l *staleListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.accepted.Add(1)
	return &stale{Conn: c}, nil
}

// net/http does not send a POST again by itself.
func TestStaleConnection(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(good))
	l := &staleListener{Listener: srv.Listener}
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	c := newClient(srv.Client())
	c.Base = srv.URL
	require.NoError(t, migrate(t, c))
	require.NoError(t, migrate(t, c))
	assert.EqualValues(t, 2, l.accepted.Load(), "the second call went out on the first connection, and then on one of its own")
}
