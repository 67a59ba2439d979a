package exchange_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/identity"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/userinfo"
)

// timeout is Config.Timeout of every machine here: the lease of a claim is 20 s, a
// shared exchange lives for 15 s, and a request waits for another machine for 2.5 s.
const timeout = 5 * time.Second

var (
	ada = identity.User{HasDetails: true, Emails: []identity.Email{{Address: "ada@example.com", Verified: true}}}
	id  = userinfo.Identity{Subject: "ada", Email: "ada@example.com", EmailVerified: true}
)

// fake is a Stytch without a network. Without a script each exchange takes a second
// and makes a session of Ada's, which lives for an hour.
type fake struct {
	mu      sync.Mutex  // guards all below
	calls   []stytch.Op // migrate, create_user, authenticate, revoke
	made    int         // sessions
	alive   map[string]time.Time
	revoked []stytch.SessionRef

	takes   time.Duration          // an exchange
	fails   map[stytch.Op][]error  // what the next calls of an op return; nil is success
	user    identity.User          // whose session is made; the zero value is ada
	userID  string                 // what CreateUser returns
	change  func(*stytch.Session)  // of the next sessions made
	request stytch.ExchangeRequest // the last one
}

// begin notes a call, and returns the error that is scripted for it.
func (f *fake) begin(op stytch.Op) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, op)
	if next := f.fails[op]; len(next) > 0 {
		f.fails[op] = next[1:]
		return next[0]
	}
	return nil
}

// script sets what the next calls of an op return.
func (f *fake) script(op stytch.Op, errs ...error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails == nil {
		f.fails = map[stytch.Op][]error{}
	}
	f.fails[op] = errs
}

// count returns how many calls of an op there were.
func (f *fake) count(op stytch.Op) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		if c == op {
			n++
		}
	}
	return n
}

// said returns all calls, in order.
func (f *fake) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Trim(fmt.Sprint(f.calls), "[]")
}

// living returns the ids of the sessions that were made and not revoked.
func (f *fake) living() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.alive)
}

func (f *fake) Exchange(ctx context.Context, in stytch.ExchangeRequest) (*stytch.Session, error) {
	err := f.begin(stytch.Migrate)
	select {
	case <-time.After(f.duration()):
	case <-ctx.Done():
		return nil, stytch.ErrNoAnswer
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.request = in; err != nil {
		return nil, err
	}
	f.made++
	s := &stytch.Session{
		ID: fmt.Sprint("session-", f.made), UserID: "user-ada", JWT: "-",
		StartedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), User: ada,
	}
	if f.user.HasDetails {
		s.User, s.UserID = f.user, "user-other"
	}
	s.Token = redact.Secret("token-" + s.ID)
	if f.change != nil {
		f.change(s)
	}
	if f.alive == nil {
		f.alive = map[string]time.Time{}
	}
	f.alive[s.ID] = s.ExpiresAt
	return s, nil
}

func (f *fake) Authenticate(_ context.Context, p stytch.SessionRef, _ int) (*stytch.Session, error) {
	if err := f.begin(stytch.Authenticate); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	sessionID := strings.TrimPrefix(string(p.Token), "token-")
	expires, ok := f.alive[sessionID]
	if !ok || time.Now().After(expires) {
		return nil, gone(stytch.Authenticate, "session_not_found", 404)
	}
	return &stytch.Session{ID: sessionID, UserID: "user-ada", Token: p.Token, JWT: "-", StartedAt: expires.Add(-time.Hour), ExpiresAt: expires, User: ada}, nil
}

func (f *fake) Revoke(_ context.Context, p stytch.SessionRef) error {
	_ = f.begin(stytch.Revoke)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = append(f.revoked, p)
	delete(f.alive, p.ID)
	delete(f.alive, strings.TrimPrefix(string(p.Token), "token-"))
	return nil
}

func (f *fake) List(context.Context, string) ([]stytch.Session, error) {
	panic("not asked for here")
}

func (f *fake) CreateUser(context.Context, userinfo.Identity) (string, error) {
	if err := f.begin(stytch.CreateUser); err != nil {
		return "", err
	}
	return f.userID, nil
}

// slow sets how long an exchange takes that begins from now on; 0 is a second.
func (f *fake) slow(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.takes = d
}

func (f *fake) duration() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return cmp.Or(f.takes, time.Second)
}

// gone is an error of Stytch's.
func gone(op stytch.Op, kind string, status int) error {
	e := &stytch.APIError{Type: kind, Status: status, Err: errors.New(kind)}
	return &stytch.CallError{Op: op, API: e, Answer: stytch.Interpret(op, e).Answer()}
}

// limit is a Limiter with room for so many exchanges.
type limit struct {
	mu   sync.Mutex
	room int // guarded by mu
}

func (l *limit) HasRoom() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.room > 0 }
func (l *limit) Take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room <= 0 {
		return false
	}
	l.room--
	return true
}
func (l *limit) Return() { l.mu.Lock(); defer l.mu.Unlock(); l.room++ }

// machine is one of several that share a store.
type machine struct {
	*exchange.Exchanger
	tombstones *tombstones.Tombstones
	records    *records.Records
	log        *strings.Builder
}

// codec writes all of a session but what only the API knows.
var codec = records.Codec{
	Encode: func(s *stytch.Session) (json.RawMessage, error) {
		return json.Marshal(struct {
			*stytch.Session
			Token string
		}{s, string(s.Token)})
	},
	Decode: func(raw json.RawMessage) (*stytch.Session, error) {
		s := new(stytch.Session)
		return s, json.Unmarshal(raw, s)
	},
}

// newMachine returns a machine with room for every exchange; store may be nil.
func newMachine(api stytch.API, store sealedstore.Backend, change ...func(*exchange.Config)) *machine {
	v := sealedstore.New("a key of 32 bytes, or of even more", store, timeout/10, func(error) {})
	m := &machine{tombstones: tombstones.New(v, &names.Names{Key: "k", Project: "p"}), log: new(strings.Builder)}
	m.records = records.New(v, codec)
	log := slog.New(slog.NewTextHandler(m.log, nil))
	keys := sessionjwt.NewKeys(func(context.Context) ([]byte, error) { return nil, context.Canceled }, nil)
	c := exchange.Config{
		API: api, Records: m.records, Tombstones: m.tombstones, Limiter: &limit{room: 1 << 30}, Timeout: timeout, Log: log,
		Sessions: session.New(session.Config{
			API: api, Verifier: sessionjwt.New("p", []string{"i"}, keys), Tombstones: m.tombstones, Limit: 3 * timeout, Log: slog.New(slog.DiscardHandler),
			Attach: func(*stytch.Session) any { return nil }, OnDoubt: func(error) {}, OnRevokeFailed: func(error) {},
		}),
		LogError: func(_ context.Context, op stytch.Op, _ time.Duration, err error) { log.Error(string(op), "error", err) },
	}
	for _, f := range change {
		f(&c)
	}
	m.Exchanger = exchange.New(c)
	return m
}

func request() (stytch.ExchangeRequest, error) {
	return stytch.ExchangeRequest{Token: "legacy"}, nil
}

// do is one request with Ada's legacy session, which has Config.Timeout.
func (m *machine) do(t *testing.T, key string) exchange.Result {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return m.Exchange(ctx, &exchange.Legacy{Key: key, ID: "id", Identity: id}, request)
}

// ask is do, and says in words what came of it, and after which time.
func (m *machine) ask(t *testing.T) (what string, took time.Duration) {
	start := time.Now()
	x := m.do(t, "key")
	return said(x), time.Since(start)
}

// said is a Result in words.
func said(x exchange.Result) string {
	switch {
	case x.Answer == stytch.Yes && x.Recorded:
		return "recorded " + x.Entry.Session.ID
	case x.Answer == stytch.Yes:
		return "exchanged " + x.Entry.Session.ID
	case exchange.IsNoRoom(x.Err):
		return "no room"
	case x.Answer == stytch.No:
		return "refused"
	}
	return "can't tell"
}

// inBubble runs a test in a bubble of testing/synctest, with a Stytch and a store.
func inBubble(t *testing.T, f func(t *testing.T, api *fake, store *storetest.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, new(fake), new(storetest.Memory)) })
}
