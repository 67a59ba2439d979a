package statuspage

import "hash/maphash"

// NewApart is New, of which small numbers are exact: no two fingerprints of one
// lower case letter fall into the same register.
func NewApart(o Options) *Page {
	for {
		p, taken := New(o), map[uint64]bool{}
		for letter := 'a'; letter <= 'z'; letter++ {
			taken[maphash.String(p.seed, string(letter))>>maxRank] = true
		}
		if len(taken) == 26 {
			return p
		}
	}
}
