package stories_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// A neighbour of the domain plants a token of their own, which their visit has
// put into memory. The expired JWT of the user names the other one.
func TestPlantedTokenThatMemoryKnows(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		victim, _ := a.SignedIn(a.Ada)
		time.Sleep(6 * time.Minute)
		bob := a.Stytch.NewSession(a.Bob.ID, time.Hour)
		a.Get("stytch_session=" + bob.Token) // the attacker uses the site
		got := a.Get("stytch_session=" + bob.Token + "; " + victim)
		assert.Equal(t, apptest.Refreshed, got.String())
	})
}

// A whole session is planted beside that of a user: nobody can say whose request
// it is, and it is not the neighbour's.
func TestPlantedSessionBesideAValidJWT(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		victim, _ := a.SignedIn(a.Ada)
		attacker, s := a.SignedIn(a.Bob)
		a.Get(attacker)
		got := a.Get("stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT + "; " + victim)
		assert.NotContains(t, got.String(), "bob")
	})
}

// Two tokens of two people are nobody's, also when memory knows one of them.
func TestMemoryDoesNotDecideBetweenPeople(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, v := a.SignedIn(a.Ada)
		_, b := a.SignedIn(a.Bob)
		assert.Equal(t, "anonymous | - | - | authenticate authenticate", a.Get("stytch_session="+b.Token+"; stytch_session="+v.Token).String())
		a.Get("stytch_session=" + b.Token)
		assert.NotContains(t, a.Get("stytch_session="+b.Token+"; stytch_session="+v.Token).String(), "bob")
	})
}

// Rubbish tokens clear nothing and end nothing.
func TestPlantedRubbishSignsNobodyOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("sid=ada-1")
		cookies := first.Jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		got := a.Get("stytch_session=A1; stytch_session=A2; stytch_session=A3; " + cookies)
		assert.Equal(t, apptest.Refreshed, got.String())
		assert.Equal(t, "migrated ada", a.Get("sid=ada-1").Saw)
	})
}

// A valid JWT beside another person's expired one decides nothing.
func TestPlantedJWTBesideAnExpiredOne(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		victim, _ := a.SignedIn(a.Ada)
		time.Sleep(6 * time.Minute)
		_, b := a.SignedIn(a.Bob)
		assert.NotContains(t, a.Get("stytch_session_jwt="+b.JWT+"; "+victim).String(), "bob")
	})
}

// A logout that Handler did not see ends the legacy session that a Stytch session
// came from.
func TestLogoutOutsideHandlerEndsTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		c := a.Get("sid=ada-1").Jar("sid=ada-1")
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", c)
		require.NoError(t, a.Middleware.Logout(w, r))
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "refused"+apptest.Untouched+"-", a.Get("sid=ada-1").String())
	})
}

// So does one while Stytch can't be asked.
func TestLogoutInAnOutageEndsTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		c := a.Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"), stytchtest.Error(500, "internal_server_error"))
		out := a.LogOut(c)
		assert.Contains(t, out.String(), "unavailable")
		assert.Equal(t, "refused"+apptest.Untouched+"-", a.Get("sid=ada-1").String())
	})
}

// An outage does not make a logged-out session anybody's again.
func TestNoLegacySessionAfterLogoutInAnOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = startedLongAgo
		a.LogOut(a.Get("sid=ada-1").Jar("sid=ada-1"))
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
		a.Get("sid=ada-1; stytch_session=AAAA")
		assert.Empty(t, a.LegacySeen.Identity.Subject)
	})
}

// In an outage an expired JWT still says whose request it is not.
func TestNoLegacySessionBesideAnothersJWT(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = startedLongAgo
		bob, _ := a.SignedIn(a.Bob)
		time.Sleep(6 * time.Minute)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
		got := a.Get("sid=ada-1; " + bob)
		assert.Empty(t, a.LegacySeen.Identity.Subject, got.String())
	})
}

// Who waited for an exchange in vain while the user logged out is logged out.
func TestLogoutWhileAnExchangeIsSilent(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = startedLongAgo
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
		go func() {
			time.Sleep(time.Second)
			r := httptest.NewRequest("POST", "https://app.example.com/", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			_ = a.Middleware.Logout(httptest.NewRecorder(), r)
		}()
		got := a.Get("sid=ada-1")
		assert.Empty(t, a.LegacySeen.Identity.Subject, got.String())
		time.Sleep(time.Minute)
	})
}

// Another project's JWT is no reason to leave ours alone that can't be verified.
func TestAnotherProjectsJWTInAKeySetOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		w := apptest.NewWallet(a)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Error(500, "x"))
		assert.Equal(t, "authenticated ada", a.Get(w.JWTHeader("F Ta Ja")).Saw)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "x"))
		assert.Equal(t, "unavailable", a.Get(w.JWTHeader("F Ta2 Ja2")).Saw)
	})
}

// A user with a further address signs in by it: an unverified one may be anybody's.
func TestSecondEmailIsAWayIn(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.UpdateUser(a.Ada.ID, func(u *stytchtest.User) {
			u.Emails = []stytchtest.Email{{Email: "ada@example.com"}, {Email: "mallory@evil.example", Verified: true}}
		})
		assert.NotContains(t, a.Get("sid=ada-1").String(), "migrated ada")
	})
}

// A deadline is no client that left: the handler answers.
func TestDeadlineOfAnOuterMiddleware(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got := a.Get("sid=ada-1", func(r *http.Request) { *r = *r.WithContext(ctx) })
		assert.NotEqual(t, "handler not run", got.Saw)
		time.Sleep(time.Minute)
	})
}

// The schema lets a session be without expires_at.
func TestRefreshWithoutExpiry(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, s := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Mutate(func(b apptest.Object) { b["session"].(apptest.Object)["expires_at"] = nil }))
		assert.Equal(t, "authenticated ada", a.Get("stytch_session="+s.Token).Saw)
	})
}

// A logout ends the sessions of all legacy cookies.
func TestLogoutEndsEachLegacyCookie(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.LogOut("sid=ada-1; old=ada-2")
		assert.NotContains(t, a.Get("old=ada-2").Saw, "ada")
	}, func(c *stytchmigrate.Config) {
		l := c.Legacy[0]
		l.Name = "old"
		c.Legacy = append(c.Legacy, l)
	})
}

// And all of one name, whoever they are of.
func TestLogoutEndsDuplicatesOfTwoPeople(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
		a.Get("sid=bob-1; sid=ada-1")
		a.Handler = nil
		assert.NotContains(t, a.Get("sid=ada-1").Saw, "ada")
	})
}

// A JWT that nobody could verify at the logout is refused when somebody can.
func TestLogoutOfAJWTThatNoKeyIsFor(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		c, _ := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Error(500, "x"))
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "x"))
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", c)
		require.NoError(t, a.Middleware.Logout(w, r))
		a.Stytch.Heal(stytchtest.JWKS)
		time.Sleep(5 * time.Second)
		assert.NotContains(t, a.Get(c).Saw, "ada")
	})
}

// A logout while the full user is waited for.
func TestLogoutWhileTheUserIsAskedFor(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		c, _ := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Silence())
		go func() {
			time.Sleep(100 * time.Millisecond)
			r := httptest.NewRequest("POST", "https://app.example.com/", nil)
			r.Header.Set("Cookie", c)
			_ = a.Middleware.Logout(httptest.NewRecorder(), r)
		}()
		assert.NotContains(t, a.Get(c).Saw, "ada")
		time.Sleep(time.Minute)
	})
}

func startedLongAgo(value string) (stytchmigrate.LegacySession, error) {
	s := apptest.LegacySession("ada", value)
	s.StartedAt = time.Unix(1, 0)
	return s, nil
}
