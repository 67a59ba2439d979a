package exchange

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"example.com/stytchmigrate/internal/endings"
	"example.com/stytchmigrate/internal/flight"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/safe"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

const (
	firstPoll = 15 * time.Millisecond // while another machine has the claim
	lastPoll  = 80 * time.Millisecond

	recordFresh = 10 * time.Second // a record of which Stytch need not be asked
)

// settling is the work on one legacy session: finding out what it became, or
// making it become something. It runs once for all requests of this process that
// wait, and runs no code of the application.
type settling struct {
	*Exchanger
	legacy *Legacy
	in     stytch.Exchange
	owner  string          // of the claim
	mine   *records.Record // made here, and not remembered yet
	done   *Result         // that it is to become
	over   string          // the id of a recorded session that has run out
}

// run looks what became of the legacy session, claims it if nothing did, and
// waits while another machine has the claim.
func (t *settling) run(ctx context.Context) *Result {
	if x := t.refused(t.legacy.Key); x != nil { // a call has just ended
		return x
	}
	for pause := firstPoll; ctx.Err() == nil; pause = min(2*pause, lastPoll) {
		if x := t.look(ctx, false); x != nil {
			return x
		}
		if t.mine == nil && !t.Pace.HasRoom() { // and the store need not be asked for more
			return &Result{Err: ErrPace}
		}
		claimed, err := t.Records.Claim(ctx, t.legacy.Key, t.owner)
		switch {
		case err != nil: // then each process exchanges for itself
			t.rename()
		case !claimed:
			flight.Sleep(ctx, pause/2+mathrand.N(pause/2))
			continue
		}
		if x := t.work(ctx); x != nil {
			return x
		}
		flight.Sleep(ctx, pause/2+mathrand.N(pause/2)) // a store that loses claims is not asked without end
	}
	t.discard(ctx)
	return &Result{Err: stytch.ErrNoAnswer}
}

// look returns what became of the legacy session, nil if nothing did. A session
// that another machine remembered counts, and one made here meanwhile does not.
// The last look before the exchange asks whether it ended, though there is no
// record: the one after it need not, for that is asked after the Put.
func (t *settling) look(ctx context.Context, last bool) *Result {
	r, ended := t.find(ctx, last)
	switch {
	case ended:
		t.discard(ctx)
		return loggedOut()
	case r == nil || r.Session.ID == t.over:
		return nil
	}
	t.discard(ctx)
	x := t.resume(ctx, r)
	if x == nil {
		t.over = r.Session.ID
	}
	return x
}

// find returns the record of the legacy session, that it ended, or neither. Where
// there is no record, the store is asked only at last whether it ended.
func (t *settling) find(ctx context.Context, last bool) (r *records.Record, ended bool) {
	if t.Endings.LegacyHere(t.legacy.Key) {
		return nil, true
	}
	if r = t.Records.Load(ctx, t.legacy.Key, t.legacy.ID); r == nil && !last {
		return nil, false
	}
	return r, t.Endings.LegacyEverywhere(ctx, t.legacy.Key)
}

// work exchanges the legacy session. The claim is ours, so nobody else does;
// but somebody may have had it a moment ago. nil: it was lost meanwhile. The last
// look is for a claim that was lost, used by another machine, and got back by a
// renewal: between it and put there must be no claim of ours.
func (t *settling) work(ctx context.Context) *Result {
	x := t.look(ctx, true)
	if x == nil && t.mine == nil && !t.Pace.Take() {
		x = &Result{Err: ErrPace}
	}
	if x == nil && t.mine == nil {
		stop := t.Records.Hold(ctx, t.legacy.Key, t.owner)
		x = t.make(ctx)
		sure := stop()
		if x == nil && !sure {
			t.Records.Release(ctx, t.legacy.Key, t.owner)
			t.rename()
			return nil
		}
		if x == nil {
			x = t.look(ctx, false)
		}
	}
	if x != nil {
		t.Records.Release(ctx, t.legacy.Key, t.owner)
		return x
	}
	if !t.Records.Put(ctx, t.legacy.Key, t.legacy.ID, t.owner, t.mine) {
		return nil
	}
	if src := t.legacy.Source; src != nil {
		t.Records.PutSource(ctx, t.legacy.Key, *src, endings.Keep) // the session may be extended again and again
	}
	if t.Endings.LegacyEverywhere(ctx, t.legacy.Key) { // logged out in the meantime
		t.discard(ctx)
		return loggedOut()
	}
	return t.done
}

// rename is for when the store did not answer a Claim. Under the old name it may
// come into force at any time, after another machine had the claim and used it.
func (t *settling) rename() { t.owner = rand.Text() }

// discard revokes the session that was made here, if there is one: it is in
// nobody's hands yet, and must not get there.
func (t *settling) discard(ctx context.Context) {
	if t.mine == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.Timeout) // that of the flight may be over
	defer cancel()
	t.revoke(ctx, t.mine.Session.ID)
	t.mine = nil
}

// resume returns the recorded session if it is alive, nil if it has run out. One
// that is gone before its time was ended by somebody, and stays ended.
func (t *settling) resume(ctx context.Context, r *records.Record) *Result {
	if t.Endings.SessionHere(r.Session.ID) {
		return nil // revoked by the package: a logout would have ended the record
	}
	k, err := t.Sessions.Confirm(ctx, r.Session, r.At, recordFresh)
	now := time.Now()
	switch {
	case err == nil:
		if k.Asked.After(r.At) {
			t.Records.Put(ctx, t.legacy.Key, t.legacy.ID, "", recordOf(k))
		}
		return &Result{Answer: stytch.Yes, Known: k, Recorded: true}
	case errors.Is(err, session.ErrEnded):
		return nil // revoked by the package, on another machine; where a logout did it, the next look tells
	case stytch.AnswerOf(err) != stytch.No || now.Before(r.Session.StartedAt.Add(session.KnownEverywhere)):
		return &Result{Err: err}
	case now.After(r.Session.ExpiresAt.Add(-session.RanOut)):
		return nil
	}
	_ = t.Endings.EndLegacy(ctx, t.legacy.Key)
	return loggedOut()
}

// make exchanges the legacy session. It returns nil if there is a session now,
// and else why there is none.
func (t *settling) make(ctx context.Context) *Result {
	in := t.in
	if in.Token == "" {
		ticket, err := t.Mint(t.legacy.Identity)
		if err != nil {
			return &Result{Err: safe.Setting("Config.Tickets could not mint a ticket")}
		}
		in.Token = ticket
	}
	x := t.call(ctx, t.legacy.Identity, in)
	if x.Answer == stytch.Yes {
		t.mine, t.done = recordOf(x.Known), x
		return nil
	}
	if x.until.After(time.Now()) {
		t.refusals.Add(t.legacy.Key, x)
	}
	return x
}

// recordOf is what is remembered of k as the session of a legacy session.
func recordOf(k *session.Known) *records.Record {
	return &records.Record{At: k.Asked, Session: k.Session}
}
