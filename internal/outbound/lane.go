package outbound

import (
	"context"
	"sync"
	"time"
)

// The lanes, as indices of limits.
const (
	exchange = iota
	user
	session
	unvouchedSession
	revoke
	unvouchedRevoke
)

// laneLimits are what a lane lets through.
type laneLimits struct {
	name     string
	inFlight int
	wait     time.Duration // for a place in flight; zero: not at all
	limited  bool          // to perSecond, for what anybody can make up
	breaks   bool          // has a breaker
	pauses   bool          // while Stytch throttles the whole project
}

// An exchange does not wait for a place: its user is still served by the old
// code, and another request soon brings the same session. To create a user is
// worth a wait: it took an exchange to know that there is none. A user whose JWT
// has expired has nothing else, and waits too. A logout has no breaker: it is to
// reach Stytch whenever it can.
var limits = [...]laneLimits{
	exchange:         {name: "exchange", inFlight: 32, breaks: true, pauses: true},
	user:             {name: "user", inFlight: 32, wait: time.Second, breaks: true},
	session:          {name: "session", inFlight: 64, wait: time.Second, breaks: true},
	unvouchedSession: {name: "unvouched session", inFlight: 16, limited: true, breaks: true},
	revoke:           {name: "revoke", inFlight: 32, wait: time.Second},
	unvouchedRevoke:  {name: "unvouched revoke", inFlight: 8, limited: true},
}

const (
	perSecond, burst = 25, 100 // calls of a limited lane

	// Retries add at most half to the load: each call earns half a retry. The
	// first calls of a process have some to begin with.
	retriesPerCall, firstRetries, maxRetries = 0.5, 10, 100

	pauseDefault, pauseMax = 10 * time.Second, 60 * time.Second
)

// lane is one kind of calls, with bounds of its own.
type lane struct {
	laneLimits
	slots   chan struct{} // one in it for each call in flight
	rate    *bucket       // nil: no limit
	retries *bucket
	breaker *breaker // nil: none
	notices *notices

	mu          sync.Mutex
	pausedUntil time.Time // guarded by mu
}

func newLane(limits laneLimits, n *notices) *lane {
	l := &lane{laneLimits: limits, notices: n, slots: make(chan struct{}, limits.inFlight)}
	l.retries = &bucket{size: maxRetries, tokens: firstRetries}
	if limits.limited {
		l.rate = &bucket{perSecond: perSecond, size: burst, tokens: burst}
	}
	if limits.breaks {
		l.breaker = newBreaker(limits.name, n)
	}
	return l
}

// permit is a place in flight, and in the breaker's count.
type permit struct {
	lane  *lane
	done  func(error) // nil: not counted
	probe bool        // the one call by which a breaker finds out
}

func (p *permit) leave(outcome error) {
	if p.done != nil {
		p.done(outcome)
	}
	<-p.lane.slots
}

// enter lets a call in, or says why not.
func (l *lane) enter(ctx context.Context) (permit, error) {
	p := permit{lane: l}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	if rest := l.paused(); rest > 0 {
		return p, heldBack("paused, as Stytch asked", rest)
	}
	if err := l.takeSlot(ctx); err != nil {
		return p, err
	}
	var held *HeldBack
	if p.done, p.probe, held = l.breaker.allow(); held != nil {
		p.leave(nil)
		return p, held
	}
	if !l.rate.take() { // after the breaker: what that held back has cost no token
		p.leave(errNotCounted)
		return p, heldBack("too many calls a second", time.Second)
	}
	l.retries.add(retriesPerCall)
	return p, nil
}

// takeSlot comes before the breaker is asked. When that opens, the calls that
// failed give their places to those who wait, and these hear of it one after the
// other, at once.
func (l *lane) takeSlot(ctx context.Context) error {
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	full := heldBack("too many calls in flight", time.Second)
	full.Full = true
	if l.wait == 0 {
		return full
	}
	timer := time.NewTimer(l.wait)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return full
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pause holds back every call from now on, for the time that Stytch asked for.
func (l *lane) pause(d time.Duration) {
	if d == 0 {
		d = pauseDefault
	}
	d = min(d, pauseMax)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if until := now.Add(d); until.After(l.pausedUntil) {
		if !now.Before(l.pausedUntil) { // the calls that were in flight all hear of it
			l.notices.add(Notice{Lane: l.name, What: "paused", For: d})
		}
		l.pausedUntil = until
	}
}

func (l *lane) paused() time.Duration {
	if !l.pauses {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.pausedUntil)
}
