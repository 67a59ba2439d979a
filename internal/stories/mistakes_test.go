package stories_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
)

// mistakesSaid is the events of common mistakes, each as "kind | message | setting", by the
// one WARN line that goes with it.
func mistakesSaid(t *testing.T, a *apptest.App) (said []string) {
	t.Helper()
	events := map[string]int{}
	for _, e := range a.SettledEvents() {
		events[e.Kind]++
	}
	for line := range strings.Lines(a.Log.String()) {
		var l struct{ Level, Msg, Setting, Kind string }
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		if l.Kind == "" {
			continue
		}
		assert.Equal(t, "WARN", l.Level)
		assert.Equal(t, 1, events[l.Kind], l.Kind)
		said = append(said, l.Kind+" | "+strings.TrimPrefix(l.Msg, "stytchmigrate: ")+" | "+l.Setting)
	}
	return said
}

// legacyEntries makes Config.Legacy of n entries of that name, each as the first one is.
func legacyEntries(names ...string) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		first := c.Legacy[0]
		c.Legacy = nil
		for _, name := range names {
			first.Name = name
			c.Legacy = append(c.Legacy, first)
		}
	}
}

const wrongCookie = `wrong_cookie | the first 20 values of cookie "sid" were all no session: its name or its keys are not the old code's, unless all of them are visitors'; Explain tells of a request why | Config.Legacy[0]`

// Each row is Cookie headers that come in order, and what is said then. A number stands for
// that many different values of sid that are no session.
func TestWrongCookieSaysItsName(t *testing.T) {
	for name, row := range map[string]struct {
		requests string
		change   func(*stytchmigrate.Config)
		want     []string
	}{
		"19 values":                           {"19", nil, nil},
		"20 values":                           {"20", nil, []string{wrongCookie}},
		"it is said once":                     {"60", nil, []string{wrongCookie}},
		"one value many times":                {"sid=x 10 sid=x sid=x sid=x sid=x sid=x sid=x sid=x sid=x sid=x sid=x sid=x", nil, nil},
		"19 visitors and a user":              {"19 sid=ada-1 60", nil, nil},
		"a user, and visitors":                {"sid=ada-1 60", nil, nil},
		"a user of whom there are two values": {"sid=ada-1;sid=ada-2 60", nil, nil},
		"two values in one request":           {"19 sid=x;sid=y", nil, nil},
		"it can't be told":                    {"19 sid=error-1 sid=error-2", nil, nil},
		"a user in stage Observe":             {"sid=ada-1 60", apptest.Stage(stytchmigrate.StageObserve), nil},
		"in stage Observe":                    {"20", apptest.Stage(stytchmigrate.StageObserve), []string{wrongCookie}},
		"in stage Retired":                    {"60", apptest.Stage(stytchmigrate.StageRetired), nil},
		"two entries of one name":             {"20", legacyEntries("sid", "sid"), []string{wrongCookie}},
		"two names, and the other is right":   {"20 old=ada-1", legacyEntries("old", "sid"), []string{strings.ReplaceAll(wrongCookie, "Legacy[0]", "Legacy[1]")}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.ResolveDuplicates
				n := 0
				for request := range strings.FieldsSeq(row.requests) {
					times := 0
					if _, err := fmt.Sscan(request, &times); err != nil {
						a.Get(strings.ReplaceAll(request, ";", "; "))
					}
					for range times {
						n++
						a.Get(fmt.Sprint("sid=visitor-", n))
					}
				}
				assert.Equal(t, row.want, mistakesSaid(t, a))
			}, changes(row.change)...)
		})
	}
}

func changes(f func(*stytchmigrate.Config)) []func(*stytchmigrate.Config) {
	if f == nil {
		return nil
	}
	return []func(*stytchmigrate.Config){f}
}

// An entry for a format of before hardly sees a session. The other entry of the name does.
func TestEntryForAnOldFormatIsNoMistake(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for i := range 60 {
			a.Get(fmt.Sprint("sid=visitor-", i))
			a.Get(fmt.Sprint("sid=ada-", i))
		}
		assert.Empty(t, mistakesSaid(t, a))
	}, func(c *stytchmigrate.Config) {
		before := stytchmigrate.LegacyCookie{Name: "sid", Resolve: func(*http.Request, string) (s stytchmigrate.LegacySession, err error) {
			return s, stytchmigrate.ErrNoSession
		}}
		c.Legacy = []stytchmigrate.LegacyCookie{before, c.Legacy[0], before}
	})
}

// The codecs of SecureCookie tell a visitor's cookie from one with other keys.
func TestWrongKeysSayTheirName(t *testing.T) {
	right := securecookie.New(apptest.KeyOf('r', 32), nil)
	wrong := securecookie.New(apptest.KeyOf('w', 32), nil)
	for name, row := range map[string]struct {
		codec *securecookie.SecureCookie
		want  []string
	}{
		"other keys": {wrong, []string{wrongCookie}},
		"visitors":   {right, nil},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				for i := range 60 {
					v, err := row.codec.Encode("sid", fmt.Sprint("visitor-", i))
					require.NoError(t, err)
					a.Get("sid=" + v)
				}
				assert.Equal(t, row.want, mistakesSaid(t, a))
			}, func(c *stytchmigrate.Config) {
				c.Legacy[0] = stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, []securecookie.Codec{right}, func(*http.Request, string) (s stytchmigrate.LegacySession, err error) {
					return s, stytchmigrate.ErrNoSession
				})
			})
		})
	}
}

const noOldCookie = `no_old_cookie | none of the first 1000 requests with cookies had an old cookie: its name is not the old code's, or no user was signed in; Explain tells of a request which cookies it has | Config.Legacy[0].Name`

// Each row is Cookie headers that come in order, and what is said then. A number stands for
// that many requests with another cookie, and S for ada's Stytch cookies.
func TestNoOldCookieSaysItsName(t *testing.T) {
	for name, row := range map[string]struct {
		requests string
		change   func(*stytchmigrate.Config)
		want     []string
	}{
		"999 requests":              {"999", nil, nil},
		"1000 requests":             {"1000", nil, []string{noOldCookie}},
		"it is said once":           {"2500", nil, []string{noOldCookie}},
		"in stage Observe":          {"1000", apptest.Stage(stytchmigrate.StageObserve), []string{noOldCookie}},
		"requests without cookies":  {"500 - - - 499 - -", nil, nil},
		"the old cookie came":       {"999 sid=visitor-1 2000", nil, nil},
		"users have moved":          {"999 S 2000", nil, nil},
		"made-up Stytch cookies":    {"999 stytch_session_jwt=a.b 1", nil, []string{noOldCookie}},
		"two names, and one comes":  {"999 sid=ada-1 2000", legacyEntries("old", "sid"), nil},
		"in stage Retired":          {"1500", apptest.Stage(stytchmigrate.StageRetired), nil},
		"no old cookie is expected": {"1500", func(c *stytchmigrate.Config) { c.Legacy = nil }, nil},
		"skipped":                   {"1500", func(c *stytchmigrate.Config) { c.Skip = func(*http.Request) bool { return true } }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch, _ := a.SignedIn(a.Ada)
				for request := range strings.FieldsSeq(row.requests) {
					times := 0
					if _, err := fmt.Sscan(request, &times); err != nil {
						a.Get(map[string]string{"S": stytch, "-": ""}[request] + strings.Trim(request, "S-"))
						continue
					}
					for range times {
						a.ParallelGet("theme=dark")
					}
				}
				assert.Equal(t, row.want, mistakesSaid(t, a))
			}, changes(row.change)...)
		})
	}
}

const comesAgain = `comes_again | cookie "sid" comes again after each deletion: a session middleware outside of Handler sets it, and belongs inside, or Scopes does not name its Domain and Path | Config.Legacy[0].Scopes`

// Each row is the requests of ada's browser after she has moved, and what is said then: "both"
// brings the old cookie beside the Stytch cookies, "gone" the Stytch cookies alone, "fetch" is
// what a page fetches, "image" may not change cookies, "new" is another sign-in by the old
// login, "visitor" is a visitor's cookie, and a duration passes.
func TestOldCookieThatComesAgainSaysItsName(t *testing.T) {
	for name, row := range map[string]struct {
		requests string
		change   func(*stytchmigrate.Config)
		want     []string
	}{
		"three times":                    {"both both both", nil, nil},
		"four times":                     {"both both both both", nil, []string{comesAgain}},
		"it is said once":                {"both both both both both both both both both both", nil, []string{comesAgain}},
		"on several days":                {"both 20h both 20h both 20h both", nil, []string{comesAgain}},
		"in a minute each":               {"both 1m both 1m both 1m both", nil, []string{comesAgain}},
		"it was gone in between":         {"both both both gone both both both gone both", nil, nil},
		"it was gone for a refresh":      {"both both both 6m gone both both both", nil, nil},
		"gone, long after":               {"both both both 6m both gone both", nil, []string{comesAgain}},
		"what a page fetches":            {"both fetch fetch fetch fetch fetch", nil, nil},
		"images":                         {"both image image image image image", nil, nil},
		"in stage Keep":                  {"both both both both both", apptest.Stage(stytchmigrate.StageKeep), nil},
		"a visitor's":                    {"visitor visitor visitor visitor visitor", nil, nil},
		"signed in again by the old one": {"both new gone new gone new gone new gone", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch := strings.ReplaceAll(a.Get("sid=ada-1").Jar(""), "sid=ada-1; ", "")
				for i, step := range strings.Fields(row.requests) {
					pause, err := time.ParseDuration(step)
					if err == nil {
						time.Sleep(pause)
						continue
					}
					old := map[string]string{"gone": "", "visitor": "; sid=visitor", "new": fmt.Sprint("; sid=ada-", i)}
					cookie, other := old[step]
					if !other {
						cookie = "; sid=ada-1"
					}
					kind := "none navigate document"
					switch step {
					case "fetch":
						kind = "same-origin cors empty"
					case "image":
						kind = "same-origin no-cors image"
					}
					jar := a.Get(stytch+cookie, apptest.FetchMetadata(kind)).Jar(stytch + cookie)
					stytch = strings.ReplaceAll(jar, strings.TrimPrefix(cookie, "; ")+"; ", "")
					stytch, _, _ = strings.Cut(stytch, "; sid=")
				}
				assert.Equal(t, row.want, mistakesSaid(t, a))
			}, changes(row.change)...)
		})
	}
}

// Where the handler sets the cookie, it is not expired, and so it does not come again.
func TestHandlerThatSetsTheOldCookieIsNoMistake(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		stytch := a.Get("sid=ada-1").Jar("")
		a.Handler = apptest.SetCookie("sid=ada-1; Path=/")
		for range 6 {
			a.Get(stytch + "; sid=ada-1")
		}
		assert.Empty(t, mistakesSaid(t, a))
	})
}

const plainHTTP = `plain_http | a browser drops the Stytch cookies, which are Secure, because its requests come over plain HTTP: serve HTTPS, or set Cookies.Insecure in development; a proxy that ends TLS has to send X-Forwarded-Proto: https | Config.Cookies.Insecure`

// Each row is pages of a browser that does not keep the Stytch cookies, over plain HTTP, and
// what is said then. Header fields of all of them are written as "Name: value".
func TestSecureCookiesOverPlainHTTPSayTheirName(t *testing.T) {
	for name, row := range map[string]struct {
		pages  int
		host   string
		header string
		change func(*stytchmigrate.Config)
		want   []string
	}{
		"three pages":                       {3, "app.test", "", nil, nil},
		"four pages":                        {4, "app.test", "", nil, []string{plainHTTP}},
		"it is said once":                   {12, "app.test", "", nil, []string{plainHTTP}},
		"on localhost":                      {4, "localhost:8080", "Sec-Fetch-Site: none", nil, []string{plainHTTP}},
		"a page that says what it is":       {3, "app.test", "Referer: http://app.test/", nil, []string{plainHTTP}},
		"a first and a second page":         {2, "app.test", "Referer: http://app.test/", nil, nil},
		"a form":                            {3, "app.test", "Origin: http://app.test", nil, []string{plainHTTP}},
		"behind a proxy that says https":    {8, "app.test", "X-Forwarded-Proto: https", nil, nil},
		"behind a proxy that says nothing":  {8, "app.test", "Sec-Fetch-Site: same-origin", nil, nil},
		"a browser that keeps the cookies":  {-8, "app.test", "", nil, nil},
		"the same, of a page":               {-8, "app.test", "Referer: http://app.test/", nil, nil},
		"the setting is right":              {8, "app.test", "", apptest.CookieOptions(func(o *stytchmigrate.CookieOptions) { o.Insecure = true }), nil},
		"no cookies are written to a fetch": {8, "app.test", "Sec-Fetch-Dest: image", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				jar := "sid=ada-1"
				for range max(row.pages, -row.pages) {
					r := httptest.NewRequest(http.MethodGet, "http://"+row.host+"/page", nil)
					r.Header.Set("Cookie", jar)
					if name, value, ok := strings.Cut(row.header, ": "); ok {
						r.Header.Set(name, value)
					}
					got := a.Do(r)
					if row.pages < 0 {
						jar = got.Jar(jar)
					}
				}
				assert.Equal(t, row.want, mistakesSaid(t, a))
			}, changes(row.change)...)
		})
	}
}
