package stories_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// recordValues makes Resolve find no session in any value, and returns the list of the
// values that it is asked about.
func recordValues(a *apptest.App) *[]string {
	values := new([]string)
	a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
		*values = append(*values, v)
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return values
}

func many(n int) string { return strings.Repeat("x=1; ", n) }

// Each row is a Cookie header without a session in it, and the values that Resolve is
// asked about. The handler gets the header as it came.
func TestRubbishCookieHeaders(t *testing.T) {
	for name, row := range map[string]struct {
		cookies string
		values  []string
	}{
		"blank":                           {" ", nil},
		"separators":                      {";;;", nil},
		"an empty quoted value":           {`sid=""`, nil},
		"spaces around":                   {"sid=  a  ;b", []string{"  a"}},
		"quoted":                          {`sid="a b,c"`, []string{"a b,c"}},
		"not UTF-8":                       {"sid=\xff", nil},
		"a line break":                    {"sid=a\r\nSet-Cookie: x=y", nil},
		"more pairs than net/http takes":  {many(4000) + "sid=a", nil},
		"8 KB":                            {"sid=" + strings.Repeat("a", 8192), []string{strings.Repeat("a", 8192)}},
		"over 8 KB":                       {"sid=" + strings.Repeat("a", 8193), nil},
		"a megabyte in one value":         {"sid=" + strings.Repeat("a", 1<<20), nil},
		"a megabyte in another's value":   {"other=" + strings.Repeat("a", 1<<20) + "; sid=a", []string{"a"}},
		"twice":                           {"sid=a; sid=b", []string{"a", "b"}},
		"five values":                     {"sid=a; sid=b; sid=c; sid=d; sid=e", []string{"a", "b", "c", "d", "e"}},
		"six values":                      {"sid=a; sid=b; sid=c; sid=d; sid=e; sid=f", nil},
		"a JWT and a token that are none": {"stytch_session_jwt=a.b.c; stytch_session=\"a b\"; sid=c", []string{"c"}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				values := recordValues(a)
				assert.Equal(t, "anonymous"+apptest.CookiesUntouched+"-", a.GetChecked(t, row.cookies).String())
				assert.Equal(t, row.values, *values)
				assert.Equal(t, []string{row.cookies}, a.CookiesSeen, "nothing changes, not even a space")
			})
		})
	}
}

// Each row is a Cookie header with more than one value of the legacy cookie.
func TestLegacyCookieTwice(t *testing.T) {
	for cookies, want := range map[string]string{
		"sid=ada-1; sid=ada-1":  apptest.Moved,
		"sid=ada-1; sid=nobody": apptest.Moved,
		"sid=nobody; sid=ada-1": apptest.Moved,
		"sid=ada-1; sid=ada-2":  apptest.Moved,
		"sid=ada-1; sid=bob-1":  "anonymous" + apptest.CookiesUntouched + "-",
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) { assert.Equal(t, want, a.GetChecked(t, cookies).String(), cookies) })
	}
}

// FuzzCookieHeader sends any Cookie header, also those whose session is exchanged.
func FuzzCookieHeader(f *testing.F) {
	for _, seed := range []string{
		"", "sid=ada-1", "sid=ada-1; sid=bob-1", `sid="ada-1"; x="; y=\`, "sid=ada-1\r\nSet-Cookie: a=b", "sid=ada-\x00",
		";;=;sid", "stytch_session=a; stytch_session_jwt=a.b.c", "stytch_session_jwt=e30.e30.e30; sid=ada-1",
		"sid=ada-1; \u00a0sid=bob-1", "sid=ada-\xff", many(9) + "sid=bob-2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cookies string) {
		a := apptest.New(t, stytchtest.Config{InProcess: true})
		out := a.GetChecked(t, cookies)
		assert.NotEqual(t, "handler not run", out.Saw)
		if out.Saw == "anonymous" && len(out.Cookies()) == 0 && cookies != "" {
			assert.Equal(t, cookies, a.CookiesSeen[0])
		}
		for _, c := range out.Result().Cookies() {
			assert.False(t, c.Quoted || strings.ContainsAny(c.Value, "\",;\\ "), "a value that needs quotes: %q", c.Value)
		}
	})
}

// A token counts in the Cookie header only.
func TestTokensElsewhere(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, s := a.SignedIn(a.Ada)
		assert.Equal(t, "anonymous"+apptest.CookiesUntouched+"-", a.Get("", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+s.JWT)
			for _, name := range []string{"X-Stytch-Session", "X-Stytch-Session-Jwt", "Stytch_session", "Stytch_session_jwt", "Cookie2"} {
				r.Header.Set(name, s.JWT)
			}
			r.URL.RawQuery = "sid=ada-1&stytch_session=" + s.Token + "&stytch_session_jwt=" + s.JWT
		}).String())
	})
}
