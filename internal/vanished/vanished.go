// Package vanished tells a logout from the loss of the store that an application keeps its
// sessions in. After both, a session that was there before the handler ran is gone.
package vanished

import (
	"context"
	"slices"
	"sync"
	"time"

	"example.com/stytchmigrate/internal/cache"
)

const (
	// settle is how long a session must stay gone. Some applications save a row by deleting
	// it and inserting it again.
	settle = 250 * time.Millisecond

	// window and several: users do not log out together. If so many sessions have vanished
	// within that time, their store has lost them.
	window  = 2 * time.Second
	several = 3

	maxNoted = 64 // more than that tell nothing new

	// renewedFor is longer than the caller of IsLogout lets a handler run.
	renewedFor = time.Minute
	maxRenewed = 100_000
)

// Sessions notes the sessions that have vanished in this process. Its zero value is ready.
// It is safe for concurrent use.
type Sessions struct {
	mu    sync.Mutex
	noted []note // the latest last

	once    sync.Once // makes renewed
	renewed cache.TTL[string, struct{}]
}

type note struct {
	key string
	at  time.Time
}

// Renew notes that a response has given a session of that key another id. The session
// vanishes under the key, and requests with the old id may still be under way.
func (s *Sessions) Renew(key string) { s.renewals().Put(key, struct{}{}, renewedFor) }

func (s *Sessions) isRenewed(key string) bool {
	_, renewed := s.renewals().Get(key)
	return renewed
}

func (s *Sessions) renewals() *cache.TTL[string, struct{}] {
	s.once.Do(func() { s.renewed = cache.NewTTL[string, struct{}](maxRenewed) })
	return &s.renewed
}

// IsLogout reports whether a session that gone says has vanished was logged out: it is
// still gone a moment later, no more than two sessions vanished at that time, and it was
// not given another id. It waits, and calls gone in the goroutine of its caller.
func (s *Sessions) IsLogout(ctx context.Context, key string, gone func() bool) bool {
	if s.isRenewed(key) || !gone() {
		return false
	}
	s.add(key)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(settle):
	}
	return s.count() < several && gone() && !s.isRenewed(key)
}

func (s *Sessions) add(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noted = slices.DeleteFunc(s.noted, func(n note) bool { return n.key == key || time.Since(n.at) >= window })
	if len(s.noted) < maxNoted {
		s.noted = append(s.noted, note{key, time.Now()})
	}
}

func (s *Sessions) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.noted {
		if time.Since(x.at) < window {
			n++
		}
	}
	return n
}
