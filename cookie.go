package stytchmigrate

import (
	"net/http"

	"example.com/stytchmigrate/internal/browser"
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

func (s CookieScope) normal() browser.Scope { return browser.Scope(s).Normal() }

func scopesOf(list []CookieScope) (out []browser.Scope) {
	for _, s := range list {
		out = append(out, browser.Scope(s))
	}
	return out
}

func (o *CookieOptions) options() browser.Options {
	return browser.Options{
		SessionName: o.SessionName, JWTName: o.JWTName, Domain: o.Domain, Path: o.Path, SameSite: o.SameSite,
		ReadableByScripts: o.ReadableByScripts, Insecure: o.Insecure, OldScopes: scopesOf(o.OldScopes),
	}
}

func (c *Config) old() []browser.Old {
	old := make([]browser.Old, len(c.Legacy))
	for i, l := range c.Legacy {
		old[i] = browser.Old{Name: l.Name, Also: l.Also, Scopes: scopesOf(l.Scopes)}
	}
	return old
}
