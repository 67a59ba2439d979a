package frameworks

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

func nginxOutside(t *testing.T, backend string) string { return startNginx(t, backend, keepHost) }

// behindNginx serves a handler, or the shop's own if there is none.
func (s *shop) behindNginx(h http.HandlerFunc, settings string) {
	s.t.Helper()
	if h == nil {
		h = page
	}
	s.url = startNginx(s.t, newServer(s.t, s.auth.Handler(h)).URL, settings)
}

func keep(cfg *stytchmigrate.Config) { cfg.Rollout.Stage = stytchmigrate.StageKeep }

// longSession is an old session in a cookie of n bytes, as a CookieStore writes.
func longSession(n int) *http.Cookie {
	c := oldSession("ada")
	c.Value += strings.Repeat("x", n-len(c.Name)-len(c.Value))
	return c
}

// claims make a JWT of any size.
func claims(n int) func(*stytchmigrate.Config) {
	return func(cfg *stytchmigrate.Config) {
		cfg.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"roles": strings.Repeat("x", n)}
		}
	}
}

// The longest cookie that browsers keep, beside the Stytch ones, in each request.
func TestNginxLongLegacyCookie(t *testing.T) {
	s := newShop(t, keep)
	s.behindNginx(nil, keepHost)
	b := s.newBrowser(longSession(4096))
	assert.Equal(t, "200 migrated ada sid"+both+" | +stytch_session +stytch_session_jwt | no-store | migrate", b.get("/"))
	assert.Equal(t, "200 authenticated ada sid"+both+untouched+"-", b.get("/"))
}

// nginx reads 8 KB of a Cookie header, and answers 400 to the rest, also to the
// page on which a user could delete cookies. A JWT that leads there is not set.
func TestNginxCookieHeaderLimit(t *testing.T) {
	s := newShop(t, keep)
	s.behindNginx(nil, keepHost)
	b := s.newBrowser(longSession(4096), &http.Cookie{Name: "cart", Value: strings.Repeat("x", 3500), Path: "/"})
	const set = " | +stytch_session | no-store | "
	require.Equal(t, "200 migrated ada sid cart stytch_session"+set+"migrate", b.get("/"))
	assert.Equal(t, "200 authenticated ada sid cart stytch_session"+untouched+"-", b.get("/"), "the token is enough")

	jwt := s.stytch.JWT(s.stytch.Sessions()[0].ID)
	b.client.Jar.SetCookies(b.url(), []*http.Cookie{{Name: "stytch_session_jwt", Value: jwt, Path: "/"}})
	assert.Regexp(t, "^400 .*Cookie Too Large", strings.ReplaceAll(b.get("/"), "\n", " "), "with the JWT")
}

// Of a response nginx takes a header of one page, 4 KB, and answers 502 in place
// of a longer one. Each row is the size of the claims in the JWT and of the handler's own
// header, and what is set. The request has the cookies that the response may then lack.
func TestNginxHeaderBuffer(t *testing.T) {
	for name, row := range map[string]struct {
		claims, header int
		want           string
	}{
		"both cookies":           {0, 700, "200 migrated ada" + all + moved},
		"just within the limit":  {950, 700, "200 migrated ada" + all + moved},
		"over the limit":         {1250, 700, "200 migrated ada sid stytch_session | +stytch_session | no-store | "},
		"over a cookie's limit":  {3000, 700, "200 migrated ada sid stytch_session | +stytch_session | no-store | "},
		"of both taken together": {950, 1500, "200 migrated ada" + all + " | +stytch_session | no-store | "},
		"no room for any cookie": {0, 3850, "200 migrated ada" + all + " | - | - | "},
		"the handler's header":   {0, 4096, "502 "}, // as without the middleware
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, claims(row.claims))
			s.behindNginx(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Policy", strings.Repeat("x", row.header))
				page(w, r)
			}, keepHost)
			b := s.newBrowser(oldSession("ada"))
			got := b.get("/")
			require.Truef(t, strings.HasPrefix(got, row.want), "%s: %s", row.want, got)
		})
	}
}

// A cache that is told to keep what has cookies set, and by the handler that it
// may, keeps nothing that moves a user or logs one out.
func TestNginxCache(t *testing.T) {
	s := newShop(t)
	s.behindNginx(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Accel-Expires", "60")
		w.Header().Set("Cache-Control", "public, max-age=60")
		if r.URL.Path == "/logout" {
			assert.NoError(t, s.auth.Logout(w, r))
		}
		page(w, r)
	}, keepHost+"proxy_cache cache; proxy_cache_valid 1m; proxy_ignore_headers Set-Cookie;")

	assert.Equal(t, "200 migrated ada"+all+moved+"migrate", s.newBrowser(oldSession("ada")).get("/"))
	assert.Equal(t, "200 migrated bob"+all+moved+"migrate", s.newBrowser(oldSession("bob")).get("/"))
	assert.Equal(t, "200 migrated ada"+all+cleared+"migrate revoke", s.newBrowser(oldSession("ada")).get("/logout"))
	assert.Equal(t, "200 anonymous"+cleared+"-", s.newBrowser().get("/logout"))
	for range 2 {
		assert.Equal(t, "200 anonymous | - | public, max-age=60 | -", s.newBrowser().get("/"))
	}
	assert.Equal(t, "200 anonymous | - | public, max-age=60 | -", s.newBrowser(oldSession("ada")).get("/"), "the cache is one")
}

// nginx names the backend in Host if it is not told to keep what the browser
// asked for. Then a form of a browser without Fetch Metadata seems to come from
// another site: its user is moved, and gets the cookies with the next page.
func TestNginxHost(t *testing.T) {
	for settings, want := range map[string]string{
		keepHost: "200 migrated ada" + all + moved + "migrate",
		"":       "200 migrated ada sid" + untouched + "migrate",
	} {
		s := newShop(t)
		s.behindNginx(nil, settings)
		b := s.newBrowser(oldSession("ada"))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url, nil)
		require.NoError(t, err)
		r.Header.Set("Origin", s.url)
		resp, err := b.client.Do(r)
		require.NoError(t, err)
		assert.Equal(t, want, s.told(resp))
		next := map[string]string{keepHost: " authenticated ada" + both + replaced, "": " migrated ada" + all + moved}[settings]
		assert.Contains(t, b.get("/"), next)
		assert.Len(t, s.stytch.Sessions(), 1)
	}
}
