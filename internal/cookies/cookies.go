// Package cookies is the browser's side of a request and its response. It reads the
// session cookies of a request, and decides which Set-Cookie lines set and expire
// them. It knows the names and the values of cookies, and not whose sessions they are.
//
// A request goes through it in this order:
//
//   - [Policy.ReadFast] or [Policy.Read] reads the Cookie header.
//   - [Policy.MayWrite] tells whether the response may change cookies.
//   - [Policy.Prepare] turns a [Change] into Set-Cookie lines, and into the Cookie
//     header that the handler sees.
//   - [Pending.Wrap] and [Pending.Commit] write the lines with the final header,
//     unless the handler's own Set-Cookie lines say otherwise (handler.go).
//
// The terms are those of RFC 6265 and of its successor, the draft RFC 6265bis.
package cookies

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/redact"
)

// Options says how the Stytch cookies are written: stytchmigrate.CookieOptions, with
// its defaults filled in.
type Options struct {
	SessionName, JWTName string
	Domain, Path         string
	SameSite             http.SameSite
	ReadableByScripts    bool
	Insecure             bool
	OldScopes            []Scope
}

// Scope is the Domain and the Path of a cookie, as the application set them. The zero
// value is a host-only cookie with Path=/. A browser holds one cookie for each name
// and scope (RFC 6265 section 5.3, step 11).
type Scope struct{ Domain, Path string }

// Normal returns s as a browser sees it, so that two equal scopes compare as equal.
func (s Scope) Normal() Scope {
	if s.Path == "" {
		s.Path = "/"
	}
	s.Domain = strings.ToLower(strings.TrimPrefix(s.Domain, "."))
	return s
}

// Legacy describes the cookie of a legacy session. Two of them may have one Name: they
// read one cookie, in the formats of before and after a change of the application.
type Legacy struct {
	Name   string
	Also   []string // further cookies of that session, expired and hidden with it
	Scopes []Scope  // where they were set; empty: host-only, Path=/
}

// Names returns the names of all cookies of that session.
func (l *Legacy) Names() []string { return append([]string{l.Name}, l.Also...) }

func (l *Legacy) hasName(name string) bool { return name == l.Name || slices.Contains(l.Also, name) }

// Policy is the names and the attributes of all session cookies. Make it by [New]; the
// zero value knows no cookie. It is read-only, and so any number of requests use it
// at once.
type Policy struct {
	opts   Options
	legacy []Legacy
}

// New returns the Policy for Stytch cookies as in o, and for the legacy cookies. From
// here on a legacy cookie is known by its index in that list.
func New(o Options, legacy []Legacy) *Policy { return &Policy{o, legacy} }

func (p *Policy) isStytch(name string) bool {
	return name == p.opts.SessionName || name == p.opts.JWTName
}

func (p *Policy) isLegacy(name string) bool {
	return slices.ContainsFunc(p.legacy, func(l Legacy) bool { return l.hasName(name) })
}

// Tokens are the two tokens of a Stytch session, as a browser holds them.
type Tokens struct {
	Session, JWT redact.Secret
	Expires      time.Time // of the session, and so of both cookies

	UntilBrowserCloses bool // both cookies go when the browser is closed
}

// Change is what one response does to the browser's cookies. The zero value does
// nothing. It belongs to one request.
type Change struct {
	Set     *Tokens // set the Stytch cookies; nil: they stay
	Clear   bool    // expire the Stytch cookies, where Set is nil
	Expire  []int   // expire these legacy cookies
	Hide    bool    // hide the cookies of Expire from the handler, whatever the method is
	Conceal []int   // hide these legacy cookies from the handler; the browser keeps them
	Watch   bool    // the legacy cookie stays, and a handler that expires it has logged the user out
}

// IsNothing reports that no cookie changes, in the browser or in the handler's request.
func (ch *Change) IsNothing() bool { return ch.None() && !ch.Hide && len(ch.Conceal) == 0 }

// None reports that no cookie changes in the browser.
func (ch *Change) None() bool { return ch.Set == nil && !ch.Clear && len(ch.Expire) == 0 }

// Shows reports whether the handler sees the legacy cookie of the session that ch is
// about.
func (ch *Change) Shows(r *http.Request) bool { return ch.Watch || !ch.hides(r) }

// hides reports whether the cookies of Expire are taken out of the handler's request.
// A POST keeps them: its body may hold a CSRF token of the legacy session, which the
// handler compares with the cookie. A handshake keeps them, because no cookie changes
// if its connection is switched.
func (ch *Change) hides(r *http.Request) bool {
	return ch.Hide || !isHandshake(r) && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// isHandshake reports a request whose handler most likely switches protocols: of a
// WebSocket (RFC 6455 section 4.1, RFC 8441 section 4), or for a tunnel.
func isHandshake(r *http.Request) bool {
	for _, line := range r.Header["Upgrade"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), "websocket") {
				return true
			}
		}
	}
	return r.Method == http.MethodConnect
}
