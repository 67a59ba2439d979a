// Package latch remembers what has been reported, so that one cause is one report.
package latch

import (
	"sync/atomic"
	"time"
)

// Latch is set when something fails and cleared when it works again. The zero
// value is clear. It is safe for concurrent use, and nothing waits for a lock:
// a caller that loses a race does not wait for the winner's report.
type Latch struct {
	set atomic.Bool
	at  atomic.Int64 // when SetEvery last returned true, in Unix nanoseconds
}

// Set sets the latch. It reports whether the latch was clear.
func (l *Latch) Set() (first bool) { return !l.set.Load() && !l.set.Swap(true) }

// IsSet reports whether the latch is set.
func (l *Latch) IsSet() bool { return l.set.Load() }

// SetEvery sets the latch and returns true, unless it did so within the last d.
func (l *Latch) SetEvery(d time.Duration) (due bool) {
	now, before := time.Now().UnixNano(), l.at.Load()
	if before != 0 && time.Duration(now-before).Abs() < d || !l.at.CompareAndSwap(before, now) {
		return false
	}
	l.set.Store(true)
	return true
}

// Clear clears the latch. It reports whether the latch was set. On a latch that is
// clear it is a single read.
func (l *Latch) Clear() (was bool) { return l.set.Load() && l.set.Swap(false) }
