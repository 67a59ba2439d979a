package session

import (
	"errors"
	"slices"
	"time"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

// usualLife stands in for the expiry of a session if Stytch does not say it.
const usualLife = 30 * 24 * time.Hour

// Entry is a Stytch session as this process last saw it. It is read-only once it is
// in memory.
type Entry struct {
	Session   *stytch.Session
	VouchedAt time.Time // when Stytch last vouched for it
	Attached  any       // what Config.Attach made of it

	jwtUntil  time.Time // until then Session.JWT needs no check
	accessed  time.Time // what Session.JWT says of the last access, to the fraction of a second
	userUntil time.Time // until then Stytch is not asked for the user, nor about the token

	tokenHash tombstones.CookieHash // of Session.Token
}

// entryKey is what a session is found by: an id ('s'), a JWT ('j') or a token ('t').
// The kind is part of the key, since a browser may send an id as a token.
type entryKey struct {
	kind  byte
	value redact.Secret
}

func byID(id string) entryKey              { return entryKey{'s', redact.Secret(id)} }
func byJWT(jwt redact.Secret) entryKey     { return entryKey{'j', jwt} }
func byToken(token redact.Secret) entryKey { return entryKey{'t', token} }

// hash is for memories that strangers can fill with cookies of any length.
func (k entryKey) hash() tombstones.CookieHash { return tombstones.HashCookie(k.kind, string(k.value)) }

// Lookup returns the session of a request from memory: its one JWT is known and has
// not expired. It returns nil if the request needs Find.
func (s *Sessions) Lookup(jwts []string) *Entry {
	if len(jwts) != 1 || len(jwts[0]) > sessionjwt.MaxToken {
		return nil
	}
	return s.LookupJWT(jwts[0])
}

// LookupJWT is Lookup for a JWT that is not longer than [sessionjwt.MaxToken].
func (s *Sessions) LookupJWT(jwt string) *Entry {
	k, ok := s.entries.Get(byJWT(redact.Secret(jwt)))
	if !ok || !time.Now().Before(k.jwtUntil) || s.hasEnded(k) {
		return nil
	}
	return k
}

// recent returns a session from memory, unless Stytch has to be asked about it again.
func (s *Sessions) recent(key entryKey) *Entry {
	k, ok := s.entries.Get(key)
	if !ok || !time.Now().Before(k.userUntil) || s.hasEnded(k) {
		return nil
	}
	return k
}

// recentOf returns the session that a request's expired JWT or its tokens are of, if
// memory has a JWT of it that has not expired. It does not choose between two users:
// anyone can put a session of their own into memory, and plant its token in another
// user's browser.
func (s *Sessions) recentOf(tokens []string, stale *sessionjwt.Claims) *Entry {
	if stale != nil {
		k := s.recent(byID(stale.SessionID))
		if k != nil && (len(tokens) == 0 || slices.Contains(tokens, string(k.Session.Token))) {
			return k
		}
	}
	if len(tokens) > maxTokens { // the browser may have sent more than were read
		return nil
	}
	var one *Entry
	for _, t := range tokens {
		k := s.recent(byToken(redact.Secret(t)))
		if k == nil || one != nil && k.Session.UserID != one.Session.UserID {
			return nil
		}
		one = k
	}
	return one
}

// Add puts a session into memory that Stytch vouched for at the time at. It returns an
// error if the answer contradicts itself: then Stytch vouched for nothing.
func (s *Sessions) Add(out *stytch.Session, at time.Time) (*Entry, error) {
	now := time.Now()
	session := *out
	c, err := s.Verifier.Read(string(session.JWT))
	if session.StartedAt.IsZero() && err == nil {
		session.StartedAt = c.SessionStartedAt
	}
	if session.ExpiresAt.IsZero() { // Stytch's schema allows that
		session.ExpiresAt = now.Add(usualLife)
		if err == nil && c.SessionExpiresAt.After(c.ExpiresAt) {
			session.ExpiresAt = c.SessionExpiresAt
		}
	}
	if !now.Before(session.ExpiresAt) {
		return nil, &stytch.CallError{Op: "answer", Reason: "session.expires_at is past"}
	}
	if err == nil { // an answer may lack the custom claims
		session.Fixed = session.Fixed || c.Session.IsImpersonated()
		session.UntilBrowserCloses = session.UntilBrowserCloses || c.UntilBrowserCloses
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
		k.userUntil, k.jwtUntil, k.accessed = c.ExpiresAt, c.ExpiresAt, c.Session.LastAccessedAt
	}
	s.put(k)
	return k, nil
}

// adopt serves the session k to a request with another JWT of it. If that JWT is newer,
// browsers are given it from now on, and what it says of the session counts: another
// factor, a role or a claim may have come. If it is older, it is verified in each request,
// for the five minutes that it lives: memory keeps one JWT of a session.
func (s *Sessions) adopt(k *Entry, j verifiedJWT) *Entry {
	newer, longer := k.isOlder(j.claims), j.claims.SessionExpiresAt.After(k.Session.ExpiresAt)
	if !newer && !longer {
		return k
	}
	session := *k.Session
	entry := &Entry{Session: &session, VouchedAt: k.VouchedAt, jwtUntil: k.jwtUntil, accessed: k.accessed, userUntil: k.userUntil}
	if longer {
		session.ExpiresAt = j.claims.SessionExpiresAt
	}
	if newer {
		session.JWT, session.Newer = redact.Secret(j.text), j.claims
		session.Fixed = session.Fixed || j.claims.Session.IsImpersonated()
		session.UntilBrowserCloses = session.UntilBrowserCloses || j.claims.UntilBrowserCloses
		entry.jwtUntil, entry.accessed = j.claims.ExpiresAt, j.claims.Session.LastAccessedAt
	}
	s.put(entry)
	return entry
}

// isOlder reports whether the JWT of k is older than one with the claims c. Two JWTs of
// one second differ in the time of the last access, which has fractions.
func (k *Entry) isOlder(c *sessionjwt.Claims) bool {
	return c.ExpiresAt.After(k.jwtUntil) || c.ExpiresAt.Equal(k.jwtUntil) && c.Session.LastAccessedAt.After(k.accessed)
}

// addPartial puts a session into memory of which only the JWT is known, until Stytch is
// asked for the user again.
func (s *Sessions) addPartial(j verifiedJWT) *Entry {
	c := j.claims
	if k := s.recent(byID(c.SessionID)); k != nil { // Stytch answered at the last moment
		return s.adopt(k, j)
	}
	k := &Entry{
		Session: &stytch.Session{
			ID: c.SessionID, UserID: c.UserID, Origin: c.LegacySession,
			StartedAt: c.SessionStartedAt, ExpiresAt: c.SessionExpiresAt, JWT: redact.Secret(j.text), Raw: c,
			Fixed: c.Session.IsImpersonated(), UntilBrowserCloses: c.UntilBrowserCloses,
		},
		jwtUntil: time.Now().Add(partialRetry),
	}
	s.put(k)
	return k
}

// put makes k the one entry of its session. The JWT of an earlier entry is forgotten, so
// that a session takes its share of memory and no more, however many JWTs it has had.
func (s *Sessions) put(k *Entry) {
	x := k.Session
	if old, ok := s.entries.Peek(byID(x.ID)); ok {
		s.entries.Remove(byJWT(old.Session.JWT))
	}
	k.tokenHash = byToken(x.Token).hash()
	k.Attached = s.Attach(x)
	if s.unknown.Len() > 0 {
		s.unknown.Remove(k.tokenHash)
		s.unknown.Remove(byJWT(x.JWT).hash())
	}
	s.entries.Add(byID(x.ID), k)
	s.entries.Add(byJWT(x.JWT), k)
	if x.Token != "" { // a partial user's is not known
		s.entries.Add(byToken(x.Token), k)
	}
	if s.hasEnded(k) { // the user logged out meanwhile
		s.forget(k)
	}
}

// forget removes a session from memory.
func (s *Sessions) forget(k *Entry) {
	s.entries.Remove(byID(k.Session.ID))
	s.entries.Remove(byJWT(k.Session.JWT))
	s.entries.Remove(byToken(k.Session.Token))
}
