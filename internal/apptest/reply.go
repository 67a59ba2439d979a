package apptest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/stytchtest"
)

// RequireValidCookies holds a response against the rules of browsers (RFC 6265bis section
// 5.7) and against those of this package: what sets or clears a session is not
// for caches, and what was set is not deleted after it.
func RequireValidCookies(t *testing.T, host string, h http.Header) {
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
		assert.Empty(t, RefusedByBrowser(c, host), line)
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

// RefusedByBrowser is why a browser at host drops a cookie, "" if it doesn't.
func RefusedByBrowser(c *http.Cookie, host string) string {
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

// Settled is the reply once what goes on behind the request is over too.
func (r *Reply) Settled() string {
	synctest.Wait()
	return r.String()
}

func (r *Reply) WithKeySets() string {
	return fmt.Sprintf("%s | key sets: %d", r, r.a.Stytch.Count(stytchtest.JWKS))
}

// What String says of the replies that tests compare most.
const (
	CookiesCleared         = " | -stytch_session -stytch_session_jwt -sid | no-store | "
	Authenticated          = "authenticated ada" + CookiesUntouched + "-"
	SwappedAfter           = "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | "
	SignedOutAfter         = "anonymous | -stytch_session -stytch_session_jwt | no-store | "
	Legacy                 = "legacy" + CookiesUntouched + "-"
	AnonymousCleared       = "anonymous | -stytch_session -stytch_session_jwt"
	Refreshed              = "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate"
	SignedOut              = "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate"
	AuthenticatedUntouched = "authenticated ada | - | - | "
	RefusedUntouched       = "refused" + CookiesUntouched
	UnavailableUntouched   = "unavailable" + CookiesUntouched
	Anonymous              = "anonymous" + CookiesUntouched + "-"
	Refused                = "refused" + CookiesUntouched + "-"
	Swapped                = "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | migrate"
	CookiesUntouched       = " | - | - | "
)

// Reply is all that a request led to.
type Reply struct {
	*httptest.ResponseRecorder
	Saw string
	a   *App
}

// String tells the outcome, every cookie that is set (+) or expired (-) in
// order, the Cache-Control, and the calls that Stytch got, as in
// "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | migrate".
func (r *Reply) String() string {
	var calls []string
	for _, c := range r.a.Stytch.Calls() {
		if c.Op != stytchtest.JWKS {
			calls = append(calls, string(c.Op))
		}
	}
	parts := []string{r.Saw, strings.Join(r.Cookies(), " "), r.Header().Get("Cache-Control"), strings.Join(calls, " ")}
	for i := range parts {
		if parts[i] == "" {
			parts[i] = "-"
		}
	}
	return strings.Join(parts, " | ")
}

func (r *Reply) Cookies() (out []string) {
	for _, c := range r.Result().Cookies() {
		sign := "+"
		if c.MaxAge < 0 {
			sign = "-"
		}
		out = append(out, sign+c.Name)
	}
	return out
}

// Jar is the Cookie header that a browser sends after the reply, which it had
// sent before with the given one.
func (r *Reply) Jar(before string) string {
	var pairs []string
	for pair := range strings.SplitSeq(before, "; ") {
		name, _, _ := strings.Cut(pair, "=")
		if pair != "" && !slices.ContainsFunc(r.Result().Cookies(), func(c *http.Cookie) bool { return c.Name == name }) {
			pairs = append(pairs, pair)
		}
	}
	for _, c := range r.Result().Cookies() {
		if c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}
