package statuspage

import (
	"math"
	"math/bits"
	"sync/atomic"
)

const (
	sketchBits = 12              // 4096 registers of one byte
	registers  = 1 << sketchBits // the standard error is 1.04/√registers
	maxRank    = 64 - sketchBits
)

// errorPercent is the standard error of an estimate. Small numbers are better
// than that: one in a hundred is hardly ever off by one.
const errorPercent = 1.6

// sketch estimates how many distinct values it was given, in memory that does not
// grow: a HyperLogLog. The zero value is empty. It is safe for concurrent use.
type sketch struct {
	words [registers / 4]atomic.Uint32 // four registers each
}

// add takes the hash of a value.
func (s *sketch) add(hash uint64) {
	i := hash >> maxRank
	rank := uint32(min(bits.LeadingZeros64(hash<<sketchBits), maxRank) + 1)
	word, shift := &s.words[i/4], 8*(i%4)
	for {
		old := word.Load()
		if old>>shift&0xff >= rank || word.CompareAndSwap(old, old&^(0xff<<shift)|rank<<shift) {
			return
		}
	}
}

// count estimates how many distinct values were added, by Ertl's estimator ("New
// cardinality estimation algorithms for HyperLogLog sketches", 2017): unlike the
// first one it has no range in which it is off to one side. His correction for
// registers that are full is left out: of a hash of 64 bits none ever is.
func (s *sketch) count() uint64 {
	var of [maxRank + 2]float64 // registers by rank
	for i := range s.words {
		for w, n := s.words[i].Load(), 0; n < 4; n++ {
			of[w>>(8*n)&0xff]++
		}
	}
	const m = float64(registers)
	z := 0.0
	for k := maxRank + 1; k >= 1; k-- {
		z = (z + of[k]) / 2
	}
	return uint64(math.Round(m * m / (2 * math.Ln2) / (z + m*sigma(of[0]/m))))
}

// sigma corrects for registers that are empty. It is +Inf where all are.
func sigma(x float64) float64 {
	y, z := 1.0, x
	for last := math.NaN(); x < 1 && z != last; y *= 2 {
		x *= x
		last, z = z, z+x*y
	}
	if x == 1 {
		return math.Inf(1)
	}
	return z
}
