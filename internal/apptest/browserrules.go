package apptest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// RequireValidCookies holds the header of a response against the rules of
// browsers (RFC 6265bis section 5.7) and against two of this module: a response
// that sets or expires a session is not for caches, and no cookie is expired
// after it was set.
func RequireValidCookies(t *testing.T, host string, h http.Header) {
	t.Helper()
	requirePrintable(t, h)
	set := map[string]bool{} // by name, domain and path
	for _, line := range h["Set-Cookie"] {
		c, err := http.ParseSetCookie(line)
		require.NoError(t, err, line)
		assert.Empty(t, RefusedByBrowser(c, host), line)
		if c.Name != "theme" {
			requireNotCached(t, h)
		}
		key := c.Name + ";" + c.Domain + ";" + c.Path
		assert.False(t, c.MaxAge < 0 && set[key], "set, and expired again: %s", line)
		set[key] = set[key] || c.MaxAge >= 0
	}
}

func requireNotCached(t *testing.T, h http.Header) {
	t.Helper()
	assert.Equal(t, []string{"no-store"}, h["Cache-Control"], "a session in a response that caches may keep")
	assert.Empty(t, h.Get("Cdn-Cache-Control")+h.Get("Surrogate-Control")+h.Get("X-Accel-Expires"))
}

// requirePrintable looks for control characters, which could split a header.
func requirePrintable(t *testing.T, h http.Header) {
	t.Helper()
	isControl := func(r rune) bool { return r < ' ' || r == 0x7f }
	for name, values := range h {
		for _, v := range values {
			assert.False(t, strings.ContainsFunc(v, isControl), "control character in %s: %q", name, v)
		}
	}
}

// RefusedByBrowser is why a browser at host does not store a cookie, "" if it
// stores the cookie.
func RefusedByBrowser(c *http.Cookie, host string) string {
	lower, domain := strings.ToLower(c.Name), strings.ToLower(c.Domain)
	switch {
	case len(c.Name)+len(c.Value) > 4096:
		return "name and value over 4096 bytes"
	case strings.HasPrefix(lower, "__host-") && (!c.Secure || c.Path != "/" || c.Domain != ""):
		return "__Host- without Secure and Path=/, or with Domain"
	case strings.HasPrefix(lower, "__secure-") && !c.Secure:
		return "__Secure- without Secure"
	case (strings.HasPrefix(lower, "__http-") || strings.HasPrefix(lower, "__host-http-")) && (!c.Secure || !c.HttpOnly):
		return "__Http- without Secure and HttpOnly"
	case c.SameSite == http.SameSiteNoneMode && !c.Secure:
		return "SameSite=None without Secure"
	case domain != "" && host != domain && !strings.HasSuffix(host, "."+domain):
		return "Domain of another host"
	}
	return ""
}
