package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/mistakes"
	"example.com/stytchmigrate/internal/oldcode"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

// decider says what a request is, and what becomes of its session cookies. It
// changes neither the request nor the response.
type decider struct {
	sessions   *session.Sessions
	exchanges  *exchange.Exchanger
	legacy     *legacyResolver
	tombstones *tombstones.Tombstones
	migrator   *migrator
	report     *reporter
	timeout    time.Duration
	came       *mistakes.Cookies
}

// decide returns the decision on a request with the cookies c.
func (d *decider) decide(r *http.Request, c *cookies.Received) decision {
	if c.None() {
		return decision{}
	}
	ctx := r.Context()
	if c.HasStytch() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	out := d.decideStytch(ctx, r, c)
	loggedOut := d.isLoggedOut(ctx, &out)
	if loggedOut {
		out.change.Conceal = []int{out.legacy.entry}
		out.notForHandlers = out.notForHandlers || !out.legacy.session.StartedAt.IsZero()
	}

	// Without a Stytch session the old code serves this user, and may log them out by
	// expiring its own cookie, the only one that it knows. The Stytch cookies must end
	// with it, or they would sign that user in for the next person at the browser.
	if c.HasStytch() && out.session == nil && out.legacy != nil && !loggedOut && len(out.change.Expire) == 0 {
		out.change.Watch = true
	}
	out.gone = out.gone || errors.Is(out.err, stytch.ErrNoAnswer) && hasLeft(r)
	return out
}

// hasLeft reports whether the client has left. What fails from then on may have failed
// because the context of the request ended.
func hasLeft(r *http.Request) bool { return errors.Is(r.Context().Err(), context.Canceled) }

// isLoggedOut reports whether the legacy session of a decision was logged out, on
// this machine or another one. Its cookie is then hidden from the handler, which may save
// it again under a value that nothing knows. LegacyFromContext hides a session with
// StartedAt. One without may be a new sign-in under the id of the old one.
func (d *decider) isLoggedOut(ctx context.Context, out *decision) bool {
	served := out.outcome == OutcomeRefused || out.outcome == OutcomeUnavailable
	return served && out.legacy != nil &&
		d.tombstones.LegacyEnded(context.WithoutCancel(ctx), out.legacy.key)
}

// decideStytch decides by the Stytch session of a request. If there is none, the
// legacy session decides.
func (d *decider) decideStytch(ctx context.Context, r *http.Request, c *cookies.Received) decision {
	st := session.State{Live: d.sessions.Lookup(c.JWTs), Cause: session.CauseMemory}
	if st.Live == nil && c.HasStytch() {
		st = d.sessions.Find(ctx, c.JWTs, c.Tokens)
	}
	if st.EndedOrigin != "" {
		_ = d.tombstones.MarkLegacy(ctx, st.EndedOrigin)
	}
	switch {
	case st.Err != nil:
		return d.unavailable(r, c, &st)
	case st.Ambiguous:
		return decision{}
	case st.Live == nil:
		out := d.decideLegacy(ctx, r, c)
		// While it can't be told whether the legacy session has a live Stytch session, the
		// "no" about a token that comes alone may be about that one, which is new.
		out.change.Clear = st.Clear && out.outcome != OutcomeUnavailable
		if out.notable.kind == "" && st.Mismatch {
			out.notable.kind = kindMismatch
		}
		return out
	}
	out := decision{requestInfo: *attachmentOf(st.Live).info}
	out.cause = st.Cause
	if st.Write {
		out.change.Set = tokensOf(st.Live)
	}
	if !c.HasLegacy {
		d.migrator.again.Kept(st.Live.Session.ID)
		return out
	}
	out.given = d.migrator.again.Of(st.Live.Session.ID)
	out = d.decideBoth(ctx, r, c, st.Live, out)
	attachmentOf(st.Live).expired.Store(len(out.change.Expire) > 0)
	return out
}

// unavailable is the decision when Stytch can't be asked about a Stytch session.
// The legacy session is not exchanged: the user would get a second Stytch session
// in every outage. The old code goes on serving the user by it.
func (d *decider) unavailable(r *http.Request, c *cookies.Received, st *session.State) decision {
	out := decision{requestInfo: requestInfo{outcome: OutcomeUnavailable, err: st.Err}}
	legacy, _, err := d.first(r, c)
	if err != nil && hasLeft(r) {
		out.gone = true
	} else if err != nil {
		d.report.logError(r.Context(), err)
		out.cause = causeApplication // an old cookie that can't be resolved must show on the status page
	}
	if legacy != nil {
		if change, retired := d.retire(r, c, legacy); retired {
			out.change.Conceal = change.Expire // an outage expires no cookie
		} else {
			out.legacy = legacy
		}
	}
	out.notForHandlers = out.legacy != nil && st.Stale != nil && st.Stale.LegacySession != out.legacy.key
	return out
}

// decideLegacy decides by the legacy session of a request that has no live Stytch
// session.
func (d *decider) decideLegacy(ctx context.Context, r *http.Request, c *cookies.Received) decision {
	legacy, several, err := d.first(r, c)
	switch {
	case err != nil && hasLeft(r):
		return decision{gone: true}
	case err != nil:
		d.report.logError(r.Context(), err)
		return decision{requestInfo: requestInfo{outcome: OutcomeUnavailable, err: err}}
	case legacy == nil && !several:
		return decision{}
	}
	if change, retired := d.retire(r, c, legacy); retired || legacy == nil {
		return decision{change: change}
	}
	return d.migrator.decide(ctx, r, legacy)
}

// first is legacyResolver.first, and learns from it whether the names and the keys of the
// legacy cookies are right. A request with several values of one name says nothing.
func (d *decider) first(r *http.Request, c *cookies.Received) (legacy *resolvedSession, several bool, err error) {
	legacy, several, err = d.legacy.first(r, c)
	if legacy != nil {
		d.came.Good(legacy.entry)
	}
	if err != nil || legacy != nil || several || d.migrator.rollout.now().Stage == StageRetired { // only visitors' may be left
		return legacy, several, err
	}
	for i, values := range c.Legacy {
		if len(values) != 1 || d.came.Decided(i) {
			continue
		}
		if whyNot := d.legacy.cookies[i].whyNot; whyNot != nil && whyNot(values[0]) == "" {
			d.came.Good(i) // a codec has opened it: it is a visitor's
		} else if d.came.Bad(i, values[0]) {
			d.report.mistake(r.Context(), kindWrongCookie, fmt.Sprintf("Config.Legacy[%d]", i), d.legacy.cookies[i].Name)
		}
	}
	return nil, several, nil
}

// retire returns the change that expires the legacy sessions of a request in StageRetired,
// and hides them from the handler. legacy is the one that counts; nil: they are of several
// people. It returns false where the stage acts as StageObserve: a session is held back, or
// the old code may still set its cookie. Then these cookies may be all that a user has.
func (d *decider) retire(r *http.Request, c *cookies.Received, legacy *resolvedSession) (cookies.Change, bool) {
	m := d.migrator
	now, ctx := m.rollout.now(), context.WithoutCancel(r.Context())
	if now.Stage != StageRetired || legacy != nil && m.isHeldBack(now, legacy) {
		return cookies.Change{}, false
	}
	if m.oldCode.Lives() { // known without a call of Resolve
		m.stillSet(ctx, legacy)
		return cookies.Change{}, false
	}
	entries, all, err := m.legacy.full(r, c)
	m.report.logError(ctx, err)
	for _, s := range all {
		m.oldCode.Started(s.session.StartedAt)
		if m.isHeldBack(now, s) {
			entries = slices.DeleteFunc(entries, func(i int) bool { return i == s.entry })
		}
	}
	switch m.oldCode.Ask(ctx) {
	case oldcode.Yes:
		m.stillSet(ctx, legacy)
		return cookies.Change{}, false
	case oldcode.CantTell:
		return cookies.Change{}, false
	}
	return cookies.Change{Expire: entries, Hide: len(entries) > 0}, true
}

// decideBoth decides on a request with a live Stytch session and a legacy cookie.
// out is the decision on the Stytch session alone.
func (d *decider) decideBoth(ctx context.Context, r *http.Request, c *cookies.Received, live *session.Entry, out decision) decision {
	ruled, err := d.ruleOn(r, c, live)
	if err != nil {
		if !hasLeft(r) {
			d.report.logError(r.Context(), err)
		}
		return out
	}
	legacy := ruled.legacy
	if legacy == nil && !ruled.several {
		return out
	}
	if change, retired := d.retire(r, c, legacy); retired || legacy == nil {
		out.changeLegacy(change)
		return out
	}
	out.legacy = legacy
	now := d.migrator.rollout.now()
	switch d.rulingNow(ctx, ruled) {
	case samePerson:
		out.samePerson = true
		d.migrator.unkept.Kept(legacy.key)
		out.changeLegacy(legacyCookieChange(d.migrator.stageForCookie(now, legacy), legacy))
	case unrelated:
		out.change.Watch = d.migrator.stageForCookie(now, legacy) != StageReplace
	case legacyOlder:
		out.changeLegacy(cookies.Change{Expire: []int{legacy.entry}, Hide: true})
	case legacyNewer:
		out = d.migrator.decide(ctx, r, legacy)
		if out.outcome == OutcomeMigrated {
			d.exchanges.RevokeLater(ctx, live.Session.ID)
		}
	case conflict:
		out = decision{
			requestInfo: requestInfo{legacy: legacy},
			change:      cookies.Change{Clear: true, Expire: []int{legacy.entry}, Hide: true},
			notable:     notable{kind: kindConflict},
		}
	}
	return out
}

// rulingNow is the ruling where the legacy session may have been logged out since. Then it
// can't count before a Stytch session: a page of before the sign-in may have set its cookie
// again.
func (d *decider) rulingNow(ctx context.Context, ruled *cachedRuling) ruling {
	if ruled.ruling.overStytch() && d.tombstones.LegacyEnded(context.WithoutCancel(ctx), ruled.legacy.key) {
		return legacyOlder
	}
	return ruled.ruling
}

// ruleOn rules on the legacy cookies of a request beside a live Stytch session. The
// ruling on the same cookies is kept for a minute, beside the session: a value that
// is no session may become one, for example when a second factor was pending. A handler
// that may end the legacy session is not judged by a ruling that is kept: see goneOf.
func (d *decider) ruleOn(r *http.Request, c *cookies.Received, live *session.Entry) (*cachedRuling, error) {
	values, now := hashLegacy(c), time.Now()
	cache := &attachmentOf(live).ruling
	if ruled := cache.Load(); ruled != nil && ruled.values == values && now.Before(ruled.until) && isSafe(r) {
		return ruled, nil
	}
	legacy, several, err := d.first(r, c)
	if err != nil {
		return nil, err
	}
	ruled := &cachedRuling{values: values, legacy: legacy, several: several, until: now.Add(time.Minute)}
	if legacy != nil {
		ruled.ruling, legacy.fingerprint = ruleBetween(live.Session, legacy), d.report.fingerprint(legacy)
		if ruled.ruling == samePerson {
			d.tie(r.Context(), live.Session, append(legacy.more, legacy.key))
		}
		if at := legacy.session.ExpiresAt; !at.IsZero() && at.Before(ruled.until) {
			ruled.until = at
		}
	}
	cache.Store(ruled)
	return ruled, nil
}

// tie notes the legacy sessions of a user that their Stytch session did not come from, so
// that a logout ends them all.
func (d *decider) tie(ctx context.Context, s *stytch.Session, keys []string) {
	keys = slices.DeleteFunc(keys, func(key string) bool { return key == s.Origin })
	if len(keys) > 0 {
		d.tombstones.Tie(ctx, s.ID, keys)
	}
}

func isSafe(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// hashLegacy returns the SHA-256 of the legacy cookies of a request, each under its
// entry of Config.Legacy. The cookies themselves may be long, and the ruling stays
// in memory. No cookie value holds ";" or a line break (RFC 6265 section 4.1.1).
func hashLegacy(c *cookies.Received) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, values := range c.Legacy {
		for _, v := range values {
			_, _ = io.WriteString(h, v+";")
		}
		_, _ = io.WriteString(h, "\n")
	}
	h.Sum(sum[:0])
	return sum
}

// ruleBetween says which of two sessions in one request counts.
func ruleBetween(s *stytch.Session, legacy *resolvedSession) ruling {
	if s.Origin != "" && s.Origin == legacy.key {
		return samePerson
	}
	same, known := s.User.Compare(legacy.session.Identity)
	switch {
	case !known:
		return unrelated
	case same:
		return samePerson
	case legacy.session.StartedAt.IsZero():
		return conflict
	case legacy.session.StartedAt.After(s.StartedAt):
		return legacyNewer
	}
	return legacyOlder
}
