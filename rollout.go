package stytchmigrate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/stytchmigrate/internal/rate"
	"example.com/stytchmigrate/internal/redact"
)

// Stage is what becomes of legacy sessions. Only StageRetired can sign
// anybody out, and only a call leads to it, no date and no percentage.
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

	// StageRetired exchanges nothing any more, and expires the cookies of legacy
	// sessions. It is for when no handler sets them any more. While one does, it acts as
	// StageObserve: the log says so at ERROR, and the event is "still_set". That ends when
	// no handler has set a legacy cookie with a session in it for a day, and no session has
	// come whose StartedAt is less than a day ago. A machine knows of its own handlers, and
	// by Config.Store of those of the others. Without a Store and StartedAt, it does not
	// know of a sign-in on another machine.
	//
	// A value that is no session, by Resolve, stays. So does one beside it under the same
	// name: a deletion can't tell two values apart. If Resolve can't tell, the outcome is
	// OutcomeUnavailable, and the cookie stays: keep what Resolve reads until Legacy is nil.
	StageRetired
)

var stageNames = [...]string{"replace", "keep", "shadow", "observe", "retired"}

// String returns the name of a stage: replace, keep, shadow, observe or retired.
func (s Stage) String() string {
	if !s.isValid() {
		return "stage " + strconv.Itoa(int(s))
	}
	return stageNames[s]
}

// MarshalText returns the name of a stage, for flags, JSON and configuration files. A
// number that is no stage is an error.
func (s Stage) MarshalText() ([]byte, error) {
	if !s.isValid() {
		return nil, fmt.Errorf("stytchmigrate: %v: unknown", s)
	}
	return []byte(s.String()), nil
}

// UnmarshalText sets a stage by its name. Any other text is an error that lists the
// names, and changes nothing: a typo, a name in upper case, and empty text too, because
// a variable that is not set must not select StageReplace.
func (s *Stage) UnmarshalText(text []byte) error {
	i := slices.Index(stageNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("stytchmigrate: stage %q: must be replace, keep, shadow, observe or retired", text[:min(len(text), maxStageShown)])
	}
	*s = Stage(i)
	return nil
}

// maxStageShown is how many bytes of a wrong stage an error quotes.
const maxStageShown = 32

func (s Stage) isValid() bool { return StageReplace <= s && s <= StageRetired }

// Rollout says which legacy sessions move to Stytch, and what becomes of their
// cookie. The zero value: all of them, by StageReplace. Whoever has a Stytch
// session keeps it, whatever the rollout is.
//
// A Rollout is encoded as JSON, and decoded from it, with the names that the status
// page uses: stage, hold_back, first, per_second and until. To
// replace the whole rollout, decode into a zero Rollout: an absent stage is StageReplace
// there. To change single fields, decode into what [Middleware.Rollout] returned: an
// absent member keeps its value. Use a json.Decoder with
// DisallowUnknownFields: without it a member with a typo changes nothing, and no error
// says so. An empty list clears First.
type Rollout struct {
	Stage Stage `json:"stage"`

	// HoldBack is the percentage of legacy sessions that are left alone. It goes by
	// Identity.Subject where that is known, else by ID: the same on every machine
	// with the same Config.RecordKey, and the same again when it is set later.
	// Lowering HoldBack only adds users.
	HoldBack float64 `json:"hold_back"`

	// First are the users that HoldBack never holds back, by Identity.Subject: your
	// own staff, for example. They move as with HoldBack 0. In StageRetired HoldBack does
	// not spare them either. With HoldBack 100 they alone move. Stage, PerSecond and Until hold for them as for all. A session without
	// Identity is not among them. At most 5000.
	First []string `json:"first,omitempty"`

	// PerSecond is how many exchanges this process starts in any one second; of 1
	// or more, whole ones; 0.1 is one in ten seconds. Zero: no limit but that of
	// calls in flight.
	PerSecond float64 `json:"per_second"`

	// Until is when exchanges stop. Nothing is deleted by it. Zero: never.
	Until time.Time `json:"until,omitzero"`
}

const (
	maxFirst   = 5000
	maxSubject = 255 // as userinfo.Identity.Validate has it
)

func (r *Rollout) check(p *redact.Problems) {
	p.Add(!r.Stage.isValid(), "Rollout.Stage %d: unknown", int(r.Stage))
	p.Add(!(r.HoldBack >= 0 && r.HoldBack <= 100), "Rollout.HoldBack %v: must be from 0 to 100", r.HoldBack)
	r.checkFirst(p)
	year := r.Until.UTC().Year()
	p.Add(year < 0 || year > 9999, "Rollout.Until: the year %d has no form in RFC 3339", year)
	p.Add(!(r.PerSecond >= 0 && r.PerSecond <= math.MaxFloat64), "Rollout.PerSecond %v: must be 0 or a positive number", r.PerSecond)
}

// checkFirst reports the first subject that no session can have, or that was meant to
// be another one: lists are split at commas and line ends, and what is left of those
// would match nothing. The subject is not echoed, because it may be an email.
func (r *Rollout) checkFirst(p *redact.Problems) {
	if len(r.First) > maxFirst {
		p.Add(true, "Rollout.First: has %d subjects, %d are the most", len(r.First), maxFirst)
		return
	}
	i := slices.IndexFunc(r.First, func(s string) bool {
		return s == "" || len(s) > maxSubject || s != strings.TrimSpace(s) || !utf8.ValidString(s) ||
			strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
	})
	p.Add(i >= 0, "Rollout.First[%d]: must be an Identity.Subject: printable, 1 to %d bytes, no spaces around it", i, maxSubject)
}

// rollout holds the Rollout in force, and counts exchanges for its PerSecond. It is
// the exchange.Limiter.
type rollout struct {
	current atomic.Pointer[rolloutInForce]
	limiter rate.Limiter
}

// rolloutInForce is a Rollout that nothing changes any more.
type rolloutInForce struct {
	Rollout
	first map[string]struct{} // First, made once, so that a request costs one look-up
}

func newRollout(r Rollout) *rollout {
	out := new(rollout)
	out.set(r)
	return out
}

// set puts a rollout in force that was checked. The list is copied: the caller may
// change its own.
func (r *rollout) set(to Rollout) {
	to.First = slices.Clone(to.First)
	x := &rolloutInForce{Rollout: to, first: make(map[string]struct{}, len(to.First))}
	for _, subject := range to.First {
		x.first[subject] = struct{}{}
	}
	r.current.Store(x)
}

func (r *rollout) now() *rolloutInForce { return r.current.Load() }

// copy returns the rollout in force for the application, which may change it.
func (r *rollout) copy() Rollout {
	out := r.now().Rollout
	out.First = slices.Clone(out.First)
	return out
}

func (r *rollout) HasRoom() bool { return r.limiter.HasRoom(r.now().PerSecond) }
func (r *rollout) Take() bool    { return r.limiter.Take(r.now().PerSecond) }
func (r *rollout) Return()       { r.limiter.Return() }

// isFirst reports whether First has a user.
func (r *rolloutInForce) isFirst(subject string) bool {
	_, ok := r.first[subject]
	return ok
}

// stopped reports whether Until has passed: nothing is exchanged any more.
func (r *Rollout) stopped() bool { return !r.Until.IsZero() && !time.Now().Before(r.Until) }

// describe tells the rollout to people.
func (r *Rollout) describe() string {
	facts := []string{"stage " + r.Stage.String()}
	if r.HoldBack > 0 {
		facts = append(facts, fmt.Sprintf("holds back %v %%", r.HoldBack))
	}
	if n := len(r.First); n > 0 {
		facts = append(facts, fmt.Sprintf("%d users first", n))
	}
	if r.PerSecond > 0 {
		facts = append(facts, fmt.Sprintf("%v exchanges a second", r.PerSecond))
	}
	if !r.Until.IsZero() {
		facts = append(facts, "until "+r.Until.UTC().Format(time.RFC3339))
	}
	return strings.Join(facts, ", ")
}
