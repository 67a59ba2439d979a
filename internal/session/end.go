package session

import (
	"context"
	"time"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

// End makes this process refuse a session from now on, even if its JWT verifies. It
// reports whether the session had ended already.
func (s *Sessions) End(id string) (already bool) {
	already = s.Tombstones.MarkSessionLocal(id) // before the look: put looks for the mark after it has stored
	if k, ok := s.entries.Peek(byID(id)); ok {
		s.forget(k)
	}
	return already
}

// OfUser returns the sessions of a user in memory, by Stytch's id of the user or the
// application's. Of each only ID, UserID and Origin are set. It looks at every session.
func (s *Sessions) OfUser(id string) (all []stytch.Session) {
	for _, key := range s.entries.Keys() {
		k, ok := s.entries.Peek(key)
		if ok && key.kind == 's' && (k.Session.UserID == id || k.Session.User.ExternalID == id) {
			all = append(all, stytch.Session{ID: k.Session.ID, UserID: k.Session.UserID, Origin: k.Session.Origin})
		}
	}
	return all
}

// EndCookies ends the sessions that the cookies of a request are of, at a logout. A
// request may have cookies of several sessions: each JWT and each token is looked at by
// itself. EndCookies calls end for each session whose id is known here. If only Stytch
// can tell whose a cookie is, because there is no key or nothing in memory, this process
// refuses the cookie from now on, and returns what has to be revoked.
func (s *Sessions) EndCookies(ctx context.Context, tokens, jwts []string, end func(id, origin string)) (unknown []stytch.SessionRef) {
	endKnown := func(key entryKey) bool {
		k, ok := s.entries.Peek(key)
		if ok {
			end(k.Session.ID, k.Session.Origin)
		}
		return ok
	}
	endUnknown := func(key entryKey, ref stytch.SessionRef) {
		s.Tombstones.MarkCookie(key.hash())
		unknown = append(unknown, ref)
	}
	for _, t := range tokens {
		token := redact.Secret(t)
		if !endKnown(byToken(token)) && IsAskable(t) {
			endUnknown(byToken(token), stytch.SessionRef{Token: token})
		}
	}
	var toVerify []string // last, since that may wait for the key set
	for _, jwt := range jwts {
		if !endKnown(byJWT(redact.Secret(jwt))) {
			toVerify = append(toVerify, jwt)
		}
	}
	for _, jwt := range toVerify {
		j := s.readJWTs([]string{jwt}, s.verify(ctx))
		for _, c := range []*sessionjwt.Claims{j.valid.claims, j.stale.claims} {
			if c != nil {
				end(c.SessionID, c.LegacySession)
			}
		}
		if j.unverified != "" {
			endUnknown(byJWT(redact.Secret(jwt)), stytch.SessionRef{JWT: redact.Secret(jwt)})
		}
	}
	return unknown
}

// hasEnded reports whether a session was logged out, as far as this process knows: by
// its id, by the legacy session that it came from, or by its token.
func (s *Sessions) hasEnded(k *Entry) bool {
	return s.Tombstones.SessionEndedLocal(k.Session.ID) || k.Session.Origin != "" && s.Tombstones.LegacyEndedLocal(k.Session.Origin) ||
		s.Tombstones.CookieEnded(k.tokenHash)
}

// cookieEnded reports whether a cookie was logged out before its session was known. It
// is called for each JWT, so it hashes nothing while there is no such cookie.
func (s *Sessions) cookieEnded(kind byte, value string) bool {
	return s.Tombstones.HasCookies() && s.Tombstones.CookieEnded(tombstones.HashCookie(kind, value))
}

// endedOrigin forgets a session that Stytch does not know any more. If somebody ended
// it, endedOrigin returns the key of the legacy session that it came from, which ends
// with it. It returns "" if the session was logged out through this package, which has
// ended the legacy session where it should; if the session is too new for Stytch to
// know it everywhere; and if it may just have run out.
//
// What is known of the session is in memory, by its token, or in c, the claims of its
// expired JWT.
func (s *Sessions) endedOrigin(ctx context.Context, token redact.Secret, c *sessionjwt.Claims) string {
	var x stytch.Session
	if c != nil {
		x = stytch.Session{ID: c.SessionID, Origin: c.LegacySession, StartedAt: startOf(c), ExpiresAt: c.SessionExpiresAt}
	}
	if k, ok := s.entries.Peek(byToken(token)); ok {
		s.forget(k)
		x = *k.Session
	}
	if s.wasLoggedOut(ctx, x.ID) || isNew(x.StartedAt) || time.Now().After(x.ExpiresAt.Add(-NearExpiry)) {
		return ""
	}
	return x.Origin
}

// EndedMeanwhile reports whether a session that is about to be handed out was logged out
// while a handler ran, on this machine or another one.
func (s *Sessions) EndedMeanwhile(ctx context.Context, id string) bool {
	if s.Tombstones.SessionEndedLocal(id) {
		return true
	}
	if !s.Tombstones.SessionEndedShared(ctx, id) {
		return false
	}
	s.End(id)
	return true
}
