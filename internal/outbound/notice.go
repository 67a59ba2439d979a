package outbound

import "example.com/stytchmigrate/internal/background"

// notices hands notices to the application, in order. Notices are made under locks
// and in calls that many requests wait for, so Notify can't be called there.
type notices struct {
	notify func(Notice) // may be nil
	queue  background.Queue
}

func (n *notices) add(x Notice) {
	if n.notify != nil {
		n.queue.Add(func() { n.notify(x) })
	}
}
