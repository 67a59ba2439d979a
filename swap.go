package stytchmigrate

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokens are a Stytch session as a browser holds it.
type tokens struct {
	session, jwt Secret
	expires      time.Time // of the session, and so of both cookies
}

// change is what a verdict asks of the browser's cookies.
type change struct {
	set    *tokens         // Stytch cookies to set
	clear  bool            // Stytch cookies to expire
	expire []*LegacyCookie // legacy cookies to expire
	strip  bool            // hide those cookies from the handler whatever the method is
	watch  bool            // the legacy cookie stays, and a handler that expires it logs out
	over   bool            // no legacy session counts any more: Resolve is not asked
}

func (ch change) none() bool { return ch.set == nil && !ch.clear && len(ch.expire) == 0 }

// hides says whether the handler does without the cookie that is expired. The
// body of a POST may hold a token of the old session, which the handler checks
// against the cookie.
func (ch change) hides(r *http.Request) bool {
	return ch.strip || r.Method == http.MethodGet || r.Method == http.MethodHead
}

// swap holds the Set-Cookie lines of one response until its final header goes
// out. Until then the handler may still change what they ought to be: by
// Logout, by a login of its own, by panicking.
type swap struct {
	browser *browser
	request *http.Request // as the browser sent it
	legacy  *foundLegacy  // the session that moved to Stytch, or nil
	shown   bool          // the handler sees its cookie
	kept    bool          // and so does the browser
	over    bool          // no legacy cookie that the handler sets signs anybody in
	ended   func() bool   // another request has logged the session out

	mu     sync.Mutex // ReverseProxy flushes from a goroutine of its own
	lines  []*http.Cookie
	logout bool
	done   bool
	word   word
}

// word is what the handler's own Set-Cookie lines say about the change.
type word int

const (
	nothing   word = iota
	saved          // a session of the same person stays, under whatever name
	userLeft       // the handler saw the cookie of the session that moved, or stays, and left no session in it: an old logout
	overruled      // somebody signed in, or the handler manages the Stytch cookies itself
)

// swap prepares the change that a verdict asks for: of the response, and of
// the request that is passed on, whose cookies are what the next one's will be.
func (b *browser) swap(r *http.Request, c *requestCookies, v *verdict) (*swap, *http.Request) {
	s := &swap{browser: b, request: r, kept: v.change.watch, over: v.change.over, ended: func() bool { return false }}
	if s.kept || len(v.change.expire) > 0 && v.session != nil {
		s.legacy, s.shown = v.legacy, v.legacy != nil && (s.kept || !v.change.hides(r))
	}
	if s.kept && v.change.none() {
		return s, r
	}
	lines, passedOn := b.plan(r, c, v.change)
	next := *r
	next.Header = r.Header.Clone()
	next.Header.Del("Cookie")
	if passedOn != "" {
		next.Header.Set("Cookie", passedOn)
	}
	s.lines = lines
	return s, &next
}

// commit writes the lines, once.
func (s *swap) commit(w http.ResponseWriter) {
	s.mu.Lock()
	done := s.done
	s.mu.Unlock()
	if done { // without a look at the header, of which net/http would make a copy for each write
		return
	}
	h := w.Header()
	theirs := s.browser.setBy(h)
	said := s.listen(theirs) // runs Resolve, so not under the lock
	ended := s.ended()

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return
	}
	s.done = true
	switch {
	case s.logout:
		said = nothing // more than that: all is ended already
	case said == overruled, ended: // the Logout's own response cleared what there was then
		s.lines = nil
	case said == userLeft:
		s.lines = s.browser.clearAll()
	}
	s.word = said
	writeCookies(h, yield(s.lines, theirs))
	if len(theirs) > 0 {
		noStore(h)
	}
}

// said is what the handler had to say; nothing, before it has answered.
func (s *swap) said() word {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.word
}

// listen finds out whether the handler's own cookies overrule the change. A
// handler that sets a legacy cookie has signed somebody in, and one that touches
// a Stytch cookie manages these itself. Either withdraws the whole change, and
// the next request is judged by what the browser then holds. Of several lines the
// last one for a scope counts, as it does to the browser.
func (s *swap) listen(theirs []*http.Cookie) word {
	type place struct {
		name  string
		scope CookieScope
	}
	last := map[place]word{}
	for _, c := range theirs {
		w := s.hear(c)
		if w == overruled {
			return w
		}
		last[place{c.Name, CookieScope{c.Domain, c.Path}.normal()}] = w
	}
	said := nothing
	for _, w := range last {
		switch w {
		case saved: // a cookie that moves is cleared where it was, and one that is renamed too
			return nothing
		case userLeft:
			said = w
		}
	}
	return said
}

// hear is listen for one cookie. A legacy cookie that the handler set puts an end
// to the session that came with the request, unless it is that very session, saved
// again. Without a session in it, it is a logout if the handler saw who it is that
// it gives a visitor's cookie, an expired or an empty one. If it did not, it took
// the user for a new visitor: sites that give each of those a cookie would lose
// everybody who moves.
func (s *swap) hear(c *http.Cookie) word {
	said := nothing
	switch {
	case s.browser.isStytch(c.Name):
		return overruled
	case s.shown && c.Name == s.legacy.cookie.Name:
		said = userLeft
	}
	if s.over || c.MaxAge < 0 || c.Value == "" { // or nothing that anybody could read
		return said
	}
	for i := range s.browser.legacy {
		if s.browser.legacy[i].Name != c.Name {
			continue
		}
		f, several, err := s.browser.legacy[i].find(s.request, []string{c.Value})
		switch {
		case err != nil || several || f != nil && !s.hasMoved(f):
			return overruled
		case f != nil:
			said = saved
		}
	}
	return said
}

func (s *swap) hasMoved(f *foundLegacy) bool {
	if s.legacy == nil {
		return false
	}
	a, b := f.session, s.legacy.session
	// Beside a cookie that stays, a session of another ID is the person's still:
	// where ID is not given, each cookie that is saved again has one of its own.
	if s.kept && a.Identity.Subject != "" && a.Identity.Subject == b.Identity.Subject {
		return true
	}
	return a.ID == b.ID && a.Identity.Subject == b.Identity.Subject && a.StartedAt.Equal(b.StartedAt)
}

var errTooLate = errors.New("stytchmigrate: Logout after the response began: cookies were not cleared")

// replace puts the lines of a logout in place of what was pending.
func (s *swap) replace(lines []*http.Cookie) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		return errTooLate
	}
	s.lines, s.logout = lines, true
	return nil
}

// yield drops the deletion of what the handler itself set.
func yield(lines, theirs []*http.Cookie) []*http.Cookie {
	return slices.DeleteFunc(slices.Clone(lines), func(c *http.Cookie) bool {
		return slices.ContainsFunc(theirs, func(t *http.Cookie) bool { return t.Name == c.Name && t.MaxAge >= 0 })
	})
}

// setBy returns the session cookies, Stytch's and legacy, that a handler set or
// expired (MaxAge below zero) so far.
func (b *browser) setBy(h http.Header) (out []*http.Cookie) {
	for _, line := range h["Set-Cookie"] {
		c := parseSetCookie(line)
		if b.isStytch(c.Name) || b.isLegacy(c.Name) {
			out = append(out, c)
		}
	}
	return out
}

func (b *browser) isStytch(name string) bool {
	return name == b.opts.SessionName || name == b.opts.JWTName
}

func (b *browser) isLegacy(name string) bool {
	return slices.ContainsFunc(b.legacy, func(l LegacyCookie) bool { return slices.Contains(l.names(), name) })
}

// dropEnded takes out of what was set on a response so far what a logout means
// too: the Stytch cookies, and the legacy cookie of the request saved again, as
// middlewares do that extend a session at each request.
func (b *browser) dropEnded(h http.Header, r *http.Request) {
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
