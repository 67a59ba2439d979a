package background

import "sync"

// Queue runs functions apart, one after the other in the order in which they came.
// One that does not end holds up the rest: beyond maxWaiting, the oldest is dropped.
// The zero value is ready for use.
type Queue struct {
	mu      sync.Mutex // guards all below
	waiting []func()
	busy    bool
}

const maxWaiting = 1000

// Add puts f at the end. It waits for nothing.
func (q *Queue) Add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == maxWaiting {
		q.waiting = q.waiting[1:]
	}
	q.waiting = append(q.waiting, f)
	if !q.busy {
		q.next()
	}
}

// next is to be called with mu held.
func (q *Queue) next() {
	if q.busy = len(q.waiting) > 0; !q.busy {
		return
	}
	f := q.waiting[0]
	q.waiting = q.waiting[1:]
	Go(func() {
		defer func() { // though f panics, or ends its goroutine
			q.mu.Lock()
			defer q.mu.Unlock()
			q.next()
		}()
		f()
	})
}
