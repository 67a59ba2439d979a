package cookies

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Word is what the handler's own Set-Cookie lines say about a change.
type Action int

const (
	NoAction  Action = iota
	Renewed          // a session of the same person stays, under whatever name
	LoggedOut        // the handler saw the cookie of the session that moved, or stays, and left no session in it: an old logout
	Overruled        // somebody signed in, or the handler manages the Stytch cookies itself
)

// Handler is what there is to know of a handler whose cookies are listened to.
type Handler struct {
	// Shown is the old cookie that it sees, of the session that moves or stays, and so
	// may log out of; -1: none.
	Shown int

	// Judge tells what a value of an old cookie means that it sets: Nothing where no
	// session is in it, Saved, or Overruled.
	Classify func(old int, value string) Action

	// Ended reports whether another request has logged the session out. Nil: there is
	// none to log out.
	Ended func() bool
}

// Swap holds the Set-Cookie lines of one response until its final header goes
// out. Until then the handler may still change what they ought to be: by
// a logout, by a login of its own, by panicking.
type Pending struct {
	policy       *Policy
	handler      Handler
	ignoreLegacy bool // no old cookie that the handler sets signs anybody in

	mu     sync.Mutex // ReverseProxy flushes from a goroutine of its own
	lines  []*http.Cookie
	logout bool
	done   bool
	action Action
}

// Prepare prepares a change: of the response, and of the request that is passed on,
// whose cookies are what the next one's will be.
func (b *Policy) Prepare(r *http.Request, ch *Change, h Handler) (*Pending, *http.Request) {
	s := &Pending{policy: b, handler: h, ignoreLegacy: ch.IgnoreLegacy}
	if ch.Watch && ch.None() {
		return s, r
	}
	lines, passedOn := b.plan(r, ch)
	next := *r
	next.Header = r.Header.Clone()
	next.Header.Del("Cookie")
	if passedOn != "" {
		next.Header.Set("Cookie", passedOn)
	}
	s.lines = lines
	return s, &next
}

// Shows reports whether the handler sees the old cookie of a session to which a
// change comes: it does unless that cookie is taken out of the request.
func (ch *Change) Shows(r *http.Request) bool { return ch.Watch || !ch.hides(r) }

// Commit writes the lines, once.
func (s *Pending) Commit(w http.ResponseWriter) {
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	if done { // without a look at the header, of which net/http would make a copy for each write
		return
	}
	h := w.Header()
	theirs := s.policy.setBy(h)
	said := s.handlerAction(theirs) // runs the application's code, so not under the lock
	ended := s.handler.Ended != nil && s.handler.Ended()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	s.done = true
	switch {
	case s.logout:
		said = NoAction // more than that: all is ended already
	case said == Overruled, ended: // the logout's own response cleared what there was then
		s.lines = nil
	case said == LoggedOut:
		s.lines = s.policy.clearAll()
	}
	s.action = said
	writeCookies(h, withoutOverridden(s.lines, theirs))
	if len(theirs) > 0 {
		noStore(h)
	}
}

// Said is what the handler had to say; Nothing, before it has answered.
func (s *Pending) Action() Action {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.action
}

// listen finds out whether the handler's own cookies overrule the change. A
// handler that sets an old cookie has signed somebody in, and one that touches
// a Stytch cookie manages these itself. Either withdraws the whole change, and
// the next request is judged by what the browser then holds. Of several lines the
// last one for a scope counts, as it does to the browser.
func (s *Pending) handlerAction(theirs []*http.Cookie) Action {
	type place struct {
		name  string
		scope Scope
	}
	last := map[place]Action{}
	for _, c := range theirs {
		w := s.actionOf(c)
		if w == Overruled {
			return w
		}
		last[place{c.Name, Scope{c.Domain, c.Path}.Normal()}] = w
	}
	said := NoAction
	for _, w := range last {
		switch w {
		case Renewed: // a cookie that moves is cleared where it was, and one that is renamed too
			return NoAction
		case LoggedOut:
			said = w
		}
	}
	return said
}

// hear is listen for one cookie. An old cookie that the handler set puts an end
// to the session that came with the request, unless it is that very session, saved
// again. Without a session in it, it is a logout if the handler saw who it is that
// it gives a visitor's cookie, an expired or an empty one. If it did not, it took
// the user for a new visitor: sites that give each of those a cookie would lose
// everybody who moves.
func (s *Pending) actionOf(c *http.Cookie) Action {
	said := NoAction
	switch shown := s.handler.Shown; {
	case s.policy.isStytch(c.Name):
		return Overruled
	case shown >= 0 && c.Name == s.policy.legacy[shown].Name:
		said = LoggedOut
	}
	if s.ignoreLegacy || c.MaxAge < 0 || c.Value == "" { // or nothing that anybody could read
		return said
	}
	for i := range s.policy.legacy {
		if s.policy.legacy[i].Name != c.Name {
			continue
		}
		switch s.handler.Classify(i, c.Value) {
		case Overruled:
			return Overruled
		case Renewed:
			said = Renewed
		}
	}
	return said
}

var errTooLate = errors.New("stytchmigrate: Logout after the response began: cookies were not cleared")

// LogOut expires every cookie of every session: in place of whatever is pending in
// s, or, where that is nil, at once.
func (b *Policy) LogOut(h http.Header, r *http.Request, s *Pending) error {
	lines := b.clearAll()
	b.dropEnded(h, r)
	if s == nil {
		writeCookies(h, withoutOverridden(lines, b.setBy(h)))
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return errTooLate
	}
	s.lines, s.logout = lines, true
	return nil
}

// yield drops the deletion of what the handler itself set.
func withoutOverridden(lines, theirs []*http.Cookie) []*http.Cookie {
	return slices.DeleteFunc(slices.Clone(lines), func(c *http.Cookie) bool {
		return slices.ContainsFunc(theirs, func(t *http.Cookie) bool { return t.Name == c.Name && t.MaxAge >= 0 })
	})
}

// setBy returns the session cookies, Stytch's and old, that a handler set or
// expired (MaxAge below zero) so far.
func (b *Policy) setBy(h http.Header) (out []*http.Cookie) {
	for _, line := range h["Set-Cookie"] {
		c := parseSetCookie(line)
		if b.isStytch(c.Name) || b.isLegacy(c.Name) {
			out = append(out, c)
		}
	}
	return out
}

// dropEnded takes out of what was set on a response so far what a logout means
// too: the Stytch cookies, and the old cookie of the request saved again, as
// middlewares do that extend a session at each request.
func (b *Policy) dropEnded(h http.Header, r *http.Request) {
	kept := slices.DeleteFunc(slices.Clone(h["Set-Cookie"]), func(line string) bool {
		c := parseSetCookie(line)
		if b.isStytch(c.Name) {
			return true
		}
		return c.Value != "" && b.isLegacy(c.Name) && slices.ContainsFunc(r.CookiesNamed(c.Name), func(old *http.Cookie) bool {
			return old.Value == c.Value
		})
	})
	if len(kept) == 0 {
		h.Del("Set-Cookie")
		return
	}
	h["Set-Cookie"] = kept
}

// parseSetCookie never fails: of a line that net/http can't read the name is
// enough. A cookie that the line expires has a MaxAge below zero.
func parseSetCookie(line string) *http.Cookie {
	c, err := http.ParseSetCookie(line)
	if err != nil {
		name, _, _ := strings.Cut(line, "=")
		return &http.Cookie{Name: strings.TrimSpace(name)}
	}
	if c.RawExpires != "" && c.Expires.IsZero() { // net/http reads two forms; old servers have more, and browsers read them
		for _, form := range [...]string{time.RFC850, "Mon, 02-Jan-06 15:04:05 MST", "Mon, 2 Jan 2006 15:04:05 MST", time.ANSIC} {
			if at, err := time.Parse(form, c.RawExpires); err == nil {
				c.Expires = at
			}
		}
	}
	if c.MaxAge == 0 && !c.Expires.IsZero() && c.Expires.Before(time.Now()) {
		c.MaxAge = -1
	}
	return c
}

// writeCookies adds the lines, those that are there already excepted.
func writeCookies(h http.Header, lines []*http.Cookie) {
	for _, c := range lines {
		if line := c.String(); !slices.Contains(h["Set-Cookie"], line) {
			h.Add("Set-Cookie", line)
		}
	}
	if len(lines) > 0 {
		noStore(h)
	}
}

// noStore keeps caches away from a response: by its own header, and by those
// that CDNs and proxies read in its place (RFC 9213), however they are spelt.
func noStore(h http.Header) {
	for name := range h {
		canonical := http.CanonicalHeaderKey(name)
		if canonical == "Cache-Control" || strings.HasSuffix(canonical, "-Cache-Control") ||
			canonical == "Surrogate-Control" || canonical == "X-Accel-Expires" {
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
}
