package cookies

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
	p := New(Options{SessionName: "token", JWTName: "jwt"}, []Legacy{{Name: "sid"}, {Name: "old"}, {Name: "sid"}})
	f.Fuzz(func(t *testing.T, first, second string) {
		r := &http.Request{Header: http.Header{"Cookie": {first, second}}}
		var want Received
		if strings.Count(first+second, ";")+2 <= maxPairs { // older releases of net/http have no limit
			for _, c := range r.Cookies() {
				switch {
				case c.Value == "":
				case c.Name == "jwt":
					want.JWTs = appendNew(want.JWTs, c.Value)
				case c.Name == "token":
					want.Tokens = appendNew(want.Tokens, c.Value)
				default:
					want.addLegacy(p.legacy, c.Name, c.Value)
				}
			}
		}
		got := p.Read(r)
		assert.Equal(t, want, got)

		switch jwt, ok := p.ReadFast(r); {
		case ok && jwt == "":
			assert.True(t, got.None(), "%q", jwt)
		case ok && isPlain(jwt): // what is known is
			assert.Equal(t, []string{jwt}, got.JWTs)
			assert.False(t, got.HasLegacy)
		}
	})
}

// isPlain reports a value that stands for itself, with or without quotes.
func isPlain(v string) bool {
	_, ok := cookieValue(v)
	return ok && !strings.ContainsAny(v, `" ,`)
}
