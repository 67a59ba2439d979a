package integration

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
)

// memoryStore is a Store that several middlewares share in a test, as machines
// would a server, and that fails as it is told.
type memoryStore struct {
	mu     sync.Mutex // guards all below
	values map[string]value
	claims map[string]claim
	fault  func() error // called before each operation; nil: it works
}

type value struct {
	bytes []byte
	until time.Time
}

type claim struct {
	owner string
	until time.Time
}

func newMemoryStore() *memoryStore {
	return &memoryStore{values: map[string]value{}, claims: map[string]claim{}}
}

func (s *memoryStore) fail(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// enter locks the store, unless it fails. A fault may take its time, so it runs
// without the lock.
func (s *memoryStore) enter(ctx context.Context) error {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		if err := fault(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	if err := ctx.Err(); err != nil {
		s.mu.Unlock()
		return err
	}
	return nil
}

func (s *memoryStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := s.enter(ctx); err != nil {
		return nil, false, err
	}
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok || !time.Now().Before(v.until) {
		return nil, false, nil
	}
	return slices.Clone(v.bytes), true, nil
}

func (s *memoryStore) Claim(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	if c, ok := s.claims[key]; ok && c.owner != owner && time.Now().Before(c.until) {
		return false, nil
	}
	s.claims[key] = claim{owner, time.Now().Add(lease)}
	return true, nil
}

func (s *memoryStore) Put(ctx context.Context, key, owner string, v []byte, ttl time.Duration) (bool, error) {
	if err := s.enter(ctx); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	c, ok := s.claims[key]
	if owner != "" && (!ok || c.owner != owner || !time.Now().Before(c.until)) {
		return false, nil
	}
	delete(s.claims, key)
	s.values[key] = value{slices.Clone(v), time.Now().Add(ttl)}
	return true, nil
}

func (s *memoryStore) Release(ctx context.Context, key, owner string) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.claims[key].owner == owner {
		delete(s.claims, key)
	}
	return nil
}

var errStoreDown = errors.New("connection refused")

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) stytchmigrate.Store { return newMemoryStore() })
}
