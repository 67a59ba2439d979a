package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// staleJWT is a JWT of before, of which nobody knows whose it was.
const staleJWT = jwtCookie + "=not.a.jwt"

// of is a session cookie that was left in a scope by settings of before.
func of(s stytchmigrate.CookieScope, pair string) string {
	line := pair + "; Secure; HttpOnly; SameSite=Lax; Path=" + s.Path
	if s.Domain != "" {
		line += "; Domain=" + s.Domain
	}
	return line
}

// What was left in other scopes goes with the first two pages, and with the logout, if the
// settings name the scope; else it stays, and does no harm.
func TestCookiesInSeveralScopes(t *testing.T) { inEngines(t, cookiesInSeveralScopes) }

func cookiesInSeveralScopes(t *testing.T, e *engine, table *results) {
	host, site, parent := stytchmigrate.CookieScope{Path: "/"}, stytchmigrate.CookieScope{Domain: "app.test", Path: "/"}, stytchmigrate.CookieScope{Domain: "sub.app.test", Path: "/"}
	type list = []stytchmigrate.CookieScope
	more := list{{Domain: "sub.app.test", Path: "/app"}, {Path: "/app/"}, {Domain: "app.test", Path: "/app/"}, {Domain: "sub.app.test", Path: "/app/"}}
	below, belowSite := stytchmigrate.CookieScope{Path: "/app"}, stytchmigrate.CookieScope{Domain: "app.test", Path: "/app"}
	ours := func(domain string) []string {
		return []string{tokenCookie + " of " + domain + "/", jwtCookie + " of " + domain + "/"}
	}
	for _, tt := range []struct {
		name        string
		in          stytchmigrate.CookieScope // the settings now
		stytch, old list                      // where cookies were left
		named       bool                      // in OldScopes and Scopes
		ours, left  []string
	}{
		{"from the host to the domain", site, list{host}, list{host}, true, ours(".app.test"), nil},
		{"from the domain to the host", host, list{site}, list{site}, true, ours("sub.app.test"), nil},
		{"from several to the domain", site, list{host, below}, list{host, site, below}, true, ours(".app.test"), nil},
		{"from several to the host", host, list{site, belowSite}, list{host, site, parent}, true, ours("sub.app.test"), nil},
		{"from many", host, list{site, parent, below, belowSite}, list{host, site, parent, below, belowSite}, true, ours("sub.app.test"), nil},
		{"from so many that there is no room for a JWT", host, append(list{site, parent, below, belowSite}, more...), list{host, site, parent, below, belowSite}, true, ours("sub.app.test")[:1], nil},
		{"from one that nobody named", host, list{site}, list{site}, false, ours("sub.app.test"), append(ours(".app.test"), "sid of .app.test/")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a := newSecureApp(t, func(c *stytchmigrate.Config) {
				c.Cookies = stytchmigrate.CookieOptions{Domain: tt.in.Domain, Path: tt.in.Path}
				if tt.named {
					c.Cookies.OldScopes, c.Legacy[0].Scopes = tt.stytch, tt.old
				}
			})
			p := newTab(t, e)
			var lines []string
			old := strings.TrimSuffix(newOld(""), "; ")
			for _, s := range tt.old {
				lines = append(lines, of(s, old))
			}
			for _, s := range tt.stytch {
				lines = append(lines, of(s, tokenCookie+"=stale-token"), of(s, staleJWT))
			}
			table.say(t, "%s", a.clears(p, lines, append(tt.ours, tt.left...), tt.left))
		})
	}
}

// clears is the road of Ada, who comes with a heap of cookies: those that she has
// once she moved, and those that she has once she logged out.
func (a *app) clears(p *tab, lines, moved, gone []string) string {
	app := func(path string) string { return a.at("sub.app.test", "/app/"+path) }
	a.opens(p, a.before("sub.app.test", lines...))
	assert.Len(p.t, agree(p, a), len(lines))
	assert.Equal(p.t, movedAda, a.opens(p, app("")).who())
	agree(p, a)
	assert.Equal(p.t, knownAda, a.fetches(p, app("next")).who())
	agree(p, a)
	assert.ElementsMatch(p.t, moved, scopes(p.jar()))

	a.opens(p, a.before("sub.app.test", lines...)) // whatever set them does so again
	a.fetches(p, app("logout"))
	agree(p, a)
	assert.ElementsMatch(p.t, gone, scopes(p.jar()))
	assert.Empty(p.t, a.fetches(p, app("")).user)
	return fmt.Sprintf("%d cookies came, %d are left after two pages, %d after the logout", len(lines), len(moved), len(gone))
}

func scopes(jar []kept) (out []string) {
	for _, k := range jar {
		out = append(out, k.scope())
	}
	return out
}

// A session whose JWT is too long for a cookie lives by its token alone, and a
// JWT of before does not stay beside it.
func TestCookiesOfALongJWT(t *testing.T) { inEngines(t, cookiesOfALongJWT) }

func cookiesOfALongJWT(t *testing.T, e *engine, table *results) {
	a := newSecureApp(t, func(c *stytchmigrate.Config) {
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"roles": strings.Repeat("an admin, ", 300)}
		}
	})
	p := newTab(t, e)
	a.opens(p, a.before("app.test", newOld("Path=/"), of(stytchmigrate.CookieScope{Path: "/"}, staleJWT)))
	assert.Equal(t, []string{oldCookie, jwtCookie}, agree(p, a))
	assert.Equal(t, movedAda, a.opens(p, a.at("app.test", "/")).who())
	assert.Equal(t, []string{oldCookie, tokenCookie}, agree(p, a))
	assert.Equal(t, knownAda, a.opens(p, a.at("app.test", "/next")).who())
	assert.Equal(t, []string{tokenCookie}, agree(p, a))
	next := a.opens(p, a.at("app.test", "/last"))
	assert.Equal(t, knownAda, next.who())
	assert.Equal(t, []string{tokenCookie}, next.names())
	assert.Zero(t, a.stytch.Count(stytchtest.Authenticate), "the token is known until the JWT would expire")
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	table.say(t, "the token is kept, and the old JWT goes with the old cookie")
}
