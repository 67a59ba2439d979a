package cookies_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// Each row is a Cookie header, and what Inspect tells of it. Where Inspect passes a cookie
// over, Read does too.
func TestInspect(t *testing.T) {
	p := cookies.New(defaults(), []cookies.Legacy{{Name: "sid", Also: []string{"sid.sig"}}})
	for header, want := range map[string]string{
		"":                                  "others 0",
		" ; ;":                              "others 0",
		"a=1; b=2":                          "others 2",
		"sid=x; SID=y":                      "sid 1 x; others 1",
		`sid="x y"`:                         "sid 5 x y; others 0",
		"sid=x; sid=y; sid=x":               "sid 1 x; sid 1 y; sid 1 (the same value came before); others 0",
		"sid":                               "sid 0 (it is empty); others 0",
		`sid=a\b`:                           "sid 3 (it has characters that no cookie value may have, so it is not read); others 0",
		"sid.sig=x":                         "sid.sig 1 (it goes with the old session's cookie, and no session is found by it); others 0",
		"token=x":                           "token 1 x; others 0",
		"jwt=x":                             "jwt 1 x; others 0",
		strings.Repeat("sid=; ", 25):        strings.Repeat("sid 0 (it is empty); ", 20) + "more 5; others 0",
		strings.Repeat("a; ", 3000) + "sid": "too long; others 0",
	} {
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		in, read := p.Inspect(r), 0
		got := ""
		for _, x := range in.Session {
			if got += fmt.Sprint(x.Name, " ", x.Bytes, " "); x.NotRead != "" {
				got += "(" + x.NotRead + "); "
				continue
			}
			read++
			got += x.Value + "; "
		}
		if in.More > 0 {
			got += fmt.Sprint("more ", in.More, "; ")
		}
		if in.TooLong {
			got += "too long; "
		}
		assert.Equal(t, want, got+fmt.Sprint("others ", in.Others))
		c := p.Read(r)
		n := len(c.JWTs) + len(c.Tokens)
		for _, values := range c.Legacy {
			n += len(values)
		}
		assert.Equal(t, n, read, header)
	}
	assert.Equal(t, []string{"sid", "token", "jwt"}, p.SessionNames())
}
