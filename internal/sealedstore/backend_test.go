package sealedstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/stytchmigrate/internal/sealedstore"
)

// backend is a Backend in memory. What a test wants to break, it replaces.
type backend struct {
	mu     sync.Mutex // guards all below
	values map[string][]byte
	owners map[string]string
	calls  []string // with all arguments but the value

	before func(ctx context.Context, op string) error // called at each call, without the lock
}

func newBackend() *backend {
	return &backend{values: map[string][]byte{}, owners: map[string]string{}, before: func(context.Context, string) error { return nil }}
}

// enter records a call, and locks mu where it succeeds.
func (b *backend) enter(ctx context.Context, op string, args ...any) error {
	b.mu.Lock()
	b.calls = append(b.calls, op+" "+fmt.Sprint(args...))
	before := b.before
	b.mu.Unlock()
	err := before(ctx, op)
	if err == nil {
		b.mu.Lock()
	}
	return err
}

func (b *backend) Get(ctx context.Context, key string) ([]byte, bool, error) {
	if err := b.enter(ctx, "get", key); err != nil {
		return nil, false, err
	}
	defer b.mu.Unlock()
	v, ok := b.values[key]
	return bytes.Clone(v), ok, nil
}

func (b *backend) Claim(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	if err := b.enter(ctx, "claim", key, " ", owner, " ", lease); err != nil {
		return false, err
	}
	defer b.mu.Unlock()
	if b.owners[key] == "" {
		b.owners[key] = owner
	}
	return b.owners[key] == owner, nil
}

func (b *backend) Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (bool, error) {
	if err := b.enter(ctx, "put", key, " ", owner, " ", ttl); err != nil {
		return false, err
	}
	defer b.mu.Unlock()
	if owner != "" && b.owners[key] != owner {
		return false, nil
	}
	b.values[key] = bytes.Clone(value)
	delete(b.owners, key)
	return true, nil
}

func (b *backend) Release(ctx context.Context, key, owner string) error {
	if err := b.enter(ctx, "release", key, " ", owner); err != nil {
		return err
	}
	defer b.mu.Unlock()
	if b.owners[key] == owner {
		delete(b.owners, key)
	}
	return nil
}

var errDown = errors.New("canary: connection refused")

func down(context.Context, string) error { return errDown }

// reports is what a Store reports, in order; "recovered" is nil.
type reports struct {
	mu    sync.Mutex
	lines []string
}

func (r *reports) add(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.lines = append(r.lines, "recovered")
		return
	}
	r.lines = append(r.lines, err.Error())
}

const timeout = 200 * time.Millisecond

// newStore returns a Store over b, and what it reports.
func newStore(b sealedstore.Backend) (*sealedstore.Store, *reports) {
	r := new(reports)
	return sealedstore.New("a key", b, timeout, r.add), r
}
