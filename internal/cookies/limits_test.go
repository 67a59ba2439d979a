package cookies_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/redact"
)

func xs(n int) string { return strings.Repeat("x", n) }

// paths are ten old scopes.
func paths() (scopes []cookies.Scope) {
	for c := 'a'; c <= 'j'; c++ {
		scopes = append(scopes, cookies.Scope{Path: "/" + string(c)})
	}
	return scopes
}

// Each row is a request whose legacy session moves, and whether the response has room
// for a JWT of that length.
func TestJWTThatDoesNotFit(t *testing.T) {
	const usualJWT = 900
	for name, row := range map[string]struct {
		jwt     int
		scopes  []cookies.Scope
		cookies string
		fits    bool
	}{
		"a usual one":                           {usualJWT, nil, "", true},
		"a long one":                            {2000, nil, "", true},
		"the cookie is over 4096 bytes":         {4094, nil, "", false},
		"the lines together are over 3 KB":      {2900, nil, "", false},
		"many old scopes leave no room for it":  {usualJWT, paths(), "", false},
		"the header to come is long":            {usualJWT, nil, "; other=" + xs(5000), true},
		"the header to come is over 7 KB":       {usualJWT, nil, "; other=" + xs(6500), false},
		"what is over 7 KB is the old cookie":   {usualJWT, nil, "; sid=" + xs(6500), true},
		"what is over 7 KB is an older JWT":     {usualJWT, nil, "; token=t; token=" + xs(6500), true},
		"what is over 7 KB is two other values": {usualJWT, nil, "; o=" + xs(3300) + "; p=" + xs(3300), false},
	} {
		inBubble(t, name, func(t *testing.T) {
			p := cookies.New(options(func(o *cookies.Options) { o.OldScopes = row.scopes }), sid)
			ch := swap()
			ch.Set.JWT = redact.Secret(xs(row.jwt))
			h, passedOn := commit(p, request("sid=ada-1"+row.cookies, method("POST")), ch)
			assert.True(t, strings.HasPrefix(names(h), "+token "))
			assert.Equal(t, row.fits, strings.Contains(names(h), "+jwt"))
			assert.Equal(t, row.fits, strings.Contains(passedOn, "jwt="), "the handler sees what the browser will send")
		})
	}
}

// Where the new JWT does not fit, an older one in the browser is expired, before all else.
func TestOldJWTIsExpiredWhereTheNewDoesNotFit(t *testing.T) {
	for before, want := range map[string]string{
		"token=t":        "+token -sid -csrf",
		"token=t; jwt=j": "+token -jwt -sid -csrf",
	} {
		inBubble(t, before, func(t *testing.T) {
			ch := swap()
			ch.Set.JWT = redact.Secret(xs(5000))
			h, passedOn := commit(cookies.New(defaults(), sid), request(before), ch)
			assert.Equal(t, want, names(h))
			assert.Equal(t, "token=TOKEN", passedOn)
		})
	}
}

// The JWT's cookie is left out from the first byte that is too many.
func TestLimitsToTheByte(t *testing.T) {
	p := cookies.New(defaults(), nil)
	lines := len("token=TOKEN; Path=/"+month+usual) + len("jwt=; Path=/"+month+usual)
	for name, row := range map[string]struct {
		jwt     int
		cookies string
		fits    bool
	}{
		"lines of 3 KB":               {3072 - lines, "", true},
		"lines of 3 KB and a byte":    {3073 - lines, "", false},
		"a header of 7 KB":            {100, "o=" + xs(7168-len("o=; token=TOKEN; jwt=")-100), true},
		"a header of 7 KB and a byte": {100, "o=" + xs(7169-len("o=; token=TOKEN; jwt=")-100), false},
	} {
		inBubble(t, name, func(t *testing.T) {
			ch := &cookies.Change{Set: session()}
			ch.Set.JWT = redact.Secret(xs(row.jwt))
			h, _ := commit(p, request(row.cookies), ch)
			assert.Equal(t, row.fits, len(h["Set-Cookie"]) == 2)
		})
	}
}

// Each row is the lines that a response has to have beside a JWT, whose length may be
// what they leave of 3 KB.
func TestHasRoom(t *testing.T) {
	const attributes = "; Path=/; Max-Age=7200" + usual
	set := "token=" + xs(44) + attributes + "jwt=" + attributes
	old := "token=; Path=/old" + expired + usual + "jwt=; Path=/old" + expired + usual
	for name, row := range map[string]struct {
		scopes []cookies.Scope
		legacy int
		lines  string
	}{
		"set":                            {nil, -1, set},
		"set, and expire":                {nil, 0, set + noSid + noCSRF},
		"set, and clear an old scope":    {[]cookies.Scope{{Path: "/old"}}, -1, set + old},
		"set, and expire, and old scope": {[]cookies.Scope{{Path: "/old"}}, 0, set + old + noSid + noCSRF},
	} {
		inBubble(t, name, func(t *testing.T) {
			p := cookies.New(options(func(o *cookies.Options) { o.OldScopes = row.scopes }), sid)
			assert.True(t, p.HasRoom(row.legacy, 44, 3072-len(row.lines), 2*time.Hour))
			assert.False(t, p.HasRoom(row.legacy, 44, 3073-len(row.lines), 2*time.Hour))
		})
	}
}
