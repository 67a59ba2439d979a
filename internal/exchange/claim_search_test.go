package exchange_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/apptest/scale"
)

// claimProtocol is what job.attempt and Logout do. Four things in it are not obvious:
//   - No claim is renewed, and after the exchange there is no look before the Put. A
//     lease outlives every exchange. A claim that ran out all the same, as the process
//     stalled, is not got back, so its Put is lost, whatever happened in between.
//   - A logout may look for a record just before there is one. So it puts a mark
//     first, under a key of its own. A process that hands a session out looks for the
//     mark last, after its Put or after it read the record. Either the logout sees the
//     session, or the process sees the mark.
//   - A logout leaves the record, for a second logout to find the session in it: the
//     first may have crashed, or failed to reach Stytch.
//   - The answer that a process acts on may be older than a logout of its own. So it
//     remembers that one, and asks itself after all others.
func claimProtocol() claimRules {
	return claimRules{
		procs: 2, logouts: 1, crashes: 1, stalls: 1,
		exclusive: true, longLease: true, lookAgain: true, markIfNone: true, markIfFound: true,
		putNeedsClaim: true, heedsLoss: true, keepsOwn: true, last: true, undo: true, stop: true, undoAtStop: true, localMark: true,
		logout:      []string{claimPutMark, claimGetRecord, claimRevoke},
		everyLogout: true, leaseEnds: true,
	}
}

// The large walks are those of -full.
func TestClaimProtocol(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		procs, logouts  int
		crashes, stalls int8
		large           bool
	}{
		"two processes, nothing goes wrong":           {2, 1, 0, 0, false},
		"two processes, a crash, a stall":             {2, 1, 1, 1, false},
		"two processes, two logouts, a crash":         {2, 2, 1, 0, false},
		"two processes, all that can go wrong, twice": {2, 2, 2, 2, true},
		"three processes, a logout":                   {3, 1, 0, 0, false},
		"three processes, two logouts":                {3, 2, 0, 0, true},
		"three processes, a logout, a crash, a stall": {3, 1, 1, 1, true},
	} {
		if row.large && !scale.Full() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			m := claimProtocol()
			m.procs, m.logouts, m.crashes, m.stalls = row.procs, row.logouts, row.crashes, row.stalls
			w := m.walk()
			require.Empty(t, w.wrong, "%s", w.trace())
			t.Logf("%d states", len(w.visits))
		})
	}
}

// Each row leaves one thing out, or does it in another way, and says what comes
// of it. -v prints how.
func TestClaimProtocolNeedsAllOfIt(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(m *claimRules)
		want   string
	}{
		"a claim is anybody's":                   {func(m *claimRules) { m.exclusive, m.crashes, m.stalls = false, 0, 0 }, claimTooMany},
		"an exchange outlives the lease":         {func(m *claimRules) { m.longLease, m.crashes, m.stalls = false, 0, 0 }, claimTooMany},
		"no look after Claim":                    {func(m *claimRules) { m.lookAgain, m.crashes, m.stalls = false, 0, 0 }, claimExchanged},
		"a Put needs no claim":                   {func(m *claimRules) { m.putNeedsClaim = false }, claimReplaced},
		"a lost Put goes unnoticed":              {func(m *claimRules) { m.heedsLoss, m.stop, m.logouts, m.crashes = false, false, 0, 0 }, claimDifferent},
		"a lost Put loses the session":           {func(m *claimRules) { m.keepsOwn = false }, claimTooMany},
		"a session that loses is kept":           {func(m *claimRules) { m.undo = false }, claimLeftOver},
		"a process that stops keeps its session": {func(m *claimRules) { m.undoAtStop = false }, claimLeftOver},
		"a process that stops refuses":           {func(m *claimRules) { m.refuseAtStop = true }, claimRefusedOne},
		"nothing is looked at last":              {func(m *claimRules) { m.last = false }, claimOutlives},
		"no look for a mark before work":         {func(m *claimRules) { m.markIfNone = false }, claimExchanged},
		"no look for a mark with a record":       {func(m *claimRules) { m.markIfFound = false }, claimHandedLate},
		"the mark before the record":             {func(m *claimRules) { m.markFirst = true }, claimOutlives},
		"no mark in the process":                 {func(m *claimRules) { m.localMark = false }, claimHandedLate},
		"logout puts no mark":                    {func(m *claimRules) { m.logout = []string{claimGetRecord, claimRevoke} }, claimExchanged},
		"logout puts the mark too late":          {func(m *claimRules) { m.logout = []string{claimGetRecord, claimPutMark, claimRevoke} }, claimOutlives},
		"logout does not revoke":                 {func(m *claimRules) { m.logout = []string{claimPutMark, claimGetRecord} }, claimOutlives},
		"logout clears the record": {func(m *claimRules) {
			m.logout, m.logouts = []string{claimPutMark, claimGetRecord, claimClearRecord, claimRevoke}, 2
		}, claimOutlives},
		"a second logout stops at the mark": {func(m *claimRules) { m.everyLogout, m.logouts = false, 2 }, claimOutlives},
		"the claim of the dead has no end":  {func(m *claimRules) { m.leaseEnds, m.stalls = false, 0 }, claimStuck},
	} {
		t.Run(name, func(t *testing.T) {
			m := claimProtocol()
			row.change(&m)
			w := m.walk()
			assert.Equal(t, row.want, w.wrong)
			t.Log("\n" + w.trace())
		})
	}
}

// What is found can be read. Here it is the logout that P2's Put overtakes.
func TestClaimProtocolTrace(t *testing.T) {
	t.Parallel()
	m := claimProtocol()
	m.logout = []string{claimGetRecord, claimPutMark, claimRevoke}
	assert.Equal(t, strings.TrimSpace(`
P2 Get                         no record
P2 Get mark                    no record
P2 Claim                       no record, claim P2
P2 Get after Claim             no record, claim P2
P2 Get mark after Claim        no record, claim P2
P2 exchange                    no record, claim P2, S2 live
P1 logout: begins              no record, claim P2, S2 live
P1 logout: Get record          no record, claim P2, S2 live
P2 Put                         record S2, S2 live
P2 Get mark at last            record S2, S2 live
P2 hand out                    record S2, S2 live, P2 gave S2
P1 logout: Put mark            record S2, mark, S2 live, P2 gave S2
P1 logout: revoke              record S2, mark, S2 live, P2 gave S2
a session that was handed out outlives the logout`), m.walk().trace())
}

const (
	claimTooMany    = "more exchanges than one, and one for each crash or stall"
	claimExchanged  = "a legacy session is exchanged after its logout"
	claimReplaced   = "the session in a record is replaced"
	claimDifferent  = "two sessions are handed out"
	claimHandedLate = "a session is handed out after the logout"
	claimOutlives   = "a session that was handed out outlives the logout"
	claimRefusedOne = "a legacy session is refused that nobody logged out"
	claimLeftOver   = "a session is left alive that is not the record's"
	claimStuck      = "somebody waits for ever"
)

// wrongIn is what is wrong in a state by itself.
func (m *claimRules) wrongIn(s *claimState) string {
	if s.exchanges > 1+s.crashes+s.stalls {
		return claimTooMany
	}
	var handed int8
	complete, untouched := m.complete(s), s.logout == [claimMaxProcs]int8{}
	for p := range m.procs {
		id := s.got[p]
		switch {
		case s.at[p] != claimDone:
			continue
		case id == claimNone && untouched:
			return claimRefusedOne
		case id != claimNone && handed != claimNone && handed != id:
			return claimDifferent
		case id != claimNone && complete && s.stytch[id-1] == claimLive:
			return claimOutlives
		}
		handed = max(handed, id)
	}
	if !m.rests(s) {
		return ""
	}
	for p := range m.procs {
		if s.stytch[p] != claimLive || s.at[p] == claimCrashed {
			continue // a session lost in a crash is in nobody's hands
		}
		if complete || untouched && s.record != claimOwner(p) {
			return claimLeftOver
		}
	}
	return ""
}

// rests: nobody has anything left to do.
func (m *claimRules) rests(s *claimState) bool {
	for p := range m.procs {
		if s.at[p] < claimDone || m.loggingOut(s, p) {
			return false
		}
	}
	return true
}

const (
	claimLapses  = "its lease runs out"
	claimStalls  = "stalls, its lease runs out"
	claimCrashes = "crashes"
	claimBegins  = "logout: begins"
	claimStops   = "stops waiting"
)

// events calls yield with all that may come next.
func (m *claimRules) events(s *claimState, yield func(p int, what, wrong string, next claimState)) {
	for p := range m.procs {
		next := *s
		if s.at[p] < claimDone {
			wrong := m.step(&next, p)
			yield(p, claimSteps[s.at[p]], wrong, next)
		}
		if next = *s; m.mayStop(s, p) {
			m.stops(&next, p)
			yield(p, claimStops, "", next)
		}
		if next = *s; s.crashes < m.crashes && (s.at[p] < claimDone || m.loggingOut(s, p)) {
			m.crash(&next, p)
			yield(p, claimCrashes, "", next)
		}
	}
	for p := range m.logouts {
		if next := *s; s.at[p] != claimCrashed && (s.logout[p] == 0 || m.loggingOut(s, p)) {
			what := claimBegins
			if s.logout[p] > 0 {
				what = "logout: " + m.logout[s.logout[p]-1]
			}
			m.stepLogout(&next, p)
			yield(p, what, "", next)
		}
	}
	if may, stall := m.mayLapse(s); may {
		next, what := *s, claimLapses
		next.claim = claimNone
		if stall {
			next.stalls++
			what = claimStalls
		}
		yield(int(s.claim)-1, what, "", next)
	}
}

// claimWalk is a visit to every state, nearest first: what it finds wrong it finds
// by the shortest way.
type claimWalk struct {
	visits []claimEvent
	seen   map[claimState]int32
	edges  [][2]int32 // without faults, logouts that begin, and waits that stop: no process may need one to get on
	wrong  string
	end    claimEvent // the event that made it wrong
}

type claimEvent struct {
	state claimState
	from  int32
	proc  int
	what  string
}

func (m *claimRules) walk() *claimWalk {
	w := &claimWalk{seen: map[claimState]int32{}}
	w.add(claimEvent{from: -1})
	for i := 0; i < len(w.visits) && w.wrong == ""; i++ {
		s := w.visits[i].state
		m.events(&s, func(p int, what, wrong string, next claimState) {
			v := claimEvent{next, int32(i), p, what}
			to := w.add(v)
			if what != claimCrashes && what != claimStalls && what != claimBegins && what != claimStops {
				w.edges = append(w.edges, [2]int32{int32(i), to})
			}
			if wrong == "" {
				wrong = m.wrongIn(&next)
			}
			if w.wrong == "" && wrong != "" {
				w.wrong, w.end = wrong, v
			}
		})
	}
	if w.wrong == "" {
		w.findStuck(m)
	}
	return w
}

func (w *claimWalk) add(v claimEvent) int32 {
	i, ok := w.seen[v.state]
	if !ok {
		i = int32(len(w.visits))
		w.seen[v.state] = i
		w.visits = append(w.visits, v)
	}
	return i
}

// findStuck looks for a state from which there is no way to one of rest, from
// the states of rest backwards.
func (w *claimWalk) findStuck(m *claimRules) {
	ends := make([]bool, len(w.visits))
	for i := range w.visits {
		ends[i] = m.rests(&w.visits[i].state)
	}
	for more := true; more; {
		more = false
		for _, e := range slices.Backward(w.edges) {
			if ends[e[1]] && !ends[e[0]] {
				ends[e[0]], more = true, true
			}
		}
	}
	if i := slices.Index(ends, false); i >= 0 {
		w.wrong, w.end = claimStuck, w.visits[i]
	}
}

// trace tells how it came to what is wrong, an event and its state a line.
func (w *claimWalk) trace() string {
	lines := []string{w.wrong}
	for v := w.end; v.what != ""; v = w.visits[v.from] {
		lines = append(lines, fmt.Sprintf("%s %-26s  %s", claimProcesses[v.proc+1], v.what, &v.state))
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

func (s *claimState) String() string {
	text := []string{"no record"}
	if s.record != claimNone {
		text[0] = "record " + claimSessions[s.record]
	}
	if s.mark {
		text = append(text, "mark")
	}
	if s.claim != claimNone {
		text = append(text, "claim "+claimProcesses[s.claim])
	}
	for p := range claimMaxProcs {
		if l := s.stytch[p]; l != claimUnborn {
			text = append(text, claimSessions[p+1]+[...]string{"", " live", " revoked"}[l])
		}
		if s.at[p] == claimDone {
			text = append(text, claimProcesses[p+1]+" gave "+cmp.Or(claimSessions[s.got[p]], "nothing"))
		}
	}
	return strings.Join(text, ", ")
}
