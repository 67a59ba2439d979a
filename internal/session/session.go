// Package session finds out whose Stytch session a request carries.
//
// [Sessions.Lookup] answers from memory, without a call and without a signature
// check. That is nearly every request. [Sessions.Find] does the rest:
//
//  1. A JWT that verifies says who the user is (session.go). Stytch is asked only for
//     the full user, if memory does not have it.
//  2. With a token, or with a JWT that has expired, Stytch has to be asked, unless
//     memory has a newer JWT of the session (refresh.go). Requests that ask the same
//     question share one call (ask.go).
//
// An error is never treated as "not signed in": see [State].
//
// Memory holds what Stytch vouched for, and nothing else (memory.go). What was logged
// out stays out, whatever Stytch answers afterwards (end.go). If Stytch suddenly does
// not know too many sessions, it is not believed (brake.go).
package session

import (
	"context"
	"errors"
	"log/slog"
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
	maxEntryKeys = 300_000 // 100,000 sessions, each under three keys as a rule
	maxUnknown   = 10_000  // cookies that Stytch did not know

	// Per request.
	maxJWTs      = 5 // JWTs that are verified
	maxTokens    = 5 // tokens that are looked up in memory
	maxQuestions = 3 // tokens and JWTs that Stytch is asked about

	userWait     = 500 * time.Millisecond // how long a request waits for the full user if its JWT is valid
	partialRetry = 10 * time.Second       // until the full user is asked for again
	unknownFor   = time.Minute            // how long Stytch is not asked again about a cookie that it did not know
)

const (
	// Propagation is how long Stytch may take to know a new session everywhere. Until
	// then "not found" is can't tell: see authenticate in ask.go.
	Propagation = 30 * time.Second

	// NearExpiry is how close to its expiry a session may have run out, by another
	// clock than ours. Then, too, "not found" does not mean that somebody ended it.
	NearExpiry = 2 * time.Minute
)

// The values of State.Cause.
const (
	CauseMemory   = "memory"   // nothing had to be checked
	CauseVerified = "verified" // the JWT's signature was checked
	CauseAsked    = "asked"    // Stytch was asked
)

// Verifier checks session JWTs without a call for each. [sessionjwt.Verifier] is one,
// and documents the errors.
type Verifier interface {
	// Verify checks a JWT that a browser sent.
	Verify(ctx context.Context, jwt string) (*sessionjwt.Claims, error)

	// Read returns the claims of a JWT that Stytch has just answered with. Such a JWT
	// came over TLS: to wait for the key set here would let an outage of the key set
	// fail every call.
	Read(jwt string) (*sessionjwt.Claims, error)
}

// Config is what Sessions need. All fields but ExtendBy are required.
type Config struct {
	API        stytch.API
	Verifier   Verifier
	Tombstones *tombstones.Tombstones
	Limit      time.Duration // after which a call that requests share is given up
	ExtendBy   time.Duration // how long a session in use lives from now on; zero: its expiry stays
	Log        *slog.Logger

	// Attach is called once for each session that is put into memory. Its result is
	// Entry.Attached.
	Attach func(*stytch.Session) any

	// OnDoubt is called with ErrBrake, once a minute at most, while Stytch is not
	// believed, and with nil when it is believed again.
	OnDoubt func(error)

	// OnRevokeFailed is called when a session that no browser may have could not be
	// revoked.
	OnRevokeFailed func(error)
}

// Sessions finds the sessions of requests and remembers them. Make it with [New]. It
// is safe for concurrent use.
type Sessions struct {
	Config

	entries         *lru.Cache[entryKey, *Entry]
	unknown         cache.TTL[tombstones.CookieHash, struct{}] // cookies that Stytch did not know; strangers can fill it
	calls           background.Group[*Entry]
	brake           brake
	foreignReported latch.Latch // that cookies of another project come
}

// New returns Sessions with an empty memory.
func New(c Config) *Sessions {
	return &Sessions{
		Config: c, entries: cache.LRU[entryKey, *Entry](maxEntryKeys), unknown: cache.NewTTL[tombstones.CookieHash, struct{}](maxUnknown),
		calls: background.Group[*Entry]{Limit: c.Limit, ErrLeft: stytch.ErrNoAnswer},
	}
}

// State is what is known of the Stytch session of one request. It keeps three answers
// apart: yes (Live), no (neither Live nor Err), and can't tell (Err). The zero value
// is a request without a session.
type State struct {
	Live  *Entry // the session
	Cause string // with Live: how that was found out
	Write bool   // with Live: the browser's cookies are out of date; write new ones

	Clear       bool   // the session has ended, or the cookies contradict each other: delete them
	EndedOrigin string // with Clear: the record of the legacy session that ended with it, by its key
	Mismatch    bool   // with Clear: Stytch's answer and the JWT are of two sessions
	Ambiguous   bool   // the cookies are of two people, or too many to tell: leave them

	Err   error              // can't tell
	Stale *sessionjwt.Claims // with Err: what the expired JWT says, if the request has one
}

// Find tells whose Stytch session a request carries. jwts and tokens are its cookies.
func (s *Sessions) Find(ctx context.Context, jwts, tokens []string) State {
	j := s.readJWTs(jwts, s.verify(ctx))
	switch {
	case j.valid.claims != nil:
		return s.findByJWT(ctx, j.valid)
	case j.foreign && j.stale.claims == nil && j.unverified == "":
		// Another application shares our Domain, and these cookies are its own. Or
		// Config.ProjectID is wrong, and these are the cookies of everyone who has moved.
		if s.foreignReported.Set() {
			s.Log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: Stytch cookies of another project are left alone", slog.String("setting", "Config.ProjectID"))
		}
		return State{}
	}
	return s.refresh(ctx, tokens, j)
}

// requestJWTs is what the JWTs of one request say.
type requestJWTs struct {
	valid      verifiedJWT // the newest that verifies
	stale      verifiedJWT // the newest that would verify, but for the clock: it has expired, as a rule
	unverified string      // a JWT that could be ours, but there is no key to verify it with
	some       bool        // the request has a JWT cookie, whatever is in it
	foreign    bool        // one of the JWTs is of another project
}

// verifiedJWT is a JWT of this project whose signature is right. Without claims there
// is no such JWT.
type verifiedJWT struct {
	text   string
	claims *sessionjwt.Claims
}

// keep takes a JWT if it is newer.
func (v *verifiedJWT) keep(text string, c *sessionjwt.Claims) {
	if v.claims == nil || c.IssuedAt.After(v.claims.IssuedAt) {
		v.text, v.claims = text, c
	}
}

// verify returns Verify with a context.
func (s *Sessions) verify(ctx context.Context) func(jwt string) (*sessionjwt.Claims, error) {
	return func(jwt string) (*sessionjwt.Claims, error) { return s.Verifier.Verify(ctx, jwt) }
}

// readJWTs verifies the JWTs of a request. A browser may hold several, after a change
// of CookieOptions.Domain: the newest counts. If they are of two users, none counts:
// someone who can set cookies for a neighbouring host may have planted one of them.
func (s *Sessions) readJWTs(jwts []string, verify func(jwt string) (*sessionjwt.Claims, error)) requestJWTs {
	j := requestJWTs{some: len(jwts) > 0}
	if len(jwts) > maxJWTs { // one of those that are not verified may be another user's
		return j
	}
	user, twoUsers := "", false
	for _, text := range jwts {
		if s.cookieEnded('j', text) {
			continue
		}
		c, err := verify(text)
		switch {
		case err == nil:
			j.valid.keep(text, c)
		case errors.Is(err, sessionjwt.ErrNotCurrent):
			j.stale.keep(text, c)
		case errors.Is(err, sessionjwt.ErrNoKeys):
			j.unverified = text
		case errors.Is(err, sessionjwt.ErrForeign):
			j.foreign = true
		}
		if c != nil {
			twoUsers = twoUsers || user != "" && user != c.UserID
			user = c.UserID
		}
	}
	if twoUsers {
		return requestJWTs{foreign: j.foreign, some: true}
	}
	return j
}

// findByJWT finds the session of a JWT that verifies. Stytch is asked only for the
// full user: the JWT already says who it is. If Stytch can't tell, that is enough.
func (s *Sessions) findByJWT(ctx context.Context, j verifiedJWT) State {
	c := j.claims
	if s.Tombstones.SessionEndedLocal(c.SessionID) || s.cookieEnded('j', j.text) {
		return State{Clear: true}
	}
	j.text = strings.Clone(j.text) // what stays in memory must not keep the whole Cookie header alive
	if k := s.recent(byID(c.SessionID)); k != nil {
		return State{Live: s.adopt(k, j), Cause: CauseVerified}
	}
	wait, cancel := context.WithTimeout(ctx, userWait)
	defer cancel()
	// aboutJWT extends the session, as a refresh does: the JWT of a page that polls is
	// replaced before it is stale, so that no refresh ever comes.
	k, err := s.ask(wait, s.aboutJWT(j))
	switch {
	case err == nil && (k.Session.UserID != c.UserID || k.Session.ID != c.SessionID):
		return State{Clear: true, Mismatch: true}
	case err == nil:
		return State{Live: s.adopt(k, j), Cause: CauseAsked}
	case stytch.AnswerOf(err) == stytch.No:
		return State{Clear: true, EndedOrigin: s.endedOrigin(ctx, "", c)}
	case s.endedAnywhere(ctx, c.SessionID, c.LegacySession): // on another machine, or while this request waited
		return State{Clear: true}
	case s.isUnknown(byJWT(redact.Secret(j.text))): // the answer came while the store was asked
		return State{Clear: true, EndedOrigin: s.endedOrigin(ctx, "", c)}
	}
	return State{Live: s.addPartial(j), Cause: CauseVerified}
}

// aboutJWT is the question about the session of a JWT.
func (s *Sessions) aboutJWT(j verifiedJWT) question {
	return question{SessionRef: stytch.SessionRef{JWT: redact.Secret(j.text)}, minutes: s.extension("", j.claims), claims: j.claims}
}
