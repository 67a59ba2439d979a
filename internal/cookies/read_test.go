package cookies_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/cookies"
)

func many(n int) string { return strings.Repeat("x=1; ", n) }

// Each row is a Cookie header, and the values of the legacy cookie sid in it.
func TestReadLegacy(t *testing.T) {
	megabyte := strings.Repeat("a", 1<<20)
	for name, row := range map[string]struct {
		cookies string
		values  []string
	}{
		"nothing":                          {"", nil},
		"blank":                            {" ", nil},
		"separators":                       {";;;", nil},
		"an equals sign":                   {"=", nil},
		"a value without a name":           {"=sid", nil},
		"a name without a value":           {"sid", nil},
		"an empty value":                   {"sid=", nil},
		"an empty quoted value":            {`sid=""`, nil},
		"another case":                     {"SID=a", nil},
		"a companion":                      {"csrf=a", nil},
		"3000 pairs":                       {many(2999) + "sid=a", []string{"a"}},
		"more pairs than net/http takes":   {many(3000) + "sid=a", nil},
		"a megabyte in one value":          {"sid=" + megabyte, []string{megabyte}},
		"a megabyte of separators":         {strings.Repeat(";", 1<<20), nil},
		"a megabyte in another's value":    {"other=" + megabyte + "; sid=a", []string{"a"}},
		"one character":                    {"sid=a", []string{"a"}},
		"quoted":                           {`sid="a b,c"`, []string{"a b,c"}},
		"one quote":                        {`sid="a`, nil},
		"one quote alone":                  {`sid="`, nil},
		"a quote at the end":               {`sid=a"`, nil},
		"percent signs":                    {"sid=%41%0d%0a%00", []string{"%41%0d%0a%00"}},
		"base64 and others":                {"sid=a+/=|,!~", []string{"a+/=|,!~"}},
		"spaces within":                    {"sid=a b", []string{"a b"}},
		"spaces around":                    {"sid=  a  ", []string{"  a"}},
		"spaces around the name":           {" sid =a", []string{"a"}},
		"a backslash":                      {`sid=a\b`, nil},
		"not ASCII":                        {"sid=\u00e9", nil},
		"not UTF-8":                        {"sid=\xff", nil},
		"NUL":                              {"sid=a\x00b", nil},
		"the last byte below a space":      {"sid=a\x1fb", nil},
		"DEL":                              {"sid=a\x7fb", nil},
		"a line break":                     {"sid=a\r\nSet-Cookie: x=y", nil},
		"a tab":                            {"sid=a\tb", nil},
		"twice the same":                   {"sid=a; sid=a", []string{"a"}},
		"twice":                            {"sid=a; sid=b", []string{"a", "b"}},
		"more values than are kept":        {"sid=a; sid=b; sid=c; sid=d; sid=e; sid=f; sid=g", []string{"a", "b", "c", "d", "e", "f"}},
		"a name that only looks like ours": {"\u00a0sid=a; sid\u00a0=b; si\x00d=c", nil},
	} {
		t.Run(name, func(t *testing.T) {
			var want cookies.Received
			if row.values != nil {
				want = cookies.Received{Legacy: [][]string{row.values}, HasLegacy: true}
			}
			got := cookies.New(defaults(), sid).Read(request(row.cookies))
			assert.Equal(t, want, got)
			assert.Equal(t, row.values == nil, got.None())
		})
	}
}

// Two legacy cookies of one name each get its values.
func TestRead(t *testing.T) {
	p := cookies.New(defaults(), []cookies.Legacy{{Name: "sid"}, {Name: "old"}, {Name: "sid"}})
	r := request(`jwt=a.b.c; token=s; sid=1; jwt="d e"; theme=dark`)
	r.Header.Add("Cookie", "sid=2; token=t; token=t")
	got := p.Read(r)
	assert.Equal(t, cookies.Received{
		JWTs: []string{"a.b.c", "d e"}, Tokens: []string{"s", "t"},
		Legacy: [][]string{{"1", "2"}, nil, {"1", "2"}}, HasLegacy: true,
	}, got)

	got = p.Read(request("token=s"))
	assert.True(t, got.HasStytch())
	assert.False(t, got.None())
	got = p.Read(request("jwt=s"))
	assert.True(t, got.HasStytch())
	got = p.Read(request("sid=s"))
	assert.False(t, got.HasStytch())
}

// Each row is a Cookie header, and whether there is more in it than Read returns.
func TestTooMany(t *testing.T) {
	values := func(name string, n int) (out string) {
		for i := range n {
			out += fmt.Sprintf("%s=%d; ", name, i)
		}
		return out
	}
	for name, row := range map[string]struct {
		cookies string
		want    bool
	}{
		"nothing":     {"", false},
		"5 of each":   {values("jwt", 5) + values("token", 5) + values("sid", 5), false},
		"6 JWTs":      {values("jwt", 6), true},
		"6 tokens":    {values("token", 6), true},
		"6 legacy":    {values("sid", 6), true},
		"20 others":   {values("csrf", 20), false},
		"3000 pairs":  {many(2999), false},
		"3001 pairs":  {many(3000), true},
		"one 6 times": {strings.Repeat("sid=1; ", 6), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(row.cookies)
			c := cookies.New(defaults(), sid).Read(r)
			assert.Equal(t, row.want, c.TooMany(r))
		})
	}
}

// Each row is a Cookie header, and what ReadFast tells of it.
func TestReadFast(t *testing.T) {
	for name, row := range map[string]struct {
		cookies string
		jwt     string
		ok      bool
	}{
		"nothing":                 {"", "", true},
		"a cookie of another":     {"theme=dark", "", true},
		"a companion":             {"csrf=1", "", true},
		"a JWT":                   {"theme=dark; jwt=x", "x", true},
		"a JWT and a token":       {"token=t; jwt=x", "x", true},
		"a JWT in quotes":         {`jwt="x"`, `"x"`, true},
		"a token alone":           {"token=t", "", false},
		"two JWTs":                {"jwt=x; jwt=y", "", false},
		"a JWT twice":             {"jwt=x; jwt=x", "", false},
		"a legacy cookie":         {"sid=1", "", false},
		"a JWT, a legacy cookie":  {"jwt=x; sid=1", "", false},
		"empty values":            {"sid=; jwt=; token=", "", true},
		"more pairs than allowed": {many(3000) + "jwt=x", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(row.cookies)
			jwt, some, ok := cookies.New(defaults(), sid).ReadFast(r)
			assert.Equal(t, len(r.Header["Cookie"]) > 0, some)
			assert.Equal(t, row.jwt, jwt)
			assert.Equal(t, row.ok, ok)
		})
	}
}

// FuzzRead compares what is read of Cookie headers with net/http, whose parser builds
// every cookie, and ReadFast with Read.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "a=b", "jwt=x.y.z; token=t", "jwt=x; jwt=y", "jwt=x; sid=1", "sid=", `sid=""`, `jwt="x"`, `token="`, "jwt", "=x", ";;; jwt = x ;",
		"jwt=x\ntoken=y", "jwt=a,b c", "jwt=\x7f", "jwt=\xff", "jwt=x\\", "JWT=x", "\tjwt=x\t", "jwt=x; jwt=",
	} {
		f.Add(seed, "")
		f.Add("theme=dark", seed)
	}
	p := cookies.New(defaults(), []cookies.Legacy{{Name: "sid"}, {Name: "old"}, {Name: "sid"}})
	f.Fuzz(func(t *testing.T, first, second string) {
		r := &http.Request{Header: http.Header{"Cookie": {first, second}}}
		want := cookies.Received{JWTs: valuesOf(r, "jwt"), Tokens: valuesOf(r, "token")}
		if sids, olds := valuesOf(r, "sid"), valuesOf(r, "old"); sids != nil || olds != nil {
			want.Legacy, want.HasLegacy = [][]string{sids, olds, sids}, true
		}
		got := p.Read(r)
		assert.Equal(t, want, got)

		switch jwt, _, ok := p.ReadFast(r); {
		case ok && jwt == "":
			assert.True(t, got.None())
		case ok && !strings.ContainsFunc(jwt, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`",\`, c) }):
			assert.Equal(t, []string{jwt}, got.JWTs)
			assert.False(t, got.HasLegacy)
		}
	})
}

// valuesOf are the first distinct values that net/http finds for a name, empty ones
// left out.
func valuesOf(r *http.Request, name string) (values []string) {
	if strings.Count(strings.Join(r.Header["Cookie"], ";"), ";") >= 3000 { // older releases of net/http have no limit
		return nil
	}
	for _, c := range r.CookiesNamed(name) {
		if c.Value != "" && !slices.Contains(values, c.Value) && len(values) <= cookies.MaxDuplicates {
			values = append(values, c.Value)
		}
	}
	return values
}

// TestHTTPState reads what browsers send by the test cases of the IETF's HTTP State
// working group (github.com/abarth/http-state, tests/data/parser.json).
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
	read := 0
	for _, c := range cases {
		var pairs []string
		for _, p := range c.Sent {
			pairs = append(pairs, p.Name+"="+p.Value)
		}
		r := request(strings.Join(pairs, "; "))
		for _, cookie := range append(r.Cookies(), &http.Cookie{Name: "sid"}) {
			want := valuesOf(r, cookie.Name)
			got := cookies.New(defaults(), []cookies.Legacy{{Name: cookie.Name}}).Read(r)
			assert.Equal(t, want != nil, got.HasLegacy, c.Test)
			if got.HasLegacy {
				assert.Equal(t, [][]string{want}, got.Legacy, c.Test)
			}
			read += len(want)
		}
	}
	assert.Positive(t, read)
	t.Log(len(cases), "cases,", read, "values read")
}
