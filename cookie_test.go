package stytchmigrate_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// lines are the Set-Cookie lines as they are, with names for the tokens in them.
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

// Each row is a setting, and the Set-Cookie lines of two responses: the first moves a
// legacy session, and the second expires its cookie. The other cases are in
// internal/cookies.
func TestCookieOptions(t *testing.T) {
	type o = stytchmigrate.CookieOptions
	type l = stytchmigrate.LegacyCookie
	set := []string{"stytch_session=TOKEN; Path=/" + month + usual, "stytch_session_jwt=JWT; Path=/" + month + usual}
	sid := []string{"sid=; Path=/" + expired + usual}
	for name, row := range map[string]struct {
		change        func(*stytchmigrate.Config)
		moved, second []string
	}{
		"defaults": {apptest.CookieOptions(func(*o) {}), set, sid},
		"a domain and a path": {apptest.CookieOptions(func(o *o) { o.Domain, o.Path = ".example.com", "/app" }), []string{
			"stytch_session=TOKEN; Path=/app; Domain=example.com" + month + usual,
			"stytch_session_jwt=JWT; Path=/app; Domain=example.com" + month + usual}, sid},
		"same-site none": {apptest.CookieOptions(func(o *o) { o.SameSite = http.SameSiteNoneMode }), []string{
			"stytch_session=TOKEN; Path=/" + month + "; HttpOnly; Secure; SameSite=None",
			"stytch_session_jwt=JWT; Path=/" + month + "; HttpOnly; Secure; SameSite=None"},
			[]string{"sid=; Path=/" + expired + "; HttpOnly; Secure; SameSite=None"}},
		"readable by scripts": {apptest.CookieOptions(func(o *o) { o.ReadableByScripts = true }), []string{
			"stytch_session=TOKEN; Path=/" + month + "; Secure; SameSite=Lax",
			"stytch_session_jwt=JWT; Path=/" + month + "; Secure; SameSite=Lax"}, sid},
		"insecure": {apptest.CookieOptions(func(o *o) { o.Insecure = true }), []string{
			"stytch_session=TOKEN; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"stytch_session_jwt=JWT; Path=/" + month + "; HttpOnly; SameSite=Lax"},
			[]string{"sid=; Path=/" + expired + "; HttpOnly; SameSite=Lax"}},
		"names with prefixes": {apptest.CookieOptions(func(o *o) { o.SessionName, o.JWTName = "__Host-s", "__Secure-j" }), []string{
			"__Host-s=TOKEN; Path=/" + month + usual, "__Secure-j=JWT; Path=/" + month + usual}, sid},
		"old scopes": {apptest.CookieOptions(func(o *o) { o.OldScopes = []stytchmigrate.CookieScope{{Domain: "example.com"}, {Path: "/app"}} }), append(slices.Clone(set),
			"stytch_session=; Path=/; Domain=example.com"+expired+usual, "stytch_session_jwt=; Path=/; Domain=example.com"+expired+usual,
			"stytch_session=; Path=/app"+expired+usual, "stytch_session_jwt=; Path=/app"+expired+usual), sid},
		"legacy scopes and companions": {apptest.LegacyCookie(func(l *l) {
			l.Also, l.Scopes = []string{"csrf"}, []stytchmigrate.CookieScope{{}, {Domain: "example.com", Path: "/app"}}
		}), set, append(slices.Clone(sid), "csrf=; Path=/"+expired+usual,
			"sid=; Path=/app; Domain=example.com"+expired+usual, "csrf=; Path=/app; Domain=example.com"+expired+usual)},
		"a session of a day": {func(c *stytchmigrate.Config) { c.SessionDuration = 24 * time.Hour }, []string{
			"stytch_session=TOKEN; Path=/; Max-Age=86400" + usual, "stytch_session_jwt=JWT; Path=/; Max-Age=86400" + usual}, sid},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				app := func(r *http.Request) { r.URL.Path = "/app/page" }
				got := a.GetChecked(t, "sid=ada-1", app)
				assert.Equal(t, row.moved, lines(a, got))
				assert.Equal(t, "migrated ada", got.Saw)
				got = a.GetChecked(t, got.Jar("sid=ada-1"), app)
				assert.Equal(t, row.second, lines(a, got))
				assert.Equal(t, "authenticated ada", got.Saw)
			}, row.change)
		})
	}
}

// longJWT makes session_custom_claims, and so the JWT, longer by about n bytes.
func longJWT(n int) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"padding": strings.Repeat("x", n*3/4)}
		}
	}
}

// Each row is a request whose new JWT has room in the response and in the next request,
// or has not. Either way the session is known without a call from then on.
func TestJWTThatDoesNotFit(t *testing.T) {
	for name, row := range map[string]struct {
		change  func(*stytchmigrate.Config)
		cookies string
		fits    bool
	}{
		"a long one":                       {longJWT(1000), "", true},
		"the lines together are over 3 KB": {longJWT(2300), "", false},
		"the header to come is over 7 KB":  {longJWT(0), "; other=" + strings.Repeat("x", 6500), false},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				first := a.GetChecked(t, "sid=ada-1"+row.cookies)
				got := strings.Join(first.Cookies(), " ")
				assert.Equal(t, row.fits, strings.Contains(got, "+stytch_session_jwt"), got)
				assert.Equal(t, "+stytch_session", first.Cookies()[0])
				cookies := first.Jar("sid=ada-1" + row.cookies)
				assert.Equal(t, row.fits, strings.Contains(a.CookiesSeen[0], "stytch_session_jwt="), "the handler sees what the browser will send")
				for range 3 {
					next := a.GetChecked(t, cookies)
					assert.Equal(t, "authenticated ada", next.Saw)
					assert.Empty(t, a.Stytch.Calls(), "known without a call")
					cookies = next.Jar(cookies)
				}
				assert.NotContains(t, cookies, "sid=")
			}, row.change)
		})
	}
}

// A new JWT that is too long takes the place of one that was not.
func TestOldJWTIsClearedWhereTheNewDoesNotFit(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		require.Equal(t, "authenticated ada", a.GetChecked(t, cookies).Saw)
		time.Sleep(6 * time.Minute)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Mutate(func(body map[string]any) {
			claims := a.Stytch.Claims(s.ID)
			claims["padding"] = strings.Repeat("x", 3000)
			body["session_jwt"] = a.Stytch.SignJWT(claims, nil)
		}))
		first := a.GetChecked(t, cookies)
		assert.Equal(t, "authenticated ada | +stytch_session -stytch_session_jwt | no-store | authenticate", first.String())
		cookies = first.Jar(cookies)
		assert.Equal(t, "stytch_session="+s.Token, cookies)
		next := a.GetChecked(t, cookies)
		assert.Equal(t, "authenticated ada", next.Saw)
		assert.Empty(t, a.Stytch.Calls(), "known without a call")
	})
}

// oldSession is what an application may keep in its cookie.
type oldSession struct{ ID, User string }

func codecs(pairs ...[]byte) []securecookie.Codec { return securecookie.CodecsFromPairs(pairs...) }

func signed(hash byte) []securecookie.Codec { return codecs(apptest.KeyOf(hash, 32)) }

func encode(t testing.TB, codec securecookie.Codec, payload any) string {
	t.Helper()
	v, err := codec.Encode("sid", payload)
	require.NoError(t, err)
	return v
}

func resolveUser(_ *http.Request, s oldSession) (stytchmigrate.LegacySession, error) {
	return apptest.LegacySession(s.User, s.ID), nil
}

func resolveID(_ *http.Request, id string) (stytchmigrate.LegacySession, error) {
	name, _, _ := strings.Cut(id, "-")
	return apptest.LegacySession(name, id), nil
}

func secure[T any](cs []securecookie.Codec, resolve func(*http.Request, T) (stytchmigrate.LegacySession, error)) stytchmigrate.LegacyCookie {
	return stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, cs, resolve)
}

// withSecureCookie runs a test with one legacy cookie in place of the usual.
func withSecureCookie(t *testing.T, l stytchmigrate.LegacyCookie, f func(t *testing.T, a *apptest.App)) {
	t.Helper()
	apptest.InBubble(t, f, func(c *stytchmigrate.Config) { c.Legacy = []stytchmigrate.LegacyCookie{l} })
}

// Each row is a cookie of the old application, and the reply. Its user moves, or is
// anonymous without a call and without a line in the log: anyone can forge cookies.
func TestSecureCookie(t *testing.T) {
	const anonymous = "anonymous" + apptest.CookiesUntouched + "-"
	refusing := []securecookie.Codec{customCodec{errors.Join(errors.New("canary"), stytchmigrate.ErrNoSession)}}
	for name, row := range map[string]struct {
		legacy stytchmigrate.LegacyCookie
		write  func(t *testing.T, codec securecookie.Codec) string
		want   string
	}{
		"a payload": {secure(signed('h'), resolveUser), func(t *testing.T, c securecookie.Codec) string { return encode(t, c, oldSession{"1", "ada"}) }, apptest.Moved},
		"an id":     {secure(signed('h'), resolveID), func(t *testing.T, c securecookie.Codec) string { return encode(t, c, "ada-1") }, apptest.Moved},
		"under an older key pair": {secure(append(signed('n'), signed('h')...), resolveID),
			func(t *testing.T, c securecookie.Codec) string { return encode(t, c, "ada-1") }, apptest.Moved},
		"forged": {secure(signed('h'), resolveID), func(t *testing.T, c securecookie.Codec) string {
			return strings.Replace(encode(t, c, "ada-1"), "M", "N", 1)
		}, anonymous},
		"of another hash key": {secure(signed('x'), resolveID), func(t *testing.T, c securecookie.Codec) string { return encode(t, c, "ada-1") }, anonymous},
		"older than MaxAge": {secure(signed('h'), resolveID), func(t *testing.T, c securecookie.Codec) string {
			v := encode(t, c, "ada-1")
			time.Sleep(721 * time.Hour)
			return v
		}, anonymous},
		"refused by a custom codec": {secure(refusing, resolveID), func(t *testing.T, c securecookie.Codec) string { return encode(t, c, "ada-1") }, anonymous},
	} {
		t.Run(name, func(t *testing.T) {
			withSecureCookie(t, row.legacy, func(t *testing.T, a *apptest.App) {
				assert.Equal(t, row.want, a.Get("sid="+row.write(t, signed('h')[0])).String())
				assert.Empty(t, a.Log.String())
			})
		})
	}
}

// Each row is an authentic value that does not open: the user is not signed out, and
// the log names the setting.
func TestSecureCookieWrongSetting(t *testing.T) {
	for name, row := range map[string]struct {
		legacy stytchmigrate.LegacyCookie
		want   string
	}{
		"a payload of another type": {secure(signed('h'), resolveUser), `cookie \"sid\" is authentic, but does not decode into stytchmigrate_test.oldSession`},
		"a custom codec's outage":   {secure([]securecookie.Codec{customCodec{errors.New("canary")}}, resolveID), `codec stytchmigrate_test.customCodec of cookie \"sid\" failed (*errors.errorString)`},
	} {
		t.Run(name, func(t *testing.T) {
			withSecureCookie(t, row.legacy, func(t *testing.T, a *apptest.App) {
				value := encode(t, signed('h')[0], map[any]any{"user": "canary"})
				assert.Equal(t, "unavailable"+apptest.CookiesUntouched+"-", a.Get("sid="+value).String())
				assert.Equal(t, 1, bytes.Count(a.Log.Bytes(), []byte(`"level":"ERROR"`)))
				assert.Contains(t, a.Log.String(), row.want)
				assert.NotContains(t, a.Log.String(), "canary")
				assert.NotContains(t, a.Log.String(), value)
			})
		})
	}
}

// customCodec is a codec that fails with err.
type customCodec struct{ err error }

func (customCodec) Encode(string, any) (string, error) { panic("not to be called") }

func (c customCodec) Decode(string, string, any) error { return c.err }

// SecureCookie copies the codecs: the caller may change its slice later.
func TestSecureCookieKeepsItsCodecs(t *testing.T) {
	cs := signed('h')
	withSecureCookie(t, secure(cs, resolveID), func(t *testing.T, a *apptest.App) {
		value := encode(t, cs[0], "ada-1")
		cs[0] = customCodec{errors.New("canary")}
		assert.Equal(t, apptest.Moved, a.Get("sid="+value).String())
	})
}
