// Package cookies is the browser's side of a request and its response: which
// session cookies came, and how they are set and expired. It knows names and
// values, and not whose they are.
package cookies

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/redact"
)

const (
	maxCookie       = 4096                 // name and value together; browsers drop the whole cookie beyond it
	maxLines        = 3 << 10              // our Set-Cookie lines together: a proxy's header buffer is 4 KB by default
	maxCookieHeader = 7 << 10              // the Cookie header to come: a server's line limit is 8 KB by default
	maxCookieAge    = 400 * 24 * time.Hour // browsers cap Max-Age there (RFC 6265bis section 5.5)
)

// Options say how the Stytch cookies are written: stytchmigrate.CookieOptions, with
// its defaults filled in.
type Options struct {
	SessionName, JWTName string
	Domain, Path         string
	SameSite             http.SameSite
	ReadableByScripts    bool
	Insecure             bool
	OldScopes            []Scope
}

// Scope is the Domain and Path of a cookie, as they were set. Empty:
// host-only, and "/".
type Scope struct{ Domain, Path string }

// Normal is s as a browser sees it.
func (s Scope) Normal() Scope {
	if s.Path == "" {
		s.Path = "/"
	}
	s.Domain = strings.ToLower(strings.TrimPrefix(s.Domain, "."))
	return s
}

// Old is the cookie of an old session. Several may have one name.
type Legacy struct {
	Name   string
	Also   []string // further cookies of that session, expired and hidden with it
	Scopes []Scope
}

// Names are all cookies of that session.
func (o *Legacy) Names() []string { return append([]string{o.Name}, o.Also...) }

// Browser is what there is to know of all browsers. It is read-only.
type Policy struct {
	opts   Options
	legacy []Legacy
}

// New returns a Browser for Stytch cookies as in o, and old ones, which are known by
// their index from here on.
func New(o Options, old []Legacy) *Policy { return &Policy{o, old} }

// Tokens are a Stytch session as a browser holds it.
type Tokens struct {
	Session, JWT redact.Secret
	Expires      time.Time // of the session, and so of both cookies
}

// Change is what becomes of the browser's cookies.
type Change struct {
	Set          *Tokens // Stytch cookies to set
	Clear        bool    // Stytch cookies to expire
	Expire       []int   // old cookies to expire
	Hide         bool    // hide those cookies from the handler whatever the method is
	Watch        bool    // the old cookie stays, and a handler that expires it logs out
	IgnoreLegacy bool    // no old session counts any more: nobody is asked whose it is
}

// None reports that no cookie changes.
func (ch *Change) None() bool { return ch.Set == nil && !ch.Clear && len(ch.Expire) == 0 }

// hides says whether the handler does without the cookie that is expired. The
// body of a POST may hold a token of the old session, which the handler checks
// against the cookie.
func (ch *Change) hides(r *http.Request) bool {
	return ch.Hide || r.Method == http.MethodGet || r.Method == http.MethodHead
}

// MayWrite says whether cookies may change in the response to r: in answer to
// a top-level navigation, or to a fetch of the same site that is not for a
// kind of thing that CDNs keep. Fetch Metadata decides (W3C, section 2), then
// Origin; a client that sends neither is no browser of today.
func (b *Policy) MayWrite(r *http.Request) bool {
	upgrade := r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect // RFC 8441 section 4
	if upgrade || !b.CoversHost(r) || !InPath(r.URL.Path, b.opts.Path) {
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
func (b *Policy) sameSiteOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false // "null" among them
	}
	return u.Host == r.Host || b.opts.Domain != "" && InDomain(u.Hostname(), b.opts.Domain)
}

// IsOurs reports whether the host of r is one that our cookies are for.
func (b *Policy) CoversHost(r *http.Request) bool { return InDomain(hostname(r.Host), b.opts.Domain) }

// InDomain is the domain match of RFC 6265 section 5.1.3.
func InDomain(host, domain string) bool {
	host, domain = strings.ToLower(host), strings.ToLower(strings.TrimPrefix(domain, "."))
	return domain == "" || host == domain ||
		strings.HasSuffix(host, "."+domain) && net.ParseIP(host) == nil
}

// InPath is the path match of RFC 6265 section 5.1.4. Where it fails, the browser
// would not send back what is set, and be without a session on this page.
func InPath(path, scope string) bool {
	rest, ok := strings.CutPrefix(path, scope)
	return ok && (rest == "" || strings.HasSuffix(scope, "/") || rest[0] == '/') || scope == "/"
}

// hostname keeps a trailing dot: to a browser that is another host, which is
// in no Domain without one. It would refuse the cookies that are set, but obey
// the deletion of one that is host-only.
func hostname(hostport string) string { return (&url.URL{Host: hostport}).Hostname() }

func (b *Policy) isStytch(name string) bool {
	return name == b.opts.SessionName || name == b.opts.JWTName
}

func (b *Policy) isLegacy(name string) bool {
	return slices.ContainsFunc(b.legacy, func(o Legacy) bool { return slices.Contains(o.Names(), name) })
}

// HasPrefixFold is for the name prefixes of RFC 6265bis section 4.1.3.
func HasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
