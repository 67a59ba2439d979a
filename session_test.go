package stytchmigrate_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

const (
	refreshed = "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate"
	signedOut = "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate"
	fromJWT   = "authenticated ada | - | - | "
)

// expired is the Cookie header of a session of u's whose JWT has expired; of
// the names, session and jwt, only those that are asked for are in it.
func (a *app) expired(u stytchtest.User, names string) (cookies string, s stytchtest.Session) {
	both, s := a.signedIn(u)
	time.Sleep(6 * time.Minute)
	token, jwt, _ := strings.Cut(both, "; ")
	return map[string]string{"session": token, "jwt": jwt, "both": both}[names], s
}

// What Stytch says of a session decides, and the legacy session is tried once
// there is no other.
func TestStytchSaysNo(t *testing.T) {
	const thenBob = "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | authenticate migrate"
	for name, row := range map[string]struct{ cookies, legacy, want string }{
		"a token":                                      {"session", "", signedOut},
		"an expired JWT":                               {"jwt", "", signedOut},
		"a token and an expired JWT":                   {"both", "", signedOut + " authenticate"}, // which may be of two sessions
		"a valid JWT":                                  {"valid", "", signedOut},
		"a token, and a legacy session":                {"session", "; sid=bob-1", thenBob},
		"an expired JWT, and a legacy session":         {"jwt", "; sid=bob-1", thenBob},
		"a token, an expired JWT and a legacy session": {"both", "; sid=bob-1", strings.Replace(thenBob, "authenticate", "authenticate authenticate", 1)},
		"a valid JWT, and a legacy session":            {"valid", "; sid=bob-1", thenBob},
		"a token, and a legacy cookie of nobody":       {"session", "; sid=nobody", signedOut},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies, s := a.expired(a.ada, row.cookies)
				if row.cookies == "valid" {
					cookies = "stytch_session=" + s.Token + "; stytch_session_jwt=" + a.stytch.JWT(s.ID)
				}
				a.stytch.RevokeSession(s.ID)
				assert.Equal(t, row.want, a.get(cookies+row.legacy).String())
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
		{404, "session_not_found", signedOut},
		{400, "invalid_session_token", signedOut},
		{400, "unable_to_parse_session_jwt", signedOut},
		{400, "jwt_invalid_audience", signedOut},
		{400, "jwt_invalid_claims", signedOut},
		{400, "jwt_invalid_issuer", signedOut},
		{404, "route_not_found", unknown},
		{404, "project_not_found", unknown},
		{400, "bad_request", unknown},
		{400, "an_error_of_next_year", unknown},
		{409, "user_not_found", unknown},
	} {
		t.Run(row.error_type, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies, _ := a.expired(a.ada, "session")
				a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(row.status, row.error_type))
				assert.Equal(t, row.want, a.get(cookies).String())
			})
		})
	}
}

// A JWT that verifies says who it is while Stytch says nothing; the rest of the
// user comes once Stytch has answered.
func TestValidJWTWhileStytchIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		var hold stytchtest.Hold
		a.stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(&hold))
		cookies, s := a.signedIn(a.ada)
		a.handler = func(_ http.ResponseWriter, r *http.Request) {
			session, _ := stytchmigrate.SessionFromContext(r.Context())
			assert.Equal(t, s.ID, session.SessionID)
			assert.Equal(t, a.ada.ID, session.UserID)
			assert.WithinDuration(t, s.ExpiresAt, session.ExpiresAt, time.Second)
			assert.Len(t, session.AuthenticationFactors, 1)
		}
		start := time.Now()
		assert.Equal(t, "authenticated partial ada | - | - | authenticate", a.get(cookies).String())
		assert.LessOrEqual(t, time.Since(start), 600*time.Millisecond)
		assert.Equal(t, "authenticated partial ada | - | - | -", a.get(cookies).String(), "and nobody waits again so soon")

		hold.Release()
		time.Sleep(10 * time.Second)
		assert.Equal(t, fromJWT+"-", a.get(cookies).String(), "the answer came after all")
	})
}

// The outage goes on for longer than the JWT lives: nobody is signed out.
func TestJWTExpiresDuringAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies, _ := a.signedIn(a.ada)
		require.Equal(t, fromJWT+"authenticate", a.get(cookies).String())
		a.stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "server_unavailable"))
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "unavailable | - | - | authenticate authenticate", a.get(cookies+"; sid=bob-1").String())
		a.stytch.Heal(stytchtest.Any)
		time.Sleep(time.Minute)
		assert.Equal(t, refreshed, a.get(cookies).String())
	})
}

// Clocks are never quite right. What a JWT's dates leave open, Stytch decides.
func TestClocks(t *testing.T) {
	for name, row := range map[string]struct {
		ahead       time.Duration // of Stytch's clock
		first, next string
	}{
		"20 s ahead":   {20 * time.Second, fromJWT + "authenticate", fromJWT + "-"},
		"20 s behind":  {-20 * time.Second, fromJWT + "authenticate", fromJWT + "-"},
		"2 min ahead":  {2 * time.Minute, refreshed, fromJWT + "-"},
		"2 min behind": {-2 * time.Minute, fromJWT + "authenticate", fromJWT + "-"},
		"6 min behind": {-6 * time.Minute, refreshed, refreshed},
		"6 min ahead":  {6 * time.Minute, refreshed, fromJWT + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				a.stytch.SetClock(func() time.Time { return time.Now().Add(row.ahead) })
				cookies, _ := a.signedIn(a.ada)
				first := a.get(cookies)
				assert.Equal(t, row.first, first.String())
				assert.Equal(t, row.next, a.get(first.jar(cookies)).String())
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
			inBubble(t, func(t *testing.T, a *app) {
				a.stytch.FailAll(stytchtest.JWKS, fault)
				both, _ := a.signedIn(a.ada)
				start := time.Now()
				first := a.get(both)
				assert.Equal(t, refreshed, first.String())
				assert.LessOrEqual(t, time.Since(start), 2*time.Second)
				assert.Equal(t, fromJWT+"-", a.get(first.jar(both)).String(), "known by now")

				other, _ := a.signedIn(a.bob)
				_, jwt, _ := strings.Cut(other, "; ")
				assert.Equal(t, strings.Replace(refreshed, "ada", "bob", 1), a.get(jwt).String(), "without a token")
			})
		})
	}
}

func TestKeySetStaysInForce(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		first, _ := a.signedIn(a.ada)
		require.Equal(t, jwtAccepted, a.get(first).withKeySets())
		a.stytch.FailAll(stytchtest.JWKS, stytchtest.Respond(200, `{"keys":[]}`))
		for range 3 { // an hour each, after which the set is fetched anew
			time.Sleep(61 * time.Minute)
			next, _ := a.signedIn(a.ada)
			assert.Equal(t, fromJWT+"authenticate", a.get(next).String())
		}
	})
}

func TestKeyRotation(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		s := a.stytch.NewSession(a.ada.ID, 24*time.Hour)
		old := func(id string) string { // lives for hours, and is another each time
			return "stytch_session_jwt=" + a.stytch.SignJWT(changed(a.stytch.Claims(s.ID), object{"exp": in(5 * time.Hour), "n": id}), nil)
		}
		before, inBetween, after := old("1"), old("2"), old("3")
		require.Equal(t, jwtAccepted, a.get(before).withKeySets())

		time.Sleep(2 * time.Minute)
		a.stytch.RotateKey()
		assert.Equal(t, "authenticated ada | - | - | - | key sets: 1", a.get("stytch_session_jwt="+a.stytch.JWT(s.ID)).withKeySets())
		assert.Equal(t, "authenticated ada | - | - | - | key sets: 0", a.get(inBetween).withKeySets(), "both are published")

		a.stytch.DropOldKeys()
		time.Sleep(61 * time.Minute)
		fresh, _ := a.signedIn(a.bob)
		require.Equal(t, "authenticated bob | - | - | authenticate", a.get(fresh).String())
		time.Sleep(time.Second) // the fetch that this made due
		assert.Equal(t, "anonymous | - | - | - | key sets: 0", a.get(after).withKeySets())
	})
}
