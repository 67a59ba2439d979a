package cookies_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// Each row is a request to app.example.com that came without TLS, and whether a browser
// drops Secure cookies of its answer, as far as the request tells.
func TestIsDroppedInClear(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*http.Request)
		want   bool
		page   string
	}{
		"plain HTTP":                          {func(*http.Request) {}, true, ""},
		"TLS ends here":                       {func(r *http.Request) { *r = *httptest.NewRequest("GET", "https://app.example.com/", nil) }, false, ""},
		"a proxy says https":                  {header("X-Forwarded-Proto", "https"), false, ""},
		"a proxy says HTTPS":                  {header("X-Forwarded-Proto", "HTTPS"), false, ""},
		"the first of two proxies says so":    {header("X-Forwarded-Proto", "https, http"), false, ""},
		"a proxy says http":                   {header("X-Forwarded-Proto", "http"), true, ""},
		"RFC 7239":                            {header("Forwarded", `for=192.0.2.1;proto="https"`), false, ""},
		"RFC 7239, and http":                  {header("Forwarded", "for=192.0.2.1;proto=http"), true, ""},
		"on":                                  {header("X-Forwarded-Ssl", "on"), false, ""},
		"off":                                 {header("X-Forwarded-Ssl", "off"), true, ""},
		"Microsoft's":                         {header("Front-End-Https", "on"), false, ""},
		"Azure's":                             {header("X-Arr-Ssl", "2048|256"), false, ""},
		"Cloudflare's":                        {header("Cf-Visitor", `{"scheme":"https"}`), false, ""},
		"Cloudflare's, and http":              {header("Cf-Visitor", `{"scheme":"http"}`), true, ""},
		"a port":                              {header("X-Forwarded-Port", "443"), false, ""},
		"another port":                        {header("X-Forwarded-Port", "80"), true, ""},
		"a page of HTTPS":                     {header("Origin", "https://app.example.com"), false, "https"},
		"a page of HTTPS, by its Referer":     {header("Referer", "https://app.example.com/page"), false, "https"},
		"a page of HTTP":                      {header("Origin", "http://app.example.com"), true, "http"},
		"a page of HTTP, by its Referer":      {header("Referer", "http://app.example.com/"), true, "http"},
		"another site's":                      {header("Origin", "https://other.example"), true, ""},
		"a host that only begins like it":     {header("Referer", "https://app.example.com.evil.example/"), true, ""},
		"Fetch Metadata, sent over HTTPS":     {fetch("same-origin navigate document"), false, ""},
		"Fetch Metadata, sent to localhost":   {both(host("localhost:8080"), fetch("same-origin navigate document")), true, ""},
		"Fetch Metadata, sent to 127.0.0.1":   {both(host("127.0.0.1:8080"), fetch("none navigate document")), true, ""},
		"Fetch Metadata, sent to ::1":         {both(host("[::1]:8080"), fetch("none navigate document")), true, ""},
		"Fetch Metadata, sent to a.localhost": {both(host("a.localhost"), fetch("none navigate document")), true, ""},
		"no host":                             {both(host(""), header("Origin", "https://")), true, ""},
	} {
		r := httptest.NewRequest("GET", "http://app.example.com/", nil)
		row.change(r)
		assert.Equal(t, row.want, cookies.New(defaults(), nil).IsDroppedInClear(r), name)
		assert.Equal(t, row.page, cookies.SchemeOfPage(r), name)
		assert.False(t, cookies.New(options(func(o *cookies.Options) { o.Insecure = true }), nil).IsDroppedInClear(r), name)
	}
}
