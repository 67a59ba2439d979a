// Package stytch is what the rest of this module knows about Stytch: a [Session], the
// operations of an [API], and what an error of an operation means. It knows neither
// HTTP nor the bodies of requests and answers: these are the business of an API.
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
	// OriginClaim is a custom claim of every session that a legacy session became.
	// Its value is the key of the legacy session's record.
	OriginClaim = "legacy_session"

	// BrowserClaim is a custom claim, true, of a session whose cookies go when the browser
	// is closed. A machine that knows nothing but a JWT or Stytch's answer learns it there.
	BrowserClaim = "until_browser_closes"

	// MaxToken is the length of the longest cookie value that is sent to Stytch as a
	// token.
	MaxToken = 4 << 10
)

// Session is a session that Stytch vouched for. It is read-only.
type Session struct {
	ID, UserID string
	Origin     string // the value of OriginClaim; "" if there is none
	StartedAt  time.Time
	ExpiresAt  time.Time
	Token, JWT redact.Secret // Token is "" if only the JWT is known
	User       identity.User

	// UntilBrowserCloses is the value of BrowserClaim.
	UntilBrowserCloses bool

	// Fixed means that Stytch does not let the session be extended: someone of the
	// project's staff acts as the user, for example.
	Fixed bool

	// Raw is Stytch's whole answer, in a type of the API. The API makes the
	// application's types from it.
	Raw any

	// Newer is what a newer JWT of the session than Raw's says, in the type of the
	// verifier; nil if there is none.
	Newer any
}

// API performs Stytch's operations. Each error that it returns is a [*CallError].
type API interface {
	// Exchange makes a Stytch session of a legacy session. If Stytch answers with
	// the tokens and the user only, the session's ID is "".
	Exchange(ctx context.Context, in ExchangeRequest) (*Session, error)

	// Authenticate asks about a session. It extends the session to end minutes from
	// now, unless minutes is 0.
	Authenticate(ctx context.Context, ref SessionRef, minutes int) (*Session, error)

	// Revoke ends a session. It returns nil if Stytch does not know the session.
	Revoke(ctx context.Context, ref SessionRef) error

	// List returns the live sessions of a user, named by Stytch's id or the application's.
	// Of each only ID, UserID and Origin are set.
	List(ctx context.Context, userID string) ([]Session, error)

	// CreateUser makes a user and returns its id. The id is "" if the user exists
	// already, because another machine made it, or an earlier try whose answer was
	// lost.
	CreateUser(ctx context.Context, id userinfo.Identity) (userID string, err error)
}

// ExchangeRequest is what Stytch gets of a legacy session.
type ExchangeRequest struct {
	Token       redact.Secret // Stytch shows it to the UserInfo endpoint
	Minutes     int
	Claims      json.RawMessage // encoded, because MarshalJSON may be the application's code
	TelemetryID string
}

// SessionRef names a session in exactly one way.
type SessionRef struct {
	ID         string
	Token, JWT redact.Secret

	// Vouched means that the session was verified here: its JWT is the project's,
	// though it may have expired, or the token is in memory. Calls about other
	// sessions are limited, because anyone can make up a cookie. An ID always counts
	// as vouched: it comes from Stytch or from a verified JWT.
	Vouched bool
}

// IsToken reports whether v is a cookie-value that needs no quotes (RFC 6265
// section 4.1.1, cookie-octet) and is not empty. All tokens of Stytch are.
func IsToken(v string) bool {
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\' {
			return false
		}
	}
	return v != ""
}
