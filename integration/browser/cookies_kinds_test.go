package browser

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// before is the page at which the old application sets cookies, a line each.
func (a *app) before(host string, lines ...string) string {
	return a.at(host, "/before?"+url.Values{"line": lines}.Encode())
}

// cookies are settings of an application's.
func cookies(o stytchmigrate.CookieOptions) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Cookies = o }
}

// named are settings with names that demand something.
func named(prefix string) stytchmigrate.CookieOptions {
	return stytchmigrate.CookieOptions{SessionName: prefix + "session", JWTName: prefix + "session_jwt"}
}

// Chromium and Firefox take Secure cookies on plain HTTP from localhost and
// 127.0.0.1, with the names that demand it too, and from no other host. WebKit takes
// none on plain HTTP. Where an engine refuses them, the old cookie stays, and the old
// session goes on.
func TestCookiesThatBrowsersKeep(t *testing.T) { inEngines(t, cookiesThatBrowsersKeep) }

func cookiesThatBrowsersKeep(t *testing.T, e *engine, table *results) {
	type options = stytchmigrate.CookieOptions
	settings := map[string]options{
		"Lax": {}, "Strict": {SameSite: http.SameSiteStrictMode}, "None": {SameSite: http.SameSiteNoneMode}, "ReadableByScripts": {ReadableByScripts: true},
		"__Host-": named("__Host-"), "__Secure-": named("__Secure-"),
		"Insecure Lax": {Insecure: true}, "Insecure Strict": {Insecure: true, SameSite: http.SameSiteStrictMode},
	}
	for _, site := range []struct {
		url   string
		takes bool // Secure
	}{{"https://app.test", true}, {"http://localhost", e.secureLocally}, {"http://127.0.0.1", e.secureLocally}, {"http://app.test", false}} {
		t.Run(site.url, func(t *testing.T) {
			t.Parallel()
			p := newTab(t, e)
			for name, o := range settings {
				t.Run(name, func(t *testing.T) {
					table.say(t, "%s", keeps(p.in(t), site.url, o, site.takes || o.Insecure))
				})
			}
		})
	}
}

// served is an application at a site.
func served(t *testing.T, site string, o stytchmigrate.CookieOptions) (a *app, host string) {
	t.Helper()
	if host, secure := strings.CutPrefix(site, "https://"); secure {
		return newSecureApp(t, cookies(o)), host
	}
	return newApp(t, cookies(o)), strings.TrimPrefix(site, "http://")
}

// keeps moves Ada and looks at what came of it.
func keeps(p *tab, site string, o stytchmigrate.CookieOptions, kept bool) string {
	a, host := served(p.t, site, o)
	p.clear()
	a.opens(p, a.before(host, newOld("Path=/")))
	assert.Equal(p.t, movedAda, a.opens(p, a.at(host, "/")).who())
	next := a.fetches(p, a.at(host, "/next"))
	assert.Len(p.t, a.stytch.Sessions(), 1)
	if !kept {
		assert.Equal(p.t, movedAda, next.who())
		assert.Equal(p.t, []string{oldCookie}, next.names())
		return "refused, and the old cookie stays"
	}
	assert.Equal(p.t, knownAda, next.who())
	return fmt.Sprint("kept: ", as(p, a, o))
}

// as holds the cookies against the settings, and returns their names.
func as(p *tab, a *app, o stytchmigrate.CookieOptions) []string {
	p.t.Helper()
	names := agree(p, a)
	assert.Len(p.t, names, 2)
	for _, k := range p.jar() {
		assert.Equal(p.t, attributes(sameSites[max(o.SameSite, http.SameSiteLaxMode)], !o.Insecure, !o.ReadableByScripts), k.attributes)
		assert.Equal(p.t, o.Domain != "", strings.HasPrefix(k.domain, "."), k.domain)
		assert.Equal(p.t, cmp.Or(o.Path, "/"), k.path)
	}
	return names
}

// Whatever the settings are: what is set is kept, and what is to go is gone, once the
// new cookies have come back and at the logout.
func TestCookiesGoAsTheyCame(t *testing.T) { inEngines(t, cookiesGoAsTheyCame) }

func cookiesGoAsTheyCame(t *testing.T, e *engine, table *results) {
	a, p := newSecureApp(t), newTab(t, e)
	for _, sameSite := range []http.SameSite{http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode} {
		for _, scope := range []stytchmigrate.CookieScope{{Path: "/"}, {Path: "/app"}, {Domain: "app.test", Path: "/"}, {Domain: "app.test", Path: "/app"}} {
			for _, insecure := range []bool{false, true} {
				o := stytchmigrate.CookieOptions{SameSite: sameSite, Domain: scope.Domain, Path: scope.Path, Insecure: insecure}
				if insecure && sameSite == http.SameSiteNoneMode {
					continue // New refuses it
				}
				t.Run(fmt.Sprintf("%s, Domain %q, Path %q, Insecure %v", sameSites[sameSite], o.Domain, o.Path, insecure), func(t *testing.T) {
					table.say(t, "%s", goes(p.in(t), a, o))
				})
			}
		}
	}
}

// goes takes Ada in and out again, by an old cookie of the same attributes.
func goes(p *tab, a *app, o stytchmigrate.CookieOptions) string {
	app := func(path string) string { return a.at("app.test", "/app/"+path) }
	scope := []stytchmigrate.CookieScope{{Domain: o.Domain, Path: o.Path}}
	a.use(p.t, cookies(o), func(c *stytchmigrate.Config) { c.Legacy[0].Scopes = scope })
	old := http.Cookie{Name: oldCookie, Value: oldValue(), Domain: o.Domain, Path: o.Path, SameSite: o.SameSite, Secure: !o.Insecure, HttpOnly: true}
	a.opens(p, a.before("app.test", old.String()))
	assert.Equal(p.t, movedAda, a.opens(p, app("")).who())
	assert.Equal(p.t, knownAda, a.fetches(p, app("next")).who())
	kept := as(p, a, o)
	a.fetches(p, app("logout"))
	assert.Empty(p.t, agree(p, a))
	assert.Equal(p.t, nobody, a.fetches(p, app("")).who())
	return fmt.Sprint("kept: ", kept, ", gone at the logout")
}

// A session of a year is kept for a year; what the old code set for ten is kept
// for 400 days, or for ten years by WebKit, and goes like any other.
func TestCookiesOfYears(t *testing.T) { inEngines(t, cookiesOfYears) }

func cookiesOfYears(t *testing.T, e *engine, table *results) {
	const tenYears = 3650 * 24 * time.Hour
	a := newSecureApp(t, func(c *stytchmigrate.Config) { c.SessionDuration = 366 * 24 * time.Hour })
	p := newTab(t, e)
	a.opens(p, a.before("app.test", newOld(fmt.Sprintf("Path=/; Max-Age=%.0f", tenYears.Seconds()))))
	assert.Equal(t, []string{oldCookie}, agree(p, a))
	years := min(tenYears, e.maxAge)
	assert.WithinDuration(t, time.Now().Add(years), p.jar()[0].expires, patience)
	a.opens(p, a.at("app.test", "/"))
	a.opens(p, a.at("app.test", "/next"))
	require.Equal(t, []string{tokenCookie, jwtCookie}, agree(p, a))
	for _, k := range p.jar() {
		assert.WithinDuration(t, time.Now().AddDate(0, 0, 366), k.expires, patience)
	}
	table.say(t, "ten years: kept for %.0f days; a session of 366 days: kept for 366", years.Hours()/24)
}
