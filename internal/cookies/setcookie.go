package cookies

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// sessionCookiesOf returns the session cookies, Stytch's and legacy, that the
// Set-Cookie lines of h set or expire.
func (p *Policy) sessionCookiesOf(h http.Header) (found []*http.Cookie) {
	for _, line := range h["Set-Cookie"] {
		c := parseSetCookie(line)
		if p.isStytch(c.Name) || p.isLegacy(c.Name) {
			found = append(found, c)
		}
	}
	return found
}

// parseSetCookie never fails: of a line that net/http can't parse the name is enough.
// Of a line that expires its cookie, isExpired reports true.
func parseSetCookie(line string) *http.Cookie {
	c, err := http.ParseSetCookie(line)
	if err != nil {
		name, _, _ := strings.Cut(line, "=")
		return &http.Cookie{Name: strings.TrimSpace(name)}
	}
	if c.RawExpires != "" && c.Expires.IsZero() {
		c.Expires = parseExpires(c.RawExpires)
	}
	if c.MaxAge == 0 && !c.Expires.IsZero() && c.Expires.Before(time.Now()) { // Max-Age goes before Expires (RFC 6265 section 5.3, step 3)
		c.MaxAge = -1
	}
	return c
}

// isExpired reports whether a cookie of parseSetCookie is a deletion.
func isExpired(c *http.Cookie) bool { return c.MaxAge < 0 }

// parseExpires reads the dates of old servers, which browsers read (RFC 6265 section
// 5.1.1) and net/http does not. It returns the zero time for any other text.
func parseExpires(text string) (at time.Time) {
	for _, layout := range [...]string{time.RFC850, "Mon, 02-Jan-06 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05 MST", time.ANSIC} {
		if t, err := time.Parse(layout, text); err == nil {
			at = t
		}
	}
	return at
}

// writeCookies adds the lines to h, but those that h has already.
func writeCookies(h http.Header, lines []*http.Cookie) {
	for _, c := range lines {
		if line := c.String(); !slices.Contains(h["Set-Cookie"], line) {
			h.Add("Set-Cookie", line)
		}
	}
	if len(lines) > 0 {
		noStore(h)
	}
}
