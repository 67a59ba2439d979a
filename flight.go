package stytchmigrate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// share runs work once for all who ask for key at the same time. It goes on
// when its first caller leaves, has a deadline of its own, and ends in an error
// where it panics: the process is not one request's to lose.
func share[T any](ctx context.Context, g *singleflight.Group, key string, limit time.Duration, work func(context.Context) (T, error)) (T, error) {
	var zero T
	if ctx.Err() != nil { // what this request asked about before has used up its time
		return zero, errNoAnswer
	}
	ch := g.DoChan(key, func() (v any, err error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("stytchmigrate: panic in a call to Stytch (%T)", p)
			}
		}()
		return work(ctx)
	})
	select {
	case res := <-ch:
		if res.Err != nil {
			return zero, res.Err
		}
		return res.Val.(T), nil
	case <-ctx.Done():
		return zero, errNoAnswer
	}
}

// errNoAnswer is why a request gave up: its time was over, or its client gone.
// The call goes on.
var errNoAnswer = &callError{op: "call", reason: "no answer within the time of the request", late: true}

// sleep waits for d, or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// apart runs f, which may call the application's code, in a goroutine of its own
// that ends with it. There is nobody above it to recover its panic.
func apart(f func()) {
	go func() {
		defer func() { _ = recover() }()
		f()
	}()
}

// inTurn runs functions apart, one after the other in the order in which they came.
// One that does not end holds up the rest: beyond maxWaiting, the oldest is dropped.
type inTurn struct {
	mu      sync.Mutex // guards all below
	waiting []func()
	busy    bool
}

const maxWaiting = 1000

func (t *inTurn) run(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == maxWaiting {
		t.waiting = t.waiting[1:]
	}
	t.waiting = append(t.waiting, f)
	if !t.busy {
		t.next()
	}
}

// next is to be called with mu held.
func (t *inTurn) next() {
	if t.busy = len(t.waiting) > 0; !t.busy {
		return
	}
	f := t.waiting[0]
	t.waiting = t.waiting[1:]
	apart(func() {
		defer func() { // though f panics, or ends its goroutine
			t.mu.Lock()
			defer t.mu.Unlock()
			t.next()
		}()
		f()
	})
}
