package stories_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
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

// Each row is a certificate that whoever answers in Stytch's place shows.
func TestCertificate(t *testing.T) {
	soon := time.Now().Add(time.Minute)
	for name, row := range map[string]struct {
		cert    tls.Certificate
		trusted bool
		want    string
		why     string
	}{
		"good":        {certificate(t, "127.0.0.1", soon), true, apptest.Swapped, ""},
		"unknown":     {certificate(t, "127.0.0.1", soon), false, apptest.UnavailableUntouched + "-", "certificate is signed by an unknown authority"},
		"other host":  {certificate(t, "mallory.example", soon), true, apptest.UnavailableUntouched + "-", "certificate is for another host"},
		"other IP":    {certificate(t, "127.0.0.2", soon), true, apptest.UnavailableUntouched + "-", "certificate is for another host"},
		"has expired": {certificate(t, "127.0.0.1", time.Now().Add(-time.Second)), true, apptest.UnavailableUntouched + "-", "certificate has expired or is not valid yet"},
		"not yet":     {certificate(t, "127.0.0.1", soon.Add(2*time.Hour)), true, apptest.UnavailableUntouched + "-", "certificate has expired or is not valid yet"},
	} {
		t.Run(name, func(t *testing.T) {
			var a *apptest.App
			var dialled atomic.Int32
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.Stytch.ServeHTTP(w, r) }))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					dialled.Add(1)
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
			a = apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
				c.BaseURL = srv.URL
				c.HTTPClient = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
				t.Cleanup(c.HTTPClient.CloseIdleConnections)
			})
			assert.Equal(t, row.want, a.Get("sid=ada-1").String())
			assert.EqualValues(t, 1, dialled.Load(), "tried once")
			if row.why != "" {
				assert.EqualError(t, a.Requests[0].Err, "stytchmigrate: migrate: "+row.why)
				assert.Contains(t, a.Log.String(), row.why)
				assert.NotContains(t, a.Log.String(), "mallory")
			}
		})
	}
}

// A redirect would take the project's secret and the user's token to another
// host.
func TestRedirectIsNotFollowed(t *testing.T) {
	var seen atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	t.Cleanup(elsewhere.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		a := apptest.New(t, stytchtest.Config{}, func(c *stytchmigrate.Config) {
			c.HTTPClient.CheckRedirect = nil // what an application's client says does not count
		})
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Respond(status, "").WithHeader("Location", elsewhere.URL))
		assert.Equal(t, apptest.UnavailableUntouched+"migrate", a.Get("sid=ada-1").String())
		cookies, _ := a.SignedIn(a.Ada)
		cookies, _, _ = strings.Cut(cookies, ";") // the token alone
		assert.Equal(t, apptest.UnavailableUntouched+"authenticate", a.Get(cookies).String())
	}
	assert.Zero(t, seen.Load())
}

// Programs that trace their calls put a transport of another type in the place
// of the default one.
func TestDefaultTransportOfAnotherType(t *testing.T) {
	usual := http.DefaultTransport
	t.Cleanup(func() { http.DefaultTransport = usual })
	a := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
		http.DefaultTransport = apptest.RoundTripper(c.HTTPClient.Transport.RoundTrip)
		c.HTTPClient = nil
	})
	assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
}

// Cookies, the time limit and redirects of the application's client are not
// used.
func TestOnlyTransportOfHTTPClient(t *testing.T) {
	a := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
		c.HTTPClient.Timeout = time.Nanosecond
		c.HTTPClient.Jar = jarOf{}
	})
	assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
	assert.Empty(t, a.Stytch.Calls()[0].Header.Get("Cookie"))
}

// jarOf is a jar with a cookie for everybody.
type jarOf struct{}

func (jarOf) SetCookies(*url.URL, []*http.Cookie) {}
func (jarOf) Cookies(*url.URL) []*http.Cookie {
	return []*http.Cookie{{Name: "a", Value: "b"}}
}
