package stytchmigrate

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/flight"
)

const (
	maxShadowed = 100_000 // legacy sessions that are remembered as tried out
	maxShadows  = 4       // exchanges at once; what is beyond comes with a later request
)

// shadow is what StageShadow has tried out, and what it is busy with.
type shadow struct {
	done  *lru.Cache[string, struct{}] // keys of legacy sessions
	slots chan struct{}                // one in it for each exchange under way
}

func newShadow() shadow {
	return shadow{done: newLRU[string, struct{}](maxShadowed), slots: make(chan struct{}, maxShadows)}
}

// try exchanges a legacy session for nobody, apart from the request, unless that
// was done before or there is no room. Only the preparation is the request's, for
// it runs code of the application.
func (m *Middleware) try(r *http.Request, f *foundLegacy, perSecond float64) {
	s, key := &m.rollout.shadow, m.migrator.key(f)
	if s.done.Contains(key) || m.migrator.refused(key) != nil || !m.rollout.pace.hasRoom(perSecond) {
		return
	}
	in, err := m.migrator.request(r, f, key)
	if err == nil && in.SessionToken == "" {
		in.SessionToken, err = m.migrator.mint(f.session.Identity)
	}
	if err != nil {
		if again, _ := s.done.ContainsOrAdd(key, struct{}{}); !again {
			level := slog.LevelWarn
			if answerOf(err) != no { // a setting, and so nobody is going to move
				level = slog.LevelError
			}
			m.cfg.Logger.LogAttrs(r.Context(), level, "stytchmigrate: legacy session could not move", slog.String("reason", safeText(err)))
			m.triedOut(r.Context(), f, err, 0)
		}
		return
	}
	select {
	case s.slots <- struct{}{}:
	default:
		return
	}
	again, _ := s.done.ContainsOrAdd(key, struct{}{})
	if again || !m.rollout.pace.take(perSecond) {
		if !again {
			s.done.Remove(key)
		}
		<-s.slots
		return
	}
	in.SessionDurationMinutes = minutes(minDuration) // should it not be possible to revoke it
	ctx := context.WithoutCancel(r.Context())
	flight.Apart(func() {
		defer func() { <-s.slots }()
		m.compare(ctx, f, key, in)
	})
}

// safeText is an error of ours, and no other's, whose text may hold anything.
func safeText(err error) string {
	var setting settingError
	var call *callError
	if errors.As(err, &setting) || errors.As(err, &call) {
		return err.Error()
	}
	return "Config.Tickets could not mint a ticket"
}

// compare makes the exchange, gives its session up at once, and tells if it was
// another person's. What can't be told is tried again.
func (m *Middleware) compare(ctx context.Context, f *foundLegacy, key string, in migrateRequest) {
	asking, cancel := context.WithTimeout(ctx, m.cfg.Timeout)
	defer cancel()
	began := time.Now()
	out, err := m.client.migrate(asking, in)
	took := time.Since(began)
	if err != nil {
		if x := failed(err); x.answer != no {
			if !x.until.IsZero() { // a no would hold up who moves in the stage that comes next
				m.migrator.refusals.Add(key, x)
			}
			m.rollout.shadow.done.Remove(key)
		}
		m.triedOut(ctx, f, err, took)
		return
	}
	revoking, stop := context.WithTimeout(ctx, m.cfg.Timeout)
	defer stop()
	m.migrator.revokeToken(revoking, out.SessionToken)
	if isPersonOf(&out.User, f.session.Identity) {
		m.triedOut(ctx, f, nil, took)
		return
	}
	m.triedOut(ctx, f, errAnotherPerson, took)
	v := verdict{found: found{outcome: OutcomeLegacy, legacy: f, err: errAnotherPerson}}
	e := m.event(kindMismatch, &v.found)
	e.Duration, e.UserID, e.Subject, e.Fingerprint = took, identifier(out.User.UserID), subjectOf(f), m.migrator.fingerprint(f)
	m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: "+kindMismatch, slog.Any("event", e))
	m.emit(ctx, e)
}

// triedOut tells what a legacy session would have come to.
func (m *Middleware) triedOut(ctx context.Context, f *foundLegacy, err error, took time.Duration) {
	outcome := [...]Outcome{cantTell: OutcomeUnavailable, yes: OutcomeMigrated, no: OutcomeRefused}[answerOf(err)]
	e := m.event(kindShadow, &found{outcome: outcome, legacy: f, err: err})
	e.Duration = took
	m.emit(ctx, e)
}
