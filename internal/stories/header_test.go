package stories_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// recordValues makes every cookie of the name reach Resolve, and returns where
// the values are kept. None of them is a session.
func recordValues(a *apptest.App) *[]string {
	values := new([]string)
	a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
		*values = append(*values, v)
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return values
}

func many(n int) string { return strings.Repeat("x=1; ", n) }

// Each row is a Cookie header that nobody is known by, and the values in it
// that the application is asked about.
func TestRubbishCookieHeaders(t *testing.T) {
	for name, row := range map[string]struct {
		cookies string
		values  []string
	}{
		"blank":                            {" ", nil},
		"separators":                       {";;;", nil},
		"an equals sign":                   {"=", nil},
		"a value without a name":           {"=sid", nil},
		"a name without a value":           {"sid", nil},
		"an empty value":                   {"sid=", nil},
		"an empty quoted value":            {`sid=""`, nil},
		"another case":                     {"SID=a", nil},
		"3000 pairs":                       {many(2999) + "sid=a", []string{"a"}},
		"more pairs than net/http takes":   {many(4000) + "sid=a", nil},
		"a megabyte in one value":          {"sid=" + strings.Repeat("a", 1<<20), nil},
		"a megabyte of separators":         {strings.Repeat(";", 1<<20), nil},
		"a megabyte in another's value":    {"other=" + strings.Repeat("a", 1<<20) + "; sid=a", []string{"a"}},
		"8 KB":                             {"sid=" + strings.Repeat("a", 8192), []string{strings.Repeat("a", 8192)}},
		"over 8 KB":                        {"sid=" + strings.Repeat("a", 8193), nil},
		"quoted":                           {`sid="a b,c"`, []string{"a b,c"}},
		"one quote":                        {`sid="a`, nil},
		"percent signs":                    {"sid=%41%0d%0a%00", []string{"%41%0d%0a%00"}},
		"base64 and others":                {"sid=a+/=|,!~", []string{"a+/=|,!~"}},
		"spaces within":                    {"sid=a b", []string{"a b"}},
		"spaces around":                    {"sid=  a  ", []string{"  a"}},
		"a backslash":                      {`sid=a\b`, nil},
		"not ASCII":                        {"sid=\u00e9", nil},
		"not UTF-8":                        {"sid=\xff", nil},
		"NUL":                              {"sid=a\x00b", nil},
		"a line break":                     {"sid=a\r\nSet-Cookie: x=y", nil},
		"a tab":                            {"sid=a\tb", nil},
		"twice the same":                   {"sid=a; sid=a", []string{"a"}},
		"twice":                            {"sid=a; sid=b", []string{"a", "b"}},
		"six values":                       {"sid=a; sid=b; sid=c; sid=d; sid=e; sid=f", nil},
		"a JWT and a token that are none":  {"stytch_session_jwt=a.b.c; stytch_session=\"a b\"; sid=c", []string{"c"}},
		"a name that only looks like ours": {"\u00a0sid=a; sid\u00a0=b; si\x00d=c", nil},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				values := recordValues(a)
				assert.Equal(t, "anonymous"+apptest.Untouched+"-", a.Ask(t, row.cookies).String())
				assert.Equal(t, row.values, *values)
				assert.Equal(t, []string{row.cookies}, a.PassedOn, "nothing changes, not even a space")
			})
		})
	}
}

// Each row is a Cookie header with more than one value of the legacy cookie.
func TestLegacyCookieTwice(t *testing.T) {
	for cookies, want := range map[string]string{
		"sid=ada-1; sid=ada-1":  apptest.Swapped,
		"sid=ada-1; sid=nobody": apptest.Swapped,
		"sid=nobody; sid=ada-1": apptest.Swapped,
		"sid=ada-1; sid=ada-2":  apptest.Swapped,
		"sid=ada-1; sid=bob-1":  "anonymous" + apptest.Untouched + "-",
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) { assert.Equal(t, want, a.Ask(t, cookies).String(), cookies) })
	}
}

// What a socket brings, net/http judges first.
func TestRubbishCookieHeadersOverASocket(t *testing.T) {
	a := apptest.New(t, stytchtest.Config{})
	s := httptest.NewServer(a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Outcome", stytchmigrate.OutcomeFromContext(r.Context()).String())
	})))
	defer s.Close()
	for name, row := range map[string]struct {
		cookies string
		status  int
		outcome string
	}{
		"a session":                {"sid=ada-1", 200, "migrated"},
		"half a megabyte":          {"x=" + strings.Repeat("a", 1<<19) + "; sid=ada-1", 200, "migrated"},
		"more than a server reads": {"x=" + strings.Repeat("a", 2<<20), 431, ""},
		"NUL":                      {"sid=ada-1\x00", 400, ""},
		"not UTF-8":                {"sid=\xff\xfe", 200, "anonymous"},
		"a header of its own":      {"sid=a\r\nX-Other: 1", 200, "anonymous"},
		"two lines":                {"theme=dark\r\nCookie: sid=ada-1", 200, "migrated"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := apptest.RawRequest(t, s, "GET / HTTP/1.1\r\nHost: app.example.com\r\nCookie: "+row.cookies)
			defer resp.Body.Close()
			assert.Equal(t, row.status, resp.StatusCode)
			assert.Equal(t, row.outcome, resp.Header.Get("X-Outcome"))
			apptest.RequireValidCookies(t, "app.example.com", resp.Header)
			assert.Equal(t, row.outcome == "migrated", len(resp.Header["Set-Cookie"]) > 0)
		})
	}
}

// TestHTTPState sends what browsers send by the test cases of the IETF's HTTP
// State working group (github.com/abarth/http-state, tests/data/parser.json).
// STYTCHMIGRATE_VECTORS is the folder that holds http-state/parser.json.
func TestHTTPState(t *testing.T) {
	dir := os.Getenv("STYTCHMIGRATE_VECTORS")
	if dir == "" {
		t.Log("STYTCHMIGRATE_VECTORS is not set: nothing tested")
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, "http-state", "parser.json"))
	require.NoError(t, err)
	var cases []struct {
		Test string
		Sent []struct{ Name, Value string }
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.NotEmpty(t, cases)
	reached := 0
	for _, c := range cases {
		var pairs []string
		for _, p := range c.Sent {
			pairs = append(pairs, p.Name+"="+p.Value)
		}
		cookies := strings.Join(pairs, "; ")
		for _, name := range append(legacyNames(cookies), "sid") {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				values := recordValues(a)
				assert.Equal(t, "anonymous"+apptest.Untouched+"-", a.Ask(t, cookies).String(), c.Test)
				assert.Equal(t, []string{cookies}, a.PassedOn, c.Test)
				assert.Equal(t, valuesOf(cookies, name), *values, c.Test)
				reached += len(*values)
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) { l.Name = name }))
		}
	}
	assert.Positive(t, reached)
	t.Log(len(cases), "cases,", reached, "values reached Resolve")
}

// legacyNames are the names that net/http finds in a Cookie header.
func legacyNames(cookies string) (names []string) {
	for _, c := range (&http.Request{Header: http.Header{"Cookie": {cookies}}}).Cookies() {
		if !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	return names
}

// valuesOf are the distinct values that net/http finds for a name, empty ones left out.
func valuesOf(cookies, name string) (values []string) {
	for _, c := range (&http.Request{Header: http.Header{"Cookie": {cookies}}}).CookiesNamed(name) {
		if c.Value != "" && !slices.Contains(values, c.Value) {
			values = append(values, c.Value)
		}
	}
	return values
}

// FuzzCookieHeader sends any Cookie header there is, ones that are exchanged too.
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
		out := a.Ask(t, cookies)
		assert.NotEqual(t, "handler not run", out.Saw)
		if out.Saw == "anonymous" && len(out.Cookies()) == 0 && cookies != "" {
			assert.Equal(t, cookies, a.PassedOn[0])
		}
		for _, c := range out.Result().Cookies() {
			assert.False(t, c.Quoted || strings.ContainsAny(c.Value, "\",;\\ "), "a value that needs quotes: %q", c.Value)
		}
	})
}
