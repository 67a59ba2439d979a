package stories_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// What Stytch says of a session decides, and the legacy session is tried once
// there is no other.
func TestStytchSaysNo(t *testing.T) {
	const thenBob = "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | authenticate migrate"
	for name, row := range map[string]struct{ cookies, legacy, want string }{
		"a token":                                      {"session", "", apptest.SignedOut},
		"an expired JWT":                               {"jwt", "", apptest.SignedOut},
		"a token and an expired JWT":                   {"both", "", apptest.SignedOut + " authenticate"}, // which may be of two sessions
		"a valid JWT":                                  {"valid", "", apptest.SignedOut},
		"a token, and a legacy session":                {"session", "; sid=bob-1", thenBob},
		"an expired JWT, and a legacy session":         {"jwt", "; sid=bob-1", thenBob},
		"a token, an expired JWT and a legacy session": {"both", "; sid=bob-1", strings.Replace(thenBob, "authenticate", "authenticate authenticate", 1)},
		"a valid JWT, and a legacy session":            {"valid", "; sid=bob-1", thenBob},
		"a token, and a legacy cookie of nobody":       {"session", "; sid=nobody", apptest.SignedOut},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, s := a.Expired(a.Ada, row.cookies)
				if row.cookies == "valid" {
					cookies = "stytch_session=" + s.Token + "; stytch_session_jwt=" + a.Stytch.JWT(s.ID)
				}
				a.Stytch.RevokeSession(s.ID)
				assert.Equal(t, row.want, a.Get(cookies+row.legacy).String())
			})
		})
	}
}

// Each error type that means that there is no such session; the same status
// with another one means nothing.
func TestErrorTypesOnAuthenticate(t *testing.T) {
	const unknown = "unavailable | - | - | authenticate"
	for _, row := range []struct {
		status     int
		error_type string
		want       string
	}{
		{404, "session_not_found", apptest.SignedOut},
		{400, "invalid_session_token", apptest.SignedOut},
		{400, "unable_to_parse_session_jwt", apptest.SignedOut},
		{400, "jwt_invalid_audience", apptest.SignedOut},
		{400, "jwt_invalid_claims", apptest.SignedOut},
		{400, "jwt_invalid_issuer", apptest.SignedOut},
		{404, "route_not_found", unknown},
		{404, "project_not_found", unknown},
		{400, "bad_request", unknown},
		{400, "an_error_of_next_year", unknown},
		{409, "user_not_found", unknown},
	} {
		t.Run(row.error_type, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.Expired(a.Ada, "session")
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(row.status, row.error_type))
				assert.Equal(t, row.want, a.Get(cookies).String())
			})
		})
	}
}

// A JWT that verifies says who it is while Stytch says nothing; the rest of the
// user comes once Stytch has answered.
func TestValidJWTWhileStytchIsSilent(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var hold stytchtest.Hold
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(&hold))
		cookies, s := a.SignedIn(a.Ada)
		a.Handler = func(_ http.ResponseWriter, r *http.Request) {
			session, _ := stytchmigrate.SessionFromContext(r.Context())
			assert.Equal(t, s.ID, session.SessionID)
			assert.Equal(t, a.Ada.ID, session.UserID)
			assert.WithinDuration(t, s.ExpiresAt, session.ExpiresAt, time.Second)
			assert.Len(t, session.AuthenticationFactors, 1)
		}
		start := time.Now()
		assert.Equal(t, "authenticated partial ada | - | - | authenticate", a.Get(cookies).String())
		assert.LessOrEqual(t, time.Since(start), 600*time.Millisecond)
		assert.Equal(t, "authenticated partial ada | - | - | -", a.Get(cookies).String(), "and nobody waits again so soon")

		hold.Release()
		time.Sleep(10 * time.Second)
		assert.Equal(t, apptest.FromJWT+"-", a.Get(cookies).String(), "the answer came after all")
	})
}

// The outage goes on for longer than the JWT lives: nobody is signed out.
func TestJWTExpiresDuringAnOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		require.Equal(t, apptest.FromJWT+"authenticate", a.Get(cookies).String())
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "server_unavailable"))
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "unavailable | - | - | authenticate authenticate", a.Get(cookies+"; sid=bob-1").String())
		a.Stytch.Heal(stytchtest.Any)
		time.Sleep(time.Minute)
		assert.Equal(t, apptest.Refreshed, a.Get(cookies).String())
	})
}

// Clocks are never quite right. What a JWT's dates leave open, Stytch decides.
func TestClocks(t *testing.T) {
	for name, row := range map[string]struct {
		ahead       time.Duration // of Stytch's clock
		first, next string
	}{
		"20 s ahead":   {20 * time.Second, apptest.FromJWT + "authenticate", apptest.FromJWT + "-"},
		"20 s behind":  {-20 * time.Second, apptest.FromJWT + "authenticate", apptest.FromJWT + "-"},
		"2 min ahead":  {2 * time.Minute, apptest.Refreshed, apptest.FromJWT + "-"},
		"2 min behind": {-2 * time.Minute, apptest.FromJWT + "authenticate", apptest.FromJWT + "-"},
		"6 min behind": {-6 * time.Minute, apptest.Refreshed, apptest.Refreshed},
		"6 min ahead":  {6 * time.Minute, apptest.Refreshed, apptest.FromJWT + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.SetClock(func() time.Time { return time.Now().Add(row.ahead) })
				cookies, _ := a.SignedIn(a.Ada)
				first := a.Get(cookies)
				assert.Equal(t, row.first, first.String())
				assert.Equal(t, row.next, a.Get(first.Jar(cookies)).String())
			})
		})
	}
}

// While there is no key to verify a JWT with, Stytch is asked.
func TestNoKeySet(t *testing.T) {
	ec := `{"kty":"EC","crv":"P-256","kid":"k","use":"sig","x":"AQAB","y":"AQAB"}`
	for name, fault := range map[string]stytchtest.Fault{
		"down":         stytchtest.Reset(),
		"unavailable":  stytchtest.Error(503, "server_unavailable"),
		"an object":    stytchtest.Respond(200, "{}"),
		"no keys":      stytchtest.Respond(200, `{"keys":[]}`),
		"only EC keys": stytchtest.Respond(200, `{"keys":[`+ec+`]}`),
		"HTML":         stytchtest.Respond(200, "<html>"),
		"10 MiB":       stytchtest.Huge(10 << 20),
		"silence":      stytchtest.Silence(),
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.JWKS, fault)
				both, _ := a.SignedIn(a.Ada)
				start := time.Now()
				first := a.Get(both)
				assert.Equal(t, apptest.Refreshed, first.String())
				assert.LessOrEqual(t, time.Since(start), 2*time.Second)
				assert.Equal(t, apptest.FromJWT+"-", a.Get(first.Jar(both)).String(), "known by now")

				other, _ := a.SignedIn(a.Bob)
				_, jwt, _ := strings.Cut(other, "; ")
				assert.Equal(t, strings.Replace(apptest.Refreshed, "ada", "bob", 1), a.Get(jwt).String(), "without a token")
			})
		})
	}
}

func TestKeySetStaysInForce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first, _ := a.SignedIn(a.Ada)
		require.Equal(t, apptest.JWTAccepted, a.Get(first).WithKeySets())
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Respond(200, `{"keys":[]}`))
		for range 3 { // an hour each, after which the set is fetched anew
			time.Sleep(61 * time.Minute)
			next, _ := a.SignedIn(a.Ada)
			assert.Equal(t, apptest.FromJWT+"authenticate", a.Get(next).String())
		}
	})
}

func TestKeyRotation(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := a.Stytch.NewSession(a.Ada.ID, 24*time.Hour)
		old := func(id string) string { // lives for hours, and is another each time
			return "stytch_session_jwt=" + a.Stytch.SignJWT(apptest.Changed(a.Stytch.Claims(s.ID), apptest.Object{"exp": in(5 * time.Hour), "n": id}), nil)
		}
		before, inBetween, after := old("1"), old("2"), old("3")
		require.Equal(t, apptest.JWTAccepted, a.Get(before).WithKeySets())

		time.Sleep(2 * time.Minute)
		a.Stytch.RotateKey()
		assert.Equal(t, "authenticated ada | - | - | - | key sets: 1", a.Get("stytch_session_jwt="+a.Stytch.JWT(s.ID)).WithKeySets())
		assert.Equal(t, "authenticated ada | - | - | - | key sets: 0", a.Get(inBetween).WithKeySets(), "both are published")

		a.Stytch.DropOldKeys()
		time.Sleep(61 * time.Minute)
		fresh, _ := a.SignedIn(a.Bob)
		require.Equal(t, "authenticated bob | - | - | authenticate", a.Get(fresh).String())
		time.Sleep(time.Second) // the fetch that this made due
		assert.Equal(t, "anonymous | - | - | - | key sets: 0", a.Get(after).WithKeySets())
	})
}
