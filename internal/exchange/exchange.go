// Package exchange turns legacy sessions into Stytch sessions. Each legacy session
// becomes one Stytch session, however many requests bring it, and to however many
// machines.
//
// exchange.go is what a request calls. job.go is the work that requests share: its
// method attempt is the protocol by which machines agree. refusal.go has the reasons for
// a "no" of our own. shadow.go makes exchanges whose session nobody gets.
package exchange

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/cache"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
	"example.com/stytchmigrate/userinfo"
)

const (
	keepRefusal  = time.Minute // a "no" of Stytch
	keepUserInfo = 5 * time.Second
	keepUnusable = 5 * time.Second // an answer 200 that can't be used: each exchange makes another session
	maxRefusals  = 10_000
	maxWaits     = 10_000
)

// Config is what an Exchanger needs.
type Config struct {
	API         stytch.API
	Sessions    *session.Sessions
	Records     *records.Records
	Tombstones  *tombstones.Tombstones
	Limiter     Limiter
	Mint        func(userinfo.Identity) (redact.Secret, error) // makes a token to exchange, for a legacy session without one
	Timeout     time.Duration                                  // of a request
	CreateUsers bool
	Log         *slog.Logger
	LogError    func(ctx context.Context, op stytch.Op, took time.Duration, err error)
}

// Limiter decides whether one more exchange may begin now.
type Limiter interface {
	HasRoom() bool
	Take() bool
	Return()
}

// Exchanger is made with [New]. It is safe for concurrent use.
type Exchanger struct {
	Config
	refusals *lru.Cache[string, *sharedResult] // by the key of the legacy session
	waits    cache.TTL[string, time.Time]      // by the key of a legacy session that another machine exchanges: when this process stops waiting for that
	flights  background.Group[*sharedResult]
	shadows  shadows
}

// New returns an Exchanger.
func New(c Config) *Exchanger {
	return &Exchanger{
		Config: c, refusals: cache.LRU[string, *sharedResult](maxRefusals), waits: cache.NewTTL[string, time.Time](maxWaits), shadows: newShadows(),
		flights: background.Group[*sharedResult]{Limit: 3 * c.Timeout, ErrLeft: stytch.ErrNoAnswer},
	}
}

// Legacy is a legacy session that is to move.
type Legacy struct {
	Key      string        // of its record
	ID       redact.Secret // opens the record
	Identity userinfo.Identity
	Source   *records.Source // for LegacyCookie.End at a logout without the legacy cookie; nil if the cookie has no End
}

// Prepare makes the request for a legacy session. It runs code of the application,
// and so in the goroutine of a request. Its errors are about the session (an identity
// that is not verified: no) or about a setting (can't tell).
type Prepare func() (stytch.ExchangeRequest, error)

// Result is what became of a legacy session, for one request.
type Result struct {
	Answer   stytch.Answer
	Entry    *session.Entry // if the answer is yes
	Err      error          // if it is not
	Recorded bool           // the session was made before, and resumed

	Event  Event  // what this request has to report
	UserID string // of the Stytch user that the event is about
}

// Event is what happened beside an exchange.
type Event int

const (
	NoEvent  Event = iota
	Mismatch       // Stytch's user is not the legacy session's person
	Created        // a user was created
)

// sharedResult is a Result for all requests that wait for it, and for those that come
// while it is remembered.
type sharedResult struct {
	Result
	until    time.Time   // it is remembered until then; zero: it is not
	reported atomic.Bool // some request has the event
}

// forRequest returns the Result for one more request. The first one gets the event,
// and no other does, so that it is reported once.
func (x *sharedResult) forRequest() Result {
	r := x.Result
	if r.Event != NoEvent && !x.reported.CompareAndSwap(false, true) {
		r.Event, r.UserID = NoEvent, ""
	}
	return r
}

// cantTell is the result if err says nothing about the legacy session.
func cantTell(err error) *sharedResult { return &sharedResult{Result: Result{Err: err}} }

// Exchange returns the Stytch session that a legacy session became, and exchanges the
// legacy session if it became none yet. Requests with one legacy session share the
// work. A request that leaves does not end it.
func (m *Exchanger) Exchange(ctx context.Context, l *Legacy, prepare Prepare) Result {
	if x := m.knownRefusal(l.Key); x != nil {
		return x.forRequest()
	}
	in, err := prepare()
	if err != nil {
		return m.notPrepared(ctx, l.Key, err)
	}
	x, err := m.flights.Do(ctx, l.Key, func(ctx context.Context) (*sharedResult, error) {
		j := &job{Exchanger: m, legacy: l, in: in, owner: rand.Text()}
		return j.run(ctx), nil
	})
	switch {
	case m.Tombstones.LegacyEndedLocal(l.Key): // logged out while this request waited
		return loggedOut().forRequest()
	case err != nil:
		return Result{Err: err}
	}
	if x.Answer == stytch.Yes && !x.Entry.Session.User.Accepts(l.Identity) {
		return m.refuseOtherPerson(ctx, l, x.Entry)
	}
	return x.forRequest()
}

// knownRefusal is the "no" to a legacy session that this process knows already.
func (m *Exchanger) knownRefusal(key string) *sharedResult {
	if m.Tombstones.LegacyEndedLocal(key) {
		return loggedOut()
	}
	if x, ok := m.refusals.Get(key); ok && time.Now().Before(x.until) {
		return x
	}
	return nil
}

// Refusal returns why this process would not exchange a legacy session now, and for how
// long it remembers that; zero: for good. A nil error: it would.
func (m *Exchanger) Refusal(key string) (remembered time.Duration, why error) {
	x := m.knownRefusal(key)
	switch {
	case x == nil:
		return 0, nil
	case x.until.IsZero():
		return 0, x.Err
	}
	return time.Until(x.until), x.Err
}

// remember keeps a result that is not to be asked for again until its time is over.
func (m *Exchanger) remember(key string, x *sharedResult) {
	if x.until.After(time.Now()) {
		m.refusals.Add(key, x)
	}
}

// notPrepared is the result for a legacy session that Stytch is not asked about,
// because its request could not be made. A refusal is remembered, and so logged once a
// minute, as Stytch's own are.
func (m *Exchanger) notPrepared(ctx context.Context, key string, err error) Result {
	x := &sharedResult{Result: Result{Answer: stytch.AnswerOf(err), Err: err}}
	if x.Answer == stytch.No {
		x.until = time.Now().Add(keepRefusal)
		m.remember(key, x)
		m.Log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: legacy session refused", slog.String("reason", err.Error()))
	}
	return x.Result
}

// ErrPace is why an exchange was not begun: the rollout allows no more of them now.
var ErrPace = &stytch.CallError{Op: stytch.Migrate, Reason: "held back: Rollout.PerSecond"}

// ErrClaimedElsewhere is why an exchange was not begun: another machine has begun it,
// and a request does not wait for that any longer. As with too many calls in flight,
// the old code serves the user, and a later request moves them.
var ErrClaimedElsewhere = &stytch.CallError{Op: stytch.Migrate, Reason: "another machine exchanges this legacy session", NoSlot: true}

// ErrSessionsEnded is why the session of an exchange was given up: all sessions of its user
// were ended meanwhile. The old code serves the user, and a later request moves them.
var ErrSessionsEnded = &stytch.CallError{Op: stytch.Migrate, Reason: "the user's sessions were ended a moment ago", NoSlot: true}

// IsNoRoom reports an exchange that was not begun, although nothing is wrong with the
// legacy session, or with Stytch.
func IsNoRoom(err error) bool { return errors.Is(err, ErrPace) || IsFull(err) }

// IsFull reports an exchange that was not begun because too many were in flight, or
// because this one was, on another machine.
func IsFull(err error) bool {
	call := stytch.AsCall(err)
	return call != nil && call.NoSlot && call.Op == stytch.Migrate
}

// exchangeOrCreate exchanges a legacy session. If Stytch does not know its user, and
// Config.CreateUsers is set, it creates the user and exchanges again. That belongs to
// the shared work: the requests that share the exchange share the new user too.
func (m *Exchanger) exchangeOrCreate(ctx context.Context, id userinfo.Identity, in stytch.ExchangeRequest) *sharedResult {
	x := m.call(ctx, id, in)
	if IsFull(x.Err) {
		m.Limiter.Return()
	}
	call := stytch.AsCall(x.Err)
	if !m.CreateUsers || id == (userinfo.Identity{}) || call == nil || call.API == nil || !call.API.IsUnknownUser() {
		return x
	}
	userID, err := m.API.CreateUser(ctx, id)
	if err != nil {
		return resultOf(err)
	}
	x = m.call(ctx, id, in)
	if userID != "" && x.Event == NoEvent {
		x.Event, x.UserID = Created, userID
	}
	return x
}

// resultOf is the result of a call that Stytch answered with an error. A "no" is
// remembered. So is, for a moment, that the UserInfo endpoint did not answer Stytch:
// that endpoint is the application's, and need not be asked by each request. So is that
// an answer could not be used: Stytch makes another session in each exchange.
func resultOf(err error) *sharedResult {
	x := &sharedResult{Result: Result{Answer: stytch.AnswerOf(err), Err: err}}
	call := stytch.AsCall(err)
	switch {
	case x.Answer == stytch.No:
		x.until = time.Now().Add(keepRefusal)
	case call != nil && call.API != nil && call.API.Type == stytch.NoUserInfo:
		x.until = time.Now().Add(keepUserInfo)
	case call != nil && call.Unusable && call.Op == stytch.Migrate:
		x.until = time.Now().Add(keepUnusable)
	}
	return x
}

// call makes one call for an exchange, and compares the user of the answer with the
// identity. A session of another person is revoked.
func (m *Exchanger) call(ctx context.Context, id userinfo.Identity, in stytch.ExchangeRequest) *sharedResult {
	asked := time.Now()
	out, err := m.API.Exchange(ctx, in)
	now := time.Now()
	if err != nil {
		m.revokeMade(ctx, err)
		return resultOf(err)
	}
	if !out.User.Accepts(id) {
		m.revokeToken(ctx, out.Token)
		return anotherPerson(out, id)
	}
	var k *session.Entry
	if out.ID == "" {
		err = &stytch.CallError{Op: stytch.Migrate, Reason: "answer 200 could not be used: session is missing, and session_jwt can't be read", Unusable: true}
	} else {
		k, err = m.Sessions.Add(out, now)
	}
	if err != nil {
		m.LogError(ctx, stytch.Migrate, now.Sub(asked), err)
		m.revokeToken(ctx, out.Token)
		x := cantTell(err)
		x.until = now.Add(keepUnusable)
		return x
	}
	m.Sessions.ReportAlive(k)
	return &sharedResult{Result: Result{Answer: stytch.Yes, Entry: k}}
}

// revoke and revokeToken end a session that must not be used.
func (m *Exchanger) revoke(ctx context.Context, sessionID string) {
	m.Sessions.RevokeUnwanted(ctx, stytch.SessionRef{ID: sessionID})
	m.Sessions.End(sessionID)
}

func (m *Exchanger) revokeToken(ctx context.Context, token redact.Secret) {
	m.Sessions.RevokeUnwanted(ctx, stytch.SessionRef{Token: token, Vouched: true}) // Stytch has just given it
}

// revokeMade revokes the session that an answer names which could not be used, if it
// names one. The time of the exchange may be over.
func (m *Exchanger) revokeMade(ctx context.Context, err error) {
	call := stytch.AsCall(err)
	if call == nil || call.Made == (stytch.SessionRef{}) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.Timeout)
	defer cancel()
	m.Sessions.RevokeUnwanted(ctx, call.Made)
}

// RevokeLater ends a Stytch session that must not be used any more: a later sign-in
// replaced it, an old logout ended it, or it is another person's. In this process it
// ends at once. The request does not wait for the calls that end it elsewhere.
// RevokeLater returns false if the session had ended already. The record of the legacy
// session goes on naming it until another session takes its place, and no machine
// resumes it.
func (m *Exchanger) RevokeLater(ctx context.Context, sessionID string) bool {
	if m.Sessions.End(sessionID) {
		return false
	}
	ctx = context.WithoutCancel(ctx)
	background.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, m.Sessions.Limit)
		defer cancel()
		_ = m.Tombstones.MarkSessionShared(ctx, sessionID)
		m.Sessions.RevokeUnwanted(ctx, stytch.SessionRef{ID: sessionID})
	})
	return true
}
