// Package session knows the Stytch sessions of requests: from memory, by verifying
// their JWT, or by asking Stytch, in that order.
package session

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/cache"
	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

const (
	maxKnown    = 300_000 // keys in memory: of 100,000 sessions, each under three as a rule
	maxJWTs     = 5       // JWTs of one request that are worth a look
	maxTokens   = 3       // opaque tokens of one request that are worth a call
	maxCookies  = 5       // opaque tokens of one request that are read at all
	maxUnknown  = 10_000
	keepUnknown = time.Minute
	userWait    = 500 * time.Millisecond // for the full user, where the JWT already says who it is

	// A session that is gone was ended by somebody, unless it is newer than Stytch
	// may take to know it everywhere, or was about to run out anyway.
	Propagation = 30 * time.Second
	NearExpiry  = 2 * time.Minute

	partialRetry = 10 * time.Second // until the full user is asked for again

	usualLife   = 30 * 24 * time.Hour  // of a session of which Stytch does not say
	longestLife = 366 * 24 * time.Hour // that Stytch grants
)

// The causes of a session's being alive.
const (
	CauseMemory   = "memory"   // nothing had to be checked
	CauseVerified = "verified" // the JWT's signature was
	CauseAsked    = "asked"    // Stytch was
)

// Config is what Sessions need.
type Config struct {
	API        stytch.API
	Verifier   *sessionjwt.Verifier
	Tombstones *tombstones.Tombstones
	Limit      time.Duration // of one call's life
	ExtendBy   time.Duration // zero: sessions keep the expiry they have
	Log        *slog.Logger

	// Attach returns what is kept beside a session in memory, made once.
	Attach func(*stytch.Session) any

	// Doubted hears that Stytch is not believed, and, with nil, that it is again.
	// Unrevoked hears of a session that nobody is to have and that could not be revoked.
	OnDoubt, OnRevokeFailed func(error)
}

// Sessions is made with [New]. It is safe for concurrent use.
type Sessions struct {
	Config

	entries         *lru.Cache[entryKey, *Entry]
	unknown         cache.TTL[tombstones.CookieHash, struct{}] // tokens that Stytch does not know, for a while; anybody can fill it
	flights         background.Group[*Entry]
	brake           brake
	foreignReported latch.Latch // said that cookies of another project come
}

// New returns Sessions that know none yet.
func New(c Config) *Sessions {
	return &Sessions{
		Config: c, entries: cache.LRU[entryKey, *Entry](maxKnown), unknown: cache.NewTTL[tombstones.CookieHash, struct{}](maxUnknown),
		flights: background.Group[*Entry]{Limit: c.Limit, ErrLeft: stytch.ErrNoAnswer},
	}
}

// State is what is known of the Stytch session of one request. The zero value:
// it has none.
type State struct {
	Live        *Entry
	Cause       string             // of its being alive
	Write       bool               // the browser's cookies are behind, and are to be written
	Clear       bool               // the session has ended, by Stytch's word or a logout here
	EndedOrigin string             // key of the record of the legacy session that ended with it
	Ambiguous   bool               // sessions of two people, or too many to tell
	Err         error              // can't tell
	Stale       *sessionjwt.Claims // with Err: whose it was, by an expired JWT
	Mismatch    bool               // Stytch answered with another session than was asked about
}

// Find tells whose Stytch session a request carries.
func (s *Sessions) Find(ctx context.Context, jwts, tokens []string) State {
	j := s.readJWTs(ctx, jwts)
	switch {
	case j.live != nil:
		return s.verified(ctx, j.live, j.liveJWT)
	case j.foreign && j.stale == nil && j.unsure == "":
		// The cookies are another application's, as a Domain that both share brings
		// them; or those of all who have moved, and this is the wrong project.
		if s.foreignReported.Set() {
			s.Log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: Stytch cookies of another project are left alone", slog.String("setting", "Config.ProjectID"))
		}
		return State{}
	}
	return s.refresh(ctx, tokens, j)
}

// verifiedJWTs is what the JWTs of one request come to.
type verifiedJWTs struct {
	live, stale       *sessionjwt.Claims // verified; stale ones are not current
	liveJWT, staleJWT string
	unsure            string // could be ours, but there is no key to tell
	came              bool   // there was one, whatever it is
	foreign           bool   // one is of another project
}

// readJWTs verifies the JWTs of a request. Of several, as a change of Domain
// leaves them, the newest counts if all are one user's; else none does.
func (s *Sessions) readJWTs(ctx context.Context, jwts []string) (j verifiedJWTs) {
	if j.came = len(jwts) > 0; len(jwts) > maxJWTs { // of those not looked at one may be another user's
		return j
	}
	several := false
	newest := func(at **sessionjwt.Claims, jwt *string, c *sessionjwt.Claims, v string) {
		several = several || *at != nil && (*at).UserID != c.UserID
		if *at == nil || c.IssuedAt.After((*at).IssuedAt) {
			*at, *jwt = c, v
		}
	}
	for _, v := range jwts {
		if s.cookieEnded('j', v) {
			continue
		}
		c, err := s.Verifier.Verify(ctx, v)
		switch {
		case err == nil:
			newest(&j.live, &j.liveJWT, c, v)
		case errors.Is(err, sessionjwt.ErrNotCurrent):
			newest(&j.stale, &j.staleJWT, c, v)
		case errors.Is(err, sessionjwt.ErrNoKeys):
			j.unsure = v
		case errors.Is(err, sessionjwt.ErrForeign):
			j.foreign = true
		}
	}
	if several || j.live != nil && j.stale != nil && j.live.UserID != j.stale.UserID {
		return verifiedJWTs{foreign: j.foreign, came: true}
	}
	return j
}

// live serves a session whose JWT verifies. Stytch is asked only for the full
// user, and not waited for long: the JWT says already who it is.
func (s *Sessions) verified(ctx context.Context, c *sessionjwt.Claims, jwt string) State {
	if s.Tombstones.SessionEndedLocal(c.SessionID) || s.cookieEnded('j', jwt) {
		return State{Clear: true}
	}
	jwt = strings.Clone(jwt) // what is remembered of it keeps no header alive
	if k := s.recentByID(c.SessionID); k != nil {
		return State{Live: s.adopt(k, c, jwt), Cause: CauseVerified}
	}
	wait, cancel := context.WithTimeout(ctx, userWait)
	defer cancel()
	// Extended here as in a refresh: a page that polls never sends a JWT that is
	// further past its expiry than the leeway.
	k, err := s.ask(wait, question{stytch.SessionRef{JWT: redact.Secret(jwt)}, s.extension("", c)}, c)
	switch {
	case err == nil && (k.Session.UserID != c.UserID || k.Session.ID != c.SessionID):
		return State{Clear: true, Mismatch: true}
	case err == nil:
		return State{Live: s.adopt(k, c, jwt), Cause: CauseAsked}
	case stytch.AnswerOf(err) == stytch.No:
		return State{Clear: true, EndedOrigin: s.forgetGone(ctx, "", c)}
	}
	if s.Tombstones.SessionEndedLocal(c.SessionID) { // while Stytch was waited for
		return State{Clear: true}
	}
	return State{Live: s.addPartial(c, jwt), Cause: CauseVerified}
}

// refresh serves a session that only Stytch can vouch for: a token alone, or a
// JWT that has expired.
func (s *Sessions) refresh(ctx context.Context, tokens []string, j verifiedJWTs) State {
	if k := s.recentOf(tokens, j.stale); k != nil {
		st := agreed(k, j.stale)
		st.Cause = CauseMemory
		// A browser without a JWT cookie may be one whose JWT is too long for it.
		// Its token was written back by the request that asked.
		st.Write = st.Write && j.came
		return st
	}
	var asks []question
	for _, t := range tokens {
		if IsAskable(t) {
			asks = append(asks, question{stytch.SessionRef{Token: redact.Secret(t)}, s.extension(redact.Secret(t), j.stale)})
		}
	}
	byJWT := question{stytch.SessionRef{JWT: redact.Secret(j.staleJWT)}, s.extension("", j.stale)}
	if len(asks) != 1 && j.staleJWT != "" { // of several tokens, the JWT names the one
		asks = slices.Insert(asks, 0, byJWT)
	}
	if len(asks) > maxTokens {
		st := s.askEach(ctx, asks[:maxTokens], j.stale)
		// Of those not asked about one may be alive, and another person's.
		if st.Live != nil && (j.stale == nil || st.Live.Session.ID != j.stale.SessionID) {
			return State{Ambiguous: true}
		}
		st.Clear = st.Clear && st.Mismatch
		return st
	}
	if len(asks) == 0 && j.unsure != "" {
		asks = append(asks, question{SessionRef: stytch.SessionRef{JWT: redact.Secret(j.unsure)}})
	}
	strange := j.staleJWT != "" && len(asks) == 1 && !s.entries.Contains(entryKey{'t', asks[0].Token})
	st := s.askEach(ctx, asks, j.stale)
	// A token that nobody knows here may be anybody's, and is held back in a flood
	// of such. The JWT beside it is ours, and is not: nor does a "no" to the token
	// say anything of the JWT's session.
	call := stytch.AsCall(st.Err)
	if strange && (call != nil && call.HeldBack() || st.Clear && !st.Mismatch) {
		return s.askEach(ctx, []question{byJWT}, j.stale)
	}
	return st
}

// CanBeAsked reports whether Stytch can be asked about an opaque token.
func IsAskable(token string) bool { return len(token) <= stytch.MaxToken && stytch.IsToken(token) }

// askEach asks about each token of a request. Of several that are alive the one
// counts that the JWT names, or the first if all are one user's; else none does,
// and nothing is touched.
func (s *Sessions) askEach(ctx context.Context, asks []question, stale *sessionjwt.Claims) State {
	var alive *Entry
	var unsure error
	var ended string
	several, id := false, ""
	if stale != nil {
		id = stale.SessionID
	}
	for _, q := range asks {
		k, err := s.ask(ctx, q, stale)
		switch {
		case err == nil && k.Session.ID == id:
			return agreed(k, stale)
		case err == nil && alive == nil:
			alive = k
		case err == nil:
			several = several || alive.Session.UserID != k.Session.UserID
		case stytch.AnswerOf(err) == stytch.CantTell:
			unsure = err
		default:
			c := stale
			if q.Token != "" && len(asks) > 1 {
				c = nil // says nothing of the session that the JWT is of
			}
			ended = cmp.Or(ended, s.forgetGone(ctx, q.Token, c))
		}
	}
	switch {
	case several:
		return State{Ambiguous: true}
	case unsure != nil: // of whom it can't be told, it may be another user's
		return State{Err: unsure, Stale: stale}
	case alive != nil:
		return agreed(alive, stale)
	case len(asks) == 0:
		return State{}
	}
	return State{Clear: true, EndedOrigin: ended}
}

// agreed is the answer that k is alive, unless a JWT of the same request is
// another user's: then somebody put one of the two there, and neither counts.
func agreed(k *Entry, stale *sessionjwt.Claims) State {
	if stale != nil && stale.UserID != k.Session.UserID {
		return State{Clear: true, Mismatch: true}
	}
	return State{Live: k, Cause: CauseAsked, Write: true}
}

// extension is the minutes that a call asks for: none while
// at least half of the duration is left, or where the expiry is unknown.
func (s *Sessions) extension(token redact.Secret, c *sessionjwt.Claims) int {
	var expires time.Time
	if k, ok := s.entries.Peek(entryKey{'t', token}); ok {
		expires = k.Session.ExpiresAt
	}
	if c != nil && c.SessionExpiresAt.After(expires) {
		expires = c.SessionExpiresAt
	}
	if expires.IsZero() || !s.due(expires) {
		return 0
	}
	return Minutes(s.ExtendBy)
}

// due says whether a session is to be extended.
func (s *Sessions) due(expires time.Time) bool {
	left := time.Until(expires)
	return left > 0 && left < s.ExtendBy/2
}

// Minutes rounds up, for Stytch counts durations in whole minutes. What is longer
// than any session may be is cut first: the year 9999 and a minute overflow.
func Minutes(d time.Duration) int {
	return int((min(d, longestLife) + time.Minute - 1) / time.Minute)
}
