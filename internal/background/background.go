// Package background runs work that several requests wait for, or none. Such work
// outlives the request in which it began, has an end of its own, and may panic:
// the process is not one request's to lose.
package background

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"
)

// Group shares calls: work is done once for all who ask for a key at the same
// time. It goes on when its first caller leaves, for Limit at most. It is safe for
// concurrent use.
type Group[T any] struct {
	Limit   time.Duration
	ErrLeft error // what a caller is told whose time is over, or whose client has left

	calls singleflight.Group
}

// Do returns what work comes to, or an error where it panics.
func (g *Group[T]) Do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	var zero T
	if ctx.Err() != nil { // what this request asked about before has used up its time
		return zero, g.ErrLeft
	}
	ch := g.calls.DoChan(key, func() (v any, err error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.Limit)
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
		return zero, g.ErrLeft
	}
}

// Sleep waits for d, or until ctx is done.
func Sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// Apart runs f, which may call the application's code, in a goroutine of its own
// that ends with it. There is nobody above it to recover its panic.
func Go(f func()) {
	go func() {
		defer func() { _ = recover() }()
		f()
	}()
}
