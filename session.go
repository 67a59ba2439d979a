package stytchmigrate

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/flight"
	"example.com/stytchmigrate/internal/sessionjwt"
)

const (
	maxKnown    = 300_000       // keys in memory: of 100,000 sessions, each under three as a rule
	maxEnded    = 100_000       // ended sessions are an id each, and kept apart so that nothing else evicts them
	maxJWTs     = maxDuplicates // JWTs of one request that are worth a look
	maxTokens   = 3             // opaque tokens of one request that are worth a call
	maxToken    = 4 << 10
	maxUnknown  = 10_000
	keepUnknown = time.Minute
	userWait    = 500 * time.Millisecond // for the full user, where the JWT already says who it is
	// A session that is gone was ended by somebody, unless it is newer than Stytch
	// may take to know it everywhere, or was about to run out anyway.
	knownEverywhere = 30 * time.Second
	ranOut          = 2 * time.Minute

	partialRetry = 10 * time.Second // until the full user is asked for again
)

// sessions knows the Stytch sessions of requests: from memory, by verifying
// their JWT, or by asking Stytch, in that order.
type sessions struct {
	client   *client
	verifier *sessionjwt.Verifier
	by       *browser
	extendBy time.Duration // zero: sessions keep the expiry they have
	limit    time.Duration // of one call's life
	log      *slog.Logger

	known *lru.Cache[knownKey, *known]
	ended *lru.Cache[string, struct{}] // ids of sessions that were logged out here
	// endedCookies are the tokens and JWTs of sessions that were logged out before
	// their id was known here. Anybody can fill it, so it is apart from ended.
	endedCookies *lru.Cache[cookieKey, struct{}]

	originEnded          func(key string) bool                            // whether the legacy session of a record was logged out, as this process knows
	originEndedElsewhere func(ctx context.Context, key string) bool       // as the store knows
	endedElsewhere       func(ctx context.Context, sessionID string) bool // whether a Stytch session was

	// unknown are tokens that Stytch does not know, for a while. Anybody can fill it.
	unknown memory

	flights flight.Group[*known]
	brake   brake
	foreign atomic.Bool // said that cookies of another project come
	loud    func(kind string, err error)
}

// stytchState is what is known of the Stytch session of one request. The zero
// value: it has none.
type stytchState struct {
	alive  *known
	cause  string             // of its being alive, see Event
	write  bool               // the browser's cookies are behind, and are to be written
	clear  bool               // the session has ended, by Stytch's word or a Logout here
	ended  string             // key of the record of the legacy session that ended with it
	nobody bool               // sessions of two people, or too many to tell
	err    error              // can't tell
	stale  *sessionjwt.Claims // with err: whose it was, by an expired JWT
	event  string             // what is worth an event: "mismatch"
}

// find tells whose Stytch session a request carries.
func (s *sessions) find(ctx context.Context, c *requestCookies) stytchState {
	j := s.readJWTs(ctx, c.jwts)
	switch {
	case j.live != nil:
		return s.live(ctx, j.live, j.liveJWT)
	case j.foreign && j.stale == nil && j.unsure == "":
		// The cookies are another application's, as a Domain that both share brings
		// them; or those of all who have moved, and this is the wrong project.
		if !s.foreign.Swap(true) {
			s.log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: Stytch cookies of another project are left alone", slog.String("setting", "Config.ProjectID"))
		}
		return stytchState{}
	}
	return s.refresh(ctx, c.tokens, j)
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
func (s *sessions) readJWTs(ctx context.Context, jwts []string) (j verifiedJWTs) {
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
		c, err := s.verifier.Verify(ctx, v)
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
func (s *sessions) live(ctx context.Context, c *sessionjwt.Claims, jwt string) stytchState {
	if s.ended.Contains(c.SessionID) || s.cookieEnded('j', jwt) {
		return stytchState{clear: true}
	}
	jwt = strings.Clone(jwt) // what is remembered of it keeps no header alive
	if k := s.bySession(c.SessionID); k != nil {
		return stytchState{alive: s.adopt(k, c, jwt), cause: causeVerified}
	}
	wait, cancel := context.WithTimeout(ctx, userWait)
	defer cancel()
	// Extended here as in a refresh: a page that polls never sends a JWT that is
	// further past its expiry than the leeway.
	k, err := s.ask(wait, authenticateRequest{SessionJWT: jwt, SessionDurationMinutes: s.extension("", c)}, c)
	switch {
	case err == nil && (k.user.UserID != c.UserID || k.session.SessionID != c.SessionID):
		return stytchState{clear: true, event: kindMismatch}
	case err == nil:
		return stytchState{alive: s.adopt(k, c, jwt), cause: causeAsked}
	case answerOf(err) == no:
		return stytchState{clear: true, ended: s.lost(ctx, "", c)}
	}
	if s.ended.Contains(c.SessionID) { // while Stytch was waited for
		return stytchState{clear: true}
	}
	return stytchState{alive: s.partial(c, jwt), cause: causeVerified}
}

// refresh serves a session that only Stytch can vouch for: a token alone, or a
// JWT that has expired.
func (s *sessions) refresh(ctx context.Context, opaque []string, j verifiedJWTs) stytchState {
	if k := s.fresh(opaque, j.stale); k != nil {
		st := s.agreed(k, j.stale)
		st.cause = causeMemory
		// A browser without a JWT cookie may be one whose JWT is too long for it.
		// Its token was written back by the request that asked.
		st.write = st.write && j.came
		return st
	}
	var asks []authenticateRequest
	for _, t := range opaque {
		if len(t) <= maxToken && isCookieValue(t) {
			asks = append(asks, authenticateRequest{SessionToken: t, SessionDurationMinutes: s.extension(t, j.stale)})
		}
	}
	if len(asks) != 1 && j.staleJWT != "" { // of several tokens, the JWT names the one
		asks = slices.Insert(asks, 0, authenticateRequest{SessionJWT: j.staleJWT, SessionDurationMinutes: s.extension("", j.stale)})
	}
	if len(asks) > maxTokens {
		st := s.askEach(ctx, asks[:maxTokens], j.stale)
		// Of those not asked about one may be alive, and another person's.
		if st.alive != nil && (j.stale == nil || st.alive.session.SessionID != j.stale.SessionID) {
			return stytchState{nobody: true}
		}
		st.clear = st.clear && st.event != ""
		return st
	}
	if len(asks) == 0 && j.unsure != "" {
		asks = append(asks, authenticateRequest{SessionJWT: j.unsure})
	}
	strange := j.staleJWT != "" && len(asks) == 1 && !s.known.Contains(knownKey{'t', asks[0].SessionToken})
	st := s.askEach(ctx, asks, j.stale)
	// A token that nobody knows here may be anybody's, and is held back in a flood
	// of such. The JWT beside it is ours, and is not: nor does a "no" to the token
	// say anything of the JWT's session.
	var call *callError
	heldBack := errors.As(st.err, &call) && call.heldBack()
	if strange && (heldBack || st.clear && st.event == "") {
		jwt := authenticateRequest{SessionJWT: j.staleJWT, SessionDurationMinutes: s.extension("", j.stale)}
		return s.askEach(ctx, []authenticateRequest{jwt}, j.stale)
	}
	return st
}

// askEach asks about each token of a request. Of several that are alive the one
// counts that the JWT names, or the first if all are one user's; else none does,
// and nothing is touched.
func (s *sessions) askEach(ctx context.Context, asks []authenticateRequest, stale *sessionjwt.Claims) stytchState {
	var alive *known
	var unsure error
	var ended string
	several, id := false, ""
	if stale != nil {
		id = stale.SessionID
	}
	for _, in := range asks {
		k, err := s.ask(ctx, in, stale)
		switch {
		case err == nil && k.session.SessionID == id:
			return s.agreed(k, stale)
		case err == nil && alive == nil:
			alive = k
		case err == nil:
			several = several || alive.user.UserID != k.user.UserID
		case answerOf(err) == cantTell:
			unsure = err
		default:
			c := stale
			if in.SessionToken != "" && len(asks) > 1 {
				c = nil // says nothing of the session that the JWT is of
			}
			ended = cmp.Or(ended, s.lost(ctx, in.SessionToken, c))
		}
	}
	switch {
	case several:
		return stytchState{nobody: true}
	case unsure != nil: // of whom it can't be told, it may be another user's
		return stytchState{err: unsure, stale: stale}
	case alive != nil:
		return s.agreed(alive, stale)
	case len(asks) == 0:
		return stytchState{}
	}
	return stytchState{clear: true, ended: ended}
}

// agreed is the answer that k is alive, unless a JWT of the same request is
// another user's: then somebody put one of the two there, and neither counts.
func (s *sessions) agreed(k *known, stale *sessionjwt.Claims) stytchState {
	if stale != nil && stale.UserID != k.user.UserID {
		return stytchState{clear: true, event: kindMismatch}
	}
	return stytchState{alive: k, cause: causeAsked, write: true}
}

// extension is the session_duration_minutes that a call asks for: none while
// at least half of the duration is left, or where the expiry is unknown.
func (s *sessions) extension(token string, c *sessionjwt.Claims) int {
	var expires time.Time
	if k, ok := s.known.Peek(knownKey{'t', token}); ok {
		expires = k.session.ExpiresAt
	}
	if c != nil && c.SessionExpiresAt.After(expires) {
		expires = c.SessionExpiresAt
	}
	if expires.IsZero() || !s.due(expires) {
		return 0
	}
	return minutes(s.extendBy)
}

// due says whether a session is to be extended.
func (s *sessions) due(expires time.Time) bool {
	left := time.Until(expires)
	return left > 0 && left < s.extendBy/2
}

// minutes rounds up, for Stytch counts durations in whole minutes. What is longer
// than any session may be is cut first: the year 9999 and a minute overflow.
func minutes(d time.Duration) int {
	return int((min(d, maxDuration) + time.Minute - 1) / time.Minute)
}
