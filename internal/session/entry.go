package session

import (
	"context"
	"errors"
	"slices"
	"time"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

// Known is a Stytch session as this process last saw it. It is
// read-only once it is in memory.
type Entry struct {
	Session   *stytch.Session
	VouchedAt time.Time // when Stytch vouched for it last
	Attached  any       // what Config.Attach made of it

	jwtUntil  time.Time // the JWT is taken without a look until then
	userUntil time.Time // the user and the opaque token are taken from memory until then
	also      entryKey  // of an older JWT of the session that a browser still sends, if there is one

	tokenHash tombstones.CookieHash // of the opaque token
}

// knownKey is by what a session is in memory: j, a JWT; t, an opaque token; or
// s, its id. The kind is part of it, for a browser may send an id as a token.
type entryKey struct {
	kind  byte
	value redact.Secret
}

func (k entryKey) hash() tombstones.CookieHash { return tombstones.HashCookie(k.kind, string(k.value)) }

// Remembered is the answer from memory: the one JWT of the request is known
// and has not expired.
func (s *Sessions) Lookup(jwts []string) *Entry {
	if len(jwts) != 1 || len(jwts[0]) > sessionjwt.MaxToken {
		return nil
	}
	return s.LookupJWT(jwts[0])
}

// Recognized returns the session of a JWT that is known, nil if it has to be
// looked at.
func (s *Sessions) LookupJWT(jwt string) *Entry {
	k, ok := s.entries.Get(entryKey{'j', redact.Secret(jwt)})
	if !ok || !time.Now().Before(k.jwtUntil) || s.hasEnded(k) {
		return nil
	}
	return k
}

// Learn puts a session that Stytch vouched for, at that time, into memory.
func (s *Sessions) Add(out *stytch.Session, at time.Time) (*Entry, error) {
	now := time.Now()
	session := *out
	c, err := s.Verifier.Read(string(session.JWT))
	if session.ExpiresAt.IsZero() { // the schema lets it be absent
		session.ExpiresAt = now.Add(usualLife)
		if err == nil && c.SessionExpiresAt.After(c.ExpiresAt) {
			session.ExpiresAt = c.SessionExpiresAt
		}
	}
	if !now.Before(session.ExpiresAt) {
		return nil, &stytch.CallError{Op: "answer", Reason: "session.expires_at is past"}
	}
	k := &Entry{Session: &session, VouchedAt: at, userUntil: now.Add(time.Minute), jwtUntil: now}
	switch {
	case errors.Is(err, sessionjwt.ErrForeign):
		return nil, &stytch.CallError{Op: "answer", Reason: "session_jwt is of another project"}
	case err != nil:
		s.Log.Error("stytchmigrate: session_jwt of an answer is no session JWT of this project",
			"setting", "Config.ProjectID or Config.BaseURL", "reason", err.Error())
	case c.UserID != session.UserID || c.SessionID != session.ID:
		return nil, &stytch.CallError{Op: "answer", Reason: "session_jwt is not of the session that it came with"}
	default:
		k.userUntil, k.jwtUntil = c.ExpiresAt, c.ExpiresAt
	}
	s.put(k)
	return k, nil
}

// put makes k the one entry of its session in memory. What an earlier entry was
// known by goes, so that a session costs its share of memory however many JWTs
// it had.
func (s *Sessions) put(k *Entry) {
	x := k.Session
	if old, ok := s.entries.Peek(entryKey{'s', redact.Secret(x.ID)}); ok {
		s.entries.Remove(entryKey{'j', old.Session.JWT})
		s.entries.Remove(old.also)
	}
	s.attach(k)
	if s.unknown.Len() > 0 {
		s.unknown.Remove(k.tokenHash)
		s.unknown.Remove(tombstones.HashCookie('j', string(x.JWT)))
	}
	s.entries.Add(entryKey{'s', redact.Secret(x.ID)}, k)
	s.entries.Add(entryKey{'j', x.JWT}, k)
	if x.Token != "" { // a partial user's is not known
		s.entries.Add(entryKey{'t', x.Token}, k)
	}
	if s.hasEnded(k) { // a logout came in between
		s.forget(k)
	}
}

// complete fills in what would be made anew for each request otherwise.
func (s *Sessions) attach(k *Entry) {
	k.tokenHash = tombstones.HashCookie('t', string(k.Session.Token))
	k.Attached = s.Attach(k.Session)
}

// adopt serves a session in memory by another JWT of it, and makes that known.
// If it is the newer one, it is what browsers are given from now on. If not, it
// is known beside the other, until the browser that has it is given that one.
func (s *Sessions) adopt(k *Entry, c *sessionjwt.Claims, jwt string) *Entry {
	session := *k.Session
	entry := &Entry{Session: &session, VouchedAt: k.VouchedAt, jwtUntil: k.jwtUntil, userUntil: k.userUntil}
	if c.SessionExpiresAt.After(session.ExpiresAt) {
		session.ExpiresAt = c.SessionExpiresAt
	}
	if c.ExpiresAt.After(k.jwtUntil) {
		session.JWT, entry.jwtUntil = redact.Secret(jwt), c.ExpiresAt
		s.put(entry)
		return entry
	}
	entry.also = entryKey{'j', redact.Secret(jwt)}
	s.put(entry)
	older := &Entry{Session: entry.Session, VouchedAt: entry.VouchedAt, jwtUntil: c.ExpiresAt}
	s.attach(older)
	s.entries.Add(entry.also, older)
	return older
}

// partial makes a session known by its JWT alone, for as long as Stytch is not
// asked for the user again.
func (s *Sessions) addPartial(c *sessionjwt.Claims, jwt string) *Entry {
	if k := s.recentByID(c.SessionID); k != nil { // the answer came at the last moment
		return s.adopt(k, c, jwt)
	}
	k := &Entry{
		Session: &stytch.Session{
			ID: c.SessionID, UserID: c.UserID, Origin: c.LegacySession,
			StartedAt: c.SessionStartedAt, ExpiresAt: c.SessionExpiresAt, JWT: redact.Secret(jwt), Raw: c,
		},
		jwtUntil: time.Now().Add(partialRetry),
	}
	s.put(k)
	return k
}

// bySession returns the session in memory whose user is recent.
func (s *Sessions) recentByID(id string) *Entry { return s.recent("", id) }

// recall is bySession, by the opaque token where there is one.
func (s *Sessions) recent(token redact.Secret, id string) *Entry {
	key := entryKey{'s', redact.Secret(id)}
	if token != "" {
		key = entryKey{'t', token}
	}
	k, ok := s.entries.Get(key)
	if !ok || !time.Now().Before(k.userUntil) || s.hasEnded(k) {
		return nil
	}
	return k
}

// fresh returns the session in memory that a request's token or expired JWT
// is of, where its newer JWT has not expired yet.
func (s *Sessions) recentOf(tokens []string, stale *sessionjwt.Claims) *Entry {
	if stale != nil {
		k := s.recentByID(stale.SessionID)
		if k != nil && (len(tokens) == 0 || slices.Contains(tokens, string(k.Session.Token))) {
			return k
		}
	}
	if len(tokens) > maxCookies { // there may be more
		return nil
	}
	var one *Entry
	for _, t := range tokens {
		k := s.recent(redact.Secret(t), "")
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
	already = s.Tombstones.MarkSessionLocal(id)
	if k, ok := s.entries.Peek(entryKey{'s', redact.Secret(id)}); ok {
		s.forget(k)
	}
	return already
}

// cookieEnded is for each JWT that comes: it hashes nothing where none ended.
func (s *Sessions) cookieEnded(kind byte, value string) bool {
	return s.Tombstones.HasCookies() && s.Tombstones.CookieEnded(tombstones.HashCookie(kind, value))
}

func (s *Sessions) hasEnded(k *Entry) bool {
	return s.Tombstones.SessionEndedLocal(k.Session.ID) || k.Session.Origin != "" && s.Tombstones.LegacyEndedLocal(k.Session.Origin) ||
		s.Tombstones.CookieEnded(k.tokenHash)
}

func (s *Sessions) forget(k *Entry) {
	s.entries.Remove(entryKey{'s', redact.Secret(k.Session.ID)})
	s.entries.Remove(entryKey{'j', k.Session.JWT})
	s.entries.Remove(entryKey{'t', k.Session.Token})
	s.entries.Remove(k.also)
}

// lost forgets a session that Stytch no longer knows. It returns the key of the
// legacy session that it came from, if it was ended rather than ran out, and is
// older than the moment that Stytch may take to know a new one everywhere. What
// is known of it is in memory, by its token, or in an expired JWT.
func (s *Sessions) forgetGone(ctx context.Context, token redact.Secret, c *sessionjwt.Claims) (record string) {
	var id string
	var started, expires time.Time
	if c != nil {
		id, record, started, expires = c.SessionID, c.LegacySession, c.SessionStartedAt, c.SessionExpiresAt
	}
	if k, ok := s.entries.Peek(entryKey{'t', token}); ok {
		s.forget(k)
		x := k.Session
		id, record, started, expires = x.ID, x.Origin, x.StartedAt, x.ExpiresAt
	}
	now := time.Now()
	if s.Tombstones.SessionEndedLocal(id) || id != "" && s.Tombstones.SessionEndedShared(ctx, id) { // by a logout, which ended the record, or for a reason that is not the user's
		return ""
	}
	if now.Before(started.Add(Propagation)) || now.After(expires.Add(-NearExpiry)) {
		return ""
	}
	return record
}

// EndCookies makes this process refuse the sessions that a request's cookies are of:
// another session's than the token's may be a JWT's, or one that is being asked
// about by its token at this moment. end is told of each that is known; blind are
// those of which only Stytch can tell, for want of a key, too.
func (s *Sessions) EndCookies(ctx context.Context, tokens, jwts []string, end func(id, origin string)) (blind []stytch.SessionRef) {
	ofOne := func(k entryKey) bool {
		known, ok := s.entries.Peek(k)
		if ok {
			end(known.Session.ID, known.Session.Origin)
		}
		return ok
	}
	blindly := func(k entryKey, p stytch.SessionRef) {
		s.Tombstones.MarkCookie(k.hash())
		blind = append(blind, p)
	}
	for _, t := range tokens {
		if k := (entryKey{'t', redact.Secret(t)}); !ofOne(k) && IsAskable(t) {
			blindly(k, stytch.SessionRef{Token: redact.Secret(t)})
		}
	}
	var unknown []string
	for _, jwt := range jwts {
		if !ofOne(entryKey{'j', redact.Secret(jwt)}) {
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
			blindly(entryKey{'j', redact.Secret(j.unsure)}, stytch.SessionRef{JWT: redact.Secret(j.unsure)})
		}
	}
	return blind
}
