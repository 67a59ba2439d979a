package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"

	"example.com/stytchmigrate/internal/sessionjwt"
)

const (
	maxKnown     = 150_000 // keys in memory, up to three a session
	maxEnded     = 100_000 // ended sessions are an id each, and kept apart so that nothing else evicts them
	maxJWTs      = 4       // JWTs of one request that are worth a look
	maxTokens    = 3       // opaque tokens of one request that are worth a call
	maxToken     = 4 << 10
	userWait     = 500 * time.Millisecond // for the full user, where the JWT already says who it is
	partialRetry = 10 * time.Second       // until the full user is asked for again
)

// sessions knows the Stytch sessions of requests: from memory, by verifying
// their JWT, or by asking Stytch, in that order.
type sessions struct {
	client   *client
	verifier *sessionjwt.Verifier
	extendBy time.Duration // zero: sessions keep the expiry they have
	limit    time.Duration // of one call's life
	log      *slog.Logger

	known   *lru.Cache[memoryKey, *known]
	ended   *lru.Cache[string, struct{}] // ids of sessions that were logged out here
	flights singleflight.Group
}

// known is a Stytch session as this process last saw it. All but judged is
// read-only once it is in memory.
type known struct {
	user    *User
	session *Session
	tokens  tokens
	origin  string    // key of the legacy session's record, from the claim legacy_session
	until   time.Time // the JWT is taken without a look until then
	fresh   time.Time // the user and the opaque token are taken from memory until then
	also    memoryKey // of an older JWT of the session that a browser still sends, if there is one

	judged atomic.Pointer[judgement] // of the legacy cookies that came with it last
}

// memoryKey is the SHA-256 of what a browser sent, with a letter for its kind:
// j for a JWT, t for an opaque token, s for a session's id.
type memoryKey [sha256.Size]byte

func keyOf(kind byte, value string) memoryKey {
	return sha256.Sum256(append([]byte{kind}, value...))
}

// stytchState is what is known of the Stytch session of one request. The zero
// value: it has none.
type stytchState struct {
	alive *known
	write bool   // the browser's cookies are behind, and are to be written
	clear bool   // the session has ended, by Stytch's word or a Logout here
	ended string // key of the record of the legacy session that ended with it
	err   error  // can't tell
	event string // what is worth an event: "mismatch"
}

// remembered is the answer from memory: the one JWT of the request is known
// and has not expired.
func (s *sessions) remembered(c *requestCookies) *known {
	if len(c.jwts) != 1 || len(c.jwts[0]) > sessionjwt.MaxToken {
		return nil
	}
	k, ok := s.known.Get(keyOf('j', c.jwts[0]))
	if !ok || !time.Now().Before(k.until) {
		return nil
	}
	return k
}

// find tells whose Stytch session a request carries.
func (s *sessions) find(ctx context.Context, c *requestCookies) stytchState {
	j := s.readJWTs(ctx, c.jwts)
	switch {
	case j.live != nil:
		return s.live(ctx, j.live, j.liveJWT)
	case j.foreign && j.stale == nil:
		return stytchState{} // the cookies are another application's
	}
	return s.refresh(ctx, c.tokens, j)
}

// readJWTs is what the JWTs of one request come to.
type readJWTs struct {
	live, stale       *sessionjwt.Claims // verified; stale ones are not current
	liveJWT, staleJWT string
	unsure            string // could be ours, but there is no key to tell
	foreign           bool   // one is of another project
}

// readJWTs verifies the JWTs of a request. Of several, as a change of Domain
// leaves them, the newest counts if all are one user's; else none does.
func (s *sessions) readJWTs(ctx context.Context, jwts []string) (j readJWTs) {
	several := false
	newest := func(at **sessionjwt.Claims, jwt *string, c *sessionjwt.Claims, v string) {
		several = several || *at != nil && (*at).UserID != c.UserID
		if *at == nil || c.IssuedAt.After((*at).IssuedAt) {
			*at, *jwt = c, v
		}
	}
	for _, v := range jwts[:min(len(jwts), maxJWTs)] {
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
	if several {
		return readJWTs{foreign: j.foreign}
	}
	return j
}

// live serves a session whose JWT verifies. Stytch is asked only for the full
// user, and not waited for long: the JWT says already who it is.
func (s *sessions) live(ctx context.Context, c *sessionjwt.Claims, jwt string) stytchState {
	if s.ended.Contains(c.SessionID) {
		return stytchState{clear: true}
	}
	if k := s.bySession(c.SessionID); k != nil {
		return stytchState{alive: s.adopt(k, c, jwt)}
	}
	wait, cancel := context.WithTimeout(ctx, userWait)
	defer cancel()
	k, err := s.ask(wait, authenticateRequest{SessionJWT: jwt})
	switch {
	case err == nil && (k.user.UserID != c.UserID || k.session.SessionID != c.SessionID):
		return stytchState{clear: true, event: kindMismatch}
	case err == nil:
		return stytchState{alive: s.adopt(k, c, jwt)}
	case answerOf(err) == no:
		return stytchState{clear: true, ended: endedRecord(c)}
	}
	return stytchState{alive: s.partial(c, jwt)}
}

// refresh serves a session that only Stytch can vouch for: a token alone, or a
// JWT that has expired.
func (s *sessions) refresh(ctx context.Context, opaque []string, j readJWTs) stytchState {
	if k := s.fresh(opaque, j.stale); k != nil {
		return s.agreed(k, j.stale)
	}
	var asks []authenticateRequest
	for _, t := range opaque[:min(len(opaque), maxTokens)] {
		if len(t) <= maxToken && isCookieValue(t) {
			asks = append(asks, authenticateRequest{SessionToken: t, SessionDurationMinutes: s.extension(t, j.stale)})
		}
	}
	if len(asks) == 0 && j.staleJWT != "" {
		asks = append(asks, authenticateRequest{SessionJWT: j.staleJWT, SessionDurationMinutes: s.extension("", j.stale)})
	}
	if len(asks) == 0 && j.unsure != "" {
		asks = append(asks, authenticateRequest{SessionJWT: j.unsure})
	}
	return s.askEach(ctx, asks, j.stale)
}

// askEach asks about each token of a request. Of several that are alive the
// first counts if all are one user's; else none does, and nothing is touched.
func (s *sessions) askEach(ctx context.Context, asks []authenticateRequest, stale *sessionjwt.Claims) (st stytchState) {
	var alive *known
	var unsure error
	for _, in := range asks {
		k, err := s.ask(ctx, in)
		switch {
		case err == nil && alive != nil && alive.user.UserID != k.user.UserID:
			return stytchState{}
		case err == nil && alive == nil:
			alive = k
		case err != nil && answerOf(err) == cantTell:
			unsure = err
		}
	}
	switch {
	case alive != nil:
		return s.agreed(alive, stale)
	case unsure != nil:
		return stytchState{err: unsure}
	case len(asks) == 0:
		return stytchState{}
	}
	return stytchState{clear: true, ended: endedRecord(stale)}
}

// agreed is the answer that k is alive, unless a JWT of the same request is
// another user's: then somebody put one of the two there, and neither counts.
func (s *sessions) agreed(k *known, stale *sessionjwt.Claims) stytchState {
	if stale != nil && stale.UserID != k.user.UserID {
		return stytchState{clear: true, event: kindMismatch}
	}
	return stytchState{alive: k, write: true}
}

// ask is one sessions/authenticate call, shared by all who ask the same.
func (s *sessions) ask(ctx context.Context, in authenticateRequest) (*known, error) {
	k, err := share(ctx, &s.flights, in.SessionToken+"\x00"+in.SessionJWT, s.limit, func(ctx context.Context) (*known, error) {
		out, err := s.client.authenticate(ctx, in)
		if err != nil {
			return nil, err
		}
		return s.learn(&out.User, &out.Session, out.SessionToken, out.SessionJWT)
	})
	if err == nil && s.ended.Contains(k.session.SessionID) {
		return nil, errEnded
	}
	return k, err
}

// errEnded is the answer "no" that this process gives itself: it logged that
// session out, and an answer that was under way must not bring it back.
var errEnded = &callError{op: "authenticate", reason: "the session was logged out", answer: no}

// learn puts a session that Stytch has just vouched for into memory.
func (s *sessions) learn(u *User, session *Session, token, jwt Secret) (*known, error) {
	now := time.Now()
	if !now.Before(session.ExpiresAt) {
		return nil, &callError{op: "answer", reason: "session.expires_at is past"}
	}
	k := &known{
		user: u, session: session, fresh: now.Add(time.Minute), until: now,
		tokens: tokens{session: token, jwt: jwt, expires: session.ExpiresAt},
	}
	k.origin, _ = session.CustomClaims[originClaim].(string)
	c, err := s.verifier.Read(string(jwt))
	switch {
	case err != nil:
		s.log.Error("stytchmigrate: session_jwt of an answer is no session JWT of this project",
			"setting", "Config.ProjectID or Config.BaseURL", "reason", err.Error())
	case c.UserID != u.UserID || c.SessionID != session.SessionID:
		return nil, &callError{op: "answer", reason: "session_jwt is not of the session that it came with"}
	default:
		k.fresh, k.until = c.ExpiresAt, c.ExpiresAt
	}
	s.put(k)
	return k, nil
}

// put makes k the one entry of its session in memory. What an earlier entry was
// known by goes, so that a session costs its share of memory however many JWTs
// it had.
func (s *sessions) put(k *known) {
	id := k.session.SessionID
	if old, ok := s.known.Peek(keyOf('s', id)); ok {
		s.known.Remove(keyOf('j', string(old.tokens.jwt)))
		s.known.Remove(old.also)
	}
	s.known.Add(keyOf('s', id), k)
	s.known.Add(keyOf('j', string(k.tokens.jwt)), k)
	s.known.Add(keyOf('t', string(k.tokens.session)), k)
	if s.ended.Contains(id) { // a Logout came in between
		s.forget(k)
	}
}

// adopt makes a further JWT of a session in memory known. If it is the newer
// one, it is what browsers get from now on; if not, it is known beside the other.
func (s *sessions) adopt(k *known, c *sessionjwt.Claims, jwt string) *known {
	entry := &known{user: k.user, session: k.session, tokens: k.tokens, origin: k.origin, until: k.until, fresh: k.fresh}
	if c.SessionExpiresAt.After(k.session.ExpiresAt) {
		session := *k.session
		session.ExpiresAt = c.SessionExpiresAt
		entry.session, entry.tokens.expires = &session, c.SessionExpiresAt
	}
	until := c.ExpiresAt.Add(sessionjwt.Leeway)
	if c.ExpiresAt.After(k.until) {
		entry.tokens.jwt, entry.until = Secret(jwt), until
		s.put(entry)
		return entry
	}
	entry.also = keyOf('j', jwt)
	s.put(entry)
	older := &known{user: entry.user, session: entry.session, tokens: entry.tokens, origin: entry.origin, until: until}
	s.known.Add(entry.also, older)
	return older
}

// partial makes a session known by its JWT alone, for as long as Stytch is not
// asked for the user again.
func (s *sessions) partial(c *sessionjwt.Claims, jwt string) *known {
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
	s.known.Add(keyOf('j', jwt), k)
	return k
}

// bySession returns the session in memory whose user is recent.
func (s *sessions) bySession(id string) *known {
	k, ok := s.known.Get(keyOf('s', id))
	if !ok || !time.Now().Before(k.fresh) {
		return nil
	}
	return k
}

// fresh returns the session in memory that a request's token or expired JWT
// is of, where its newer JWT has not expired yet.
func (s *sessions) fresh(opaque []string, stale *sessionjwt.Claims) *known {
	for _, t := range opaque {
		if k, ok := s.known.Get(keyOf('t', t)); ok && time.Now().Before(k.fresh) {
			return k
		}
	}
	if len(opaque) == 0 && stale != nil {
		return s.bySession(stale.SessionID)
	}
	return nil
}

// extension is the session_duration_minutes that a refresh asks for: none
// while at least half of the duration is left, or where the expiry is unknown.
func (s *sessions) extension(token string, stale *sessionjwt.Claims) int {
	var expires time.Time
	if k, ok := s.known.Peek(keyOf('t', token)); ok {
		expires = k.session.ExpiresAt
	}
	if stale != nil && stale.SessionExpiresAt.After(expires) {
		expires = stale.SessionExpiresAt
	}
	if expires.IsZero() || time.Until(expires) >= s.extendBy/2 {
		return 0
	}
	return minutes(s.extendBy)
}

// end makes this process refuse a session from now on, though its JWT verifies.
func (s *sessions) end(sessionID string) {
	s.ended.Add(sessionID, struct{}{})
	if k, ok := s.known.Peek(keyOf('s', sessionID)); ok {
		s.forget(k)
	}
}

func (s *sessions) forget(k *known) {
	s.known.Remove(keyOf('s', k.session.SessionID))
	s.known.Remove(keyOf('j', string(k.tokens.jwt)))
	s.known.Remove(keyOf('t', string(k.tokens.session)))
	s.known.Remove(k.also)
}

// endedRecord is the key of the legacy session that a session came from which
// Stytch no longer knows, if it was ended rather than ran out, and is older
// than the moment that Stytch may take to know a new one everywhere.
func endedRecord(c *sessionjwt.Claims) string {
	now := time.Now()
	if c == nil || now.Before(c.SessionStartedAt.Add(30*time.Second)) || now.After(c.SessionExpiresAt.Add(-2*time.Minute)) {
		return ""
	}
	return c.LegacySession
}

// share runs work once for all who ask for key at the same time. It goes on
// when its first caller leaves, has a deadline of its own, and ends in an error
// where it panics: the process is not one request's to lose.
func share[T any](ctx context.Context, g *singleflight.Group, key string, limit time.Duration, work func(context.Context) (T, error)) (T, error) {
	ch := g.DoChan(key, func() (v any, err error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("stytchmigrate: panic in a call to Stytch (%T)", p)
			}
		}()
		return work(ctx)
	})
	var zero T
	select {
	case res := <-ch:
		if res.Err != nil {
			return zero, res.Err
		}
		return res.Val.(T), nil
	case <-ctx.Done():
		return zero, errNoAnswer
	}
}

// errNoAnswer is why a request gave up: its time was over, or its client gone.
// The call goes on.
var errNoAnswer = &callError{op: "call", reason: "no answer within the time of the request"}

// minutes rounds up, for Stytch counts durations in whole minutes.
func minutes(d time.Duration) int { return int((d + time.Minute - 1) / time.Minute) }
