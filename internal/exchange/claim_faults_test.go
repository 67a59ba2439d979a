package exchange_test

// What may come between the steps of the model: a process stops waiting, crashes, or
// stalls until its lease has run out.

// mayStop: p meets the claim of another process, and need not wait for it.
func (m *claimRules) mayStop(s *claimState, p int) bool {
	return m.stop && s.at[p] == toClaim && s.claim != claimNone && s.claim != claimOwner(p)
}

// stops ends the wait of p for a claim.
func (m *claimRules) stops(s *claimState, p int) {
	if m.undoAtStop && s.stytch[p] == claimLive {
		s.at[p] = toUndoAndStop
		return
	}
	m.stopped(s, p)
}

func (m *claimRules) stopped(s *claimState, p int) {
	if s.at[p], s.got[p], s.after[p] = claimStopped, claimNone, false; m.refuseAtStop {
		s.at[p] = claimDone
	}
}

// crash stops process p, and the logout on it. What it handed out stays so.
func (m *claimRules) crash(s *claimState, p int) {
	s.crashes++
	if s.at[p] != claimDone {
		s.at[p], s.got[p], s.after[p] = claimCrashed, claimNone, false
	}
	if m.loggingOut(s, p) {
		s.logout[p], s.learned[p] = -1, claimNone
	}
}

// mayLapse says whether the lease on the claim may run out, and whether that
// takes a stall: its owner lives, and would have been done in time.
func (m *claimRules) mayLapse(s *claimState) (may, stall bool) {
	if s.claim == claimNone || !m.leaseEnds {
		return false, false
	}
	at := s.at[s.claim-1]
	stall = at < claimDone && (m.longLease || at != toAsk)
	return !stall || s.stalls < m.stalls, stall
}
