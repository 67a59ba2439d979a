package background

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Group shares calls: callers that ask for the same key at the same time share one
// run of the work. Set its exported fields before the first Do. It is safe for
// concurrent use.
//
// It differs from golang.org/x/sync/singleflight in two ways. The work does not end
// when its first caller leaves. And if the work calls runtime.Goexit, all callers
// get an error, where those of singleflight's DoChan would wait for ever.
type Group[T any] struct {
	Limit   time.Duration // then the context of the work ends, and no later caller shares it
	ErrLeft error         // the error for a caller whose context is done before the work

	mu    sync.Mutex
	calls map[string]*sharedCall[T] // the work under way, guarded by mu
}

type sharedCall[T any] struct {
	ctx   context.Context
	done  chan struct{} // closed when value and err are set
	value T
	err   error
}

// Do returns what work returns, or an error if it panics. The context of work has
// the values of ctx, but not its end.
func (g *Group[T]) Do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	var zero T
	if ctx.Err() != nil { // an earlier call of the same request used up its time
		return zero, g.ErrLeft
	}
	c := g.join(ctx, key, work)
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		return zero, g.ErrLeft
	}
}

// join returns the call that is under way for key, or starts one.
func (g *Group[T]) join(ctx context.Context, key string, work func(context.Context) (T, error)) *sharedCall[T] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.calls[key]; c != nil && c.ctx.Err() == nil {
		return c
	}
	if g.calls == nil {
		g.calls = make(map[string]*sharedCall[T])
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Limit)
	c := &sharedCall[T]{ctx: ctx, done: make(chan struct{})}
	g.calls[key] = c
	Start(func() (T, error) { return work(ctx) }, func(value T, err error) {
		defer cancel()
		if c.err = describe(err); err == nil {
			c.value = value
		}
		g.mu.Lock()
		if g.calls[key] == c { // a call after Limit may have taken its place
			delete(g.calls, key)
		}
		g.mu.Unlock()
		close(c.done)
	})
	return c
}

func describe(err error) error {
	crash, ok := err.(*Crash)
	switch {
	case !ok:
		return err
	case crash.PanicType == "":
		return errors.New("stytchmigrate: a call to Stytch left by runtime.Goexit")
	}
	return fmt.Errorf("stytchmigrate: panic in a call to Stytch (%s)", crash.PanicType)
}
