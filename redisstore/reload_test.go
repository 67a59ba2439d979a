package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/redisstore"
)

func (f *faulty) ReloadState(context.Context) {
	f.reloads.Add(1)
	if f.reload != nil {
		f.reload()
	}
}

// Each row is what a call fails with, and whether the state of the cluster is reloaded.
func TestWhatReloadsTheState(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, row := range []struct {
		err  error
		want int64
	}{
		{refused, 1},
		{fmt.Errorf("wrapped: %w", refused), 1},
		{&net.DNSError{IsNotFound: true}, 1},
		{io.EOF, 1},
		{context.DeadlineExceeded, 1},
		{redis.ErrPoolTimeout, 1},
		{errors.New("another"), 1},
		{answer("CLUSTERDOWN Hash slot not served"), 1},
		{answer("MOVED 1 10.0.0.1:1"), 1},
		{answer("ASK 1 10.0.0.1:1"), 1},
		{answer("TRYAGAIN Multiple keys request during rehashing of slot"), 1},
		{answer("READONLY You can't write against a read only replica."), 1},
		{answer("LOADING Redis is loading the dataset in memory"), 1},
		{answer("MASTERDOWN Link with MASTER is down"), 1},
		{answer("WRONGTYPE Operation against a key holding the wrong kind of value"), 0},
		{answer("NOPERM this user has no permissions"), 0},
		{answer("OOM command not allowed"), 0},
		{answer("ERR MOVED"), 0},
		{redis.Nil, 0},
		{context.Canceled, 0},
	} {
		for op := range 4 {
			synctest.Test(t, func(t *testing.T) {
				c := &faulty{err: row.err}
				errs := []func(s *redisstore.Store){
					func(s *redisstore.Store) { _, _, _ = s.Get(t.Context(), "k") },
					func(s *redisstore.Store) { _, _ = s.Claim(t.Context(), "k", "one", time.Minute) },
					func(s *redisstore.Store) { _, _ = s.Put(t.Context(), "k", "", nil, time.Minute) },
					func(s *redisstore.Store) { _ = s.Release(t.Context(), "k", "one") },
				}
				errs[op](redisstore.New(c, ""))
				synctest.Wait()
				assert.Equal(t, row.want, c.reloads.Load(), "%v, call %d", row.err, op)
			})
		}
	}
}

// However many calls fail, there is one reload a second. One that panics or hangs holds
// up no call.
func TestReloadOnceASecond(t *testing.T) {
	for name, reload := range map[string]func(){
		"works": nil, "panics": func() { panic("a fault") }, "hangs": func() { time.Sleep(time.Minute) },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &faulty{err: io.EOF, reload: reload}
			s := redisstore.New(c, "")
			began := time.Now()
			for range 1001 {
				_, _, err := s.Get(t.Context(), "k")
				assert.ErrorIs(t, err, io.EOF)
				time.Sleep(10 * time.Millisecond)
			}
			assert.Equal(t, 10010*time.Millisecond, time.Since(began), name)
			assert.Equal(t, map[string]int64{"works": 11, "panics": 11, "hangs": 1}[name], c.reloads.Load(), name)
			time.Sleep(2 * time.Minute)
		})
	}
}

// A call that was not made says nothing about the cluster, and neither does one whose
// caller has left. A client without a state has none to reload.
func TestNoReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over, cancel := context.WithCancel(t.Context())
		cancel()
		late, cancel := context.WithDeadline(t.Context(), time.Now())
		defer cancel()
		c := &faulty{err: io.EOF}
		s := redisstore.New(c, "")
		for _, ctx := range []context.Context{over, late} {
			_, _, err := s.Get(ctx, "k")
			assert.ErrorIs(t, err, ctx.Err())
		}
		synctest.Wait()
		assert.Zero(t, c.reloads.Load())

		plain := struct{ redis.UniversalClient }{c}
		_, _, err := redisstore.New(plain, "").Get(t.Context(), "k")
		assert.ErrorIs(t, err, io.EOF)
		synctest.Wait()
		assert.Zero(t, c.reloads.Load())
	})
}
