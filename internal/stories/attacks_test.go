package stories_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// The story of attackers. One has a copy of an old cookie whose user logged out,
// and wants to be that user again. Another sends made-up cookies, to sign users
// out or to slow them down. Each of these attacks worked once.

// resolveStarted is an App.Resolve that knows when a session started. So the old
// code does not serve the session after a logout either.
func resolveStarted(value string) (stytchmigrate.LegacySession, error) {
	name, _, found := strings.Cut(value, "-")
	if !found || name != "ada" {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	s := apptest.LegacySession(name, value)
	s.StartedAt = time.Unix(1, 0)
	return s, nil
}

// logOutOn moves ada's legacy session to Stytch on a machine, and logs it out there.
func logOutOn(a *apptest.App, m *stytchmigrate.Middleware, cookie string) {
	a.On(m).LogOut(a.On(m).Get(cookie).Jar(cookie))
}

// only is the part of a Cookie header that begins with prefix.
func only(prefix, header string) string {
	for pair := range strings.SplitSeq(header, "; ") {
		if strings.HasPrefix(pair, prefix) {
			return pair
		}
	}
	return ""
}

// The copy comes with a made-up token, while a flood of made-up tokens keeps
// Stytch from being asked about it. The machine can't tell whether the token is
// ada's, but it can tell that ada logged out elsewhere.
func TestCopyOfALoggedOutCookieIsNotServedInAFlood(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Resolve = resolveStarted
		logOutOn(a, m[0], "sid=ada-1")
		time.Sleep(time.Hour)
		for i := range 100 { // at one moment, as many as the limit lets through and more
			a.On(m[1]).Get(fmt.Sprintf("stytch_session=%044d", i))
		}
		a.Get("stytch_session=madeup; sid=ada-1")
		assert.Empty(t, a.LegacySeen.Identity.Subject)
	})
}

// The copy comes while a machine can't reach the store, which alone knows of the
// logout. The machine makes a session of it. That session must not outlive the
// outage.
func TestSessionMadeOfALoggedOutCookieEndsWithTheStoresOutage(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		a.Resolve = resolveStarted
		logOutOn(a, m[0], "sid=ada-1")
		time.Sleep(time.Hour)
		s.Fail(apptest.StoreDown)
		jar := a.On(m[1]).Get("sid=ada-1").Jar("")
		s.Fail(nil)
		require.NotEmpty(t, jar)
		for range 3 {
			time.Sleep(24 * time.Hour)
			assert.NotContains(t, a.On(m[1]).Get(jar).Saw, "ada")
			r := a.On(m[2]).Get(jar)
			assert.NotContains(t, r.Saw, "ada")
			jar = r.Jar(jar)
		}
	})
}

// The user and the attacker have the same old cookie, and two machines make a
// session each of it while the store is down. The user's logout ends both.
func TestLogoutEndsBothSessionsOfAStoresOutage(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		a.Resolve = resolveStarted
		s.Fail(apptest.StoreDown)
		user := a.On(m[0]).Get("sid=ada-1").Jar("")
		attacker := a.On(m[1]).Get("sid=ada-1").Jar("")
		s.Fail(nil)
		time.Sleep(time.Hour)
		a.On(m[0]).LogOut(user)
		time.Sleep(6 * time.Minute)
		assert.NotContains(t, a.On(m[1]).Get(attacker).Saw, "ada")
		assert.NotContains(t, a.On(m[2]).Get(attacker).Saw, "ada")
	})
}

// The attacker's client gives up its own logouts, in the old code's handler. Were
// a canceled call an error of the store, the store's breaker would open: for some
// seconds the machine would not ask the store about the copied cookie.
func TestClientsThatLeaveDoNotOpenTheStoresBreaker(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Resolve = resolveStarted
		logOutOn(a, m[0], "sid=ada-1")
		time.Sleep(time.Hour)
		for i := range 5 {
			r, leave := oldLogout(t, fmt.Sprint("sid=ada-1", i))
			m[1].Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				apptest.LegacyLogout(w, r)
				leave()
			})).ServeHTTP(httptest.NewRecorder(), r)
		}
		assert.NotContains(t, a.On(m[1]).Get("sid=ada-1").Saw, "ada")
	})
}

// oldLogout is a request to the logout of the old code, whose client may leave.
func oldLogout(t *testing.T, cookie string) (r *http.Request, leave context.CancelFunc) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	r = httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil).WithContext(ctx)
	r.Header.Set("Cookie", cookie)
	return r, leave
}

// Three sessions of the attacker's are alive, and each comes with a made-up
// token. That Stytch does not know the tokens is no reason to doubt Stytch: it
// is still believed about a session of ada's that an administrator revoked.
func TestMadeUpTokensAreNoReasonToDoubtStytch(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = resolveStarted
		var attacker []string
		for range 3 {
			jwt, _ := a.Expired(a.Bob, "jwt")
			attacker = append(attacker, jwt)
		}
		a.Get("sid=ada-1")
		time.Sleep(6 * time.Minute)
		all := a.Stytch.Sessions()
		a.Stytch.RevokeSession(all[len(all)-1].ID)
		for i, jwt := range attacker {
			a.Get(fmt.Sprintf("%s; stytch_session=%044d", jwt, i))
		}
		assert.Equal(t, "refused", a.Get("sid=ada-1").Saw)
		assert.Empty(t, a.LegacySeen.Identity.Subject)
		assert.Empty(t, a.Events)
	})
}

// A made-up token comes with the expired JWT of a session that is alive. Stytch
// does not know the token, but that says nothing about the session, so the
// legacy session does not end.
func TestMadeUpTokenDoesNotEndALegacySession(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		jar := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		a.On(m[1]).Get(only("stytch_session_jwt=", jar) + "; stytch_session=planted")
		require.True(t, a.Stytch.Sessions()[0].Live)
		assert.Contains(t, a.On(m[2]).Get("sid=ada-1").Saw, "migrated ada")
	})
}

// A hundred requests bring the JWT of a session that ended. Stytch is asked a
// few times, or such requests would take the calls that users need.
func TestEndedSessionCostsFewCalls(t *testing.T) {
	for name, end := range map[string]func(a *apptest.App, cookies, id string){
		"logged out here": func(a *apptest.App, cookies, _ string) { a.LogOut(cookies) },
		"revoked":         func(a *apptest.App, _, id string) { a.Stytch.RevokeSession(id) },
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, s := a.SignedIn(a.Bob)
				a.Get(cookies)
				end(a, cookies, s.ID)
				time.Sleep(6 * time.Minute)
				ada, _ := a.SignedIn(a.Ada)
				a.Get(ada)
				calls := 0
				for range 100 {
					a.Get(only("stytch_session_jwt=", cookies))
					calls += a.Stytch.Count(stytchtest.Authenticate)
				}
				assert.LessOrEqual(t, calls, 4)
			})
		})
	}
}

// Two entries of the Config read one cookie, and the second one finds the
// session. Its End is called at a logout on another machine, not that of the
// first.
func TestLogoutCallsEndOfTheEntryThatFoundTheSession(t *testing.T) {
	var ended []string
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		jar := a.On(m[0]).Get("sid=ada-1").Jar("")
		a.On(m[1]).LogOut(jar)
		assert.Equal(t, []string{"new ada-1"}, ended)
	}, func(c *stytchmigrate.Config) {
		endOf := func(entry string) func(context.Context, stytchmigrate.LegacySession) error {
			return func(_ context.Context, s stytchmigrate.LegacySession) error {
				ended = append(ended, entry+" "+string(s.ID))
				return nil
			}
		}
		noSession := func(*http.Request, string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		c.Legacy = []stytchmigrate.LegacyCookie{
			{Name: "sid", Resolve: noSession, End: endOf("old")},
			{Name: "sid", Resolve: c.Legacy[0].Resolve, End: endOf("new")},
		}
	})
}

// A legacy session may not move, so the old code serves it. After a logout on
// one machine the others don't serve a copy of the cookie, although they have
// no reason to ask the store about a session that may not move.
func TestRefusedSessionIsNotServedAfterALogoutElsewhere(t *testing.T) {
	for name, row := range map[string]struct {
		verified bool
		wait     time.Duration
	}{
		"Stytch refuses it, for a minute":    {true, 30 * time.Second},
		"its email is not verified, forever": {false, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
					s, err := resolveStarted(value)
					s.Identity.EmailVerified = row.verified
					return s, err
				}
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(404, "user_not_found"))
				a.On(m[1]).Get("sid=ada-1")
				require.Equal(t, "ada", a.LegacySeen.Identity.Subject)
				a.On(m[0]).LogOut("sid=ada-1")
				time.Sleep(row.wait)
				for _, machine := range m[:2] {
					a.On(machine).Get("sid=ada-1")
					assert.Empty(t, a.LegacySeen.Identity.Subject)
				}
			})
		})
	}
}
