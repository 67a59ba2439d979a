package stytchmigrate

import (
	"context"
	"time"

	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/sessionjwt"
)

// ask is one sessions/authenticate call, shared by all who ask the same. c is
// of the JWT that the request has, if one verified. What was checked here never
// waits for a call about the same that was not, which may be held back, and takes
// no answer from one: nobody else can say what is believed of a session.
func (s *sessions) ask(ctx context.Context, in authenticateRequest, c *sessionjwt.Claims) (*known, error) {
	var want expected
	id := ""
	if c != nil {
		id = c.SessionID
	}
	kind, value := byte('t'), in.SessionToken
	if in.SessionJWT != "" {
		kind, value = 'j', in.SessionJWT
	}
	cookie := keyOf(kind, value)
	before, remembered := s.known.Peek(knownKey{kind, value})
	switch {
	case s.unknown.get(string(cookie[:])) != nil:
		return nil, errUnknownToken
	case remembered:
		want = expected{before.session.SessionID, before.session.ExpiresAt}
	case in.SessionJWT != "" && s.ended.Contains(id):
		return nil, errEnded
	case in.SessionJWT != "" && c != nil: // of a token beside a JWT it says nothing
		want = expected{c.SessionID, c.SessionExpiresAt}
	}
	if want.sessionID != "" {
		ctx = outbound.Vouched(ctx)
	}
	key := in.SessionToken + "\x00" + in.SessionJWT + "\x00" + want.sessionID
	k, err := s.flights.Do(ctx, key, func(ctx context.Context) (*known, error) {
		if k := s.recall(in.SessionToken, id); k != nil { // the same call has just ended
			return k, nil
		}
		k, err := s.askStytch(ctx, in, want)
		if answerOf(err) == no { // for those too who wait no longer
			s.unknown.put(string(cookie[:]), []byte{}, keepUnknown)
		}
		return k, err
	})
	if err == nil && s.hasEnded(k) {
		return nil, errEnded
	}
	return k, err
}

// expected is a session that something speaks for before Stytch is asked: a JWT of
// ours though it has expired, or what is in memory. The zero value: nothing does.
type expected struct {
	sessionID string
	expires   time.Time
}

// askStytch makes the call of ask.
func (s *sessions) askStytch(ctx context.Context, in authenticateRequest, want expected) (*known, error) {
	out, err := s.client.authenticate(ctx, in)
	switch {
	case answerOf(err) == no && time.Until(want.expires) > ranOut && !s.ended.Contains(want.sessionID) &&
		!s.endedElsewhere(ctx, want.sessionID): // a logout on any machine is why, and no reason to doubt
		return nil, s.believe(ctx, err, want.sessionID)
	case err != nil:
		return nil, err
	}
	if in.SessionDurationMinutes == 0 && s.due(out.Session.ExpiresAt) { // as only the answer tells
		in.SessionDurationMinutes = minutes(s.extendBy)
		if longer, err := s.client.authenticate(ctx, in); err == nil {
			out = longer
		}
	}
	at := time.Now()
	if s.endedElsewhere(ctx, out.Session.SessionID) {
		return nil, errEnded
	}
	origin, _ := out.Session.CustomClaims[originClaim].(string)
	if origin != "" && s.originEndedElsewhere(ctx, origin) { // it was made while the store could not tell
		s.end(out.Session.SessionID)
		s.abandon(ctx, revokeRequest{SessionID: out.Session.SessionID})
		return nil, errEnded
	}
	k, err := s.learn(out, at)
	if err == nil {
		s.isAlive(k)
	}
	return k, err
}

// confirm asks Stytch about a recorded session, unless it spoke of that a moment
// ago.
func (s *sessions) confirm(ctx context.Context, r *record) (*known, error) {
	if s.endedElsewhere(ctx, r.Answer.Session.SessionID) {
		return nil, errEnded
	}
	if k := s.bySession(r.Answer.Session.SessionID); k != nil && time.Since(k.asked).Abs() < recordFresh {
		return k, nil
	}
	if time.Since(r.At).Abs() < recordFresh {
		return s.learn(&r.Answer, r.At)
	}
	token := string(r.Answer.SessionToken)
	in := authenticateRequest{SessionToken: token, SessionDurationMinutes: s.extension(token, nil)}
	return s.askStytch(outbound.Vouched(ctx), in, expected{r.Answer.Session.SessionID, r.Answer.Session.ExpiresAt})
}

// errEnded is the answer "no" that this process gives itself: it logged that
// session out, and an answer that was under way must not bring it back.
var errEnded = &callError{op: "authenticate", reason: "the session was logged out", answer: no}

var errUnknownToken = &callError{op: "authenticate", reason: "Stytch did not know the token a moment ago", answer: no}

// abandon revokes a session that nobody is to have. That it fails is said: the
// session is in nobody's hands, but alive.
func (s *sessions) abandon(ctx context.Context, in revokeRequest) {
	if err := s.client.revoke(ctx, in); err != nil {
		s.loud(kindRevocation, err)
	}
}
