package cookies

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// maxLines is for our Set-Cookie lines together: a proxy's header buffer has 4 KB by
	// default. It also keeps each cookie below 4096 bytes, name and value together. A
	// browser drops a longer one (RFC 6265bis section 5.7).
	maxLines = 3 << 10

	// maxHeader is for the whole header of a response, with what the server adds to it.
	// nginx answers 502 if it does not fit into proxy_buffer_size, which is 4 KB by
	// default.
	maxHeader = 4 << 10

	// serverLines is what net/http adds at most: the status line, Date, Content-Type,
	// Content-Length or Transfer-Encoding, Connection, and the empty line.
	serverLines = 200

	// maxCookieHeader is for the Cookie header of the next request: a server's line has
	// 8 KB by default.
	maxCookieHeader = 7 << 10
)

// fits reports whether a response stays within every limit on its way to the browser,
// and the browser's next request on its way back.
func (p *Policy) fits(r *http.Request, ch *Change, set, deletions []*http.Cookie) bool {
	sum := 0
	for _, c := range slices.Concat(set, deletions) {
		sum += len(c.String())
	}
	next := editCookieHeader(r, func(name string) bool { return p.isStytch(name) || p.hasName(ch.Expire, name) }, set)
	return sum <= maxLines && len(next) <= maxCookieHeader
}

// within returns the lines that h has room for: all, or those without the JWT, or none
// where a later response can write them. It leaves out those that expire what the
// handler itself set.
func (pl *plan) within(h http.Header, handlerCookies []*http.Cookie) []*http.Cookie {
	lines := withoutOverridden(pl.lines, handlerCookies)
	if hasRoomFor(h, lines) || !pl.canWait && pl.noJWT == nil {
		return lines
	}
	if lines = withoutOverridden(pl.noJWT, handlerCookies); hasRoomFor(h, lines) || !pl.canWait {
		return lines
	}
	return nil
}

// hasRoomFor counts the header as HTTP/1.1 sends it.
func hasRoomFor(h http.Header, lines []*http.Cookie) bool {
	sum := serverLines + len("Cache-Control: no-store\r\n")
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			continue
		}
		for _, v := range values {
			sum += len(name) + len(": \r\n") + len(v)
		}
	}
	for _, c := range lines {
		sum += len("Set-Cookie: \r\n") + len(c.String())
	}
	return sum <= maxHeader
}

// HasRoom reports whether a response has room for a JWT of that length, beside an
// opaque token and the deletions of a legacy cookie, or of no legacy cookie (-1).
func (p *Policy) HasRoom(legacy, token, jwt int, lifetime time.Duration) bool {
	of := &Tokens{Expires: time.Now().Add(lifetime)}
	set := []*http.Cookie{
		p.cookie(p.opts.SessionName, strings.Repeat("t", token), of),
		p.cookie(p.opts.JWTName, strings.Repeat("j", jwt), of),
	}
	deletions := p.clearOldScopes()
	if legacy >= 0 {
		deletions = append(deletions, p.clearLegacy(legacy)...)
	}
	return p.fits(new(http.Request), new(Change), set, deletions)
}
