package stytchmigrate_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
)

// ask sends a GET, and holds the reply against what is true of every reply.
func (a *app) ask(t *testing.T, cookies string, change ...func(*http.Request)) *reply {
	t.Helper()
	out := a.get(cookies, change...)
	obeys(t, "app.example.com", out.Result().Header)
	return out
}

// obeys holds a response against the rules of browsers (RFC 6265bis section
// 5.7) and against those of this package: what sets or clears a session is not
// for caches, and what was set is not deleted after it.
func obeys(t *testing.T, host string, h http.Header) {
	t.Helper()
	for name, values := range h {
		for _, v := range values {
			assert.False(t, strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }), "control character in %s: %q", name, v)
		}
	}
	set := map[string]bool{} // by name, domain and path
	session := false
	for _, line := range h["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		if !assert.NoError(t, err, line) {
			continue
		}
		assert.Empty(t, refusal(c, host), line)
		key := c.Name + ";" + c.Domain + ";" + c.Path
		if c.MaxAge < 0 {
			assert.False(t, set[key], "set, and deleted again: %s", line)
			continue
		}
		set[key] = true
		session = session || c.Name != "theme"
	}
	if session {
		assert.Equal(t, []string{"no-store"}, h["Cache-Control"], "a session in a response that caches may keep")
		assert.Empty(t, h.Get("Cdn-Cache-Control")+h.Get("Surrogate-Control")+h.Get("X-Accel-Expires"))
	}
}

// refusal is why a browser at host drops a cookie, "" if it doesn't.
func refusal(c *http.Cookie, host string) string {
	lower, domain := strings.ToLower(c.Name), strings.ToLower(c.Domain)
	switch {
	case len(c.Name)+len(c.Value) > 4096:
		return "name and value over 4096 bytes"
	case strings.HasPrefix(lower, "__host-") && (!c.Secure || c.Path != "/" || c.Domain != ""):
		return "__Host- without Secure and Path=/, or with Domain"
	case strings.HasPrefix(lower, "__secure-") && !c.Secure:
		return "__Secure- without Secure"
	case c.SameSite == http.SameSiteNoneMode && !c.Secure:
		return "SameSite=None without Secure"
	case domain != "" && host != domain && !strings.HasSuffix(host, "."+domain):
		return "Domain of another host"
	}
	return ""
}

// TestRefusal is about the rules themselves: what they say of cookies that
// the web platform's tests know the fate of.
func TestRefusal(t *testing.T) {
	sized := func(name, value int) string {
		return strings.Repeat("n", name) + "=" + strings.Repeat("v", value)
	}
	for line, stored := range map[string]bool{
		sized(2048, 2048):                  true,
		sized(4096, 0):                     true,
		sized(4097, 0):                     false,
		sized(1, 4095):                     true,
		sized(1, 4096):                     false,
		"__Host-a=b; Secure; Path=/":       true,
		"__Host-a=b; Secure; Path=/x":      false,
		"__host-a=b; Secure":               false,
		"__Host-a=b; Path=/":               false,
		"__Secure-a=b; Path=/":             false,
		"a=b; SameSite=None":               false,
		"a=b; SameSite=None; Secure":       true,
		"a=b; Domain=example.com":          true,
		"a=b; Domain=other.example":        false,
		"a=b; Domain=sub.app.example.com":  false,
		"a=b; Domain=.EXAMPLE.com; Path=/": true,
	} {
		c, err := http.ParseSetCookie(line)
		if assert.NoError(t, err) {
			c.Domain = strings.TrimPrefix(c.Domain, ".")
			assert.Equal(t, stored, refusal(c, "app.example.com") == "", "%.60s", line)
		}
	}
}

// options changes the cookie options of a test's application.
func options(f func(*stytchmigrate.CookieOptions)) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { f(&c.Cookies) }
}

// legacyCookie changes the description of the cookie "sid".
func oldCookie(f func(*stytchmigrate.LegacyCookie)) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { f(&c.Legacy[0]) }
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func method(name string) func(*http.Request) { return func(r *http.Request) { r.Method = name } }
