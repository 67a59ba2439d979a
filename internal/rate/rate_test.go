package rate_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/rate"
)

// Each row is a pace, and how many of many begin in some seconds of traffic without a
// pause.
func TestTake(t *testing.T) {
	for _, row := range []struct {
		perSecond float64
		seconds   int
		traffic   int // in a second
		want      int
	}{
		{0.1, 20, 100, 2}, {0.5, 4, 100, 2}, {1, 3, 100, 3}, {1.9, 3, 100, 3}, {2, 3, 100, 6}, {20, 2, 100, 40}, {1e300, 1, 100, 100},
		{0, 1, 100, 100}, {1100, 1, 1200, 1100}, {999.9, 2, 3000, 1998}, {5000, 1, 20_000, 5000},
	} {
		t.Run(fmt.Sprint(row.perSecond), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var p rate.Limiter
				var began []time.Time
				for range row.seconds * row.traffic {
					if p.Take(row.perSecond) {
						began = append(began, time.Now())
					}
					time.Sleep(time.Second / time.Duration(row.traffic))
				}
				assert.Len(t, began, row.want)
				from := 0
				for to := range began {
					for began[to].Sub(began[from]) >= time.Second {
						from++
					}
					if row.perSecond >= 1 && float64(to-from+1) > row.perSecond {
						t.Fatalf("%d began in one second", to-from+1)
					}
				}
			})
		})
	}
}

// One that was not begun after all leaves room for the next, and a look takes none.
func TestGiveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p rate.Limiter
		p.Return() // of nothing
		assert.True(t, p.HasRoom(1))
		assert.True(t, p.Take(1))
		assert.False(t, p.HasRoom(1))
		assert.False(t, p.Take(1))
		p.Return()
		assert.True(t, p.Take(1))
		time.Sleep(time.Second - 1)
		assert.False(t, p.Take(1))
		time.Sleep(time.Nanosecond)
		assert.True(t, p.Take(1))
	})
}
