package stytchmigrate

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/mistakes"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/oldcode"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
	"example.com/stytchmigrate/userinfo"
)

// notKeptAfter is after how many pages in a row a browser does not keep the cookies.
const notKeptAfter = 3

// migrator decides on legacy sessions by the Rollout in force, and has those
// exchanged that move.
type migrator struct {
	cfg        *Config
	cookies    *cookies.Policy
	exchanges  *exchange.Exchanger
	tombstones *tombstones.Tombstones
	names      *names.Names
	rollout    *rollout
	unkept     *mistakes.Pages // that gave a Stytch session again, by the key of the legacy session
	again      *mistakes.Pages // that expired a legacy cookie again, by the id of the Stytch session
	oldCode    *oldcode.Watch
	legacy     *legacyResolver
	report     *reporter
}

// decide returns the decision on the legacy session that counts, unless it is retired.
func (m *migrator) decide(ctx context.Context, r *http.Request, legacy *resolvedSession) decision {
	now := m.rollout.now()
	switch {
	case m.isHeldBack(now, legacy):
		return m.leaveAlone(ctx, legacy, causeHeldBack, nil)
	case now.Stage == StageRetired: // see retire
		return m.leaveAlone(ctx, legacy, causeStillSet, nil)
	case now.Stage == StageObserve:
		return m.leaveAlone(ctx, legacy, now.Stage.String(), nil)
	case now.stopped():
		return m.leaveAlone(ctx, legacy, causeUntil, nil)
	case now.Stage != StageShadow:
		return m.migrate(ctx, r, legacy)
	}
	out := m.leaveAlone(ctx, legacy, now.Stage.String(), nil)
	if out.outcome == OutcomeLegacy {
		m.shadow(r, legacy)
	}
	return out
}

// foresee is decide in words, for Explain: what a legacy session would come to now, as far
// as this process can tell without a call. held says that calls of exchanges are held back.
func (m *migrator) foresee(now *rolloutInForce, legacy *resolvedSession, held *outbound.HeldBack) string {
	remembered, why := m.exchanges.Refusal(legacy.key)
	switch isHeldBack := m.isHeldBack(now, legacy); {
	case m.tombstones.LegacyEndedLocal(legacy.key):
		return withCause(OutcomeRefused, "logged_out")
	case isHeldBack:
		return withCause(OutcomeLegacy, causeHeldBack)
	case now.Stage == StageRetired: // see decider.retire
		return withCause(OutcomeLegacy, causeStillSet)
	case now.Stage == StageObserve || now.Stage == StageShadow && !now.stopped():
		return withCause(OutcomeLegacy, now.Stage.String())
	case now.stopped():
		return withCause(OutcomeLegacy, causeUntil)
	case why != nil:
		return foreseeError(why) + fmt.Sprintf("; this is remembered for %v", remembered.Truncate(time.Second))
	}
	const change = "; the Stytch cookies are set, and the old cookie stays"
	switch err := m.cfg.checkMovable(legacy); {
	case err != nil:
		return foreseeError(err)
	case m.exchanges.Records.HasLocal(legacy.key):
		return withCause(OutcomeMigrated, causeRecord) + ", if the session that it became is alive" + change
	case !m.rollout.HasRoom():
		return withCause(OutcomeLegacy, "per_second")
	case held != nil:
		return withCause(OutcomeUnavailable, causeHeldBack) + ": " + held.Reason
	}
	return withCause(OutcomeMigrated, causeExchange) + ", if Stytch says yes" + change
}

// foreseeError is the outcome that an error of an exchange, which is ours, leads to.
func foreseeError(err error) string {
	outcome := OutcomeUnavailable
	if stytch.AnswerOf(err) == stytch.No {
		outcome = OutcomeRefused
	}
	return withCause(outcome, causeOf(err)) + ": " + ownText(err)
}

func withCause(o Outcome, cause string) string {
	if cause == "" {
		return o.String()
	}
	return o.String() + ", cause " + cause
}

// ownText is the text of an error of ours on one line.
func ownText(err error) string {
	text := err.Error()
	if call := stytch.AsCall(err); call != nil && call.API == nil {
		text = call.Reason
	}
	return strings.ReplaceAll(strings.TrimPrefix(text, "stytchmigrate: "), "\n", ", ")
}

// stageForCookie returns the stage that decides what becomes of a legacy cookie beside a
// Stytch session. If the rollout leaves the legacy session alone, both cookies stay.
func (m *migrator) stageForCookie(now *rolloutInForce, legacy *resolvedSession) Stage {
	if now.stopped() || m.isHeldBack(now, legacy) {
		return StageKeep
	}
	return now.Stage
}

// leaveAlone is the decision on a legacy session that does not move now. A session
// that was logged out is refused: this request has a copy of its cookie.
func (m *migrator) leaveAlone(ctx context.Context, legacy *resolvedSession, cause string, why error) decision {
	if m.tombstones.LegacyEnded(context.WithoutCancel(ctx), legacy.key) {
		return decision{requestInfo: requestInfo{outcome: OutcomeRefused, legacy: legacy, err: exchange.ErrLoggedOut}}
	}
	return decision{requestInfo: requestInfo{outcome: OutcomeLegacy, cause: cause, legacy: legacy, err: why}}
}

// migrate exchanges a legacy session. The legacy cookie stays in every stage: a proxy or
// a browser may drop the Stytch cookies of this response and obey a deletion in it.
func (m *migrator) migrate(ctx context.Context, r *http.Request, legacy *resolvedSession) decision {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout) // ctx may have less time left: decide's, for all calls of a request
	defer cancel()
	prepare := func() (stytch.ExchangeRequest, error) { return m.cfg.exchangeRequest(r, legacy) }
	given := m.unkept.Of(legacy.key)
	result := m.exchanges.Exchange(ctx, m.exchangeLegacy(legacy), prepare)
	out := decision{requestInfo: requestInfo{legacy: legacy, err: result.Err}, notable: notable{exchangeKinds[result.Event], result.UserID}}
	switch result.Answer {
	case stytch.Yes:
		info := attachmentOf(result.Entry).info
		out.outcome, out.user, out.session = OutcomeMigrated, info.user, info.session
		if out.cause = causeExchange; result.Recorded {
			out.cause = causeRecord
		}
		out.change, out.given, out.samePerson = cookies.Change{Set: tokensOf(result.Entry), Watch: true}, given, true
		return out
	case stytch.No:
		out.outcome = OutcomeRefused
		return out
	}
	if exchange.IsNoRoom(result.Err) {
		out = m.leaveAlone(ctx, legacy, "", result.Err)
	} else {
		out.outcome = OutcomeUnavailable
		m.report.logError(r.Context(), result.Err)
	}
	// The exchange may still be under way, here or on another machine. If the old code
	// logs the user out meanwhile, the session that comes of it must end too.
	out.change.Watch = true
	return out
}

// exchangeKinds are the kinds of the events of an exchange.
var exchangeKinds = [...]string{exchange.NoEvent: "", exchange.Mismatch: kindMismatch, exchange.Created: kindCreated}

// legacyCookieChange returns what becomes of a legacy cookie beside a live Stytch
// session of the same person. The request shows that the browser keeps that session's
// cookies, so StageReplace expires the old one. A visitor's cookie of the same name, in
// another scope, would be hidden or expired with it.
func legacyCookieChange(s Stage, legacy *resolvedSession) cookies.Change {
	if s == StageReplace && !legacy.mixed {
		return cookies.Change{Expire: []int{legacy.entry}}
	}
	return cookies.Change{Watch: true}
}

// isHeldBack reports whether HoldBack leaves a legacy session alone. Each person has
// one place between 0 and 1, so lowering HoldBack only adds users.
func (m *migrator) isHeldBack(now *rolloutInForce, legacy *resolvedSession) bool {
	switch {
	case now.HoldBack <= 0, now.isFirst(legacy.session.Identity.Subject):
		return false
	case now.HoldBack >= 100:
		return true
	}
	return m.names.Place(legacy.session.Identity.Subject, string(legacy.session.ID)) < now.HoldBack/100
}

// exchangeLegacy is a legacy session as the exchange knows it.
func (m *migrator) exchangeLegacy(legacy *resolvedSession) *exchange.Legacy {
	s := legacy.session
	out := &exchange.Legacy{Key: legacy.key, ID: redact.Secret(s.ID), Identity: s.Identity}
	if legacy.cookie.End != nil {
		out.Source = &records.Source{
			Cookie: legacy.cookie.Name, Entry: legacy.entry, ID: redact.Secret(s.ID), Token: redact.Secret(s.Token),
			Identity: s.Identity, StartedAt: s.StartedAt, ExpiresAt: s.ExpiresAt, UntilBrowserCloses: s.UntilBrowserCloses,
		}
	}
	return out
}

// shadow exchanges a legacy session to see what comes of it, and reports that. No
// request gets the session.
func (m *migrator) shadow(r *http.Request, legacy *resolvedSession) {
	prepare := func() (stytch.ExchangeRequest, error) { return m.cfg.exchangeRequest(r, legacy) }
	m.exchanges.Shadow(r.Context(), m.exchangeLegacy(legacy), prepare, func(ctx context.Context, s exchange.ShadowResult) {
		m.report.shadow(ctx, legacy, s)
	})
}

// exchangeRequest returns what Stytch is sent for a legacy session. It runs code of
// the application, so it is called in the goroutine of a request. Its errors are
// about the session (an identity that is not verified: no) or about a setting (can't
// tell).
func (c *Config) exchangeRequest(r *http.Request, legacy *resolvedSession) (in stytch.ExchangeRequest, err error) {
	if err := c.checkMovable(legacy); err != nil {
		return in, err
	}
	s := legacy.session
	in.Token = redact.Secret(s.Token)
	in.Minutes = session.Minutes(min(max(c.SessionDuration, time.Until(s.ExpiresAt)), maxDuration))
	if in.Claims, err = c.claims(s, legacy.key); err != nil {
		return in, err
	}
	if c.TelemetryID != nil {
		in.TelemetryID = c.TelemetryID(r)
	}
	return in, nil
}

// checkMovable returns why Stytch can't be sent a legacy session, whatever Stytch would say.
func (c *Config) checkMovable(legacy *resolvedSession) error {
	s, cookie := legacy.session, legacy.cookie.Name
	switch {
	case s.Identity != (userinfo.Identity{}):
		if err := s.Identity.Validate(); err != nil {
			return &stytch.CallError{Op: stytch.Migrate, Reason: err.Error(), Answer: stytch.No}
		}
	case s.Token == "":
		return redact.Setting(fmt.Sprintf("Resolve of cookie %q returned neither Identity nor Token", cookie))
	}
	if s.Token == "" && c.Tickets == nil {
		return redact.Setting(fmt.Sprintf("Resolve of cookie %q returned no Token, and Config.Tickets is not set", cookie))
	}
	return nil
}

// claims returns the custom claims of a session, among them its origin, and whether its
// cookies go with the browser. They are encoded here, because they may be types of the
// application with a MarshalJSON of their own.
func (c *Config) claims(s LegacySession, key string) (json.RawMessage, error) {
	claims := map[string]any{}
	if c.SessionClaims != nil {
		for name, v := range c.SessionClaims(s) {
			switch name {
			case "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "https://stytch.com/session", stytch.OriginClaim, stytch.BrowserClaim:
				return nil, redact.Setting(fmt.Sprintf("SessionClaims returned the reserved name %q", name))
			}
			claims[name] = v
		}
	}
	own := len(claims)
	claims[stytch.OriginClaim] = key
	if s.UntilBrowserCloses {
		claims[stytch.BrowserClaim] = true
	}
	encoded, err := json.Marshal(claims)
	if err != nil {
		return nil, redact.Setting("SessionClaims returned a value that JSON has no form for")
	}
	if len(encoded) > maxClaims {
		return nil, redact.Setting("SessionClaims returned more than 4 KB")
	}
	const most = sessionjwt.MaxCustomClaims - 2                 // beside the two of this package
	if own > most || !sessionjwt.AcceptsCustomClaims(encoded) { // the session's JWT would be refused here
		return nil, redact.Setting(fmt.Sprintf("SessionClaims returned more than %d claims, or claims that are nested too deep", most))
	}
	return encoded, nil
}

// stillSet tells the other machines and the operator that the old code is alive in
// StageRetired.
func (m *migrator) stillSet(ctx context.Context, legacy *resolvedSession) {
	m.oldCode.Share(ctx)
	if m.oldCode.TellNow() {
		m.report.stillSet(ctx, legacy)
	}
}

// heard looks in StageRetired at what a handler has set, in the header of a response that
// may be under way. A legacy cookie with a session in it shows that the old code is alive.
func (m *migrator) heard(r *http.Request, h http.Header) {
	for entry, value := range m.cookies.LegacySet(h) {
		var set *resolvedSession
		if !m.oldCode.JustSet() {
			var err error
			if set, err = m.legacy.resolve(entry, r, value); err != nil {
				m.oldCode.MaySet()
				continue
			} else if set == nil {
				continue
			}
			m.oldCode.Set()
		}
		m.stillSet(context.WithoutCancel(r.Context()), set)
		return
	}
}
