package browser

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// both are the cookies of a session, as sdkTab.cookies has them.
func both(scope string) []string {
	return []string{"stytch_session " + scope, "stytch_session_jwt " + scope}
}

// readable are cookies that the SDK can read.
func readable(c *stytchmigrate.Config) { c.Cookies.ReadableByScripts = true }

// In the page that moves a user, and without a login of its own, the SDK finds the
// session that the middleware made. What it writes, the middleware accepts, and
// nobody's cookies are doubled.
func TestSDKFindsSession(t *testing.T) {
	const local, host, domain = "localhost/ Lax", "app.example.com/ Lax Secure", ".example.com/ Lax Secure"
	for _, tt := range []struct {
		name, site, page, options string
		cookies                   stytchmigrate.CookieOptions
		ours, theirs              []string
	}{
		{"http", sdkPlain, "/", `{}`, stytchmigrate.CookieOptions{Insecure: true}, both(local + " 720h"), both(local + " 720h")},
		{"http and Secure", sdkPlain, "/", `{}`, stytchmigrate.CookieOptions{}, both(local + " Secure 720h"), both(local + " 720h")},
		{"https", sdkSite, "/", `{}`, stytchmigrate.CookieOptions{}, both(host + " 720h"), both(host + " 720h")},
		{"SameSite", sdkSite, "/", `{}`, stytchmigrate.CookieOptions{SameSite: http.SameSiteStrictMode}, both("app.example.com/ Strict Secure 720h"), both(host + " 720h")},
		{"Domain", sdkSite, "/", `{cookieOptions: {availableToSubdomains: true, domain: "example.com"}}`, stytchmigrate.CookieOptions{Domain: "example.com"}, both(domain + " 720h"), both(domain + " 720h")},
		{"Domain of the host", sdkSite, "/", `{cookieOptions: {availableToSubdomains: true}}`, stytchmigrate.CookieOptions{Domain: "app.example.com"}, both("." + host + " 720h"), both("." + host + " 720h")},
		{"Path", sdkSite, "/account", `{cookieOptions: {path: "/account"}}`, stytchmigrate.CookieOptions{Path: "/account"}, both("app.example.com/account Lax Secure 720h"), both("app.example.com/account Lax Secure 720h")},
		{"names", sdkSite, "/", `{cookieOptions: {opaqueTokenCookieName: "a", jwtCookieName: "b"}}`, stytchmigrate.CookieOptions{SessionName: "a", JWTName: "b"}, []string{"a " + host + " 720h", "b " + host + " 720h"}, []string{"a " + host + " 720h", "b " + host + " 720h"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newSDKWorld(t, func(c *stytchmigrate.Config) { c.Cookies = tt.cookies; readable(c) })
			p := w.open(t, tt.site)
			p.page = tt.page
			p.signIn()
			assert.Equal(t, "migrated ada@example.com", p.visit())
			assert.ElementsMatch(t, append(tt.ours, p.old()), p.cookies(), "the old cookie goes with the next page")

			s := w.stytch.Sessions()[0]
			assert.Equal(t, seen{Token: s.Token, JWT: s.JWT}, p.start(tt.options), "before it has asked")
			now := p.settled()
			assert.Equal(t, seen{s.Token, w.stytch.Sessions()[0].JWT, s.ID, "ada@example.com"}, now)
			assert.ElementsMatch(t, append(tt.theirs, p.old()), p.cookies())
			p.shoot("sdk-" + strings.ReplaceAll(tt.name, " ", "-"))

			assert.Equal(t, "authenticated ada@example.com", p.visit())
			p.start(tt.options)
			assert.Equal(t, s.ID, p.settled().Session)
			assert.Equal(t, "yes", p.tell("session.authenticate({session_duration_minutes: 60})"))
			assert.Equal(t, strings.ReplaceAll(strings.Join(tt.theirs, "\n"), "720h", "1h"), strings.Join(p.cookies(), "\n"), "Expires is the session's")
			assert.Equal(t, "authenticated ada@example.com", p.visit())
			assert.Len(t, w.stytch.Sessions(), 1)
			assert.Empty(t, p.said(), "console")
			w.heard(t, "GET test.stytch.com/sdk/v1/projects/bootstrap/public-token-test-1", "POST test.stytch.com/sdk/v1/sessions/authenticate")
		})
	}
}

// heard wants the SDK to have asked just that, and nobody else.
func (w *sdkWorld) heard(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := slices.DeleteFunc(slices.Clone(w.asked), func(s string) bool { return strings.HasSuffix(s, "/sdk/v1/events") }) // telemetry, every 0.8 s
	assert.ElementsMatch(t, want, asked)
	assert.Empty(t, w.nowhere, "other hosts")
}

// A revocation by the SDK is a logout. A copy of the cookies is good for nothing
// as soon as Stytch is asked.
func TestSDKRevokes(t *testing.T) {
	w := newSDKWorld(t, readable)
	w.clock(-10 * time.Minute) // its JWTs have expired, so it is asked in each request
	p := w.open(t, sdkSite)
	p.moves()
	p.start(`{}`)
	require.Equal(t, "ada@example.com", p.settled().Email)
	copied := p.jar()
	assert.Equal(t, []string{"authenticated ada@example.com", "stytch_session set", "stytch_session_jwt set"}, w.replay(copied))

	assert.Equal(t, "yes", p.tell("session.revoke()"))
	assert.True(t, w.stytch.Sessions()[0].Revoked)
	assert.Equal(t, seen{}, p.look())
	assert.Empty(t, p.cookies())
	assert.Equal(t, "anonymous", p.visit())
	assert.Equal(t, []string{"anonymous", "stytch_session deleted", "stytch_session_jwt deleted"}, w.replay(copied))
	assert.Empty(t, p.said(), "console")
}

// Where the old cookie is still there, in stage Keep and on the page that moved the
// user, the old session goes on after it: only Logout ends both.
func TestSDKRevokesBesideAnOldSession(t *testing.T) {
	for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
		t.Run(stage.String(), func(t *testing.T) {
			w := newSDKWorld(t, func(c *stytchmigrate.Config) { c.Rollout.Stage = stage; readable(c) })
			p := w.open(t, sdkSite)
			p.signIn()
			assert.Equal(t, "migrated ada@example.com", p.visit())
			p.start(`{}`)
			require.Equal(t, "ada@example.com", p.settled().Email)

			assert.Equal(t, "yes", p.tell("session.revoke()"))
			assert.Equal(t, []string{p.old()}, p.cookies())
			assert.Equal(t, "migrated ada@example.com", p.visit(), "by the old cookie")

			p.logOut()
			assert.Empty(t, p.cookies())
			assert.Equal(t, "anonymous", p.visit())
		})
	}
}

// Logout is one for the SDK too: in the tab that is open, and in the pages to come,
// though it remembers the user in the browser's storage.
func TestSDKHearsOfLogout(t *testing.T) {
	for _, tt := range []struct {
		name  string
		learn func(*sdkTab)
	}{
		{"by asking", func(p *sdkTab) { assert.Equal(p.t, "user_unauthenticated", p.tell("session.authenticate()")) }},
		{"on the next page", func(p *sdkTab) {
			assert.Equal(p.t, "anonymous", p.visit())
			assert.Equal(p.t, seen{}, p.start(`{}`))
			assert.Equal(p.t, seen{}, p.settled())
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newSDKWorld(t, readable).open(t, sdkSite)
			p.moves()
			p.start(`{}`)
			require.Equal(t, "ada@example.com", p.settled().Email)

			p.logOut()
			assert.Empty(t, p.cookies())
			assert.Contains(t, p.stored(), "ada@example.com")
			tt.learn(p)
			assert.Equal(t, seen{}, p.look())
			assert.NotContains(t, p.stored(), "ada@example.com")
		})
	}
}
