package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/userinfo"
)

// fakeStytch is a Stytch without a network, and a verifier without keys. A session's id
// is the first letter of its user's name, and a number if the user has several: a, a2,
// b. Its token is T and the id. Its JWTs are E, J or N, the id and a number.
type fakeStytch struct {
	mu       sync.Mutex
	sessions map[string]*stytch.Session
	gone     map[string]bool
	jwts     map[string]*sessionjwt.Claims
	factors  json.RawMessage // of the next JWTs
	keysDown bool
	calls    []string // what was asked about, and for how many minutes; "?": not vouched for
	revoked  []string

	verify func()                                                 // called by Verify, if set
	before func(ctx context.Context, ref stytch.SessionRef) error // called before a call is answered, if set
	after  func(ctx context.Context, out *stytch.Session)         // called with the answer, if set
	revoke func() error                                           // called by Revoke, if set
}

func newStytch() *fakeStytch {
	return &fakeStytch{sessions: map[string]*stytch.Session{}, gone: map[string]bool{}, jwts: map[string]*sessionjwt.Claims{}}
}

// open begins a session that lasts for d, and signs its first JWT.
func (f *fakeStytch) open(id string, d time.Duration) *stytch.Session {
	s := &stytch.Session{ID: id, UserID: "user-" + id[:1], Token: redact.Secret("T" + id), StartedAt: time.Now(), ExpiresAt: time.Now().Add(d)}
	f.sessions[id] = s
	s.JWT = redact.Secret(f.sign("E", id))
	return s
}

// openFrom is open for a session that came from a legacy one.
func (f *fakeStytch) openFrom(origin, id string) *stytch.Session {
	s := f.open(id, 30*24*time.Hour)
	s.Origin = origin
	s.JWT = redact.Secret(f.sign("E", id))
	return s
}

// sign returns a new JWT of a session, which is valid for five minutes.
func (f *fakeStytch) sign(prefix, id string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, now := f.sessions[id], time.Now()
	text := fmt.Sprint(prefix, id, "-", len(f.jwts))
	f.jwts[text] = &sessionjwt.Claims{
		UserID: s.UserID, SessionID: id, LegacySession: s.Origin, IssuedAt: now, ExpiresAt: now.Add(5 * time.Minute),
		SessionStartedAt: s.StartedAt, SessionExpiresAt: s.ExpiresAt,
		Session: sessionjwt.Session{AuthenticationFactors: f.factors}, UntilBrowserCloses: s.UntilBrowserCloses,
	}
	return text
}

// Verify accepts what sign made.
func (f *fakeStytch) Verify(_ context.Context, jwt string) (*sessionjwt.Claims, error) {
	if f.verify != nil {
		f.verify()
	}
	c, err := f.Read(jwt)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case f.keysDown:
		return nil, sessionjwt.ErrNoKeys
	case !time.Now().Before(c.ExpiresAt.Add(sessionjwt.Leeway)):
		return c, sessionjwt.ErrNotCurrent
	}
	return c, nil
}

func (f *fakeStytch) Read(jwt string) (*sessionjwt.Claims, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.jwts[jwt]
	switch {
	case strings.HasPrefix(jwt, "F"):
		return nil, sessionjwt.ErrForeign
	case c == nil:
		return nil, sessionjwt.ErrRefused
	}
	return c, nil
}

// extend returns the session that a call names, after it was made to live for minutes
// from now on, or the error that there is no such session.
func (f *fakeStytch) extend(ref stytch.SessionRef, minutes int) (stytch.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := strings.TrimPrefix(string(ref.Token), "T")
	if c := f.jwts[string(ref.JWT)]; c != nil {
		id = c.SessionID
	}
	s := f.sessions[id]
	if s == nil || f.gone[id] || !time.Now().Before(s.ExpiresAt) {
		return stytch.Session{}, errNotFound
	}
	if minutes > 0 {
		s.ExpiresAt = time.Now().Add(time.Duration(minutes) * time.Minute)
	}
	return *s, nil
}

var (
	errNotFound = &stytch.CallError{Op: stytch.Authenticate, Reason: "session_not_found", Answer: stytch.No}
	errDown     = &stytch.CallError{Op: stytch.Authenticate, Reason: "status 503"}
	errHeldBack = &stytch.CallError{Op: stytch.Authenticate, Reason: "held back", RetryAfter: time.Second}
)

func (f *fakeStytch) Authenticate(ctx context.Context, ref stytch.SessionRef, minutes int) (*stytch.Session, error) {
	f.record(ref, minutes)
	if f.before != nil {
		if err := f.before(ctx, ref); err != nil {
			return nil, err
		}
	}
	out, err := f.extend(ref, minutes)
	if err != nil {
		return nil, err
	}
	out.JWT = redact.Secret(f.sign("N", out.ID))
	if f.after != nil {
		f.after(ctx, &out)
	}
	return &out, ctx.Err()
}

func (f *fakeStytch) record(ref stytch.SessionRef, minutes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	jwt, _, _ := strings.Cut(string(ref.JWT), "-")
	call := string(ref.Token) + jwt
	if !ref.Vouched {
		call += "?"
	}
	if minutes > 0 {
		call += fmt.Sprint("+", minutes)
	}
	f.calls = append(f.calls, call)
}

// asked returns the calls since it was called last.
func (f *fakeStytch) asked() (calls []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls, f.calls = f.calls, nil
	return calls
}

func (f *fakeStytch) Revoke(_ context.Context, ref stytch.SessionRef) error {
	f.revoked = append(f.revoked, ref.ID)
	if f.revoke != nil {
		return f.revoke()
	}
	return nil
}

func (f *fakeStytch) Exchange(context.Context, stytch.ExchangeRequest) (*stytch.Session, error) {
	panic("not asked for here")
}

func (f *fakeStytch) List(context.Context, string) ([]stytch.Session, error) {
	panic("not asked for here")
}

func (f *fakeStytch) CreateUser(context.Context, userinfo.Identity) (string, error) {
	panic("not asked for here")
}
