package session

import (
	"context"
	"time"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
)

// question is what Stytch is asked about one cookie of a request.
type question struct {
	stytch.SessionRef                    // a token, or a JWT
	minutes           int                // how long the session is to live from now on; 0: its expiry stays
	claims            *sessionjwt.Claims // what the JWT says, if it could be verified; nil for a token
	startedAt         time.Time          // what the request's JWT says, if there is no key to verify it with
}

// cookie is the key of what the question is about.
func (q *question) cookie() entryKey {
	if q.JWT != "" {
		return byJWT(q.JWT)
	}
	return byToken(q.Token)
}

// ask returns the session that a question is about. Requests that ask the same question
// at the same time share one call, and a "no" is remembered for a minute.
func (s *Sessions) ask(ctx context.Context, q question) (*Entry, error) {
	v := s.vouchedFor(q)
	cookie := q.cookie().hash()
	if _, unknown := s.unknown.Get(cookie); unknown && !v.isNew() {
		return nil, errUnknown
	}
	if q.claims != nil && s.Tombstones.SessionEndedLocal(q.claims.SessionID) {
		return nil, ErrEnded
	}
	q.Vouched = v.sessionID != ""
	// The session is part of the key: a question that is vouched for must not wait for
	// the same question that is not, which may be held back. Nor may it take the answer
	// of that one, which the brake has not judged. The same goes for a session that is
	// known to be new.
	key := string(q.Token + "\x00" + q.JWT + "\x00" + redact.Secret(v.sessionID))
	if v.isNew() {
		key += "\x00new"
	}
	k, err := s.calls.Do(ctx, key, func(ctx context.Context) (*Entry, error) {
		if k := s.recentAnswer(q); k != nil { // the same call has just ended
			return k, nil
		}
		k, err := s.authenticate(ctx, q.SessionRef, q.minutes, v)
		if stytch.AnswerOf(err) == stytch.No { // here, so that it is remembered though no request waits any more
			s.unknown.Put(cookie, struct{}{}, unknownFor)
		}
		return k, err
	})
	if err == nil && s.hasEnded(k) {
		return nil, ErrEnded
	}
	return k, err
}

// isUnknown reports whether Stytch did not know a cookie a moment ago.
func (s *Sessions) isUnknown(k entryKey) bool {
	_, unknown := s.unknown.Get(k.hash())
	return unknown
}

// recentAnswer returns the session that a question is about from memory.
func (s *Sessions) recentAnswer(q question) *Entry {
	switch {
	case q.Token != "":
		return s.recent(byToken(q.Token))
	case q.claims != nil:
		return s.recent(byID(q.claims.SessionID))
	}
	return nil
}

// vouched is a session that something here speaks for before Stytch is asked about it:
// memory, a record, or a JWT of ours that has expired. Without a sessionID nothing does.
type vouched struct {
	sessionID string
	started   time.Time // zero: unknown, as it is for a token that comes alone
	expires   time.Time
}

func (s *Sessions) vouchedFor(q question) vouched {
	if k, ok := s.entries.Peek(q.cookie()); ok {
		return vouched{k.Session.ID, k.Session.StartedAt, k.Session.ExpiresAt}
	}
	if q.claims != nil {
		return vouched{q.claims.SessionID, startOf(q.claims), q.claims.SessionExpiresAt}
	}
	return vouched{started: q.startedAt}
}

// isNew reports that Stytch may not know the session everywhere yet.
func (v *vouched) isNew() bool { return isNew(v.started) }

func isNew(started time.Time) bool { return time.Now().Before(started.Add(Propagation)) }

// startOf returns when the session of a JWT began, as far as the JWT tells. A JWT
// without started_at is not older than its session.
func startOf(c *sessionjwt.Claims) time.Time {
	if c.SessionStartedAt.IsZero() {
		return c.IssuedAt
	}
	return c.SessionStartedAt
}

// authenticate asks Stytch about a session and puts it into memory. A "no" about a
// new session is can't tell: the part of Stytch that answers may not know the session
// yet. A "no" about another session that should be alive goes through the brake. A
// session that was logged out, here or on another machine, is a "no", whatever Stytch
// says.
func (s *Sessions) authenticate(ctx context.Context, ref stytch.SessionRef, minutes int, v vouched) (*Entry, error) {
	isNew := v.isNew() // now: the session may be older when the answer comes
	out, err := s.API.Authenticate(ctx, ref, minutes)
	fixed := minutes > 0 && refusesExtension(err)
	if fixed { // the session may be alive all the same
		out, err = s.API.Authenticate(ctx, ref, 0)
	}
	switch {
	case stytch.AnswerOf(err) == stytch.No && (isNew || time.Until(v.expires) > NearExpiry):
		// Another machine may have revoked the session while Stytch was asked.
		if s.wasLoggedOut(ctx, v.sessionID) {
			return nil, ErrEnded
		}
		if isNew {
			return nil, notYet(err)
		}
		return nil, s.judgeNo(ctx, err, v.sessionID)
	case err != nil:
		return nil, err
	}
	if minutes == 0 && !out.Fixed && s.isDue(out.ExpiresAt) { // for a token that is not in memory, only the answer tells
		longer, err := s.API.Authenticate(ctx, ref, Minutes(s.ExtendBy))
		if err == nil {
			out = longer
		}
		fixed = refusesExtension(err)
	}
	out.Fixed = out.Fixed || fixed
	at := time.Now()
	if s.Tombstones.SessionEndedShared(ctx, out.ID) {
		return nil, ErrEnded
	}
	// The exchange that made the session may have been unable to ask the store whether
	// the legacy session was logged out.
	if out.Origin != "" && s.Tombstones.LegacyEnded(ctx, out.Origin) {
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

// refusesExtension reports that Stytch does not extend the session that a call was about.
func refusesExtension(err error) bool {
	call := stytch.AsCall(err)
	return call != nil && call.API != nil && call.API.RefusesExtension()
}

// wasLoggedOut reports that a session was logged out on some machine. id may be "". The store
// is asked though the client has left: an error would read as "not logged out".
func (s *Sessions) wasLoggedOut(ctx context.Context, id string) bool {
	return id != "" && (s.Tombstones.SessionEndedLocal(id) || s.Tombstones.SessionEndedShared(context.WithoutCancel(ctx), id))
}

// notYet returns a "no" of Stytch's as can't tell.
func notYet(no error) error {
	e := *stytch.AsCall(no)
	e.Answer = stytch.CantTell
	return &e
}

// Confirm asks Stytch about a session that it vouched for at the time at, unless it did
// so less than fresh ago.
func (s *Sessions) Confirm(ctx context.Context, was *stytch.Session, at time.Time, fresh time.Duration) (*Entry, error) {
	if s.Tombstones.SessionEndedShared(ctx, was.ID) {
		return nil, ErrEnded
	}
	if k := s.recent(byID(was.ID)); k != nil && time.Since(k.VouchedAt).Abs() < fresh {
		return k, nil
	}
	if time.Since(at).Abs() < fresh {
		return s.Add(was, at)
	}
	ref := stytch.SessionRef{Token: was.Token, Vouched: true}
	return s.authenticate(ctx, ref, s.extension(was.Token, nil), vouched{was.ID, was.StartedAt, was.ExpiresAt})
}

// ErrEnded is a "no" of this process: the session was logged out, and an answer that
// was on its way must not bring it back.
var ErrEnded = &stytch.CallError{Op: stytch.Authenticate, Reason: "the session was logged out", Answer: stytch.No}

var errUnknown = &stytch.CallError{Op: stytch.Authenticate, Reason: "Stytch did not know the token a moment ago", Answer: stytch.No}

// RevokeUnwanted revokes a session that no browser may have. A failure is reported: the
// session is still alive then, though no browser has it.
func (s *Sessions) RevokeUnwanted(ctx context.Context, ref stytch.SessionRef) {
	if err := s.API.Revoke(ctx, ref); err != nil {
		s.OnRevokeFailed(err)
	}
}
