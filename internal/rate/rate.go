// Package rate limits how many exchanges begin in any one second.
package rate

import (
	"math"
	"slices"
	"sync"
	"time"
)

const (
	maxStarts = 1000                 // that are remembered; a higher rate is limited in parts of a second
	longest   = 400 * 24 * time.Hour // between two starts: a longer time would overflow a Duration
)

// Limiter counts the latest starts. It is a sliding window, and not a token bucket: that
// lets twice the rate through in the first second, what it holds and what flows in. The
// zero value is ready for use. Limiter is safe for concurrent use.
type Limiter struct {
	mu     sync.Mutex
	starts []time.Time // the latest ones, the oldest first; guarded by mu
}

// Take counts one more start and returns true, if there is room for it. A rate of 1 or
// more perSecond is rounded down to a whole number. A rate of 0.1 is one start in ten
// seconds. A rate of 0 is no limit.
func (p *Limiter) Take(perSecond float64) bool {
	return p.count(perSecond, func(now time.Time) { p.starts = append(p.starts, now) })
}

// Return takes the latest start back. Call it a moment after Take, if nothing began.
func (p *Limiter) Return() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.starts) - 1; last >= 0 {
		p.starts = p.starts[:last]
	}
}

// HasRoom reports whether Take would return true.
func (p *Limiter) HasRoom(perSecond float64) bool { return p.count(perSecond, func(time.Time) {}) }

func (p *Limiter) count(perSecond float64, begin func(time.Time)) bool {
	if perSecond == 0 {
		return true
	}
	most, within := window(perSecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	old := slices.IndexFunc(p.starts, func(at time.Time) bool { return now.Sub(at) < within })
	if old < 0 {
		old = len(p.starts)
	}
	p.starts = slices.Delete(p.starts, 0, old)
	if len(p.starts) >= most {
		return false
	}
	begin(now)
	return true
}

// window is the time in which no more than most may start, so that no second has more
// than perSecond starts.
func window(perSecond float64) (most int, within time.Duration) {
	if perSecond < 1 {
		return 1, time.Duration(min(float64(time.Second)/perSecond, float64(longest)))
	}
	parts := math.Ceil(perSecond / maxStarts) // of a second
	return int(perSecond / parts), time.Duration(math.Ceil(float64(time.Second) / parts))
}
