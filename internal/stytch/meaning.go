package stytch

import "strings"

// Meaning is what an error of Stytch means for the operation that it answers.
type Meaning int

const (
	// Unclear says nothing about the session or the user. It is an outage, a rate
	// limit, a wrong setting of the application, or an answer that is not Stytch's.
	Unclear Meaning = iota

	NoSession  // Stytch does not know the session or its token, or no longer accepts it
	NoUser     // Stytch has no user with the email that the UserInfo endpoint returned
	UserLocked // the user failed to sign in too often
	UserExists // there already is a user with this email or external id
	UnlistedNo // an error type that is not listed here
)

// Answer is CantTell for Unclear, and No for all others.
func (m Meaning) Answer() Answer {
	if m == Unclear {
		return CantTell
	}
	return No
}

// NoUserInfo is the type of the error that the UserInfo endpoint gave Stytch no
// good answer.
const NoUserInfo = "migrate_from_external_unexpected_response"

// Interpret tells what an error of Stytch means for an operation.
//
// Only a 4xx with a body in Stytch's form can be a "no". A gateway's 404 says nothing
// about a session, and neither does a 5xx, whatever its body says.
//
// After an authenticate or a revoke, a "no" clears cookies. So there, only the listed
// types are a "no". After the other operations nothing is lost by a "no", so there an
// error type that is not listed is one too.
//
// Error types: https://stytch.com/docs/api/errors
func Interpret(op Op, e *APIError) Meaning {
	if e.Status < 400 || e.Status > 499 {
		return Unclear
	}
	if listed := listedMeaning(op, e.Type); listed != Unclear {
		return listed
	}
	if op == Authenticate || op == Revoke || e.isAboutCaller() {
		return Unclear
	}
	return UnlistedNo
}

// listedMeaning lists the error types that are about the session or the user of an
// operation. It returns Unclear for any other type.
func listedMeaning(op Op, errorType string) Meaning {
	switch errorType {
	case "session_not_found", "invalid_session_token", "unable_to_parse_session_jwt",
		"jwt_invalid_audience", "jwt_invalid_claims", "jwt_invalid_issuer":
		return NoSession
	}
	switch op {
	case Migrate:
		switch errorType {
		case "migrate_from_external_email_does_not_exist", "user_not_found", "email_not_found":
			return NoUser
		case "user_lock_limit_reached":
			return UserLocked
		}
	case CreateUser:
		if strings.HasPrefix(errorType, "duplicate_") { // duplicate_email, and the same for an external id
			return UserExists
		}
	}
	return Unclear
}

// isAboutCaller reports a 4xx that is about the application or its load, or that
// is not in Stytch's form.
func (e *APIError) isAboutCaller() bool {
	const requestTimeout, tooManyRequests = 408, 429 // RFC 9110 section 15.5.9, RFC 6585 section 4
	switch e.Type {
	case "", NoUserInfo, "too_many_requests", "too_few_tokens_authenticated",
		"internal_server_error", "server_unavailable", "unavailable_endpoint", "unknown_error", "client_closed_request":
		return true
	}
	return e.Setting() != "" || e.Status == requestTimeout || e.Status == tooManyRequests
}

// RefusesExtension reports that Stytch does not make a session live longer. The session
// itself may be alive: only a question without a duration tells.
func (e *APIError) RefusesExtension() bool {
	switch e.Type {
	case "session_not_mutable", "session_not_mutable_impersonated", "invalid_session_duration", "invalid_session_duration_minutes":
		return e.Status >= 400 && e.Status <= 499
	}
	return false
}

// RefusesExternalID reports that a user was not created because of the external id. No
// list of Stytch's names that error. Stytch's pages do not agree on "|", as in "auth0|x",
// so with it any error about the request counts. An id that another user has is no such
// error.
func (e *APIError) RefusesExternalID(id string) bool {
	return id != "" && Interpret(CreateUser, e) == UnlistedNo && (strings.Contains(id, "|") || strings.Contains(e.Type, "external_id"))
}

// IsUnknownUser reports whether an exchange failed because Stytch has no user with
// the email that the UserInfo endpoint returned.
func (e *APIError) IsUnknownUser() bool { return Interpret(Migrate, e) == NoUser }
