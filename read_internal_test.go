package stytchmigrate

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// FuzzRead holds what is read of Cookie headers against net/http, whose parser
// builds every cookie, and what a glance says against what is read.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "a=b", "jwt=x.y.z; token=t", "jwt=x; jwt=y", "jwt=x; sid=1", "sid=", `sid=""`, `jwt="x"`, `token="`, "jwt", "=x", ";;; jwt = x ;",
		"jwt=x\ntoken=y", "jwt=a,b c", "jwt=\x7f", "jwt=\xff", "jwt=x\\", "JWT=x", "\tjwt=x\t", "jwt=x; jwt=",
	} {
		f.Add(seed, "")
		f.Add("theme=dark", seed)
	}
	b := &browser{opts: CookieOptions{SessionName: "token", JWTName: "jwt"}, legacy: []LegacyCookie{{Name: "sid"}, {Name: "old"}, {Name: "sid"}}}
	f.Fuzz(func(t *testing.T, first, second string) {
		r := &http.Request{Header: http.Header{"Cookie": {first, second}}}
		var want requestCookies
		if strings.Count(first+second, ";")+2 <= maxPairs { // older releases of net/http have no limit
			for _, c := range r.Cookies() {
				switch {
				case c.Value == "":
				case c.Name == "jwt":
					want.jwts = appendNew(want.jwts, c.Value)
				case c.Name == "token":
					want.tokens = appendNew(want.tokens, c.Value)
				default:
					want.addLegacy(b.legacy, c.Name, c.Value)
				}
			}
		}
		got := b.read(r)
		assert.Equal(t, want, got)

		switch jwt, ok := b.glance(r); {
		case ok && jwt == "":
			assert.True(t, got.empty(), "%q", jwt)
		case ok && isCookieValue(jwt): // what is known is one
			assert.Equal(t, []string{jwt}, got.jwts)
			assert.False(t, got.hasLegacy)
		}
	})
}
