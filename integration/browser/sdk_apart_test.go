package browser

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// Without ReadableByScripts the SDK takes the user for signed out. It deletes what
// it can, which is nothing, and the session lives.
func TestSDKWithoutReadableByScripts(t *testing.T) {
	w := newSDKWorld(t, func(*stytchmigrate.Config) {})
	p := w.open(t, sdkSite)
	p.moves()
	before := p.jar()
	assert.Equal(t, both("app.example.com/ Lax Secure HttpOnly 720h"), p.cookies())

	assert.Equal(t, seen{}, p.start(`{}`))
	assert.Equal(t, seen{}, p.settled())
	assert.Empty(t, p.said(), "console")
	w.heard(t, "GET test.stytch.com/sdk/v1/projects/bootstrap/public-token-test-1")
	p.shoot("sdk-http-only")

	assert.Equal(t, "user_unauthenticated", p.tell("session.authenticate()"))
	assert.Equal(t, "user_unauthenticated", p.tell("session.revoke({forceClear: true})"))
	assert.Equal(t, before, p.jar())
	assert.True(t, w.stytch.Sessions()[0].Live)
	assert.Equal(t, "authenticated ada@example.com", p.visit())
}

// A login by the SDK is lost then: no script may write over the cookies, and the
// page and the SDK see two people.
func TestSDKLogsInWithoutReadableByScripts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*stytchmigrate.Config)
		want   string
	}{
		{"without", func(*stytchmigrate.Config) {}, "ada@example.com"},
		{"with", readable, "bob@example.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newSDKWorld(t, tt.change).open(t, sdkSite)
			p.moves()
			p.start(`{}`)
			p.settled()

			assert.Equal(t, "yes", p.tell(`passwords.authenticate({email: "bob@example.com", password: "-", session_duration_minutes: 60})`))
			assert.Equal(t, "bob@example.com", p.look().Email)
			assert.Equal(t, "authenticated "+tt.want, p.visit())
		})
	}
}

// Where Domain is not the SDK's, the browser holds two of each. Either is accepted,
// but the SDK deletes only its own: after its revocation the user stays signed in
// until the JWT expires. Logout deletes both if OldScopes names the SDK's scope.
func TestSDKWithAnotherDomain(t *testing.T) {
	const ours, theirs = ".example.com/ Lax Secure 720h", "app.example.com/ Lax Secure 720h"
	two := []string{"stytch_session " + ours, "stytch_session " + theirs, "stytch_session_jwt " + ours, "stytch_session_jwt " + theirs}
	for _, tt := range []struct {
		name string
		old  []stytchmigrate.CookieScope
		left []string
	}{
		{"OldScopes", []stytchmigrate.CookieScope{{}}, nil},
		{"no OldScopes", nil, both(theirs)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newSDKWorld(t, func(c *stytchmigrate.Config) {
				c.Cookies.Domain, c.Cookies.OldScopes = "example.com", tt.old
				readable(c)
			})
			p := w.open(t, sdkSite)
			p.moves()
			p.start(`{}`)
			require.Equal(t, "ada@example.com", p.settled().Email)
			assert.Equal(t, two, p.cookies())
			assert.Equal(t, "authenticated ada@example.com", p.visit())
			assert.Contains(t, p.said()[0], "Could not remove extraneous JWT cookie.")

			p.logOut()
			assert.Equal(t, tt.left, p.cookies())
			assert.Equal(t, "anonymous", p.visit())
		})
	}
}

func TestSDKRevokesWithAnotherDomain(t *testing.T) {
	for _, tt := range []struct {
		name  string
		clock time.Duration
		want  string
		left  []string
	}{
		{"JWT is good for five minutes", 0, "authenticated ada@example.com", both(".example.com/ Lax Secure 720h")},
		{"JWT has expired", -10 * time.Minute, "anonymous", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newSDKWorld(t, func(c *stytchmigrate.Config) { c.Cookies.Domain = "example.com"; readable(c) })
			w.clock(tt.clock)
			p := w.open(t, sdkSite)
			p.moves()
			p.start(`{}`)
			require.Equal(t, "ada@example.com", p.settled().Email)

			assert.Equal(t, "yes", p.tell("session.revoke()"))
			assert.Equal(t, both(".example.com/ Lax Secure 720h"), p.cookies())
			assert.Equal(t, tt.want, p.visit())
			assert.Equal(t, tt.left, p.cookies())
		})
	}
}

// The SDK's option domain does nothing without availableToSubdomains: it writes
// for its own host, and deletes what the middleware wrote.
func TestSDKDomainAlone(t *testing.T) {
	w := newSDKWorld(t, func(c *stytchmigrate.Config) { c.Cookies.Domain = "example.com"; readable(c) })
	p := w.open(t, sdkSite)
	p.moves()
	p.start(`{cookieOptions: {domain: "example.com"}}`)
	p.settled()
	assert.Equal(t, both("app.example.com/ Lax Secure 720h"), p.cookies())
	assert.Equal(t, "authenticated ada@example.com", p.visit())
}

// A JWT that is too long for a cookie is in none: the SDK has no tokens to give away,
// and finds the session by its token all the same.
func TestSDKWithoutJWT(t *testing.T) {
	w := newSDKWorld(t, func(c *stytchmigrate.Config) {
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"long": strings.Repeat("x", 3500)}
		}
		readable(c)
	})
	p := w.open(t, sdkSite)
	p.moves()
	assert.Equal(t, seen{}, p.start(`{}`))
	assert.Equal(t, seen{Session: w.stytch.Sessions()[0].ID, Email: "ada@example.com"}, p.settled())
	assert.Equal(t, []string{"stytch_session app.example.com/ Lax Secure 720h"}, p.cookies())
	assert.Equal(t, "authenticated ada@example.com", p.visit())
}

// The middleware and the SDK both refresh a JWT that has expired, one after the
// other and at once. They come to the same session, and either's JWT is accepted.
func TestSDKAndMiddlewareRefresh(t *testing.T) {
	w := newSDKWorld(t, readable)
	w.clock(-10 * time.Minute)
	p := w.open(t, sdkSite)
	p.signIn()
	assert.Equal(t, "migrated ada@example.com", p.visit())
	first := w.stytch.Sessions()[0]

	w.clock(-9 * time.Minute)
	assert.Equal(t, "authenticated ada@example.com", p.visit())
	second := p.start(`{}`)
	assert.Equal(t, first.Token, second.Token)
	assert.NotEqual(t, first.JWT, second.JWT, "by the middleware")
	p.settled()
	w.clock(-8 * time.Minute)
	assert.Equal(t, "yes", p.tell("session.authenticate()"))
	assert.NotEqual(t, second.JWT, p.look().JWT, "by the SDK")

	for range 5 {
		for i, answer := range p.atOnce() {
			assert.Equal(t, []string{"authenticated ada@example.com", "yes"}[i%2], answer)
		}
	}
	assert.Equal(t, seen{first.Token, p.look().JWT, first.ID, "ada@example.com"}, p.look())
	assert.Equal(t, both("app.example.com/ Lax Secure 720h"), p.cookies())

	w.clock(0)
	assert.Equal(t, "authenticated ada@example.com", p.visit())
	p.start(`{}`)
	p.settled()
	w.clock(5 * time.Second)
	assert.Equal(t, "yes", p.tell("session.authenticate()"))
	calls := w.stytch.Count("authenticate")
	assert.Equal(t, "authenticated ada@example.com", p.visit())
	assert.Equal(t, calls, w.stytch.Count("authenticate"), "the SDK's JWT costs no call")
	assert.Len(t, w.stytch.Sessions(), 1)
	assert.Empty(t, p.said(), "console")
}

// atOnce are requests to the application, and between them the SDK's own.
func (p *sdkTab) atOnce() []string {
	p.t.Helper()
	return get(p.chromiumTab, chromedp.Evaluate[[]string](`Promise.all([1, 2, 3, 4].flatMap(() =>
		[fetch("/who").then(r => r.text()), said(client.session.authenticate())]))`, chromedp.EvalAwaitPromise))
}

// With a custom domain that keeps the tokens in HttpOnly cookies, as the dashboard
// has it, the SDK finds the session without seeing a cookie: neither
// ReadableByScripts nor a token in its hands, but a Domain that both hosts share.
func TestSDKWithCustomDomain(t *testing.T) {
	w := newSDKWorld(t, func(c *stytchmigrate.Config) { c.Cookies.Domain = "example.com" })
	w.set(func() { w.httpOnly = true })
	p := w.open(t, sdkSite)
	p.moves()
	cookies := both(".example.com/ Lax Secure HttpOnly 720h")
	assert.Equal(t, cookies, p.cookies())

	const options = `{customBaseUrl: "https://login.example.com"}`
	assert.Equal(t, seen{}, p.start(options))
	s := w.stytch.Sessions()[0]
	assert.Equal(t, seen{Session: s.ID, Email: "ada@example.com"}, p.settled())
	assert.Equal(t, cookies, p.cookies())
	assert.Equal(t, "authenticated ada@example.com", p.visit())
	p.start(options)
	p.settled()

	assert.Equal(t, "yes", p.tell("session.revoke()"))
	assert.Empty(t, p.cookies())
	assert.Equal(t, "anonymous", p.visit())
	assert.Empty(t, p.said(), "console")
	w.heard(t, "GET login.example.com/sdk/v1/projects/bootstrap/public-token-test-1", "POST login.example.com/sdk/v1/sessions/authenticate", "POST login.example.com/sdk/v1/sessions/revoke")
}

func TestSDKWithCustomDomainAndHostOnly(t *testing.T) {
	w := newSDKWorld(t, func(*stytchmigrate.Config) {})
	w.set(func() { w.httpOnly = true })
	p := w.open(t, sdkSite)
	p.moves()
	before := p.jar()
	p.start(`{customBaseUrl: "https://login.example.com"}`)
	assert.Equal(t, seen{}, p.settled(), "the browser sends it no cookie")
	assert.Equal(t, before, p.jar())
	assert.Equal(t, "authenticated ada@example.com", p.visit())
}

// While browsers don't get to Stytch, the SDK tries again and deletes nothing.
func TestSDKWithoutStytch(t *testing.T) {
	w := newSDKWorld(t, readable)
	w.set(func() { w.down = true })
	p := w.open(t, sdkSite)
	p.moves()
	before := p.jar()
	s := w.stytch.Sessions()[0]
	assert.Equal(t, seen{Token: s.Token, JWT: s.JWT}, p.start(`{}`))
	assert.Equal(t, "StytchAPIUnreachableError", p.tell("session.authenticate()"))
	assert.Equal(t, "StytchAPIUnreachableError", p.tell("session.revoke()"))
	assert.Equal(t, before, p.jar())
	for _, line := range p.said() {
		assert.Regexp(t, `net::ERR_TUNNEL_CONNECTION_FAILED https://test\.stytch\.com/|\[Stytch\].* (StytchAPIUnreachableError|"Unable to retrieve RBAC policy)`, line)
	}
	assert.Equal(t, "authenticated ada@example.com", p.visit())
}
