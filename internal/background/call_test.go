package background_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/background"
)

var errOfWork = errors.New("of the work")

func TestCall(t *testing.T) {
	for _, tt := range []struct {
		name string
		work func() (int, error)
		want int
		err  string
	}{
		{"returns", func() (int, error) { return 7, nil }, 7, ""},
		{"fails", func() (int, error) { return 7, errOfWork }, 7, "of the work"},
		{"panics", func() (int, error) { panic("canary") }, 0, "panicked (string)"},
		{"panics with an error", func() (int, error) { panic(errOfWork) }, 0, "panicked (*errors.errorString)"},
		{"panics with nil", func() (int, error) { panic(nil) }, 0, "panicked (*runtime.PanicNilError)"},
		{"exits", func() (int, error) { runtime.Goexit(); return 7, nil }, 0, "left by runtime.Goexit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := background.Call(t.Context(), 0, tt.work)
			assert.Equal(t, tt.want, got)
			if tt.err == "" {
				assert.NoError(t, err)
			} else {
				assert.EqualError(t, err, tt.err)
			}
		})
	}
}

// Each row is work that knows no context, in a call whose context ends after a
// second and that gives the work half a second more.
func TestCallOfWorkThatKnowsNoContext(t *testing.T) {
	const limit, grace = time.Second, time.Second / 2
	for _, tt := range []struct {
		name        string
		takes, call time.Duration
		want        int
		err         error
	}{
		{"in time", limit - 1, limit - 1, 7, nil},
		{"within grace", limit + grace - 1, limit + grace - 1, 7, nil},
		{"too late", limit + grace + 1, limit + grace, 0, context.DeadlineExceeded},
		{"far too late", time.Hour, limit + grace, 0, context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				began := time.Now()
				got, err := background.Call(ctx, grace, func() (int, error) { time.Sleep(tt.takes); return 7, nil })
				assert.Equal(t, tt.call, time.Since(began))
				assert.Equal(t, tt.want, got)
				assert.Equal(t, tt.err, err)
				time.Sleep(tt.takes) // for the work to end
			})
		})
	}
}

func TestCallIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		_, err := background.Call(ctx, 0, func() (int, error) { time.Sleep(time.Hour); panic("late") })
		assert.Equal(t, context.Canceled, err)
		assert.Equal(t, time.Second, time.Since(began))
		time.Sleep(time.Hour) // the panic of the work ends no process
	})
}

func TestStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []error
		background.Start(func() (int, error) { panic("canary") }, func(_ int, err error) { got = append(got, err) })
		synctest.Wait()
		assert.Equal(t, []error{&background.Crash{PanicType: "string"}}, got)
	})
}

func TestGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := false
		background.Go(func() { ran = true; panic("canary") })
		synctest.Wait()
		assert.True(t, ran)
	})
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		background.Sleep(ctx, time.Second)
		assert.Equal(t, time.Second, time.Since(began))
		background.Sleep(ctx, time.Hour)
		assert.Equal(t, time.Minute, time.Since(began), "no longer than its context")
	})
}
