package statuspage

import (
	"hash/maphash"
	"math"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
)

// fill adds n values, each twice, from four goroutines.
func fill(s *sketch, n int) {
	seed := maphash.MakeSeed()
	var wg sync.WaitGroup
	for part := range 4 {
		wg.Go(func() {
			for i := part / 2; i < n; i += 2 {
				s.add(maphash.String(seed, strconv.Itoa(i)))
			}
		})
	}
	wg.Wait()
}

func TestSketchCounts(t *testing.T) {
	for _, n := range []int{0, 1, 2, 10, 100, 1_000, 10_000, 20_000, 100_000, 500_000} {
		s := new(sketch)
		fill(s, n)
		off := math.Abs(float64(s.count()) - float64(n))
		// Five standard errors: the seeds differ from run to run. Two that fall
		// together in a register that is otherwise empty are one.
		assert.LessOrEqual(t, off, math.Max(3, float64(n)*5*errorPercent/100), "%d were counted as %d", n, s.count())
		if n < 2 {
			assert.EqualValues(t, n, s.count())
		}
	}
}

// Registers at their limits are no numbers without end.
func TestSketchAtItsLimits(t *testing.T) {
	s := new(sketch)
	for i := range uint64(registers) {
		s.add(i << maxRank) // as many leading zeros as there can be
	}
	assert.Positive(t, s.count())
	for range 2 {
		s.add(math.MaxUint64)
	}
	assert.Positive(t, s.count())
}
