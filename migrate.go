package stytchmigrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/safe"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/userinfo"
)

// foundLegacy is the legacy session of a request.
type foundLegacy struct {
	entry   int // of Config.Legacy
	cookie  *LegacyCookie
	session LegacySession
	key     string // of its record

	fingerprint string // "" where it is not in memory, see judge.rule
}

// legacy finds the legacy sessions of requests.
type legacy struct {
	cookies []LegacyCookie // Config.Legacy
	names   *names.Names
}

// first returns the legacy session that a request carries: the first of
// Config.Legacy that has one decides. nil and no error: none. An error means
// that it can't be told, and its text is fit for a log.
func (l *legacy) first(r *http.Request, c *browser.Cookies) (*foundLegacy, error) {
	if !c.HasOld {
		return nil, nil
	}
	for i := range l.cookies {
		f, several, err := l.find(i, r, c.Old[i])
		if f != nil || several || err != nil {
			return f, err
		}
	}
	return nil, nil
}

// every returns every legacy session that a request carries, for an end to
// all of them, and what could not be told.
func (l *legacy) every(r *http.Request, c *browser.Cookies) (found []*foundLegacy, err error) {
	for i, values := range c.Old {
		for _, v := range values {
			f, failed := l.resolve(i, r, v)
			if f != nil {
				found = append(found, f)
			}
			err = errors.Join(err, failed)
		}
	}
	return found, err
}

// find resolves the values of one cookie. Several that are one session or one
// person count as one. Several people: nobody can say who is at the browser.
func (l *legacy) find(entry int, r *http.Request, values []string) (found *foundLegacy, several bool, err error) {
	if len(values) > browser.MaxDuplicates {
		return nil, true, nil
	}
	for _, v := range values {
		f, err := l.resolve(entry, r, v)
		switch {
		case err != nil:
			return nil, false, err
		case f == nil:
		case found == nil:
			found = f
		case !sameSession(found.session, f.session):
			return nil, true, nil
		}
	}
	return found, false, nil
}

// resolve returns the session of one value, or nil if there is none in it.
func (l *legacy) resolve(entry int, r *http.Request, value string) (*foundLegacy, error) {
	c := &l.cookies[entry]
	if len(value) > maxLegacyValue {
		return nil, nil
	}
	value = strings.Clone(value) // what is remembered of it keeps no header alive
	s, err := c.Resolve(r, value)
	switch {
	case errors.Is(err, ErrNoSession) || err == nil && !s.ExpiresAt.IsZero() && !time.Now().Before(s.ExpiresAt):
		return nil, nil
	case err != nil:
		return nil, resolveError(c.Name, err)
	}
	if s.ID == "" {
		s.ID = s.Token
	}
	if s.ID == "" {
		s.ID = Secret(value)
	}
	key := l.names.Record(c.Name, string(s.ID), s.Identity.Subject, s.StartedAt)
	return &foundLegacy{entry: entry, cookie: c, session: s, key: key}, nil
}

// sameSession goes by the person where both are known: some applications keep
// a session's id when another user signs in.
func sameSession(a, b LegacySession) bool {
	if a.Identity.Subject != "" && b.Identity.Subject != "" {
		return a.Identity.Subject == b.Identity.Subject
	}
	return a.ID == b.ID
}

// resolveError is safe to log: of an application's error only the type is
// kept, for its text may hold the cookie's value.
func resolveError(name string, err error) error {
	var setting safe.Setting
	if errors.As(err, &setting) {
		return setting
	}
	return fmt.Errorf("stytchmigrate: Resolve of cookie %q failed (%T)", name, err)
}

// move is the verdict on a legacy session that is the one that counts: it moves
// to Stytch, if the rollout has it so.
func (j *judge) move(ctx context.Context, r *http.Request, f *foundLegacy) verdict {
	now := j.rollout.now()
	switch {
	case j.isHeldBack(now, f):
		return j.leaveAlone(ctx, f, causeHeldBack, nil)
	case now.Stage == StageRetired:
		return verdict{change: browser.Change{Expire: []int{f.entry}, Strip: true}}
	case now.Stage == StageObserve:
		return j.leaveAlone(ctx, f, now.Stage.String(), nil)
	case now.stopped():
		return j.leaveAlone(ctx, f, causeUntil, nil)
	case now.Stage != StageShadow:
		return j.migrate(ctx, r, f, now.Stage)
	}
	v := j.leaveAlone(ctx, f, now.Stage.String(), nil)
	if v.outcome == OutcomeLegacy {
		j.tryOut(r, f)
	}
	return v
}

// stageOf is what becomes of a legacy session beside a Stytch session: where the
// rollout leaves it alone, both stay.
func (j *judge) stageOf(now *Rollout, f *foundLegacy) Stage {
	if now.stopped() || j.isHeldBack(now, f) {
		return StageKeep
	}
	return now.Stage
}

// leaveAlone is the verdict on a legacy session that does not move now. One that
// was logged out stays so: who has a copy of its cookie is nobody.
func (j *judge) leaveAlone(ctx context.Context, f *foundLegacy, cause string, why error) verdict {
	if j.endings.LegacyEverywhere(context.WithoutCancel(ctx), f.key) {
		return verdict{found: found{outcome: OutcomeRefused, legacy: f, err: exchange.ErrLoggedOut}}
	}
	return verdict{found: found{outcome: OutcomeLegacy, cause: cause, legacy: f, err: why}}
}

func (j *judge) migrate(ctx context.Context, r *http.Request, f *foundLegacy, stage Stage) verdict {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.Timeout) // less where a Stytch session was asked about before
	defer cancel()
	l := j.moving(f)
	x := j.exchanges.Do(ctx, l, func() (stytch.Exchange, error) { return j.cfg.prepare(r, f, l.Key) })
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
			v = j.leaveAlone(ctx, f, "", x.Err)
		} else {
			v.outcome = OutcomeUnavailable
			j.tell.logError(r.Context(), x.Err)
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

// isHeldBack reports whether a legacy session is among the percentage that is left
// alone: it has one place, and those below that are.
func (j *judge) isHeldBack(now *Rollout, f *foundLegacy) bool {
	if now.HoldBack <= 0 || now.HoldBack >= 100 {
		return now.HoldBack >= 100
	}
	return j.names.Place(f.session.Identity.Subject, string(f.session.ID)) < now.HoldBack/100
}

// moving is a legacy session as the exchange knows it.
func (j *judge) moving(f *foundLegacy) *exchange.Legacy {
	s := f.session
	l := &exchange.Legacy{Key: f.key, ID: string(s.ID), Identity: s.Identity}
	if f.cookie.End != nil {
		l.Source = &records.Source{
			Cookie: f.cookie.Name, Entry: f.entry, ID: string(s.ID), Token: string(s.Token),
			Identity: s.Identity, StartedAt: s.StartedAt, ExpiresAt: s.ExpiresAt,
		}
	}
	return l
}

// tryOut has a legacy session exchanged for nobody, and tells what it would have come
// to.
func (j *judge) tryOut(r *http.Request, f *foundLegacy) {
	l := j.moving(f)
	prepare := func() (stytch.Exchange, error) { return j.cfg.prepare(r, f, l.Key) }
	j.exchanges.TryOut(r.Context(), l, prepare, func(ctx context.Context, t exchange.Tried) {
		if t.Alone {
			level := slog.LevelWarn
			if stytch.AnswerOf(t.Err) != stytch.No { // a setting, and so nobody is going to move
				level = slog.LevelError
			}
			j.tell.log.LogAttrs(ctx, level, "stytchmigrate: legacy session could not move", slog.String("reason", safeText(t.Err)))
		}
		e := j.tell.event(kindShadow, &found{outcome: wouldBe(t.Err), legacy: f, err: t.Err})
		e.Duration = t.Took
		j.tell.emit(ctx, e)
		if t.UserID != "" {
			j.mismatched(ctx, f, t)
		}
	})
}

// wouldBe is the outcome of an exchange with that error.
func wouldBe(err error) Outcome {
	return [...]Outcome{stytch.CantTell: OutcomeUnavailable, stytch.Yes: OutcomeMigrated, stytch.No: OutcomeRefused}[stytch.AnswerOf(err)]
}

// mismatched tells of another person whom StageShadow found.
func (j *judge) mismatched(ctx context.Context, f *foundLegacy, t exchange.Tried) {
	e := j.tell.event(kindMismatch, &found{outcome: OutcomeLegacy, legacy: f, err: t.Err})
	e.Duration, e.UserID, e.Subject, e.Fingerprint = t.Took, safe.Identifier(t.UserID), subjectOf(f), j.tell.fingerprint(f)
	j.tell.log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: "+kindMismatch, slog.Any("event", e))
	j.tell.emit(ctx, e)
}

// safeText is an error of ours, and no other's, whose text may hold anything.
func safeText(err error) string {
	var setting safe.Setting
	if errors.As(err, &setting) || stytch.AsCall(err) != nil {
		return err.Error()
	}
	return "Config.Tickets could not mint a ticket"
}

// prepare makes the request for the exchange of a legacy session, in the goroutine
// of a request, for it runs code of the application. Its errors are about the
// session (an identity nobody verified: no) or about a setting (can't tell).
func (c *Config) prepare(r *http.Request, f *foundLegacy, key string) (in stytch.Exchange, err error) {
	s := f.session
	if s.Identity != (userinfo.Identity{}) {
		if err := s.Identity.Validate(); err != nil {
			return in, &stytch.CallError{Op: stytch.Migrate, Reason: err.Error(), Answer: stytch.No}
		}
	} else if s.Token == "" {
		return in, safe.Setting(fmt.Sprintf("Resolve of cookie %q returned neither Identity nor Token", f.cookie.Name))
	}
	if s.Token == "" && c.Tickets == nil {
		return in, safe.Setting(fmt.Sprintf("Resolve of cookie %q returned no Token, and Config.Tickets is not set", f.cookie.Name))
	}
	in.Token = string(s.Token)
	in.Minutes = session.Minutes(min(max(c.SessionDuration, time.Until(s.ExpiresAt)), maxDuration))
	if in.Claims, err = c.claims(s, key); err != nil {
		return in, err
	}
	if c.TelemetryID != nil {
		in.TelemetryID = c.TelemetryID(r)
	}
	return in, nil
}

// claims are the session's custom claims, with its origin. They are encoded
// here, for they may hold types of the application's, with methods of its own.
func (c *Config) claims(s LegacySession, key string) (json.RawMessage, error) {
	claims := map[string]any{}
	if c.SessionClaims != nil {
		for name, v := range c.SessionClaims(s) {
			switch name {
			case "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "https://stytch.com/session", stytch.OriginClaim:
				return nil, safe.Setting(fmt.Sprintf("SessionClaims returned the reserved name %q", name))
			}
			claims[name] = v
		}
	}
	claims[stytch.OriginClaim] = key
	encoded, err := json.Marshal(claims)
	if err != nil {
		return nil, safe.Setting("SessionClaims returned a value that JSON has no form for")
	}
	if len(encoded) > maxClaims {
		return nil, safe.Setting("SessionClaims returned more than 4 KB")
	}
	return encoded, nil
}
