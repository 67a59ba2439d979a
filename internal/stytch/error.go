package stytch

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Answer is what a reply means for the session it was about. The zero value
// is "can't tell", so that a path nobody thought of never reads as "no".
type Answer int

const (
	CantTell Answer = iota
	Yes
	No
)

// The calls, as logs and errors name them.
const (
	Migrate      = "migrate"
	Authenticate = "authenticate"
	Revoke       = "revoke"
	CreateUser   = "create_user"
	JWKS         = "jwks"
)

// APIError is what Stytch answered in place of what was asked for.
type APIError struct {
	Status    int
	Type      string // an identifier, or "": something on the way answered
	RequestID string
	Err       error // the same, as the application is told it
}

// CallError is why a call brought no session: Stytch's error (API), or none
// came. Its text holds nothing that a peer wrote but identifiers.
type CallError struct {
	Op         string
	API        *APIError
	Reason     string
	Answer     Answer
	RetryAfter time.Duration // zero: there is none that makes sense
	NoSlot     bool          // not sent, for as many calls as may be were in flight
	TimedOut   bool          // no answer came in time
}

// HeldBack reports a call that was not sent. Only it has a RetryAfter and no
// answer that gave it.
func (e *CallError) HeldBack() bool { return e.API == nil && e.RetryAfter > 0 }

func (e *CallError) Error() string {
	if e.API != nil {
		return e.API.Err.Error() + " to " + e.Op
	}
	return "stytchmigrate: " + e.Op + ": " + e.Reason
}

// Format writes Error's text, for every verb. For one that does not fit, as %t,
// package fmt would print the fields, and those behind its pointer.
func (e *CallError) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, e.Error()) }

func (e *CallError) Unwrap() error {
	if e.API == nil {
		return nil
	}
	return e.API.Err
}

// ErrNoAnswer is why a request gave up: its time was over, or its client gone.
// The call goes on.
var ErrNoAnswer = &CallError{Op: "call", Reason: "no answer within the time of the request", TimedOut: true}

// AnswerOf is the meaning of a call's error: nil is yes.
func AnswerOf(err error) Answer {
	if err == nil {
		return Yes
	}
	if call := AsCall(err); call != nil {
		return call.Answer
	}
	return CantTell
}

// AsCall returns the CallError in err, or nil.
func AsCall(err error) *CallError {
	var call *CallError
	errors.As(err, &call)
	return call
}

// Meaning tells what an error of Stytch says about the session that was asked
// about. Only a 4xx with a body in Stytch's form can say "no": a 404 of some
// gateway on the way says nothing, and neither does a server that is failing. On
// authenticate a "no" clears cookies, so there it takes an error that is known to
// mean it; on migrate and create_user nothing is lost by it.
// Error types: https://stytch.com/docs/api/errors
func Interpret(op string, e *APIError) Answer {
	switch {
	case e.Status < 400 || e.Status > 499:
		return CantTell
	case SaysNo(op, e.Type):
		return No
	case op == Authenticate || op == Revoke || e.Setting() != "" || e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout:
		return CantTell
	}
	switch e.Type {
	case "", NoUserInfo, "too_many_requests", "too_few_tokens_authenticated":
		return CantTell
	}
	return No
}

// NoUserInfo is the type of the error that the UserInfo endpoint gave Stytch no
// good answer.
const NoUserInfo = "migrate_from_external_unexpected_response"

// SaysNo reports whether an error type is about the session or the user that
// was asked about, whatever its status.
func SaysNo(op, errorType string) bool {
	switch errorType {
	case "session_not_found", "invalid_session_token", "unable_to_parse_session_jwt",
		"jwt_invalid_audience", "jwt_invalid_claims", "jwt_invalid_issuer":
		return true
	case "migrate_from_external_email_does_not_exist", "user_not_found", "email_not_found", "user_lock_limit_reached":
		return op == Migrate
	}
	return op == CreateUser && strings.HasPrefix(errorType, "duplicate_") // _email, or as likely _external_id
}

// Setting names the setting that an error of Stytch complains about, or
// "" where it is not about a setting of ours.
func (e *APIError) Setting() string {
	switch e.Type {
	case "migrate_from_external_missing_userinfo", "invalid_userinfo_url":
		return "UserInfo URL in the Stytch dashboard"
	case "route_not_found":
		return "Config.BaseURL"
	case "unauthorized_credentials", "invalid_secret_authentication", "invalid_project_id_authentication",
		"unauthorized_project_id_live", "unauthorized_project_id_test", "project_not_found":
		return "Config.ProjectID or Config.Secret"
	}
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return "Config.ProjectID or Config.Secret"
	}
	return ""
}

// IsUnknownUser reports the answer of an exchange that Stytch has no user with
// the email which the UserInfo endpoint told.
func (e *APIError) IsUnknownUser() bool {
	switch e.Type {
	case "migrate_from_external_email_does_not_exist", "user_not_found", "email_not_found":
		return e.Status >= 400 && e.Status <= 499
	}
	return false
}

// IsDuplicate reports a user who is there already.
func (e *CallError) IsDuplicate() bool { return e.API != nil && SaysNo(CreateUser, e.API.Type) }
