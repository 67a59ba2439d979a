package stytchmigrate_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// A neighbour of the domain plants a token of their own, which their visit has
// put into memory. The expired JWT of the user names the other one.
func TestPlantedTokenThatMemoryKnows(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		victim, _ := a.signedIn(a.ada)
		time.Sleep(6 * time.Minute)
		bob := a.stytch.NewSession(a.bob.ID, time.Hour)
		a.get("stytch_session=" + bob.Token) // the attacker uses the site
		got := a.get("stytch_session=" + bob.Token + "; " + victim)
		assert.Equal(t, refreshed, got.String())
	})
}

// A whole session is planted beside that of a user: nobody can say whose request
// it is, and it is not the neighbour's.
func TestPlantedSessionBesideAValidJWT(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		victim, _ := a.signedIn(a.ada)
		attacker, s := a.signedIn(a.bob)
		a.get(attacker)
		got := a.get("stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT + "; " + victim)
		assert.NotContains(t, got.String(), "bob")
	})
}

// Two tokens of two people are nobody's, also when memory knows one of them.
func TestMemoryDoesNotDecideBetweenPeople(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		_, v := a.signedIn(a.ada)
		_, b := a.signedIn(a.bob)
		assert.Equal(t, "anonymous | - | - | authenticate authenticate", a.get("stytch_session="+b.Token+"; stytch_session="+v.Token).String())
		a.get("stytch_session=" + b.Token)
		assert.NotContains(t, a.get("stytch_session="+b.Token+"; stytch_session="+v.Token).String(), "bob")
	})
}

// Rubbish tokens clear nothing and end nothing.
func TestPlantedRubbishSignsNobodyOut(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		first := a.get("sid=ada-1")
		cookies := first.jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		got := a.get("stytch_session=A1; stytch_session=A2; stytch_session=A3; " + cookies)
		assert.Equal(t, refreshed, got.String())
		assert.Equal(t, "migrated ada", a.get("sid=ada-1").saw)
	})
}

// A valid JWT beside another person's expired one decides nothing.
func TestPlantedJWTBesideAnExpiredOne(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		victim, _ := a.signedIn(a.ada)
		time.Sleep(6 * time.Minute)
		_, b := a.signedIn(a.bob)
		assert.NotContains(t, a.get("stytch_session_jwt="+b.JWT+"; "+victim).String(), "bob")
	})
}

// A logout that Handler did not see ends the legacy session that a Stytch session
// came from.
func TestLogoutOutsideHandlerEndsTheOrigin(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		c := a.get("sid=ada-1").jar("sid=ada-1")
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", c)
		require.NoError(t, a.m.Logout(w, r))
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "refused"+keep+"-", a.get("sid=ada-1").String())
	})
}

// So does one while Stytch can't be asked.
func TestLogoutInAnOutageEndsTheOrigin(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		c := a.get("sid=ada-1").jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		a.stytch.Fail(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"), stytchtest.Error(500, "internal_server_error"))
		out := a.logOut(c)
		assert.Contains(t, out.String(), "unavailable")
		assert.Equal(t, "refused"+keep+"-", a.get("sid=ada-1").String())
	})
}

// An outage does not make a logged-out session anybody's again.
func TestNoLegacySessionAfterLogoutInAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = startedLongAgo
		a.logOut(a.get("sid=ada-1").jar("sid=ada-1"))
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
		a.get("sid=ada-1; stytch_session=AAAA")
		assert.Empty(t, a.legacySeen.Identity.Subject)
	})
}

// In an outage an expired JWT still says whose request it is not.
func TestNoLegacySessionBesideAnothersJWT(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = startedLongAgo
		bob, _ := a.signedIn(a.bob)
		time.Sleep(6 * time.Minute)
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
		got := a.get("sid=ada-1; " + bob)
		assert.Empty(t, a.legacySeen.Identity.Subject, got.String())
	})
}

// Who waited for an exchange in vain while the user logged out is logged out.
func TestLogoutWhileAnExchangeIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = startedLongAgo
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
		go func() {
			time.Sleep(time.Second)
			r := httptest.NewRequest("POST", "https://app.example.com/", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			_ = a.m.Logout(httptest.NewRecorder(), r)
		}()
		got := a.get("sid=ada-1")
		assert.Empty(t, a.legacySeen.Identity.Subject, got.String())
		time.Sleep(time.Minute)
	})
}

// Another project's JWT is no reason to leave ours alone that can't be verified.
func TestAnotherProjectsJWTInAKeySetOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		w := newWallet(a)
		a.stytch.FailAll(stytchtest.JWKS, stytchtest.Error(500, "x"))
		assert.Equal(t, "authenticated ada", a.get(w.jwtHeader("F Ta Ja")).saw)
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "x"))
		assert.Equal(t, "unavailable", a.get(w.jwtHeader("F Ta2 Ja2")).saw)
	})
}

// A user with a further address signs in by it: an unverified one may be anybody's.
func TestSecondEmailIsAWayIn(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.UpdateUser(a.ada.ID, func(u *stytchtest.User) {
			u.Emails = []stytchtest.Email{{Email: "ada@example.com"}, {Email: "mallory@evil.example", Verified: true}}
		})
		assert.NotContains(t, a.get("sid=ada-1").String(), "migrated ada")
	})
}

// A deadline is no client that left: the handler answers.
func TestDeadlineOfAnOuterMiddleware(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		got := a.get("sid=ada-1", func(r *http.Request) { *r = *r.WithContext(ctx) })
		assert.NotEqual(t, "handler not run", got.saw)
		time.Sleep(time.Minute)
	})
}

// The schema lets a session be without expires_at.
func TestRefreshWithoutExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		_, s := a.signedIn(a.ada)
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Mutate(func(b object) { b["session"].(object)["expires_at"] = nil }))
		assert.Equal(t, "authenticated ada", a.get("stytch_session="+s.Token).saw)
	})
}

// A logout ends the sessions of all legacy cookies.
func TestLogoutEndsEachLegacyCookie(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.logOut("sid=ada-1; old=ada-2")
		assert.NotContains(t, a.get("old=ada-2").saw, "ada")
	}, func(c *stytchmigrate.Config) {
		l := c.Legacy[0]
		l.Name = "old"
		c.Legacy = append(c.Legacy, l)
	})
}

// And all of one name, whoever they are of.
func TestLogoutEndsDuplicatesOfTwoPeople(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.m.Logout(w, r)) }
		a.get("sid=bob-1; sid=ada-1")
		a.handler = nil
		assert.NotContains(t, a.get("sid=ada-1").saw, "ada")
	})
}

// A JWT that nobody could verify at the logout is refused when somebody can.
func TestLogoutOfAJWTThatNoKeyIsFor(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		c, _ := a.signedIn(a.ada)
		a.stytch.FailAll(stytchtest.JWKS, stytchtest.Error(500, "x"))
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "x"))
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", c)
		require.NoError(t, a.m.Logout(w, r))
		a.stytch.Heal(stytchtest.JWKS)
		time.Sleep(5 * time.Second)
		assert.NotContains(t, a.get(c).saw, "ada")
	})
}

// A logout while the full user is waited for.
func TestLogoutWhileTheUserIsAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		c, _ := a.signedIn(a.ada)
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Silence())
		go func() {
			time.Sleep(100 * time.Millisecond)
			r := httptest.NewRequest("POST", "https://app.example.com/", nil)
			r.Header.Set("Cookie", c)
			_ = a.m.Logout(httptest.NewRecorder(), r)
		}()
		assert.NotContains(t, a.get(c).saw, "ada")
		time.Sleep(time.Minute)
	})
}

func startedLongAgo(value string) (stytchmigrate.LegacySession, error) {
	s := legacySession("ada", value)
	s.StartedAt = time.Unix(1, 0)
	return s, nil
}
