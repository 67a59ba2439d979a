package stytchmigrate_test

import (
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

// lines are the raw Set-Cookie lines, with names for the tokens in them.
func lines(a *apptest.App, r *apptest.Reply) []string {
	var out []string
	for _, line := range r.Result().Header["Set-Cookie"] {
		for _, s := range a.Stytch.Sessions() {
			line = strings.NewReplacer(s.JWT, "JWT", s.Token, "TOKEN").Replace(line)
		}
		out = append(out, line)
	}
	return out
}

const (
	month   = "; Max-Age=2592000" // the session's 30 days
	expired = "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"
	usual   = "; HttpOnly; Secure; SameSite=Lax"
)

// Each row is the whole of what is set and expired by a swap.
func TestSetCookieLines(t *testing.T) {
	type o = stytchmigrate.CookieOptions
	type l = stytchmigrate.LegacyCookie
	swapOf := func(rest string) []string {
		return []string{"stytch_session=TOKEN; Path=/" + month + usual, "stytch_session_jwt=JWT; Path=/" + month + usual, rest}
	}
	sid := "sid=; Path=/" + expired + usual
	for name, row := range map[string]struct {
		change func(*stytchmigrate.Config)
		want   []string
	}{
		"defaults": {apptest.CookieOptions(func(*o) {}), swapOf(sid)},
		"a domain and a path": {apptest.CookieOptions(func(o *o) { o.Domain, o.Path = ".example.com", "/app" }), []string{
			"stytch_session=TOKEN; Path=/app; Domain=example.com" + month + usual,
			"stytch_session_jwt=JWT; Path=/app; Domain=example.com" + month + usual, sid}},
		"same-site none": {apptest.CookieOptions(func(o *o) { o.SameSite = http.SameSiteNoneMode }), []string{
			"stytch_session=TOKEN; Path=/" + month + "; HttpOnly; Secure; SameSite=None",
			"stytch_session_jwt=JWT; Path=/" + month + "; HttpOnly; Secure; SameSite=None",
			"sid=; Path=/" + expired + "; HttpOnly; Secure; SameSite=None"}},
		"readable by scripts": {apptest.CookieOptions(func(o *o) { o.ReadableByScripts = true }), []string{
			"stytch_session=TOKEN; Path=/" + month + "; Secure; SameSite=Lax",
			"stytch_session_jwt=JWT; Path=/" + month + "; Secure; SameSite=Lax", sid}},
		"insecure": {apptest.CookieOptions(func(o *o) { o.Insecure = true }), []string{
			"stytch_session=TOKEN; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"stytch_session_jwt=JWT; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"sid=; Path=/" + expired + "; HttpOnly; SameSite=Lax"}},
		"names with prefixes": {apptest.CookieOptions(func(o *o) { o.SessionName, o.JWTName = "__Host-s", "__Secure-j" }), []string{
			"__Host-s=TOKEN; Path=/" + month + usual, "__Secure-j=JWT; Path=/" + month + usual, sid}},
		"old scopes": {apptest.CookieOptions(func(o *o) { o.OldScopes = []stytchmigrate.CookieScope{{Domain: "example.com"}, {Path: "/app"}} }), []string{
			"stytch_session=TOKEN; Path=/" + month + usual, "stytch_session_jwt=JWT; Path=/" + month + usual,
			"stytch_session=; Path=/; Domain=example.com" + expired + usual, "stytch_session_jwt=; Path=/; Domain=example.com" + expired + usual,
			"stytch_session=; Path=/app" + expired + usual, "stytch_session_jwt=; Path=/app" + expired + usual, sid}},
		"old scopes, and a name that never was in them": {apptest.CookieOptions(func(o *o) {
			o.SessionName, o.OldScopes = "__Host-s", []stytchmigrate.CookieScope{{Domain: "example.com"}}
		}), []string{
			"__Host-s=TOKEN; Path=/" + month + usual, "stytch_session_jwt=JWT; Path=/" + month + usual,
			"stytch_session_jwt=; Path=/; Domain=example.com" + expired + usual, sid}},
		"legacy scopes and companions": {apptest.LegacyCookie(func(l *l) {
			l.Also, l.Scopes = []string{"csrf"}, []stytchmigrate.CookieScope{{}, {Domain: "example.com", Path: "/app"}}
		}), append(swapOf(sid), "csrf=; Path=/"+expired+usual,
			"sid=; Path=/app; Domain=example.com"+expired+usual, "csrf=; Path=/app; Domain=example.com"+expired+usual)},
		"a legacy name that only a strict deletion expires": {apptest.LegacyCookie(func(l *l) {
			l.Name, l.Scopes = "__Host-sid", []stytchmigrate.CookieScope{{Domain: "example.com", Path: "/app"}}
		}), swapOf("__Host-sid=; Path=/" + expired + usual)},
		"a legacy name that is always secure": {func(c *stytchmigrate.Config) { c.Cookies.Insecure, c.Legacy[0].Name = true, "__Secure-sid" }, []string{
			"stytch_session=TOKEN; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"stytch_session_jwt=JWT; Path=/" + month + "; HttpOnly; SameSite=Lax", "__Secure-sid=; Path=/" + expired + usual}},
		"a legacy name that is always secure, and of the host": {func(c *stytchmigrate.Config) { c.Cookies.Insecure, c.Legacy[0].Name = true, "__Host-sid" }, []string{
			"stytch_session=TOKEN; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"stytch_session_jwt=JWT; Path=/" + month + "; HttpOnly; SameSite=Lax", "__Host-sid=; Path=/" + expired + usual}},
		"a session of a day": {func(c *stytchmigrate.Config) { c.SessionDuration = 24 * time.Hour }, []string{
			"stytch_session=TOKEN; Path=/; Max-Age=86400" + usual, "stytch_session_jwt=JWT; Path=/; Max-Age=86400" + usual, sid}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				got := a.Ask(t, "sid=ada-1; __Host-sid=ada-1; __Secure-sid=ada-1", func(r *http.Request) { r.URL.Path = "/app/page" })
				assert.Equal(t, row.want, lines(a, got))
				assert.Equal(t, "migrated ada", got.Saw)
			}, row.change)
		})
	}
}

func TestMaxAgeIsCapped(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Mutate(func(body map[string]any) {
			body["session"].(map[string]any)["expires_at"] = time.Now().AddDate(10, 0, 0).Format(time.RFC3339)
		}))
		for _, c := range a.Ask(t, "sid=ada-1").Result().Cookies()[:2] {
			assert.Equal(t, 400*24*60*60, c.MaxAge, c.Name)
		}
	})
}

func TestLogoutClearsEveryScope(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
		assert.Equal(t, []string{
			"stytch_session=; Path=/" + expired + usual, "stytch_session_jwt=; Path=/" + expired + usual,
			"stytch_session=; Path=/; Domain=example.com" + expired + usual, "stytch_session_jwt=; Path=/; Domain=example.com" + expired + usual,
			"sid=; Path=/" + expired + usual,
		}, lines(a, a.Ask(t, "")))
	}, apptest.CookieOptions(func(o *stytchmigrate.CookieOptions) {
		o.OldScopes = []stytchmigrate.CookieScope{{Domain: "example.com"}}
	}))
}

// longJWT makes session_custom_claims, and so the JWT, longer by about n bytes.
func longJWT(n int) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"padding": strings.Repeat("x", n*3/4)}
		}
	}
}

// Each row is a request whose new JWT would break a limit on its way.
func TestJWTThatDoesNotFit(t *testing.T) {
	scopes := func(c *stytchmigrate.Config) {
		for _, d := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
			c.Cookies.OldScopes = append(c.Cookies.OldScopes, stytchmigrate.CookieScope{Path: "/" + d})
		}
	}
	for name, row := range map[string]struct {
		change  func(*stytchmigrate.Config)
		cookies string
		fits    bool
	}{
		"a long one":                            {longJWT(1000), "", true},
		"the cookie is over 4096 bytes":         {longJWT(3900), "", false},
		"the lines together are over 3 KB":      {longJWT(2300), "", false},
		"many old scopes leave no room for it":  {scopes, "", false},
		"the header to come is long":            {longJWT(0), "; other=" + strings.Repeat("x", 5000), true},
		"the header to come is over 7 KB":       {longJWT(0), "; other=" + strings.Repeat("x", 6500), false},
		"what is over 7 KB is the old cookie":   {longJWT(0), "; sid=" + strings.Repeat("x", 6500), true},
		"what is over 7 KB is two other values": {longJWT(0), "; o=" + strings.Repeat("x", 3300) + "; p=" + strings.Repeat("x", 3300), false},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				first := a.Ask(t, "sid=ada-1"+row.cookies)
				got := strings.Join(first.Cookies(), " ")
				assert.Equal(t, row.fits, strings.Contains(got, "+stytch_session_jwt"), got)
				assert.Contains(t, got, "+stytch_session ")
				cookies := first.Jar("sid=ada-1" + row.cookies)
				assert.Equal(t, row.fits, strings.Contains(a.PassedOn[0], "stytch_session_jwt="), "the handler sees what the browser will send")
				for range 3 {
					next := a.Ask(t, cookies)
					assert.Equal(t, "authenticated ada", next.Saw)
					assert.Empty(t, a.Stytch.Calls(), "known without a call")
					cookies = next.Jar(cookies)
				}
			}, row.change)
		})
	}
}

// A new JWT that is too long takes the place of one that was not.
func TestOldJWTIsClearedWhereTheNewDoesNotFit(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		require.Equal(t, "authenticated ada", a.Ask(t, cookies).Saw)
		time.Sleep(6 * time.Minute)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Mutate(func(body map[string]any) {
			claims := a.Stytch.Claims(s.ID)
			claims["padding"] = strings.Repeat("x", 3000)
			body["session_jwt"] = a.Stytch.SignJWT(claims, nil)
		}))
		first := a.Ask(t, cookies)
		assert.Equal(t, "authenticated ada | +stytch_session -stytch_session_jwt | no-store | authenticate", first.String())
		cookies = first.Jar(cookies)
		assert.Equal(t, "stytch_session="+s.Token, cookies)
		next := a.Ask(t, cookies)
		assert.Equal(t, "authenticated ada", next.Saw)
		assert.Empty(t, a.Stytch.Calls(), "known without a call")
	})
}
