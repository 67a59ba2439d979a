package exchange

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

const (
	firstPoll = 15 * time.Millisecond // while another machine has the claim
	lastPoll  = 80 * time.Millisecond

	recordFresh = 10 * time.Second // after Stytch vouched for a recorded session it is not asked about it again for so long
)

// lease is for how long a claim is valid. A job lives for 3×Timeout at most
// (Exchanger.flights), so a machine that is alive always finishes within the lease,
// and no claim has to be renewed. The claim of a machine that was killed ends by
// itself.
func (m *Exchanger) lease() time.Duration { return 4 * m.Timeout }

// patience is for how long a process waits for another machine. Most exchanges take less
// than half of the time that a request has. A process can't tell a machine that is slow
// from one that was killed: a longer wait would keep users waiting for nothing, while the
// old code can serve them.
func (m *Exchanger) patience() time.Duration { return m.Timeout / 2 }

// job is the work on one legacy session. It finds out which Stytch session that
// became, or exchanges it. It runs once for all requests of this process that wait,
// and runs no code of the application.
type job struct {
	*Exchanger
	legacy *Legacy
	in     stytch.ExchangeRequest

	owner      string        // of the claim
	unanswered []string      // owners whose Claim got no answer: it may come into force yet
	made       *sharedResult // the session that this job made, not recorded yet
	expiredID  string        // of a recorded session that has run out
}

// finding is what one step of a job found.
type finding struct {
	kind   findingKind
	result *sharedResult // of kind settled
}

type findingKind int

const (
	nothing          findingKind = iota // it is not known that the legacy session became anything
	settled                             // result is what it became, or why that can't be told
	madeNew                             // job.made is a new session, which is not recorded yet
	claimedElsewhere                    // another machine has the claim
	claimLost                           // the claim was lost before the Put
)

func settledAs(x *sharedResult) finding { return finding{settled, x} }

// attempt takes the steps of the protocol once, in order. claim_model_test.go walks
// through every order in which several machines may take them.
func (j *job) attempt(ctx context.Context) finding {
	// Look: the legacy session may have become a session before, or have ended.
	if found := j.look(ctx); found.kind != nothing {
		return found
	}
	if j.made == nil && !j.Limiter.HasRoom() { // the store need not be asked for more
		return settledAs(cantTell(ErrPace))
	}

	// Claim: of all machines one exchanges.
	if !j.claim(ctx) {
		return finding{kind: claimedElsewhere}
	}

	// Look again: another machine may have had the claim since the first look.
	found := j.lookAgain(ctx)

	// Exchange, unless an attempt before this one did and then lost its claim.
	if found.kind == nothing {
		found = j.exchange(ctx)
	}
	if found.kind == madeNew && j.userEnded(ctx) {
		j.discard(ctx)
		found = settledAs(cantTell(ErrSessionsEnded))
	}
	if found.kind != madeNew {
		j.release(ctx)
		return found
	}

	// The session is made, and the time of the job may be nearly over. What follows must
	// not fail for that: the store answers each call within a tenth of Timeout.
	ctx = context.WithoutCancel(ctx)

	// Put: without the claim nothing is stored, and another machine's session counts.
	if !j.put(ctx) {
		return finding{kind: claimLost}
	}

	// Look whether it was logged out. A logout writes its mark and then looks for a
	// record; this job wrote its record and now looks for a mark. So one sees the other.
	if j.Tombstones.LegacyEnded(ctx, j.legacy.Key) {
		return j.refuse(ctx)
	}
	return settledAs(j.made)
}

// run makes attempts until one settles what the legacy session became. Between them it
// waits for the machine that has the claim, for as long as its patience lasts.
func (j *job) run(ctx context.Context) *sharedResult {
	if x := j.knownRefusal(j.legacy.Key); x != nil { // a job has just ended
		return x
	}
	for pause := firstPoll; ctx.Err() == nil; pause = min(2*pause, lastPoll) {
		wait := pause/2 + mathrand.N(pause/2)
		switch found := j.attempt(ctx); found.kind {
		case settled:
			return found.result
		case claimedElsewhere:
			left := j.patienceLeft()
			if left <= 0 {
				j.discard(ctx)
				return cantTell(ErrClaimedElsewhere)
			}
			wait = min(wait, left)
		}
		background.Sleep(ctx, wait) // also after a lost claim: a store that loses each of them is not asked without end
	}
	j.discard(ctx)
	return cantTell(stytch.ErrNoAnswer)
}

// patienceLeft is for how long this process still waits for the machine that has the
// claim. It counts from the first request that met the claim. Requests that come when
// it is over look for a record, and do not wait.
func (j *job) patienceLeft() time.Duration {
	until, met := j.waits.Get(j.legacy.Key)
	if !met {
		until = time.Now().Add(j.patience())
		// Another machine may have claimed at the last moment of the wait. Its lease ends
		// after this.
		j.waits.Put(j.legacy.Key, until, j.patience()+j.lease())
	}
	return time.Until(until)
}

// look finds out what the legacy session became. Where there is no record it does not
// ask the store for a logout: lookAgain does.
func (j *job) look(ctx context.Context) finding {
	if j.Tombstones.LegacyEndedLocal(j.legacy.Key) {
		return j.refuse(ctx)
	}
	r := j.Records.Load(ctx, j.legacy.Key, j.legacy.ID)
	if r == nil {
		return finding{}
	}
	return j.judge(ctx, r)
}

// lookAgain is look before the exchange: that must not follow a logout.
func (j *job) lookAgain(ctx context.Context) finding {
	if j.Tombstones.LegacyEndedLocal(j.legacy.Key) {
		return j.refuse(ctx)
	}
	return j.judge(ctx, j.Records.Load(ctx, j.legacy.Key, j.legacy.ID))
}

// judge asks the store for a logout, after it was asked for the record r, which may be
// nil. A session that another machine recorded counts, and the one made here does not.
func (j *job) judge(ctx context.Context, r *records.Record) finding {
	switch {
	case j.Tombstones.LegacyEnded(ctx, j.legacy.Key):
		return j.refuse(ctx)
	case r == nil || r.Session.ID == j.expiredID:
		return finding{}
	}
	j.discard(ctx)
	return j.resume(ctx, r)
}

// resume hands out the recorded session if it is alive. One that Stytch does not know
// before its time is up was ended by somebody, and counts as logged out.
func (j *job) resume(ctx context.Context, r *records.Record) finding {
	if j.Tombstones.SessionEndedLocal(r.Session.ID) { // revoked by this package: a logout would have left a mark
		return j.expired(r)
	}
	k, err := j.Sessions.Confirm(ctx, r.Session, r.VouchedAt, recordFresh)
	switch {
	case err == nil:
		if k.VouchedAt.After(r.VouchedAt) {
			j.Records.Put(ctx, j.legacy.Key, j.legacy.ID, "", recordOf(k))
		}
		return settledAs(&sharedResult{Result: Result{Answer: stytch.Yes, Entry: k, Recorded: true}})
	case errors.Is(err, session.ErrEnded): // revoked by this package on another machine; if by a logout, the next look finds its mark
		return j.expired(r)
	case stytch.AnswerOf(err) != stytch.No:
		return settledAs(cantTell(err))
	case time.Now().After(r.Session.ExpiresAt.Add(-session.NearExpiry)):
		return j.expired(r)
	case !r.Session.User.Accepts(j.legacy.Identity): // revoked for that, perhaps, and the mark was lost
		return j.expired(r)
	}
	_ = j.Tombstones.MarkLegacy(ctx, j.legacy.Key)
	return settledAs(loggedOut())
}

// expired remembers that the recorded session is of no use. A record of another
// session, which another machine may make, still counts.
func (j *job) expired(r *records.Record) finding {
	j.expiredID = r.Session.ID
	return finding{}
}

// refuse is the finding that the legacy session was logged out.
func (j *job) refuse(ctx context.Context) finding {
	j.discard(ctx)
	return settledAs(loggedOut())
}

// claim asks for the right to exchange, and reports whether this job may go on. If the
// store can't tell, each process exchanges for itself. It does so under a new name:
// under the old one the claim may come into force at any time, also after another
// machine had the claim and used it, and the Put would replace that one's session.
func (j *job) claim(ctx context.Context) bool {
	claimed, err := j.Records.Claim(ctx, j.legacy.Key, j.owner, j.lease())
	if err == nil && !claimed && len(j.unanswered) > 0 { // this job may wait for itself
		j.releaseUnanswered(ctx)
		claimed, err = j.Records.Claim(ctx, j.legacy.Key, j.owner, j.lease())
	}
	if err != nil {
		j.unanswered = append(j.unanswered, j.owner)
		j.owner = rand.Text()
		return true
	}
	if claimed {
		j.waits.Remove(j.legacy.Key) // the claim that this process waited for has ended
	}
	return claimed
}

// release gives the claim back.
func (j *job) release(ctx context.Context) {
	j.Records.Release(ctx, j.legacy.Key, j.owner)
	j.releaseUnanswered(ctx)
}

func (j *job) releaseUnanswered(ctx context.Context) {
	for _, owner := range j.unanswered {
		j.Records.Release(ctx, j.legacy.Key, owner)
	}
}

// exchange makes a Stytch session of the legacy one, if this job has made none yet.
func (j *job) exchange(ctx context.Context) finding {
	if j.made != nil {
		return finding{kind: madeNew}
	}
	if !j.Limiter.Take() {
		return settledAs(cantTell(ErrPace))
	}
	in := j.in
	if in.Token == "" {
		ticket, err := j.Mint(j.legacy.Identity)
		if err != nil {
			return settledAs(cantTell(redact.Setting("Config.Tickets could not mint a ticket")))
		}
		in.Token = ticket
	}
	x := j.exchangeOrCreate(ctx, j.legacy.Identity, in)
	if x.Answer == stytch.Yes {
		j.made = x
		return finding{kind: madeNew}
	}
	j.remember(j.legacy.Key, x)
	return settledAs(x)
}

// userEnded reports whether all sessions of the user were ended while this job made
// another one. The legacy session itself is left alone: the user may have signed in again.
func (j *job) userEnded(ctx context.Context) bool {
	x := j.made.Entry.Session
	ctx = context.WithoutCancel(ctx)
	return j.Tombstones.UserEnded(ctx, x.UserID) || x.User.ExternalID != "" && j.Tombstones.UserEnded(ctx, x.User.ExternalID)
}

// put records the session that this job made. It returns false if the claim was lost. If
// the store can't tell, the claim stays, so that no other machine makes a second session
// before this process has put the record into the store.
func (j *job) put(ctx context.Context) bool {
	if !j.Records.Put(ctx, j.legacy.Key, j.legacy.ID, j.owner, recordOf(j.made.Entry)) {
		return false
	}
	if src := j.legacy.Source; src != nil {
		j.Records.PutSource(ctx, j.legacy.Key, *src, tombstones.TTL) // the session may be extended again and again
	}
	return true
}

// discard revokes the session that this job made, if it made one. No request has it
// yet, and none must get it.
func (j *job) discard(ctx context.Context) {
	if j.made == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), j.Timeout) // the job's own time may be over
	defer cancel()
	j.revoke(ctx, j.made.Entry.Session.ID)
	j.made = nil
}

// recordOf is the record of k as the session that a legacy session became.
func recordOf(k *session.Entry) *records.Record {
	return &records.Record{VouchedAt: k.VouchedAt, Session: k.Session}
}
