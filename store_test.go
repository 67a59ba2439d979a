package stytchmigrate_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
)

// sharedMemory is a Store that several middlewares share in a test, as machines
// would a server, and that fails as it is told.
type sharedMemory struct {
	mu     sync.Mutex // guards all below
	values map[string]sharedValue
	claims map[string]sharedClaim
	calls  []string
	fault  func(op string) error // called before each operation
}

type sharedValue struct {
	value []byte
	until time.Time
}

type sharedClaim struct {
	owner string
	until time.Time
}

func newSharedMemory() *sharedMemory {
	return &sharedMemory{values: map[string]sharedValue{}, claims: map[string]sharedClaim{}}
}

var errStoreDown = errors.New("dial tcp 192.0.2.7:6379: connection refused to canary-secret")

// fail sets what becomes of each operation from now on; nil: it works.
func (s *sharedMemory) fail(f func(op string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func down(string) error { return errStoreDown }

// begin locks the store, if it does not fail.
func (s *sharedMemory) begin(ctx context.Context, op string) error {
	s.mu.Lock()
	fault := s.fault
	s.calls = append(s.calls, op)
	s.mu.Unlock()
	if fault != nil {
		if err := fault(op); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	return nil
}

func (s *sharedMemory) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := s.begin(ctx, "get"); err != nil {
		return nil, false, err
	}
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok || !time.Now().Before(v.until) {
		return nil, false, nil
	}
	return slices.Clone(v.value), true, nil
}

func (s *sharedMemory) Claim(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	if err := s.begin(ctx, "claim"); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	if c, ok := s.claims[key]; ok && c.owner != owner && time.Now().Before(c.until) {
		return false, nil
	}
	s.claims[key] = sharedClaim{owner, time.Now().Add(lease)}
	return true, nil
}

func (s *sharedMemory) Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (bool, error) {
	if err := s.begin(ctx, "put"); err != nil {
		return false, err
	}
	defer s.mu.Unlock()
	c, ok := s.claims[key]
	if owner != "" && (!ok || c.owner != owner || !time.Now().Before(c.until)) {
		return false, nil
	}
	delete(s.claims, key)
	s.values[key] = sharedValue{slices.Clone(value), time.Now().Add(ttl)}
	return true, nil
}

func (s *sharedMemory) Release(ctx context.Context, key, owner string) error {
	if err := s.begin(ctx, "release"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	if s.claims[key].owner == owner {
		delete(s.claims, key)
	}
	return nil
}

func TestSharedMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) stytchmigrate.Store { return newSharedMemory() })
}

// machines returns n more middlewares with the settings of a's, of which each is
// a machine with a memory of its own. on runs f on one.
func (a *app) machines(t *testing.T, n int, change ...func(*stytchmigrate.Config)) []*stytchmigrate.Middleware {
	t.Helper()
	out := make([]*stytchmigrate.Middleware, n)
	for i := range out {
		cfg := a.config()
		for _, f := range change {
			f(&cfg)
		}
		m, err := stytchmigrate.New(cfg)
		require.NoError(t, err)
		out[i] = m
	}
	return out
}

func (a *app) on(m *stytchmigrate.Middleware) *app { a.m = m; return a }

// sharing is a configuration with a store.
func sharing(s stytchmigrate.Store) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Store = s }
}
