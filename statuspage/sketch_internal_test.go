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

// A hash of zeros alone has a rank too.
func TestSketchOfTheLastRank(t *testing.T) {
	s := new(sketch)
	for i := range uint64(registers) {
		s.add(i<<maxRank | i%2)
	}
	assert.InEpsilon(t, registers*math.Pow(2, maxRank)/(2*math.Ln2)/0.75, float64(s.count()), 0.001)
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

// sigma is the series of the paper, x + Σ x^(2^k)·2^(k-1), and so is the estimate
// of a sketch of which all but some registers are empty.
func TestSigma(t *testing.T) {
	assert.True(t, math.IsInf(sigma(1), 1))
	for _, x := range []float64{0, 1e-9, 0.1, 0.5, 0.9, 4095.0 / 4096} {
		want := x
		for k := 1; k < 40; k++ {
			want += math.Pow(x, math.Pow(2, float64(k))) * math.Pow(2, float64(k-1))
		}
		assert.InDelta(t, want, sigma(x), want*1e-9, x)
	}
}

// Registers that are all of one rank are as many values as it takes for that.
func TestSketchOfOneRank(t *testing.T) {
	for rank := 1; rank <= maxRank; rank++ {
		s := new(sketch)
		for i := range uint64(registers) {
			s.add(i<<maxRank | 1<<(maxRank-rank))
			s.add(i<<maxRank | 1<<(maxRank-1)) // what is lower changes nothing
		}
		want := registers * math.Pow(2, float64(rank)) / (2 * math.Ln2)
		assert.InEpsilon(t, want, float64(s.count()), 0.001, "rank %d", rank)
	}
}

// Registers that share a word do not overwrite each other.
func TestSketchOfNeighbours(t *testing.T) {
	for round := range 500 {
		s := new(sketch)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range uint64(4) {
			wg.Go(func() {
				<-start
				for rank := 1; rank <= 20; rank++ {
					s.add(i<<maxRank | 1<<(maxRank-rank))
				}
			})
		}
		close(start)
		wg.Wait()
		if got := s.words[0].Load(); got != 0x14141414 {
			t.Fatalf("round %d: the registers are %#x", round, got)
		}
	}
}

// Requests come while both numbers are read: the second may have more in it.
func TestNoFewerThanNobodyIsToMove(t *testing.T) {
	d := new(distinct)
	d[moved].add(1)
	assert.Zero(t, d.toMove())
}
