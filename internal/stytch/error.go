package stytch

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Answer is what an operation says about the session that it was about. The zero
// value is "can't tell", so that a case that the code forgets is never read as "no".
type Answer int

const (
	CantTell Answer = iota
	Yes
	No
)

// Op names an operation of Stytch in logs and errors.
type Op string

const (
	Migrate      Op = "migrate"
	Authenticate Op = "authenticate"
	Revoke       Op = "revoke"
	CreateUser   Op = "create_user"
	List         Op = "list_sessions"
	JWKS         Op = "jwks"
)

// APIError is an error that Stytch, or something between us and Stytch, answered.
type APIError struct {
	Status    int
	Type      string // an identifier; "" if the body is not in Stytch's form
	RequestID string
	Err       error // the same error, in the type that the application knows
}

// CallError is the reason why an operation failed. Its text holds no value that
// Stytch or a transport wrote, but for identifiers.
type CallError struct {
	Op         Op
	API        *APIError // nil: Stytch did not answer, or its answer can't be used
	Reason     string    // if API is nil
	Answer     Answer
	RetryAfter time.Duration // zero: unknown
	NoSlot     bool          // not sent, because too many calls were in flight
	TimedOut   bool          // Stytch did not answer in time
	Unusable   bool          // Stytch answered 200, and the answer can't be used
	Made       SessionRef    // the session that such an answer to an exchange names, which is to be revoked; or zero
}

// HeldBack reports whether the call was not sent. Only such an error has a
// RetryAfter without an answer of Stytch.
func (e *CallError) HeldBack() bool { return e.API == nil && e.RetryAfter > 0 }

func (e *CallError) Error() string {
	if e.API != nil {
		return e.API.Err.Error() + " to " + string(e.Op)
	}
	return "stytchmigrate: " + string(e.Op) + ": " + e.Reason
}

// Format writes Error's text for every verb. For a verb that does not fit, such as
// %t, package fmt would print the fields and what the pointer in them leads to.
func (e *CallError) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, e.Error()) }

func (e *CallError) Unwrap() error {
	if e.API == nil {
		return nil
	}
	return e.API.Err
}

// ErrNoAnswer is the error of a request that stopped waiting, because its time was
// over or its client left. The call goes on without it.
var ErrNoAnswer = &CallError{Op: "call", Reason: "no answer within the time of the request", TimedOut: true}

// AnswerOf returns the Answer in the error of an operation. For nil it is Yes.
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
