package mistakes

import "sync/atomic"

// absentAfter is after how many requests with cookies, and without a session, the name of
// the legacy cookie is wrong.
const absentAfter = 1000

// Absence finds out that no legacy cookie comes at all. A request that carries one, of
// whatever name and value, ends the count for good. So does a live Stytch session: late in a
// migration hardly any old cookie comes, and everything is right. The zero value has ended.
// Make it with [NewAbsence]. It is safe for concurrent use.
type Absence struct {
	counts   atomic.Bool
	requests atomic.Int64
}

// NewAbsence returns an Absence. It has ended if no legacy cookie is expected.
func NewAbsence(expected bool) *Absence {
	a := new(Absence)
	a.counts.Store(expected)
	return a
}

// Counts reports whether requests are still counted. It is one read.
func (a *Absence) Counts() bool { return a.counts.Load() }

// End ends the count.
func (a *Absence) End() {
	if a.counts.Load() { // as a rule not, and a write would cost all processors
		a.counts.Store(false)
	}
}

// Other notes a request that has cookies, and neither a legacy cookie nor a live session. It
// returns true with the one that is enough.
func (a *Absence) Other() (absent bool) {
	return a.requests.Add(1) >= absentAfter && a.counts.CompareAndSwap(true, false)
}
