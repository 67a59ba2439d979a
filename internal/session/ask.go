package session

import (
	"context"
	"time"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
)

// question is what Stytch is asked about a session, and for how many minutes it is
// to live from now on; 0: as it does.
type question struct {
	stytch.SessionRef
	minutes int
}

// cookie is what the question is about, as a browser sent it.
func (q *question) cookie() entryKey {
	if q.JWT != "" {
		return entryKey{'j', q.JWT}
	}
	return entryKey{'t', q.Token}
}

// ask is one question, shared by all who ask the same. c is
// of the JWT that the request has, if one verified. What was checked here never
// waits for a call about the same that was not, which may be held back, and takes
// no answer from one: nobody else can say what is believed of a session.
func (s *Sessions) ask(ctx context.Context, q question, c *sessionjwt.Claims) (*Entry, error) {
	var want expected
	id := ""
	if c != nil {
		id = c.SessionID
	}
	cookie := q.cookie()
	hash := cookie.hash()
	before, remembered := s.entries.Peek(cookie)
	_, unknown := s.unknown.Get(hash)
	switch {
	case unknown:
		return nil, errUnknownToken
	case remembered:
		want = expected{before.Session.ID, before.Session.ExpiresAt}
	case q.JWT != "" && s.Tombstones.SessionEndedLocal(id):
		return nil, ErrEnded
	case q.JWT != "" && c != nil: // of a token beside a JWT it says nothing
		want = expected{c.SessionID, c.SessionExpiresAt}
	}
	q.Vouched = want.sessionID != ""
	key := string(q.Token + "\x00" + q.JWT + "\x00" + redact.Secret(want.sessionID))
	k, err := s.flights.Do(ctx, key, func(ctx context.Context) (*Entry, error) {
		if k := s.recent(q.Token, id); k != nil { // the same call has just ended
			return k, nil
		}
		k, err := s.authenticate(ctx, q, want)
		if stytch.AnswerOf(err) == stytch.No { // for those too who wait no longer
			s.unknown.Put(hash, struct{}{}, keepUnknown)
		}
		return k, err
	})
	if err == nil && s.hasEnded(k) {
		return nil, ErrEnded
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
func (s *Sessions) authenticate(ctx context.Context, q question, want expected) (*Entry, error) {
	out, err := s.API.Authenticate(ctx, q.SessionRef, q.minutes)
	switch {
	case stytch.AnswerOf(err) == stytch.No && time.Until(want.expires) > NearExpiry && !s.Tombstones.SessionEndedLocal(want.sessionID) &&
		!s.Tombstones.SessionEndedShared(ctx, want.sessionID): // a logout on any machine is why, and no reason to doubt
		return nil, s.believe(ctx, err, want.sessionID)
	case err != nil:
		return nil, err
	}
	if q.minutes == 0 && s.due(out.ExpiresAt) { // as only the answer tells
		if longer, err := s.API.Authenticate(ctx, q.SessionRef, Minutes(s.ExtendBy)); err == nil {
			out = longer
		}
	}
	at := time.Now()
	if s.Tombstones.SessionEndedShared(ctx, out.ID) {
		return nil, ErrEnded
	}
	if out.Origin != "" && s.Tombstones.LegacyEnded(ctx, out.Origin) { // it was made while the store could not tell
		s.End(out.ID)
		s.RevokeUnwanted(ctx, stytch.SessionRef{ID: out.ID})
		return nil, ErrEnded
	}
	k, err := s.Add(out, at)
	if err == nil {
		s.ReportAlive(k)
	}
	return k, err
}

// Confirm asks Stytch about a session that it vouched for at a time, unless it spoke
// of that less than fresh ago.
func (s *Sessions) Confirm(ctx context.Context, was *stytch.Session, at time.Time, fresh time.Duration) (*Entry, error) {
	if s.Tombstones.SessionEndedShared(ctx, was.ID) {
		return nil, ErrEnded
	}
	if k := s.recentByID(was.ID); k != nil && time.Since(k.VouchedAt).Abs() < fresh {
		return k, nil
	}
	if time.Since(at).Abs() < fresh {
		return s.Add(was, at)
	}
	q := question{stytch.SessionRef{Token: was.Token, Vouched: true}, s.extension(was.Token, nil)}
	return s.authenticate(ctx, q, expected{was.ID, was.ExpiresAt})
}

// ErrEnded is the answer "no" that this process gives itself: it logged that
// session out, and an answer that was under way must not bring it back.
var ErrEnded = &stytch.CallError{Op: stytch.Authenticate, Reason: "the session was logged out", Answer: stytch.No}

var errUnknownToken = &stytch.CallError{Op: stytch.Authenticate, Reason: "Stytch did not know the token a moment ago", Answer: stytch.No}

// Abandon revokes a session that nobody is to have. That it fails is said: the
// session is in nobody's hands, but alive.
func (s *Sessions) RevokeUnwanted(ctx context.Context, p stytch.SessionRef) {
	if err := s.API.Revoke(ctx, p); err != nil {
		s.OnRevokeFailed(err)
	}
}
