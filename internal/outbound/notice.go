package outbound

import "sync"

const maxNotices = 100 // that wait; there is about one in five seconds and lane

// notices hands notices on, in order. They come up under locks and in calls that
// many requests wait for, where code of the application has no business.
type notices struct {
	to func(Notice) // nil: nobody

	mu      sync.Mutex
	waiting []Notice // guarded by mu
	running bool     // there is a goroutine that empties waiting; guarded by mu
}

func (n *notices) add(x Notice) {
	if n.to == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == maxNotices {
		n.waiting = n.waiting[1:]
	}
	n.waiting = append(n.waiting, x)
	if !n.running {
		n.running = true
		go n.run()
	}
}

// run ends with the last notice. If Notify panics, or leaves by runtime.Goexit,
// the rest is told in a new goroutine.
func (n *notices) run() {
	defer func() {
		_ = recover() // the process is not Notify's to end
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.running = len(n.waiting) > 0; n.running {
			go n.run()
		}
	}()
	for {
		x, ok := n.next()
		if !ok {
			return
		}
		n.to(x)
	}
}

func (n *notices) next() (x Notice, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.waiting) == 0 {
		return x, false
	}
	x = n.waiting[0]
	n.waiting = n.waiting[1:]
	return x, true
}
