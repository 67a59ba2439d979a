package cookies

import (
	"iter"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

const (
	maxPairs = 3000 // of one request's Cookie headers, as net/http has it

	// MaxDuplicates is how many values of one cookie name in one request are worth a
	// look.
	MaxDuplicates = 5
)

// Cookies are the distinct values that a request carries, in the order
// that the browser sent them.
type Received struct {
	JWTs, Tokens []string
	Legacy       [][]string // by index
	HasLegacy    bool
}

// None reports that there is no session cookie.
func (c *Received) None() bool { return !c.HasStytch() && !c.HasLegacy }

// HasStytch reports whether there is a Stytch cookie.
func (c *Received) HasStytch() bool { return len(c.JWTs) > 0 || len(c.Tokens) > 0 }

// TooMany says that there were more values of a name than are kept, or more pairs
// than are read at all.
func (c *Received) TooMany(r *http.Request) bool {
	return len(c.JWTs) > MaxDuplicates || len(c.Tokens) > MaxDuplicates || tooLong(r.Header["Cookie"]) ||
		slices.ContainsFunc(c.Legacy, func(v []string) bool { return len(v) > MaxDuplicates })
}

// Glance is Read for what most requests carry: one JWT, beside an opaque token
// or not, or nothing that matters. It allocates nothing. ok is false where it
// takes more than a glance.
func (b *Policy) ReadFast(r *http.Request) (jwt string, ok bool) {
	token := false
	for name, raw := range pairs(r.Header["Cookie"]) {
		switch {
		case raw == "" || !b.matters(name):
		case name == b.opts.SessionName:
			token = true
		case name == b.opts.JWTName && jwt == "":
			jwt = raw
		default:
			return "", false
		}
	}
	return jwt, jwt != "" || !token
}

// Read collects the cookies that matter. It reads the header as net/http does,
// which would build every cookie in it.
func (b *Policy) Read(r *http.Request) (c Received) {
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
			c.Tokens = appendNew(c.Tokens, value)
		case b.opts.JWTName:
			c.JWTs = appendNew(c.JWTs, value)
		default:
			c.addLegacy(b.legacy, name, value)
		}
	}
	return c
}

func (b *Policy) matters(name string) bool {
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

// addOld files a cookie under each entry of its name: two entries may read
// one cookie, in the formats of before and after some change.
func (c *Received) addLegacy(old []Legacy, name, value string) {
	for i := range old {
		if old[i].Name != name {
			continue
		}
		if c.Legacy == nil {
			c.Legacy = make([][]string, len(old))
		}
		c.Legacy[i] = appendNew(c.Legacy[i], value)
		c.HasLegacy = true
	}
}

// appendNew stops where there are more than anything here would look at: a
// request may bring thousands.
func appendNew(values []string, v string) []string {
	if len(values) > MaxDuplicates || slices.Contains(values, v) {
		return values
	}
	return append(values, v)
}
