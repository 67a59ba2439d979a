package outbound

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	maxFailures = 5               // in a row; then a breaker opens
	openFor     = 5 * time.Second // then one call finds out
)

// breaker is gobreaker's, and what that does not tell: when it was opened, and
// for how much longer. Calls are counted in two steps: gobreaker's Execute does
// not count one that leaves by runtime.Goexit, which would keep the place of the
// one probe for ever. Nil is a breaker that is always closed.
type breaker struct {
	lane    string
	notices *notices
	counter *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu       sync.Mutex // held for a moment while counter's is, never the other way
	failures uint32     // in a row, probes included
	since    time.Time  // when it opened first
	until    time.Time  // it is open until then
}

func newBreaker(lane string, n *notices) *breaker {
	b := &breaker{lane: lane, notices: n}
	b.counter = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:       openFor,
		ReadyToTrip:   func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= maxFailures },
		OnStateChange: b.changed,
		IsExcluded:    func(err error) bool { return errors.Is(err, errNotCounted) },
	})
	return b
}

// allow counts a call in. done takes what came of it.
func (b *breaker) allow() (done func(error), probe bool, _ *HeldBack) {
	if b == nil {
		return nil, false, nil
	}
	done, err := b.counter.Allow()
	if err != nil {
		return nil, false, b.held()
	}
	return done, b.counter.State() == gobreaker.StateHalfOpen, nil
}

func (b *breaker) held() *HeldBack {
	b.mu.Lock()
	defer b.mu.Unlock()
	return heldBack("breaker is open", time.Until(b.until))
}

// changed runs under counter's lock: Notify does not.
func (b *breaker) changed(_ string, from, to gobreaker.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	switch {
	case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
		b.failures, b.since, b.until = maxFailures, now, now.Add(openFor)
	case to == gobreaker.StateOpen:
		b.failures, b.until = b.failures+1, now.Add(openFor)
	}
	n := Notice{Lane: b.lane, What: "breaker " + to.String(), Failures: b.failures, For: now.Sub(b.since)}
	if to == gobreaker.StateOpen {
		n.For = openFor
	}
	b.notices.add(n)
}
