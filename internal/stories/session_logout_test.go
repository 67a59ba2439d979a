package stories_test

import (
	"fmt"
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
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// The story of how a session ends: by Logout, at every moment and by each of its cookies, or
// elsewhere. Afterwards no request gets it, and its legacy session has ended with it.

// After a logout no JWT of the session counts here, though each verifies, and even if
// Stytch never heard of the logout.
func TestLogoutEndsEveryJWT(t *testing.T) {
	for name, silent := range map[string]bool{"Stytch heard of it": false, "Stytch did not": true} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, s := a.SignedIn(a.Ada)
				require.Equal(t, apptest.AuthenticatedUntouched+"authenticate", a.Get(cookies).String())
				time.Sleep(time.Minute)
				other := "stytch_session_jwt=" + a.Stytch.JWT(s.ID)
				calls := "revoke"
				if silent {
					calls = "revoke revoke"
					a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Reset())
				}
				require.Equal(t, "authenticated ada"+apptest.CookiesCleared+calls, a.LogOut(cookies).String())
				for _, sent := range []string{cookies, other} {
					assert.Equal(t, apptest.AnonymousCleared+" | no-store | -", a.Get(sent).String())
				}
				assert.Equal(t, apptest.AnonymousCleared+" | no-store | authenticate", a.Get("stytch_session="+s.Token).String())
			})
		})
	}
}

// A user of whom only the JWT is known, because Stytch is silent, logs out.
func TestLogoutOfAPartialUser(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Reset())
		a.Stytch.Heal(stytchtest.JWKS)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Fault{})
		require.Equal(t, "authenticated partial ada | - | - | authenticate authenticate", a.Get(cookies).String())
		require.Equal(t, "authenticated partial ada"+apptest.CookiesCleared+"revoke revoke revoke revoke", a.LogOut(cookies).String())
		assert.Equal(t, apptest.AnonymousCleared+" | no-store | -", a.Get(cookies).String())
		assert.Equal(t, apptest.AnonymousCleared+" | no-store | -", a.Get("stytch_session_jwt="+a.Stytch.JWT(s.ID)).String())
	})
}

// A page is slow to write its first byte. Meanwhile the user logs out in another tab. The
// page's answer does not bring the session back.
func TestLogoutBeforeAPageIsWritten(t *testing.T) {
	for name, cookies := range map[string]func(*apptest.App) (string, string){
		"refreshed": func(a *apptest.App) (string, string) {
			sent, s := a.Expired(a.Ada, "both")
			return sent, "stytch_session_jwt=" + a.Stytch.JWT(s.ID)
		},
		"migrated": func(a *apptest.App) (string, string) { return "sid=ada-1", "sid=ada-1" },
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				slow, other := cookies(a)
				var page *apptest.Reply
				done, finish := make(chan struct{}), make(chan struct{})
				a.Handler = func(w http.ResponseWriter, r *http.Request) { <-finish }
				go func() { page = a.Get(slow); close(done) }()
				synctest.Wait()
				a.LogOut(other)
				close(finish)
				<-done
				for _, c := range page.Cookies() {
					assert.NotContains(t, []string{"+stytch_session", "+stytch_session_jwt"}, c)
				}
			})
		})
	}
}

// Stytch is silent, so a logout knows the session by its cookies alone. An answer that
// comes after the logout does not bring the session back.
func TestLogoutOfASessionThatNobodyVouchedFor(t *testing.T) {
	for cookies, calls := range map[string]string{"session": "revoke", "jwt": "revoke", "both": "revoke revoke"} {
		t.Run(cookies, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var hold stytchtest.Hold
				sent, _ := a.Expired(a.Ada, cookies)
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Fault{}.AfterWork().WithHold(&hold))
				var saw []string
				done := make(chan struct{})
				go func() {
					time.Sleep(4 * time.Second)
					saw = a.ParallelGets(1, sent)
					close(done)
				}()
				require.Equal(t, "unavailable"+apptest.CookiesCleared+calls, a.LogOut(sent).String())
				hold.Release()
				<-done
				assert.Equal(t, []string{apptest.AnonymousCleared}, saw)
			})
		})
	}
}

// The user logs out while another request waits for an exchange in vain: that request is
// logged out too.
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

// A logout outside Handler ends the legacy session that a Stytch session came from.
func TestLogoutOutsideHandlerEndsTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		c := a.Get("sid=ada-1").Jar("sid=ada-1")
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://app.example.com/", nil)
		r.Header.Set("Cookie", c)
		require.NoError(t, a.Middleware.Logout(w, r))
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "refused"+apptest.CookiesUntouched+"-", a.Get("sid=ada-1").String())
	})
}

// So does a logout while Stytch can't be asked.
func TestLogoutInAnOutageEndsTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		c := a.Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"), stytchtest.Error(500, "internal_server_error"))
		out := a.LogOut(c)
		assert.Contains(t, out.String(), "unavailable")
		assert.Equal(t, "refused"+apptest.CookiesUntouched+"-", a.Get("sid=ada-1").String())
	})
}

// A legacy session is refused after it has moved. A logout still ends the Stytch session
// that it became.
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

// A logout with the legacy cookie ends the Stytch session that came from it.
func TestLogoutEndsEarlierSessionsOfTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("sid=ada-1")
		time.Sleep(2 * time.Minute)
		a.LogOut("sid=ada-1")
		c := first.Jar("")
		assert.NotContains(t, a.Get(c).String(), "authenticated ada")
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

// And the sessions of all cookies of one name, even if they are two users'.
func TestLogoutEndsDuplicatesOfTwoPeople(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
		a.Get("sid=bob-1; sid=ada-1")
		a.Handler = nil
		assert.NotContains(t, a.Get("sid=ada-1").Saw, "ada")
	})
}

// An outage does not bring a legacy session back that was logged out.
func TestNoLegacySessionAfterLogoutInAnOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = startedLongAgo
		a.LogOut(a.Get("sid=ada-1").Jar("sid=ada-1"))
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
		a.Get("sid=ada-1; stytch_session=AAAA")
		assert.Empty(t, a.LegacySeen.Identity.Subject)
	})
}

func startedLongAgo(value string) (stytchmigrate.LegacySession, error) {
	s := apptest.LegacySession("ada", value)
	s.StartedAt = time.Unix(1, 0)
	return s, nil
}

// If a Cookie header is too long to be read, or has a name too often, Logout can't end every
// session, and says so.
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

// How many sessions of a Cookie header a logout revokes: of six tokens at most, and of none
// over 4 KiB.
func TestLogoutBounds(t *testing.T) {
	for cookies, want := range map[string]int{
		several("stytch_session", 4): 4, several("stytch_session", 6): 6, several("stytch_session", 8): 6,
		"stytch_session=" + strings.Repeat("A", 4096): 1,
		"stytch_session=" + strings.Repeat("A", 4097): 0,
		"stytch_session=a\x7fb":                       0,
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.LogOut(cookies)
			assert.Equal(t, want, a.Stytch.Count(stytchtest.Revoke))
		})
	}
}

// several returns a Cookie header with n values of one name.
func several(name string, n int) string {
	pairs := make([]string, n)
	for i := range pairs {
		pairs[i] = fmt.Sprint(name, "=", i)
	}
	return strings.Join(pairs, "; ")
}

// A session ended elsewhere, as in Stytch's dashboard. Then the legacy session that it came
// from has ended too, whichever of the cookies the browser has kept.
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
		"two minutes before it runs out": {30*24*time.Hour - time.Minute, "", "migrated ada | +stytch_session +stytch_session_jwt | no-store | authenticate authenticate migrate"},
		"a little earlier than that":     {30*24*time.Hour - 2*time.Minute - time.Second, "", refused},
		"when it had just run out":       {31 * 24 * time.Hour, "", "migrated ada | +stytch_session +stytch_session_jwt | no-store | authenticate migrate"},
		"a token, when it had run out":   {31 * 24 * time.Hour, "stytch_session=", "migrated ada | +stytch_session +stytch_session_jwt | no-store | authenticate migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				b := &apptest.Browser{App: a, Cookies: a.Get("sid=ada-1").Jar("sid=ada-1")}
				time.Sleep(row.after)
				a.Stytch.RevokeAll()
				b.KeepOnly(row.only)
				assert.Equal(t, row.want, a.Get(b.Cookies+"; sid=ada-1").String())
			})
		})
	}
}

// Stytch may not know a new session everywhere at once. A "no" within the first half minute,
// here to a process that has only just started, ends neither the Stytch session nor the
// legacy session.
func TestEndedTooSoon(t *testing.T) {
	for after, want := range map[time.Duration]string{29 * time.Second: "authenticated partial ada", 31 * time.Second: "refused"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
			a.Restart(t)
			time.Sleep(after)
			a.Stytch.RevokeAll()
			assert.Equal(t, want, a.Get(cookies+"; sid=ada-1").Saw)
		})
	}
}

// The cookie of another user's older legacy session is expired when a Stytch session
// begins. Otherwise the browser would fall back to that user when the session ends.
func TestNeverBackToSomebodyElse(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		signedInAt := time.Now()
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", value)
			s.StartedAt = signedInAt
			return s, nil
		}
		time.Sleep(time.Hour)
		s := a.Stytch.NewSession(a.Bob.ID, time.Hour)
		before := "sid=ada-1; stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
		first := a.Get(before)
		assert.Equal(t, "authenticated bob | -sid | no-store | authenticate", first.String())
		time.Sleep(2 * time.Hour)
		assert.Equal(t, apptest.SignedOut, a.Get(first.Jar(before)).String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// The user did not end a Stytch session that gave way to a later sign-in. The legacy session
// that it came from may move again.
func TestOvertakenDoesNotEndTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		cookies := a.Get("sid=ada+0h").Jar("")
		time.Sleep(2 * time.Hour)
		a.Get(cookies + "; sid=bob+1h")
		time.Sleep(time.Minute)
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | authenticate migrate",
			a.Get(cookies+"; sid=ada+0h").String())
	})
}
