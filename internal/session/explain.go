package session

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
)

// Preview is what [Sessions.Find] would say of a request, as far as this process can tell
// without a call.
type Preview struct {
	State

	// Asks reports that Stytch has to be asked first whether the session is alive. Live
	// and Clear say nothing then.
	Asks    bool
	Vouched bool // with Asks: something here speaks for the session

	// Claims are those of a JWT that verifies, whose session is not in memory. The request
	// is authenticated by it, unless Stytch says within half a second that the session has
	// ended. Live is nil then.
	Claims *sessionjwt.Claims
}

// Preview looks the cookies of a request up. inspect verifies a JWT without a fetch of
// keys, and returns the errors of [Verifier].
func (s *Sessions) Preview(jwts, tokens []string, inspect func(jwt string) (*sessionjwt.Claims, error)) Preview {
	if k := s.Lookup(jwts); k != nil {
		return Preview{State: State{Live: k, Cause: CauseMemory}}
	}
	j := s.readJWTs(jwts, inspect)
	switch c := j.valid.claims; {
	case c != nil && (s.Tombstones.SessionEndedLocal(c.SessionID) || s.cookieEnded('j', j.valid.text)):
		return Preview{State: State{Clear: true}}
	case c != nil:
		if k := s.recent(byID(c.SessionID)); k != nil {
			return Preview{State: State{Live: k, Cause: CauseVerified}}
		}
		return Preview{Claims: c}
	case j.foreign && j.stale.claims == nil && j.unverified == "":
		return Preview{}
	}
	stale := j.stale.claims
	if k := s.recentOf(tokens, stale); k != nil {
		st := agreed(k, stale)
		st.Cause, st.Write = CauseMemory, st.Write && j.some
		return Preview{State: st}
	}
	asks := s.questions(tokens, j)
	unknown := len(asks) > 0
	for _, q := range asks {
		v := s.vouchedFor(q)
		if _, known := s.unknown.Get(q.cookie().hash()); !known || v.isNew() {
			unknown = false
		}
	}
	if unknown { // Stytch has just said so, and is not asked again
		return Preview{State: State{Clear: true}}
	}
	return Preview{Asks: len(asks) > 0, Vouched: stale != nil}
}

// Doubted reports whether the brake holds: Stytch is not believed when it says that it
// does not know a session.
func (s *Sessions) Doubted() bool { return s.brake.reported.IsSet() }

// AboutJWT says what a JWT of a request is, in words that hold nothing of it but the user.
// inspect is that of Preview.
func (s *Sessions) AboutJWT(jwt string, inspect func(jwt string) (*sessionjwt.Claims, error)) string {
	c, err := inspect(jwt)
	ended := s.cookieEnded('j', jwt)
	if c != nil {
		ended = ended || s.Tombstones.SessionEndedLocal(c.SessionID) || c.LegacySession != "" && s.Tombstones.LegacyEndedLocal(c.LegacySession)
	}
	k := s.LookupJWT(jwt)
	switch {
	case ended:
		return "its session was logged out"
	case k != nil:
		return fmt.Sprintf("this process knows it, and it expires in %v, user %s", time.Until(k.jwtUntil).Truncate(time.Second), redact.Identifier(k.Session.UserID))
	case err == nil:
		return fmt.Sprintf("it verifies, and expires in %v, user %s", time.Until(c.ExpiresAt).Truncate(time.Second), redact.Identifier(c.UserID))
	case errors.Is(err, sessionjwt.ErrNotCurrent) && time.Now().Before(c.ExpiresAt):
		return "its signature is right, but it is valid only later: is this machine's clock slow?"
	case errors.Is(err, sessionjwt.ErrNotCurrent):
		return fmt.Sprintf("its signature is right, and it expired %v ago, user %s", time.Since(c.ExpiresAt).Truncate(time.Second), redact.Identifier(c.UserID))
	case errors.Is(err, sessionjwt.ErrForeign):
		return "it is another project's, and left alone: is Config.ProjectID right?"
	case errors.Is(err, sessionjwt.ErrNoKeys):
		return "this process has no key yet to verify it with; a request fetches the key set"
	}
	return "it is no session JWT of this project: " + strings.TrimPrefix(err.Error(), sessionjwt.ErrRefused.Error()+": ")
}

// AboutToken says what an opaque token of a request is, as AboutJWT does.
func (s *Sessions) AboutToken(token string) string {
	key := byToken(redact.Secret(token))
	k, known := s.entries.Peek(key)
	_, unknown := s.unknown.Get(key.hash())
	switch {
	case !IsAskable(token):
		return "it is no session token: too long, or with characters that no token has"
	case s.cookieEnded('t', token) || known && s.hasEnded(k):
		return "its session was logged out"
	case known:
		return "this process knows its session, user " + redact.Identifier(k.Session.UserID)
	case unknown:
		return "Stytch did not know it a moment ago"
	}
	return "this process does not know it; only Stytch can tell whether its session is alive"
}
