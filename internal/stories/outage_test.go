package stories_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
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
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

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
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.Everybody
				for i := range 5 {
					start := time.Now()
					assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get(fmt.Sprint("sid=", i)).String())
					apptest.RequireTook(t, apptest.APause, start)
					assert.Equal(t, 2*(i+1), tries)
				}
				start := time.Now()
				assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=5").String())
				apptest.RequireTook(t, 0, start)
				assert.Equal(t, 10, tries, "left alone")
				require.Len(t, a.Heard(), 1)
				assert.EqualError(t, a.Heard()[0].Err, "stytchmigrate: exchange: breaker open")
			}, apptest.Through(func(*http.Request) (*http.Response, error) { tries++; return nil, err }))
		})
	}
}

// Of a call that nobody answers there is nothing left after three times Timeout.
func TestSilenceLeavesNothing(t *testing.T) {
	apptest.InBubbleAlone(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
		start, goroutines := time.Now(), runtime.NumGoroutine()
		assert.Equal(t, apptest.UnavailableUntouched+"migrate migrate", a.Get("sid=ada-1").String())
		assert.InDelta(t, 5*time.Second, time.Since(start), float64(200*time.Millisecond))
		assert.Greater(t, runtime.NumGoroutine(), goroutines, "the call goes on without its request")
		time.Sleep(time.Until(start.Add(15 * time.Second)))
		synctest.Wait()
		assert.Zero(t, a.Stytch.InFlight(stytchtest.Any))
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
		"reset before the answer":     {stytchtest.Reset, apptest.APause, 2},
		"reset, but the work is done": {func() stytchtest.Fault { return stytchtest.Reset().AfterWork() }, apptest.APause, 2},
		"cut off, the work is done":   {func() stytchtest.Fault { return stytchtest.Fault{}.WithCut(50).AfterWork() }, apptest.APause, 2},
		"silence":                     {stytchtest.Silence, 2500*time.Millisecond + apptest.APause, 2},
		"502 of a gateway":            {func() stytchtest.Fault { return stytchtest.Respond(502, "<html>") }, apptest.APause, 2},
		"in a second":                 {func() stytchtest.Fault { return downFor("1") }, time.Second, 2},
		"in two seconds, by date":     {func() stytchtest.Fault { return downFor(later(2 * time.Second)) }, 2 * time.Second, 2},
		"in rubbish":                  {func() stytchtest.Fault { return downFor("soon") }, apptest.APause, 2},
		"in less than no time":        {func() stytchtest.Fault { return downFor("-1") }, apptest.APause, 2},
		"in an hour":                  {func() stytchtest.Fault { return downFor("3600") }, 0, 1},
		"in an hour, by date":         {func() stytchtest.Fault { return downFor(later(time.Hour)) }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				known, _ := a.Expired(a.Bob, "jwt")
				for op, c := range map[stytchtest.Op]struct{ cookies, want string }{
					stytchtest.Migrate:      {"sid=ada-1", apptest.Swapped},
					stytchtest.Authenticate: {known, strings.Replace(apptest.Refreshed, "ada", "bob", 1)},
				} {
					a.Stytch.Fail(op, row.fault())
					want := c.want + " " + string(op)
					if row.tries == 1 {
						want = apptest.UnavailableUntouched + string(op)
					}
					start := time.Now()
					assert.Equal(t, want, a.Get(c.cookies).String())
					assert.InDelta(t, row.takes, time.Since(start), float64(apptest.APause/2))
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
	var a *apptest.App
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.Stytch.ServeHTTP(w, r) }))
	l := &staleListener{Listener: srv.Listener}
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	a = apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
		c.BaseURL, c.HTTPClient = srv.URL, &http.Client{Transport: transport}
	})
	assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
	assert.Equal(t, strings.Replace(apptest.Swapped, "ada", "bob", 1), a.Get("sid=bob-1").String())
	assert.EqualValues(t, 2, l.accepted.Load(), "the second request went out on the first connection, and then on one of its own")
}

// The key set's endpoint is silent. Who names a key that is not in the set waits
// for that, but not long; who names one that is does not.
func TestKeySetIsSilentForAnUnknownKey(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := a.Stytch.NewSession(a.Ada.ID, time.Hour)
		bob, _ := a.SignedIn(a.Bob)
		require.Equal(t, apptest.JWTAccepted, a.Get("stytch_session_jwt="+s.JWT).WithKeySets())
		time.Sleep(61 * time.Second)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Silence())
		unknown := "stytch_session_jwt=" + a.Stytch.SignJWT(a.Stytch.Claims(s.ID), apptest.Object{"kid": "jwk-nobodys"})

		a.Stytch.ResetCalls()
		var wg sync.WaitGroup
		for i := range 10 { // all during one fetch
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				start := time.Now()
				assert.Equal(t, "anonymous", a.Parallel(unknown).Saw)
				assert.LessOrEqual(t, time.Since(start), 2*time.Second)
				assert.Greater(t, time.Since(start), time.Second)
			})
		}
		time.Sleep(time.Second)
		assert.Equal(t, 1, a.Stytch.InFlight(stytchtest.JWKS))
		for want, cookies := range map[string]string{"authenticated ada": "stytch_session_jwt=" + a.Stytch.JWT(s.ID), "authenticated bob": bob} {
			start := time.Now()
			assert.Equal(t, want, a.Parallel(cookies).Saw)
			apptest.RequireTook(t, 0, start)
		}
		wg.Wait()
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.JWKS))
	})
}

// Stytch is down for half a minute, with ten users a second.
func TestOutageOfHalfAMinute(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Everybody
		works := stytchtest.Handle(a.Copies(t))
		a.Stytch.ResetCalls()
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable"))
		end := time.Now().Add(30 * time.Second)
		time.AfterFunc(30*time.Second, func() { a.Stytch.FailAll(stytchtest.Migrate, works) })
		var mu sync.Mutex
		var lastLoss time.Time
		var wg sync.WaitGroup
		calls := 0 // that were made in vain
		for i := range 10 * 40 {
			wg.Go(func() {
				start := time.Now()
				if a.Parallel(fmt.Sprint("sid=", i)).Saw == "unavailable" {
					mu.Lock()
					defer mu.Unlock()
					lastLoss = start
				}
			})
			if time.Sleep(100 * time.Millisecond); time.Now().Before(end) {
				calls = a.Stytch.Count(stytchtest.Migrate)
			}
		}
		wg.Wait()
		assert.Less(t, lastLoss.Sub(end), 6*time.Second, "from the recovery to full traffic")
		assert.Greater(t, lastLoss.Sub(end), time.Duration(0))
		assert.LessOrEqual(t, calls, 2*(5+3)+2*5, "five that fail, those beside them, and a probe in five seconds")
		assert.Equal(t, "stytchmigrate: exchange: breaker open", a.Heard()[0].Err.Error())
		assert.Equal(t, "stytchmigrate: exchange: breaker closed", a.Heard()[len(a.Heard())-1].Err.Error())
	})
}

// Three calls in ten fail, by dice that fall the same each time.
func TestThreeInTenFail(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Everybody
		works := a.Copies(t)
		dice := rand.New(rand.NewPCG(1, 2))
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Handle(func(w http.ResponseWriter, r *http.Request) {
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
			got[a.Parallel(fmt.Sprint("sid=", i)).Saw]++
		}
		assert.GreaterOrEqual(t, got["migrated ada"], 180)
		assert.Equal(t, 200, got["migrated ada"]+got["unavailable"], "of %v", got)
		assert.Empty(t, a.Heard(), "no breaker opens over that")
	})
}

// Stytch says no to one of two tokens, and can't be asked about the other: no cookie is
// cleared.
func TestOneTokenEndedAndOneUnsure(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		first, second := a.Stytch.Sessions()[0], a.Stytch.NewSession(a.Ada.ID, time.Hour*24*30)
		time.Sleep(time.Hour)
		a.Stytch.RevokeSession(first.ID)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}, stytchtest.Reset(), stytchtest.Reset())
		assert.Equal(t, apptest.UnavailableUntouched+"authenticate authenticate authenticate",
			a.Get("stytch_session="+first.Token+"; stytch_session="+second.Token).String())
	})
}

// panickingLog is a log handler that panics on the line about a failed call.
type panickingLog struct{ slog.Handler }

func (panickingLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "call to Stytch failed") {
		panic("ada@example.com")
	}
	return nil
}

func TestPanicOfALogHandlerIsNotQuoted(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Reset())
		assert.Equal(t, "unavailable", a.Get("sid=ada-1").Saw)
		require.Len(t, a.Requests, 1)
		assert.EqualError(t, a.Requests[0].Err, "stytchmigrate: panic in a call to Stytch (string)")
	}, func(c *stytchmigrate.Config) { c.Logger = slog.New(panickingLog{slog.NewTextHandler(io.Discard, nil)}) })
}
