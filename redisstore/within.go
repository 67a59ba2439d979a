package redisstore

import (
	"context"
	"fmt"
)

// within calls f, and returns when ctx is done, if f hasn't by then. By default
// the client reads and writes until its own time-outs, three seconds each, whatever
// the context says. f then ends with the time-out of its one try; it is one of as
// many as the client has connections, for the others wait for one, and that they do
// until ctx is done.
//
// A panic of the client, or of a hook in it, is an error: in a goroutine that is
// nobody's it would end the process.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1) // f never waits for one who has left
	go func() {
		r := result{err: own("the client has called runtime.Goexit")}
		defer func() {
			if p := recover(); p != nil {
				r = result{err: own(fmt.Sprintf("the client panicked with a %T", p))} // its text may be anything
			}
			done <- r
		}()
		r.value, r.err = f()
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
