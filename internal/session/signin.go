package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

// Unproven is the error of Prove about a token or a JWT that is no session of this
// project, or not of one session with the other. It is a "no".
type Unproven struct {
	Argument string // "token" or "jwt"
	Reason   string
	Err      error // Stytch's "no", or nil
}

func (e *Unproven) Error() string { return e.Argument + ": " + e.Reason }
func (e *Unproven) Unwrap() error { return e.Err }

// Prove returns the session of a token and a JWT that a login on the server was given.
// One of the two may be "". It puts the session into memory. Any error but an *Unproven
// means that it can't be told now.
//
// A JWT that verifies does not say which token its session has. So Stytch is asked,
// unless memory has the pair. It is asked about the JWT, if there is one that verifies or
// has expired: its answer has the session's token, and a flood of made-up tokens does not
// hold that call back.
func (s *Sessions) Prove(ctx context.Context, token, jwt redact.Secret) (*Entry, error) {
	if token != "" && !IsAskable(string(token)) {
		return nil, &Unproven{Argument: "token", Reason: "is no cookie value, or too long for one"}
	}
	v, unverified, err := s.proveJWT(ctx, jwt)
	if err != nil {
		return nil, err
	}
	if k := s.knownPair(ctx, token, v); k != nil {
		return s.adopt(k, v), nil
	}
	q, about := question{SessionRef: stytch.SessionRef{Token: token}}, "token"
	switch {
	case v.claims != nil && !unverified:
		q, about = s.aboutJWT(v), "jwt"
	case v.claims != nil && token == "":
		q, about = question{SessionRef: stytch.SessionRef{JWT: jwt}, startedAt: startOf(v.claims)}, "jwt"
	case v.claims != nil:
		q.startedAt = startOf(v.claims)
	}
	k, err := s.ask(ctx, q)
	if err == nil && s.endedAnywhere(ctx, k.Session.ID, k.Session.Origin) { // ask may have the answer of before
		s.End(k.Session.ID)
		err = ErrEnded
	}
	switch c := v.claims; {
	case stytch.AnswerOf(err) == stytch.No:
		return nil, &Unproven{Argument: about, Reason: strings.TrimPrefix(err.Error(), "stytchmigrate: "), Err: err}
	case err != nil:
		return nil, err
	case token != "" && k.Session.Token != token, c != nil && (k.Session.ID != c.SessionID || k.Session.UserID != c.UserID):
		return nil, &Unproven{Argument: "token", Reason: "is of another session than jwt"}
	}
	return k, nil
}

// proveJWT returns what a JWT says. unverified means that there is no key to verify it
// with.
func (s *Sessions) proveJWT(ctx context.Context, jwt redact.Secret) (v verifiedJWT, unverified bool, err error) {
	if jwt == "" {
		return v, false, nil
	}
	if s.cookieEnded('j', string(jwt)) {
		return v, false, &Unproven{Argument: "jwt", Reason: ErrEnded.Reason, Err: ErrEnded}
	}
	c, err := s.Verifier.Verify(ctx, string(jwt))
	if errors.Is(err, sessionjwt.ErrNoKeys) {
		unverified = true
		c, err = s.Verifier.Read(string(jwt))
	}
	if err != nil && !errors.Is(err, sessionjwt.ErrNotCurrent) {
		return v, false, &Unproven{Argument: "jwt", Reason: strings.TrimPrefix(err.Error(), "sessionjwt: ")}
	}
	return verifiedJWT{string(jwt), c}, unverified, nil
}

// knownPair returns the session of a verified JWT from memory, if it has that token.
func (s *Sessions) knownPair(ctx context.Context, token redact.Secret, v verifiedJWT) *Entry {
	if v.claims == nil {
		return nil
	}
	k := s.recent(byID(v.claims.SessionID))
	if k == nil || k.Session.UserID != v.claims.UserID || k.Session.Token != token || s.endedAnywhere(ctx, k.Session.ID, k.Session.Origin) {
		return nil
	}
	return k
}

// endedAnywhere reports that a session, or the legacy session that it came from, was logged
// out on some machine.
func (s *Sessions) endedAnywhere(ctx context.Context, id, origin string) bool {
	return s.wasLoggedOut(ctx, id) || origin != "" && s.Tombstones.LegacyEnded(context.WithoutCancel(ctx), origin)
}

// OfOthers returns the Stytch cookies of a request that may be of another user's session
// than live. Stytch is asked whose a token is that memory does not have. If it can't
// tell, the token may be another user's.
func (s *Sessions) OfOthers(ctx context.Context, live *Entry, tokens, jwts []string) (otherTokens, otherJWTs []string) {
	asked := 0
	for _, t := range tokens {
		if k, ok := s.entries.Peek(byToken(redact.Secret(t))); ok {
			if k.Session.UserID != live.Session.UserID {
				otherTokens = append(otherTokens, t)
			}
			continue
		}
		if asked++; !IsAskable(t) || asked > maxQuestions {
			otherTokens = append(otherTokens, t)
			continue
		}
		k, err := s.ask(ctx, question{SessionRef: stytch.SessionRef{Token: redact.Secret(t)}})
		if stytch.AnswerOf(err) == stytch.CantTell || err == nil && k.Session.UserID != live.Session.UserID {
			otherTokens = append(otherTokens, t)
		}
	}
	return otherTokens, slices.DeleteFunc(slices.Clone(jwts), func(jwt string) bool {
		c, err := s.Verifier.Read(jwt)
		return err == nil && c.UserID == live.Session.UserID // a JWT that was made up has no session to end
	})
}

// Replace notes that a sign-in has set the cookies of live in place of those tokens and
// JWTs. Requests that brought these may still be under way: their responses must not set
// or expire the Stytch cookies. An error means that other machines may not know.
func (s *Sessions) Replace(ctx context.Context, live *Entry, tokens, jwts []string) (err error) {
	for _, t := range tokens {
		if redact.Secret(t) != live.Session.Token {
			err = errors.Join(err, s.Tombstones.MarkReplaced(ctx, tombstones.HashCookie('t', t)))
		}
	}
	for _, jwt := range jwts {
		if c, failed := s.Verifier.Read(jwt); failed != nil || c.SessionID != live.Session.ID {
			err = errors.Join(err, s.Tombstones.MarkReplaced(ctx, tombstones.HashCookie('j', jwt)))
		}
	}
	return err
}

// IsReplaced reports whether a sign-in has replaced one of these cookies. The JWTs count
// where there is no token.
func (s *Sessions) IsReplaced(ctx context.Context, tokens, jwts []string) bool {
	kind, values := byte('t'), tokens
	if len(tokens) == 0 {
		kind, values = 'j', jwts
	}
	return slices.ContainsFunc(values, func(v string) bool { return s.Tombstones.IsReplaced(ctx, tombstones.HashCookie(kind, v)) })
}

// IsKnown reports whether memory has the session of a token.
func (s *Sessions) IsKnown(token string) bool {
	return s.entries.Contains(byToken(redact.Secret(token)))
}
