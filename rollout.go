package stytchmigrate

import (
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/rate"
	"example.com/stytchmigrate/internal/redact"
)

// Stage is what becomes of legacy sessions. None but StageRetired signs anybody
// out, and no date or percentage leads to it.
type Stage int

const (
	// StageReplace exchanges legacy sessions and replaces their cookie, in two
	// responses. The response of the exchange sets the Stytch cookies; the legacy
	// cookie stays, and the handler sees it, as in StageKeep. A later response expires
	// the legacy cookie: that of a request with a live Stytch session of the same
	// person beside it, which shows that the browser keeps the Stytch cookies. A
	// handler of GET or HEAD does not see it there; a POST does, because its body may
	// hold a form token of the old session. So no browser is without a session that
	// works, whatever drops the Stytch cookies on their way.
	//
	// It is for when nothing else reads the legacy cookie: no machine without the
	// middleware, no sibling application, no cart in that session.
	StageReplace Stage = iota

	// StageKeep exchanges legacy sessions and leaves the browser both: machines
	// without the middleware go on to serve its user, and so does everything that is
	// kept in the old session. Switching back signs nobody out. A handler that
	// expires or empties the legacy cookie, of whatever Domain and Path, or puts one
	// without a session in its place, has logged its user out of both. One on a
	// machine without the middleware, or a middleware outside of Handler, logs out of
	// the old session alone.
	StageKeep

	// StageShadow tries the exchange out, once for each legacy session: what comes of
	// it is compared with Identity, revoked at once, and shown to nobody.
	StageShadow

	// StageObserve calls nothing. The outcomes tell how many legacy sessions there are.
	StageObserve

	// StageRetired exchanges nothing any more, and expires the legacy cookies.
	StageRetired
)

// String returns the name of a stage: replace, keep, shadow, observe or retired.
func (s Stage) String() string {
	if !s.isValid() {
		return "stage " + strconv.Itoa(int(s))
	}
	return [...]string{"replace", "keep", "shadow", "observe", "retired"}[s]
}

func (s Stage) isValid() bool { return StageReplace <= s && s <= StageRetired }

// Rollout says which legacy sessions move to Stytch, and what becomes of their
// cookie. The zero value: all of them, by StageReplace. Whoever has a Stytch
// session keeps it, whatever the rollout is.
type Rollout struct {
	Stage Stage

	// HoldBack is the percentage of legacy sessions that are left alone. It goes by
	// Identity.Subject where that is known, else by ID: the same on every machine
	// with the same Config.RecordKey, and the same again when it is set later.
	// Lowering HoldBack only adds users.
	HoldBack float64

	// PerSecond is how many exchanges this process starts in any one second; of 1
	// or more, whole ones; 0.1 is one in ten seconds. Zero: no limit but that of
	// calls in flight.
	PerSecond float64

	// Until is when exchanges stop. Nothing is deleted by it. Zero: never.
	Until time.Time
}

func (r *Rollout) check(p *redact.Problems) {
	p.Add(!r.Stage.isValid(), "Rollout.Stage %d: unknown", int(r.Stage))
	p.Add(!(r.HoldBack >= 0 && r.HoldBack <= 100), "Rollout.HoldBack %v: must be from 0 to 100", r.HoldBack)
	year := r.Until.UTC().Year()
	p.Add(year < 0 || year > 9999, "Rollout.Until: the year %d has no form in RFC 3339", year)
	p.Add(!(r.PerSecond >= 0 && r.PerSecond <= math.MaxFloat64), "Rollout.PerSecond %v: must be 0 or a positive number", r.PerSecond)
}

// rollout holds the Rollout in force, and counts exchanges for its PerSecond. It is
// the exchange.Limiter.
type rollout struct {
	current atomic.Pointer[Rollout]
	limiter rate.Limiter
}

func newRollout(r Rollout) *rollout {
	out := new(rollout)
	out.current.Store(&r)
	return out
}

func (r *rollout) now() *Rollout { return r.current.Load() }

func (r *rollout) HasRoom() bool { return r.limiter.HasRoom(r.now().PerSecond) }
func (r *rollout) Take() bool    { return r.limiter.Take(r.now().PerSecond) }
func (r *rollout) Return()       { r.limiter.Return() }

// stopped reports whether Until has passed: nothing is exchanged any more.
func (r *Rollout) stopped() bool { return !r.Until.IsZero() && !time.Now().Before(r.Until) }

// retired reports whether no legacy session counts any more.
func (r *Rollout) retired() bool { return r.Stage == StageRetired && r.HoldBack == 0 }
