package outbound

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	maxFailures = 5               // in a row, before a breaker opens
	openFor     = 5 * time.Second // before one call probes whether Stytch is back
)

// breaker is a circuit breaker: gobreaker's, which does not say when it opened and
// for how much longer it stays open. A nil breaker is always closed.
type breaker struct {
	lane    string
	notices *notices
	counter *gobreaker.TwoStepCircuitBreaker[struct{}]

	mu       sync.Mutex // guards what follows; taken while counter's lock is held, never the other way
	failures uint32     // in a row, probes included
	since    time.Time  // when it first opened
	until    time.Time  // when it stops being open
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

// allow counts a call in. Its caller must pass the outcome to count.
func (b *breaker) allow() (count func(error), probe bool, _ *HeldBack) {
	if b == nil {
		return nil, false, nil
	}
	count, err := b.counter.Allow()
	if err != nil {
		return nil, false, b.held()
	}
	return count, b.counter.State() == gobreaker.StateHalfOpen, nil
}

func (b *breaker) held() *HeldBack {
	b.mu.Lock()
	defer b.mu.Unlock()
	return heldBack("breaker is open", time.Until(b.until))
}

// openNow returns a *HeldBack while the breaker is open. It goes by the time and does not
// ask counter, which would let the next call probe.
func (b *breaker) openNow() *HeldBack {
	b.mu.Lock()
	defer b.mu.Unlock()
	if rest := time.Until(b.until); rest > 0 {
		return heldBack("breaker is open", rest)
	}
	return nil
}

// changed runs under counter's lock. Notify does not: see notices.
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
