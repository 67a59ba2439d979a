package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

// reporter reports what happened, by events and in the log.
type reporter struct {
	onEvent func(context.Context, Event) // may be nil
	log     *slog.Logger
	names   *names.Names

	queue      background.Queue // events that concern no single request
	keysFailed latch.Latch      // the last fetch of the key set failed
}

// fingerprint returns what tells legacy sessions apart in logs and events.
func (t *reporter) fingerprint(legacy *resolvedSession) string {
	if legacy.fingerprint != "" {
		return legacy.fingerprint
	}
	return t.names.Fingerprint(legacy.cookie.Name, string(legacy.session.ID))
}

// request sends the events of one request, and logs the second one if there is one.
func (t *reporter) request(ctx context.Context, d *decision, stage Stage, took time.Duration) {
	n := d.notable
	if n.kind == "" && t.onEvent == nil {
		return
	}
	e := t.event(kindRequest, &d.requestInfo)
	e.Duration, e.Stage = took, stage
	if n.kind != "" {
		second := e
		second.Kind = n.kind
		if d.legacy != nil {
			second.Fingerprint = t.fingerprint(d.legacy) // for the log, also without OnEvent
		}
		if n.userID != "" {
			second.UserID, second.Subject = redact.Identifier(n.userID), d.legacy.subject()
		}
		if n.kind != kindCreated { // consumer.CreateUser has logged it
			t.log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: "+n.kind, slog.Any("event", second))
		}
		t.emit(ctx, second)
	}
	t.emit(ctx, e)
}

// mistakes are the kinds of events of common mistakes, and what the log says of each, once
// in a process. The text may have a place for a cookie's name.
var mistakeTexts = map[string]string{
	kindWrongCookie: "the first 20 values of cookie %q were all no session: its name or its keys are not the old code's, unless all of them are visitors'; Explain tells of a request why",
	kindNoOldCookie: "none of the first 1000 requests with cookies had an old cookie: its name is not the old code's, or no user was signed in; Explain tells of a request which cookies it has",
	kindComesAgain:  "cookie %q comes again after each deletion: a session middleware outside of Handler sets it, and belongs inside, or Scopes does not name its Domain and Path",
	kindPlainHTTP:   "a browser drops the Stytch cookies, which are Secure, because its requests come over plain HTTP: serve HTTPS, or set Cookies.Insecure in development; a proxy that ends TLS has to send X-Forwarded-Proto: https",
}

// mistake reports a common mistake, by one line in the log and one event.
func (t *reporter) mistake(ctx context.Context, kind, setting string, args ...any) {
	text := "stytchmigrate: " + fmt.Sprintf(mistakeTexts[kind], args...)
	t.log.LogAttrs(ctx, slog.LevelWarn, text, slog.String("kind", kind), slog.String("setting", setting))
	t.emit(ctx, Event{Kind: kind, Err: redact.Text(text)})
}

// logout sends the event of a call of Logout. info is nil outside of Handler.
func (t *reporter) logout(ctx context.Context, info *requestInfo, legacy []*resolvedSession, err error) {
	out := requestInfo{err: err}
	if len(legacy) > 0 {
		out.legacy = legacy[0]
	}
	if info != nil {
		out.outcome, out.user = info.outcome, info.user
	}
	t.emit(ctx, t.event(kindLogout, &out))
}

// signIn sends the event of a call of SignIn: live is the session, err why there is none,
// and failed why another session of the browser may not have ended.
func (t *reporter) signIn(ctx context.Context, live *session.Entry, err, failed error) {
	if failed != nil {
		t.log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: signed in, but a session before it may not have ended", slog.String("reason", failed.Error()))
	}
	out := requestInfo{outcome: OutcomeAuthenticated, err: failed}
	switch {
	case err == nil:
		out.user = attachmentOf(live).info.user
	case errors.Is(err, ErrNoSession):
		out = requestInfo{outcome: OutcomeRefused, err: err}
	default:
		out = requestInfo{outcome: OutcomeUnavailable, err: err}
	}
	e := t.event(kindSignIn, &out)
	switch call := stytch.AsCall(err); {
	case err == nil: // Err is about another session
		e.Cause = ""
	case errors.Is(err, session.ErrEnded):
		e.Cause = "logged_out"
	case out.outcome == OutcomeRefused && call == nil: // it was refused here
		e.Cause = ""
	}
	t.emit(ctx, e)
}

// shadow sends the events of an exchange in StageShadow.
func (t *reporter) shadow(ctx context.Context, legacy *resolvedSession, s exchange.ShadowResult) {
	answer := stytch.AnswerOf(s.Err)
	if s.NotSent { // no client has logged it
		level := slog.LevelError // a wrong setting: no session can move
		if answer == stytch.No {
			level = slog.LevelWarn
		}
		t.log.LogAttrs(ctx, level, "stytchmigrate: legacy session could not move", slog.String("reason", settingText(s.Err)))
	}
	outcome := [...]Outcome{stytch.CantTell: OutcomeUnavailable, stytch.Yes: OutcomeMigrated, stytch.No: OutcomeRefused}[answer]
	e := t.event(kindShadow, &requestInfo{outcome: outcome, legacy: legacy, err: s.Err})
	e.Duration = s.Took
	t.emit(ctx, e)
	if s.UserID == "" {
		return
	}
	e = t.event(kindMismatch, &requestInfo{outcome: OutcomeLegacy, legacy: legacy, err: s.Err})
	e.Duration, e.UserID, e.Subject, e.Fingerprint = s.Took, redact.Identifier(s.UserID), legacy.subject(), t.fingerprint(legacy)
	t.log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: "+kindMismatch, slog.Any("event", e))
	t.emit(ctx, e)
}

// settingText returns the text of an error if it is the package's own. Another error,
// of a Tickets that the application made, may hold anything.
func settingText(err error) string {
	var setting redact.Setting
	if errors.As(err, &setting) || stytch.AsCall(err) != nil {
		return err.Error()
	}
	return "Config.Tickets could not mint a ticket"
}

// event returns what can be told of a request without a secret or an email.
func (t *reporter) event(kind string, info *requestInfo) Event {
	e := Event{Kind: kind, Outcome: info.outcome, Cause: info.cause, Err: info.err}
	if info.user != nil {
		e.UserID = redact.Identifier(info.user.UserID)
	}
	if info.legacy != nil && t.onEvent != nil {
		e.Fingerprint = t.fingerprint(info.legacy)
	}
	if info.outcome == OutcomeRefused {
		e.Subject = info.legacy.subject() // an operator has to find this user, and Stytch has given no id
	}
	if info.err == nil {
		return e
	}
	if e.Cause == "" {
		e.Cause = causeOf(info.err)
	}
	var api *Error
	if errors.As(info.err, &api) {
		e.RequestID, e.ErrorType = api.RequestID, api.Type
	}
	return e
}

// Causes that no error tells. For the others see causeOf.
const (
	causeExchange    = "exchange"
	causeRecord      = "record"
	causeHeldBack    = "held_back"
	causeUntil       = "until"
	causeApplication = "application"
	causeStillSet    = "still_set"

	causeFailed     = "failed"
	causeUnreadable = "unreadable"
	causeRecovered  = "recovered"
)

// causeOf returns the Cause that an error tells.
func causeOf(err error) string {
	switch call := stytch.AsCall(err); {
	case errors.Is(err, exchange.ErrLoggedOut):
		return "logged_out"
	case errors.Is(err, exchange.ErrAnotherPerson):
		return "another_person"
	case errors.Is(err, exchange.ErrUnverified):
		return "unverified"
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
	case call.TimedOut:
		return "timed_out"
	}
	return "no_answer"
}

func (t *reporter) emit(ctx context.Context, e Event) {
	if t.onEvent != nil {
		t.onEvent(ctx, e)
	}
}

// logError logs why it can't be told whose session a request has. The client logs
// calls to Stytch itself.
func (t *reporter) logError(ctx context.Context, err error) {
	if err != nil && stytch.AsCall(err) == nil {
		t.log.LogAttrs(ctx, slog.LevelError, err.Error())
	}
}

// jwksFetched is called after each fetch of the key set. The fetch is shared, so it
// has no context of a request.
func (t *reporter) jwksFetched(err error, keys int) {
	if err == nil {
		if t.keysFailed.Clear() {
			t.condition(kindJWKS, nil)
		}
		return
	}
	ctx := context.Background()
	t.keysFailed.Set()
	t.log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: key set could not be fetched", slog.String("reason", err.Error()))
	t.queue.Add(func() { t.emit(ctx, Event{Kind: kindJWKS, Cause: causeFailed, Err: err}) })
}

// stillSet reports that a handler still sets the old cookie in StageRetired. legacy is
// the session in it, or one that started lately.
func (t *reporter) stillSet(ctx context.Context, legacy *resolvedSession) {
	t.log.LogAttrs(ctx, slog.LevelError, "stytchmigrate: a handler still sets the old cookie; StageRetired acts as StageObserve until none has for a day",
		slog.String("setting", "Rollout.Stage"),
		slog.String("look_at", "the old login, and whatever saves the old session again: replace them, or go back to StageReplace"))
	t.emit(ctx, t.event(kindStillSet, &requestInfo{outcome: OutcomeLegacy, legacy: legacy}))
}

// condition reports that something failed that concerns no single request, or, with a
// nil err, that it works again. It is called in calls that requests share, so the
// application's OnEvent runs in the queue. The queue keeps the order: after a
// recovery that is reported too early, a monitor would show a failure forever.
func (t *reporter) condition(kind string, err error) {
	t.queue.Add(func() {
		ctx, e := context.Background(), Event{Kind: kind, Err: err}
		switch {
		case err == nil:
			e.Cause = causeRecovered
		case errors.Is(err, sealedstore.ErrUnreadable):
			e.Cause = causeUnreadable
		case kind != kindRevocation:
			e.Cause = causeFailed
		}
		if err == nil {
			t.log.LogAttrs(ctx, slog.LevelInfo, "stytchmigrate: "+kind+": "+causeRecovered)
		} else {
			t.log.LogAttrs(ctx, slog.LevelError, err.Error())
		}
		t.emit(ctx, e)
	})
}

func (t *reporter) storeFailed(err error)  { t.condition(kindStore, err) }
func (t *reporter) doubted(err error)      { t.condition(kindBrake, err) }
func (t *reporter) revokeFailed(err error) { t.condition(kindRevocation, err) }

// limited reports that the outbound transport holds calls back, or no longer does.
func (t *reporter) limited(n outbound.Notice) {
	kind := kindBreaker
	cause := strings.ReplaceAll(strings.TrimPrefix(n.What, "breaker "), "-", "_")
	if n.What == "paused" {
		kind = kindPaused
	}
	ctx := context.Background()
	t.log.LogAttrs(ctx, n.Level(), "stytchmigrate: "+n.What, slog.String("calls", n.Lane),
		slog.Uint64("failures", uint64(n.Failures)), slog.Duration("duration", n.For))
	t.emit(ctx, Event{Kind: kind, Cause: cause, Calls: n.Lane, Duration: n.For, Err: fmt.Errorf("stytchmigrate: %s: %s", n.Lane, n.What)})
}

// subject returns the application's id of the session's person, if it has the form of
// Stytch's external ids, and else "". An email, however it is written, has not.
func (s *resolvedSession) subject() string {
	if s == nil {
		return ""
	}
	return redact.Only(s.session.Identity.Subject, "._-|", maxExternalID)
}
