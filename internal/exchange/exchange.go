// Package exchange turns legacy sessions into Stytch sessions: one for each,
// however many requests bring it, and to however many machines.
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
	keepRefusal  = time.Minute // a "no"
	keepUserInfo = 5 * time.Second
	maxRefusals  = 10_000
)

// Config is what an Exchanger needs.
type Config struct {
	API         stytch.API
	Sessions    *session.Sessions
	Records     *records.Records
	Tombstones  *tombstones.Tombstones
	Limiter     Limiter
	Mint        func(userinfo.Identity) (redact.Secret, error) // of a token to exchange, where there is none
	Timeout     time.Duration                                  // of a request
	CreateUsers bool
	Log         *slog.Logger
	LogError    func(ctx context.Context, op stytch.Op, took time.Duration, err error)
}

// Pace says whether one more exchange may begin now.
type Limiter interface {
	HasRoom() bool
	Take() bool
	Return()
}

// Exchanger is made with [New]. It is safe for concurrent use.
type Exchanger struct {
	Config
	refusals *lru.Cache[string, *Result] // of this process, for a while
	flights  background.Group[*Result]
	shadows  shadows
}

// New returns an Exchanger.
func New(c Config) *Exchanger {
	return &Exchanger{
		Config: c, refusals: cache.LRU[string, *Result](maxRefusals), shadows: newShadows(),
		flights: background.Group[*Result]{Limit: 3 * c.Timeout, ErrLeft: stytch.ErrNoAnswer},
	}
}

// Legacy is a legacy session that is to move.
type Legacy struct {
	Key      string        // of its record
	ID       redact.Secret // opens the record
	Identity userinfo.Identity
	Source   *records.Source // kept for its end at the source; nil: that has none
}

// Prepare makes the request for a legacy session. It runs code of the application,
// and so in the goroutine of a request. Its errors are about the session (an identity
// nobody verified: no) or about a setting (can't tell).
type Prepare func() (stytch.ExchangeRequest, error)

// Result is what became of a legacy session.
type Result struct {
	Answer   stytch.Answer
	Entry    *session.Entry // where the answer is yes
	Err      error          // where it is not
	Recorded bool           // it was made before, see settling.resume

	Event  Event  // what is worth an event, to one of those who get the Result
	UserID string // of the Stytch user that the event is about

	until    time.Time
	reported atomic.Bool // the event is some request's already
}

// Event is what happened beside an exchange.
type Event int

const (
	NoEvent  Event = iota
	Mismatch       // Stytch's user is not the legacy session's person
	Created        // a user was created
)

// toOne returns x to one request, and to all others an x without the event:
// what happened once is told once.
func (x *Result) forOneRequest() *Result {
	if x.Event == NoEvent || x.reported.CompareAndSwap(false, true) {
		return x
	}
	return &Result{Answer: x.Answer, Entry: x.Entry, Err: x.Err, until: x.until, Recorded: x.Recorded}
}

// Do exchanges a legacy session, or finds out what it became.
func (m *Exchanger) Do(ctx context.Context, l *Legacy, prepare Prepare) *Result {
	if x := m.refused(l.Key); x != nil {
		return x.forOneRequest()
	}
	in, err := prepare()
	if err != nil {
		return m.refuseLocally(ctx, l.Key, err)
	}
	x, err := m.flights.Do(ctx, l.Key, func(ctx context.Context) (*Result, error) {
		t := &job{Exchanger: m, legacy: l, in: in, owner: rand.Text()}
		return t.run(ctx), nil
	})
	switch {
	case m.Tombstones.LegacyEndedLocal(l.Key):
		return loggedOut()
	case err != nil:
		return &Result{Err: err}
	}
	if x.Answer == stytch.Yes && !x.Entry.Session.User.Accepts(l.Identity) {
		return m.giveUp(ctx, l.Key, x.Entry)
	}
	return x.forOneRequest()
}

// refused is the "no" that is known of a legacy session without asking.
func (m *Exchanger) refused(key string) *Result {
	if m.Tombstones.LegacyEndedLocal(key) {
		return loggedOut()
	}
	if x, ok := m.refusals.Get(key); ok && time.Now().Before(x.until) {
		return x
	}
	return nil
}

// disown gives up a session that a legacy session once became, and that is not
// its person's any more: the application now gives another identity under the
// same ID and Subject than when the exchange was made. It does not count as
// logged out. Of the requests that share k, the one that ends it tells of it.
func (m *Exchanger) giveUp(ctx context.Context, key string, k *session.Entry) *Result {
	x := anotherPerson(k.Session.UserID)
	m.refusals.Add(key, x) // before the end, or the next request would exchange again
	if !m.RevokeLater(ctx, k.Session.ID) {
		x.reported.Store(true)
	}
	return x.forOneRequest()
}

// anotherPerson refuses a Stytch user who is not the legacy session's person.
func anotherPerson(userID string) *Result {
	return &Result{Answer: stytch.No, Event: Mismatch, UserID: userID, Err: ErrAnotherPerson, until: time.Now().Add(keepRefusal)}
}

// ErrAnotherPerson is why the answer of Stytch was not used.
var ErrAnotherPerson = &stytch.CallError{Op: stytch.Migrate, Reason: "Stytch's user is not the legacy session's person", Answer: stytch.No}

// ErrLoggedOut is why a legacy session is refused that ended: by a logout, or
// because Stytch no longer knows the session that it became.
var ErrLoggedOut = errors.New("stytchmigrate: this legacy session was logged out")

// ErrPace is why an exchange was not begun: there may be no more of them now.
var ErrPace = &stytch.CallError{Op: stytch.Migrate, Reason: "held back: Rollout.PerSecond"}

// IsSurplus reports an exchange for which there was no room. Nothing is wrong with
// the session, or with Stytch.
func IsNoRoom(err error) bool { return errors.Is(err, ErrPace) || IsFull(err) }

// IsFull reports an exchange for which there was no place in flight.
func IsFull(err error) bool {
	call := stytch.AsCall(err)
	return call != nil && call.NoSlot && call.Op == stytch.Migrate
}

func loggedOut() *Result { return &Result{Answer: stytch.No, Err: ErrLoggedOut} }

// notAsked is what becomes of a legacy session that Stytch is not even asked
// about. One that is refused is remembered, and so logged once a minute, as one is
// that Stytch says no to.
func (m *Exchanger) refuseLocally(ctx context.Context, key string, err error) *Result {
	x := &Result{Answer: stytch.AnswerOf(err), Err: err}
	if x.Answer == stytch.No {
		x.until = time.Now().Add(keepRefusal)
		m.refusals.Add(key, x)
		m.Log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: legacy session refused", slog.String("reason", err.Error()))
	}
	return x
}

// call exchanges a legacy session, and before that creates its user where there
// is none and that is wanted.
func (m *Exchanger) migrateOrCreate(ctx context.Context, id userinfo.Identity, in stytch.ExchangeRequest) *Result {
	x := m.migrate(ctx, id, in)
	if IsFull(x.Err) {
		m.Limiter.Return()
	}
	call := stytch.AsCall(x.Err)
	if !m.CreateUsers || id == (userinfo.Identity{}) || call == nil || call.API == nil || !call.API.IsUnknownUser() {
		return x
	}
	userID, err := m.API.CreateUser(ctx, id)
	if err != nil {
		return failed(err)
	}
	x = m.migrate(ctx, id, in)
	if userID != "" && x.Event == NoEvent {
		x.Event, x.UserID = Created, userID
	}
	return x
}

// failed is the Result that an error of Stytch makes. A "no" is remembered,
// and so is, for a moment, that the UserInfo endpoint did not answer.
func failed(err error) *Result {
	x := &Result{Answer: stytch.AnswerOf(err), Err: err}
	call := stytch.AsCall(err)
	switch {
	case x.Answer == stytch.No:
		x.until = time.Now().Add(keepRefusal)
	case call != nil && call.API != nil && call.API.Type == stytch.NoUserInfo:
		x.until = time.Now().Add(keepUserInfo)
	}
	return x
}

// ask makes one call for an exchange, and holds its answer against the identity.
func (m *Exchanger) migrate(ctx context.Context, id userinfo.Identity, in stytch.ExchangeRequest) *Result {
	asked := time.Now()
	out, err := m.API.Exchange(ctx, in)
	now := time.Now()
	if err != nil {
		return failed(err)
	}
	if !out.User.Accepts(id) {
		m.revokeToken(ctx, out.Token)
		return anotherPerson(out.UserID)
	}
	var k *session.Entry
	if out.ID == "" {
		err = &stytch.CallError{Op: stytch.Migrate, Reason: "answer 200 could not be used: session is missing, and session_jwt can't be read"}
	} else {
		k, err = m.Sessions.Add(out, now)
	}
	if err != nil {
		m.LogError(ctx, stytch.Migrate, now.Sub(asked), err)
		return &Result{Err: err}
	}
	m.Sessions.ReportAlive(k)
	return &Result{Answer: stytch.Yes, Entry: k}
}

// revoke and revokeToken end a session that must not be used.
func (m *Exchanger) revoke(ctx context.Context, sessionID string) {
	m.Sessions.RevokeUnwanted(ctx, stytch.SessionRef{ID: sessionID})
	m.Sessions.End(sessionID)
}

func (m *Exchanger) revokeToken(ctx context.Context, token redact.Secret) {
	m.Sessions.RevokeUnwanted(ctx, stytch.SessionRef{Token: token, Vouched: true}) // Stytch has just given it
}

// RevokeLater ends a Stytch session that nobody is to have any more: overtaken
// by a later sign-in, left by an old logout, or another person's. In this process
// it ends at once, whatever becomes of the calls, which the request does not wait
// for. It returns false if it had ended already. The record of its legacy session
// goes on naming it until another session takes its place; none resumes it.
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
