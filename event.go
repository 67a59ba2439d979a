package stytchmigrate

import (
	"log/slog"
	"time"
)

// The kinds of events.
const (
	kindRequest    = "request"
	kindConflict   = "conflict"
	kindMismatch   = "mismatch"
	kindCreated    = "created"
	kindShadow     = "shadow"
	kindLogout     = "logout"
	kindSignIn     = "signin"
	kindRevocation = "revocation"
	kindJWKS       = "jwks"
	kindStore      = "store"
	kindBrake      = "brake"
	kindBreaker    = "breaker"
	kindPaused     = "paused"
	kindNotKept    = "not_kept"
	kindStillSet   = "still_set"

	kindWrongCookie   = "wrong_cookie"
	kindNoOldCookie   = "no_old_cookie"
	kindComesAgain    = "comes_again"
	kindPlainHTTP     = "plain_http"
	kindUnheardLogout = "unheard_logout"
)

// Event tells what happened, for metrics and audit. It holds no secret and no
// email.
type Event struct {
	// Kind is "request" for the one event of each request that is not excluded,
	// "logout" for each call of Logout, with no user where a login calls it, and else what deserves a look:
	//
	//   - signin: a call of SignIn, with the outcome authenticated; or refused, where the
	//     token or the JWT is no session; or unavailable, where nobody could be signed in
	//     now. Err of an authenticated one says which session before may not have ended
	//   - mismatch: Stytch's user is not, or no longer, the legacy session's person;
	//     or Stytch answered with another session than was asked about
	//   - created: Config.CreateUsers made a user
	//   - shadow: StageShadow tried a legacy session out. Outcome, Cause and ErrorType
	//     are what it would have come to
	//   - conflict: one request carried two people's sessions
	//   - not_kept: a browser was given the same session with three pages in a row, and
	//     did not bring it; once for each legacy session. See Config.Cookies
	//   - wrong_cookie: the first 20 values of an old cookie were all no session, so its name
	//     or its keys are wrong, unless all of them were visitors'; once in a process, as are the line in the log and the
	//     events of the other common mistakes, whose Err says the remedy
	//   - no_old_cookie: of the first 1000 requests with cookies none had an old cookie or a
	//     live Stytch session, so the name of the old cookie is wrong
	//   - comes_again: an old cookie came again after each of three responses that expired
	//     it, so a middleware outside of Handler sets it, or LegacyCookie.Scopes is wrong
	//   - plain_http: a browser does not keep the Stytch cookies, which are Secure, and its
	//     requests come over plain HTTP. See CookieOptions.Insecure
	//   - still_set: a handler still sets the old cookie in StageRetired, which therefore acts
	//     as StageObserve; at most once a minute
	//   - unheard_logout: a handler answered a GET by expiring the old cookie, which did not
	//     come. If it is the old logout, it has ended no Stytch session: call Logout in it.
	//     Once in a process
	//   - revocation: a session that no browser should have could not be revoked
	//   - jwks: the key set could not be fetched
	//   - store: Config.Store failed, or holds what can't be read
	//   - brake: Stytch suddenly knows so few sessions that it is not believed
	//   - breaker: the circuit breaker opened, let a trial call through, or closed
	//   - paused: Stytch asked for no more exchanges for a time, or refuses them all
	//
	// Kinds jwks, store and brake come once more, with Cause "recovered", when it works again.
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
	//     rollout's; still_set, where StageRetired acts as StageObserve; in_flight, where there was no place for one more exchange, or another
	//     machine exchanges this session
	//   - of refused: logged_out; identity, whom nothing verifies; another_person, whom
	//     Stytch knows under that email or id; unverified, whose email Stytch has not
	//     verified; stytch, which said no (see ErrorType)
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
	Err         error  // why, where the outcome is Refused, Unavailable, or Legacy because there was no room; an *Error inside it is Stytch's answer
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
