package stytchmigrate

import (
	"context"
	"errors"
	"net/http"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/endings"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/names"
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

// judge gives the verdict on requests.
type judge struct {
	cfg       *Config
	names     *names.Names
	browser   *browser.Browser
	legacy    *legacy
	endings   *endings.Endings
	sessions  *session.Sessions
	exchanges *exchange.Exchanger
	rollout   *rollout
	tell      *teller
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
		ctx, cancel = context.WithTimeout(ctx, j.cfg.Timeout)
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
		return j.decideBoth(ctx, r, c, st.Alive, v)
	}
	return v
}

func tokensOf(k *session.Known) *browser.Tokens {
	return &browser.Tokens{Session: k.Session.Token, JWT: k.Session.JWT, Expires: k.Session.ExpiresAt}
}

// decideLegacy judges a request that has no Stytch session alive.
func (j *judge) decideLegacy(ctx context.Context, r *http.Request, c *browser.Cookies) verdict {
	if j.rollout.now().retired() {
		return verdict{change: j.retire(c)}
	}
	f, err := j.legacy.first(r, c)
	switch {
	case err != nil:
		j.tell.logError(r.Context(), err)
		return verdict{found: found{outcome: OutcomeUnavailable, err: err}}
	case f == nil:
		return verdict{}
	}
	return j.move(ctx, r, f)
}

// stillServed returns the legacy session by which the old code goes on to serve a
// user about whom Stytch can't be asked.
func (j *judge) stillServed(r *http.Request, c *browser.Cookies) (*foundLegacy, error) {
	if j.rollout.now().retired() {
		return nil, nil
	}
	return j.legacy.first(r, c)
}

// retire expires every legacy cookie of a request, and hides them. Resolve is not
// asked: what it looks sessions up in may be gone.
func (j *judge) retire(c *browser.Cookies) (ch browser.Change) {
	for i, values := range c.Old {
		if len(values) > 0 {
			ch.Expire = append(ch.Expire, i)
		}
	}
	ch.Strip, ch.Over = len(ch.Expire) > 0, j.rollout.now().retired()
	return ch
}
