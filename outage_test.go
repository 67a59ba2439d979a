package stytchmigrate_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// copies answers exchanges with the one of ada that it makes first, under a
// token of each one's own. To sign a JWT for each takes longer than all else.
func (a *app) copies(t *testing.T) http.HandlerFunc {
	t.Helper()
	var first map[string]any
	a.stytch.Fail(stytchtest.Migrate, stytchtest.Mutate(func(body map[string]any) { first = body }))
	require.Equal(t, swapped, a.get("sid=ada-first").String())
	a.requests = nil
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		body := maps.Clone(first)
		body["session_token"] = fmt.Sprintf("%044d", n.Add(1))
		w.Header().Set("Content-Type", "application/json")
		assert.NoError(t, json.NewEncoder(w).Encode(body))
	}
}

// Each row is a connection that does not come about. It is tried twice, and
// after five such calls no more.
func TestNoConnection(t *testing.T) {
	for name, err := range map[string]error{
		"refused":       &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"no such host":  &net.DNSError{Err: "no such host", Name: "api.stytch.com", IsNotFound: true},
		"resolver down": &net.DNSError{Err: "server misbehaving", Name: "api.stytch.com", IsTemporary: true},
	} {
		t.Run(name, func(t *testing.T) {
			tries := 0
			inBubble(t, func(t *testing.T, a *app) {
				a.resolve = everybody
				for i := range 5 {
					start := time.Now()
					assert.Equal(t, unavailableKeep+"-", a.get(fmt.Sprint("sid=", i)).String())
					took(t, aPause, start)
					assert.Equal(t, 2*(i+1), tries)
				}
				start := time.Now()
				assert.Equal(t, unavailableKeep+"-", a.get("sid=5").String())
				took(t, 0, start)
				assert.Equal(t, 10, tries, "left alone")
				require.Len(t, a.heard(), 1)
				assert.EqualError(t, a.heard()[0].Err, "stytchmigrate: exchange: breaker open")
			}, through(func(*http.Request) (*http.Response, error) { tries++; return nil, err }))
		})
	}
}

// Of a call that nobody answers there is nothing left after three times Timeout.
func TestSilenceLeavesNothing(t *testing.T) {
	inBubbleAlone(t, func(t *testing.T, a *app) {
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
		start, goroutines := time.Now(), runtime.NumGoroutine()
		assert.Equal(t, unavailableKeep+"migrate migrate", a.get("sid=ada-1").String())
		assert.InDelta(t, 5*time.Second, time.Since(start), float64(200*time.Millisecond))
		assert.Greater(t, runtime.NumGoroutine(), goroutines, "the call goes on without its request")
		time.Sleep(time.Until(start.Add(15 * time.Second)))
		synctest.Wait()
		assert.Zero(t, a.stytch.InFlight(stytchtest.Any))
		assert.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	})
}

// downFor is a Stytch that says when to come again.
func downFor(retryAfter string) stytchtest.Fault {
	return stytchtest.Error(503, "server_unavailable").WithHeader("Retry-After", retryAfter)
}

func later(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }

// Each row befalls one call. A second try brings what the first did not, where
// it is in time for the request.
func TestSecondTry(t *testing.T) {
	for name, row := range map[string]struct {
		fault func() stytchtest.Fault
		takes time.Duration
		tries int
	}{
		"reset before the answer":     {stytchtest.Reset, aPause, 2},
		"reset, but the work is done": {func() stytchtest.Fault { return stytchtest.Reset().AfterWork() }, aPause, 2},
		"cut off, the work is done":   {func() stytchtest.Fault { return stytchtest.Fault{}.WithCut(50).AfterWork() }, aPause, 2},
		"silence":                     {stytchtest.Silence, 2500*time.Millisecond + aPause, 2},
		"502 of a gateway":            {func() stytchtest.Fault { return stytchtest.Respond(502, "<html>") }, aPause, 2},
		"in a second":                 {func() stytchtest.Fault { return downFor("1") }, time.Second, 2},
		"in two seconds, by date":     {func() stytchtest.Fault { return downFor(later(2 * time.Second)) }, 2 * time.Second, 2},
		"in rubbish":                  {func() stytchtest.Fault { return downFor("soon") }, aPause, 2},
		"in less than no time":        {func() stytchtest.Fault { return downFor("-1") }, aPause, 2},
		"in an hour":                  {func() stytchtest.Fault { return downFor("3600") }, 0, 1},
		"in an hour, by date":         {func() stytchtest.Fault { return downFor(later(time.Hour)) }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				known, _ := a.expired(a.bob, "jwt")
				for op, c := range map[stytchtest.Op]struct{ cookies, want string }{
					stytchtest.Migrate:      {"sid=ada-1", swapped},
					stytchtest.Authenticate: {known, strings.Replace(refreshed, "ada", "bob", 1)},
				} {
					a.stytch.Fail(op, row.fault())
					want := c.want + " " + string(op)
					if row.tries == 1 {
						want = unavailableKeep + string(op)
					}
					start := time.Now()
					assert.Equal(t, want, a.get(c.cookies).String())
					assert.InDelta(t, row.takes, time.Since(start), float64(aPause/2))
				}
			})
		})
	}
}

// stale is a connection whose server has given it up after the first answer,
// which its client learns from the next request on it.
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

// net/http does not send a POST again on its own.
func TestStaleConnection(t *testing.T) {
	var a *app
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.stytch.ServeHTTP(w, r) }))
	l := &staleListener{Listener: srv.Listener}
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	a = newApp(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
		c.BaseURL, c.HTTPClient = srv.URL, &http.Client{Transport: transport}
	})
	assert.Equal(t, swapped, a.get("sid=ada-1").String())
	assert.Equal(t, strings.Replace(swapped, "ada", "bob", 1), a.get("sid=bob-1").String())
	assert.EqualValues(t, 2, l.accepted.Load(), "the second request went out on the first connection, and then on one of its own")
}

// The key set's endpoint is silent. Who names a key that is not in the set waits
// for that, but not long; who names one that is does not.
func TestKeySetIsSilentForAnUnknownKey(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		s := a.stytch.NewSession(a.ada.ID, time.Hour)
		bob, _ := a.signedIn(a.bob)
		require.Equal(t, jwtAccepted, a.get("stytch_session_jwt="+s.JWT).withKeySets())
		time.Sleep(61 * time.Second)
		a.stytch.FailAll(stytchtest.JWKS, stytchtest.Silence())
		unknown := "stytch_session_jwt=" + a.stytch.SignJWT(a.stytch.Claims(s.ID), object{"kid": "jwk-nobodys"})

		a.stytch.ResetCalls()
		var wg sync.WaitGroup
		for i := range 10 { // all during one fetch
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				start := time.Now()
				assert.Equal(t, "anonymous", a.parallel(unknown).saw)
				assert.LessOrEqual(t, time.Since(start), 2*time.Second)
				assert.Greater(t, time.Since(start), time.Second)
			})
		}
		time.Sleep(time.Second)
		assert.Equal(t, 1, a.stytch.InFlight(stytchtest.JWKS))
		for want, cookies := range map[string]string{"authenticated ada": "stytch_session_jwt=" + a.stytch.JWT(s.ID), "authenticated bob": bob} {
			start := time.Now()
			assert.Equal(t, want, a.parallel(cookies).saw)
			took(t, 0, start)
		}
		wg.Wait()
		assert.Equal(t, 1, a.stytch.Count(stytchtest.JWKS))
	})
}

// Stytch is down for half a minute, with ten users a second.
func TestOutageOfHalfAMinute(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = everybody
		works := stytchtest.Handle(a.copies(t))
		a.stytch.ResetCalls()
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable"))
		end := time.Now().Add(30 * time.Second)
		time.AfterFunc(30*time.Second, func() { a.stytch.FailAll(stytchtest.Migrate, works) })
		var mu sync.Mutex
		var lastLoss time.Time
		var wg sync.WaitGroup
		calls := 0 // that were made in vain
		for i := range 10 * 40 {
			wg.Go(func() {
				start := time.Now()
				if a.parallel(fmt.Sprint("sid=", i)).saw == "unavailable" {
					mu.Lock()
					defer mu.Unlock()
					lastLoss = start
				}
			})
			if time.Sleep(100 * time.Millisecond); time.Now().Before(end) {
				calls = a.stytch.Count(stytchtest.Migrate)
			}
		}
		wg.Wait()
		assert.Less(t, lastLoss.Sub(end), 6*time.Second, "from the recovery to full traffic")
		assert.Greater(t, lastLoss.Sub(end), time.Duration(0))
		assert.LessOrEqual(t, calls, 2*(5+3)+2*5, "five that fail, those beside them, and a probe in five seconds")
		assert.Equal(t, "stytchmigrate: exchange: breaker open", a.heard()[0].Err.Error())
		assert.Equal(t, "stytchmigrate: exchange: breaker closed", a.heard()[len(a.heard())-1].Err.Error())
	})
}

// Three calls in ten fail, by dice that fall the same each time.
func TestThreeInTenFail(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = everybody
		works := a.copies(t)
		dice := rand.New(rand.NewPCG(1, 2))
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Handle(func(w http.ResponseWriter, r *http.Request) {
			switch p := dice.Float64(); { // of one call at a time
			case p < 0.15:
				panic(http.ErrAbortHandler)
			case p < 0.3:
				w.WriteHeader(http.StatusBadGateway)
			default:
				works(w, r)
			}
		}))
		got := map[string]int{}
		for i := range 200 {
			got[a.parallel(fmt.Sprint("sid=", i)).saw]++
		}
		assert.GreaterOrEqual(t, got["migrated ada"], 180)
		assert.Equal(t, 200, got["migrated ada"]+got["unavailable"], "of %v", got)
		assert.Empty(t, a.heard(), "no breaker opens over that")
	})
}
