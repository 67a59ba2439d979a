package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

// verdict is what decide says of a request: what the handler is told, and
// what becomes of the browser's cookies.
type verdict struct {
	found
	change browser.Change
	event  string // what deserves an event of its own
	userID string // that the event is about, where it is not found.user's
	gone   bool   // the client went away while the request waited
}

// nothing reports a request that carried no session, and of which there is
// nothing to say or to change.
func (v *verdict) nothing() bool {
	return v.outcome == OutcomeAnonymous && v.err == nil && v.event == "" && !v.gone && v.legacy == nil && v.change.None() && !v.change.Strip
}

// decide gives the verdict on a request. It touches neither the request nor
// the response.
func (m *Middleware) decide(r *http.Request, c *browser.Cookies) verdict {
	if c.None() {
		return verdict{}
	}
	ctx := r.Context()
	if c.HasStytch() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.cfg.Timeout)
		defer cancel()
	}
	v := m.decideStytch(ctx, r, c)
	ended := m.hide(ctx, &v)
	// The old code serves this user, and may log them out: whoever is at the browser
	// next must not be the one of the Stytch cookies. It does so too where an expired
	// JWT is of another session: it knows of its cookie alone.
	if c.HasStytch() && v.session == nil && v.legacy != nil && !ended && len(v.change.Expire) == 0 {
		v.change.Watch = true
	}
	v.gone = errors.Is(v.err, stytch.ErrNoAnswer) && errors.Is(r.Context().Err(), context.Canceled)
	return v
}

// hide keeps handlers from serving, by its old cookie, a user who has logged out
// on this machine or another, and reports that. Without StartedAt it may be a new
// sign-in.
func (m *Middleware) hide(ctx context.Context, v *verdict) (ended bool) {
	told := v.outcome == OutcomeRefused || v.outcome == OutcomeUnavailable
	if told && v.legacy != nil && !v.legacy.session.StartedAt.IsZero() {
		ended = m.endings.LegacyEverywhere(context.WithoutCancel(ctx), m.key(v.legacy))
	}
	v.hidden = v.hidden || ended
	return ended
}

// decideStytch judges a request by its Stytch session, if it has one.
func (m *Middleware) decideStytch(ctx context.Context, r *http.Request, c *browser.Cookies) verdict {
	st := session.State{Alive: m.sessions.Remembered(c.JWTs), Cause: session.Memory}
	if st.Alive == nil && c.HasStytch() {
		st = m.sessions.Find(ctx, c.JWTs, c.Tokens)
	}
	if st.Ended != "" {
		_ = m.endings.EndLegacy(ctx, st.Ended)
	}
	switch {
	case st.Err != nil:
		f, err := m.stillServed(r, c)
		m.logError(r.Context(), err)
		v := verdict{found: found{outcome: OutcomeUnavailable, legacy: f, err: st.Err}}
		if err != nil { // whoever looks whether old cookies still come must hear of this one
			v.cause = causeApplication
		}
		v.hidden = f != nil && st.Stale != nil && st.Stale.LegacySession != m.key(f)
		return v
	case st.Nobody:
		return verdict{}
	case st.Alive == nil:
		v := m.decideLegacy(ctx, r, c)
		v.change.Clear = st.Clear
		if v.event == "" && st.Mismatch {
			v.event = kindMismatch
		}
		return v
	}
	v := verdict{found: *keptWith(st.Alive).found}
	v.cause = st.Cause
	if st.Write {
		v.change.Set = tokensOf(st.Alive)
	}
	if c.HasOld {
		return m.decideBoth(ctx, r, c, st.Alive, v)
	}
	return v
}

func tokensOf(k *session.Known) *browser.Tokens {
	return &browser.Tokens{Session: k.Session.Token, JWT: k.Session.JWT, Expires: k.Session.ExpiresAt}
}

// decideLegacy judges a request that has no Stytch session alive.
func (m *Middleware) decideLegacy(ctx context.Context, r *http.Request, c *browser.Cookies) verdict {
	if m.rollout.now().retired() {
		return verdict{change: m.retire(c)}
	}
	f, err := legacyCookies(m.cfg.Legacy).first(r, c)
	switch {
	case err != nil:
		m.logError(r.Context(), err)
		return verdict{found: found{outcome: OutcomeUnavailable, err: err}}
	case f == nil:
		return verdict{}
	}
	return m.move(ctx, r, f)
}

// stillServed returns the legacy session by which the old code goes on to serve a
// user about whom Stytch can't be asked.
func (m *Middleware) stillServed(r *http.Request, c *browser.Cookies) (*foundLegacy, error) {
	if m.rollout.now().retired() {
		return nil, nil
	}
	return legacyCookies(m.cfg.Legacy).first(r, c)
}

// retire expires every legacy cookie of a request, and hides them. Resolve is not
// asked: what it looks sessions up in may be gone.
func (m *Middleware) retire(c *browser.Cookies) (ch browser.Change) {
	for i, values := range c.Old {
		if len(values) > 0 {
			ch.Expire = append(ch.Expire, i)
		}
	}
	ch.Strip, ch.Over = len(ch.Expire) > 0, m.rollout.now().retired()
	return ch
}

// move is the verdict on a legacy session that is the one that counts: it moves
// to Stytch, if the rollout has it so.
func (m *Middleware) move(ctx context.Context, r *http.Request, f *foundLegacy) verdict {
	now := m.rollout.now()
	switch {
	case m.isHeldBack(now, f):
		return m.leaveAlone(ctx, f, causeHeldBack, nil)
	case now.Stage == StageRetired:
		return verdict{change: browser.Change{Expire: []int{f.entry}, Strip: true}}
	case now.Stage == StageObserve:
		return m.leaveAlone(ctx, f, now.Stage.String(), nil)
	case now.stopped():
		return m.leaveAlone(ctx, f, causeUntil, nil)
	case now.Stage != StageShadow:
		return m.migrate(ctx, r, f, now.Stage)
	}
	v := m.leaveAlone(ctx, f, now.Stage.String(), nil)
	if v.outcome == OutcomeLegacy {
		m.tryOut(r, f)
	}
	return v
}

// stageOf is what becomes of a legacy session beside a Stytch session: where the
// rollout leaves it alone, both stay.
func (m *Middleware) stageOf(now *Rollout, f *foundLegacy) Stage {
	if now.stopped() || m.isHeldBack(now, f) {
		return StageKeep
	}
	return now.Stage
}

// leaveAlone is the verdict on a legacy session that does not move now. One that
// was logged out stays so: who has a copy of its cookie is nobody.
func (m *Middleware) leaveAlone(ctx context.Context, f *foundLegacy, cause string, why error) verdict {
	if m.endings.LegacyEverywhere(context.WithoutCancel(ctx), m.key(f)) {
		return verdict{found: found{outcome: OutcomeRefused, legacy: f, err: exchange.ErrLoggedOut}}
	}
	return verdict{found: found{outcome: OutcomeLegacy, cause: cause, legacy: f, err: why}}
}

func (m *Middleware) migrate(ctx context.Context, r *http.Request, f *foundLegacy, stage Stage) verdict {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout) // less where a Stytch session was asked about before
	defer cancel()
	l := m.moving(f)
	x := m.exchanges.Do(ctx, l, func() (stytch.Exchange, error) { return m.cfg.prepare(r, f, l.Key) })
	v := verdict{found: found{legacy: f, err: x.Err}, userID: x.UserID}
	switch x.Event {
	case exchange.Mismatch:
		v.event = kindMismatch
	case exchange.Created:
		v.event = kindCreated
	}
	switch x.Answer {
	case stytch.Yes:
		told := keptWith(x.Known).found
		v.outcome, v.user, v.session = OutcomeMigrated, told.user, told.session
		if v.cause = causeExchange; x.Recorded {
			v.cause = causeRecord
		}
		v.change = beside(stage, f)
		v.change.Set = tokensOf(x.Known)
	case stytch.No:
		v.outcome = OutcomeRefused
	default:
		if exchange.IsSurplus(x.Err) {
			v = m.leaveAlone(ctx, f, "", x.Err)
		} else {
			v.outcome = OutcomeUnavailable
			m.logError(r.Context(), x.Err)
		}
		// The exchange may be under way, here or on another machine. If the old code
		// logs out meanwhile, nobody is to be handed what comes of it.
		v.change.Watch = true
	}
	return v
}

// beside is what becomes of a legacy cookie beside a Stytch session of the same
// person.
func beside(s Stage, f *foundLegacy) browser.Change {
	if s == StageReplace {
		return browser.Change{Expire: []int{f.entry}}
	}
	return browser.Change{Watch: true}
}

// ruling says which of two sessions in one request counts.
type ruling int

const (
	nothingAgainst ruling = iota // the Stytch session stays, and so does the legacy cookie
	superseded                   // the same person: the legacy cookie has done its work
	outdated                     // another person, who signed in earlier: that cookie must go
	overtaken                    // another person, who signed in later: the legacy session wins
	conflict                     // another person, and nobody knows when: neither counts
)

// judgement is a ruling and the legacy cookies that it is about. It stays with
// the known session, so that a repeat costs one comparison, and an event nothing.
type judgement struct {
	values [sha256.Size]byte // of the legacy cookies, see valuesOf
	legacy *foundLegacy
	ruling ruling
	until  time.Time
}

// kept is what stays beside a session in memory.
type kept struct {
	found  *found                    // what a request is told that is served from memory
	judged atomic.Pointer[judgement] // of the legacy cookies that came with it last
}

func (m *Middleware) keep(s *stytch.Session) any {
	user, session := told(s)
	return &kept{found: &found{by: m, outcome: OutcomeAuthenticated, cause: causeMemory, user: user, session: session}}
}

func keptWith(k *session.Known) *kept { return k.Attached.(*kept) }

// decideBoth judges a request with a Stytch session alive and a legacy cookie.
// v is the verdict on the Stytch session alone.
func (m *Middleware) decideBoth(ctx context.Context, r *http.Request, c *browser.Cookies, k *session.Known, v verdict) verdict {
	now := m.rollout.now()
	if now.retired() {
		return m.retireBeside(c, v)
	}
	j, err := m.judge(r, c, k)
	if err != nil {
		m.logError(r.Context(), err)
		return v
	}
	if j.legacy != nil {
		v.legacy = j.legacy
	}
	if now.Stage == StageRetired && j.legacy != nil && !m.isHeldBack(now, j.legacy) {
		return m.retireBeside(c, v)
	}
	switch j.ruling {
	case superseded:
		set := v.change.Set
		v.change = beside(m.stageOf(now, j.legacy), j.legacy)
		v.change.Set = set
	case nothingAgainst: // the user's, for all that anybody knows
		v.change.Watch = j.legacy != nil && m.stageOf(now, j.legacy) != StageReplace
	case outdated:
		v.change.Expire, v.change.Strip = []int{j.legacy.entry}, true
	case overtaken:
		won := m.move(ctx, r, j.legacy)
		if won.outcome == OutcomeMigrated {
			m.exchanges.RevokeLater(ctx, k.Session.ID)
		}
		return won
	case conflict:
		return verdict{
			found:  found{legacy: j.legacy},
			change: browser.Change{Clear: true, Expire: []int{j.legacy.entry}, Strip: true},
			event:  kindConflict,
		}
	}
	return v
}

// retireBeside expires the legacy cookies beside a Stytch session, which stays,
// whoever they are of.
func (m *Middleware) retireBeside(c *browser.Cookies, v verdict) verdict {
	set := v.change.Set
	v.change = m.retire(c)
	v.change.Set = set
	return v
}

// judge rules on the legacy cookies of a request beside the session k. What
// was ruled of the same cookies before is taken from k.
func (m *Middleware) judge(r *http.Request, c *browser.Cookies, k *session.Known) (*judgement, error) {
	values := valuesOf(c)
	now := time.Now()
	judged := &keptWith(k).judged
	if j := judged.Load(); j != nil && j.values == values && now.Before(j.until) {
		return j, nil
	}
	f, err := legacyCookies(m.cfg.Legacy).first(r, c)
	if err != nil {
		return nil, err
	}
	// A minute, for a value that is no session may become one, as where a second
	// factor was pending.
	j := &judgement{values: values, legacy: f, until: now.Add(time.Minute)}
	if f != nil {
		j.ruling, f.fingerprint = m.rule(k.Session, f), m.fingerprint(f)
		if at := f.session.ExpiresAt; !at.IsZero() && at.Before(j.until) {
			j.until = at
		}
	}
	judged.Store(j)
	return j, nil
}

// valuesOf is the SHA-256 of the legacy cookies of a request, each under its
// entry of Config.Legacy: what they are may be long, and stays in memory with
// the session. No cookie's value has ";" or a line break in it.
func valuesOf(c *browser.Cookies) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, values := range c.Old {
		for _, v := range values {
			_, _ = io.WriteString(h, v+";")
		}
		_, _ = io.WriteString(h, "\n")
	}
	h.Sum(sum[:0])
	return sum
}

func (m *Middleware) rule(s *stytch.Session, f *foundLegacy) ruling {
	if s.Origin != "" && s.Origin == m.key(f) {
		return superseded
	}
	same, known := s.Who.Compare(f.session.Identity)
	switch {
	case !known:
		return nothingAgainst
	case same:
		return superseded
	case f.session.StartedAt.IsZero():
		return conflict
	case f.session.StartedAt.After(s.StartedAt):
		return overtaken
	}
	return outdated
}
