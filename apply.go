package stytchmigrate

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/tombstones"
	"example.com/stytchmigrate/internal/vanished"
)

// applier carries decisions out: it passes the request on and changes the cookies of
// the response.
type applier struct {
	cookies    *cookies.Policy
	legacy     *legacyResolver
	sessions   *session.Sessions
	tombstones *tombstones.Tombstones
	logouts    *logouts
	migrator   *migrator
	report     *reporter
	log        *slog.Logger

	vanished            vanished.Sessions
	foreignHostReported latch.Latch // a warning about hosts outside of Cookies.Domain was logged
	noRoomReported      latch.Latch // a warning about a header that leaves no room for the cookies was logged
	comesAgainReported  latch.Latch // the mistake comes_again was reported
	plainHTTPReported   latch.Latch // the mistake plain_http was reported
	unheardReported     latch.Latch // a warning about a logout that may have been meant was logged
	notKeptReported     latch.Latch // a warning about a browser that does not keep the cookies was logged
}

// apply passes the request on to next, with the decision in its context, and changes
// the cookies of the response if they may change there.
func (a *applier) apply(w http.ResponseWriter, r *http.Request, c *cookies.Received, d *decision, next http.Handler) {
	came, header := r, w.Header()
	shareTrailer(came)
	defer a.savedAgain(r, header, d)
	write := !d.change.None() && a.cookies.MayWrite(r)
	if d.change.Set != nil && !a.cookies.CoversHost(r) && a.foreignHostReported.Set() {
		a.log.LogAttrs(r.Context(), slog.LevelWarn, "stytchmigrate: no cookies are written in answer to hosts outside of Cookies.Domain", slog.String("setting", "Config.Cookies.Domain"))
	}
	// Where no cookie may be written, the handler sees a legacy cookie that would be
	// expired without being hidden. A logout of the old code counts there too.
	if !write && (d.change.Watch || !d.change.Hide && len(d.change.Expire) > 0) {
		d.change = cookies.Change{Watch: true, Conceal: d.change.Conceal}
	}
	absent := a.absent(r, c, d)
	pending, r := a.prepare(r, c, d, write, absent)
	r = r.WithContext(context.WithValue(r.Context(), contextKey{}, &d.requestInfo))
	defer giveBack(came, r)
	if pending == nil {
		a.passOn(w, r, next, absent, &d.requestInfo)
		return
	}
	if write && d.cause == causeRecord {
		defer a.givenAgain(w, r, d)
	}
	if d.session != nil && len(d.change.Expire) > 0 {
		defer a.expiredAgain(w, r, d)
	}
	// Deferred, because a handler may panic after it has answered: the browser has
	// obeyed its Set-Cookie lines by then.
	defer func() {
		switch pending.Action() {
		case cookies.LoggedOut:
			a.logouts.legacyLogout(r.Context(), c, &d.requestInfo)
		case cookies.Unheard:
			a.tellUnheard(r, &d.requestInfo)
		}
	}()
	next.ServeHTTP(pending.Wrap(w), r)
	pending.Finish(w) // if the handler wrote nothing, net/http sends a 200 after this
	if pending.Postponed() && a.noRoomReported.Set() {
		a.log.LogAttrs(r.Context(), slog.LevelWarn, "stytchmigrate: a response has no room for the session cookies; they wait for another one",
			slog.String("look_at", "the handler's header: with our cookies it is over 4 KB, which proxies answer with 502"))
	}
}

// prepare returns what changes the response, and the request for the handler. The
// response is left alone where no cookie changes and no logout can be heard. absent is
// the names of the legacy cookies that the handler does not see.
func (a *applier) prepare(r *http.Request, c *cookies.Received, d *decision, write bool, absent []string) (*cookies.Pending, *http.Request) {
	watch := d.change.Watch || len(absent) > 0 && !isSafe(r)
	if !write && !watch && d.change.IsNothing() {
		return nil, r
	}
	h := a.handlerOf(r, c, d, write)
	if h.Absent, h.AbsentMeans = absent, cookies.LoggedOut; isSafe(r) {
		h.AbsentMeans = cookies.Unheard
	}
	d.original = r
	pending, next := a.cookies.Prepare(r, &d.change, h)
	if write || d.change.Watch {
		d.pending = pending // what Logout replaces
	}
	if !write && !watch {
		pending = nil
	}
	return pending, next
}

// absent returns the names of the legacy cookies that the handler does not see, of a
// request that a Stytch session authenticates and no legacy session beside it.
func (a *applier) absent(r *http.Request, c *cookies.Received, d *decision) (names []string) {
	hidden := len(d.change.Expire) > 0 && !d.change.Shows(r)
	if d.outcome != OutcomeAuthenticated || d.legacy != nil && !hidden {
		return nil
	}
	for i := range a.legacy.cookies {
		if c.Legacy == nil || len(c.Legacy[i]) == 0 || hidden && slices.Contains(d.change.Expire, i) {
			names = append(names, a.legacy.cookies[i].Name)
		}
	}
	return names
}

// passOn passes a request on whose response no Pending changes. absent is the names of the
// legacy cookies that the handler does not see beside a Stytch session, by a safe method:
// what the handler sets then may have been meant as a logout.
func (a *applier) passOn(w http.ResponseWriter, r *http.Request, next http.Handler, absent []string, info *requestInfo) {
	if len(absent) == 0 {
		next.ServeHTTP(w, r)
		return
	}
	h := w.Header()
	next.ServeHTTP(w, r)
	if a.cookies.ExpiresAbsent(h, absent) {
		a.tellUnheard(r, info)
	}
}

// tellUnheard reports, once, that a handler may have meant a logout that ended no Stytch
// session. It is no more than a hint: some applications expire what is stale on each page.
func (a *applier) tellUnheard(r *http.Request, info *requestInfo) {
	if !a.unheardReported.Set() {
		return
	}
	e := a.report.event(kindUnheardLogout, info)
	a.log.LogAttrs(r.Context(), slog.LevelWarn, "stytchmigrate: a handler expired the old cookie, which did not come, in answer to a GET; if that was a logout, the user is still signed in",
		slog.String("look_at", "the old logout handler: call Middleware.Logout in it, or let it answer to POST alone"),
		slog.String("handler", r.Pattern), slog.Any("event", e))
	a.report.emit(r.Context(), e)
}

// savedAgain marks as logged out what a handler has saved again of a legacy session that
// was logged out, in this request or before: under a new value it would be a new session.
// What is set beside a call of Logout or SignIn is kept.
func (a *applier) savedAgain(r *http.Request, h http.Header, d *decision) {
	ended := d.legacy
	if ended == nil || !a.tombstones.LegacyEndedLocal(ended.key) || a.cookies.TouchesStytch(h) {
		return
	}
	page := isSafe(r) && h.Get("Location") == "" // not the end of a sign-in
	hidden := len(d.change.Expire) > 0 && !d.change.Shows(r)
	saw := !hidden && !slices.Contains(d.change.Conceal, ended.entry)
	for entry, value := range a.cookies.LegacySet(h) {
		if set, err := a.legacy.resolve(entry, r, value); err == nil && set != nil && isCopy(set, ended, page, saw) {
			_ = a.tombstones.MarkLegacy(r.Context(), set.key)
		}
	}
}

// givenAgain notes that a browser was given a session that it was given before, if the
// response has done so. Three pages in a row tell that the browser does not keep the
// cookies, and that is reported.
func (a *applier) givenAgain(w http.ResponseWriter, r *http.Request, d *decision) {
	token := string(d.change.Set.Session)
	if !slices.ContainsFunc(w.Header()["Set-Cookie"], func(line string) bool { return strings.Contains(line, token) }) {
		return
	}
	notKept := a.migrator.unkept.Given(d.legacy.key, d.given, isFetch(r))
	// A page that says that it is of plain HTTP need not come three times: this browser has
	// been given the cookies before, and has not brought them.
	saysSo := d.given > 0 && cookies.SchemeOfPage(r) == "http"
	if (notKept || saysSo) && a.cookies.IsDroppedInClear(r) && a.plainHTTPReported.Set() {
		a.report.mistake(r.Context(), kindPlainHTTP, "Config.Cookies.Insecure")
	}
	if !notKept {
		return
	}
	e := a.report.event(kindNotKept, &d.requestInfo)
	e.Fingerprint = a.report.fingerprint(d.legacy) // for the log, also without OnEvent
	if a.notKeptReported.Set() {
		a.log.LogAttrs(r.Context(), slog.LevelWarn, "stytchmigrate: a browser does not keep the Stytch cookies; its old cookie stays",
			slog.String("setting", "Config.Cookies"),
			slog.String("look_at", "a proxy that passes on one Set-Cookie line, Secure over plain HTTP, a name with __Host- or __Http-, Domain and Path"),
			slog.Any("event", e))
	}
	a.report.emit(r.Context(), e)
}

// comesAgainAfter is after how many pages in a row, whose responses expired a legacy cookie,
// that cookie comes again whatever we do.
const comesAgainAfter = 4

// expiredAgain notes that a response has expired a legacy cookie beside a Stytch session.
// Where the handler sets that cookie itself it is not expired, and nothing is noted.
func (a *applier) expiredAgain(w http.ResponseWriter, r *http.Request, d *decision) {
	entry := d.change.Expire[0]
	name := a.legacy.cookies[entry].Name
	isDeletion := func(line string) bool { return strings.HasPrefix(line, name+"=;") }
	if !slices.ContainsFunc(w.Header()["Set-Cookie"], isDeletion) || !a.migrator.again.Given(d.session.SessionID, d.given, isFetch(r)) {
		return
	}
	if a.comesAgainReported.Set() {
		a.report.mistake(r.Context(), kindComesAgain, fmt.Sprintf("Config.Legacy[%d].Scopes", entry), name)
	}
}

// isFetch reports what a page fetches besides itself, as far as the browser tells.
func isFetch(r *http.Request) bool {
	mode := r.Header.Get("Sec-Fetch-Mode")
	return mode != "" && mode != "navigate"
}

// handlerOf describes the handler of r to the cookies package: which legacy cookie
// the handler sees, and what the cookies mean that it sets.
func (a *applier) handlerOf(r *http.Request, c *cookies.Received, d *decision, write bool) cookies.Handler {
	var current *resolvedSession // the legacy session that moved to Stytch, or that stays
	if d.change.Watch || len(d.change.Expire) > 0 && d.session != nil {
		current = d.legacy
	}
	h := cookies.Handler{Shown: -1, Session: current != nil}
	if current != nil && d.change.Shows(r) {
		h.Shown = current.entry
		if d.samePerson || !c.HasStytch() {
			h.Gone = a.goneOf(r, c, current)
		}
	}
	stays := d.change.Watch
	h.Replaced = func() bool { return a.isOvertaken(r, c, d.legacy) }
	h.Classify = func(entry int, value string) cookies.Action {
		return a.classify(r, entry, value, current, stays)
	}
	if write {
		ctx := context.WithoutCancel(r.Context())
		h.Ended = func() bool {
			return d.session != nil && a.sessions.EndedMeanwhile(ctx, d.session.SessionID) || a.isReplaced(ctx, c, &d.change)
		}
	}
	return h
}

// classify says which session is in a legacy cookie that the handler set: see
// cookies.Handler.Classify. current is the session that moved or stays; nil: none.
func (a *applier) classify(r *http.Request, entry int, value string, current *resolvedSession, stays bool) cookies.Action {
	set, err := a.legacy.resolve(entry, r, value)
	switch {
	case err != nil && current == nil && a.migrator.rollout.now().Stage == StageRetired:
		return cookies.NoAction // Resolve may have lost its store for good, and the Stytch session must live on
	case err != nil:
		return cookies.Overruled
	case set == nil:
		return cookies.NoAction
	}
	a.migrator.oldCode.Set()
	if current != nil && set.key != current.key && isRenewed(set, current, true) {
		a.vanished.Renew(current.key)
	}
	if current == nil || !isRenewed(set, current, stays) {
		return cookies.Overruled
	}
	return cookies.Renewed
}

// goneOf returns cookies.Handler.Gone: whether Resolve has no session for the cookie any
// more, for which it had one before the handler ran. A safe method ends no session (RFC
// 9110 section 9.2.1). The client may have left by now, and Resolve goes on. What has
// another reason is no logout: the session may have run out, or another request may have
// ended it by a sign-in or a logout, or given it another id.
func (a *applier) goneOf(r *http.Request, c *cookies.Received, shown *resolvedSession) func() bool {
	if isSafe(r) {
		return nil
	}
	began := time.Now()
	return func() bool {
		if at := shown.session.ExpiresAt; !at.IsZero() && !time.Now().Before(at) || time.Since(began) > idle {
			return false
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), a.logouts.timeout)
		defer cancel()
		gone := func() bool {
			again, several, err := a.legacy.find(shown.entry, r.WithContext(ctx), c.Legacy[shown.entry])
			return err == nil && again == nil && !several
		}
		return a.vanished.IsLogout(ctx, shown.key, gone) &&
			!a.tombstones.LegacyEnded(ctx, shown.key) && !a.sessions.IsReplaced(ctx, c.Tokens, c.JWTs)
	}
}

// idle is how long a handler may take for goneOf. A session without a known ExpiresAt may
// run out during a longer one, because it was not used.
const idle = 30 * time.Second

// isReplaced reports whether the browser has signed in while the handler ran: it has other
// Stytch cookies by now, which this response must not touch.
func (a *applier) isReplaced(ctx context.Context, c *cookies.Received, ch *cookies.Change) bool {
	switch {
	case ch.Set != nil:
		return a.sessions.IsReplaced(ctx, append(slices.Clone(c.Tokens), string(ch.Set.Session)), nil)
	case ch.Clear:
		return a.sessions.IsReplaced(ctx, c.Tokens, c.JWTs)
	}
	return false
}

// isOvertaken reports whether the browser has signed in by SignIn while the handler ran, of
// a response that does not change the Stytch cookies so far. A request that brought none of
// these knows it by its legacy session, which SignIn has ended.
func (a *applier) isOvertaken(r *http.Request, c *cookies.Received, legacy *resolvedSession) bool {
	ctx := context.WithoutCancel(r.Context())
	if !c.HasStytch() {
		return legacy != nil && a.tombstones.LegacyEnded(ctx, legacy.key)
	}
	return a.sessions.IsReplaced(ctx, c.Tokens, c.JWTs)
}
