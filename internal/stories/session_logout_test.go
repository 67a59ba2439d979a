package stories_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// A refresh is under way when the user, in another tab with a newer JWT, logs
// out. Whether Stytch had answered by then or not, it hands no session back.
func TestLogoutDuringARefresh(t *testing.T) {
	for name, fault := range map[string]stytchtest.Fault{
		"Stytch answers after the logout":             {},
		"Stytch had answered, but nobody has read it": stytchtest.Fault{}.AfterWork(),
	} {
		for _, cookies := range []string{"session", "jwt", "both"} {
			t.Run(name+"/"+cookies, func(t *testing.T) {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					var hold stytchtest.Hold
					sent, s := a.Expired(a.Ada, cookies)
					newer := "stytch_session_jwt=" + a.Stytch.JWT(s.ID)
					require.Equal(t, apptest.FromJWT+"authenticate", a.Get(newer).String())
					time.Sleep(6 * time.Minute)

					a.Stytch.Fail(stytchtest.Authenticate, fault.WithHold(&hold))
					var saw []string
					done := make(chan struct{})
					go func() { saw = a.Each(3, sent); close(done) }()
					<-hold.Arrived()
					synctest.Wait()
					require.Equal(t, "authenticated ada | "+apptest.LoggedOutCookies+"authenticate revoke",
						a.LogOut("stytch_session_jwt="+a.Stytch.JWT(s.ID)).String())
					hold.Release()
					<-done
					assert.Equal(t, []string{apptest.AnonymousCleared, apptest.AnonymousCleared, apptest.AnonymousCleared}, saw)
					calls := "-" // it ended here, or Stytch's no is remembered
					if cookies != "jwt" && strings.Contains(name, "had answered") {
						calls = "authenticate"
					}
					assert.Equal(t, apptest.AnonymousCleared+" | no-store | "+calls, a.Get(sent).String())
				})
			})
		}
	}
}

// After a logout no JWT of the session counts here, though each verifies, and
// also where Stytch never heard of it.
func TestLogoutEndsEveryJWT(t *testing.T) {
	for name, silent := range map[string]bool{"Stytch heard of it": false, "Stytch did not": true} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, s := a.SignedIn(a.Ada)
				require.Equal(t, apptest.FromJWT+"authenticate", a.Get(cookies).String())
				time.Sleep(time.Minute)
				other := "stytch_session_jwt=" + a.Stytch.JWT(s.ID)
				calls := "revoke"
				if silent {
					calls = "revoke revoke"
					a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Reset())
				}
				require.Equal(t, "authenticated ada | "+apptest.LoggedOutCookies+calls, a.LogOut(cookies).String())
				for _, sent := range []string{cookies, other} {
					assert.Equal(t, apptest.AnonymousCleared+" | no-store | -", a.Get(sent).String())
				}
				assert.Equal(t, apptest.AnonymousCleared+" | no-store | authenticate", a.Get("stytch_session="+s.Token).String())
			})
		})
	}
}

// A user of whom only the JWT is known, for Stytch is silent, logs out.
func TestLogoutOfAPartialUser(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Reset())
		a.Stytch.Heal(stytchtest.JWKS)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Fault{})
		require.Equal(t, "authenticated partial ada | - | - | authenticate authenticate", a.Get(cookies).String())
		require.Equal(t, "authenticated partial ada | "+apptest.LoggedOutCookies+"revoke revoke revoke revoke", a.LogOut(cookies).String())
		assert.Equal(t, apptest.AnonymousCleared+" | no-store | -", a.Get(cookies).String())
		assert.Equal(t, apptest.AnonymousCleared+" | no-store | -", a.Get("stytch_session_jwt="+a.Stytch.JWT(s.ID)).String())
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
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				b := &apptest.Tab{App: a, Cookies: a.Get("sid=ada-1").Jar("sid=ada-1")}
				time.Sleep(row.after)
				a.Stytch.RevokeAll()
				b.Keep(row.only)
				assert.Equal(t, row.want, a.Get(b.Cookies+"; sid=ada-1").String())
			})
		})
	}
}

// Stytch may not know a new session everywhere at once: a no within the first
// half minute, here to a process that has only just started, ends nothing.
func TestEndedTooSoon(t *testing.T) {
	for after, want := range map[time.Duration]string{29 * time.Second: "migrated ada", 31 * time.Second: "refused"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
			a.Restart(t)
			time.Sleep(after)
			a.Stytch.RevokeAll()
			assert.Equal(t, want, a.Get(cookies+"; sid=ada-1").Saw)
		})
	}
}

// The half minute may be over when Stytch answers for the tokens beside the JWT of
// such a session: they say nothing of it. The JWT's own answer counts, as ever.
func TestEndedTooSoonBesideTokens(t *testing.T) {
	for after, want := range map[time.Duration]string{29 * time.Second: "migrated ada", 31 * time.Second: "refused"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Get("sid=ada-1")
			claims := a.Stytch.Claims(a.Stytch.Sessions()[0].ID)
			past := time.Now().Add(-10 * time.Minute).Unix()
			jwt := a.Stytch.SignJWT(apptest.Changed(claims, apptest.Object{"iat": past, "nbf": past, "exp": past + 300}), nil)
			a.Restart(t)
			time.Sleep(after)
			a.Stytch.RevokeAll()
			a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}, stytchtest.Delay(2*time.Second))
			got := a.Get("stytch_session=A1; stytch_session=A2; stytch_session_jwt=" + jwt + "; sid=ada-1")
			assert.Equal(t, want, got.Saw, got)
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
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			var err error
			a.Handler = func(w http.ResponseWriter, r *http.Request) { err = a.Middleware.Logout(w, r) }
			a.Get(cookies)
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
