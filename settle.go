package stytchmigrate

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"time"

	"example.com/stytchmigrate/internal/flight"
)

const (
	firstPoll = 15 * time.Millisecond // while another machine has the claim
	lastPoll  = 80 * time.Millisecond
)

// settling is the work on one legacy session: finding out what it became, or
// making it become something. It runs once for all requests of this process that
// wait, and runs no code of the application.
type settling struct {
	*migrator
	key     string
	cookie  *LegacyCookie
	session LegacySession
	in      migrateRequest
	owner   string    // of the claim
	mine    *record   // made here, and not remembered yet
	done    *exchange // that it is to become
	over    string    // the id of a recorded session that has run out
}

// run looks what became of the legacy session, claims it if nothing did, and
// waits while another machine has the claim.
func (t *settling) run(ctx context.Context) *exchange {
	if x := t.refused(t.key); x != nil { // a call has just ended
		return x
	}
	for pause := firstPoll; ctx.Err() == nil; pause = min(2*pause, lastPoll) {
		if x := t.look(ctx, false); x != nil {
			return x
		}
		if t.mine == nil && !t.hasRoom() { // and the store need not be asked for more
			return &exchange{err: errPace}
		}
		claimed, err := t.records.claim(ctx, t.key, t.owner)
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
	return &exchange{err: errNoAnswer}
}

// look returns what became of the legacy session, nil if nothing did. A session
// that another machine remembered counts, and one made here meanwhile does not.
// The last look before the exchange asks whether it ended, though there is no
// record: the one after it need not, for that is asked after the Put.
func (t *settling) look(ctx context.Context, last bool) *exchange {
	r, ended := t.records.find(ctx, t.key, t.session.ID, last)
	switch {
	case ended:
		t.discard(ctx)
		return loggedOut()
	case r == nil || r.Answer.Session.SessionID == t.over:
		return nil
	}
	t.discard(ctx)
	x := t.resume(ctx, r)
	if x == nil {
		t.over = r.Answer.Session.SessionID
	}
	return x
}

// work exchanges the legacy session. The claim is ours, so nobody else does;
// but somebody may have had it a moment ago. nil: it was lost meanwhile. The last
// look is for a claim that was lost, used by another machine, and got back by a
// renewal: between it and put there must be no claim of ours.
func (t *settling) work(ctx context.Context) *exchange {
	x := t.look(ctx, true)
	if x == nil && t.mine == nil && !t.begin() {
		x = &exchange{err: errPace}
	}
	if x == nil && t.mine == nil {
		stop := t.records.hold(ctx, t.key, t.owner)
		x = t.make(ctx)
		sure := stop()
		if x == nil && !sure {
			t.records.release(ctx, t.key, t.owner)
			t.rename()
			return nil
		}
		if x == nil {
			x = t.look(ctx, false)
		}
	}
	if x != nil {
		t.records.release(ctx, t.key, t.owner)
		return x
	}
	if !t.records.put(ctx, t.key, t.session.ID, t.owner, t.mine) {
		return nil
	}
	if t.cookie.End != nil {
		t.records.putSource(ctx, t.key, t.source(), keepEnded) // the session may be extended again and again
	}
	if t.records.hasEnded(ctx, t.key) { // logged out in the meantime
		t.discard(ctx)
		return loggedOut()
	}
	return t.done
}

// hasRoom and begin are about Rollout.PerSecond.
func (t *settling) hasRoom() bool {
	return t.rollout.pace.hasRoom(t.rollout.inForce.Load().PerSecond)
}

func (t *settling) begin() bool { return t.rollout.pace.take(t.rollout.inForce.Load().PerSecond) }

// source is what LegacyCookie.End needs at a logout that comes without the cookie.
func (t *settling) source() source {
	s := t.session
	entry := 0
	for entry < len(t.cfg.Legacy)-1 && &t.cfg.Legacy[entry] != t.cookie {
		entry++
	}
	return source{t.cookie.Name, entry, string(s.ID), string(s.Token), s.Identity, s.StartedAt, s.ExpiresAt}
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.cfg.Timeout) // that of the flight may be over
	defer cancel()
	t.revoke(ctx, t.mine.Answer.Session.SessionID)
	t.mine = nil
}

// resume returns the recorded session if it is alive, nil if it has run out. One
// that is gone before its time was ended by somebody, and stays ended.
func (t *settling) resume(ctx context.Context, r *record) *exchange {
	session := r.Answer.Session
	if t.sessions.ended.Contains(session.SessionID) {
		return nil // revoked by the package: a logout would have ended the record
	}
	k, err := t.sessions.confirm(ctx, r)
	now := time.Now()
	switch {
	case err == nil:
		if k.asked.After(r.At) {
			t.records.put(ctx, t.key, t.session.ID, "", k.record())
		}
		return &exchange{answer: yes, known: k, recorded: true}
	case errors.Is(err, errEnded):
		return nil // revoked by the package, on another machine; where a logout did it, the next look tells
	case answerOf(err) != no || now.Before(session.StartedAt.Add(knownEverywhere)):
		return &exchange{err: err}
	case now.After(session.ExpiresAt.Add(-ranOut)):
		return nil
	}
	_ = t.records.end(ctx, t.key)
	return loggedOut()
}

// make exchanges the legacy session. It returns nil if there is a session now,
// and else why there is none.
func (t *settling) make(ctx context.Context) *exchange {
	in := t.in
	if in.SessionToken == "" {
		ticket, err := t.mint(t.session.Identity)
		if err != nil {
			return &exchange{err: settingError("Config.Tickets could not mint a ticket")}
		}
		in.SessionToken = ticket
	}
	x := t.call(ctx, t.session.Identity, in)
	if x.answer == yes {
		t.mine, t.done = x.known.record(), x
		return nil
	}
	if x.until.After(time.Now()) {
		t.refusals.Add(t.key, x)
	}
	return x
}
