package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// known is a Stytch session as this process last saw it. All but judged is
// read-only once it is in memory.
type known struct {
	user    *User
	session *Session
	tokens  tokens
	asked   time.Time // when Stytch vouched for it last
	origin  string    // key of the legacy session's record, from the claim legacy_session
	until   time.Time // the JWT is taken without a look until then
	fresh   time.Time // the user and the opaque token are taken from memory until then
	also    knownKey  // of an older JWT of the session that a browser still sends, if there is one

	cookie cookieKey // of the opaque token
	found  *found    // what a request is told that is served from memory

	judged atomic.Pointer[judgement] // of the legacy cookies that came with it last
}

// knownKey is by what a session is in memory: j, a JWT; t, an opaque token; or
// s, its id. The kind is part of it, for a browser may send an id as a token.
type knownKey struct {
	kind  byte
	value string
}

// cookieKey is the SHA-256 of what a browser sent and nobody vouches for, by its
// kind. It is for memories that anybody can fill with cookies of any length.
type cookieKey [sha256.Size]byte

func keyOf(kind byte, value string) cookieKey {
	return sha256.Sum256(append([]byte{kind}, value...))
}

// remembered is the answer from memory: the one JWT of the request is known
// and has not expired.
func (s *sessions) remembered(c *requestCookies) *known {
	if len(c.jwts) != 1 || len(c.jwts[0]) > sessionjwt.MaxToken {
		return nil
	}
	return s.recognized(c.jwts[0])
}

// recognized returns the session of a JWT that is known, nil if it has to be
// looked at.
func (s *sessions) recognized(jwt string) *known {
	k, ok := s.known.Get(knownKey{'j', jwt})
	if !ok || !time.Now().Before(k.until) || s.hasEnded(k) {
		return nil
	}
	return k
}

// learn puts a session that Stytch vouched for, at that time, into memory.
func (s *sessions) learn(out *AuthenticateResponse, at time.Time) (*known, error) {
	now := time.Now()
	session := out.Session
	c, err := s.verifier.Read(string(out.SessionJWT))
	if session.ExpiresAt.IsZero() { // the schema lets it be absent
		session.ExpiresAt = now.Add(defaultDuration)
		if err == nil && c.SessionExpiresAt.After(c.ExpiresAt) {
			session.ExpiresAt = c.SessionExpiresAt
		}
	}
	if !now.Before(session.ExpiresAt) {
		return nil, &callError{op: "answer", reason: "session.expires_at is past"}
	}
	k := &known{
		user: &out.User, session: &session, asked: at, fresh: now.Add(time.Minute), until: now,
		tokens: tokens{session: out.SessionToken, jwt: out.SessionJWT, expires: session.ExpiresAt},
	}
	k.origin, _ = session.CustomClaims[originClaim].(string)
	switch {
	case errors.Is(err, sessionjwt.ErrForeign):
		return nil, &callError{op: "answer", reason: "session_jwt is of another project"}
	case err != nil:
		s.log.Error("stytchmigrate: session_jwt of an answer is no session JWT of this project",
			"setting", "Config.ProjectID or Config.BaseURL", "reason", err.Error())
	case c.UserID != k.user.UserID || c.SessionID != session.SessionID:
		return nil, &callError{op: "answer", reason: "session_jwt is not of the session that it came with"}
	default:
		k.fresh, k.until = c.ExpiresAt, c.ExpiresAt
	}
	s.put(k)
	return k, nil
}

// record is what is remembered of k as the session of a legacy session.
func (k *known) record() *record {
	return &record{At: k.asked, Answer: AuthenticateResponse{
		User: *k.user, Session: *k.session, SessionToken: k.tokens.session, SessionJWT: k.tokens.jwt,
	}}
}

// put makes k the one entry of its session in memory. What an earlier entry was
// known by goes, so that a session costs its share of memory however many JWTs
// it had.
func (s *sessions) put(k *known) {
	id := k.session.SessionID
	if old, ok := s.known.Peek(knownKey{'s', id}); ok {
		s.known.Remove(knownKey{'j', string(old.tokens.jwt)})
		s.known.Remove(old.also)
	}
	s.complete(k)
	if s.unknown.values.Len() > 0 {
		jwt := keyOf('j', string(k.tokens.jwt))
		s.unknown.remove(string(k.cookie[:]))
		s.unknown.remove(string(jwt[:]))
	}
	s.known.Add(knownKey{'s', id}, k)
	s.known.Add(knownKey{'j', string(k.tokens.jwt)}, k)
	if k.tokens.session != "" { // a partial user's is not known
		s.known.Add(knownKey{'t', string(k.tokens.session)}, k)
	}
	if s.hasEnded(k) { // a Logout came in between
		s.forget(k)
	}
}

// complete fills in what would be made anew for each request otherwise.
func (s *sessions) complete(k *known) {
	k.cookie = keyOf('t', string(k.tokens.session))
	k.found = &found{by: s.by, outcome: OutcomeAuthenticated, cause: causeMemory, user: k.user, session: k.session}
}

// adopt serves a session in memory by another JWT of it, and makes that known.
// If it is the newer one, it is what browsers are given from now on. If not, it
// is known beside the other, until the browser that has it is given that one.
func (s *sessions) adopt(k *known, c *sessionjwt.Claims, jwt string) *known {
	entry := &known{asked: k.asked, user: k.user, session: k.session, tokens: k.tokens, origin: k.origin, until: k.until, fresh: k.fresh}
	if c.SessionExpiresAt.After(k.session.ExpiresAt) {
		session := *k.session
		session.ExpiresAt = c.SessionExpiresAt
		entry.session, entry.tokens.expires = &session, c.SessionExpiresAt
	}
	if c.ExpiresAt.After(k.until) {
		entry.tokens.jwt, entry.until = Secret(jwt), c.ExpiresAt
		s.put(entry)
		return entry
	}
	entry.also = knownKey{'j', jwt}
	s.put(entry)
	older := &known{asked: entry.asked, user: entry.user, session: entry.session, tokens: entry.tokens, origin: entry.origin, until: c.ExpiresAt}
	s.complete(older)
	s.known.Add(entry.also, older)
	return older
}

// partial makes a session known by its JWT alone, for as long as Stytch is not
// asked for the user again.
func (s *sessions) partial(c *sessionjwt.Claims, jwt string) *known {
	if k := s.bySession(c.SessionID); k != nil { // the answer came at the last moment
		return s.adopt(k, c, jwt)
	}
	session := &Session{
		SessionID: c.SessionID, UserID: c.UserID, Roles: c.Session.Roles, CustomClaims: c.Custom,
		StartedAt: c.SessionStartedAt, LastAccessedAt: c.Session.LastAccessedAt, ExpiresAt: c.SessionExpiresAt,
		Attributes: &Attributes{IPAddress: c.Session.IPAddress, UserAgent: c.Session.UserAgent},
	}
	if err := decode(c.Session.AuthenticationFactors, &session.AuthenticationFactors); err != nil {
		session.AuthenticationFactors = nil // a JWT's may lack what an answer's have
	}
	k := &known{
		user: &User{UserID: c.UserID, Partial: true}, session: session, origin: c.LegacySession,
		tokens: tokens{jwt: Secret(jwt), expires: c.SessionExpiresAt},
		until:  time.Now().Add(partialRetry),
	}
	s.put(k)
	return k
}

// bySession returns the session in memory whose user is recent.
func (s *sessions) bySession(id string) *known { return s.recall("", id) }

// recall is bySession, by the opaque token where there is one.
func (s *sessions) recall(token, id string) *known {
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
func (s *sessions) fresh(opaque []string, stale *sessionjwt.Claims) *known {
	if stale != nil {
		k := s.bySession(stale.SessionID)
		if k != nil && (len(opaque) == 0 || slices.Contains(opaque, string(k.tokens.session))) {
			return k
		}
	}
	if len(opaque) > maxDuplicates { // there may be more
		return nil
	}
	var one *known
	for _, t := range opaque {
		k := s.recall(t, "")
		if k == nil || one != nil && k.user.UserID != one.user.UserID {
			return nil // anybody can put a token of their own here, and into memory
		}
		one = k
	}
	return one
}

// end makes this process refuse a session from now on, though its JWT verifies.
func (s *sessions) end(sessionID string) {
	s.ended.Add(sessionID, struct{}{})
	if k, ok := s.known.Peek(knownKey{'s', sessionID}); ok {
		s.forget(k)
	}
}

// endCookie is end for a session of which nothing but a cookie is known yet: a
// token ('t') or a JWT ('j').
func (s *sessions) endCookie(kind byte, value string) {
	s.endedCookies.Add(keyOf(kind, value), struct{}{})
}

// cookieEnded is for each JWT that comes, and few cookies end: it hashes nothing
// where none did.
func (s *sessions) cookieEnded(kind byte, value string) bool {
	return s.endedCookies.Len() > 0 && s.endedCookies.Contains(keyOf(kind, value))
}

func (s *sessions) hasEnded(k *known) bool {
	return s.ended.Contains(k.session.SessionID) || k.origin != "" && s.originEnded(k.origin) ||
		s.endedCookies.Contains(k.cookie)
}

func (s *sessions) forget(k *known) {
	s.known.Remove(knownKey{'s', k.session.SessionID})
	s.known.Remove(knownKey{'j', string(k.tokens.jwt)})
	s.known.Remove(knownKey{'t', string(k.tokens.session)})
	s.known.Remove(k.also)
}

// lost forgets a session that Stytch no longer knows. It returns the key of the
// legacy session that it came from, if it was ended rather than ran out, and is
// older than the moment that Stytch may take to know a new one everywhere. What
// is known of it is in memory, by its token, or in an expired JWT.
func (s *sessions) lost(ctx context.Context, token string, c *sessionjwt.Claims) (record string) {
	var started, expires time.Time
	if c != nil {
		record, started, expires = c.LegacySession, c.SessionStartedAt, c.SessionExpiresAt
	}
	id := ""
	if c != nil {
		id = c.SessionID
	}
	if k, ok := s.known.Peek(knownKey{'t', token}); ok {
		s.forget(k)
		id, record, started, expires = k.session.SessionID, k.origin, k.session.StartedAt, k.session.ExpiresAt
	}
	now := time.Now()
	if s.ended.Contains(id) || id != "" && s.endedElsewhere(ctx, id) { // by a Logout, which ended the record, or for a reason that is not the user's
		return ""
	}
	if now.Before(started.Add(knownEverywhere)) || now.After(expires.Add(-ranOut)) {
		return ""
	}
	return record
}
