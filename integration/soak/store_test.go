package soak

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
)

// memoryStore is what the machines share. It never fails: the network does.
type memoryStore struct {
	mu     sync.Mutex // guards all below
	values map[string]value
	claims map[string]claim
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

func (s *memoryStore) Get(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[key]
	if !ok || !time.Now().Before(v.until) {
		return nil, false, nil
	}
	return slices.Clone(v.bytes), true, nil
}

func (s *memoryStore) Claim(_ context.Context, key, owner string, lease time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.claims[key]; ok && c.owner != owner && time.Now().Before(c.until) {
		return false, nil
	}
	s.claims[key] = claim{owner, time.Now().Add(lease)}
	return true, nil
}

func (s *memoryStore) Put(_ context.Context, key, owner string, v []byte, ttl time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.claims[key]
	if owner != "" && (!ok || c.owner != owner || !time.Now().Before(c.until)) {
		return false, nil
	}
	delete(s.claims, key)
	s.values[key] = value{slices.Clone(v), time.Now().Add(ttl)}
	return true, nil
}

func (s *memoryStore) Release(_ context.Context, key, owner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.claims[key].owner == owner {
		delete(s.claims, key)
	}
	return nil
}

func TestMemoryStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) stytchmigrate.Store { return newMemoryStore() })
}
