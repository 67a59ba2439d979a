package stories_test

import (
	"context"
	"errors"
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

// The story of outages of Stytch: calls fail, the key set is missing, the clocks differ, or
// Stytch has lost its sessions. No outage signs anyone out. No outage causes an exchange of a
// legacy session beside a Stytch session that may be alive.

// outages returns every way in which a call of authenticate can fail to say yes or no.
func outages() map[string]stytchtest.Fault {
	answer := func(change func(body apptest.Object)) stytchtest.Fault { return stytchtest.Mutate(change) }
	without := func(name string) stytchtest.Fault { return answer(func(b apptest.Object) { delete(b, name) }) }
	set := func(name string, v any) stytchtest.Fault { return answer(func(b apptest.Object) { b[name] = v }) }
	return map[string]stytchtest.Fault{
		"reset":                    stytchtest.Reset(),
		"reset after the work":     stytchtest.Reset().AfterWork(),
		"silence":                  stytchtest.Silence(),
		"an answer that is late":   stytchtest.Delay(20 * time.Second),
		"an answer without an end": stytchtest.Endless(),
		"a gzip bomb":              stytchtest.GzipBomb(2 << 20),
		"an answer of 2 MiB":       stytchtest.Huge(2 << 20),
		"a byte a second":          stytchtest.Fault{}.WithDrip(time.Second),
		"an answer cut off":        stytchtest.Fault{}.WithCut(100),
		"a no that is cut off":     stytchtest.Error(404, "session_not_found").WithCut(40),
		"a redirect":               stytchtest.Redirect("https://evil.example/"),

		"200 HTML":     stytchtest.Respond(200, "<html>Welcome</html>"),
		"200 {}":       stytchtest.Respond(200, "{}"),
		"200 null":     stytchtest.Respond(200, "null"),
		"200 empty":    stytchtest.Respond(200, ""),
		"204":          stytchtest.Respond(204, ""),
		"400 empty":    stytchtest.Respond(400, ""),
		"400 no type":  stytchtest.Respond(400, `{"status_code":400}`),
		"400 new type": stytchtest.Error(400, "an_error_of_next_year"),
		"401":          stytchtest.Error(401, "unauthorized_credentials"),
		"403":          stytchtest.Respond(403, "<html>Forbidden</html>"),
		"404 HTML":     stytchtest.Respond(404, "<html>Not Found</html>"),
		"404 {}":       stytchtest.Respond(404, "{}"),
		"404 project":  stytchtest.Error(404, "project_not_found"),
		"408":          stytchtest.Respond(408, ""),
		"429":          stytchtest.Error(429, "too_many_requests").WithHeader("Retry-After", "3600"),
		"429 locked":   stytchtest.Error(429, "user_lock_limit_reached"),
		"429 paused":   stytchtest.Error(429, "too_few_tokens_authenticated"),
		"500":          stytchtest.Error(500, "internal_server_error"),
		"502 HTML":     stytchtest.Respond(502, "<html>Bad Gateway</html>"),
		"503 empty":    stytchtest.Respond(503, ""),
		"504":          stytchtest.Respond(504, "stream timeout"),

		"no user":                     without("user"),
		"no session":                  without("session"),
		"no session_token":            without("session_token"),
		"session_jwt is null":         set("session_jwt", nil),
		"session_token is empty":      set("session_token", ""),
		"session_token has a newline": set("session_token", "a\r\nSet-Cookie: x=y"),
		"session_jwt has a semicolon": set("session_jwt", "a; Domain=example.com"),
		"session_jwt of nobody known": set("session_jwt", strings.Replace(anyJWT, "ada", "eve", 1)),
		"user of another":             answer(func(b apptest.Object) { b["user"].(apptest.Object)["user_id"] = "user-test-2" }),
		"session is past":             answer(func(b apptest.Object) { b["session"].(apptest.Object)["expires_at"] = "1999-01-01T00:00:00Z" }),
	}
}

// anyJWT is a session JWT of another session than the one that it comes with.
var anyJWT = apptest.EncodeSegment(`{"alg":"RS256","kid":"k"}`) + "." + apptest.EncodeSegment(`{"iss":"i","aud":["a"],"sub":"user-test-ada","iat":1,"exp":2,`+
	`"https://stytch.com/session":{"id":"session-test-1"}}`) + ".AAAA"

// The cookies stay, and a JWT that verifies does without Stytch.
func TestOutageSignsNobodyOut(t *testing.T) {
	for name, fault := range outages() {
		for _, cookies := range []string{"session", "jwt", "both", "valid"} {
			t.Run(name+"/"+cookies, func(t *testing.T) {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					sent, want := outageRow(a, cookies)
					a.Stytch.FailAll(stytchtest.Authenticate, fault)
					start := time.Now()
					assert.Equal(t, want, onceEach(a.Get(sent+"; sid=bob-1")))
					assert.LessOrEqual(t, time.Since(start), 5*time.Second)
					assert.Empty(t, a.Events)

					a.Stytch.Heal(stytchtest.Authenticate)
					time.Sleep(time.Minute) // whatever has to recover
					assert.Contains(t, a.Get(sent).String(), "authenticated ada", "nothing was lost by it")
				})
			})
		}
	}
}

func outageRow(a *apptest.App, cookies string) (sent, want string) {
	if cookies == "valid" {
		sent, _ = a.SignedIn(a.Ada)
		return sent, "authenticated partial ada | - | - | authenticate"
	}
	sent, _ = a.Expired(a.Ada, cookies)
	return sent, "unavailable | - | - | authenticate"
}

// onceEach is the reply without the second tries of a call: package outbound tests those.
func onceEach(r *apptest.Reply) string {
	return strings.ReplaceAll(r.String(), "authenticate authenticate", "authenticate")
}

// Error types that mean that there is no such session. The same status with another error
// type means nothing.
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

// A transport that fails, or even panics, is an outage too.
func TestBrokenTransport(t *testing.T) {
	for name, transport := range map[string]apptest.RoundTripper{
		"error": func(*http.Request) (*http.Response, error) { return nil, errors.New("out of order") },
		"panic": func(*http.Request) (*http.Response, error) { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.Expired(a.Ada, "both")
				assert.Equal(t, "unavailable | - | - | -", a.Get(cookies+"; sid=bob-1").String())
				cookies, _ = a.SignedIn(a.Ada)
				assert.Equal(t, "unavailable | - | - | -", a.Get(cookies).String(), "without keys a valid JWT can't be verified")
			}, apptest.Through(transport))
		})
	}
}

// A JWT that verifies says who the user is while Stytch is silent. The rest of the user is
// there once Stytch has answered.
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
		assert.Equal(t, "authenticated partial ada | - | - | -", a.Get(cookies).String(), "and no request waits again so soon")

		hold.Release()
		time.Sleep(10 * time.Second)
		assert.Equal(t, apptest.AuthenticatedUntouched+"-", a.Get(cookies).String(), "the answer came after all")
	})
}

// The outage lasts longer than the JWT. The user stays signed in.
func TestJWTExpiresDuringAnOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		require.Equal(t, apptest.AuthenticatedUntouched+"authenticate", a.Get(cookies).String())
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "server_unavailable"))
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "unavailable | - | - | authenticate authenticate", a.Get(cookies+"; sid=bob-1").String())
		a.Stytch.Heal(stytchtest.Any)
		time.Sleep(time.Minute)
		assert.Equal(t, apptest.Refreshed, a.Get(cookies).String())
	})
}

// Stytch's schema allows a session without expires_at.
func TestRefreshWithoutExpiry(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, s := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Mutate(func(b apptest.Object) { b["session"].(apptest.Object)["expires_at"] = nil }))
		assert.Equal(t, "authenticated ada", a.Get("stytch_session="+s.Token).Saw)
	})
}

// While there is no key to verify a JWT with, Stytch is asked instead.
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
				assert.Equal(t, apptest.AuthenticatedUntouched+"-", a.Get(first.Jar(both)).String(), "known by now")

				other, _ := a.SignedIn(a.Bob)
				_, jwt, _ := strings.Cut(other, "; ")
				assert.Equal(t, strings.Replace(apptest.Refreshed, "ada", "bob", 1), a.Get(jwt).String(), "without a token")
			})
		})
	}
}

// Clocks are never quite right. If the dates of a JWT leave a doubt, Stytch decides.
func TestClocks(t *testing.T) {
	for name, row := range map[string]struct {
		ahead       time.Duration // of Stytch's clock
		first, next string
	}{
		"20 s ahead":   {20 * time.Second, apptest.AuthenticatedUntouched + "authenticate", apptest.AuthenticatedUntouched + "-"},
		"20 s behind":  {-20 * time.Second, apptest.AuthenticatedUntouched + "authenticate", apptest.AuthenticatedUntouched + "-"},
		"2 min ahead":  {2 * time.Minute, apptest.Refreshed, apptest.AuthenticatedUntouched + "-"},
		"2 min behind": {-2 * time.Minute, apptest.AuthenticatedUntouched + "authenticate", apptest.AuthenticatedUntouched + "-"},
		"6 min behind": {-6 * time.Minute, apptest.Refreshed, apptest.Refreshed},
		"6 min ahead":  {6 * time.Minute, apptest.Refreshed, apptest.AuthenticatedUntouched + "-"},
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

// The wrong project's keys were deployed: Stytch knows no session, for five minutes.
func TestStytchKnowsNobody(t *testing.T) {
	for name, n := range map[string]int{"a few users": 6, "many users": 30} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				tabs := a.Browsers(n)
				seen := map[string]int{}
				comeEvery20Seconds := func(during time.Duration) {
					for start := time.Now(); time.Since(start) < during; {
						for _, b := range tabs {
							out := b.Visit()
							seen[out.Saw[:4]+" "+strings.Join(out.Cookies(), " ")]++
							time.Sleep(20 * time.Second / time.Duration(n))
						}
					}
				}
				for _, b := range tabs { // they first come at various times, so that their JWTs expire at various times
					require.Contains(t, b.Visit().String(), "authenticated")
					time.Sleep(5 * time.Minute / time.Duration(n))
				}
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(404, apptest.SessionNotFound))
				comeEvery20Seconds(5*time.Minute + time.Second)
				assert.Greater(t, seen["unav "], 3*n)
				delete(seen, "unav ")
				delete(seen, "auth ")                                    // the JWT is good still,
				delete(seen, "auth +stytch_session +stytch_session_jwt") // or a newer one is in memory
				assert.Empty(t, seen, "no user lost a cookie")
				require.NotEmpty(t, a.SettledEvents())
				assert.Contains(t, a.Log.String(), `"level":"ERROR","msg":"stytchmigrate: authenticate: Stytch suddenly knows too few`)
				assert.LessOrEqual(t, len(a.Events), 6, "once a minute")
				assert.Equal(t, "brake", a.Events[0].Kind)

				a.Stytch.Heal(stytchtest.Any)
				for _, b := range tabs {
					assert.Contains(t, b.Visit().String(), "authenticated")
				}
				told := a.EventsOf("brake")
				assert.Equal(t, "brake recovered", told[len(told)-1])
				assert.NotContains(t, told[:len(told)-1], "brake recovered")
			})
		})
	}
}

// In an outage an expired JWT still says that the legacy session beside it is another
// user's.
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

// A deadline of an outer middleware does not mean that the client has left: the handler
// answers.
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
