// Package storetest tests that a [stytchmigrate.Store] keeps its contract. Call
// [Run] in the tests of a Store of your own:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) stytchmigrate.Store { return mystore.New(connect(t)) })
//	}
//
// What the contract says of a memory that hangs or is down is not tested here: only
// the tests of the Store itself can take its memory away.
//
// [Memory] is a Store for the tests of an application.
package storetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/stytchmigrate"
)

const (
	short = 200 * time.Millisecond // a ttl or lease that a rule waits for the end of
	mid   = 5 * short              // the same, where there is something to do before that
	long  = 10 * time.Minute       // a ttl or lease that doesn't end during a rule

	limit = 30 * time.Second // of one rule; a Store that takes so long hangs
)

// Run runs a subtest for each rule of the contract, all at the same time. It
// takes about two seconds, and more where the Store is slow.
//
// open is called once by each subtest, with the subtest's own t: for a Store of its
// own, or for one and the same each time. Keys are new in every run, so that
// nothing has to be cleared away, and what is left runs out within ten minutes.
//
// Leases and times to live end in real time. A Store whose clock stands still, in
// front of a fake for one, says so by a method Sleep(time.Duration), which is
// called instead of time.Sleep. It must not be shared by subtests then, for their
// clock would be one.
func Run(t *testing.T, open func(t *testing.T) stytchmigrate.Store) {
	t.Helper()
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			store, result := open(t), make(chan error, 1)
			go func() { result <- r.check(store, limit) }() // now: t.Parallel waits for a processor
			t.Parallel()
			if err := <-result; err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		})
	}
}

// rule is a sentence of the contract, and the test that breaks where it isn't kept.
// It tells its subject rather than a testing.T, so that the tests of this package
// can watch it fail.
type rule struct {
	name string
	test func(*subject)
}

var rules = slices.Concat(valueRules, claimRules, putRules, sharedRules)

// check runs a rule against a Store. A Store that lets it wait for longer fails.
func (r rule) check(store stytchmigrate.Store, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	s := &subject{ctx: ctx, store: store, sleep: time.Sleep, key: newKey()}
	if own, ok := store.(interface{ Sleep(time.Duration) }); ok {
		s.sleep = own.Sleep
	}
	done := make(chan error, 1)
	go func() {
		r.test(s)
		done <- s.err
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(limit + time.Second): // a Store that knows no context
		return errHangs
	}
}

var errHangs = errors.New("the Store does not return, though its context is done")

// subject is the Store under test. Each method is a step of a rule, and fails the
// rule where the Store fails or answers otherwise than expected. After the first
// failure steps do nothing. It is for one goroutine.
type subject struct {
	ctx   context.Context
	store stytchmigrate.Store
	sleep func(time.Duration)
	key   string // that the steps are about
	err   error
}

// newKey returns a key that no other rule, run or process uses.
func newKey() string {
	b := make([]byte, 16)
	rand.Read(b) // never fails, says its doc
	return "storetest-" + hex.EncodeToString(b)
}

func (s *subject) failf(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// with is s for another key.
func (s *subject) with(key string, steps func(*subject)) {
	old := s.key
	s.key = key
	steps(s)
	s.key = old
}

func (s *subject) put(owner, value string, ttl time.Duration, want bool) {
	if s.err != nil {
		return
	}
	stored, err := s.store.Put(s.ctx, s.key, owner, []byte(value), ttl)
	if err != nil {
		s.failf("Put by %q: %w", owner, err)
	} else if stored != want {
		s.failf("Put by %q says %t, want %t", owner, stored, want)
	}
}

func (s *subject) claim(owner string, lease time.Duration, want bool) {
	if s.err != nil {
		return
	}
	claimed, err := s.store.Claim(s.ctx, s.key, owner, lease)
	if err != nil {
		s.failf("Claim by %q: %w", owner, err)
	} else if claimed != want {
		s.failf("Claim by %q says %t, want %t", owner, claimed, want)
	}
}

func (s *subject) release(owner string) {
	if s.err != nil {
		return
	}
	if err := s.store.Release(s.ctx, s.key, owner); err != nil {
		s.failf("Release by %q: %w", owner, err)
	}
}

func (s *subject) has(want string) {
	if s.err != nil {
		return
	}
	value, found, err := s.store.Get(s.ctx, s.key)
	switch {
	case err != nil:
		s.failf("Get: %w", err)
	case !found:
		s.failf("Get finds nothing, want a value of %d bytes", len(want))
	case string(value) != want:
		s.failf("Get finds %.40q (%d bytes), want %.40q (%d bytes)", value, len(value), want, len(want))
	}
}

func (s *subject) hasNone() {
	if s.err != nil {
		return
	}
	value, found, err := s.store.Get(s.ctx, s.key)
	if err != nil {
		s.failf("Get: %w", err)
	} else if found {
		s.failf("Get finds %.40q, want nothing", value)
	}
}

// wait lets a ttl or lease of d run out. A Store may be late.
func (s *subject) wait(d time.Duration) {
	if s.err == nil {
		s.sleep(d + 2*short)
	}
}
