package stories_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// The witness of the brake has logged out here since it was heard of.
func TestBrakeWhereTheWitnessLoggedOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		tabs := a.Browsers(2)
		time.Sleep(6 * time.Minute)
		require.Contains(t, tabs[0].Visit().String(), "authenticated")
		a.LogOut(tabs[0].Cookies)
		a.Stytch.RevokeSession(a.Stytch.Sessions()[1].ID)
		assert.Equal(t, apptest.SignedOutAfter+"authenticate authenticate", tabs[1].Visit().String())
		assert.NotContains(t, a.Log.String(), "too few")
	})
}

// Two people who were signed out, and poll, have their "no" after ten minutes.
func TestBrakeForever(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		tabs := a.Browsers(4)
		time.Sleep(6 * time.Minute)
		a.Stytch.RevokeAll()
		tabs[0].Visit()
		tabs[1].Visit()
		var last string
		for range 16 {
			tabs[2].Visit()
			time.Sleep(20 * time.Second)
			last = tabs[3].Visit().Saw
			time.Sleep(20 * time.Second)
		}
		assert.Equal(t, "anonymous", last)
		assert.Equal(t, "anonymous", tabs[2].Visit().Saw)
	})
}

// The old session is ended at its source after any number of extensions.
func TestSourceOutlived(t *testing.T) {
	var ended int
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		jar := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		for range 12 {
			time.Sleep(4 * 24 * time.Hour)
			r := a.On(m[0]).Get(jar)
			require.Contains(t, r.String(), "authenticated ada")
			jar = r.Jar(jar)
		}
		a.On(m[0]).LogOut(jar)
		assert.Equal(t, 1, ended)
	}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
		l.End = func(context.Context, stytchmigrate.LegacySession) error { ended++; return nil }
	}))
}

// A renewal that is under way when the exchange ends is no failure of the store.
type slowClaims struct{ *storetest.Memory }

func (s slowClaims) Claim(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	select {
	case <-time.After(50 * time.Millisecond):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	return s.Memory.Claim(ctx, key, owner, lease)
}

func TestHoldStops(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		m := a.Machines(t, 1, apptest.SharedStore(slowClaims{new(storetest.Memory)}))
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(860*time.Millisecond))
		require.Equal(t, apptest.Swapped, a.On(m[0]).Get("sid=ada-1").String())
		synctest.Wait()
		assert.Empty(t, a.Events)
	})
}

// A renewal that is slow, and does not know its context, comes before the Release.
type deafClaims struct{ *storetest.Memory }

func (s deafClaims) Claim(_ context.Context, key, owner string, lease time.Duration) (bool, error) {
	time.Sleep(50 * time.Millisecond)
	return s.Memory.Claim(context.Background(), key, owner, lease)
}

func TestLateRenewalLeavesNoClaim(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := new(storetest.Memory)
		m := a.Machines(t, 2, apptest.SharedStore(deafClaims{s}))
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(400, "bad_request").WithDelay(860*time.Millisecond))
		a.On(m[0]).Get("sid=ada-1")
		time.Sleep(time.Second / 2)
		start := time.Now()
		a.On(m[1]).Get("sid=ada-1")
		assert.Less(t, time.Since(start), time.Second, "a claim is left behind")
	})
}

// What is wrong with the store can be told from the log, without its own words.
func TestStoreReasons(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := new(storetest.Memory)
		m := a.Machines(t, 1, apptest.SharedStore(s))
		s.Fail(func(string, string) error { panic("x") })
		for range 4 {
			a.On(m[0]).Get("sid=ada-1")
		}
		s.Fail(func(string, string) error { return errors.New("NOPERM canary") })
		time.Sleep(6 * time.Second)
		a.On(m[0]).Get("sid=ada-2")
		synctest.Wait()
		told := map[string]bool{}
		for _, e := range a.Events {
			_, why, _ := strings.Cut(strings.TrimPrefix(e.Err.Error(), "stytchmigrate: store: "), ": ")
			told[why] = true
		}
		assert.Equal(t, map[string]bool{"panicked (string)": true, "failed (*errors.errorString)": true}, told)
	})
}

// Logged out on another machine while the handler of the migrating request runs.
func TestLogoutDuringHandlerElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		in, goOn := make(chan bool), make(chan bool)
		w := httptest.NewRecorder()
		done := make(chan bool)
		go func() {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			m[0].Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(in); <-goOn })).ServeHTTP(w, r)
			close(done)
		}()
		<-in
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", "sid=ada-1")
		require.NoError(t, m[1].Logout(httptest.NewRecorder(), r))
		close(goOn)
		<-done
		for _, c := range w.Result().Cookies() {
			assert.Negative(t, c.MaxAge, c.Name)
		}
		jar := (&apptest.Reply{ResponseRecorder: w}).Jar("")
		assert.Equal(t, "anonymous", a.On(m[0]).Get(jar).Saw)
	})
}

// A transport that knows no context must not be the probe for ever.
type deafTransport struct {
	http.RoundTripper
	mode atomic.Int32
}

func (d *deafTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	switch d.mode.Load() {
	case 1:
		return nil, errors.New("down")
	case 2:
		time.Sleep(24 * time.Hour)
		return nil, errors.New("late")
	}
	return d.RoundTripper.RoundTrip(r)
}

func TestProbeHangs(t *testing.T) {
	var d deafTransport
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		d.mode.Store(1)
		for range 8 {
			a.Get("sid=ada-1")
		}
		d.mode.Store(2)
		time.Sleep(6 * time.Second)
		a.Get("sid=ada-1")
		d.mode.Store(0)
		time.Sleep(10 * time.Minute)
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
		time.Sleep(25 * time.Hour)
	}, func(c *stytchmigrate.Config) {
		d.RoundTripper = c.HTTPClient.Transport
		c.HTTPClient = &http.Client{Transport: &d}
	})
}

// A session that was made, and whose time to be remembered is over, is revoked.
func TestDiscardAtDeadline(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		hold := &stytchtest.Hold{}
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		var key string
		s.Fail(func(op, of string) error {
			if op == "claim" {
				key = of
			}
			return nil
		})
		go apptest.CrowdAcross(m[:1], 1)
		synctest.Wait()
		s.Fail(nil)
		// another machine takes the claim and keeps it, without a record
		s.LoseClaims()
		got, err := s.Claim(t.Context(), key, "another", time.Hour)
		require.NoError(t, err)
		require.True(t, got)
		hold.Release()
		time.Sleep(30 * time.Second)
		require.Len(t, a.Stytch.Sessions(), 1)
		assert.False(t, a.Stytch.Sessions()[0].Live, "the session is in nobody's hands, and alive")
	})
}
