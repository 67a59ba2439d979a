package stytchmigrate

import (
	"iter"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

const maxPairs = 3000 // of one request's Cookie headers, as net/http has it

// requestCookies are the distinct values that a request carries, in the order
// that the browser sent them.
type requestCookies struct {
	jwts, tokens []string
	legacy       [][]string // by index in Config.Legacy
	hasLegacy    bool
}

func (c *requestCookies) empty() bool {
	return !c.hasStytch() && !c.hasLegacy
}

func (c *requestCookies) hasStytch() bool { return len(c.jwts) > 0 || len(c.tokens) > 0 }

// tooMany says that there were more values of a name than are kept.
func (c *requestCookies) tooMany() bool {
	return len(c.jwts) > maxDuplicates || len(c.tokens) > maxDuplicates ||
		slices.ContainsFunc(c.legacy, func(v []string) bool { return len(v) > maxDuplicates })
}

// read collects the cookies that matter. It reads the header as net/http does,
// which would build every cookie in it.
func (b *browser) read(r *http.Request) (c requestCookies) {
	for name, raw := range pairs(r.Header["Cookie"]) {
		if !b.matters(name) {
			continue
		}
		value, ok := cookieValue(raw)
		if !ok || value == "" {
			continue
		}
		switch name {
		case b.opts.SessionName:
			c.tokens = appendNew(c.tokens, value)
		case b.opts.JWTName:
			c.jwts = appendNew(c.jwts, value)
		default:
			c.addLegacy(b.legacy, name, value)
		}
	}
	return c
}

func (b *browser) matters(name string) bool {
	if name == b.opts.SessionName || name == b.opts.JWTName {
		return true
	}
	for i := range b.legacy {
		if b.legacy[i].Name == name {
			return true
		}
	}
	return false
}

// tooLong says that Cookie headers have more pairs than net/http takes.
func tooLong(lines []string) bool {
	n := len(lines)
	for _, line := range lines {
		n += strings.Count(line, ";")
	}
	return n > maxPairs
}

// pairs yields the names and raw values of Cookie headers, and nothing of those
// that are too long.
func pairs(lines []string) iter.Seq2[string, string] {
	return func(yield func(name, raw string) bool) {
		if tooLong(lines) {
			return
		}
		for _, line := range lines {
			for len(line) > 0 {
				var part string
				part, line, _ = strings.Cut(line, ";")
				name, raw, _ := strings.Cut(textproto.TrimString(part), "=")
				if !yield(textproto.TrimString(name), raw) {
					return
				}
			}
		}
	}
}

// cookieValue is raw without the quotes that it may be in. ok is false where it
// has a byte that no cookie's value has (RFC 6265 section 4.1.1, and space and
// comma, which browsers send).
func cookieValue(raw string) (value string, ok bool) {
	if len(raw) > 1 && raw[0] == '"' && raw[len(raw)-1] == '"' {
		raw = raw[1 : len(raw)-1]
	}
	for i := range len(raw) {
		if c := raw[i]; c < ' ' || c >= 0x7f || c == '"' || c == ';' || c == '\\' {
			return "", false
		}
	}
	return raw, true
}

// addLegacy files a cookie under each entry of its name: two entries may read
// one cookie, in the formats of before and after some change.
func (c *requestCookies) addLegacy(legacy []LegacyCookie, name, value string) {
	for i := range legacy {
		if legacy[i].Name != name {
			continue
		}
		if c.legacy == nil {
			c.legacy = make([][]string, len(legacy))
		}
		c.legacy[i] = appendNew(c.legacy[i], value)
		c.hasLegacy = true
	}
}

// appendNew stops where there are more than anything here would look at: a
// request may bring thousands.
func appendNew(values []string, v string) []string {
	if len(values) > maxDuplicates || slices.Contains(values, v) {
		return values
	}
	return append(values, v)
}
