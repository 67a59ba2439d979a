package sealedstore_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/sealedstore"
)

// calls make each kind of call once, and return its error.
var calls = map[string]func(context.Context, *sealedstore.Store) error{
	"get": func(ctx context.Context, s *sealedstore.Store) error {
		v, found, err := s.Get(ctx, "k")
		return failedWith(err, found || v != nil)
	},
	"claim": func(ctx context.Context, s *sealedstore.Store) error {
		claimed, err := s.Claim(ctx, "k", "a", time.Minute)
		return failedWith(err, claimed)
	},
	"put": func(ctx context.Context, s *sealedstore.Store) error {
		stored, err := s.Put(ctx, "k", "", []byte("v"), time.Minute)
		return failedWith(err, stored)
	},
}

var errBoth = errors.New("an answer beside an error")

func failedWith(err error, answered bool) error {
	if err != nil && answered {
		return errBoth
	}
	return err
}

// Each row is a call that the Backend does not answer, and the error. It holds nothing of
// the Backend's text. The call takes timeout at most.
func TestFailures(t *testing.T) {
	for name, row := range map[string]struct {
		does func(ctx context.Context, op string) error
		want string
		took time.Duration
	}{
		"fails": {down, "failed (*errors.errorString)", 0},
		"is unreachable": {func(context.Context, string) error {
			return &net.OpError{Op: "dial", Net: "canary", Err: syscall.ECONNREFUSED}
		}, "dial: connection refused", 0},
		"panics":            {func(context.Context, string) error { panic("canary") }, "panicked (string)", 0},
		"exits":             {func(context.Context, string) error { runtime.Goexit(); return nil }, "left by runtime.Goexit", 0},
		"hangs":             {func(context.Context, string) error { time.Sleep(time.Hour); return nil }, "timed out", timeout},
		"minds its context": {func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }, "timed out", timeout},
	} {
		for op, call := range calls {
			t.Run(name+", "+op, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBackend()
					b.before = row.does
					s, told := newStore(b)
					began := time.Now()
					err := call(t.Context(), s)
					assert.Equal(t, row.took, time.Since(began))
					assert.EqualError(t, err, "stytchmigrate: store: "+op+": "+row.want)
					assert.Equal(t, []string{err.Error()}, told.lines)
					time.Sleep(2 * time.Hour) // for calls that the Store does not wait for
				})
			})
		}
	}
}

// A call that takes less than timeout is answered.
func TestSlowBackend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		b.before = func(context.Context, string) error { time.Sleep(timeout - 1); return nil }
		s, told := newStore(b)
		for _, call := range calls {
			assert.NoError(t, call(t.Context(), s))
		}
		assert.Empty(t, told.lines)
	})
}

// After three failures in a row the store is left alone for five seconds. Then one call
// tries it.
func TestBreaker(t *testing.T) {
	const failed, skipped = "stytchmigrate: store: get: failed (*errors.errorString)", "stytchmigrate: store: get: left alone after it failed"
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		s, told := newStore(b)
		up := b.before
		get := func() string {
			if err := calls["get"](t.Context(), s); err != nil {
				return err.Error()
			}
			return ""
		}
		b.before = down
		assert.Equal(t, []string{failed, failed}, []string{get(), get()})
		b.before = up
		assert.Empty(t, get(), "two in a row are not enough")
		b.before = down
		assert.Equal(t, []string{failed, failed, failed}, []string{get(), get(), get()})
		b.before = up
		made := len(b.calls)
		assert.Equal(t, skipped, get())
		time.Sleep(5 * time.Second)
		assert.Equal(t, skipped, get())
		assert.Len(t, b.calls, made, "no call was made")

		time.Sleep(time.Nanosecond)
		b.before = down
		assert.Equal(t, failed, get())
		b.before = up
		assert.Equal(t, skipped, get(), "one failure is enough now")
		time.Sleep(5*time.Second + 1)
		assert.Empty(t, get())
		assert.Empty(t, get())
		b.before = down
		assert.Equal(t, []string{failed, failed, failed, skipped}, []string{get(), get(), get(), get()}, "it counts from the start")
		assert.Equal(t, []string{failed, failed, "recovered", failed, failed, failed, failed, "recovered", failed, failed, failed}, told.lines, "what was skipped is not reported")
	})
}

// While one call tries a store that failed, others do not wait for it.
func TestBreakerTriesOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend()
		s, told := newStore(b)
		b.before = down
		for range 3 {
			s.Release(t.Context(), "k", "a")
		}
		time.Sleep(5*time.Second + 1)
		b.before = func(context.Context, string) error { time.Sleep(timeout / 2); return nil }
		go func() { assert.NoError(t, calls["get"](t.Context(), s)) }()
		synctest.Wait()
		began := time.Now()
		assert.EqualError(t, calls["put"](t.Context(), s), "stytchmigrate: store: put: left alone after it failed")
		assert.Zero(t, time.Since(began))
		time.Sleep(timeout)
		synctest.Wait()
		const failed = "stytchmigrate: store: release: failed (*errors.errorString)"
		assert.Equal(t, []string{failed, failed, failed, "recovered"}, told.lines)
	})
}

// Clients that leave say nothing about the store: they do not open the breaker, and are
// not reported.
func TestCallersThatLeave(t *testing.T) {
	b := newBackend()
	b.before = func(ctx context.Context, _ string) error { <-ctx.Done(); return ctx.Err() }
	s, told := newStore(b)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		assert.EqualError(t, calls["get"](ctx, s), "stytchmigrate: store: get: cancelled")
	}
	b.mu.Lock()
	b.before = func(context.Context, string) error { return nil }
	b.mu.Unlock()
	assert.NoError(t, calls["get"](t.Context(), s))
	assert.Empty(t, told.lines)
}

// A call works while another's failure is being reported. The recovery is reported after
// the failure.
func TestRecoveryIsReportedLast(t *testing.T) {
	b := newBackend()
	up := b.before
	b.before = down
	var told []string
	var s *sealedstore.Store
	s = sealedstore.New("key", b, time.Minute, func(err error) {
		if err == nil {
			told = append(told, "recovered")
			return
		}
		b.before = up
		assert.NoError(t, calls["get"](t.Context(), s))
		told = append(told, "failed")
	})
	assert.Error(t, calls["get"](t.Context(), s))
	assert.NoError(t, calls["get"](t.Context(), s))
	assert.Equal(t, []string{"failed", "recovered"}, told)
}

// A caller whose time is over says nothing about the store either.
func TestCallersWhoseTimeIsOverDoNotCount(t *testing.T) {
	b := newBackend()
	b.before = func(ctx context.Context, _ string) error { return ctx.Err() }
	s, told := newStore(b)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for range 3 {
		assert.Error(t, calls["get"](ctx, s))
	}
	assert.NoError(t, calls["get"](t.Context(), s), "the store is healthy")
	assert.Empty(t, told.lines)
}
