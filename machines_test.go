package stytchmigrate_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

const handedOut = "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | "

// inCluster runs a test with several machines that share a store.
func inCluster(t *testing.T, f func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	inBubble(t, func(t *testing.T, a *app) {
		s := new(storetest.Memory)
		f(t, a, a.machines(t, 3, append(change, sharing(s))...), s)
	})
}

// across sends n requests with one old cookie at once, over all machines.
func across(machines []*stytchmigrate.Middleware, n int) []*visitor {
	out := make([]*visitor, n)
	var wg sync.WaitGroup
	for i := range out {
		v := &visitor{ResponseRecorder: httptest.NewRecorder()}
		out[i] = v
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			start := time.Now()
			machines[i%len(machines)].Handler(v).ServeHTTP(v, r)
			v.took = time.Since(start)
		})
	}
	wg.Wait()
	return out
}

func endNothing(context.Context, stytchmigrate.LegacySession) error { return nil }

func TestOneExchangeOfAllMachines(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(300*time.Millisecond))
		all := across(m, 1000)
		token := all[0].Result().Cookies()[0].Value
		for _, v := range all {
			assert.Equal(t, a.ada.ID, v.user)
			assert.Equal(t, token, v.Result().Cookies()[0].Value)
			assert.LessOrEqual(t, v.took, 400*time.Millisecond)
		}
		assert.Equal(t, 1, len(a.stytch.Calls()))
		assert.Len(t, a.stytch.Sessions(), 1)
	})
}

// An exchange that takes longer than a lease keeps its claim.
func TestLongExchangeKeepsItsClaim(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.stytch.Fail(stytchtest.Migrate, stytchtest.Error(500, "internal_server_error").WithDelay(2*time.Second), stytchtest.Delay(2*time.Second))
		for _, v := range across(m, 9) {
			assert.Equal(t, a.ada.ID, v.user)
		}
		assert.Equal(t, 2, a.stytch.Count(stytchtest.Migrate), "two tries of one exchange")
	})
}

// A machine that comes later hands out the same session, and asks Stytch about
// it unless it is only just made.
func TestLaterOnAnotherMachine(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		first := a.on(m[0]).get("sid=ada-1")
		require.Equal(t, swapped, first.String())
		second := a.on(m[1]).get("sid=ada-1")
		assert.Equal(t, handedOut+"-", second.String())
		time.Sleep(11 * time.Second)
		third := a.on(m[2]).get("sid=ada-1")
		assert.Equal(t, handedOut+"authenticate", third.String())
		for _, r := range []*reply{second, third} {
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
			inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				cookies := a.on(m[0]).get("sid=ada-1").jar("sid=ada-1") + "; sid=ada-1"
				var kept []string
				for pair := range strings.SplitSeq(cookies, "; ") {
					if strings.HasPrefix(pair, only) {
						kept = append(kept, pair)
					}
				}
				time.Sleep(time.Hour)
				a.on(m[1]).logOut(strings.Join(kept, "; "))
				assert.Equal(t, []string{"ada-1"}, ended)
				assert.False(t, a.stytch.Sessions()[0].Live)
				assert.Equal(t, refusedKeep+"-", a.on(m[0]).get("sid=ada-1").String())
				assert.Equal(t, refusedKeep+"-", a.on(m[2]).get("sid=ada-1").String())
			}, oldCookie(func(l *stytchmigrate.LegacyCookie) {
				l.End = func(_ context.Context, s stytchmigrate.LegacySession) error {
					assert.Equal(t, legacySession("ada", "ada-1"), s)
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
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		hold := &stytchtest.Hold{}
		a.stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		done := make(chan []*visitor)
		go func() { done <- across(m[:2], 10) }()
		synctest.Wait()
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", "sid=ada-1")
		assert.NoError(t, m[2].Logout(httptest.NewRecorder(), r)) // behind the middleware it would wait for the exchange
		hold.Release()
		for _, v := range <-done {
			assert.Equal(t, stytchmigrate.OutcomeRefused, v.outcome)
			assert.Empty(t, v.Result().Cookies())
		}
		require.Len(t, a.stytch.Sessions(), 1)
		assert.False(t, a.stytch.Sessions()[0].Live)
	})
}

// Logged out on one machine while another refreshes, or resumes.
func TestLogoutDuringRefreshElsewhere(t *testing.T) {
	for name, cookie := range map[string]string{"a refresh": "stytch_session", "the old cookie": "sid"} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				jar := a.on(m[0]).get("sid=ada-1").jar("sid=ada-1") + "; sid=ada-1"
				sends := ""
				for pair := range strings.SplitSeq(jar, "; ") {
					if strings.HasPrefix(pair, cookie+"=") {
						sends = pair
					}
				}
				time.Sleep(time.Hour)
				hold := &stytchtest.Hold{}
				a.stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(hold).AfterWork())
				done := make(chan *visitor)
				go func() {
					v := &visitor{ResponseRecorder: httptest.NewRecorder()}
					r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
					r.Header.Set("Cookie", sends)
					m[0].Handler(v).ServeHTTP(v, r)
					done <- v
				}()
				synctest.Wait()
				a.on(m[2]).logOut(jar)
				hold.Release()
				v := <-done
				assert.Empty(t, v.user)
				for _, c := range v.Result().Cookies() {
					assert.Negative(t, c.MaxAge, c.Name)
				}
			})
		})
	}
}

// A machine that died with the claim holds nobody up for longer than its lease.
func TestClaimOfADeadMachine(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		s.Fail(func(op, _ string) error { // what the first machine says after its claim is lost with it
			if op == "put" || op == "release" {
				return errStoreDown
			}
			return nil
		})
		require.Equal(t, swapped, a.on(m[0]).get("sid=ada-1").String())
		s.Fail(nil)
		start := time.Now()
		assert.Equal(t, swapped, a.on(m[1]).get("sid=ada-1").String())
		assert.InDelta(t, 2500, time.Since(start).Milliseconds(), 100)
	})
}

// A claim that was lost loses its session: that of the other machine counts.
func TestLostClaim(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		hold := &stytchtest.Hold{}
		a.stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		done := make(chan []*visitor)
		go func() { done <- across(m[:1], 3) }()
		synctest.Wait()
		s.LoseClaims()
		winner := a.on(m[1]).get("sid=ada-1")
		require.Equal(t, swapped, winner.String())
		hold.Release()
		for _, v := range <-done {
			assert.Equal(t, winner.Result().Cookies()[0].Value, v.Result().Cookies()[0].Value)
		}
		synctest.Wait()
		live := 0
		for _, x := range a.stytch.Sessions() {
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
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		started := time.Now()
		a.resolve = func(v string) (stytchmigrate.LegacySession, error) {
			name, _, _ := strings.Cut(v, "-")
			s := legacySession(name, v)
			s.StartedAt = started
			if name == "bob" {
				s.StartedAt = started.Add(time.Minute)
			}
			return s, nil
		}
		cookies := a.on(m[0]).get("sid=ada-1").jar("sid=ada-1")
		time.Sleep(2 * time.Minute)
		require.Contains(t, a.on(m[1]).get(cookies+"; sid=bob-1").String(), "migrated bob |")
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		assert.Equal(t, swapped, a.on(m[0]).get("sid=ada-1").String())
		assert.Equal(t, handedOut+"-", a.on(m[2]).get("sid=ada-1").String())
	})
}

// Who logged out on another machine says nothing of whether Stytch knows its
// sessions, however many of them a copy of the cookies comes back of.
func TestLogoutsElsewherePullNoBrake(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		tabs := a.many(6)
		for _, b := range tabs {
			require.Contains(t, a.on(m[1]).get(b.cookies).String(), "authenticated")
			require.NotContains(t, a.on(m[0]).logOut(b.cookies).String(), "unavailable")
		}
		time.Sleep(6 * time.Minute) // the JWTs have expired
		for _, b := range tabs {
			assert.Equal(t, endedReply+"authenticate", a.on(m[1]).get(b.cookies).String())
		}
		assert.Empty(t, a.told("brake"))
	})
}
