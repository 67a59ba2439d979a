package outbound

import "example.com/stytchmigrate/internal/background"

// notices hands notices on, in order. They come up under locks and in calls that
// many requests wait for, where code of the application has no business.
type notices struct {
	to    func(Notice) // nil: nobody
	queue background.Queue
}

func (n *notices) add(x Notice) {
	if n.to != nil {
		n.queue.Add(func() { n.to(x) })
	}
}
