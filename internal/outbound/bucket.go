package outbound

import (
	"sync"
	"time"
)

// bucket is a token bucket. A nil bucket is never empty.
type bucket struct {
	size      float64
	perSecond float64 // zero: only add fills it

	mu     sync.Mutex
	tokens float64   // guarded by mu
	at     time.Time // of the last take, guarded by mu
}

func (b *bucket) take() bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if !b.at.IsZero() {
		b.tokens = min(b.size, b.tokens+b.perSecond*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *bucket) add(n float64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.size, b.tokens+n)
}
