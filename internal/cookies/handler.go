package cookies

import (
	"iter"
	"maps"
	"net/http"
	"slices"
)

// Action is what the handler's own Set-Cookie lines do about the user's session. The
// zero value is NoAction.
type Action int

const (
	NoAction  Action = iota // nothing, or a cookie that no session is in
	Renewed                 // it saved the session that counts again, under whatever name and scope
	LoggedOut               // it logged the user out by code from before the migration
	Overruled               // it signed a user in, or manages the Stytch cookies itself
	Unheard                 // it may have logged the user out: see Handler.AbsentMeans
)

// Handler says how to judge the Set-Cookie lines of a handler. It belongs to one
// request. Its functions run in the goroutine that commits, under no lock. Set Shown:
// its zero value is the first legacy cookie.
type Handler struct {
	// Shown is the legacy cookie that the handler saw of the session that moves or
	// stays, and so may log out of; -1: none.
	Shown int

	// Session reports that the request has a legacy session that moves or stays. A
	// handler that sends Clear-Site-Data has logged it out, seen or not: browsers drop
	// its cookie.
	Session bool

	// Absent is the names of legacy cookies that the handler did not see, of a request with
	// a Stytch session. A logout by code from before the migration expires them all the
	// same. AbsentMeans is what that is: LoggedOut or Unheard. An application may also
	// expire a cookie that did not come for another reason.
	Absent      []string
	AbsentMeans Action

	// Classify says which session is in a value that the handler set for a legacy
	// cookie: NoAction for no session, Renewed for the one that moves or stays,
	// Overruled for another.
	Classify func(legacy int, value string) Action

	// Gone reports whether the legacy session of Shown is no session any more: old code
	// may log a user out by deleting a row, and send no Set-Cookie. [Pending.Finish] asks
	// it. nil: not asked.
	Gone func() bool

	// Ended reports whether another request has logged the user out meanwhile. nil: no.
	Ended func() bool

	// Replaced reports whether another request has signed a user in meanwhile, so that the
	// browser has other Stytch cookies by now: a logout must not expire them. It is asked
	// at a logout alone. nil: no.
	Replaced func() bool
}

// handlerAction is what all of the handler's session cookies do together:
//
//  1. One is Overruled: the change is withdrawn. The next request is judged by the
//     cookies that the browser then holds.
//  2. One is Renewed: NoAction. A handler that moves its cookie to another scope or
//     name expires it in the old place, which is no logout.
//  3. One is LoggedOut: so is the user. One is Unheard: so is the logout.
//
// Of several lines for one name and scope the last one counts, as in a browser. Rule 1
// alone goes by every line.
//
// A handler that clears every cookie of the site has expired those that it did not see,
// too, whatever the status: browsers drop them.
func (pd *Pending) handlerAction(handlerCookies []*http.Cookie, cleared bool, status int) Action {
	absent := pd.handler.Absent
	if status >= 400 {
		absent = nil
	}
	type key struct {
		name  string
		scope Scope
	}
	last := map[key]Action{}
	for _, c := range handlerCookies {
		action := pd.actionOf(c, handlerCookies, absent)
		if action == Overruled {
			return Overruled
		}
		last[key{c.Name, Scope{c.Domain, c.Path}.Normal()}] = action
	}
	actions := slices.Collect(maps.Values(last))
	switch {
	case slices.Contains(actions, Renewed):
		return NoAction
	case slices.Contains(actions, LoggedOut):
		return LoggedOut
	case slices.Contains(actions, Unheard):
		return Unheard
	case cleared && len(pd.handler.Absent) > 0:
		return pd.handler.AbsentMeans
	}
	return NoAction
}

// actionOf is what one cookie of the handler does, of all that it sets. The first rule that applies counts:
//
//  1. It is a Stytch cookie: Overruled.
//  2. It is a legacy cookie with a session in it: what Classify says.
//  3. It is the legacy cookie that the handler saw: LoggedOut. Old code logs a user out
//     by expiring that cookie, or by a cookie of a visitor in its place.
//  4. It expires or empties one of Absent, no line gives that name a value, and the
//     response is no error: AbsentMeans. A login that fails may expire what is stale.
//  5. Otherwise: NoAction. A handler from which the cookie was hidden took the user for
//     a new visitor. On a site that gives a cookie to each of those, rule 3 would sign
//     out every user who moves.
func (pd *Pending) actionOf(c *http.Cookie, all []*http.Cookie, absent []string) Action {
	if pd.policy.isStytch(c.Name) {
		return Overruled
	}
	if action := pd.classify(c); action != NoAction {
		return action
	}
	if shown := pd.handler.Shown; shown >= 0 && c.Name == pd.policy.legacy[shown].Name {
		return LoggedOut
	}
	if isDeletion(c) && slices.Contains(absent, c.Name) && !slices.ContainsFunc(all, func(o *http.Cookie) bool { return o.Name == c.Name && !isDeletion(o) }) {
		return pd.handler.AbsentMeans
	}
	return NoAction
}

func isDeletion(c *http.Cookie) bool { return isExpired(c) || c.Value == "" }

// ExpiresAbsent reports whether the header of a response expires a legacy cookie that did
// not come, by one of the given names, and neither sets a legacy cookie nor touches the
// Stytch cookies, as Logout does. It is for a response that no Pending changes.
func (p *Policy) ExpiresAbsent(h http.Header, absent []string) bool {
	set := p.sessionCookiesOf(h)
	if len(set) == 0 {
		return clearsCookies(h)
	}
	return !slices.ContainsFunc(set, func(c *http.Cookie) bool { return p.isStytch(c.Name) || !isDeletion(c) }) &&
		slices.ContainsFunc(set, func(c *http.Cookie) bool { return slices.Contains(absent, c.Name) })
}

// TouchesStytch reports whether the header of a response sets or expires a Stytch cookie.
func (p *Policy) TouchesStytch(h http.Header) bool {
	return slices.ContainsFunc(p.sessionCookiesOf(h), func(c *http.Cookie) bool { return p.isStytch(c.Name) })
}

// classify says which session is in a legacy cookie, by each entry that reads its name.
func (pd *Pending) classify(c *http.Cookie) Action {
	found := NoAction
	for i := range pd.policy.entriesSet(c) {
		switch pd.handler.Classify(i, c.Value) {
		case Overruled:
			return Overruled
		case Renewed:
			found = Renewed
		}
	}
	return found
}

// entriesSet yields the legacy cookies of which c may hold a session. An expired or empty
// cookie has none.
func (p *Policy) entriesSet(c *http.Cookie) iter.Seq[int] {
	return func(yield func(int) bool) {
		if isDeletion(c) {
			return
		}
		for i := range p.legacy {
			if p.legacy[i].Name == c.Name && !yield(i) {
				return
			}
		}
	}
}

// LegacySet yields the values in the header of a response that may be legacy sessions,
// each under the index of its legacy cookie.
func (p *Policy) LegacySet(h http.Header) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for _, c := range p.sessionCookiesOf(h) {
			for i := range p.entriesSet(c) {
				if !yield(i, c.Value) {
					return
				}
			}
		}
	}
}
