package cookies

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// sessionCookiesOf returns the session cookies, Stytch's and legacy, that the
// Set-Cookie lines of h set or expire.
func (p *Policy) sessionCookiesOf(h http.Header) (found []*http.Cookie) {
	for _, line := range fieldLines(h, "Set-Cookie") {
		c := parseSetCookie(line)
		if p.isStytch(c.Name) || p.isLegacy(c.Name) {
			found = append(found, c)
		}
	}
	return found
}

// parseSetCookie reads a line as browsers do (RFC 6265 section 5.2), which take much
// that net/http does not. Its value is what the next request brings: "" if net/http
// would not read it there. Of a line that expires its cookie, isExpired reports true. A
// line without "=" is a cookie without a name.
func parseSetCookie(line string) *http.Cookie {
	pair, attributes, _ := strings.Cut(line, ";")
	name, value, named := strings.Cut(pair, "=")
	c := new(http.Cookie)
	if !named {
		return c
	}
	c.Name = textproto.TrimString(name)
	c.Value, _ = cookieValue(textproto.TrimString(value))
	var maxAge string
	var expires time.Time
	for attribute := range strings.SplitSeq(attributes, ";") {
		name, value, _ := strings.Cut(attribute, "=")
		value = textproto.TrimString(value)
		switch strings.ToLower(textproto.TrimString(name)) {
		case "domain":
			c.Domain = value
		case "path":
			if c.Path = value; !strings.HasPrefix(value, "/") {
				c.Path = "" // as without (section 5.2.4)
			}
		case "max-age":
			if isSeconds(value) {
				maxAge = value
			}
		case "expires":
			if at, ok := parseDate(value); ok {
				expires = at
			}
		}
	}
	if isPast(maxAge, expires) {
		c.MaxAge = -1
	}
	return c
}

// isSeconds reports whether browsers read a Max-Age (RFC 6265 section 5.2.2).
func isSeconds(value string) bool {
	digits := strings.TrimPrefix(value, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

// isPast tells whether a cookie is expired. Max-Age goes before Expires (RFC 6265
// section 5.3, step 3).
func isPast(maxAge string, expires time.Time) bool {
	if maxAge != "" {
		return maxAge[0] == '-' || strings.Trim(maxAge, "0") == ""
	}
	return !expires.IsZero() && !expires.After(time.Now())
}

// isExpired reports whether a cookie of parseSetCookie is a deletion.
func isExpired(c *http.Cookie) bool { return c.MaxAge < 0 }

// writeCookies adds the lines to h, but those that h has already. They come after those
// of the handler.
func writeCookies(h http.Header, lines []*http.Cookie) {
	if len(lines) == 0 {
		return
	}
	all := fieldLines(h, "Set-Cookie")
	for _, c := range lines {
		if line := c.String(); !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	setField(h, "Set-Cookie", all)
	noStore(h)
}
