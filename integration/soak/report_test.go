package soak

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// tell says that something went wrong; of too much, that it did.
func (s *soak) tell(what, why string, v *visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tally[what]++; s.tally[what] <= 5 {
		s.wrong = append(s.wrong, fmt.Sprintf("%s: %s: %v", what, why, v))
	} else if s.stop != nil {
		s.stop()
	}
}

func (s *soak) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally[what]++
}

// served counts a visit.
func (s *soak) served(v *visit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outcomes[v.path]++
	s.outcomes[v.outcome.String()]++
	s.took[min(int(v.decided.Sub(v.sent)/time.Millisecond), len(s.took)-1)]++
}

// report prints the figures, and fails for what went wrong.
func (s *soak) report(t *testing.T) {
	calls := counts{}
	for i, m := range s.machines {
		m.mu.Lock()
		for op, most := range bounds {
			assert.LessOrEqual(t, m.peak[op], most, "%s in flight at machine %d", op, i)
			assert.Zero(t, m.now[op], "%s in flight at last", op)
			calls[op] += m.calls[op]
			calls[op+" in flight at most"] = max(calls[op+" in flight at most"], m.peak[op])
		}
		m.mu.Unlock()
	}
	for op := range bounds {
		assert.NotZero(t, calls[op], "%s was never called", op)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, wrong := range s.wrong {
		t.Error(wrong)
	}
	t.Logf("requests: %v", s.outcomes)
	t.Logf("calls: %v", calls)
	t.Logf("exchanged sessions: %d", len(s.stytch.Sessions()))
	t.Logf("faults: %v", s.faults)
	t.Logf("events: %v", s.events)
	t.Logf("crossings %d, lost %d, came back %d of %d that were judged, slow %d",
		s.tally["crossing"], s.tally["lost"], s.tally["came back"], s.tally["ghosts judged"], s.tally["slow"])
	t.Logf("all that was judged or not: %v", s.tally)
	t.Logf("answered within: p50 %v, p99 %v, max %v; a timer was late by %v at most",
		s.within(0.5), s.within(0.99), s.within(1), time.Duration(s.late.Load()))
}

// within is a quantile of the times that visits took, the handler not included.
func (s *soak) within(q float64) time.Duration {
	all, seen := 0, 0
	for _, n := range s.took {
		all += n
	}
	for ms, n := range s.took {
		if seen += n; n > 0 && float64(seen) >= q*float64(all) {
			return time.Duration(ms+1) * time.Millisecond
		}
	}
	return 0
}
