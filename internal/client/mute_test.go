package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/apptest/scale"
	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/stytch"
)

// nat passes connections on, until it forgets those that are there. It then drops what
// is sent on them, without an error to either side.
type nat struct {
	net.Listener
	to string

	mu    sync.Mutex
	all   []*atomic.Bool // one for each connection: it is forgotten
	dials int
}

func newNAT(t *testing.T, to string) *nat {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	n := &nat{Listener: l, to: to}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			forgotten := new(atomic.Bool)
			n.mu.Lock()
			n.all, n.dials = append(n.all, forgotten), n.dials+1
			n.mu.Unlock()
			go pass(in, out, forgotten)
			go pass(out, in, forgotten)
		}
	}()
	return n
}

func pass(to, from net.Conn, forgotten *atomic.Bool) {
	defer to.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if forgotten.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// forget makes all connections mute that are there now, and returns how many.
func (n *nat) forget() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, forgotten := range n.all {
		forgotten.Store(true)
	}
	return len(n.all)
}

// behindNAT returns a client with the package's own transport, whose way to Stytch leads
// through a nat.
func behindNAT(t *testing.T, http2 bool, timeout time.Duration, served *sync.Map) (*client.Client, *nat) {
	t.Helper()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Store(r.Proto, true)
		time.Sleep(20 * time.Millisecond)
		good(w, r)
	}))
	srv.EnableHTTP2 = http2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	n := newNAT(t, srv.Listener.Addr().String())
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	useDefaultTransport(t, func(d *http.Transport) { d.TLSClientConfig = &tls.Config{RootCAs: roots} })
	c := newClient(nil)
	c.Base = "https://" + n.Addr().String()
	c.HTTP = client.NewHTTPClient(outbound.New(outbound.Config{Base: client.Transport(nil), Timeout: timeout}))
	return c, n
}

func migrateWithin(c *client.Client, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var out struct {
		UserID string `json:"user_id" required:"true"`
	}
	return c.Post(ctx, client.Call{Op: stytch.Migrate, Path: "/v1/sessions/migrate", In: 1, Out: &out})
}

// All idle connections went mute. One call finds out, and its second try dials.
func TestIdleConnectionsWentMute(t *testing.T) {
	const timeout = time.Second
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(proto, func(t *testing.T) {
			var served sync.Map
			c, n := behindNAT(t, http2, timeout, &served)
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { assert.NoError(t, migrateWithin(c, timeout)) })
			}
			wg.Wait()
			_, ok := served.Load(proto)
			require.True(t, ok, "the server speaks it")
			mute := n.forget()
			if !http2 {
				require.Greater(t, mute, 2, "more than two tries can try")
			}
			assert.NoError(t, migrateWithin(c, timeout))
			assert.NoError(t, migrateWithin(c, timeout))
		})
	}
}

// The one HTTP/2 connection went mute while many users send calls on it, so it is never
// idle. The pings find out.
func TestBusyConnectionWentMute(t *testing.T) {
	if !scale.Full() {
		tuned := &http.Transport{}
		client.Tune(tuned)
		assert.Less(t, tuned.HTTP2.SendPingTimeout+tuned.HTTP2.PingTimeout, 10*time.Second, "the breaker may add five")
		assert.NotZero(t, tuned.HTTP2.SendPingTimeout)
		return
	}
	var served sync.Map
	c, n := behindNAT(t, true, 5*time.Second, &served)
	require.NoError(t, migrateWithin(c, time.Second))
	n.forget()
	began := time.Now()
	var last atomic.Int64 // when the last call began that failed
	var wg sync.WaitGroup
	for time.Since(began) < 20*time.Second {
		sent := time.Since(began)
		wg.Go(func() {
			if migrateWithin(c, 15*time.Second) != nil {
				last.Store(max(last.Load(), int64(sent)))
			}
		})
		time.Sleep(50 * time.Millisecond)
	}
	wg.Wait()
	assert.Less(t, time.Duration(last.Load()), 15*time.Second)
	t.Logf("recovered after %v, %d connections", time.Duration(last.Load()), n.dials)
}

// What the program has set stays.
func TestTune(t *testing.T) {
	own := &http.Transport{HTTP2: &http.HTTP2Config{SendPingTimeout: time.Minute, MaxReadFrameSize: 1 << 20}}
	client.Tune(own)
	assert.Equal(t, time.Minute, own.HTTP2.SendPingTimeout)
	assert.Equal(t, 1<<20, own.HTTP2.MaxReadFrameSize)
	assert.Equal(t, 3*time.Second, own.HTTP2.PingTimeout)
	assert.Equal(t, 4*time.Second, own.HTTP2.WriteByteTimeout)
	assert.Equal(t, 32, own.MaxIdleConnsPerHost)
}
