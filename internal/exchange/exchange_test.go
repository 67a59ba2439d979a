package exchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

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
	"example.com/stytchmigrate/userinfo"
)

// fake is a Stytch without a network: it takes a second for an exchange.
type fake struct {
	mu      sync.Mutex
	n       int
	revoked []stytch.SessionRef
	err     error
}

func (f *fake) Exchange(context.Context, stytch.ExchangeRequest) (*stytch.Session, error) {
	time.Sleep(time.Second)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.err != nil {
		return nil, f.err
	}
	id := fmt.Sprint("session-", f.n)
	return &stytch.Session{ID: id, UserID: "user-ada", Token: redact.Secret("token-" + id), JWT: "-", StartedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), User: ada}, nil
}

func (f *fake) Authenticate(_ context.Context, p stytch.SessionRef, _ int) (*stytch.Session, error) {
	id := string(p.Token[len("token-"):])
	return &stytch.Session{ID: id, UserID: "user-ada", Token: p.Token, JWT: "-", ExpiresAt: time.Now().Add(time.Hour), User: ada}, nil
}

func (f *fake) Revoke(_ context.Context, p stytch.SessionRef) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = append(f.revoked, p)
	return nil
}

func (f *fake) CreateUser(context.Context, userinfo.Identity) (string, error) { return "", nil }

var (
	ada = identity.User{HasDetails: true, Emails: []identity.Email{{Address: "ada@example.com", Verified: true}}}
	id  = userinfo.Identity{Subject: "ada", Email: "ada@example.com", EmailVerified: true}
)

// noLimit lets every exchange begin.
type noLimit struct{}

func (noLimit) HasRoom() bool { return true }
func (noLimit) Take() bool    { return true }
func (noLimit) Return()       {}

// machine is one of several that share a store.
type machine struct {
	*exchange.Exchanger
	endings *tombstones.Tombstones
}

func newMachine(api stytch.API, store sealedstore.Backend) *machine {
	v := sealedstore.New("a key of 32 bytes, or of even more", store, time.Second, func(error) {})
	e := tombstones.New(v, &names.Names{Key: "k", Project: "p"})
	codec := records.Codec{
		Encode: func(s *stytch.Session) (json.RawMessage, error) { return json.Marshal(s) },
		Decode: func(raw json.RawMessage) (*stytch.Session, error) {
			s := new(stytch.Session)
			return s, json.Unmarshal(raw, s)
		},
	}
	log := slog.New(slog.DiscardHandler)
	keys := sessionjwt.NewKeys(func(context.Context) ([]byte, error) { return nil, context.Canceled }, nil)
	s := session.New(session.Config{
		API: api, Verifier: sessionjwt.New("p", []string{"i"}, keys), Tombstones: e, Limit: 15 * time.Second, Log: log,
		Attach: func(*stytch.Session) any { return nil }, OnDoubt: func(error) {}, OnRevokeFailed: func(error) {},
	})
	return &machine{exchange.New(exchange.Config{
		API: api, Sessions: s, Records: records.New(v, codec, 2*time.Second), Tombstones: e, Limiter: noLimit{}, Timeout: 5 * time.Second,
		Log: log, LogError: func(context.Context, stytch.Op, time.Duration, error) {},
	}), e}
}

func (m *machine) do(t *testing.T, key string) *exchange.Result {
	return m.Do(t.Context(), &exchange.Legacy{Key: key, ID: "id", Identity: id}, func() (stytch.ExchangeRequest, error) {
		return stytch.ExchangeRequest{Token: "legacy"}, nil
	})
}

// However many requests bring a legacy session, and to however many machines, it
// becomes one Stytch session.
func TestOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, store := new(fake), newStore()
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := map[string]int{}
		for range 3 {
			m := newMachine(api, store)
			for range 100 {
				wg.Go(func() {
					x := m.do(t, "key")
					mu.Lock()
					defer mu.Unlock()
					got[x.Entry.Session.ID]++
				})
			}
		}
		wg.Wait()
		assert.Equal(t, map[string]int{"session-1": 300}, got)
		assert.Equal(t, 1, api.n)
		assert.Empty(t, api.revoked)
	})
}

// A logout during an exchange, on this machine or another, is heard before anybody is
// handed what comes of it.
func TestLogoutMeanwhile(t *testing.T) {
	for name, elsewhere := range map[string]bool{"here": false, "elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, store := new(fake), newStore()
				m, other := newMachine(api, store), newMachine(api, store)
				go func() {
					time.Sleep(500 * time.Millisecond)
					if on := m; elsewhere {
						on = other
						assert.NoError(t, on.endings.MarkLegacy(context.Background(), "key"))
					} else {
						assert.NoError(t, on.endings.MarkLegacy(context.Background(), "key"))
					}
				}()
				x := m.do(t, "key")
				assert.Equal(t, exchange.ErrLoggedOut, x.Err)
				time.Sleep(time.Second)
				assert.Equal(t, []stytch.SessionRef{{ID: "session-1"}}, api.revoked)
			})
		})
	}
}

// Another person's session is given up, told of once, and not asked for again for a
// minute.
func TestAnotherPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := new(fake)
		m := newMachine(api, nil)
		told := 0
		for range 3 {
			x := m.Do(t.Context(), &exchange.Legacy{Key: "key", Identity: userinfo.Identity{Subject: "bob", Email: "bob@example.com", EmailVerified: true}},
				func() (stytch.ExchangeRequest, error) { return stytch.ExchangeRequest{Token: "legacy"}, nil })
			assert.Equal(t, stytch.No, x.Answer)
			if x.Event == exchange.Mismatch {
				told++
			}
		}
		assert.Equal(t, 1, told)
		assert.Equal(t, 1, api.n)
		assert.Equal(t, []stytch.SessionRef{{Token: "token-session-1", Vouched: true}}, api.revoked)
		time.Sleep(time.Minute)
		m.do(t, "key")
		assert.Equal(t, 2, api.n)
	})
}

// memoryStore is a sealedstore.Store of one process.
type memoryStore struct {
	mu     sync.Mutex
	values map[string][]byte
	claims map[string]string
}

func newStore() *memoryStore {
	return &memoryStore{values: map[string][]byte{}, claims: map[string]string{}}
}

func (s *memoryStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	return bytes.Clone(v), ok, nil
}

func (s *memoryStore) Claim(_ context.Context, key, owner string, _ time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[key] == "" {
		s.claims[key] = owner
	}
	return s.claims[key] == owner, nil
}

func (s *memoryStore) Put(_ context.Context, key, owner string, value []byte, _ time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner != "" && s.claims[key] != owner {
		return false, nil
	}
	s.values[key], s.claims[key] = value, ""
	return true, nil
}

func (s *memoryStore) Release(_ context.Context, key, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[key] == owner {
		s.claims[key] = ""
	}
	return nil
}
