package stories_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// outages is every way in which an authenticate call can fail to say yes or no.
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

// anyJWT reads as a session JWT of another session than the one that it comes with.
var anyJWT = apptest.EncodeSegment(`{"alg":"RS256","kid":"k"}`) + "." + apptest.EncodeSegment(`{"iss":"i","aud":["a"],"sub":"user-test-ada","iat":1,"exp":2,`+
	`"`+sessionClaim+`":{"id":"session-test-1"}}`) + ".AAAA"

// No outage clears a cookie, or has the legacy session exchanged beside a
// Stytch session that may be alive. A JWT that verifies does without Stytch.
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

// onceEach is the reply without second tries of a call: how often one is tried
// is told elsewhere.
func onceEach(r *apptest.Reply) string {
	return strings.ReplaceAll(r.String(), "authenticate authenticate", "authenticate")
}

// A transport that fails in a way of its own, panics even, is an outage too.
func TestBrokenTransport(t *testing.T) {
	for name, transport := range map[string]roundTripper{
		"error": func(*http.Request) (*http.Response, error) { return nil, errors.New("out of order") },
		"panic": func(*http.Request) (*http.Response, error) { panic("out of order") },
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.Expired(a.Ada, "both")
				assert.Equal(t, "unavailable | - | - | -", a.Get(cookies+"; sid=bob-1").String())
				cookies, _ = a.SignedIn(a.Ada)
				assert.Equal(t, "unavailable | - | - | -", a.Get(cookies).String(), "without keys not even a valid JWT is told")
			}, func(c *stytchmigrate.Config) { c.HTTPClient = &http.Client{Transport: transport} })
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Stytch is silent: what a request asks about first uses up its time, and no call
// is made that nobody waits for.
func TestSilenceIsAskedOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Silence())
		got := a.Get("stytch_session=A; stytch_session=B; stytch_session=C")
		synctest.Wait()
		assert.Equal(t, "unavailable"+apptest.Untouched+"authenticate authenticate", got.String())
		for _, c := range a.Stytch.Calls() {
			assert.Equal(t, "A", c.SessionToken)
		}
	})
}

// A token that Stytch does not know is not asked about again for a minute.
func TestUnknownTokenIsRemembered(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		const cleared = "anonymous | -stytch_session -stytch_session_jwt | no-store | "
		made := "stytch_session=" + strings.Repeat("a", 44)
		assert.Equal(t, cleared+"authenticate", a.Get(made).String())
		time.Sleep(time.Minute - time.Nanosecond)
		assert.Equal(t, cleared+"-", a.Get(made).String())
		assert.Equal(t, cleared+"authenticate", a.Get(made+"b").String(), "that one alone")
		time.Sleep(time.Nanosecond)
		assert.Equal(t, cleared+"authenticate", a.Get(made).String())
	})
}

// The JWT is still good, and the answer comes after the half second for which a
// request waits: who asks next hears of it, and need not ask again.
func TestALateNoIsRemembered(t *testing.T) {
	for name, slow := range map[string]func(a *apptest.App, s *storetest.Memory){
		"Stytch is slow": func(a *apptest.App, _ *storetest.Memory) {
			a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Delay(600*time.Millisecond))
		},
		"the store is silent": func(a *apptest.App, s *storetest.Memory) {
			a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Delay(100*time.Millisecond))
			s.Fail(func(string, string) error { time.Sleep(5 * time.Second); return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
				cookies := a.On(m[0]).Get("sid=ada-1").Jar("")
				time.Sleep(time.Minute)
				a.Stytch.RevokeAll()
				slow(a, s)
				assert.Equal(t, "authenticated partial ada", a.On(m[1]).Get(cookies).Saw)
				time.Sleep(11 * time.Second)
				assert.Equal(t, strings.Replace(apptest.SignedOut, "authenticate", "-", 1), a.On(m[1]).Get(cookies).String())
			})
		})
	}
}
