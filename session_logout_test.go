package stytchmigrate_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

const loggedOut = "-stytch_session -stytch_session_jwt -sid | no-store | "

// A refresh is under way when the user, in another tab with a newer JWT, logs
// out. Whether Stytch had answered by then or not, it hands no session back.
func TestLogoutDuringARefresh(t *testing.T) {
	for name, fault := range map[string]stytchtest.Fault{
		"Stytch answers after the logout":             {},
		"Stytch had answered, but nobody has read it": stytchtest.Fault{}.AfterWork(),
	} {
		for _, cookies := range []string{"session", "jwt", "both"} {
			t.Run(name+"/"+cookies, func(t *testing.T) {
				inBubble(t, func(t *testing.T, a *app) {
					var hold stytchtest.Hold
					sent, s := a.expired(a.ada, cookies)
					newer := "stytch_session_jwt=" + a.stytch.JWT(s.ID)
					require.Equal(t, fromJWT+"authenticate", a.get(newer).String())
					time.Sleep(6 * time.Minute)

					a.stytch.Fail(stytchtest.Authenticate, fault.WithHold(&hold))
					var saw []string
					done := make(chan struct{})
					go func() { saw = a.each(3, sent); close(done) }()
					<-hold.Arrived()
					synctest.Wait()
					require.Equal(t, "authenticated ada | "+loggedOut+"authenticate revoke",
						a.logOut("stytch_session_jwt="+a.stytch.JWT(s.ID)).String())
					hold.Release()
					<-done
					assert.Equal(t, []string{gone, gone, gone}, saw)
					calls := "-" // it ended here, or Stytch's no is remembered
					if cookies != "jwt" && strings.Contains(name, "had answered") {
						calls = "authenticate"
					}
					assert.Equal(t, gone+" | no-store | "+calls, a.get(sent).String())
				})
			})
		}
	}
}

const gone = "anonymous | -stytch_session -stytch_session_jwt"

// After a logout no JWT of the session counts here, though each verifies, and
// also where Stytch never heard of it.
func TestLogoutEndsEveryJWT(t *testing.T) {
	for name, silent := range map[string]bool{"Stytch heard of it": false, "Stytch did not": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies, s := a.signedIn(a.ada)
				require.Equal(t, fromJWT+"authenticate", a.get(cookies).String())
				time.Sleep(time.Minute)
				other := "stytch_session_jwt=" + a.stytch.JWT(s.ID)
				calls := "revoke"
				if silent {
					calls = "revoke revoke"
					a.stytch.FailAll(stytchtest.Revoke, stytchtest.Reset())
				}
				require.Equal(t, "authenticated ada | "+loggedOut+calls, a.logOut(cookies).String())
				for _, sent := range []string{cookies, other} {
					assert.Equal(t, gone+" | no-store | -", a.get(sent).String())
				}
				assert.Equal(t, gone+" | no-store | authenticate", a.get("stytch_session="+s.Token).String())
			})
		})
	}
}

// A user of whom only the JWT is known, for Stytch is silent, logs out.
func TestLogoutOfAPartialUser(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies, s := a.signedIn(a.ada)
		a.stytch.FailAll(stytchtest.Any, stytchtest.Reset())
		a.stytch.Heal(stytchtest.JWKS)
		a.stytch.FailAll(stytchtest.JWKS, stytchtest.Fault{})
		require.Equal(t, "authenticated partial ada | - | - | authenticate authenticate", a.get(cookies).String())
		require.Equal(t, "authenticated partial ada | "+loggedOut+"revoke revoke revoke revoke", a.logOut(cookies).String())
		assert.Equal(t, gone+" | no-store | -", a.get(cookies).String())
		assert.Equal(t, gone+" | no-store | -", a.get("stytch_session_jwt="+a.stytch.JWT(s.ID)).String())
	})
}

// A session that was ended elsewhere, by Stytch's dashboard say, has ended for
// the legacy session it came from too, whichever of its cookies are left.
func TestEndedElsewhere(t *testing.T) {
	const refused = "refused | -stytch_session -stytch_session_jwt | no-store | authenticate"
	for name, row := range map[string]struct {
		after time.Duration // the exchange
		only  string
		want  string
	}{
		"with both cookies":              {time.Hour, "", refused},
		"with the token alone":           {time.Hour, "stytch_session=", refused},
		"with the JWT alone":             {time.Hour, "stytch_session_jwt=", refused},
		"two minutes before it runs out": {30*24*time.Hour - time.Minute, "", "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate authenticate migrate"},
		"a little earlier than that":     {30*24*time.Hour - 2*time.Minute - time.Second, "", refused},
		"when it had just run out":       {31 * 24 * time.Hour, "", "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate migrate"},
		"a token, when it had run out":   {31 * 24 * time.Hour, "stytch_session=", "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				b := &tab{a: a, cookies: a.get("sid=ada-1").jar("sid=ada-1")}
				time.Sleep(row.after)
				a.stytch.RevokeAll()
				b.keep(row.only)
				assert.Equal(t, row.want, a.get(b.cookies+"; sid=ada-1").String())
			})
		})
	}
}

// Stytch may not know a new session everywhere at once: a no within the first
// half minute, here to a process that has only just started, ends nothing.
func TestEndedTooSoon(t *testing.T) {
	for after, want := range map[time.Duration]string{29 * time.Second: "migrated ada", 31 * time.Second: "refused"} {
		inBubble(t, func(t *testing.T, a *app) {
			cookies := a.get("sid=ada-1").jar("sid=ada-1")
			a.restart(t)
			time.Sleep(after)
			a.stytch.RevokeAll()
			assert.Equal(t, want, a.get(cookies+"; sid=ada-1").saw)
		})
	}
}

// The half minute may be over when Stytch answers for the tokens beside the JWT of
// such a session: they say nothing of it. The JWT's own answer counts, as ever.
func TestEndedTooSoonBesideTokens(t *testing.T) {
	for after, want := range map[time.Duration]string{29 * time.Second: "migrated ada", 31 * time.Second: "refused"} {
		inBubble(t, func(t *testing.T, a *app) {
			a.get("sid=ada-1")
			claims := a.stytch.Claims(a.stytch.Sessions()[0].ID)
			past := time.Now().Add(-10 * time.Minute).Unix()
			jwt := a.stytch.SignJWT(changed(claims, object{"iat": past, "nbf": past, "exp": past + 300}), nil)
			a.restart(t)
			time.Sleep(after)
			a.stytch.RevokeAll()
			a.stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}, stytchtest.Delay(2*time.Second))
			got := a.get("stytch_session=A1; stytch_session=A2; stytch_session_jwt=" + jwt + "; sid=ada-1")
			assert.Equal(t, want, got.saw, got)
		})
	}
}

// Of a header that is too long to be read, or a name that comes too often, Logout
// can't end every session, and says so.
func TestLogoutOfTooManyCookies(t *testing.T) {
	for cookies, tooMany := range map[string]bool{
		strings.Repeat(";", 2999): false, strings.Repeat(";", 3000): true,
		several("sid", 5): false, several("sid", 6): true,
		several("stytch_session", 5): false, several("stytch_session", 6): true,
		several("stytch_session_jwt", 5): false, several("stytch_session_jwt", 6): true,
	} {
		inBubble(t, func(t *testing.T, a *app) {
			var err error
			a.handler = func(w http.ResponseWriter, r *http.Request) { err = a.m.Logout(w, r) }
			a.get(cookies)
			assert.Equal(t, tooMany, err != nil, "%.40s: %v", cookies, err)
			if tooMany {
				assert.ErrorContains(t, err, "more cookies than Logout looks at")
			}
		})
	}
}

// several is a Cookie header with n values of one name.
func several(name string, n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = fmt.Sprint(name, "=", i)
	}
	return strings.Join(pairs, "; ")
}
