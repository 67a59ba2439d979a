package storetest

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory is a Store in the memory of the test process. Share one between several
// middlewares to test several machines in one process. The zero value is empty
// and ready to use. Memory is safe for concurrent use.
type Memory struct {
	mu     sync.Mutex // guards all below
	values map[string]memoryValue
	claims map[string]memoryClaim
	fault  func(op, key string) error
}

type memoryValue struct {
	value []byte
	until time.Time
}

type memoryClaim struct {
	owner string
	until time.Time
}

// Fail sets a function that is called before each operation from now on. Its arguments
// are the operation, "get", "claim", "put" or "release", and the key. An operation whose
// fault returns an error returns that error, and does nothing. A fault may also wait or
// panic: no lock is held. A nil fault ends this.
func (m *Memory) Fail(fault func(op, key string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = fault
}

// LoseClaims drops every claim, as a store does when it loses its data.
func (m *Memory) LoseClaims() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.claims)
}

// Values returns a copy of the values whose time to live has not passed, by key.
func (m *Memory) Values() map[string][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]byte{}
	for key, v := range m.values {
		if time.Now().Before(v.until) {
			out[key] = slices.Clone(v.value)
		}
	}
	return out
}

// Snapshot returns a function that gives every key the value it has now, as a store does
// when it fails over to a replica that lags. Keys that are new by then keep their values.
func (m *Memory) Snapshot() (restore func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := maps.Clone(m.values)
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		maps.Copy(m.values, old)
	}
}

// Get implements [stytchmigrate.Store].
func (m *Memory) Get(ctx context.Context, key string) (value []byte, found bool, err error) {
	if err := m.lock(ctx, "get", key); err != nil {
		return nil, false, err
	}
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok || !time.Now().Before(v.until) {
		return nil, false, nil
	}
	return slices.Clone(v.value), true, nil
}

// Claim implements [stytchmigrate.Store].
func (m *Memory) Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error) {
	if err := m.lock(ctx, "claim", key); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if m.owner(key) != "" && m.owner(key) != owner {
		return false, nil
	}
	m.claims[key] = memoryClaim{owner, time.Now().Add(lease)}
	return true, nil
}

// Put implements [stytchmigrate.Store].
func (m *Memory) Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error) {
	if err := m.lock(ctx, "put", key); err != nil {
		return false, err
	}
	defer m.mu.Unlock()
	if owner != "" && m.owner(key) != owner {
		return false, nil
	}
	delete(m.claims, key)
	m.values[key] = memoryValue{slices.Clone(value), time.Now().Add(ttl)}
	return true, nil
}

// Release implements [stytchmigrate.Store].
func (m *Memory) Release(ctx context.Context, key, owner string) error {
	if err := m.lock(ctx, "release", key); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if m.owner(key) == owner {
		delete(m.claims, key)
	}
	return nil
}

// owner returns the owner of the claim on key, or "". It is called with mu held.
func (m *Memory) owner(key string) string {
	if c := m.claims[key]; time.Now().Before(c.until) {
		return c.owner
	}
	return ""
}

// lock locks mu, unless the operation fails.
func (m *Memory) lock(ctx context.Context, op, key string) error {
	m.mu.Lock()
	fault := m.fault
	m.mu.Unlock()
	if fault != nil {
		if err := fault(op, key); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.values == nil {
		m.values, m.claims = map[string]memoryValue{}, map[string]memoryClaim{}
	}
	return nil
}
