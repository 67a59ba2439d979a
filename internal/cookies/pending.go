package cookies

import (
	"errors"
	"net/http"
	"slices"
	"sync"
)

// Pending holds the Set-Cookie lines of one response until its final header goes out.
// Until then the handler may still change what they have to be: by a logout, by a
// sign-in of its own, or by a panic. Make it by [Policy.Prepare]. Several goroutines may
// use it, as they may a ResponseWriter: calls that touch the header must not overlap.
type Pending struct {
	policy  *Policy
	handler Handler
	tunnel  bool // the request asks for a tunnel: CONNECT, also by RFC 8441

	mu        sync.Mutex // guards the rest: httputil.ReverseProxy flushes from a goroutine of its own
	plan      plan
	loggedOut bool    // LogOut was called last
	signIn    *SignIn // SignIn was called last
	committed bool
	postponed bool // the handler's header left no room for the lines
	action    Action
}

// Prepare prepares a change. It returns the response's part, and the request for the
// handler: its cookies are those that the browser's next request will have, if the
// response has room for them. A handshake keeps the cookies that it has.
func (p *Policy) Prepare(r *http.Request, ch *Change, h Handler) (*Pending, *http.Request) {
	pd := &Pending{policy: p, handler: h, tunnel: r.Method == http.MethodConnect}
	if ch.IsNothing() {
		return pd, r
	}
	var cookieHeader string
	pd.plan, cookieHeader = p.plan(r, ch)
	if isHandshake(r) && !ch.Hide && len(ch.Conceal) == 0 {
		return pd, r
	}
	next := *r
	next.Header = r.Header.Clone()
	next.Header.Del("Cookie")
	if cookieHeader != "" {
		next.Header.Set("Cookie", cookieHeader)
	}
	return pd, &next
}

// Commit writes the lines to the header of w, once. Call it before the final header
// goes out.
func (pd *Pending) Commit(w http.ResponseWriter) { pd.commit(w, http.StatusOK) }

// commit is Commit of a response with that status.
func (pd *Pending) commit(w http.ResponseWriter, status int) {
	if pd.isCommitted() { // before w.Header(), of which net/http would make a copy for each write
		return
	}
	if status == http.StatusSwitchingProtocols || pd.tunnel && status < 300 {
		pd.leaveAlone()
		return
	}
	h := w.Header()
	handlerCookies := pd.policy.sessionCookiesOf(h)
	cleared := clearsCookies(h)
	action := pd.handlerAction(handlerCookies, cleared, status) // runs code of the application, so not under the lock
	ended, logoutLines := pd.hasEnded(), pd.logoutLines(action)

	pd.mu.Lock()
	defer pd.mu.Unlock()
	if pd.committed {
		return
	}
	pd.committed = true
	switch {
	case pd.loggedOut || pd.signIn != nil: // that has replaced the lines, and the sessions before have ended already
		action = NoAction
	case cleared && pd.handler.Session:
		action = LoggedOut
	}
	switch {
	case pd.loggedOut:
	case action == Overruled, ended: // the response of that other logout has expired what the browser held
		pd.plan = plan{}
	case action == LoggedOut:
		pd.plan = plan{lines: logoutLines()}
	case cleared && pd.plan.sets: // the browser would drop the new cookies, too
		pd.plan = plan{}
	case pd.signIn != nil:
		pd.plan = pd.policy.withoutSignIn(pd.plan, handlerCookies)
	}
	pd.action = action
	lines := pd.plan.within(h, handlerCookies)
	pd.postponed = lines == nil && len(pd.plan.lines) > 0
	writeCookies(h, lines)
	if len(handlerCookies) > 0 {
		noStore(h)
	}
}

// hasEnded reports whether the session that the lines set has ended meanwhile.
func (pd *Pending) hasEnded() bool {
	pd.mu.Lock()
	ended := pd.handler.Ended
	if pd.signIn != nil {
		ended = pd.signIn.Ended
	}
	pd.mu.Unlock()
	return ended != nil && ended()
}

// logoutLines returns what makes the lines of a logout by the handler.
func (pd *Pending) logoutLines(action Action) func() []*http.Cookie {
	if action == LoggedOut && pd.handler.Replaced != nil && pd.handler.Replaced() {
		return pd.policy.clearLegacies
	}
	return pd.policy.clearAll
}

// leaveAlone makes Commit do nothing from now on.
func (pd *Pending) leaveAlone() {
	pd.mu.Lock()
	defer pd.mu.Unlock()
	pd.committed = true
}

// Finish is Commit for a handler that has returned. Then it asks Gone, unless a session
// cookie on the response says what became of the session. A middleware outside of this one
// has set its own by now, if the handler wrote anything.
func (pd *Pending) Finish(w http.ResponseWriter) {
	pd.Commit(w)
	if pd.handler.Gone == nil || !pd.mayBeGone() || pd.savesSession(w.Header()) || !pd.handler.Gone() {
		return
	}
	pd.mu.Lock()
	defer pd.mu.Unlock()
	pd.action = LoggedOut
}

// mayBeGone reports whether nothing in the handler's header said what became of the
// session.
func (pd *Pending) mayBeGone() bool {
	pd.mu.Lock()
	defer pd.mu.Unlock()
	return pd.action == NoAction && !pd.loggedOut && pd.signIn == nil
}

// savesSession reports whether a legacy cookie on the response has a session in it.
func (pd *Pending) savesSession(h http.Header) bool {
	return slices.ContainsFunc(pd.policy.sessionCookiesOf(h), func(c *http.Cookie) bool {
		return !pd.policy.isStytch(c.Name) && pd.classify(c) != NoAction
	})
}

func (pd *Pending) isCommitted() bool {
	pd.mu.Lock()
	defer pd.mu.Unlock()
	return pd.committed
}

// Postponed reports that the handler's header left no room for the lines, so that they
// wait for another response.
func (pd *Pending) Postponed() bool {
	pd.mu.Lock()
	defer pd.mu.Unlock()
	return pd.postponed
}

// Action returns what the handler did about the user's session. It is NoAction before
// Commit.
func (pd *Pending) Action() Action {
	pd.mu.Lock()
	defer pd.mu.Unlock()
	return pd.action
}

var errTooLate = errors.New("stytchmigrate: Logout after the response began: cookies were not cleared")

// LogOut expires the cookies of all sessions: at once in h, or, where pending is not
// nil, in place of the lines in it. r is the request with the cookies that the
// browser sent.
func (p *Policy) LogOut(h http.Header, r *http.Request, pending *Pending) error {
	lines := p.clearAll()
	p.dropEnded(h, r)
	if pending == nil {
		writeCookies(h, withoutOverridden(lines, p.sessionCookiesOf(h)))
		return nil
	}
	pending.mu.Lock()
	defer pending.mu.Unlock()
	if pending.committed {
		return errTooLate
	}
	pending.plan, pending.loggedOut, pending.signIn = plan{lines: lines}, true, nil
	return nil
}

// dropEnded takes the cookies of the ended sessions out of what was set on a response
// so far: the Stytch cookies, and the legacy cookie of r where it was saved again, as
// middlewares do that extend a session at each request.
func (p *Policy) dropEnded(h http.Header, r *http.Request) {
	kept := slices.DeleteFunc(fieldLines(h, "Set-Cookie"), func(line string) bool {
		c := parseSetCookie(line)
		savedAgain := func(old *http.Cookie) bool { return old.Value == c.Value }
		return p.isStytch(c.Name) ||
			c.Value != "" && p.isLegacy(c.Name) && slices.ContainsFunc(r.CookiesNamed(c.Name), savedAgain)
	})
	setField(h, "Set-Cookie", kept)
}

// withoutOverridden drops the lines that expire what the handler itself set.
func withoutOverridden(lines, handlerCookies []*http.Cookie) []*http.Cookie {
	return slices.DeleteFunc(slices.Clone(lines), func(c *http.Cookie) bool {
		return slices.ContainsFunc(handlerCookies, func(set *http.Cookie) bool { return set.Name == c.Name && !isExpired(set) })
	})
}
