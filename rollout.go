package stytchmigrate

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/flight"
)

// Stage is what becomes of legacy sessions. None but StageRetired signs anybody
// out, and no date or percentage leads to it.
type Stage int

const (
	// StageReplace exchanges legacy sessions and swaps the cookies. It is for when
	// nothing else reads the legacy cookie: no machine without the middleware, no
	// sibling application, no cart in that session.
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
	if !s.known() {
		return "stage " + strconv.Itoa(int(s))
	}
	return [...]string{"replace", "keep", "shadow", "observe", "retired"}[s]
}

func (s Stage) known() bool { return StageReplace <= s && s <= StageRetired }

// Rollout says which legacy sessions move to Stytch, and what becomes of their
// cookie. The zero value: all of them, by StageReplace. Whoever has a Stytch
// session keeps it, whatever the rollout is.
type Rollout struct {
	Stage Stage

	// HoldBack is the percentage of legacy sessions that are left alone. It goes by
	// Identity.Subject where that is known, else by ID: the same on every machine
	// with the same Config.RecordKey, and the same again when it is set later. Who
	// moves at 90 moves at 80.
	HoldBack float64

	// PerSecond is how many exchanges this process starts in any one second; of 1
	// or more, whole ones; 0.1 is one in ten seconds. Zero: no limit but that of
	// calls in flight.
	PerSecond float64

	// Until is when exchanges stop. Nothing is deleted by it. Zero: never.
	Until time.Time
}

func (r *Rollout) check(p *problems) {
	p.add(!r.Stage.known(), "Rollout.Stage %d: unknown", int(r.Stage))
	p.add(!(r.HoldBack >= 0 && r.HoldBack <= 100), "Rollout.HoldBack %v: must be from 0 to 100", r.HoldBack)
	year := r.Until.UTC().Year()
	p.add(year < 0 || year > 9999, "Rollout.Until: the year %d has no form in RFC 3339", year)
	p.add(!(r.PerSecond >= 0 && r.PerSecond <= math.MaxFloat64), "Rollout.PerSecond %v: must be 0 or a positive number", r.PerSecond)
}

// Rollout returns the rollout in force.
func (m *Middleware) Rollout() Rollout { return *m.rollout.inForce.Load() }

// SetRollout puts a rollout in force on this process, for the requests that
// come from now on. An application calls it from its own configuration or flags. It
// returns an error that names everything wrong with r, and then changes nothing.
func (m *Middleware) SetRollout(r Rollout) error {
	var p problems
	if r.check(&p); len(p) > 0 {
		return errors.Join(p...)
	}
	m.rollout.inForce.Store(&r)
	return nil
}

// rollout is the Rollout in force, and what was begun of late.
type rollout struct {
	inForce atomic.Pointer[Rollout]
	pace    pace
	shadow  shadow
}

// stopped reports that nothing is exchanged any more.
func (r *Rollout) stopped() bool { return !r.Until.IsZero() && !time.Now().Before(r.Until) }

func newRollout(r Rollout) *rollout {
	out := &rollout{shadow: newShadow()}
	out.inForce.Store(&r)
	return out
}

// decideLegacy judges a request that has no Stytch session alive.
func (m *Middleware) decideLegacy(ctx context.Context, r *http.Request, c *requestCookies) verdict {
	if m.rollout.inForce.Load().retired() {
		return verdict{change: m.retire(c)}
	}
	f, err := m.browser.findLegacy(r, c)
	switch {
	case err != nil:
		m.logError(r.Context(), err)
		return verdict{found: found{outcome: OutcomeUnavailable, err: err}}
	case f == nil:
		return verdict{}
	}
	return m.move(ctx, r, f)
}

// stillServed returns the legacy session by which the old code goes on to serve a
// user about whom Stytch can't be asked.
func (m *Middleware) stillServed(r *http.Request, c *requestCookies) (*foundLegacy, error) {
	if m.rollout.inForce.Load().retired() {
		return nil, nil
	}
	return m.browser.findLegacy(r, c)
}

// retired reports that no legacy session counts any more.
func (r *Rollout) retired() bool { return r.Stage == StageRetired && r.HoldBack == 0 }

// retire expires every legacy cookie of a request, and hides them. Resolve is not
// asked: what it looks sessions up in may be gone.
func (m *Middleware) retire(c *requestCookies) (ch change) {
	for i, values := range c.legacy {
		if len(values) > 0 {
			ch.expire = append(ch.expire, &m.browser.legacy[i])
		}
	}
	ch.strip, ch.over = len(ch.expire) > 0, m.rollout.inForce.Load().retired()
	return ch
}

// move is the verdict on a legacy session that is the one that counts: it moves
// to Stytch, if the rollout has it so.
func (m *Middleware) move(ctx context.Context, r *http.Request, f *foundLegacy) verdict {
	now := m.rollout.inForce.Load()
	switch {
	case m.migrator.isHeldBack(now.HoldBack, f):
		return m.leaveAlone(ctx, f, causeHeldBack, nil)
	case now.Stage == StageRetired:
		return verdict{change: change{expire: []*LegacyCookie{f.cookie}, strip: true}}
	case now.Stage == StageObserve:
		return m.leaveAlone(ctx, f, now.Stage.String(), nil)
	case now.stopped():
		return m.leaveAlone(ctx, f, causeUntil, nil)
	case now.Stage != StageShadow:
		return m.migrate(ctx, r, f, now.Stage)
	}
	v := m.leaveAlone(ctx, f, now.Stage.String(), nil)
	if v.outcome == OutcomeLegacy {
		m.try(r, f, now.PerSecond)
	}
	return v
}

// stageOf is what becomes of a legacy session beside a Stytch session: where the
// rollout leaves it alone, both stay.
func (m *Middleware) stageOf(now *Rollout, f *foundLegacy) Stage {
	if now.stopped() || m.migrator.isHeldBack(now.HoldBack, f) {
		return StageKeep
	}
	return now.Stage
}

// leaveAlone is the verdict on a legacy session that does not move now. One that
// was logged out stays so: who has a copy of its cookie is nobody.
func (m *Middleware) leaveAlone(ctx context.Context, f *foundLegacy, cause string, why error) verdict {
	if m.migrator.records.hasEnded(context.WithoutCancel(ctx), m.migrator.key(f)) {
		return verdict{found: found{outcome: OutcomeRefused, legacy: f, err: errLoggedOut}}
	}
	return verdict{found: found{outcome: OutcomeLegacy, cause: cause, legacy: f, err: why}}
}

// isHeldBack reports whether a legacy session is among the percentage that is left
// alone: it has one place between 0 and 100, and those below that are.
func (m *migrator) isHeldBack(percent float64, f *foundLegacy) bool {
	if percent <= 0 || percent >= 100 {
		return percent >= 100
	}
	kind, who := "subject", f.session.Identity.Subject
	if who == "" {
		kind, who = "id", string(f.session.ID)
	}
	place := binary.BigEndian.Uint64(m.records.mac("hold back", m.cfg.ProjectID, kind, who))
	return float64(place) < percent/100*math.MaxUint64
}

func (m *Middleware) migrate(ctx context.Context, r *http.Request, f *foundLegacy, stage Stage) verdict {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.Timeout) // less where a Stytch session was asked about before
	defer cancel()
	x := m.migrator.migrate(ctx, r, f)
	v := verdict{found: found{legacy: f, err: x.err}, event: x.event, userID: x.userID}
	switch x.answer {
	case yes:
		v.outcome, v.user, v.session = OutcomeMigrated, x.known.user, x.known.session
		if v.cause = causeExchange; x.recorded {
			v.cause = causeRecord
		}
		v.change = beside(stage, f)
		v.change.set = &x.known.tokens
	case no:
		v.outcome = OutcomeRefused
	default:
		if isSurplus(x.err) {
			v = m.leaveAlone(ctx, f, "", x.err)
		} else {
			v.outcome = OutcomeUnavailable
			m.logError(r.Context(), x.err)
		}
		// The exchange may be under way, here or on another machine. If the old code
		// logs out meanwhile, nobody is to be handed what comes of it.
		v.change.watch = true
	}
	return v
}

// beside is what becomes of a legacy cookie beside a Stytch session of the same
// person.
func beside(s Stage, f *foundLegacy) change {
	if s == StageReplace {
		return change{expire: []*LegacyCookie{f.cookie}}
	}
	return change{watch: true}
}

// left ends the sessions of a user whom the handler has logged out by itself: by
// expiring the legacy cookie. It is Logout, but nobody waits for Stytch. The Stytch
// session may have come from another legacy session, as at a sign-in by the old
// login that was not the last one; or nobody could tell whose it is.
func (m *Middleware) left(ctx context.Context, c *requestCookies, v *verdict) {
	ctx = context.WithoutCancel(ctx)
	legacy := []*foundLegacy{v.legacy}
	ids, keys, revoke := m.endHere(ctx, &v.found, legacy, c)
	_ = m.endEverywhere(ctx, legacy, ids, keys)
	for id := range ids {
		revoke = append(revoke, revokeRequest{SessionID: id})
	}
	flight.Apart(func() {
		ctx, cancel := context.WithTimeout(ctx, m.sessions.limit)
		defer cancel()
		for _, in := range revoke {
			m.sessions.abandon(ctx, in)
		}
	})
}

// errPace is why an exchange was not begun: there may be no more of them now.
var errPace = &callError{op: "migrate", reason: "held back: Rollout.PerSecond"}

// isSurplus reports an exchange for which there was no room. Nothing is wrong with
// the session, or with Stytch.
func isSurplus(err error) bool { return errors.Is(err, errPace) || isFull(err) }

// isFull reports an exchange for which there was no place in flight.
func isFull(err error) bool {
	var call *callError
	return errors.As(err, &call) && call.full && call.op == "migrate"
}

// maxStarts is how many exchanges are counted one by one.
const maxStarts = 1000

// pace keeps the exchanges that are begun in any one second to a number. A bucket
// that fills as it is emptied would let twice as many through: what it held, and
// what came since.
type pace struct {
	mu     sync.Mutex
	starts []time.Time // of late, the oldest first; guarded by mu
}

// take begins an exchange, if there is room for it.
func (p *pace) take(perSecond float64) bool {
	return p.look(perSecond, func(now time.Time) { p.starts = append(p.starts, now) })
}

// giveBack is for an exchange that was not begun after all, a moment after take.
func (p *pace) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.starts) - 1; last >= 0 {
		p.starts = p.starts[:last]
	}
}

// hasRoom reports whether take would begin one.
func (p *pace) hasRoom(perSecond float64) bool { return p.look(perSecond, func(time.Time) {}) }

func (p *pace) look(perSecond float64, begin func(time.Time)) bool {
	if perSecond == 0 {
		return true
	}
	most, within := window(perSecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	old := slices.IndexFunc(p.starts, func(at time.Time) bool { return now.Sub(at) < within })
	if old < 0 {
		old = len(p.starts)
	}
	p.starts = slices.Delete(p.starts, 0, old)
	if len(p.starts) >= most {
		return false
	}
	begin(now)
	return true
}

// window is a number of exchanges, and the time in which no more of them may be
// begun, so that in no second there are more than perSecond.
func window(perSecond float64) (most int, within time.Duration) {
	if perSecond < 1 {
		return 1, time.Duration(min(float64(time.Second)/perSecond, float64(keepEnded)))
	}
	parts := math.Ceil(perSecond / maxStarts) // of a second
	return int(perSecond / parts), time.Duration(math.Ceil(float64(time.Second) / parts))
}
