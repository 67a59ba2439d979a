package stories_test

import (
	"context"
	"fmt"
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
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/internal/apptest/scale"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// Each test below is an attack that worked once, told as it went.

func startedResolve(a *apptest.App) {
	a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
		name, _, found := strings.Cut(v, "-")
		if !found || name != "ada" && name != "bob" {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		s := apptest.LegacySession(name, v)
		s.StartedAt = time.Unix(1, 0)
		return s, nil
	}
}

func onlyCookies(jar, prefix string) string {
	var kept []string
	for pair := range strings.SplitSeq(jar, "; ") {
		if strings.HasPrefix(pair, prefix) {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "; ")
}

// The old cookie of who logged out on another machine, beside a token made up
// while the lane for made-up tokens is flooded: the handler is told it is ada.
func TestAttackLoggedOutElsewhereServedInAFlood(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		startedResolve(a)
		a.On(m[0]).LogOut(a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1"))
		time.Sleep(time.Hour)
		for i := range 100 { // no time passes: the limiter's burst
			a.On(m[1]).Get(fmt.Sprintf("stytch_session=%044d", i))
		}
		got := a.Get("stytch_session=madeup; sid=ada-1")
		t.Log(got.String())
		assert.Empty(t, a.LegacySeen.Identity.Subject, "whoever has a copy of the cookie is ada again")
	})
}

// A logout long ago, without an error; then a machine can't reach the store for
// a moment. The copy of the old cookie becomes a session that is good everywhere, for
// 30 days, after the store is back.
func TestAttackSessionMadeInAStoreOutageOutlivesIt(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		startedResolve(a)
		a.On(m[0]).LogOut(a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1"))
		time.Sleep(time.Hour)
		s.Fail(apptest.StoreDown)
		jar := a.On(m[1]).Get("sid=ada-1").Jar("")
		s.Fail(nil)
		require.NotEmpty(t, jar)
		for range 3 {
			time.Sleep(24 * time.Hour)
			r := a.On(m[1]).Get(jar)
			t.Log(r.String())
			assert.NotContains(t, r.Saw, "ada")
			r = a.On(m[2]).Get(jar)
			assert.NotContains(t, r.Saw, "ada")
			jar = r.Jar(jar)
		}
	})
}

// Two sessions of one legacy session, made while the store was down; a logout of one
// ends the record, and the other (of a copied cookie, say) lives on.
func TestAttackLogoutLeavesTheOutagesOtherSession(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		startedResolve(a)
		s.Fail(apptest.StoreDown)
		mine := a.On(m[0]).Get("sid=ada-1").Jar("")
		thief := a.On(m[1]).Get("sid=ada-1").Jar("")
		s.Fail(nil)
		time.Sleep(time.Hour)
		a.On(m[0]).LogOut(mine)
		time.Sleep(6 * time.Minute)
		assert.NotContains(t, a.On(m[1]).Get(thief).Saw, "ada")
		assert.NotContains(t, a.On(m[2]).Get(thief).Saw, "ada")
	})
}

// Requests that their client gives up during an old logout open the breaker of the
// store, and the marks of this machine are not seen for five seconds.
func TestAttackClientOpensTheStoresBreaker(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		startedResolve(a)
		rounds := scale.Down(40)
		for round := range rounds {
			old := fmt.Sprintf("sid=ada-%d", round)
			a.On(m[0]).LogOut(a.On(m[0]).Get(old).Jar(old))
		}
		time.Sleep(time.Hour)
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Handle(a.On(m[2]).Copies(t)))
		for round := range rounds { // by the scheduler's favour, in about every fourth
			time.Sleep(time.Minute)
			const n = 30
			gate := make(chan struct{})
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					ctx, cancel := context.WithCancel(context.Background())
					r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil).WithContext(ctx)
					r.Header.Set("Cookie", fmt.Sprintf("sid=ada-%d-%d", round, i))
					m[1].Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // the old code's logout
						http.SetCookie(w, &http.Cookie{Name: "sid", MaxAge: -1, Path: "/"})
						<-gate
						cancel()
					})).ServeHTTP(httptest.NewRecorder(), r)
				})
			}
			synctest.Wait()
			close(gate)
			wg.Wait()
			got := a.On(m[1]).Get(fmt.Sprintf("sid=ada-%d", round))
			require.NotContains(t, got.Saw, "ada", "round %d: brought back by clients that went away", round)
		}
	})
}

// The mark of an old logout whose client went away is not written to the store.
func TestAttackOldLogoutOfAClientThatLeftIsNotShared(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		ctx, cancel := context.WithCancel(context.Background())
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil).WithContext(ctx)
		r.Header.Set("Cookie", "sid=ada-1")
		m[0].Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "sid", MaxAge: -1, Path: "/"})
			cancel()
		})).ServeHTTP(httptest.NewRecorder(), r)
		synctest.Wait()
		assert.NotEmpty(t, s.Values()[a.OriginOf(t)+".ended"])
		assert.Equal(t, "refused", a.On(m[1]).Get("sid=ada-1").Saw)
	})
}

// Three sessions of the attacker's that are ALIVE, each beside a made-up token, pull
// the brake; then a session that was revoked at Stytch is not refused but unavailable, and the
// handler is told whose the old cookie is.
func TestAttackPullsTheBrakeWithMadeUpTokens(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		startedResolve(a)
		var jwts []string
		for range 3 {
			c, _ := a.Expired(a.Bob, "jwt")
			jwts = append(jwts, c)
		}
		a.Get("sid=ada-1") // ada's, whose cookie was copied
		time.Sleep(6 * time.Minute)
		all := a.Stytch.Sessions()
		a.Stytch.RevokeSession(all[len(all)-1].ID) // by an administrator, at Stytch
		for i, c := range jwts {
			t.Log(a.Get(fmt.Sprintf("%s; stytch_session=%044d", c, i)).String())
		}
		got := a.Get("sid=ada-1")
		t.Log(got.String(), a.LegacySeen.Identity.Subject)
		assert.Equal(t, "refused", got.Saw)
		assert.Empty(t, a.LegacySeen.Identity.Subject)
		assert.Empty(t, a.Events)
	})
}

// A made-up token beside the expired JWT of a session that is alive ends the legacy
// session for good, though Stytch was never asked about that session.
func TestAttackMadeUpTokenEndsTheRecord(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		jar := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		r := a.On(m[1]).Get(onlyCookies(jar, "stytch_session_jwt=") + "; stytch_session=planted")
		t.Log(r.String())
		require.True(t, a.Stytch.Sessions()[0].Live)
		assert.Contains(t, a.On(m[2]).Get("sid=ada-1").Saw, "migrated ada", "the session is alive")
	})
}

// Cookies of a session that has ended cost one or two calls each time, in the
// lane of the users who are vouched for.
func TestAttackEndedJWTIsAskedAboutForEver(t *testing.T) {
	for name, out := range map[string]bool{"logged out here": true, "revoked": false} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, s := a.SignedIn(a.Bob)
				if a.Get(cookies); out {
					a.LogOut(cookies)
				} else {
					a.Stytch.RevokeSession(s.ID)
				}
				time.Sleep(6 * time.Minute)
				ada, _ := a.SignedIn(a.Ada)
				a.Get(ada)
				jwt := onlyCookies(cookies, "stytch_session_jwt=")
				calls := 0
				for range 100 {
					calls += strings.Count(a.Get(jwt).String(), "authenticate")
				}
				assert.LessOrEqual(t, calls, 4)
			})
		})
	}
}

// Two entries read one cookie; End of the wrong one is called.
func TestAttackEndOfTheWrongEntry(t *testing.T) {
	var ended []string
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		jar := a.On(m[0]).Get("sid=ada-1").Jar("")
		a.On(m[1]).LogOut(jar)
		assert.Equal(t, []string{"new ada-1"}, ended)
	}, func(c *stytchmigrate.Config) {
		of := func(name string, resolve func(*http.Request, string) (stytchmigrate.LegacySession, error)) stytchmigrate.LegacyCookie {
			return stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolve, End: func(_ context.Context, s stytchmigrate.LegacySession) error {
				ended = append(ended, name+" "+string(s.ID))
				return nil
			}}
		}
		none := func(*http.Request, string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		c.Legacy = []stytchmigrate.LegacyCookie{of("old", none), of("new", c.Legacy[0].Resolve)}
	})
}

// A session that the package itself revoked (overtaken) counts as ended on a machine
// that did not revoke it: ada is refused for good.
func TestAttackOvertakenCountsAsEndedElsewhere(t *testing.T) {
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
		cookies := a.On(m[0]).Get("sid=ada-1").Jar("")
		time.Sleep(6 * time.Minute)
		require.Contains(t, a.On(m[1]).Get(cookies+"; sid=bob-1").String(), "migrated bob |")
		synctest.Wait()
		a.On(m[2]).Get(cookies) // another tab of that browser, at the same time
		assert.Equal(t, apptest.Swapped, a.On(m[0]).Get("sid=ada-1").String())
	})
}

// Who Stytch, or a rule, refuses is served by the old code; logged out on one machine,
// a copy of the cookie is served on the others: they never ask the store.
func TestAttackRefusedAndLoggedOutElsewhereIsServed(t *testing.T) {
	for name, row := range map[string]struct {
		verified bool
		wait     time.Duration
	}{"by Stytch, for a minute": {true, 30 * time.Second}, "unverified email, for ever": {false, 24 * time.Hour}} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
					s := apptest.LegacySession("ada", v)
					s.StartedAt, s.Identity.EmailVerified = time.Unix(1, 0), row.verified
					return s, nil
				}
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(404, "user_not_found"))
				a.On(m[1]).Get("sid=ada-1")
				a.On(m[0]).LogOut("sid=ada-1")
				time.Sleep(row.wait)
				a.On(m[0]).Get("sid=ada-1")
				require.Empty(t, a.LegacySeen.Identity.Subject)
				a.On(m[1]).Get("sid=ada-1")
				assert.Empty(t, a.LegacySeen.Identity.Subject)
			})
		})
	}
}
