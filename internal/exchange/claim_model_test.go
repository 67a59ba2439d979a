package exchange_test

import "slices"

// This is how processes that share a Store turn one legacy session into one
// Stytch session, and how a logout ends it. It is a model of job.attempt and of
// Logout, small enough to be walked through in every order of events.
// claim_search_test.go walks it, and says what must hold.
//
// A step is one question, to the store or to Stytch, and all that its process
// does by itself until the next. There is no clock: a lease runs out when it may,
// at the worst moment too. A process that meets a claim may stop waiting each time.
// No process asks Stytch whether a session that is in the store is alive: the store
// alone has to be enough. Sessions don't run out, the store answers, and a process
// goes on when nothing it asked is under way.

const claimMaxProcs = 3

// The session of process p is p+1, and so is p as the owner of a claim.
const claimNone int8 = 0

func claimOwner(p int) int8 { return int8(p + 1) }

var (
	claimSessions  = []string{"", "S1", "S2", "S3"}
	claimProcesses = []string{"", "P1", "P2", "P3"}
)

// claimState is all of it, comparable, so that it is its own hash key.
type claimState struct {
	record int8 // the session in the store, under the legacy session's key
	mark   bool // under a key of its own: the legacy session was logged out
	claim  int8 // who owns the claim on the record's key

	stytch [claimMaxProcs]claimLife // of each process's session
	at     [claimMaxProcs]claimPlace
	got    [claimMaxProcs]int8 // the session that a process hands out, or has handed out
	after  [claimMaxProcs]bool // it asked for the mark last after some logout had returned

	logout  [claimMaxProcs]int8 // of each process's logout: 0 not begun, else its next operation from 1
	learned [claimMaxProcs]int8 // the session that it is to revoke

	exchanges, crashes, stalls int8
}

type claimLife int8

const (
	claimUnborn claimLife = iota
	claimLive
	claimRevoked
)

// claimPlace is what a process does next. A look is two questions.
type claimPlace int8

const (
	toLook          claimPlace = iota // Get the record
	toLookMark                        // Get the mark
	toClaim                           // Claim
	toLookAgain                       // for somebody may have Put between that look and the Claim
	toLookAgainMark                   //
	toAsk                             // the exchange; it takes time, and less than a lease
	toPut                             // Put that session
	toLookLast                        // Get the mark
	toUndoInWork                      // revoke its own session, and then
	toRelease                         // Release
	toUndo                            // revoke its own session
	toUndoAndStop                     // revoke its own session, and wait no longer
	toHand                            // hand it out
	claimDone
	claimCrashed
	claimStopped // waited for long enough: the old code serves the user
)

var claimSteps = [...]string{"Get", "Get mark", "Claim", "Get after Claim", "Get mark after Claim", "exchange",
	"Put", "Get mark at last", "revoke its own", "Release", "revoke its own", "revoke its own", "hand out"}

// claimRules are what can be left out, or done in another order.
type claimRules struct {
	procs, logouts  int
	crashes, stalls int8 // how many there may be; in a stall a lease runs out under a live process

	exclusive     bool     // a claim is one process's
	longLease     bool     // a lease outlives an exchange
	lookAgain     bool     // between Claim and exchange
	markIfNone    bool     // the look before the exchange asks for the mark though it found no record
	markIfFound   bool     // a look that finds one does
	markFirst     bool     // it does so before it asks for the record
	putNeedsClaim bool     // a lost claim loses its Put
	heedsLoss     bool     // and that is noticed
	keepsOwn      bool     // and its session is kept for another
	last          bool     // the mark is looked at after the Put
	undo          bool     // a session that loses is revoked
	stop          bool     // a process may stop waiting for a claim
	undoAtStop    bool     // it revokes its own session then
	refuseAtStop  bool     // and counts the legacy session as logged out
	localMark     bool     // a process remembers a logout of its own
	logout        []string // its operations, in order
	everyLogout   bool     // a second one does them too
	leaseEnds     bool
}

// step is what process p does next. It is one thing, for all that is not up to
// p is in events. wrong is what must not happen on the way.
func (m *claimRules) step(s *claimState, p int) (wrong string) {
	switch s.at[p] {
	case toLook, toLookAgain:
		if m.get(s, p, m.markFirst) {
			m.next(s, p, s.at[p]+1)
		}
	case toLookMark, toLookAgainMark:
		if m.get(s, p, !m.markFirst) {
			return m.looked(s, p)
		}
	case toClaim:
		switch {
		case !m.claims(s, p):
			m.next(s, p, toLook) // and waits
		case m.lookAgain:
			m.next(s, p, toLookAgain)
		default:
			return m.work(s, p)
		}
	case toAsk:
		if s.stytch[p] == claimLive {
			wrong = claimTooMany // whatever went wrong before: one was at hand
		}
		s.exchanges++
		s.stytch[p] = claimLive
		s.at[p] = toPut
	case toPut:
		return m.put(s, p)
	default:
		return m.stepOut(s, p)
	}
	return wrong
}

// stepOut is step, once the process has no more to find out but the mark.
func (m *claimRules) stepOut(s *claimState, p int) (wrong string) {
	switch s.at[p] {
	case toLookLast:
		if s.after[p] = m.complete(s); s.mark {
			s.got[p] = claimNone
			m.leave(s, p)
		} else {
			s.at[p] = toHand
		}
	case toUndoInWork:
		s.stytch[p] = claimRevoked
		s.at[p] = toRelease
	case toRelease:
		if s.claim == claimOwner(p) {
			s.claim = claimNone
		}
		m.finish(s, p)
	case toUndo:
		s.stytch[p] = claimRevoked
		m.finish(s, p)
	case toUndoAndStop:
		s.stytch[p] = claimRevoked
		m.stopped(s, p)
	case toHand:
		if m.localMark && s.logout[p] != 0 {
			s.got[p] = claimNone
		}
		// An answer that another process had before the logout it may still act on:
		// no protocol reaches it. What it hands out must be dead.
		if late := s.after[p] || m.ended(s, p); late && s.got[p] != claimNone {
			wrong = claimHandedLate
		}
		s.at[p], s.after[p] = claimDone, false
	}
	return wrong
}

// get is one question of a look, for the mark or for the record. It returns
// whether p goes on.
func (m *claimRules) get(s *claimState, p int, mark bool) bool {
	if !mark {
		s.got[p] = s.record
		return true
	}
	s.after[p] = m.complete(s)
	if s.mark && (m.markFirst || m.markIfNone && s.got[p] == claimNone && s.at[p] == toLookAgainMark || m.markIfFound && s.got[p] != claimNone) {
		s.got[p] = claimNone
		m.leave(s, p)
		return false
	}
	return true
}

// looked follows a look that found no mark.
func (m *claimRules) looked(s *claimState, p int) (wrong string) {
	switch {
	case s.got[p] != claimNone:
		m.leave(s, p)
	case s.at[p] == toLookMark:
		s.at[p] = toClaim
	default:
		return m.work(s, p)
	}
	return ""
}

// work begins the exchange. A session of its own, whose Put was lost, p keeps.
func (m *claimRules) work(s *claimState, p int) (wrong string) {
	if s.at[p] = toPut; s.stytch[p] == claimUnborn || !m.keepsOwn {
		if s.at[p] = toAsk; s.after[p] {
			return claimExchanged
		}
	}
	return ""
}

func (m *claimRules) put(s *claimState, p int) (wrong string) {
	lost := m.putNeedsClaim && s.claim != claimOwner(p)
	if lost && m.heedsLoss {
		m.next(s, p, toLook)
		return ""
	}
	if !lost {
		if s.record != claimNone {
			wrong = claimReplaced
		}
		s.record, s.claim = claimOwner(p), claimNone
	}
	s.got[p], s.at[p] = claimOwner(p), toHand
	if m.last {
		m.next(s, p, toLookLast)
	}
	return wrong
}

// next takes p to a look, if no logout of its own began. A session that such a
// logout takes back does not count as an exchange: until the mark is in the store,
// whoever has the claim next can't know.
func (m *claimRules) next(s *claimState, p int, to claimPlace) {
	if s.at[p] = to; m.localMark && s.logout[p] != 0 {
		if s.stytch[p] == claimLive && !s.mark && s.record == claimNone {
			s.exchanges--
		}
		s.got[p] = claimNone
		m.leave(s, p)
	}
}

// leave is the way out: p knows what to hand out, or that it is nothing.
func (m *claimRules) leave(s *claimState, p int) {
	inWork := s.at[p] == toLookAgain || s.at[p] == toLookAgainMark
	undo := m.undo && s.stytch[p] == claimLive
	switch {
	case undo && inWork:
		s.at[p] = toUndoInWork
	case undo:
		s.at[p] = toUndo
	case inWork:
		s.at[p] = toRelease
	default:
		m.finish(s, p)
	}
}

func (m *claimRules) finish(s *claimState, p int) {
	if s.at[p] = toHand; s.got[p] == claimNone {
		s.at[p], s.after[p] = claimDone, false // refused
	}
}

// claims is Claim.
func (m *claimRules) claims(s *claimState, p int) bool {
	if s.claim == claimNone || !m.exclusive {
		s.claim = claimOwner(p)
	}
	return s.claim == claimOwner(p)
}

// Operations of a logout.
const (
	claimPutMark     = "Put mark"
	claimGetRecord   = "Get record"
	claimClearRecord = "clear record"
	claimRevoke      = "revoke"
)

// stepLogout is the next operation of the logout on process p. To begin it marks
// that process.
func (m *claimRules) stepLogout(s *claimState, p int) {
	if s.logout[p]++; s.logout[p] == 1 {
		return
	}
	switch m.logout[s.logout[p]-2] {
	case claimPutMark:
		if s.mark && !m.everyLogout {
			s.logout[p] = int8(len(m.logout)) + 1
		}
		s.mark = true
	case claimGetRecord:
		s.learned[p] = s.record
	case claimClearRecord:
		s.record = claimNone
	case claimRevoke:
		if id := s.learned[p]; id != claimNone {
			s.stytch[id-1] = claimRevoked
		}
	}
	if m.ended(s, p) {
		s.learned[p] = claimNone
	}
}

// ended: the logout on process p has returned. complete: some logout has.
func (m *claimRules) ended(s *claimState, p int) bool { return s.logout[p] > int8(len(m.logout)) }
func (m *claimRules) complete(s *claimState) bool {
	return slices.Max(s.logout[:]) > int8(len(m.logout))
}
func (m *claimRules) loggingOut(s *claimState, p int) bool {
	return s.logout[p] > 0 && !m.ended(s, p)
}
