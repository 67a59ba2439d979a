package sealedstore

import (
	"context"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/redact"
)

const (
	maxFailures = 3               // in a row, until the breaker opens
	openFor     = 5 * time.Second // and calls fail at once
)

// guarded is a Backend, which may be anyone's code, with limits on what it costs:
//
//   - A call is over after its timeout, though the Backend ignores its context.
//   - A call that fails, panics, calls runtime.Goexit or hangs is an error. The answer is
//     then "can't tell", never "not found".
//   - After three such calls in a row the circuit breaker opens for five seconds: requests
//     don't wait for a store that is down.
//   - A call whose caller has left says nothing about the store, and does not count.
type guarded struct {
	backend Backend
	timeout time.Duration // for one call
	breaker *gobreaker.CircuitBreaker[reply]
	report  func(err error) // called with each failure, and with nil when a call works again
	failing latch.Latch
}

// reply is what a Backend's method returns besides its error.
type reply struct {
	value []byte
	ok    bool // found, claimed or stored
}

func newGuarded(b Backend, timeout time.Duration, report func(error)) *guarded {
	return &guarded{backend: b, timeout: timeout, report: report, breaker: gobreaker.NewCircuitBreaker[reply](gobreaker.Settings{
		Timeout:     openFor,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= maxFailures },
		IsExcluded:  callerLeft,
	})}
}

func callerLeft(err error) bool { return errors.Is(err, context.Canceled) }

func isOpen(err error) bool {
	return errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
}

func (g *guarded) get(ctx context.Context, key string) (value []byte, found bool, err error) {
	r, err := g.do(ctx, "get", func(ctx context.Context) (r reply, err error) {
		r.value, r.ok, err = g.backend.Get(ctx, key)
		return r, err
	})
	return r.value, r.ok, err
}

func (g *guarded) claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error) {
	r, err := g.do(ctx, "claim", func(ctx context.Context) (r reply, err error) {
		r.ok, err = g.backend.Claim(ctx, key, owner, lease)
		return r, err
	})
	return r.ok, err
}

func (g *guarded) put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error) {
	r, err := g.do(ctx, "put", func(ctx context.Context) (r reply, err error) {
		r.ok, err = g.backend.Put(ctx, key, owner, value, ttl)
		return r, err
	})
	return r.ok, err
}

func (g *guarded) release(ctx context.Context, key, owner string) {
	_, _ = g.do(ctx, "release", func(ctx context.Context) (reply, error) {
		return reply{}, g.backend.Release(ctx, key, owner)
	})
}

// do makes one call, unless the breaker is open, and reports a failure or a recovery.
func (g *guarded) do(ctx context.Context, op string, call func(context.Context) (reply, error)) (reply, error) {
	r, err := g.breaker.Execute(func() (reply, error) {
		r, err := callWithin(ctx, g.timeout, call)
		if err != nil && ctx.Err() != nil {
			err = context.Canceled // its time is over: that says nothing about the store
		}
		return r, err
	})
	switch {
	case err == nil:
		if g.failing.Clear() {
			g.report(nil)
		}
		return r, nil
	case isOpen(err): // it was reported when it opened
		return reply{}, storeError(op, redact.Text("left alone after it failed"))
	case callerLeft(err):
		return reply{}, storeError(op, err)
	}
	err = storeError(op, err)
	g.report(err)
	// Set after the report. Another call may work meanwhile, and its recovery must be
	// reported after this failure.
	g.failing.Set()
	return reply{}, err
}

// callWithin makes a call and waits for timeout. A Backend that ignores its context
// does not hold up the caller, and its panic or runtime.Goexit ends no request.
func callWithin(ctx context.Context, timeout time.Duration, call func(context.Context) (reply, error)) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return background.Call(ctx, 0, func() (reply, error) {
		r, err := call(ctx)
		return r, describe(err)
	})
}
