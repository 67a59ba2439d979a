package sessionjwt

import (
	"context"
	"crypto/rsa"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/background"
)

const (
	// maxWait is how long one request waits for a key that is not in the set.
	maxWait = 2 * time.Second

	// fetchTimeout bounds a fetch, which goes on when those who waited have gone.
	fetchTimeout = 10 * time.Second

	// minInterval is the time between a good fetch and the next: who sends key
	// IDs that don't exist makes us ask Stytch once a minute, however many.
	minInterval = time.Minute

	// After a failure the next fetch comes sooner: after firstRetry, then twice
	// that, up to minInterval.
	firstRetry = time.Second

	// refreshAfter is the age at which a set in use is fetched anew. Until then
	// a key that was withdrawn is still accepted. Stytch serves a new key beside
	// the old for a month, so it is normally known before a token needs it.
	refreshAfter = time.Hour
)

var errUnknownKey = refusal("kid is not in the key set")

// Keys is the key set of a project. It is fetched when it is first needed, when
// a token names a key that is not in it, and when it is used an hour after it
// was fetched. The set stays in force until a fetch yields another with at least
// one usable key, so that neither an outage nor an odd answer loses it.
//
// Who asks for a key that is in the set never waits. No goroutine runs but
// during a fetch. Keys is safe for concurrent use, if it was made by [NewKeys].
type Keys struct {
	fetch   func(context.Context) ([]byte, error)
	onFetch func(err error, keys int)

	set atomic.Pointer[keySet] // nil until the first good fetch

	mu       sync.Mutex // guards what follows; not held during a fetch
	flight   *flight    // the fetch that is under way, nil if none is
	next     time.Time  // no fetch before
	failures int        // since the last good fetch
}

// keySet is a set as it was fetched. It never changes.
type keySet struct {
	keys    map[string]*rsa.PublicKey
	fetched time.Time
}

// flight is one fetch, shared by all who want its outcome.
type flight struct {
	done chan struct{} // closed when err is set, and the set in force
	err  error
}

// NewKeys returns the key set that fetch yields. It doesn't call fetch.
//
// fetch returns the body of the project's JWKS endpoint, whose length it
// bounds, and returns when its context ends. It is called in a goroutine of its
// own, with a context that outlives the request that caused it; a panic in it
// counts as a failure.
//
// onFetch, unless it is nil, is told how each fetch went, and how many usable
// keys it found. It is called in the same goroutine; a panic in it is ignored.
func NewKeys(fetch func(context.Context) ([]byte, error), onFetch func(err error, keys int)) *Keys {
	return &Keys{fetch: fetch, onFetch: onFetch}
}

// Key returns the key of an ID. If there is none, the error is [ErrRefused] if
// the set is known to lack it, and [ErrNoKeys] if it may not be the set of today:
// it was never fetched, or the last fetch failed, or took too long.
func (k *Keys) Key(ctx context.Context, kid string) (*rsa.PublicKey, error) {
	set := k.set.Load()
	if key := set.key(kid); key != nil {
		if time.Since(set.fetched) >= refreshAfter {
			_, _ = k.start(ctx) // for those who come later
		}
		return key, nil
	}
	f, err := k.start(ctx)
	if f != nil {
		return k.wait(ctx, f, kid)
	}
	// A fetch may have ended since we looked, and be why it is too early.
	if key := k.set.Load().key(kid); key != nil {
		return key, nil
	}
	return nil, err
}

func (s *keySet) key(kid string) *rsa.PublicKey {
	if s == nil {
		return nil
	}
	return s.keys[kid]
}

// wait waits for a fetch, and then looks again.
func (k *Keys) wait(ctx context.Context, f *flight, kid string) (*rsa.PublicKey, error) {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case <-f.done:
	case <-timer.C:
		return nil, fmt.Errorf("%w: waited %v", ErrNoKeys, maxWait)
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrNoKeys, context.Cause(ctx))
	}
	if key := k.set.Load().key(kid); key != nil {
		return key, nil
	}
	if f.err != nil {
		return nil, ErrNoKeys // the cause went to onFetch, once
	}
	return nil, errUnknownKey
}

// start returns the fetch that is under way, or starts one. If it is too early
// for one, it returns none, and what follows for a key that is not in the set.
func (k *Keys) start(ctx context.Context) (*flight, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil {
		return k.flight, nil
	}
	if time.Now().Before(k.next) {
		if k.failures > 0 {
			return nil, ErrNoKeys
		}
		return nil, errUnknownKey
	}
	k.flight = &flight{done: make(chan struct{})}
	k.run(context.WithoutCancel(ctx), k.flight)
	return k.flight, nil
}

// run starts one fetch. A fetch that panics, or calls runtime.Goexit, ends its flight
// too: a flight that never ended would keep every later one from starting.
func (k *Keys) run(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	background.Start(func() (map[string]*rsa.PublicKey, error) {
		body, err := k.fetch(ctx)
		if err != nil {
			return nil, err
		}
		return Parse(body)
	}, func(keys map[string]*rsa.PublicKey, err error) {
		defer cancel()
		if crash, ok := err.(*background.Crash); ok {
			err = fmt.Errorf("sessionjwt: fetch of the key set: %w", crash)
		}
		k.land(f, keys, err)
		k.report(err, len(keys))
	})
}

// land ends a flight.
func (k *Keys) land(f *flight, keys map[string]*rsa.PublicKey, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if err == nil {
		k.set.Store(&keySet{keys: keys, fetched: now})
		k.failures = 0
		k.next = now.Add(minInterval)
	} else {
		// At the seventh failure the pause reaches minInterval, and stays there.
		k.next = now.Add(min(firstRetry<<min(k.failures, 6), minInterval))
		k.failures++
	}
	f.err = err
	k.flight = nil
	close(f.done)
}

// report tells onFetch, whose panic would otherwise end the process: nobody is
// above us to recover it.
func (k *Keys) report(err error, keys int) {
	if k.onFetch == nil {
		return
	}
	defer func() { _ = recover() }()
	k.onFetch(err, keys)
}
