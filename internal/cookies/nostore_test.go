package cookies_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// withCookies returns the header of a response that sets cookies, without these. The
// handler has written before, in lines "name: value".
func withCookies(before ...string) http.Header {
	pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), swap(), deaf)
	w := httptest.NewRecorder()
	for _, line := range before {
		name, value, _ := strings.Cut(line, ": ")
		w.Header()[name] = append(w.Header()[name], value)
	}
	pending.Commit(w)
	return without(w.Header(), "Set-Cookie")
}

// Each row is the Cache-Control of a handler, and what is left of it.
func TestCacheControlIsEdited(t *testing.T) {
	for before, want := range map[string]string{
		"":                                     "no-store",
		"no-store":                             "no-store",
		"No-Store":                             "No-Store",
		"public, max-age=600":                  "no-store",
		"no-cache, no-transform":               "no-cache, no-transform, no-store",
		"no-store, no-transform":               "no-store, no-transform",
		"private, max-age=60, no-transform":    "private, no-transform, no-store",
		"public,s-maxage=60 ,,\tNO-TRANSFORM ": "NO-TRANSFORM, no-store",
		"PUBLIC, Max-Age = 60, Immutable":      "no-store",
		"must-revalidate, proxy-revalidate":    "no-store",
		"no-store, must-understand":            "no-store",
		"stale-while-revalidate=9, stale-if-error=9, stale-of-tomorrow": "no-store",
		`no-cache="Set-Cookie", private="X-A"`:                          "no-store",
		`no-store=?0, no-store;x`:                                       "no-store",
		`community="UCI, Irvine", public`:                               `community="UCI, Irvine", no-store`,
		`x="a\", public, \"b", max-age=1`:                               `x="a\", public, \"b", no-store`,
		`x="\\", max-age=1`:                                             `x="\\", no-store`,
		`no-transform, x="public, no-store`:                             "no-transform, no-store",
		`no-transform, x="public, no-store\`:                            "no-transform, no-store",
		"max-age=\"600\", no-transform":                                 "no-transform, no-store",
	} {
		assert.Equal(t, http.Header{"Cache-Control": {want}}, withCookies("Cache-Control: "+before), before)
	}
}

// Each row is a header by which a CDN or a proxy caches, or one beside it, and what is
// left of it. Cache-Control says no-store in any case.
func TestHeadersOfCaches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // on 1 January 2000
		for before, want := range map[string]string{
			"CDN-Cache-Control: max-age=600":                             "",
			"Cdn-Cache-Control: public, no-transform":                    "Cdn-Cache-Control: no-transform, no-store",
			"cloudflare-cdn-cache-control: max-age=60;x=1":               "",
			"Netlify-CDN-Cache-Control: public, durable, max-age=60":     "",
			"Vercel-CDN-Cache-Control: no-store":                         "Vercel-Cdn-Cache-Control: no-store",
			"Akamai-Cache-Control: private, max-age=60":                  "Akamai-Cache-Control: private, no-store",
			"X-LiteSpeed-Cache-Control: public,max-age=60":               "",
			`Surrogate-Control: max-age=600, content="ESI/1.0"`:          `Surrogate-Control: content="ESI/1.0", no-store`,
			`surrogate-control: content="ESI/1.0 ESI-INV/1.0"`:           `Surrogate-Control: content="ESI/1.0 ESI-INV/1.0", no-store`,
			`Surrogate-Control: no-store-remote, content="a,b";varnish`:  `Surrogate-Control: content="a,b";varnish, no-store`,
			"Surrogate-Control: max-age=600+30;varnish, no-store;fastly": "",
			"Edge-Control: cache-maxage=1h, !no-store":                   "",
			"edge-control: max-age=600, dca=esi":                         "Edge-Control: dca=esi, no-store",
			"Edge-Control: downstream-ttl=1h, bypass-cache":              "Edge-Control: bypass-cache, no-store",
			"X-Accel-Expires: 600":                                       "",
			"x-accel-expires: @2000000000":                               "",
			"Expires: Sat, 01 Jan 2000 00:10:00 GMT":                     "",
			"expires: Saturday, 01-Jan-00 00:10:00 GMT":                  "",
			"Expires: Thu, 01 Jan 1970 00:00:00 GMT":                     "Expires: Thu, 01 Jan 1970 00:00:00 GMT",
			"Expires: 0":                                                 "Expires: 0",
			"Pragma: no-cache":                                           "Pragma: no-cache",
			"pragma: public":                                             "",
			"Pragma: cache, x=1":                                         "Pragma: x=1",
			"Vary: Cookie":                                               "Vary: Cookie",
			"X-Cache-Control-Other: public":                              "X-Cache-Control-Other: public",
			"XCache-Control: public":                                     "Xcache-Control: public",
			"Age: 3":                                                     "Age: 3",
		} {
			header := http.Header{"Cache-Control": {"no-store"}}
			if name, value, found := strings.Cut(want, ": "); found {
				header.Add(name, value)
			}
			assert.Equal(t, header, withCookies(before), before)
		}
	})
}

// Several lines and several spellings are one header.
func TestLinesOfCacheControl(t *testing.T) {
	got := withCookies("Cache-Control: public", "Cache-Control: no-transform, max-age=60", "cache-control: no-cache",
		`Surrogate-Control: content="ESI/1.0"`, "surrogate-control: max-age=60", "SURROGATE-CONTROL: no-store")
	assert.Equal(t, http.Header{
		"Cache-Control":     {"no-transform, no-cache, no-store"},
		"Surrogate-Control": {`no-store, content="ESI/1.0"`},
	}, got)
}
