package check

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"example.com/stytchmigrate/internal/cookies"
)

const (
	usualToken = 44   // bytes, of stytch_session
	usualJWT   = 1000 // bytes, of a session JWT without custom claims
)

// judgeCookies finds settings that New accepts because some application may need
// them, and that browsers most likely refuse.
func (c *check) judgeCookies() {
	o := &c.Cookies
	live := strings.HasPrefix(c.ProjectID, "project-live-")
	c.Add(o.Insecure && live, "Cookies.Insecure: ProjectID is a live project's, whose sessions would be sent over plain HTTP too; serve HTTPS, and leave it out")
	c.judgeDomain("Cookies", o.Domain)
	for i, s := range o.OldScopes {
		c.judgeScope(fmt.Sprintf("Cookies.OldScopes[%d]", i), s)
	}
	for i := range c.Legacy {
		c.judgeLegacy(fmt.Sprintf("Legacy[%d]", i), &c.Legacy[i])
	}
	c.judgeRoom()
}

func (c *check) judgeLegacy(field string, l *cookies.Legacy) {
	for i, s := range l.Scopes {
		c.judgeScope(fmt.Sprintf("%s.Scopes[%d]", field, i), s)
	}
	overlaps := func(s cookies.Scope) bool { return pathsOverlap(s.Normal().Path, c.Cookies.Path) }
	c.Add(len(l.Scopes) > 0 && !slices.ContainsFunc(l.Scopes, overlaps),
		"%s.Scopes: no Path is in Cookies.Path %q, or above it: no request that brings the cookie may be answered with the new ones, and nobody moves; set Cookies.Path to one that holds both", field, c.Cookies.Path)
	for _, name := range l.Names() {
		c.Add(cookies.DemandsOf(name).Secure && c.Cookies.Insecure, "%s: cookie %q is expired over HTTPS only, and Cookies.Insecure is for plain HTTP: it would stay; serve HTTPS, and leave Insecure out", field, name)
	}
}

// pathsOverlap reports whether a request can be inside both paths.
func pathsOverlap(a, b string) bool { return cookies.PathMatch(a, b) || cookies.PathMatch(b, a) }

// judgeScope finds a scope in which no response can expire a cookie: a server may set
// Domain only to its own host or to a domain above that (RFC 6265 section 5.3, step 6).
func (c *check) judgeScope(field string, s cookies.Scope) {
	c.judgeDomain(field, s.Domain)
	ours, theirs := c.Cookies.Domain, s.Normal().Domain
	c.Add(ours != "" && theirs != "" && !cookies.DomainMatch(theirs, ours) && !cookies.DomainMatch(ours, theirs),
		"%s: Domain %q: no page in Cookies.Domain %q may expire a cookie there, and it stays; take the scope out, or correct one of the two", field, s.Domain, ours)
}

func (c *check) judgeDomain(field, domain string) {
	c.Add(net.ParseIP(strings.Trim(domain, ".")) != nil, "%s: Domain %q: is an address, for which not every browser keeps a cookie; leave Domain empty", field, domain)
}

// judgeRoom finds settings with which a response never has room for the JWT's cookie.
func (c *check) judgeRoom() {
	const effect = "leave no room for the JWT's cookie in a response, and requests wait for Stytch; name fewer scopes, and shorter"
	fits := func(old int) bool { return c.Policy.HasRoom(old, usualToken, usualJWT, c.SessionDuration) }
	if !fits(-1) {
		c.Add(true, "Cookies: the names and OldScopes %s", effect)
		return
	}
	for i := range c.Legacy {
		c.Add(!fits(i), "Legacy[%d]: its names and Scopes, with Cookies.OldScopes, %s", i, effect)
	}
}
