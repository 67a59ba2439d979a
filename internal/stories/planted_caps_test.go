package stories_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// More JWTs than are looked at: of the rest one may be another person's.
func TestPlantedJWTsBeforeTheRealOne(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		ada, _ := a.SignedIn(a.Ada)
		a.Get(ada)
		_, b := a.SignedIn(a.Bob)
		got := a.Get("stytch_session_jwt=" + b.JWT + "; stytch_session_jwt=j1; stytch_session_jwt=j2; stytch_session_jwt=j3; " + ada)
		assert.NotContains(t, got.String(), "bob")
	})
}

// The same with a token, after both JWTs have expired.
func TestPlantedPairBeforeTheRealOne(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		ada, _ := a.SignedIn(a.Ada)
		_, b := a.SignedIn(a.Bob)
		time.Sleep(6 * time.Minute)
		got := a.Get("stytch_session=" + b.Token + "; stytch_session_jwt=" + b.JWT + "; stytch_session_jwt=j1; stytch_session_jwt=j2; stytch_session_jwt=j3; " + ada)
		assert.NotContains(t, got.String(), "bob")
	})
}

// Of tokens that are not asked about one may be another person's.
func TestPlantedTokensBeforeTheRealOne(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, v := a.SignedIn(a.Ada)
		_, b := a.SignedIn(a.Bob)
		got := a.Get("stytch_session=" + b.Token + "; stytch_session=t1; stytch_session=t2; stytch_session=" + v.Token)
		assert.NotContains(t, got.String(), "bob")
	})
}

// Also where memory knows all that are looked at.
func TestManyPlantedTokensThatMemoryKnows(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, v := a.SignedIn(a.Ada)
		h := ""
		for range 6 {
			_, b := a.SignedIn(a.Bob)
			a.Get("stytch_session=" + b.Token)
			h += "stytch_session=" + b.Token + "; "
		}
		got := a.Get(h + "stytch_session=" + v.Token)
		assert.NotContains(t, got.String(), "bob")
	})
}

// One call fails: whose token that is can't be told, so neither counts.
func TestOutageDoesNotDecideBetweenPeople(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, v := a.SignedIn(a.Ada)
		_, b := a.SignedIn(a.Bob)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
		got := a.Get("stytch_session=" + v.Token + "; stytch_session=" + b.Token)
		assert.NotContains(t, got.String(), "bob")
	})
}

// Nor is anything cleared by the answer about the other.
func TestOutageBesideAPlantedToken(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		ada, _ := a.SignedIn(a.Ada)
		time.Sleep(6 * time.Minute)
		_, b := a.SignedIn(a.Bob)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"), stytchtest.Error(500, "internal_server_error"))
		got := a.Get(ada + "; stytch_session=" + b.Token)
		assert.NotContains(t, got.String(), "-stytch_session")
	})
}

// A logout is of every JWT, whoever they are of.
func TestLogoutEndsEachJWT(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, s := a.SignedIn(a.Ada)
		_, b := a.SignedIn(a.Bob)
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", "stytch_session_jwt="+b.JWT+"; stytch_session_jwt="+s.JWT)
		_ = a.Middleware.Logout(w, r) // an error says that Stytch may not know
		assert.NotContains(t, a.Get("stytch_session_jwt="+s.JWT).String(), "authenticated ada")
	})
}

// A JWT that was logged out while there was no key to verify it stays so, whether
// there is a key later or not.
func TestLoggedOutJWTInAKeySetOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, s := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Error(500, "x"))
		a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Error(500, "x"))
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", "stytch_session_jwt="+s.JWT)
		_ = a.Middleware.Logout(w, r) // an error says that Stytch may not know
		assert.NotContains(t, a.Get("stytch_session_jwt="+s.JWT).String(), "authenticated ada")
	})
}

// And when it has expired.
func TestLoggedOutJWTThatExpired(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, s := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Error(500, "x"))
		a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Error(500, "x"))
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", "stytch_session_jwt="+s.JWT)
		_ = a.Middleware.Logout(w, r) // an error says that Stytch may not know
		a.Stytch.Heal(stytchtest.JWKS)
		time.Sleep(6 * time.Minute)
		assert.NotContains(t, a.Get("stytch_session_jwt="+s.JWT).String(), "authenticated ada")
	})
}

// Each of several such is.
func TestLogoutOfTwoJWTsInAKeySetOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, s := a.SignedIn(a.Ada)
		_, b := a.SignedIn(a.Bob)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Error(500, "x"))
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", "stytch_session_jwt="+s.JWT+"; stytch_session_jwt="+b.JWT)
		_ = a.Middleware.Logout(w, r) // an error says that Stytch may not know
		assert.NotContains(t, a.Get("stytch_session_jwt="+s.JWT).String(), "authenticated ada")
	})
}

// Sessions of two people are nobody's, and a legacy cookie beside them does not
// decide either.
func TestPlantedLegacyCookieBesideTwoPeople(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		ada, _ := a.SignedIn(a.Ada)
		_, b := a.SignedIn(a.Bob)
		got := a.Get(ada + "; stytch_session_jwt=" + b.JWT + "; stytch_session=" + b.Token + "; sid=bob-1")
		assert.NotContains(t, got.String(), "bob")
	})
}

// A refusal under the same id does not hide what the session became before.
func TestLogoutAfterARefusal(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		verified := true
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", "ada-1")
			s.Identity = userinfo.Identity{Subject: "ada", Email: "ada@example.com", EmailVerified: verified}
			return s, nil
		}
		first := a.Get("sid=ada-1")
		time.Sleep(2 * time.Minute)
		verified = false
		a.Get("sid=ada-1")
		a.LogOut("sid=ada-1")
		c := first.Jar("")
		assert.NotContains(t, a.Get(c).String(), "authenticated ada")
	})
}

// An old cookie that is logged out takes every session with it that came from it.
func TestLogoutEndsEarlierSessionsOfTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("sid=ada-1")
		time.Sleep(2 * time.Minute)
		a.LogOut("sid=ada-1")
		c := first.Jar("")
		assert.NotContains(t, a.Get(c).String(), "authenticated ada")
	})
}

// Each row is a Cookie header, and how many of its sessions a logout revokes: of six
// values at most, and of none over 4 KB.
func TestLogoutBounds(t *testing.T) {
	for cookies, want := range map[string]int{
		"stytch_session=A1; stytch_session=A2; stytch_session=A3; stytch_session=A4":                                                                     4,
		"stytch_session=A; stytch_session=B; stytch_session=C; stytch_session=D; stytch_session=E; stytch_session=F; stytch_session=G; stytch_session=H": 6,
		"stytch_session=" + strings.Repeat("A", 4096):                                                                                                    1,
		"stytch_session=" + strings.Repeat("A", 4097):                                                                                                    0,
		"stytch_session=a\x7fb": 0,
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.LogOut(cookies)
			assert.Equal(t, want, a.Stytch.Count(stytchtest.Revoke))
		})
	}
}

// A Stytch session that gave way to a later sign-in was not ended by its user: the
// legacy session that it came from may move again.
func TestOvertakenDoesNotEndTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		cookies := a.Get("sid=ada+0h").Jar("")
		time.Sleep(2 * time.Hour)
		a.Get(cookies + "; sid=bob+1h")
		time.Sleep(time.Minute)
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate migrate",
			a.Get(cookies+"; sid=ada+0h").String())
	})
}
