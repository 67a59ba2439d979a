package vanished_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/vanished"
)

// Each row is how many sessions vanish, how long after one another, and how many of these
// were logouts.
func TestSeveralAtOnce(t *testing.T) {
	for _, row := range []struct {
		sessions int
		apart    time.Duration
		logouts  int
	}{
		{1, 0, 1}, {2, 0, 2}, {3, 0, 0}, {100, 0, 0},
		{3, 200 * time.Millisecond, 1}, // the first has been judged
		{3, 2 * time.Second, 3}, {100, 2 * time.Second, 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			var s vanished.Sessions
			var mu sync.Mutex
			var all sync.WaitGroup
			logouts := 0
			for i := range row.sessions {
				all.Go(func() {
					if s.IsLogout(t.Context(), fmt.Sprint(i), func() bool { return true }) {
						mu.Lock()
						defer mu.Unlock()
						logouts++
					}
				})
				time.Sleep(row.apart)
			}
			all.Wait()
			assert.Equal(t, row.logouts, logouts, row)
		})
	}
}

// One session that several requests find gone is one.
func TestOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s vanished.Sessions
		for range 5 {
			assert.True(t, s.IsLogout(t.Context(), "a", func() bool { return true }))
		}
	})
}

func TestComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s vanished.Sessions
		asked := 0
		assert.False(t, s.IsLogout(t.Context(), "a", func() bool { asked++; return asked == 1 }))
		assert.Equal(t, 2, asked)
		assert.False(t, s.IsLogout(t.Context(), "a", func() bool { asked++; return false }))
		assert.Equal(t, 3, asked)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.False(t, s.IsLogout(ctx, "a", func() bool { return true }), "no time is left")
	})
}

// A session that was given another id is no session under the old one, for a minute. The
// new id may be set while the old one is looked at.
func TestRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s vanished.Sessions
		gone := func() bool { return true }
		s.Renew("a")
		for range 5 {
			assert.False(t, s.IsLogout(t.Context(), "a", gone))
		}
		assert.True(t, s.IsLogout(t.Context(), "b", gone))
		asked := 0
		assert.False(t, s.IsLogout(t.Context(), "c", func() bool {
			if asked++; asked == 2 {
				s.Renew("c")
			}
			return true
		}))
		time.Sleep(time.Minute)
		assert.True(t, s.IsLogout(t.Context(), "a", gone))
	})
}

// Sessions that were given another id are not among those that vanish at once.
func TestRenewedAreNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s vanished.Sessions
		gone := func() bool { return true }
		for i := range 20 {
			s.Renew(fmt.Sprint(i))
			assert.False(t, s.IsLogout(t.Context(), fmt.Sprint(i), gone))
		}
		assert.True(t, s.IsLogout(t.Context(), "a", gone))
	})
}

// Two sessions vanish, and a third one so long after them. It is judged a quarter of a
// second later, when the two count no more after two seconds.
func TestThirdAtTheEndOfTheWindow(t *testing.T) {
	for after, want := range map[time.Duration]bool{1749 * time.Millisecond: false, 1750 * time.Millisecond: true} {
		synctest.Test(t, func(t *testing.T) {
			var s vanished.Sessions
			var all sync.WaitGroup
			gone := func() bool { return true }
			for _, key := range []string{"a", "b"} {
				all.Go(func() { assert.True(t, s.IsLogout(t.Context(), key, gone)) })
			}
			time.Sleep(after)
			assert.Equal(t, want, s.IsLogout(t.Context(), "c", gone), after)
			all.Wait()
		})
	}
}
