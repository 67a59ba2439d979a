package cookies

import (
	"iter"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

const (
	maxPairs = 3000 // of one request's Cookie headers, as in net/http

	// MaxDuplicates is how many values of one cookie name in one request are worth a
	// look.
	MaxDuplicates = 5
)

// Received is the distinct values of the session cookies of one request, in the order
// of the Cookie header. The zero value is a request without any.
type Received struct {
	JWTs, Tokens []string
	Legacy       [][]string // by index
	HasLegacy    bool
}

// None reports that the request has no session cookie.
func (c *Received) None() bool { return !c.HasStytch() && !c.HasLegacy }

// HasStytch reports whether the request has a Stytch cookie.
func (c *Received) HasStytch() bool { return len(c.JWTs) > 0 || len(c.Tokens) > 0 }

// TooMany reports that c is not all that r carries: r has more values of a name than
// MaxDuplicates, or more pairs than are read at all.
func (c *Received) TooMany(r *http.Request) bool {
	return len(c.JWTs) > MaxDuplicates || len(c.Tokens) > MaxDuplicates || isTooLong(r.Header["Cookie"]) ||
		slices.ContainsFunc(c.Legacy, func(v []string) bool { return len(v) > MaxDuplicates })
}

// ReadFast is Read for what most requests carry: one JWT, with an opaque token or
// without, or no session cookie at all. It returns the JWT, unchecked, or "" where
// there is no session cookie. ok is false for every other request: call Read for it.
// some tells whether there is a Cookie header. ReadFast allocates nothing.
func (p *Policy) ReadFast(r *http.Request) (jwt string, some, ok bool) {
	lines := r.Header["Cookie"]
	token := false
	for name, raw := range pairs(lines) {
		switch {
		case raw == "" || !p.isRead(name):
		case name == p.opts.SessionName:
			token = true
		case name == p.opts.JWTName && jwt == "":
			jwt = raw
		default:
			return "", true, false
		}
	}
	return jwt, len(lines) > 0, jwt != "" || !token
}

// Read collects the session cookies of r. It parses the header by the rules of
// net/http, which would build every other cookie in it too.
func (p *Policy) Read(r *http.Request) (c Received) {
	for name, raw := range pairs(r.Header["Cookie"]) {
		if !p.isRead(name) {
			continue
		}
		value, ok := cookieValue(raw)
		if !ok || value == "" {
			continue
		}
		switch name {
		case p.opts.SessionName:
			c.Tokens = appendNew(c.Tokens, value)
		case p.opts.JWTName:
			c.JWTs = appendNew(c.JWTs, value)
		default:
			c.addLegacy(p.legacy, name, value)
		}
	}
	return c
}

// isRead leaves out the cookies of Legacy.Also: no session is found by them.
func (p *Policy) isRead(name string) bool {
	if p.isStytch(name) {
		return true
	}
	for i := range p.legacy {
		if p.legacy[i].Name == name {
			return true
		}
	}
	return false
}

// isTooLong reports that Cookie headers have more pairs than net/http takes.
func isTooLong(lines []string) bool {
	n := len(lines)
	for _, line := range lines {
		n += strings.Count(line, ";")
	}
	return n > maxPairs
}

// pairs yields the cookie-names and the raw cookie-values of Cookie headers. Of
// headers that are too long it yields nothing.
func pairs(lines []string) iter.Seq2[string, string] {
	return func(yield func(name, raw string) bool) {
		if isTooLong(lines) {
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

// cookieValue returns raw without the quotes around it. ok is false where raw has a
// byte that is in no cookie-value (RFC 6265 section 4.1.1). Space and comma are
// accepted, because browsers send them.
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

// addLegacy adds a value to each legacy cookie of that name.
func (c *Received) addLegacy(legacy []Legacy, name, value string) {
	for i := range legacy {
		if legacy[i].Name != name {
			continue
		}
		if c.Legacy == nil {
			c.Legacy = make([][]string, len(legacy))
		}
		c.Legacy[i] = appendNew(c.Legacy[i], value)
		c.HasLegacy = true
	}
}

// appendNew stops at one value more than anything looks at: a request may bring
// thousands.
func appendNew(values []string, v string) []string {
	if len(values) > MaxDuplicates || slices.Contains(values, v) {
		return values
	}
	return append(values, v)
}
