package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/safe"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/vault"
)

// Outcome is what the middleware found out about a request.
type Outcome int

const (
	OutcomeAnonymous     Outcome = iota // no session; also where Handler never ran
	OutcomeAuthenticated                // a Stytch session
	OutcomeMigrated                     // a legacy session that became a Stytch session in this request
	OutcomeLegacy                       // a legacy session that is left alone for now, see Rollout
	OutcomeRefused                      // a legacy session that Stytch, or a rule, says no to
	OutcomeUnavailable                  // it can't be told whose session it is, if anybody's
)

// String returns the name that logs and metrics use: anonymous, authenticated,
// migrated, legacy, refused or unavailable.
func (o Outcome) String() string {
	names := [...]string{"anonymous", "authenticated", "migrated", "legacy", "refused", "unavailable"}
	if o < 0 || int(o) >= len(names) {
		return "unknown"
	}
	return names[o]
}

// The kinds of events.
const (
	kindRequest    = "request"
	kindConflict   = "conflict"
	kindMismatch   = "mismatch"
	kindCreated    = "created"
	kindShadow     = "shadow"
	kindLogout     = "logout"
	kindRevocation = "revocation"
	kindJWKS       = "jwks"
	kindStore      = "store"
	kindBrake      = "brake"
	kindBreaker    = "breaker"
	kindPaused     = "paused"
)

// Event tells what happened, for metrics and audit. It holds no secret and no
// email.
type Event struct {
	// Kind is "request" for the one event of each request that is not excluded,
	// "logout" for each call of Logout, with no user where a login calls it, and else what deserves a look:
	//
	//   - mismatch: Stytch's user is not, or no longer, the legacy session's person;
	//     or Stytch answered with another session than was asked about
	//   - created: Config.CreateUsers made a user
	//   - shadow: StageShadow tried a legacy session out. Outcome, Cause and ErrorType
	//     are what it would have come to
	//   - conflict: one request carried two people's sessions
	//   - revocation: a session that nobody is to have could not be revoked
	//   - jwks: the key set could not be fetched
	//   - store: Config.Store failed, or holds what can't be read
	//   - brake: Stytch suddenly knows so few sessions that it is not believed
	//   - breaker: calls to Stytch failed and so are held back, or no longer
	//   - paused: Stytch asked for no more exchanges for a time
	//
	// Kinds jwks, store and brake come once more when it works again: with Cause
	// "recovered", and without Err.
	Kind string

	// Outcome is of the request that the event is about. Look at Kind first: what
	// concerns no single request has the zero value, OutcomeAnonymous.
	Outcome Outcome

	// Cause is why the outcome is what it is, in a word:
	//
	//   - of authenticated: memory, where nothing had to be checked; verified, where
	//     the JWT's signature was; asked, where Stytch was
	//   - of migrated: exchange, or record, where it had become a session before
	//   - of legacy: observe, shadow, held_back, until and per_second, which are the
	//     rollout's; in_flight, where there was no place for one more exchange
	//   - of refused: logged_out; identity, whom nothing verifies; another_person, whom
	//     Stytch knows under that email or id; stytch, which said no (see ErrorType)
	//   - of unavailable: timed_out; no_answer, or none that can be used; stytch, which
	//     can't tell; held_back, as the breaker is open or Stytch asked for a pause; brake;
	//     application, where Resolve or another of its functions failed
	//
	// Of kinds jwks, store and brake it is failed or recovered, of store also
	// unreadable: a record, which stays so; of breaker it is open, half_open or
	// closed; else it is empty.
	Cause string

	// Stage is the rollout's, of kind request.
	Stage Stage

	// Calls is which calls kinds breaker and paused are about: exchange, user,
	// session, or "unvouched session", of cookies that anybody could have made up.
	Calls string

	// Duration is how long the middleware took, the handler not included; of
	// "breaker" and "paused", how long calls are held back, or were.
	Duration time.Duration

	RequestID   string // Stytch's, of the call that failed, if there was one
	UserID      string // Stytch's
	Subject     string // the legacy session's Identity.Subject, of kinds mismatch and created and where the outcome is Refused; empty where it is not of letters, digits and ._-| alone, as an email is not
	Fingerprint string // tells legacy sessions apart; not the value, and not to be had from it without Config.RecordKey
	ErrorType   string // Stytch's error_type
	Err         error  // why, where the outcome is Refused, Unavailable, or Legacy for want of room; an *Error inside it is Stytch's answer
}

// LogValue is the event as attributes.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("kind", e.Kind), slog.String("outcome", e.Outcome.String()), slog.Duration("duration", e.Duration)}
	if e.Kind == kindRequest {
		attrs = append(attrs, slog.String("stage", e.Stage.String()))
	}
	for _, a := range []slog.Attr{
		slog.String("cause", e.Cause), slog.String("calls", e.Calls),
		slog.String("request_id", e.RequestID), slog.String("user_id", e.UserID), slog.String("subject", e.Subject),
		slog.String("fingerprint", e.Fingerprint), slog.String("error_type", e.ErrorType),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", e.Err.Error()))
	}
	return slog.GroupValue(attrs...)
}

// report sends the events of one request, and logs those that deserve a look.
func (m *Middleware) report(ctx context.Context, v *verdict, took time.Duration) {
	if v.event == "" && m.cfg.OnEvent == nil {
		return
	}
	e := m.event(kindRequest, &v.found)
	e.Duration, e.Stage = took, m.rollout.now().Stage
	if v.event != "" {
		odd := e
		odd.Kind = v.event
		if v.legacy != nil {
			odd.Fingerprint = m.fingerprint(v.legacy) // for the log, where there is no OnEvent
		}
		if v.userID != "" {
			odd.UserID = safe.Identifier(v.userID)
			odd.Subject = subjectOf(v.legacy)
		}
		if v.event != kindCreated { // the client has logged that, whatever became of the request
			m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: "+v.event, slog.Any("event", odd))
		}
		m.emit(ctx, odd)
	}
	m.emit(ctx, e)
}

// subjectOf is the application's own id of a legacy session's person, in the form
// that Stytch's external ids have: an email, however written, is none.
func subjectOf(f *foundLegacy) string {
	if f == nil {
		return ""
	}
	return safe.Only(f.session.Identity.Subject, "._-|", maxExternalID)
}

func (m *Middleware) reportLogout(ctx context.Context, f *found, legacy []*foundLegacy, err error) {
	out := found{err: err}
	if len(legacy) > 0 {
		out.legacy = legacy[0]
	}
	if f != nil {
		out.outcome, out.user = f.outcome, f.user
	}
	m.emit(ctx, m.event(kindLogout, &out))
}

// event is what can be told of a request without a secret or an email.
func (m *Middleware) event(kind string, f *found) Event {
	e := Event{Kind: kind, Outcome: f.outcome, Cause: f.cause, Err: f.err}
	if f.user != nil {
		e.UserID = safe.Identifier(f.user.UserID)
	}
	if f.legacy != nil && m.cfg.OnEvent != nil {
		e.Fingerprint = m.fingerprint(f.legacy)
	}
	if f.outcome == OutcomeRefused {
		e.Subject = subjectOf(f.legacy) // somebody has to be mended, and Stytch has no id to tell whom
	}
	if f.err == nil {
		return e
	}
	if e.Cause == "" {
		e.Cause = causeOf(f.err)
	}
	var api *Error
	if errors.As(f.err, &api) {
		e.RequestID, e.ErrorType = api.RequestID, api.Type
	}
	return e
}

// The causes that no error tells. What an error tells is in causeOf.
const (
	causeMemory   = session.Memory
	causeExchange = "exchange"
	causeRecord   = "record"
	causeHeldBack = "held_back"
	causeUntil    = "until"

	causeApplication = "application" // an error may tell something else of the same request

	causeFailed     = "failed"
	causeUnreadable = "unreadable"
	causeRecovered  = "recovered"
)

// causeOf is why an error made a request what it is.
func causeOf(err error) string {
	switch call := stytch.AsCall(err); {
	case errors.Is(err, exchange.ErrLoggedOut):
		return "logged_out"
	case errors.Is(err, exchange.ErrAnotherPerson):
		return "another_person"
	case errors.Is(err, exchange.ErrPace):
		return "per_second"
	case errors.Is(err, session.ErrBrake):
		return "brake"
	case call == nil:
		return causeApplication
	case call.API != nil:
		return "stytch"
	case call.Answer == stytch.No:
		return "identity"
	case exchange.IsFull(call):
		return "in_flight"
	case call.HeldBack():
		return causeHeldBack
	case call.Late:
		return "timed_out"
	}
	return "no_answer"
}

func (m *Middleware) emit(ctx context.Context, e Event) {
	if m.cfg.OnEvent != nil {
		m.cfg.OnEvent(ctx, e)
	}
}

// logError logs what kept the middleware from telling, unless it was a call to
// Stytch: the client logs those.
func (m *Middleware) logError(ctx context.Context, err error) {
	if err != nil && stytch.AsCall(err) == nil {
		m.cfg.Logger.LogAttrs(ctx, slog.LevelError, err.Error())
	}
}

// jwksFetched hears of each fetch of the key set.
func (m *Middleware) jwksFetched(err error, keys int) {
	ctx := context.Background() // of no request: those that wait share the fetch
	if err == nil {
		if m.keysFailed.Swap(false) {
			m.loud(kindJWKS, nil)
		}
		return
	}
	m.keysFailed.Store(true)
	m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: key set could not be fetched", slog.String("reason", err.Error()))
	m.aloud.Add(func() { m.emit(ctx, Event{Kind: kindJWKS, Cause: causeFailed, Err: err}) }) // before it is told to be over
}

// loud tells, in the log and as an event, of what concerns no single request; with
// a nil err, that it is over. It is called from calls that requests share: the
// application's code runs elsewhere. What failed and has recovered is told in that
// order, or who counts on the last word would have it in trouble for ever.
func (m *Middleware) loud(kind string, err error) {
	m.aloud.Add(func() {
		ctx, e := context.Background(), Event{Kind: kind, Err: err}
		switch {
		case err == nil:
			e.Cause = causeRecovered
		case errors.Is(err, vault.ErrUnreadable):
			e.Cause = causeUnreadable
		case kind != kindRevocation:
			e.Cause = causeFailed
		}
		if err == nil {
			m.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "stytchmigrate: "+kind+": "+causeRecovered)
		} else {
			m.cfg.Logger.LogAttrs(ctx, slog.LevelError, err.Error())
		}
		m.emit(ctx, e)
	})
}

func (m *Middleware) storeFailed(err error) { m.loud(kindStore, err) }
func (m *Middleware) doubted(err error)     { m.loud(kindBrake, err) }
func (m *Middleware) unrevoked(err error)   { m.loud(kindRevocation, err) }

// noticed hears of calls that are held back from now on, or no longer.
func (m *Middleware) noticed(n outbound.Notice) {
	kind, level := kindBreaker, slog.LevelInfo
	cause := strings.ReplaceAll(strings.TrimPrefix(n.What, "breaker "), "-", "_")
	switch n.What {
	case "paused":
		kind, level = kindPaused, slog.LevelWarn
	case "breaker open":
		level = slog.LevelWarn
	}
	ctx := context.Background() // of no request: it is about all of them
	m.cfg.Logger.LogAttrs(ctx, level, "stytchmigrate: "+n.What, slog.String("calls", n.Lane),
		slog.Uint64("failures", uint64(n.Failures)), slog.Duration("duration", n.For))
	m.emit(ctx, Event{Kind: kind, Cause: cause, Calls: n.Lane, Duration: n.For, Err: fmt.Errorf("stytchmigrate: %s: %s", n.Lane, n.What)})
}
