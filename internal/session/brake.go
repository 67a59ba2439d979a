package session

import (
	"context"
	"sync"
	"time"

	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/stytch"
)

const (
	maxRun     = 3                // rule 1: so many sessions in a row are not believed
	runPause   = time.Minute      // a run ends when no new session has joined it for so long,
	runLongest = 10 * time.Minute // and after this time at the latest

	window     = time.Minute // rule 2: is about what Stytch said within this time,
	minSample  = 20          // and about at least so many sessions
	maxCounted = 10_000      // sessions that are counted, of either kind

	witnessAge = 10 * time.Minute // a session in use is heard of every five minutes
	reportPace = time.Minute
)

// brake protects users from a Stytch that has lost its sessions, or that is another
// project's because the wrong keys were deployed. Such a Stytch answers "not found" for
// everyone. To believe it would sign out every user within minutes, for good.
//
// A "not found" is not believed ([ErrBrake], which is "can't tell"), if
//
//  1. it is about the third session in a row: Stytch has known no session in between
//  2. within a minute Stytch was asked about at least 20 sessions, and did not know more
//     than half of them
//
// By these rules the first two users would be signed out. So before a "not found" is
// believed, Stytch is asked about a witness: the session that it knew last. If it does
// not know the witness either, nothing is believed until it knows some session again, or
// ten minutes have passed.
//
// Only sessions are counted that something here vouches for, and that should be alive.
// So nobody can pull the brake with made-up cookies, or by logging out.
type brake struct {
	reported latch.Latch // the last report was of doubt, and not of its end

	mu sync.Mutex // guards all below

	// Rule 1. A run begins with a "not found" and ends with a session that is found.
	run        map[string]struct{} // the sessions that were not found
	runBegan   time.Time
	runGrew    time.Time // when the latest "not found" was about another session than the one before
	runLatest  string    // the session of the latest "not found"
	mistrusted bool      // the witness was not found either

	// Rule 2.
	windowBegan     time.Time
	found, notFound map[string]struct{}

	witness *Entry // the session that was found last; a new one only if there is no other
}

// ErrBrake stands in for a "no" that is not believed.
var ErrBrake = &stytch.CallError{Op: stytch.Authenticate, Reason: "Stytch suddenly knows too few of the sessions that it made: is this its project?"}

// judgeNo returns no, which is Stytch's "not found" about a session that should be
// alive. If that is not believed, it returns ErrBrake. It returns no as can't tell if
// the witness is too new to confirm it.
func (s *Sessions) judgeNo(ctx context.Context, no error, sessionID string) error {
	believed, witness := s.brake.addNotFound(sessionID)
	if believed {
		switch s.confirmsNo(ctx, witness) {
		case stytch.Yes:
			return no
		case stytch.CantTell:
			return notYet(no)
		}
	}
	if s.brake.reported.SetEvery(reportPace) {
		s.OnDoubt(ErrBrake)
	}
	return ErrBrake
}

// confirmsNo asks Stytch about the witness, if there is one. It returns No only if
// Stytch does not know the witness, and neither a logout nor the witness's age explains
// that. If its age does, nothing is known of the session that the "not found" was about:
// can't tell.
func (s *Sessions) confirmsNo(ctx context.Context, witness *Entry) stytch.Answer {
	if witness == nil || s.hasEnded(witness) || s.Tombstones.SessionEndedShared(ctx, witness.Session.ID) {
		return stytch.Yes
	}
	isNew := isNew(witness.Session.StartedAt)
	_, err := s.API.Authenticate(ctx, stytch.SessionRef{Token: witness.Session.Token, Vouched: true}, 0)
	switch stytch.AnswerOf(err) {
	case stytch.Yes:
		s.ReportAlive(witness)
	case stytch.No:
		if isNew {
			return stytch.CantTell
		}
		s.brake.loseWitness()
		return stytch.No
	}
	return stytch.Yes
}

// ReportAlive tells the brake that Stytch knows a session.
func (s *Sessions) ReportAlive(k *Entry) {
	if s.brake.addFound(k) {
		s.OnDoubt(nil)
	}
}

// addFound counts a session that Stytch knows. It reports whether that released the
// brake, which had been reported.
func (b *brake) addFound(k *Entry) (released bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	b.run, b.mistrusted = nil, false
	if w := b.witness; w == nil || !isNew(k.Session.StartedAt) || isNew(w.Session.StartedAt) || time.Since(w.VouchedAt) >= witnessAge {
		b.witness = k
	}
	count(&b.found, k.Session.ID)
	return !b.mostNotFound() && b.reported.Clear()
}

// addNotFound counts a session that should be alive and that Stytch does not know. It
// reports whether that is to be believed, and about which session, if any, Stytch is to
// be asked first.
func (b *brake) addNotFound(sessionID string) (believed bool, witness *Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	now := time.Now()
	if len(b.run) == 0 {
		b.runBegan = now
	}
	if sessionID != b.runLatest {
		b.runGrew, b.runLatest = now, sessionID
	}
	count(&b.run, sessionID)
	count(&b.notFound, sessionID)
	delete(b.found, sessionID)
	if b.mistrusted || len(b.run) >= maxRun || b.mostNotFound() {
		return false, nil
	}
	w := b.witness
	if w == nil || w.Session.ID == sessionID || now.Sub(w.VouchedAt) >= witnessAge || w.Session.ExpiresAt.Sub(now) < NearExpiry {
		return true, nil // no other session is sure to be alive
	}
	return true, w
}

// loseWitness records that Stytch does not know the witness either. The witness is not
// asked about again: it may have been logged out elsewhere.
func (b *brake) loseWitness() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.witness, b.mistrusted = nil, true
}

// mostNotFound is rule 2. The caller holds mu.
func (b *brake) mostNotFound() bool {
	return len(b.found)+len(b.notFound) >= minSample && len(b.notFound) > len(b.found)
}

// expire drops what is too old to count. The caller holds mu.
func (b *brake) expire() {
	now := time.Now()
	if now.Sub(b.windowBegan) >= window {
		b.windowBegan, b.found, b.notFound = now, nil, nil
	}
	if now.Sub(b.runGrew) >= runPause && !b.mistrusted || now.Sub(b.runBegan) >= runLongest {
		b.run, b.mistrusted = nil, false
	}
}

// count adds a session to a set, which may be nil.
func count(set *map[string]struct{}, id string) {
	if *set == nil {
		*set = map[string]struct{}{}
	}
	if len(*set) < maxCounted {
		(*set)[id] = struct{}{}
	}
}
