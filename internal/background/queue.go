package background

import "sync"

// Queue runs functions one after the other, in the order in which they were added,
// and not in the goroutine that adds them. It drops the oldest function when more
// than maxWaiting wait, as they do behind one that does not return. The zero value
// is ready for use. It is safe for concurrent use.
type Queue struct {
	mu      sync.Mutex // guards all below
	waiting []func()
	busy    bool // a function is running
}

const maxWaiting = 1000

// Add adds f at the end. It never blocks.
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

// next starts the first function that waits. The caller holds mu.
func (q *Queue) next() {
	if q.busy = len(q.waiting) > 0; !q.busy {
		return
	}
	f := q.waiting[0]
	q.waiting = q.waiting[1:]
	Go(func() {
		defer func() { // also if f panics or calls runtime.Goexit
			q.mu.Lock()
			defer q.mu.Unlock()
			q.next()
		}()
		f()
	})
}
