package outbound

import (
	"context"
	"sync"
	"time"
)

// Lane is a kind of call, with limits of its own.
type Lane int

// The lanes. A lane for unvouched sessions is for cookies that anyone may have made
// up, and so its rate is limited.
const (
	NoLane           Lane = iota // no limits and no retries, as for the public key set
	Exchange                     // a legacy session becomes a Stytch session
	CreateUser                   // a user is created for an exchange
	Session                      // about a session: its JWT was verified here, or its token is known
	UnvouchedSession             // about a token that a browser sent
	Revoke                       // a logout of a session that was verified here
	UnvouchedRevoke              // a logout of a token that a browser sent
	List                         // all sessions of a user, to end them
)

// String returns the lane's name in notices.
func (l Lane) String() string { return limits[l].name }

// laneLimits are the limits of a lane.
type laneLimits struct {
	name     string
	inFlight int
	wait     time.Duration // for a place in flight; zero: a call does not wait
	limited  bool          // to perSecond calls a second; see try.costs
	breaks   bool          // it has a circuit breaker
	pauses   bool          // it pauses while Stytch throttles the whole project, or refuses all its calls
}

// Why the lanes differ:
//   - An exchange does not wait for a place. The old code still serves its user, and
//     another request will soon bring the same session.
//   - Creating a user waits. It took an exchange to find out that there is no user.
//   - A call about a session waits. A user whose JWT has expired has nothing else.
//   - Exchanges pause at the first refusal of our credentials. For a refresh that is
//     one failure of five: its user has nothing else, and the refusal may be a passing one.
//   - A logout has no breaker: it must reach Stytch whenever it can.
var limits = [...]laneLimits{
	NoLane:           {},
	Exchange:         {name: "exchange", inFlight: 32, breaks: true, pauses: true},
	CreateUser:       {name: "user", inFlight: 32, wait: time.Second, breaks: true},
	Session:          {name: "session", inFlight: 64, wait: time.Second, breaks: true},
	UnvouchedSession: {name: "unvouched session", inFlight: 16, limited: true, breaks: true},
	Revoke:           {name: "revoke", inFlight: 32, wait: time.Second},
	UnvouchedRevoke:  {name: "unvouched revoke", inFlight: 8, limited: true},
	List:             {name: "list", inFlight: 4, wait: time.Second},
}

const (
	perSecond, burst = 25, 100 // calls of a limited lane

	// Each call earns half a retry, so retries add at most half to the load. A new
	// process has some retries to begin with.
	retriesPerCall, firstRetries, maxRetries = 0.5, 10, 100

	pauseDefault, pauseMax = 10 * time.Second, 60 * time.Second
)

// lane is the state of one Lane.
type lane struct {
	laneLimits
	slots   chan struct{} // holds one element for each call in flight
	rate    *bucket       // nil: no limit
	retries *bucket
	breaker *breaker // nil: none
	notices *notices

	mu          sync.Mutex // guards what follows
	pausedUntil time.Time
	hasTurn     bool // the call that finds out is under way
	isRefused   bool // Stytch refuses all calls: after a pause one call finds out whether it still does
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

// permit lets one call be in flight. The holder must release it.
type permit struct {
	lane  *lane
	count func(error) // tells the breaker the outcome; nil: there is no breaker
	probe bool        // an open breaker lets this one call through, to see whether Stytch is back
}

func (p *permit) release(outcome error) {
	if p.count != nil {
		p.count(outcome)
	}
	<-p.lane.slots
}

// admit lets a call in, or returns a *HeldBack.
func (l *lane) admit(ctx context.Context) (permit, error) {
	p := permit{lane: l}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	if held := l.paused(); held != nil {
		return p, held
	}
	if err := l.takeSlot(ctx); err != nil {
		return p, err
	}
	var held *HeldBack
	if p.count, p.probe, held = l.breaker.allow(); held != nil {
		p.release(nil)
		return p, held
	}
	if !l.rate.take() { // after the breaker, so that a call that the breaker holds back takes no token
		p.release(errNotCounted)
		return p, heldBack("too many calls a second", time.Second)
	}
	if held := l.takeTurn(); held != nil {
		l.rate.add(1)
		p.release(errNotCounted)
		return p, held
	}
	l.retries.add(retriesPerCall)
	return p, nil
}

// takeSlot runs before the breaker is asked. When the breaker opens, each call that
// failed frees its slot, the next call that waits takes it, and the breaker holds
// that call back at once. So no call waits for its whole time in vain.
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
	l.isRefused = false
	if until := now.Add(d); until.After(l.pausedUntil) {
		if !now.Before(l.pausedUntil) { // Stytch throttles all calls in flight: that is one notice
			l.notices.add(Notice{Lane: l.name, What: "paused", For: d})
		}
		l.pausedUntil = until
	}
}

// refused holds back every call from now on, because Stytch refuses them all.
func (l *lane) refused() {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isRefused || l.hasTurn { // the other calls in flight are refused as well: that is one notice
		l.notices.add(Notice{Lane: l.name, What: "paused", For: pauseDefault, Again: l.isRefused})
		l.pausedUntil = now.Add(pauseDefault)
	}
	l.isRefused, l.hasTurn = true, false
}

// accepted ends the pause of a lane whose calls were refused.
func (l *lane) accepted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isRefused {
		l.pausedUntil, l.isRefused, l.hasTurn = time.Time{}, false, false
	}
}

// takeTurn lets one call out after a pause, if Stytch refused the calls before it. The
// others wait for its answer, or for another turn if it brings none.
func (l *lane) takeTurn() *HeldBack {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.pausedLocked()
	if held == nil && l.isRefused {
		l.pausedUntil, l.hasTurn = time.Now().Add(pauseDefault), true
	}
	return held
}

// paused returns a *HeldBack for as long as the pause still lasts, or nil.
func (l *lane) paused() *HeldBack {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pausedLocked()
}

func (l *lane) pausedLocked() *HeldBack {
	rest := time.Until(l.pausedUntil)
	switch {
	case rest <= 0:
		return nil
	case l.isRefused:
		return heldBack("paused, as Stytch refuses all calls", rest)
	}
	return heldBack("paused, as Stytch asked", rest)
}
