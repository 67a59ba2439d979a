package vault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"example.com/stytchmigrate/internal/safe"
)

const (
	storeFailures = 3               // in a row, until the store is left alone
	storePause    = 5 * time.Second // for which it is
)

// shared keeps a Store, which may be anybody's, from costing more
// than it brings. Each call has its time, and what the store makes of it,
// an error, a panic or silence, is "can't tell". A store that fails again and
// again is left alone for some seconds: pages don't wait for it then.
type shared struct {
	store   Store
	wait    time.Duration // for one call
	breaker *gobreaker.CircuitBreaker[storeReply]
	failed  func(err error) // hears of each call that failed, the error's text is ours; and nil when one has worked again
	failing atomic.Bool
}

type storeReply struct {
	value []byte
	ok    bool // found, claimed or stored
}

func newShared(s Store, wait time.Duration, failed func(error)) *shared {
	return &shared{store: s, wait: wait, failed: failed, breaker: gobreaker.NewCircuitBreaker[storeReply](gobreaker.Settings{
		Timeout:     storePause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= storeFailures },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) }, // says nothing of the store
	})}
}

func (s *shared) get(ctx context.Context, key string) (value []byte, found bool, err error) {
	reply, err := s.do(ctx, "get", func(ctx context.Context) (r storeReply, err error) {
		r.value, r.ok, err = s.store.Get(ctx, key)
		return r, err
	})
	return reply.value, reply.ok, err
}

func (s *shared) claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error) {
	reply, err := s.do(ctx, "claim", func(ctx context.Context) (r storeReply, err error) {
		r.ok, err = s.store.Claim(ctx, key, owner, lease)
		return r, err
	})
	return reply.ok, err
}

func (s *shared) put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error) {
	reply, err := s.do(ctx, "put", func(ctx context.Context) (r storeReply, err error) {
		r.ok, err = s.store.Put(ctx, key, owner, value, ttl)
		return r, err
	})
	return reply.ok, err
}

func (s *shared) release(ctx context.Context, key, owner string) {
	_, _ = s.do(ctx, "release", func(ctx context.Context) (storeReply, error) {
		return storeReply{}, s.store.Release(ctx, key, owner)
	})
}

// do makes one call of the store, unless it is being left alone.
func (s *shared) do(ctx context.Context, op string, call func(context.Context) (storeReply, error)) (storeReply, error) {
	reply, err := s.breaker.Execute(func() (storeReply, error) { return s.timed(ctx, call) })
	if err == nil {
		if s.failing.Load() && s.failing.Swap(false) { // a read alone, for nearly all
			s.failed(nil)
		}
		return reply, nil
	}
	skipped := errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
	left := errors.Is(err, context.Canceled)
	if skipped {
		err = safe.Text("left alone after it failed")
	}
	err = fmt.Errorf("stytchmigrate: store: %s: %s", op, Reason(err))
	if !skipped && !left {
		s.failed(err)
		s.failing.Store(true) // after it is told: a call that works meanwhile must not be told of before
	}
	return storeReply{}, err
}

// timed makes a call in a goroutine of its own, so that it is over in time
// though the store knows no context, and is an error though it never returns.
func (s *shared) timed(ctx context.Context, call func(context.Context) (storeReply, error)) (storeReply, error) {
	ctx, cancel := context.WithTimeout(ctx, s.wait)
	defer cancel()
	type outcome struct {
		reply storeReply
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		out := outcome{err: safe.Text("left by runtime.Goexit")}
		defer func() {
			if p := recover(); p != nil {
				out = outcome{err: safe.Text(fmt.Sprintf("panicked (%T)", p))}
			}
			done <- out
		}()
		out.reply, out.err = call(ctx)
	}()
	select {
	case out := <-done:
		return out.reply, out.err
	case <-ctx.Done():
		return storeReply{}, ctx.Err()
	}
}

// Reason describes a store's error without its text, which may hold keys.
func Reason(err error) string {
	var own safe.Text
	var network net.Error
	switch {
	case errors.As(err, &own):
		return string(own)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &network):
		return safe.Reason(err)
	}
	return fmt.Sprintf("failed (%T)", err)
}
