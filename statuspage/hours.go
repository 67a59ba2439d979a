package statuspage

import (
	"sync/atomic"
	"time"

	"example.com/stytchmigrate"
)

// shownHours is how far back the chart goes.
const shownHours = 24

// fates are what can become of a legacy session. It may meet more than one.
const (
	seen = iota
	migrated
	left // alone, for now
	refused
	unavailable
	moved // here, or it came beside a Stytch session
	fates
)

// distinct counts legacy sessions, each once, by what became of them.
type distinct [fates]sketch

func (d *distinct) add(o stytchmigrate.Outcome, hash uint64) {
	d[seen].add(hash)
	switch o {
	case stytchmigrate.OutcomeAuthenticated:
		d[moved].add(hash)
	case stytchmigrate.OutcomeMigrated:
		d[migrated].add(hash)
		d[moved].add(hash)
	case stytchmigrate.OutcomeLegacy:
		d[left].add(hash)
	case stytchmigrate.OutcomeRefused:
		d[refused].add(hash)
	case stytchmigrate.OutcomeUnavailable:
		d[unavailable].add(hash)
	}
}

// hour is what came in one hour of the clock.
type hour struct {
	n        int64 // since 1970
	requests atomic.Uint64
	distinct distinct
}

// hours holds the last ones. Its zero value is empty. An hour is put in the place
// of the one a day before as a whole, so that nobody reads half of each; what is
// added to the old one at that moment is not missed.
type hours [shownHours]atomic.Pointer[hour]

// at returns the hour that a time is in. Whatever else is in its place gives way:
// where the clock was set back, an hour of the future must not stay there until
// that has come.
func (h *hours) at(t time.Time) *hour {
	n := hourOf(t)
	place := &h[n%shownHours]
	for {
		old := place.Load()
		if old != nil && old.n == n {
			return old
		}
		if fresh := (&hour{n: n}); place.CompareAndSwap(old, fresh) {
			return fresh
		}
	}
}

// last returns the hours up to the one that t is in, the oldest first; nil is one
// in which nothing came.
func (h *hours) last(t time.Time) (from time.Time, list [shownHours]*hour) {
	first := hourOf(t) - shownHours + 1
	for i := range list {
		n := first + int64(i)
		if x := h[n%shownHours].Load(); x != nil && x.n == n {
			list[i] = x
		}
	}
	return time.Unix(first*3600, 0).UTC(), list
}

func hourOf(t time.Time) int64 { return t.Unix() / 3600 }
