package session

import (
	"cmp"
	"context"
	"slices"
	"time"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
)

// longestLife is more than the longest session that Stytch grants.
const longestLife = 366 * 24 * time.Hour

// refresh finds a session that only Stytch can vouch for: the request has a token, or
// a JWT that has expired, and no JWT that verifies. It tries in this order:
//
//  1. memory, if it has a newer JWT of the session
//  2. a token that is the only one: that one call settles who it is
//  3. the JWT, if there is no token, or if there are several: it names the session
//  4. each token, if there is no JWT
func (s *Sessions) refresh(ctx context.Context, tokens []string, j requestJWTs) State {
	stale := j.stale.claims
	if k := s.recentOf(tokens, stale); k != nil {
		st := agreed(k, stale)
		st.Cause = CauseMemory
		// A browser without a JWT cookie may be one whose JWT is too long for a cookie.
		// The request that asked Stytch wrote its token back.
		st.Write = st.Write && j.some
		return st
	}
	asks := s.questions(tokens, j)
	switch {
	case len(asks) > maxQuestions:
		return s.askSome(ctx, asks[:maxQuestions], stale)
	case stale != nil && len(asks) == 1 && asks[0].Token != "" && !s.entries.Contains(byToken(asks[0].Token)):
		return s.askTokenThenJWT(ctx, asks[0], s.aboutJWT(j.stale))
	}
	return s.askEach(ctx, asks, stale)
}

// questions returns what Stytch is to be asked about a request, the first thing first.
func (s *Sessions) questions(tokens []string, j requestJWTs) (asks []question) {
	for _, t := range tokens {
		if IsAskable(t) {
			asks = append(asks, s.aboutToken(redact.Secret(t), j))
		}
	}
	switch {
	case j.stale.claims != nil && len(asks) != 1:
		asks = slices.Insert(asks, 0, s.aboutJWT(j.stale))
	case j.unverified != "" && len(asks) == 0:
		asks = append(asks, question{SessionRef: stytch.SessionRef{JWT: redact.Secret(j.unverified)}, startedAt: s.unverifiedStart(j)})
	}
	return asks
}

// aboutToken is the question about the session of a token, beside which the request
// may have a JWT that has expired.
func (s *Sessions) aboutToken(token redact.Secret, j requestJWTs) question {
	return question{
		SessionRef: stytch.SessionRef{Token: token}, minutes: s.extension(token, j.stale.claims), startedAt: s.unverifiedStart(j),
	}
}

// unverifiedStart returns when the session of a JWT began that there is no key to verify
// with. Anyone can make up such a JWT, so it only ever turns a "no" into can't tell. A
// token without a JWT says nothing of its age.
func (s *Sessions) unverifiedStart(j requestJWTs) time.Time {
	c, err := s.Verifier.Read(j.unverified)
	if err != nil {
		return time.Time{}
	}
	return startOf(c)
}

// IsAskable reports whether Stytch can be asked about an opaque token.
func IsAskable(token string) bool { return len(token) <= stytch.MaxToken && stytch.IsToken(token) }

// askSome asks about a request that has more tokens than Stytch is asked about. One of
// the others may be alive, and another person's: a session counts only if the JWT names
// it, and the cookies are deleted only if they contradict each other.
func (s *Sessions) askSome(ctx context.Context, asks []question, stale *sessionjwt.Claims) State {
	st := s.askEach(ctx, asks, stale)
	if st.Live != nil && (stale == nil || st.Live.Session.ID != stale.SessionID) {
		return State{Ambiguous: true}
	}
	st.Clear = st.Clear && st.Mismatch
	return st
}

// askTokenThenJWT asks about a token that this process does not know, beside a JWT of
// ours that has expired. The token may be made up, and calls about such tokens are
// limited in a flood. A call about the JWT is not. Nor does a "no" to the token say
// anything about the JWT's session. In both cases the JWT is asked about.
func (s *Sessions) askTokenThenJWT(ctx context.Context, token, jwt question) State {
	st := s.askEach(ctx, []question{token}, jwt.claims)
	call := stytch.AsCall(st.Err)
	if call != nil && call.HeldBack() || st.Clear && !st.Mismatch {
		return s.askEach(ctx, []question{jwt}, jwt.claims)
	}
	return st
}

// askEach asks one question after the other. If several sessions are alive, the one
// counts that the JWT names. If the JWT names none of them, the first counts, provided
// that all are of one user. Otherwise none counts, and the cookies are left alone.
func (s *Sessions) askEach(ctx context.Context, asks []question, stale *sessionjwt.Claims) State {
	var alive *Entry
	var cantTell error
	var endedOrigin string
	twoUsers := false
	for _, q := range asks {
		k, err := s.ask(ctx, q)
		switch stytch.AnswerOf(err) {
		case stytch.Yes:
			if stale != nil && k.Session.ID == stale.SessionID {
				return agreed(k, stale)
			}
			if alive == nil {
				alive = k
			}
			twoUsers = twoUsers || k.Session.UserID != alive.Session.UserID
		case stytch.CantTell:
			cantTell = err
		default:
			c := stale
			if q.Token != "" && len(asks) > 1 {
				c = nil // the token may be of another session than the JWT
			}
			endedOrigin = cmp.Or(endedOrigin, s.endedOrigin(ctx, q.Token, c))
		}
	}
	switch {
	case twoUsers:
		return State{Ambiguous: true}
	case cantTell != nil: // that one may be alive, and another user's
		return State{Err: cantTell, Stale: stale}
	case alive != nil:
		return agreed(alive, stale)
	case len(asks) == 0:
		return State{}
	}
	return State{Clear: true, EndedOrigin: endedOrigin}
}

// agreed is the state of a request whose session is k, unless the expired JWT beside
// it is another user's. Then someone planted one of the two, and neither counts.
func agreed(k *Entry, stale *sessionjwt.Claims) State {
	if stale != nil && stale.UserID != k.Session.UserID {
		return State{Clear: true, Mismatch: true}
	}
	return State{Live: k, Cause: CauseAsked, Write: true}
}

// extension returns for how many minutes from now on a call makes the session live. It
// is 0, which leaves the expiry as it is, while at least half of ExtendBy is left, if the
// expiry is not known, and if Stytch does not extend the session.
func (s *Sessions) extension(token redact.Secret, c *sessionjwt.Claims) (minutes int) {
	var expires time.Time
	if k, ok := s.entries.Peek(byToken(token)); ok {
		expires = k.Session.ExpiresAt
		if k.Session.Fixed {
			return 0
		}
	}
	if c != nil && c.SessionExpiresAt.After(expires) {
		expires = c.SessionExpiresAt
	}
	if !s.isDue(expires) || c != nil && s.isFixed(c) {
		return 0
	}
	return Minutes(s.ExtendBy)
}

// isFixed reports whether Stytch does not extend the session of a JWT, by the JWT or as
// memory has it.
func (s *Sessions) isFixed(c *sessionjwt.Claims) bool {
	k, ok := s.entries.Peek(byID(c.SessionID))
	return ok && k.Session.Fixed || c.Session.IsImpersonated()
}

// isDue reports whether a session that expires then is to be extended now.
func (s *Sessions) isDue(expires time.Time) bool {
	left := time.Until(expires)
	return left > 0 && left < s.ExtendBy/2
}

// Minutes returns d in minutes, rounded up: Stytch takes whole minutes. A duration that
// is longer than any session is cut first, so that adding a minute can't overflow.
func Minutes(d time.Duration) int {
	return int((min(d, longestLife) + time.Minute - 1) / time.Minute)
}
