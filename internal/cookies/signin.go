package cookies

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// SignIn is what a sign-in in a handler does to the browser's cookies.
type SignIn struct {
	Set    Tokens
	Expire []int // expire these legacy cookies

	// Ended reports whether the session was ended before the lines go out. It runs under
	// no lock.
	Ended func() bool
}

// The errors of SignIn. It changes nothing then.
var (
	errSignInTooLate = errors.New("stytchmigrate: SignIn after the response began: no cookie was set")
	errSignInCleared = errors.New("stytchmigrate: SignIn on a response with Clear-Site-Data: the browser would drop the cookies")
)

// CanSignIn returns why no sign-in can set cookies on a response any more, or nil.
func (p *Policy) CanSignIn(h http.Header, pending *Pending) error {
	switch {
	case pending != nil && pending.isCommitted():
		return errSignInTooLate
	case clearsCookies(h):
		return errSignInCleared
	}
	return nil
}

// SignIn sets the Stytch cookies and expires legacy cookies: at once in h, or, where
// pending is not nil, in place of the lines in it. It also takes back what LogOut did
// to the Stytch cookies of the same response. r is the request with the cookies that
// the browser sent.
//
// The lines are written whatever room the header has, because no later response could
// write them. If the JWT has no room, it is left out.
func (p *Policy) SignIn(h http.Header, r *http.Request, pending *Pending, in SignIn) error {
	pl, _ := p.plan(r, &Change{Set: &in.Set, Expire: in.Expire})
	pl.canWait = false
	if pending == nil {
		p.dropEnded(h, r)
		writeCookies(h, pl.within(h, p.sessionCookiesOf(h)))
		return nil
	}
	pending.mu.Lock()
	defer pending.mu.Unlock()
	if pending.committed {
		return errSignInTooLate
	}
	p.dropEnded(h, r)
	pending.plan, pending.loggedOut, pending.signIn = pl, false, &in
	return nil
}

// withoutSignIn drops the lines that set a Stytch cookie, if the handler has expired one
// since: then it has changed its mind about the sign-in.
func (p *Policy) withoutSignIn(pl plan, handlerCookies []*http.Cookie) plan {
	expired := slices.ContainsFunc(handlerCookies, func(c *http.Cookie) bool { return p.isStytch(c.Name) && isExpired(c) })
	if !expired {
		return pl
	}
	return plan{lines: slices.DeleteFunc(slices.Clone(pl.lines), func(c *http.Cookie) bool { return !isExpired(c) })}
}

// Planned returns the opaque tokens that a response is about to set: those in h, and
// those in pending, which may be nil.
func (p *Policy) Planned(h http.Header, pending *Pending) (tokens []string) {
	set := p.sessionCookiesOf(h)
	if pending != nil {
		pending.mu.Lock()
		set = append(set, pending.plan.lines...)
		pending.mu.Unlock()
	}
	for _, c := range set {
		if c.Name == p.opts.SessionName && !isExpired(c) && c.Value != "" && !slices.Contains(tokens, c.Value) {
			tokens = append(tokens, c.Value)
		}
	}
	return tokens
}

// CoversPath reports whether a browser brings the Stytch cookies to the path of r. A
// router may have cut a prefix off URL.Path; RequestURI still has it.
func (p *Policy) CoversPath(r *http.Request) bool {
	if PathMatch(r.URL.Path, p.opts.Path) {
		return true
	}
	u, err := url.ParseRequestURI(r.RequestURI)
	return err == nil && PathMatch(u.Path, p.opts.Path)
}
