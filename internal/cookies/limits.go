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
	next := editCookieHeader(r, func(name string) bool { return p.isStytch(name) || p.expires(ch, name) }, set)
	return sum <= maxLines && len(next) <= maxCookieHeader
}

// HasRoom reports whether a response has room for a JWT of that length, beside an
// opaque token and the deletions of a legacy cookie, or of no legacy cookie (-1).
func (p *Policy) HasRoom(legacy, token, jwt int, lifetime time.Duration) bool {
	expires := time.Now().Add(lifetime)
	set := []*http.Cookie{
		p.cookie(p.opts.SessionName, strings.Repeat("t", token), expires),
		p.cookie(p.opts.JWTName, strings.Repeat("j", jwt), expires),
	}
	deletions := p.clearOldScopes()
	if legacy >= 0 {
		deletions = append(deletions, p.clearLegacy(legacy)...)
	}
	return p.fits(new(http.Request), new(Change), set, deletions)
}
