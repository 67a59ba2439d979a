// Package stytch is what the rules of this module know of Stytch: a [Session], the
// questions of an [API], and what an error means. What the bodies look like, of one
// API of Stytch's or another, and how they travel, is for the API alone.
package stytch

import (
	"context"
	"encoding/json"
	"time"

	"example.com/stytchmigrate/internal/identity"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/userinfo"
)

const (
	// OriginClaim is the custom claim of every session that came from a legacy one:
	// the key of that one's record.
	OriginClaim = "legacy_session"

	// MaxToken is the length of what is sent to Stytch as a token of a browser's.
	MaxToken = 4 << 10
)

// Session is a session that Stytch vouched for. It is read-only.
type Session struct {
	ID, UserID string
	Origin     string // the claim OriginClaim, "" where there is none
	StartedAt  time.Time
	ExpiresAt  time.Time
	Token, JWT redact.Secret // Token is "" where only the JWT is known
	User       identity.User

	// Answer is all that Stytch said, in types of the API's: it is for the API, and
	// for who hands it to the application.
	Raw any
}

// API asks Stytch. An error that it returns is a [*CallError].
type API interface {
	// Exchange makes a session of a legacy one. Where the answer tells of a session no
	// more than its tokens and its user, ID is "".
	Exchange(ctx context.Context, in ExchangeRequest) (*Session, error)

	// Authenticate asks about a session, and has it extended to live for minutes from
	// now on, unless that is 0.
	Authenticate(ctx context.Context, p SessionRef, minutes int) (*Session, error)

	// Revoke ends a session. One that Stytch does not know has ended.
	Revoke(ctx context.Context, p SessionRef) error

	// CreateUser makes a user and returns the id of it, or "" where somebody else has
	// made it: another machine, or a try whose answer was lost.
	CreateUser(ctx context.Context, id userinfo.Identity) (userID string, err error)
}

// Exchange is what Stytch is given for a legacy session.
type ExchangeRequest struct {
	Token       redact.Secret // shown to the UserInfo endpoint
	Minutes     int
	Claims      json.RawMessage // encoded already: MarshalJSON may be the application's
	TelemetryID string
}

// Proof names a session in exactly one way.
type SessionRef struct {
	ID         string
	Token, JWT redact.Secret

	// Vouched says that something checked here speaks for it: a JWT of the project,
	// though it has expired, or what is in memory. What anybody may have made up is held
	// to a limit, and this is not. An ID always is.
	Vouched bool
}

// IsToken reports whether v is a cookie-value that needs no quoting
// (RFC 6265 section 4.1.1, cookie-octet), and is not empty: all tokens of Stytch's
// are.
func IsToken(v string) bool {
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\' {
			return false
		}
	}
	return v != ""
}
