package stytchmigrate

import (
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxCookie       = 4096                 // name and value together; browsers drop the whole cookie beyond it
	maxLines        = 3 << 10              // our Set-Cookie lines together: a proxy's header buffer is 4 KB by default
	maxCookieHeader = 7 << 10              // the Cookie header to come: a server's line limit is 8 KB by default
	maxCookieAge    = 400 * 24 * time.Hour // browsers cap Max-Age there (RFC 6265bis section 5.5)
)

// CookieOptions say how the Stytch cookies are written. The zero value writes
// what Stytch's browser SDK writes, but HttpOnly: host-only, Path=/,
// SameSite=Lax, Secure. Where the SDK runs on the pages too, names, Domain and
// Path must be those of its cookieOptions, or the browser holds two of each; its
// domain counts with availableToSubdomains only.
type CookieOptions struct {
	SessionName string // default "stytch_session"
	JWTName     string // default "stytch_session_jwt"

	Domain string // default none: host-only
	Path   string // default "/"; requests elsewhere, by the path that the middleware sees, keep the cookies they have

	SameSite http.SameSite // default Lax

	// ReadableByScripts leaves out HttpOnly. Stytch's browser SDK needs it: it
	// reads stytch_session from document.cookie, takes a user whose cookie it
	// can't see for signed out, and can't write the cookies of its own logins.
	// With a custom domain that keeps the cookies HttpOnly it needs Domain in place
	// of this.
	ReadableByScripts bool

	// Insecure leaves out Secure, for development over plain HTTP only.
	Insecure bool

	// OldScopes are where earlier settings, or the SDK, may have left cookies of
	// these names. They are cleared on each swap and at Logout.
	OldScopes []CookieScope
}

// CookieScope is the Domain and Path of a cookie, as they were set. Empty:
// host-only, and "/".
type CookieScope struct{ Domain, Path string }

func (s CookieScope) normal() CookieScope {
	if s.Path == "" {
		s.Path = "/"
	}
	s.Domain = strings.ToLower(strings.TrimPrefix(s.Domain, "."))
	return s
}

// browser is the browser's side of a request and its response: which cookies
// came, and how they are set and expired.
type browser struct {
	opts   CookieOptions // defaults filled in
	legacy []LegacyCookie
	nobody *found // what a request is told that carries nothing
}

func newBrowser(cfg *Config) *browser {
	b := &browser{opts: cfg.Cookies, legacy: cfg.Legacy}
	b.nobody = &found{by: b}
	return b
}

// plan turns a change into the lines of the response, deletions last, so that
// a proxy that keeps only the first Set-Cookie loses nobody, and into the
// Cookie header of the request that is passed on.
func (b *browser) plan(r *http.Request, c *requestCookies, ch change) (lines []*http.Cookie, passedOn string) {
	gone := map[string]bool{}
	if ch.set != nil || ch.clear {
		gone[b.opts.SessionName], gone[b.opts.JWTName] = true, true
	}
	hidden := map[string]bool{}
	for _, l := range ch.expire {
		for _, name := range l.names() {
			hidden[name] = ch.hides(r)
		}
	}
	var set, deletions []*http.Cookie
	if ch.clear && ch.set == nil {
		deletions = b.clearStytch()
	}
	if ch.set != nil {
		set = append(set, b.cookie(b.opts.SessionName, string(ch.set.session), ch.set.expires))
		deletions = append(deletions, b.clearOldScopes()...)
	}
	for _, l := range ch.expire {
		deletions = append(deletions, b.clearLegacy(l)...)
	}
	if ch.set != nil {
		jwt := b.cookie(b.opts.JWTName, string(ch.set.jwt), ch.set.expires)
		if b.fits(r, ch, append(slices.Concat(set, deletions), jwt)) {
			set = append(set, jwt)
		} else if len(c.jwts) > 0 {
			deletions = append([]*http.Cookie{b.deletion(b.opts.JWTName, b.scope())}, deletions...)
		}
	}
	passedOn = editCookies(r, func(name string) bool { return gone[name] || hidden[name] }, set)
	return append(set, deletions...), passedOn
}

// fits says whether a response with these lines, the last of which is the
// JWT's, stays within every limit on its way to the browser and back.
func (b *browser) fits(r *http.Request, ch change, lines []*http.Cookie) bool {
	jwt := lines[len(lines)-1]
	if len(jwt.Name)+len(jwt.Value) > maxCookie {
		return false
	}
	sum := 0
	var kept []*http.Cookie
	for _, l := range lines {
		sum += len(l.String())
		if l.MaxAge > 0 {
			kept = append(kept, l)
		}
	}
	toCome := editCookies(r, func(name string) bool {
		return b.isStytch(name) ||
			slices.ContainsFunc(ch.expire, func(l *LegacyCookie) bool { return slices.Contains(l.names(), name) })
	}, kept)
	return sum <= maxLines && len(toCome) <= maxCookieHeader
}

// cookie is a Stytch cookie that lives as long as its session, by the clock
// of the browser: Max-Age is relative, so a wrong clock costs nobody a session.
func (b *browser) cookie(name, value string, expires time.Time) *http.Cookie {
	left := min(time.Until(expires), maxCookieAge)
	return &http.Cookie{
		Name: name, Value: value, Domain: b.opts.Domain, Path: b.opts.Path,
		MaxAge:   max(1, int(left.Seconds())),
		Secure:   !b.opts.Insecure,
		HttpOnly: !b.opts.ReadableByScripts,
		SameSite: b.opts.SameSite,
	}
}

// deletion expires a cookie in a form that browsers obey: the Secure and
// SameSite of what is set beside it, so that a browser takes both or neither,
// and what the name prefixes demand (RFC 6265bis section 4.1.3).
func (b *browser) deletion(name string, s CookieScope) *http.Cookie {
	s = s.normal()
	d := &http.Cookie{
		Name: name, Domain: s.Domain, Path: s.Path, MaxAge: -1, Expires: time.Unix(0, 0),
		Secure: !b.opts.Insecure, HttpOnly: true, SameSite: b.opts.SameSite,
	}
	if hasPrefixFold(name, "__Host-") {
		d.Domain, d.Path, d.Secure = "", "/", true
	}
	if hasPrefixFold(name, "__Secure-") {
		d.Secure = true
	}
	return d
}

func (b *browser) scope() CookieScope { return CookieScope{b.opts.Domain, b.opts.Path} }

func (b *browser) clearStytch() []*http.Cookie {
	return append([]*http.Cookie{
		b.deletion(b.opts.SessionName, b.scope()),
		b.deletion(b.opts.JWTName, b.scope()),
	}, b.clearOldScopes()...)
}

// clearOldScopes leaves out names with the prefix __Host-: such a cookie was in
// no other scope than it is now, and the only deletion that browsers obey would
// hit the cookie set beside it.
func (b *browser) clearOldScopes() (out []*http.Cookie) {
	for _, s := range b.opts.OldScopes {
		for _, name := range []string{b.opts.SessionName, b.opts.JWTName} {
			if !hasPrefixFold(name, "__Host-") {
				out = append(out, b.deletion(name, s))
			}
		}
	}
	return out
}

func (b *browser) clearLegacy(l *LegacyCookie) (out []*http.Cookie) {
	scopes := l.Scopes
	if len(scopes) == 0 {
		scopes = []CookieScope{{}}
	}
	for _, s := range scopes {
		for _, name := range l.names() {
			out = append(out, b.deletion(name, s))
		}
	}
	return out
}

// clearAll expires every cookie of every session, Stytch's and legacy.
func (b *browser) clearAll() []*http.Cookie {
	out := b.clearStytch()
	for i := range b.legacy {
		out = append(out, b.clearLegacy(&b.legacy[i])...)
	}
	return out
}

// mayWrite says whether cookies may change in the response to r: in answer to
// a top-level navigation, or to a fetch of the same site that is not for a
// kind of thing that CDNs keep. Fetch Metadata decides (W3C, section 2), then
// Origin; a client that sends neither is no browser of today.
func (b *browser) mayWrite(r *http.Request) bool {
	upgrade := r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect // RFC 8441 section 4
	if upgrade || !inDomain(hostname(r.Host), b.opts.Domain) || !inPath(r.URL.Path, b.opts.Path) {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "image", "style", "script", "font", "audio", "video", "track", "manifest",
		"worker", "sharedworker", "serviceworker", "audioworklet", "paintworklet", "xslt":
		return false
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "same-site", "none":
		return true
	case "":
		return b.sameSiteOrigin(r)
	default:
		return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	}
}

// sameSiteOrigin judges a request of a browser without Fetch Metadata.
func (b *browser) sameSiteOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // "null" among them
	}
	return u.Host == r.Host || b.opts.Domain != "" && inDomain(u.Hostname(), b.opts.Domain)
}

// inDomain is the domain match of RFC 6265 section 5.1.3.
func inDomain(host, domain string) bool {
	host, domain = strings.ToLower(host), strings.ToLower(strings.TrimPrefix(domain, "."))
	return domain == "" || host == domain ||
		strings.HasSuffix(host, "."+domain) && net.ParseIP(host) == nil
}

// inPath is the path match of RFC 6265 section 5.1.4. Where it fails, the browser
// would not send back what is set, and be without a session on this page.
func inPath(path, scope string) bool {
	rest, ok := strings.CutPrefix(path, scope)
	return ok && (rest == "" || strings.HasSuffix(scope, "/") || rest[0] == '/') || scope == "/"
}

// hostname keeps a trailing dot: to a browser that is another host, which is
// in no Domain without one. It would refuse the cookies that are set, but obey
// the deletion of one that is host-only.
func hostname(hostport string) string { return (&url.URL{Host: hostport}).Hostname() }

// editCookies returns the Cookie header of r without the names that drop
// picks and with the cookies added. What stays, stays byte for byte.
func editCookies(r *http.Request, drop func(name string) bool, add []*http.Cookie) string {
	var pairs []string
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			pair = textproto.TrimString(pair) // as net/http does; other bytes that are space in Unicode are the value's
			name, _, _ := strings.Cut(pair, "=")
			if pair != "" && !drop(textproto.TrimString(name)) {
				pairs = append(pairs, pair)
			}
		}
	}
	for _, c := range add {
		pairs = append(pairs, c.Name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

// isCookieValue reports whether v is a cookie-value that needs no quoting
// (RFC 6265 section 4.1.1, cookie-octet) and is not empty.
func isCookieValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\' {
			return false
		}
	}
	return v != ""
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
