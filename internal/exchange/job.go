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

	recordFresh = 10 * time.Second // a record of which Stytch need not be asked
)

// settling is the work on one legacy session: finding out what it became, or
// making it become something. It runs once for all requests of this process that
// wait, and runs no code of the application.
type job struct {
	*Exchanger
	legacy    *Legacy
	in        stytch.ExchangeRequest
	owner     string          // of the claim
	made      *records.Record // made here, and not remembered yet
	result    *Result         // that it is to become
	expiredID string          // the id of a recorded session that has run out
}

// run looks what became of the legacy session, claims it if nothing did, and
// waits while another machine has the claim.
func (t *job) run(ctx context.Context) *Result {
	if x := t.refused(t.legacy.Key); x != nil { // a call has just ended
		return x
	}
	for pause := firstPoll; ctx.Err() == nil; pause = min(2*pause, lastPoll) {
		if x := t.lookUp(ctx, false); x != nil {
			return x
		}
		if t.made == nil && !t.Limiter.HasRoom() { // and the store need not be asked for more
			return &Result{Err: ErrPace}
		}
		claimed, err := t.Records.Claim(ctx, t.legacy.Key, t.owner)
		switch {
		case err != nil: // then each process exchanges for itself
			t.newOwner()
		case !claimed:
			background.Sleep(ctx, pause/2+mathrand.N(pause/2))
			continue
		}
		if x := t.exchangeClaimed(ctx); x != nil {
			return x
		}
		background.Sleep(ctx, pause/2+mathrand.N(pause/2)) // a store that loses claims is not asked without end
	}
	t.discard(ctx)
	return &Result{Err: stytch.ErrNoAnswer}
}

// look returns what became of the legacy session, nil if nothing did. A session
// that another machine remembered counts, and one made here meanwhile does not.
// The last look before the exchange asks whether it ended, though there is no
// record: the one after it need not, for that is asked after the Put.
func (t *job) lookUp(ctx context.Context, last bool) *Result {
	r, ended := t.find(ctx, last)
	switch {
	case ended:
		t.discard(ctx)
		return loggedOut()
	case r == nil || r.Session.ID == t.expiredID:
		return nil
	}
	t.discard(ctx)
	x := t.resume(ctx, r)
	if x == nil {
		t.expiredID = r.Session.ID
	}
	return x
}

// find returns the record of the legacy session, that it ended, or neither. Where
// there is no record, the store is asked only at last whether it ended.
func (t *job) find(ctx context.Context, last bool) (r *records.Record, ended bool) {
	if t.Tombstones.LegacyEndedLocal(t.legacy.Key) {
		return nil, true
	}
	if r = t.Records.Load(ctx, t.legacy.Key, t.legacy.ID); r == nil && !last {
		return nil, false
	}
	return r, t.Tombstones.LegacyEnded(ctx, t.legacy.Key)
}

// work exchanges the legacy session. The claim is ours, so nobody else does;
// but somebody may have had it a moment ago. nil: it was lost meanwhile. The last
// look is for a claim that was lost, used by another machine, and got back by a
// renewal: between it and put there must be no claim of ours.
func (t *job) exchangeClaimed(ctx context.Context) *Result {
	x := t.lookUp(ctx, true)
	if x == nil && t.made == nil && !t.Limiter.Take() {
		x = &Result{Err: ErrPace}
	}
	if x == nil && t.made == nil {
		stop := t.Records.Hold(ctx, t.legacy.Key, t.owner)
		x = t.makeSession(ctx)
		sure := stop()
		if x == nil && !sure {
			t.Records.Release(ctx, t.legacy.Key, t.owner)
			t.newOwner()
			return nil
		}
		if x == nil {
			x = t.lookUp(ctx, false)
		}
	}
	if x != nil {
		t.Records.Release(ctx, t.legacy.Key, t.owner)
		return x
	}
	if !t.Records.Put(ctx, t.legacy.Key, t.legacy.ID, t.owner, t.made) {
		return nil
	}
	if src := t.legacy.Source; src != nil {
		t.Records.PutSource(ctx, t.legacy.Key, *src, tombstones.TTL) // the session may be extended again and again
	}
	if t.Tombstones.LegacyEnded(ctx, t.legacy.Key) { // logged out in the meantime
		t.discard(ctx)
		return loggedOut()
	}
	return t.result
}

// rename is for when the store did not answer a Claim. Under the old name it may
// come into force at any time, after another machine had the claim and used it.
func (t *job) newOwner() { t.owner = rand.Text() }

// discard revokes the session that was made here, if there is one: it is in
// nobody's hands yet, and must not get there.
func (t *job) discard(ctx context.Context) {
	if t.made == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Timeout) // that of the flight may be over
	defer cancel()
	t.revoke(ctx, t.made.Session.ID)
	t.made = nil
}

// resume returns the recorded session if it is alive, nil if it has run out. One
// that is gone before its time was ended by somebody, and stays ended.
func (t *job) resume(ctx context.Context, r *records.Record) *Result {
	if t.Tombstones.SessionEndedLocal(r.Session.ID) {
		return nil // revoked by the package: a logout would have ended the record
	}
	k, err := t.Sessions.Confirm(ctx, r.Session, r.VouchedAt, recordFresh)
	now := time.Now()
	switch {
	case err == nil:
		if k.VouchedAt.After(r.VouchedAt) {
			t.Records.Put(ctx, t.legacy.Key, t.legacy.ID, "", newRecord(k))
		}
		return &Result{Answer: stytch.Yes, Entry: k, Recorded: true}
	case errors.Is(err, session.ErrEnded):
		return nil // revoked by the package, on another machine; where a logout did it, the next look tells
	case stytch.AnswerOf(err) != stytch.No || now.Before(r.Session.StartedAt.Add(session.Propagation)):
		return &Result{Err: err}
	case now.After(r.Session.ExpiresAt.Add(-session.NearExpiry)):
		return nil
	}
	_ = t.Tombstones.MarkLegacy(ctx, t.legacy.Key)
	return loggedOut()
}

// make exchanges the legacy session. It returns nil if there is a session now,
// and else why there is none.
func (t *job) makeSession(ctx context.Context) *Result {
	in := t.in
	if in.Token == "" {
		ticket, err := t.Mint(t.legacy.Identity)
		if err != nil {
			return &Result{Err: redact.Setting("Config.Tickets could not mint a ticket")}
		}
		in.Token = ticket
	}
	x := t.migrateOrCreate(ctx, t.legacy.Identity, in)
	if x.Answer == stytch.Yes {
		t.made, t.result = newRecord(x.Entry), x
		return nil
	}
	if x.until.After(time.Now()) {
		t.refusals.Add(t.legacy.Key, x)
	}
	return x
}

// recordOf is what is remembered of k as the session of a legacy session.
func newRecord(k *session.Entry) *records.Record {
	return &records.Record{VouchedAt: k.VouchedAt, Session: k.Session}
}
