package background

import (
	"context"
	"fmt"
	"time"
)

// Crash is the error of work that panicked or called runtime.Goexit. Its text never
// holds the panic's value, which may be a secret.
type Crash struct {
	PanicType string // the type of the panic's value; "" after runtime.Goexit
}

func (c *Crash) Error() string {
	if c.PanicType == "" {
		return "left by runtime.Goexit"
	}
	return "panicked (" + c.PanicType + ")"
}

// Start runs f in a goroutine of its own and then calls done there with what f
// returned, or with a [*Crash]. done must not panic.
func Start[T any](f func() (T, error), done func(T, error)) {
	go func() {
		var value T
		var err error = &Crash{}
		defer func() {
			if p := recover(); p != nil {
				err = &Crash{PanicType: fmt.Sprintf("%T", p)}
			}
			done(value, err)
		}()
		value, err = f()
	}()
}

// Call runs f in a goroutine of its own and returns what f returns. If f crashes,
// the error is a [*Crash].
//
// Call does not depend on f to notice that ctx is done. It gives f grace to
// return after that. Then it returns ctx's error, and what f returns later is
// dropped.
func Call[T any](ctx context.Context, grace time.Duration, f func() (T, error)) (T, error) {
	type outcome struct {
		value T
		err   error
	}
	done := make(chan outcome, 1)
	Start(f, func(value T, err error) { done <- outcome{value, err} })
	select {
	case out := <-done:
		return out.value, out.err
	case <-ctx.Done():
	}
	var zero T
	if grace == 0 {
		return zero, ctx.Err()
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case out := <-done:
		return out.value, out.err
	case <-timer.C:
		return zero, ctx.Err()
	}
}
