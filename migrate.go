package stytchmigrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
	"example.com/stytchmigrate/userinfo"
)

// mover moves legacy sessions to Stytch, as the rollout has it.
type migrator struct {
	cfg        *Config
	exchanges  *exchange.Exchanger
	tombstones *tombstones.Tombstones
	names      *names.Names
	rollout    *rollout
	report     *reporter
}

// move is the verdict on a legacy session that is the one that counts: it moves
// to Stytch, if the rollout has it so.
func (m *migrator) move(ctx context.Context, r *http.Request, f *resolvedSession) decision {
	now := m.rollout.now()
	switch {
	case m.isHeldBack(now, f):
		return m.leaveAlone(ctx, f, causeHeldBack, nil)
	case now.Stage == StageRetired:
		return decision{change: cookies.Change{Expire: []int{f.entry}, Hide: true}}
	case now.Stage == StageObserve:
		return m.leaveAlone(ctx, f, now.Stage.String(), nil)
	case now.stopped():
		return m.leaveAlone(ctx, f, causeUntil, nil)
	case now.Stage != StageShadow:
		return m.migrate(ctx, r, f, now.Stage)
	}
	v := m.leaveAlone(ctx, f, now.Stage.String(), nil)
	if v.outcome == OutcomeLegacy {
		m.shadow(r, f)
	}
	return v
}

// stageOf is what becomes of a legacy session beside a Stytch session: where the
// rollout leaves it alone, both stay.
func (m *migrator) stageOf(now *Rollout, f *resolvedSession) Stage {
	if now.stopped() || m.isHeldBack(now, f) {
		return StageKeep
	}
	return now.Stage
}

// leaveAlone is the verdict on a legacy session that does not move now. One that
// was logged out stays so: who has a copy of its cookie is nobody.
func (m *migrator) leaveAlone(ctx context.Context, f *resolvedSession, cause string, why error) decision {
	if m.tombstones.LegacyEnded(context.WithoutCancel(ctx), f.key) {
		return decision{requestInfo: requestInfo{outcome: OutcomeRefused, legacy: f, err: exchange.ErrLoggedOut}}
	}
	return decision{requestInfo: requestInfo{outcome: OutcomeLegacy, cause: cause, legacy: f, err: why}}
}

func (m *migrator) migrate(ctx context.Context, r *http.Request, f *resolvedSession, stage Stage) decision {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout) // less where a Stytch session was asked about before
	defer cancel()
	l := m.exchangeLegacy(f)
	x := m.exchanges.Do(ctx, l, func() (stytch.ExchangeRequest, error) { return m.cfg.prepare(r, f, l.Key) })
	v := decision{requestInfo: requestInfo{legacy: f, err: x.Err}, notable: notable{oddKinds[x.Event], x.UserID}}
	switch x.Answer {
	case stytch.Yes:
		told := attachmentOf(x.Entry).info
		v.outcome, v.user, v.session = OutcomeMigrated, told.user, told.session
		if v.cause = causeExchange; x.Recorded {
			v.cause = causeRecord
		}
		v.change = changeFor(stage, f)
		v.change.Set = tokensOf(x.Entry)
	case stytch.No:
		v.outcome = OutcomeRefused
	default:
		if exchange.IsNoRoom(x.Err) {
			v = m.leaveAlone(ctx, f, "", x.Err)
		} else {
			v.outcome = OutcomeUnavailable
			m.report.logError(r.Context(), x.Err)
		}
		// The exchange may be under way, here or on another machine. If the old code
		// logs out meanwhile, nobody is to be handed what comes of it.
		v.change.Watch = true
	}
	return v
}

// oddKinds are the kinds of what happens beside an exchange.
var oddKinds = [...]string{exchange.NoEvent: "", exchange.Mismatch: kindMismatch, exchange.Created: kindCreated}

// beside is what becomes of a legacy cookie beside a Stytch session of the same
// person.
func changeFor(s Stage, f *resolvedSession) cookies.Change {
	if s == StageReplace {
		return cookies.Change{Expire: []int{f.entry}}
	}
	return cookies.Change{Watch: true}
}

// isHeldBack reports whether a legacy session is among the percentage that is left
// alone: it has one place, and those below that are.
func (m *migrator) isHeldBack(now *Rollout, f *resolvedSession) bool {
	if now.HoldBack <= 0 || now.HoldBack >= 100 {
		return now.HoldBack >= 100
	}
	return m.names.Place(f.session.Identity.Subject, string(f.session.ID)) < now.HoldBack/100
}

// moving is a legacy session as the exchange knows it.
func (m *migrator) exchangeLegacy(f *resolvedSession) *exchange.Legacy {
	s := f.session
	l := &exchange.Legacy{Key: f.key, ID: redact.Secret(s.ID), Identity: s.Identity}
	if f.cookie.End != nil {
		l.Source = &records.Source{
			Cookie: f.cookie.Name, Entry: f.entry, ID: redact.Secret(s.ID), Token: redact.Secret(s.Token),
			Identity: s.Identity, StartedAt: s.StartedAt, ExpiresAt: s.ExpiresAt,
		}
	}
	return l
}

// tryOut has a legacy session exchanged for nobody, and tells what it would have come
// to.
func (m *migrator) shadow(r *http.Request, f *resolvedSession) {
	l := m.exchangeLegacy(f)
	prepare := func() (stytch.ExchangeRequest, error) { return m.cfg.prepare(r, f, l.Key) }
	m.exchanges.Shadow(r.Context(), l, prepare, func(ctx context.Context, t exchange.ShadowResult) {
		if t.NotSent {
			level := slog.LevelWarn
			if stytch.AnswerOf(t.Err) != stytch.No { // a setting, and so nobody is going to move
				level = slog.LevelError
			}
			m.report.log.LogAttrs(ctx, level, "stytchmigrate: legacy session could not move", slog.String("reason", safeText(t.Err)))
		}
		e := m.report.event(kindShadow, &requestInfo{outcome: shadowOutcome(t.Err), legacy: f, err: t.Err})
		e.Duration = t.Took
		m.report.emit(ctx, e)
		if t.UserID != "" {
			m.reportMismatch(ctx, f, t)
		}
	})
}

// wouldBe is the outcome of an exchange with that error.
func shadowOutcome(err error) Outcome {
	return [...]Outcome{stytch.CantTell: OutcomeUnavailable, stytch.Yes: OutcomeMigrated, stytch.No: OutcomeRefused}[stytch.AnswerOf(err)]
}

// mismatched tells of another person whom StageShadow found.
func (m *migrator) reportMismatch(ctx context.Context, f *resolvedSession, t exchange.ShadowResult) {
	e := m.report.event(kindMismatch, &requestInfo{outcome: OutcomeLegacy, legacy: f, err: t.Err})
	e.Duration, e.UserID, e.Subject, e.Fingerprint = t.Took, redact.Identifier(t.UserID), subjectOf(f), m.report.fingerprint(f)
	m.report.log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: "+kindMismatch, slog.Any("event", e))
	m.report.emit(ctx, e)
}

// safeText is an error of ours, and no other's, whose text may hold anything.
func safeText(err error) string {
	var setting redact.Setting
	if errors.As(err, &setting) || stytch.AsCall(err) != nil {
		return err.Error()
	}
	return "Config.Tickets could not mint a ticket"
}

// prepare makes the request for the exchange of a legacy session, in the goroutine
// of a request, for it runs code of the application. Its errors are about the
// session (an identity nobody verified: no) or about a setting (can't tell).
func (c *Config) prepare(r *http.Request, f *resolvedSession, key string) (in stytch.ExchangeRequest, err error) {
	s := f.session
	if s.Identity != (userinfo.Identity{}) {
		if err := s.Identity.Validate(); err != nil {
			return in, &stytch.CallError{Op: stytch.Migrate, Reason: err.Error(), Answer: stytch.No}
		}
	} else if s.Token == "" {
		return in, redact.Setting(fmt.Sprintf("Resolve of cookie %q returned neither Identity nor Token", f.cookie.Name))
	}
	if s.Token == "" && c.Tickets == nil {
		return in, redact.Setting(fmt.Sprintf("Resolve of cookie %q returned no Token, and Config.Tickets is not set", f.cookie.Name))
	}
	in.Token = redact.Secret(s.Token)
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
				return nil, redact.Setting(fmt.Sprintf("SessionClaims returned the reserved name %q", name))
			}
			claims[name] = v
		}
	}
	claims[stytch.OriginClaim] = key
	encoded, err := json.Marshal(claims)
	if err != nil {
		return nil, redact.Setting("SessionClaims returned a value that JSON has no form for")
	}
	if len(encoded) > maxClaims {
		return nil, redact.Setting("SessionClaims returned more than 4 KB")
	}
	return encoded, nil
}

// retire expires every legacy cookie of a request, and hides them. Resolve is not
// asked: what it looks sessions up in may be gone.
func (m *migrator) retire(c *cookies.Received) (ch cookies.Change) {
	for i, values := range c.Legacy {
		if len(values) > 0 {
			ch.Expire = append(ch.Expire, i)
		}
	}
	ch.Hide, ch.IgnoreLegacy = len(ch.Expire) > 0, m.rollout.now().retired()
	return ch
}
