package background_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/background"
)

const limit = time.Minute

var errLeft = errors.New("left")

func newGroup() *background.Group[int] {
	return &background.Group[int]{Limit: limit, ErrLeft: errLeft}
}

// counter returns work that takes some time and returns how often it ran.
func counter(takes time.Duration) func(context.Context) (int, error) {
	var runs atomic.Int64
	return func(ctx context.Context) (int, error) {
		n := int(runs.Add(1))
		background.Sleep(ctx, takes)
		return n, ctx.Err()
	}
}

func TestGroupShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, work := newGroup(), counter(time.Second)
		ask := func(key string) int {
			got, err := g.Do(t.Context(), key, work)
			assert.NoError(t, err)
			return got
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { assert.Equal(t, 1, ask("a")) })
		}
		wg.Wait()
		assert.Equal(t, 2, ask("a"), "once it is over, the next call runs the work again")
		wg.Go(func() { ask("a") })
		synctest.Wait()
		assert.Equal(t, 4, ask("b"), "another key is another call")
		wg.Wait()
	})
}

func TestGroupFirstCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, work := newGroup(), counter(10*time.Second)
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), errLeft, "value"), time.Second)
		defer cancel()
		var saw any
		_, err := g.Do(ctx, "a", func(ctx context.Context) (int, error) { saw = ctx.Value(errLeft); return work(ctx) })
		assert.Equal(t, errLeft, err)
		got, err := g.Do(t.Context(), "a", work)
		assert.Equal(t, 1, got, "the call goes on")
		assert.NoError(t, err)
		assert.Equal(t, "value", saw, "with the values of the context")

		_, err = g.Do(ctx, "a", func(context.Context) (int, error) { panic("not to be run") })
		assert.Equal(t, errLeft, err, "a caller that has left already starts nothing")
	})
}

func TestGroupCrash(t *testing.T) {
	for _, tt := range []struct {
		name string
		work func(context.Context) (int, error)
		err  string
	}{
		{"fails", func(context.Context) (int, error) { return 7, errOfWork }, "of the work"},
		{"panics", func(context.Context) (int, error) { panic("canary") }, "stytchmigrate: panic in a call to Stytch (string)"},
		{"exits", func(context.Context) (int, error) { runtime.Goexit(); return 7, nil }, "stytchmigrate: a call to Stytch left by runtime.Goexit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup()
				began := time.Now()
				var wg sync.WaitGroup
				for range 10 {
					wg.Go(func() {
						got, err := g.Do(t.Context(), "a", func(ctx context.Context) (int, error) {
							time.Sleep(time.Second)
							return tt.work(ctx)
						})
						assert.Zero(t, got)
						assert.EqualError(t, err, tt.err)
					})
				}
				wg.Wait()
				assert.Equal(t, time.Second, time.Since(began))
				got, err := g.Do(t.Context(), "a", counter(0))
				assert.Equal(t, 1, got, "the key is free")
				assert.NoError(t, err)
			})
		})
	}
}

func TestGroupLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		began := time.Now()
		_, err := g.Do(t.Context(), "a", counter(time.Hour))
		assert.Equal(t, context.DeadlineExceeded, err)
		assert.Equal(t, limit, time.Since(began))
	})
}

// Work that ignores its context can't keep a key.
func TestGroupLimitOfWorkThatKnowsNoContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup()
		slow := func(d time.Duration) func(context.Context) (int, error) {
			return func(context.Context) (int, error) { time.Sleep(d); return int(d), nil }
		}
		ask := func(d time.Duration) int {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			got, err := g.Do(ctx, "a", slow(d))
			assert.NoError(t, err)
			return got
		}
		var wg sync.WaitGroup
		wg.Go(func() { assert.EqualValues(t, 2*limit, ask(2*limit)) })
		time.Sleep(limit - 1)
		wg.Go(func() { assert.EqualValues(t, 2*limit, ask(0), "shared until the limit") })
		time.Sleep(2 * time.Nanosecond)
		wg.Go(func() { assert.EqualValues(t, limit, ask(limit), "not shared after the limit") })
		time.Sleep(limit - 1)
		synctest.Wait() // the first work has ended
		wg.Go(func() { assert.EqualValues(t, limit, ask(0), "its end freed no key of another call") })
		wg.Wait()
	})
}
