// Package sealedstore keeps what machines share, in a store that the package trusts with
// nothing.
//
// Values are sealed: a reader of the store gets no session out of it. A writer can neither
// make up a value nor move one to another key. Calls are guarded: a store that is slow or
// down costs each request a bounded time, and after some failures none.
package sealedstore

import (
	"context"
	"errors"
	"time"

	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/redact"
)

// Backend is stytchmigrate.Store, whose doc comment is the contract.
type Backend interface {
	Get(ctx context.Context, key string) (value []byte, found bool, err error)
	Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error)
	Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error)
	Release(ctx context.Context, key, owner string) error
}

// Store seals values and keeps them in a Backend. Without a Backend it still seals, and
// each machine is on its own. Make it with [New]. It is safe for concurrent use.
type Store struct {
	key        redact.Secret
	backend    *guarded // nil without a Backend
	report     func(error)
	unreadable latch.Latch
}

// New returns a Store that seals with key. backend may be nil. Each call of it may take
// timeout.
//
// report is called with the error of each call that failed, with nil when calls work
// again, and with [ErrUnreadable]. No error holds what the backend wrote.
func New(key redact.Secret, backend Backend, timeout time.Duration, report func(error)) *Store {
	s := &Store{key: key, report: report}
	if backend != nil {
		s.backend = newGuarded(backend, timeout, report)
	}
	return s
}

// Get returns the sealed value of a key. Without a Backend there is none.
func (s *Store) Get(ctx context.Context, key string) (sealed []byte, found bool, err error) {
	if s.backend == nil {
		return nil, false, nil
	}
	return s.backend.get(ctx, key)
}

// Put stores a sealed value, as the Backend's Put does. Without a Backend it returns
// true.
func (s *Store) Put(ctx context.Context, key, owner string, sealed []byte, ttl time.Duration) (stored bool, err error) {
	if s.backend == nil {
		return true, nil
	}
	return s.backend.put(ctx, key, owner, sealed, ttl)
}

// Claim gives owner the claim on a key, as the Backend's Claim does. Without a Backend it
// returns true, since no other machine asks. After an error the claim may exist: the call
// may still reach the store.
func (s *Store) Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error) {
	if s.backend == nil {
		return true, nil
	}
	return s.backend.claim(ctx, key, owner, lease)
}

// Release gives a claim back. It does so after ctx has ended too: the other machines wait
// for the claim.
func (s *Store) Release(ctx context.Context, key, owner string) {
	if s.backend != nil {
		s.backend.release(context.WithoutCancel(ctx), key, owner)
	}
}

// Mark stores a fact that needs no value, such as that a session has ended. It does so
// after ctx has ended too: a user whose browser has left stays logged out.
func (s *Store) Mark(ctx context.Context, key string, ttl time.Duration) error {
	if s.backend == nil {
		return nil
	}
	_, err := s.Put(context.WithoutCancel(ctx), key, "", s.Seal(key, "", nil), ttl)
	return err
}

// HasMark reports whether Mark was called for a key, here or on another machine. A mark
// that can't be read counts as no mark, and is reported. So does an error.
func (s *Store) HasMark(ctx context.Context, key string) bool {
	marked, _ := s.Marked(ctx, key)
	return marked
}

// Marked is HasMark where an error does not count as no mark.
func (s *Store) Marked(ctx context.Context, key string) (bool, error) {
	sealed, found, err := s.Get(ctx, key)
	if err != nil || !found {
		return false, err
	}
	if _, err := s.Open(key, "", sealed); err != nil {
		s.ReportUnreadable()
		return false, ErrUnreadable
	}
	return true, nil
}

// ErrUnreadable is what is reported of a value that does not open.
var ErrUnreadable = errors.New("stytchmigrate: store: a record can't be read: it is forged, of another key, or of another version")

// ReportUnreadable reports [ErrUnreadable], at most once a minute: every request of a
// session may meet the same value.
func (s *Store) ReportUnreadable() {
	if s.unreadable.SetEvery(time.Minute) {
		s.report(ErrUnreadable)
	}
}
