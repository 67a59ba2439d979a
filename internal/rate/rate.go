// Package rate keeps what is begun in any one second to a number.
package rate

import (
	"math"
	"slices"
	"sync"
	"time"
)

const (
	maxStarts = 1000                 // that are counted one by one
	longest   = 400 * 24 * time.Hour // between two
)

// Pace counts what was begun of late. A bucket that fills as it is emptied would let
// twice as many through: what it held, and what came since. The zero value is ready
// for use.
type Limiter struct {
	mu     sync.Mutex
	starts []time.Time // of late, the oldest first; guarded by mu
}

// Take begins one, if there is room for it: of 1 or more perSecond, whole ones; 0.1
// is one in ten seconds; 0: no limit.
func (p *Limiter) Take(perSecond float64) bool {
	return p.count(perSecond, func(now time.Time) { p.starts = append(p.starts, now) })
}

// GiveBack is for one that was not begun after all, a moment after Take.
func (p *Limiter) Return() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.starts) - 1; last >= 0 {
		p.starts = p.starts[:last]
	}
}

// HasRoom reports whether Take would begin one.
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

// window is a number, and the time in which no more may be
// begun, so that in no second there are more than perSecond.
func window(perSecond float64) (most int, within time.Duration) {
	if perSecond < 1 {
		return 1, time.Duration(min(float64(time.Second)/perSecond, float64(longest)))
	}
	parts := math.Ceil(perSecond / maxStarts) // of a second
	return int(perSecond / parts), time.Duration(math.Ceil(float64(time.Second) / parts))
}
