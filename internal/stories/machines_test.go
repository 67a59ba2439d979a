package stories_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
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

func TestOneExchangeOfAllMachines(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(300*time.Millisecond))
		all := apptest.CrowdAcross(m, 1000)
		token := all[0].Result().Cookies()[0].Value
		for _, v := range all {
			assert.Equal(t, a.Ada.ID, v.User)
			assert.Equal(t, token, v.Result().Cookies()[0].Value)
			assert.LessOrEqual(t, v.Took, 400*time.Millisecond)
		}
		assert.Equal(t, 1, len(a.Stytch.Calls()))
		assert.Len(t, a.Stytch.Sessions(), 1)
	})
}

// An exchange that takes longer than a lease keeps its claim.
func TestLongExchangeKeepsItsClaim(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(500, "internal_server_error").WithDelay(2*time.Second), stytchtest.Delay(2*time.Second))
		for _, v := range apptest.CrowdAcross(m, 9) {
			assert.Equal(t, a.Ada.ID, v.User)
		}
		assert.Equal(t, 2, a.Stytch.Count(stytchtest.Migrate), "two tries of one exchange")
	})
}

// A machine that comes later hands out the same session, and asks Stytch about
// it unless it is only just made.
func TestLaterOnAnotherMachine(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		first := a.On(m[0]).Get("sid=ada-1")
		require.Equal(t, apptest.Swapped, first.String())
		second := a.On(m[1]).Get("sid=ada-1")
		assert.Equal(t, apptest.SwappedAfter+"-", second.String())
		time.Sleep(11 * time.Second)
		third := a.On(m[2]).Get("sid=ada-1")
		assert.Equal(t, apptest.SwappedAfter+"authenticate", third.String())
		for _, r := range []*apptest.Reply{second, third} {
			assert.Equal(t, first.Result().Cookies()[0].Value, r.Result().Cookies()[0].Value)
		}
	})
}

// Logged out on one machine is logged out on all, whichever cookie the logout
// came with, and the old session is ended at its source.
func TestLogoutOnAnotherMachine(t *testing.T) {
	for name, only := range map[string]string{"with the Stytch cookies": "stytch_", "with the old cookie": "sid="} {
		t.Run(name, func(t *testing.T) {
			var ended []string
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				cookies := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1") + "; sid=ada-1"
				var kept []string
				for pair := range strings.SplitSeq(cookies, "; ") {
					if strings.HasPrefix(pair, only) {
						kept = append(kept, pair)
					}
				}
				time.Sleep(time.Hour)
				a.On(m[1]).LogOut(strings.Join(kept, "; "))
				assert.Equal(t, []string{"ada-1"}, ended)
				assert.False(t, a.Stytch.Sessions()[0].Live)
				assert.Equal(t, apptest.RefusedUntouched+"-", a.On(m[0]).Get("sid=ada-1").String())
				assert.Equal(t, apptest.RefusedUntouched+"-", a.On(m[2]).Get("sid=ada-1").String())
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
				l.End = func(_ context.Context, s stytchmigrate.LegacySession) error {
					assert.Equal(t, apptest.LegacySession("ada", "ada-1"), s)
					ended = append(ended, string(s.ID))
					return nil
				}
			}))
		})
	}
}

// Logged out on one machine while another exchanges: nobody gets the session,
// and it is revoked.
func TestLogoutDuringExchangeElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		hold := &stytchtest.Hold{}
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		done := make(chan []*apptest.Visitor)
		go func() { done <- apptest.CrowdAcross(m[:2], 10) }()
		synctest.Wait()
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", "sid=ada-1")
		assert.NoError(t, m[2].Logout(httptest.NewRecorder(), r)) // behind the middleware it would wait for the exchange
		hold.Release()
		for _, v := range <-done {
			assert.Equal(t, stytchmigrate.OutcomeRefused, v.Outcome)
			assert.Empty(t, v.Result().Cookies())
		}
		require.Len(t, a.Stytch.Sessions(), 1)
		assert.False(t, a.Stytch.Sessions()[0].Live)
	})
}

// Logged out on one machine while another refreshes, or resumes.
func TestLogoutDuringRefreshElsewhere(t *testing.T) {
	for name, cookie := range map[string]string{"a refresh": "stytch_session", "the old cookie": "sid"} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				jar := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1") + "; sid=ada-1"
				sends := ""
				for pair := range strings.SplitSeq(jar, "; ") {
					if strings.HasPrefix(pair, cookie+"=") {
						sends = pair
					}
				}
				time.Sleep(time.Hour)
				hold := &stytchtest.Hold{}
				a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(hold).AfterWork())
				done := make(chan *apptest.Visitor)
				go func() {
					v := &apptest.Visitor{ResponseRecorder: httptest.NewRecorder()}
					r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
					r.Header.Set("Cookie", sends)
					m[0].Handler(v).ServeHTTP(v, r)
					done <- v
				}()
				synctest.Wait()
				a.On(m[2]).LogOut(jar)
				hold.Release()
				v := <-done
				assert.Empty(t, v.User)
				for _, c := range v.Result().Cookies() {
					assert.Negative(t, c.MaxAge, c.Name)
				}
			})
		})
	}
}

// A machine that died with the claim holds nobody up for longer than its lease.
func TestClaimOfADeadMachine(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		s.Fail(func(op, _ string) error { // what the first machine says after its claim is lost with it
			if op == "put" || op == "release" {
				return apptest.ErrStoreDown
			}
			return nil
		})
		require.Equal(t, apptest.Swapped, a.On(m[0]).Get("sid=ada-1").String())
		s.Fail(nil)
		start := time.Now()
		assert.Equal(t, apptest.Swapped, a.On(m[1]).Get("sid=ada-1").String())
		assert.InDelta(t, 2500, time.Since(start).Milliseconds(), 100)
	})
}

// A claim that was lost loses its session: that of the other machine counts.
func TestLostClaim(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		hold := &stytchtest.Hold{}
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		done := make(chan []*apptest.Visitor)
		go func() { done <- apptest.CrowdAcross(m[:1], 3) }()
		synctest.Wait()
		s.LoseClaims()
		winner := a.On(m[1]).Get("sid=ada-1")
		require.Equal(t, apptest.Swapped, winner.String())
		hold.Release()
		for _, v := range <-done {
			assert.Equal(t, winner.Result().Cookies()[0].Value, v.Result().Cookies()[0].Value)
		}
		synctest.Wait()
		live := 0
		for _, x := range a.Stytch.Sessions() {
			if x.Live {
				live++
			}
		}
		assert.Equal(t, 1, live)
	})
}

// A session that a later sign-in of somebody else has replaced was not logged
// out: its user may come again, on any machine.
func TestOvertakenMayComeAgainElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		started := time.Now()
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			name, _, _ := strings.Cut(v, "-")
			s := apptest.LegacySession(name, v)
			s.StartedAt = started
			if name == "bob" {
				s.StartedAt = started.Add(time.Minute)
			}
			return s, nil
		}
		cookies := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(2 * time.Minute)
		require.Contains(t, a.On(m[1]).Get(cookies+"; sid=bob-1").String(), "migrated bob |")
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		assert.Equal(t, apptest.Swapped, a.On(m[0]).Get("sid=ada-1").String())
		assert.Equal(t, apptest.SwappedAfter+"-", a.On(m[2]).Get("sid=ada-1").String())
	})
}

// Who logged out on another machine says nothing of whether Stytch knows its
// sessions, however many of them a copy of the cookies comes back of.
func TestLogoutsElsewherePullNoBrake(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		tabs := a.Browsers(6)
		for _, b := range tabs {
			require.Contains(t, a.On(m[1]).Get(b.Cookies).String(), "authenticated")
			require.NotContains(t, a.On(m[0]).LogOut(b.Cookies).String(), "unavailable")
		}
		time.Sleep(6 * time.Minute) // the JWTs have expired
		for _, b := range tabs {
			assert.Equal(t, apptest.SignedOutAfter+"authenticate", a.On(m[1]).Get(b.Cookies).String())
		}
		assert.Empty(t, a.EventsOf("brake"))
	})
}
