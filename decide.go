package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"time"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

// judge gives the verdict on requests.
type decider struct {
	sessions   *session.Sessions
	exchanges  *exchange.Exchanger
	legacy     *legacyResolver
	tombstones *tombstones.Tombstones
	report     *reporter
	migrator   *migrator
	timeout    time.Duration
}

// decide gives the verdict on a request. It touches neither the request nor
// the response.
func (j *decider) decide(r *http.Request, c *cookies.Received) decision {
	if c.None() {
		return decision{}
	}
	ctx := r.Context()
	if c.HasStytch() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.timeout)
		defer cancel()
	}
	v := j.decideStytch(ctx, r, c)
	ended := j.hideEnded(ctx, &v)
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
func (j *decider) hideEnded(ctx context.Context, v *decision) (ended bool) {
	told := v.outcome == OutcomeRefused || v.outcome == OutcomeUnavailable
	if told && v.legacy != nil && !v.legacy.session.StartedAt.IsZero() {
		ended = j.tombstones.LegacyEnded(context.WithoutCancel(ctx), v.legacy.key)
	}
	v.hidden = v.hidden || ended
	return ended
}

// decideStytch judges a request by its Stytch session, if it has one.
func (j *decider) decideStytch(ctx context.Context, r *http.Request, c *cookies.Received) decision {
	st := session.State{Live: j.sessions.Lookup(c.JWTs), Cause: session.CauseMemory}
	if st.Live == nil && c.HasStytch() {
		st = j.sessions.Find(ctx, c.JWTs, c.Tokens)
	}
	if st.EndedOrigin != "" {
		_ = j.tombstones.MarkLegacy(ctx, st.EndedOrigin)
	}
	switch {
	case st.Err != nil:
		f, err := j.stillServed(r, c)
		j.report.logError(r.Context(), err)
		v := decision{requestInfo: requestInfo{outcome: OutcomeUnavailable, legacy: f, err: st.Err}}
		if err != nil { // whoever looks whether old cookies still come must hear of this one
			v.cause = causeApplication
		}
		v.hidden = f != nil && st.Stale != nil && st.Stale.LegacySession != f.key
		return v
	case st.Ambiguous:
		return decision{}
	case st.Live == nil:
		v := j.decideLegacy(ctx, r, c)
		v.change.Clear = st.Clear
		if v.notable.kind == "" && st.Mismatch {
			v.notable.kind = kindMismatch
		}
		return v
	}
	v := decision{requestInfo: *attachmentOf(st.Live).info}
	v.cause = st.Cause
	if st.Write {
		v.change.Set = tokensOf(st.Live)
	}
	if c.HasLegacy {
		return j.decideBoth(ctx, r, c, st.Live, v)
	}
	return v
}

// decideLegacy judges a request that has no Stytch session alive.
func (j *decider) decideLegacy(ctx context.Context, r *http.Request, c *cookies.Received) decision {
	if j.migrator.rollout.now().retired() {
		return decision{change: j.migrator.retire(c)}
	}
	f, err := j.legacy.first(r, c)
	switch {
	case err != nil:
		j.report.logError(r.Context(), err)
		return decision{requestInfo: requestInfo{outcome: OutcomeUnavailable, err: err}}
	case f == nil:
		return decision{}
	}
	return j.migrator.move(ctx, r, f)
}

// stillServed returns the legacy session by which the old code goes on to serve a
// user about whom Stytch can't be asked.
func (j *decider) stillServed(r *http.Request, c *cookies.Received) (*resolvedSession, error) {
	if j.migrator.rollout.now().retired() {
		return nil, nil
	}
	return j.legacy.first(r, c)
}

// decideBoth judges a request with a Stytch session alive and a legacy cookie.
// v is the verdict on the Stytch session alone.
func (j *decider) decideBoth(ctx context.Context, r *http.Request, c *cookies.Received, k *session.Entry, v decision) decision {
	now := j.migrator.rollout.now()
	if now.retired() {
		return j.retireBeside(c, v)
	}
	ruled, err := j.ruleOn(r, c, k)
	if err != nil {
		j.report.logError(r.Context(), err)
		return v
	}
	if ruled.legacy != nil {
		v.legacy = ruled.legacy
	}
	if now.Stage == StageRetired && ruled.legacy != nil && !j.migrator.isHeldBack(now, ruled.legacy) {
		return j.retireBeside(c, v)
	}
	switch ruled.ruling {
	case superseded:
		set := v.change.Set
		v.change = changeFor(j.migrator.stageOf(now, ruled.legacy), ruled.legacy)
		v.change.Set = set
	case unrelated: // the user's, for all that anybody knows
		v.change.Watch = ruled.legacy != nil && j.migrator.stageOf(now, ruled.legacy) != StageReplace
	case outdated:
		v.change.Expire, v.change.Hide = []int{ruled.legacy.entry}, true
	case overtaken:
		won := j.migrator.move(ctx, r, ruled.legacy)
		if won.outcome == OutcomeMigrated {
			j.exchanges.RevokeLater(ctx, k.Session.ID)
		}
		return won
	case conflict:
		return decision{
			requestInfo: requestInfo{legacy: ruled.legacy},
			change:      cookies.Change{Clear: true, Expire: []int{ruled.legacy.entry}, Hide: true},
			notable:     notable{kind: kindConflict},
		}
	}
	return v
}

// retireBeside expires the legacy cookies beside a Stytch session, which stays,
// whoever they are of.
func (j *decider) retireBeside(c *cookies.Received, v decision) decision {
	set := v.change.Set
	v.change = j.migrator.retire(c)
	v.change.Set = set
	return v
}

// ruleOn rules on the legacy cookies of a request beside the session k. What
// was ruled of the same cookies before is taken from k.
func (j *decider) ruleOn(r *http.Request, c *cookies.Received, k *session.Entry) (*cachedRuling, error) {
	values := valuesOf(c)
	now := time.Now()
	judged := &attachmentOf(k).ruling
	if ruled := judged.Load(); ruled != nil && ruled.values == values && now.Before(ruled.until) {
		return ruled, nil
	}
	f, err := j.legacy.first(r, c)
	if err != nil {
		return nil, err
	}
	// A minute, for a value that is no session may become one, as where a second
	// factor was pending.
	ruled := &cachedRuling{values: values, legacy: f, until: now.Add(time.Minute)}
	if f != nil {
		ruled.ruling, f.fingerprint = j.rule(k.Session, f), j.report.fingerprint(f)
		if at := f.session.ExpiresAt; !at.IsZero() && at.Before(ruled.until) {
			ruled.until = at
		}
	}
	judged.Store(ruled)
	return ruled, nil
}

// valuesOf is the SHA-256 of the legacy cookies of a request, each under its
// entry of Config.Legacy: what they are may be long, and stays in memory with
// the session. No cookie's value has ";" or a line break in it.
func valuesOf(c *cookies.Received) (sum [sha256.Size]byte) {
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

func (j *decider) rule(s *stytch.Session, f *resolvedSession) ruling {
	if s.Origin != "" && s.Origin == f.key {
		return superseded
	}
	same, known := s.User.Compare(f.session.Identity)
	switch {
	case !known:
		return unrelated
	case same:
		return superseded
	case f.session.StartedAt.IsZero():
		return conflict
	case f.session.StartedAt.After(s.StartedAt):
		return overtaken
	}
	return outdated
}
