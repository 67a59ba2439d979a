package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/stytchmigrate/internal/endings"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
)

// Known is a Stytch session as this process last saw it. It is
// read-only once it is in memory.
type Known struct {
	Session  *stytch.Session
	Asked    time.Time // when Stytch vouched for it last
	Attached any       // what Config.Attach made of it

	until time.Time // the JWT is taken without a look until then
	fresh time.Time // the user and the opaque token are taken from memory until then
	also  knownKey  // of an older JWT of the session that a browser still sends, if there is one

	cookie endings.Cookie // of the opaque token
}

// knownKey is by what a session is in memory: j, a JWT; t, an opaque token; or
// s, its id. The kind is part of it, for a browser may send an id as a token.
type knownKey struct {
	kind  byte
	value string
}

func (k knownKey) hash() endings.Cookie { return endings.CookieOf(k.kind, k.value) }

// Remembered is the answer from memory: the one JWT of the request is known
// and has not expired.
func (s *Sessions) Remembered(jwts []string) *Known {
	if len(jwts) != 1 || len(jwts[0]) > sessionjwt.MaxToken {
		return nil
	}
	return s.Recognized(jwts[0])
}

// Recognized returns the session of a JWT that is known, nil if it has to be
// looked at.
func (s *Sessions) Recognized(jwt string) *Known {
	k, ok := s.known.Get(knownKey{'j', jwt})
	if !ok || !time.Now().Before(k.until) || s.hasEnded(k) {
		return nil
	}
	return k
}

// Learn puts a session that Stytch vouched for, at that time, into memory.
func (s *Sessions) Learn(out *stytch.Session, at time.Time) (*Known, error) {
	now := time.Now()
	session := *out
	c, err := s.Verifier.Read(session.JWT)
	if session.ExpiresAt.IsZero() { // the schema lets it be absent
		session.ExpiresAt = now.Add(usualLife)
		if err == nil && c.SessionExpiresAt.After(c.ExpiresAt) {
			session.ExpiresAt = c.SessionExpiresAt
		}
	}
	if !now.Before(session.ExpiresAt) {
		return nil, &stytch.CallError{Op: "answer", Reason: "session.expires_at is past"}
	}
	k := &Known{Session: &session, Asked: at, fresh: now.Add(time.Minute), until: now}
	switch {
	case errors.Is(err, sessionjwt.ErrForeign):
		return nil, &stytch.CallError{Op: "answer", Reason: "session_jwt is of another project"}
	case err != nil:
		s.Log.Error("stytchmigrate: session_jwt of an answer is no session JWT of this project",
			"setting", "Config.ProjectID or Config.BaseURL", "reason", err.Error())
	case c.UserID != session.UserID || c.SessionID != session.ID:
		return nil, &stytch.CallError{Op: "answer", Reason: "session_jwt is not of the session that it came with"}
	default:
		k.fresh, k.until = c.ExpiresAt, c.ExpiresAt
	}
	s.put(k)
	return k, nil
}

// put makes k the one entry of its session in memory. What an earlier entry was
// known by goes, so that a session costs its share of memory however many JWTs
// it had.
func (s *Sessions) put(k *Known) {
	x := k.Session
	if old, ok := s.known.Peek(knownKey{'s', x.ID}); ok {
		s.known.Remove(knownKey{'j', old.Session.JWT})
		s.known.Remove(old.also)
	}
	s.complete(k)
	if s.unknown.Len() > 0 {
		s.unknown.Remove(k.cookie)
		s.unknown.Remove(endings.CookieOf('j', x.JWT))
	}
	s.known.Add(knownKey{'s', x.ID}, k)
	s.known.Add(knownKey{'j', x.JWT}, k)
	if x.Token != "" { // a partial user's is not known
		s.known.Add(knownKey{'t', x.Token}, k)
	}
	if s.hasEnded(k) { // a logout came in between
		s.forget(k)
	}
}

// complete fills in what would be made anew for each request otherwise.
func (s *Sessions) complete(k *Known) {
	k.cookie = endings.CookieOf('t', k.Session.Token)
	k.Attached = s.Attach(k.Session)
}

// adopt serves a session in memory by another JWT of it, and makes that known.
// If it is the newer one, it is what browsers are given from now on. If not, it
// is known beside the other, until the browser that has it is given that one.
func (s *Sessions) adopt(k *Known, c *sessionjwt.Claims, jwt string) *Known {
	session := *k.Session
	entry := &Known{Session: &session, Asked: k.Asked, until: k.until, fresh: k.fresh}
	if c.SessionExpiresAt.After(session.ExpiresAt) {
		session.ExpiresAt = c.SessionExpiresAt
	}
	if c.ExpiresAt.After(k.until) {
		session.JWT, entry.until = jwt, c.ExpiresAt
		s.put(entry)
		return entry
	}
	entry.also = knownKey{'j', jwt}
	s.put(entry)
	older := &Known{Session: entry.Session, Asked: entry.Asked, until: c.ExpiresAt}
	s.complete(older)
	s.known.Add(entry.also, older)
	return older
}

// partial makes a session known by its JWT alone, for as long as Stytch is not
// asked for the user again.
func (s *Sessions) partial(c *sessionjwt.Claims, jwt string) *Known {
	if k := s.bySession(c.SessionID); k != nil { // the answer came at the last moment
		return s.adopt(k, c, jwt)
	}
	k := &Known{
		Session: &stytch.Session{
			ID: c.SessionID, UserID: c.UserID, Origin: c.LegacySession,
			StartedAt: c.SessionStartedAt, ExpiresAt: c.SessionExpiresAt, JWT: jwt, Answer: c,
		},
		until: time.Now().Add(partialRetry),
	}
	s.put(k)
	return k
}

// bySession returns the session in memory whose user is recent.
func (s *Sessions) bySession(id string) *Known { return s.recall("", id) }

// recall is bySession, by the opaque token where there is one.
func (s *Sessions) recall(token, id string) *Known {
	key := knownKey{'s', id}
	if token != "" {
		key = knownKey{'t', token}
	}
	k, ok := s.known.Get(key)
	if !ok || !time.Now().Before(k.fresh) || s.hasEnded(k) {
		return nil
	}
	return k
}

// fresh returns the session in memory that a request's token or expired JWT
// is of, where its newer JWT has not expired yet.
func (s *Sessions) fresh(tokens []string, stale *sessionjwt.Claims) *Known {
	if stale != nil {
		k := s.bySession(stale.SessionID)
		if k != nil && (len(tokens) == 0 || slices.Contains(tokens, k.Session.Token)) {
			return k
		}
	}
	if len(tokens) > maxCookies { // there may be more
		return nil
	}
	var one *Known
	for _, t := range tokens {
		k := s.recall(t, "")
		if k == nil || one != nil && k.Session.UserID != one.Session.UserID {
			return nil // anybody can put a token of their own here, and into memory
		}
		one = k
	}
	return one
}

// End makes this process refuse a session from now on, though its JWT verifies. It
// reports whether it did so already.
func (s *Sessions) End(id string) (already bool) {
	already = s.Endings.EndSessionHere(id)
	if k, ok := s.known.Peek(knownKey{'s', id}); ok {
		s.forget(k)
	}
	return already
}

// cookieEnded is for each JWT that comes: it hashes nothing where none ended.
func (s *Sessions) cookieEnded(kind byte, value string) bool {
	return s.Endings.AnyCookie() && s.Endings.CookieHere(endings.CookieOf(kind, value))
}

func (s *Sessions) hasEnded(k *Known) bool {
	return s.Endings.SessionHere(k.Session.ID) || k.Session.Origin != "" && s.Endings.LegacyHere(k.Session.Origin) ||
		s.Endings.CookieHere(k.cookie)
}

func (s *Sessions) forget(k *Known) {
	s.known.Remove(knownKey{'s', k.Session.ID})
	s.known.Remove(knownKey{'j', k.Session.JWT})
	s.known.Remove(knownKey{'t', k.Session.Token})
	s.known.Remove(k.also)
}

// lost forgets a session that Stytch no longer knows. It returns the key of the
// legacy session that it came from, if it was ended rather than ran out, and is
// older than the moment that Stytch may take to know a new one everywhere. What
// is known of it is in memory, by its token, or in an expired JWT.
func (s *Sessions) lost(ctx context.Context, token string, c *sessionjwt.Claims) (record string) {
	var id string
	var started, expires time.Time
	if c != nil {
		id, record, started, expires = c.SessionID, c.LegacySession, c.SessionStartedAt, c.SessionExpiresAt
	}
	if k, ok := s.known.Peek(knownKey{'t', token}); ok {
		s.forget(k)
		x := k.Session
		id, record, started, expires = x.ID, x.Origin, x.StartedAt, x.ExpiresAt
	}
	now := time.Now()
	if s.Endings.SessionHere(id) || id != "" && s.Endings.SessionElsewhere(ctx, id) { // by a logout, which ended the record, or for a reason that is not the user's
		return ""
	}
	if now.Before(started.Add(KnownEverywhere)) || now.After(expires.Add(-RanOut)) {
		return ""
	}
	return record
}

// EndCookies makes this process refuse the sessions that a request's cookies are of:
// another session's than the token's may be a JWT's, or one that is being asked
// about by its token at this moment. end is told of each that is known; blind are
// those of which only Stytch can tell, for want of a key, too.
func (s *Sessions) EndCookies(ctx context.Context, tokens, jwts []string, end func(id, origin string)) (blind []stytch.Proof) {
	ofOne := func(k knownKey) bool {
		known, ok := s.known.Peek(k)
		if ok {
			end(known.Session.ID, known.Session.Origin)
		}
		return ok
	}
	blindly := func(k knownKey, p stytch.Proof) {
		s.Endings.EndCookieHere(k.hash())
		blind = append(blind, p)
	}
	for _, t := range tokens {
		if k := (knownKey{'t', t}); !ofOne(k) && CanBeAsked(t) {
			blindly(k, stytch.Proof{Token: t})
		}
	}
	var unknown []string
	for _, jwt := range jwts {
		if !ofOne(knownKey{'j', jwt}) {
			unknown = append(unknown, jwt)
		}
	}
	for _, jwt := range unknown { // each by itself: a logout is of all of them
		j := s.readJWTs(ctx, []string{jwt})
		for _, claims := range []*sessionjwt.Claims{j.live, j.stale} {
			if claims != nil {
				end(claims.SessionID, claims.LegacySession)
			}
		}
		if j.unsure != "" {
			blindly(knownKey{'j', j.unsure}, stytch.Proof{JWT: j.unsure})
		}
	}
	return blind
}
