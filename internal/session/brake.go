package session

import (
	"context"
	"sync"
	"time"

	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/stytch"
)

const (
	brakeWindow  = time.Minute
	brakeRow     = 3                // sessions in a row
	brakeLongest = 10 * time.Minute // that a row counts, while nobody else comes
	brakeFew     = 20               // sessions of which more than half
	brakeMost    = 10_000           // sessions that are counted

	witnessAge = 10 * time.Minute // a session in use is heard of every five
)

// brake tells users who have logged out from a Stytch that no longer knows
// anybody: its data is away. It counts sessions that something vouched for, a JWT
// of ours or memory, and that should be alive, so that nobody can pull it with
// cookies made up.
type brake struct {
	mu       sync.Mutex // guards all below
	start    time.Time  // of the window
	yes, no  map[string]struct{}
	row      map[string]struct{} // sessions that are a "no", with no "yes" in between
	last     time.Time           // of a "no" that was not of the same session as the one before
	latest   string              // the session of the latest "no"
	began    time.Time           // of row
	doubt    bool                // the witness is a "no" too
	alive    *Entry              // the last "yes"
	reported latch.Latch         // the last report was of doubt, and not of its end
}

// ErrBrake stands in for a "no" that is not believed.
var ErrBrake = &stytch.CallError{Op: stytch.Authenticate, Reason: "Stytch suddenly knows too few of the sessions that it made: is this its project?"}

// believe returns the "no" that Stytch said of a session, or ErrBrake.
func (s *Sessions) believe(ctx context.Context, said error, sessionID string) error {
	believed, witness := s.brake.saidNo(sessionID)
	if believed && (witness == nil || s.hasEnded(witness) || s.Tombstones.SessionEndedShared(ctx, witness.Session.ID)) {
		return said
	}
	if believed {
		_, err := s.API.Authenticate(ctx, stytch.SessionRef{Token: witness.Session.Token, Vouched: true}, 0)
		switch stytch.AnswerOf(err) {
		case stytch.Yes:
			s.ReportAlive(witness)
			return said
		case stytch.CantTell:
			return said
		}
		s.brake.witnessGone()
	}
	if s.brake.reported.SetEvery(brakeWindow) {
		s.OnDoubt(ErrBrake)
	}
	return ErrBrake
}

// IsAlive hears that Stytch knows a session.
func (s *Sessions) ReportAlive(k *Entry) {
	if s.brake.saidYes(k) {
		s.OnDoubt(nil)
	}
}

// saidYes hears that Stytch knows a session. It reports whether that released the
// brake.
func (b *brake) saidYes(k *Entry) (released bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	b.row, b.doubt, b.alive = nil, false, k
	add(&b.yes, k.Session.ID)
	return !b.mostAreNo() && b.reported.Clear()
}

// mostAreNo is to be called with mu held.
func (b *brake) mostAreNo() bool { return len(b.yes)+len(b.no) >= brakeFew && len(b.no) > len(b.yes) }

// saidNo hears that Stytch does not know a session that should be alive. It
// reports whether that is to be believed, and which session to ask about first,
// if there is one that was alive a moment ago.
func (b *brake) saidNo(sessionID string) (believed bool, witness *Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn()
	now := time.Now()
	if len(b.row) == 0 {
		b.began = now
	}
	if sessionID != b.latest {
		b.last, b.latest = now, sessionID
	}
	add(&b.row, sessionID)
	add(&b.no, sessionID)
	delete(b.yes, sessionID)
	if b.doubt || len(b.row) >= brakeRow || b.mostAreNo() {
		return false, nil
	}
	k := b.alive
	if k == nil || k.Session.ID == sessionID || now.Sub(k.VouchedAt) >= witnessAge || k.Session.ExpiresAt.Sub(now) < NearExpiry {
		return true, nil
	}
	return true, k
}

// witnessGone hears that the witness is a "no" too. It may have been logged out
// elsewhere: it is not asked about again.
func (b *brake) witnessGone() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.alive, b.doubt = nil, true
}

// turn forgets what is older than the window.
func (b *brake) turn() {
	now := time.Now()
	if now.Sub(b.start) >= brakeWindow {
		b.start, b.yes, b.no = now, nil, nil
	}
	if now.Sub(b.last) >= brakeWindow && !b.doubt || now.Sub(b.began) >= brakeLongest {
		b.row, b.doubt = nil, false
	}
}

func add(set *map[string]struct{}, id string) {
	if *set == nil {
		*set = map[string]struct{}{}
	}
	if len(*set) < brakeMost {
		(*set)[id] = struct{}{}
	}
}
