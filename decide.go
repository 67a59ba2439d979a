package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"time"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/endings"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

// judge gives the verdict on requests.
type judge struct {
	sessions  *session.Sessions
	exchanges *exchange.Exchanger
	legacy    *legacy
	endings   *endings.Endings
	tell      *teller
	mover     *mover
	timeout   time.Duration
}

// decide gives the verdict on a request. It touches neither the request nor
// the response.
func (j *judge) decide(r *http.Request, c *browser.Cookies) verdict {
	if c.None() {
		return verdict{}
	}
	ctx := r.Context()
	if c.HasStytch() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.timeout)
		defer cancel()
	}
	v := j.decideStytch(ctx, r, c)
	ended := j.hide(ctx, &v)
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
func (j *judge) hide(ctx context.Context, v *verdict) (ended bool) {
	told := v.outcome == OutcomeRefused || v.outcome == OutcomeUnavailable
	if told && v.legacy != nil && !v.legacy.session.StartedAt.IsZero() {
		ended = j.endings.LegacyEverywhere(context.WithoutCancel(ctx), v.legacy.key)
	}
	v.hidden = v.hidden || ended
	return ended
}

// decideStytch judges a request by its Stytch session, if it has one.
func (j *judge) decideStytch(ctx context.Context, r *http.Request, c *browser.Cookies) verdict {
	st := session.State{Alive: j.sessions.Remembered(c.JWTs), Cause: session.Memory}
	if st.Alive == nil && c.HasStytch() {
		st = j.sessions.Find(ctx, c.JWTs, c.Tokens)
	}
	if st.Ended != "" {
		_ = j.endings.EndLegacy(ctx, st.Ended)
	}
	switch {
	case st.Err != nil:
		f, err := j.stillServed(r, c)
		j.tell.logError(r.Context(), err)
		v := verdict{found: found{outcome: OutcomeUnavailable, legacy: f, err: st.Err}}
		if err != nil { // whoever looks whether old cookies still come must hear of this one
			v.cause = causeApplication
		}
		v.hidden = f != nil && st.Stale != nil && st.Stale.LegacySession != f.key
		return v
	case st.Nobody:
		return verdict{}
	case st.Alive == nil:
		v := j.decideLegacy(ctx, r, c)
		v.change.Clear = st.Clear
		if v.odd.kind == "" && st.Mismatch {
			v.odd.kind = kindMismatch
		}
		return v
	}
	v := verdict{found: *keptWith(st.Alive).found}
	v.cause = st.Cause
	if st.Write {
		v.change.Set = tokensOf(st.Alive)
	}
	if c.HasOld {
		return j.decideBoth(ctx, r, c, st.Alive, v)
	}
	return v
}

// decideLegacy judges a request that has no Stytch session alive.
func (j *judge) decideLegacy(ctx context.Context, r *http.Request, c *browser.Cookies) verdict {
	if j.mover.rollout.now().retired() {
		return verdict{change: j.mover.retire(c)}
	}
	f, err := j.legacy.first(r, c)
	switch {
	case err != nil:
		j.tell.logError(r.Context(), err)
		return verdict{found: found{outcome: OutcomeUnavailable, err: err}}
	case f == nil:
		return verdict{}
	}
	return j.mover.move(ctx, r, f)
}

// stillServed returns the legacy session by which the old code goes on to serve a
// user about whom Stytch can't be asked.
func (j *judge) stillServed(r *http.Request, c *browser.Cookies) (*foundLegacy, error) {
	if j.mover.rollout.now().retired() {
		return nil, nil
	}
	return j.legacy.first(r, c)
}

// decideBoth judges a request with a Stytch session alive and a legacy cookie.
// v is the verdict on the Stytch session alone.
func (j *judge) decideBoth(ctx context.Context, r *http.Request, c *browser.Cookies, k *session.Known, v verdict) verdict {
	now := j.mover.rollout.now()
	if now.retired() {
		return j.retireBeside(c, v)
	}
	ruled, err := j.ruleOn(r, c, k)
	if err != nil {
		j.tell.logError(r.Context(), err)
		return v
	}
	if ruled.legacy != nil {
		v.legacy = ruled.legacy
	}
	if now.Stage == StageRetired && ruled.legacy != nil && !j.mover.isHeldBack(now, ruled.legacy) {
		return j.retireBeside(c, v)
	}
	switch ruled.ruling {
	case superseded:
		set := v.change.Set
		v.change = beside(j.mover.stageOf(now, ruled.legacy), ruled.legacy)
		v.change.Set = set
	case nothingAgainst: // the user's, for all that anybody knows
		v.change.Watch = ruled.legacy != nil && j.mover.stageOf(now, ruled.legacy) != StageReplace
	case outdated:
		v.change.Expire, v.change.Strip = []int{ruled.legacy.entry}, true
	case overtaken:
		won := j.mover.move(ctx, r, ruled.legacy)
		if won.outcome == OutcomeMigrated {
			j.exchanges.RevokeLater(ctx, k.Session.ID)
		}
		return won
	case conflict:
		return verdict{
			found:  found{legacy: ruled.legacy},
			change: browser.Change{Clear: true, Expire: []int{ruled.legacy.entry}, Strip: true},
			odd:    oddity{kind: kindConflict},
		}
	}
	return v
}

// retireBeside expires the legacy cookies beside a Stytch session, which stays,
// whoever they are of.
func (j *judge) retireBeside(c *browser.Cookies, v verdict) verdict {
	set := v.change.Set
	v.change = j.mover.retire(c)
	v.change.Set = set
	return v
}

// ruleOn rules on the legacy cookies of a request beside the session k. What
// was ruled of the same cookies before is taken from k.
func (j *judge) ruleOn(r *http.Request, c *browser.Cookies, k *session.Known) (*judgement, error) {
	values := valuesOf(c)
	now := time.Now()
	judged := &keptWith(k).judged
	if ruled := judged.Load(); ruled != nil && ruled.values == values && now.Before(ruled.until) {
		return ruled, nil
	}
	f, err := j.legacy.first(r, c)
	if err != nil {
		return nil, err
	}
	// A minute, for a value that is no session may become one, as where a second
	// factor was pending.
	ruled := &judgement{values: values, legacy: f, until: now.Add(time.Minute)}
	if f != nil {
		ruled.ruling, f.fingerprint = j.rule(k.Session, f), j.tell.fingerprint(f)
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

func (j *judge) rule(s *stytch.Session, f *foundLegacy) ruling {
	if s.Origin != "" && s.Origin == f.key {
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
