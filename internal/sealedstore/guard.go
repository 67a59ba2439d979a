package sealedstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sony/gobreaker/v2"

	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/redact"
)

const (
	storeFailures = 3               // in a row, until the store is left alone
	storePause    = 5 * time.Second // for which it is
)

// shared keeps a Store, which may be anybody's, from costing more
// than it brings. Each call has its time, and what the store makes of it,
// an error, a panic or silence, is "can't tell". A store that fails again and
// again is left alone for some seconds: pages don't wait for it then.
type guarded struct {
	backend Backend
	timeout time.Duration // for one call
	breaker *gobreaker.CircuitBreaker[reply]
	failed  func(err error) // hears of each call that failed, the error's text is ours; and nil when one has worked again
	failing latch.Latch
}

type reply struct {
	value []byte
	ok    bool // found, claimed or stored
}

func newGuarded(s Backend, wait time.Duration, failed func(error)) *guarded {
	return &guarded{backend: s, timeout: wait, failed: failed, breaker: gobreaker.NewCircuitBreaker[reply](gobreaker.Settings{
		Timeout:     storePause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= storeFailures },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) }, // says nothing of the store
	})}
}

func (s *guarded) get(ctx context.Context, key string) (value []byte, found bool, err error) {
	out, err := s.do(ctx, "get", func(ctx context.Context) (r reply, err error) {
		r.value, r.ok, err = s.backend.Get(ctx, key)
		return r, err
	})
	return out.value, out.ok, err
}

func (s *guarded) claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error) {
	out, err := s.do(ctx, "claim", func(ctx context.Context) (r reply, err error) {
		r.ok, err = s.backend.Claim(ctx, key, owner, lease)
		return r, err
	})
	return out.ok, err
}

func (s *guarded) put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error) {
	out, err := s.do(ctx, "put", func(ctx context.Context) (r reply, err error) {
		r.ok, err = s.backend.Put(ctx, key, owner, value, ttl)
		return r, err
	})
	return out.ok, err
}

func (s *guarded) release(ctx context.Context, key, owner string) {
	_, _ = s.do(ctx, "release", func(ctx context.Context) (reply, error) {
		return reply{}, s.backend.Release(ctx, key, owner)
	})
}

// do makes one call of the store, unless it is being left alone.
func (s *guarded) do(ctx context.Context, op string, call func(context.Context) (reply, error)) (reply, error) {
	out, err := s.breaker.Execute(func() (reply, error) { return s.withTimeout(ctx, call) })
	if err == nil {
		if s.failing.Clear() {
			s.failed(nil)
		}
		return out, nil
	}
	skipped := errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
	left := errors.Is(err, context.Canceled)
	if skipped {
		err = redact.Text("left alone after it failed")
	}
	err = fmt.Errorf("stytchmigrate: store: %s: %s", op, Reason(err))
	if !skipped && !left {
		s.failed(err)
		s.failing.Set() // after it is told: a call that works meanwhile must not be told of before
	}
	return reply{}, err
}

// timed makes a call in a goroutine of its own, so that it is over in time
// though the store knows no context, and is an error though it never returns.
func (s *guarded) withTimeout(ctx context.Context, call func(context.Context) (reply, error)) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	type outcome struct {
		reply reply
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		out := outcome{err: redact.Text("left by runtime.Goexit")}
		defer func() {
			if p := recover(); p != nil {
				out = outcome{err: redact.Text(fmt.Sprintf("panicked (%T)", p))}
			}
			done <- out
		}()
		out.reply, out.err = call(ctx)
	}()
	select {
	case out := <-done:
		return out.reply, out.err
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}

// Reason describes a store's error without its text, which may hold keys.
func Reason(err error) string {
	var own redact.Text
	var network net.Error
	switch {
	case errors.As(err, &own):
		return string(own)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &network):
		return redact.Reason(err)
	}
	return fmt.Sprintf("failed (%T)", err)
}
