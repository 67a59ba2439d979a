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

// Several machines share a store, and a user logs out on one of them. The others must not
// hand the session out again: not later, and not by an answer that was under way. And
// what ended elsewhere must not look as if Stytch had lost its data.

// A logout on one machine holds on all, whichever cookie it came with. The old session is
// ended at its source.
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

// A user logs out on one machine while two others exchange. No request gets the session,
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

// A user logs out on one machine while another refreshes the session, or resumes it for
// the old cookie.
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

// A session of Stytch's own login is refreshed on one machine, and logged out on another
// before the answer has come.
func TestLogoutDuringARefreshOfANativeSession(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		cookies, _ := a.SignedIn(a.Ada)
		time.Sleep(6 * time.Minute)
		hold := &stytchtest.Hold{}
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		v := &apptest.Visitor{ResponseRecorder: httptest.NewRecorder()}
		done := make(chan bool)
		go func() {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
			r.Header.Set("Cookie", cookies)
			m[0].Handler(v).ServeHTTP(v, r)
			close(done)
		}()
		<-hold.Arrived()
		a.On(m[2]).LogOut(cookies)
		hold.Release()
		<-done
		assert.Empty(t, v.User)
	})
}

// A request was sent before a logout on another machine, with an older JWT. It must not
// write the ended session's cookies: by now another user may have signed in at this
// browser, and would lose theirs.
func TestMemoryAfterALogoutElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		before := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		now := a.On(m[0]).Get(before).Jar(before) // m[0] has the newer JWT in memory
		require.NotEqual(t, before, now)
		a.On(m[2]).LogOut(now)
		time.Sleep(3 * time.Second)
		got := a.On(m[0]).Get(before).String() // of the other tab, slow on its way
		assert.NotContains(t, got, "+stytch_session", got)
	})
}

// The old code logs a user out, and the client leaves at once. The other machines know of
// the logout all the same.
func TestOldLogoutOfAClientThatLeft(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		ctx, leave := context.WithCancel(t.Context())
		a.Handler = func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
			leave()
		}
		a.On(m[0]).Get("sid=ada-1", apptest.Method(http.MethodPost), func(r *http.Request) { *r = *r.WithContext(ctx) })
		a.Handler = nil
		synctest.Wait()
		got := a.On(m[1]).Get("sid=ada-1").String()
		assert.NotContains(t, got, "migrated", got)
	})
}

// Copies of the cookies of sessions that were logged out elsewhere come back. However many
// they are, they do not make Stytch look as if it had lost its sessions.
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

// Two sessions were logged out on another machine. They are no sign that Stytch has lost
// its sessions, so a user who signs in again need not wait.
func TestBrakeOfLogoutsElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		bob := a.On(m[0]).Get("sid=bob-1").Jar("")
		ada := a.On(m[0]).Get("sid=ada-1").Jar("")
		time.Sleep(time.Minute)
		a.On(m[1]).LogOut(bob)
		a.On(m[1]).LogOut(ada)
		time.Sleep(6 * time.Minute)
		got := a.On(m[0]).Get(bob + "; sid=bob-2").String() // signed in again, by a form that does not call Logout
		assert.True(t, strings.HasPrefix(got, "migrated bob"), got)
	})
}

// A user logs out three sessions on one machine, and sends their cookies to another again
// and again. That machine still believes Stytch's "no" about another user.
func TestBrakePulledByOneUser(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		victim := a.On(m[0]).Get("sid=ada-1").Jar("")
		var own []string
		for _, sid := range []string{"sid=bob-1", "sid=bob-2", "sid=bob-3"} {
			own = append(own, a.On(m[1]).Get(sid).Jar(""))
		}
		time.Sleep(time.Minute)
		for _, c := range own {
			a.On(m[1]).LogOut(c)
		}
		time.Sleep(20 * time.Minute)
		a.Stytch.RevokeSession(a.Stytch.Sessions()[0].ID) // ada's, in the dashboard
		for range 10 {
			for _, c := range own {
				_, jwt, _ := strings.Cut(c, "; ") // not the token: that would be remembered as unknown
				a.On(m[2]).Get(jwt)
			}
			time.Sleep(30 * time.Second)
		}
		got := a.On(m[2]).Get(victim + "; sid=ada-2").String()
		assert.False(t, strings.HasPrefix(got, "unavailable"), got)
	})
}
