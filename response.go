package stytchmigrate

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"example.com/stytchmigrate/internal/identity"
	"example.com/stytchmigrate/internal/redact"
)

// MigrateResponse is the answer of POST /v1/sessions/migrate. It prints and logs
// without its tokens and without the user's data. Encoded as JSON it has them: it
// is for storage then, not for a log, and a log handler that encodes JSON gets
// them too where it is handed a slice, map or struct with a MigrateResponse inside.
//
// It and the types of its members are Stytch's answers as its API describes them,
// member by member: https://stytch.com/docs/api. What is true of all of them:
//
//   - Stytch's API promises each member that is tagged required. Only those tagged
//     need:"value" were in the body for sure, and not null. They may be empty. One that
//     is tagged need:"type" may have been absent or null.
//   - Any other member that was absent, null or of another type is zero: the user is
//     not refused for what nothing here acts on. The log says so once. But an object
//     that was of another type is a pointer to a zero struct.
//   - An optional object that was absent or null is a nil pointer or map, an
//     optional timestamp a zero time.Time. An optional string that was absent is
//     "" and encodes as "": Stytch itself sends "" where it has no value, and
//     what was there is there again when a value is decoded and encoded.
//   - Times are in UTC, to the nanosecond.
//   - Numbers in metadata and custom claims are json.Number, for a float64 would
//     round large integers.
//   - Status, Type and the like are strings: new values appear without notice.
//
// They are plain values without locks: safe to read from many goroutines.
type MigrateResponse struct {
	RequestID    string      `json:"request_id" required:"true"`
	UserID       string      `json:"user_id" required:"true" need:"value"`
	SessionToken Secret      `json:"session_token" required:"true" need:"value"`
	SessionJWT   Secret      `json:"session_jwt" required:"true" need:"value"`
	User         User        `json:"user" required:"true" need:"value"`
	StatusCode   int         `json:"status_code" required:"true"`
	Session      *Session    `json:"session,omitzero" need:"type"` // nil if no duration was sent
	UserDevice   *DeviceInfo `json:"user_device,omitzero"`         // nil if no telemetry id was sent
}

// AuthenticateResponse is the answer of POST /v1/sessions/authenticate. It
// prints, logs and encodes as MigrateResponse does.
type AuthenticateResponse struct {
	RequestID    string                `json:"request_id" required:"true"`
	Session      Session               `json:"session" required:"true" need:"value"`
	SessionToken Secret                `json:"session_token" required:"true" need:"value"`
	SessionJWT   Secret                `json:"session_jwt" required:"true" need:"value"`
	User         User                  `json:"user" required:"true" need:"value"`
	StatusCode   int                   `json:"status_code" required:"true"`
	Verdict      *AuthorizationVerdict `json:"verdict,omitzero"` // nil if no authorization check was asked for
}

// RevokeResponse is the answer of POST /v1/sessions/revoke.
type RevokeResponse struct {
	RequestID  string `json:"request_id" required:"true"`
	StatusCode int    `json:"status_code" required:"true"`
}

const maxExternalID = 128 // characters, as Stytch's API reference has it

// User is a Stytch user.
type User struct {
	// Partial is true where the user is known from the session's JWT alone. Only
	// UserID is set then: no emails means that they are not known.
	Partial bool `json:"-"`

	UserID                 string                  `json:"user_id" required:"true" need:"value"`
	Emails                 []Email                 `json:"emails" required:"true" need:"value"`
	Status                 string                  `json:"status" required:"true"` // pending or active
	PhoneNumbers           []PhoneNumber           `json:"phone_numbers" required:"true"`
	WebAuthnRegistrations  []WebAuthnRegistration  `json:"webauthn_registrations" required:"true"`
	Providers              []OAuthProvider         `json:"providers" required:"true"`
	TOTPs                  []TOTP                  `json:"totps" required:"true"`
	CryptoWallets          []CryptoWallet          `json:"crypto_wallets" required:"true"`
	BiometricRegistrations []BiometricRegistration `json:"biometric_registrations" required:"true"`
	IsLocked               bool                    `json:"is_locked" required:"true"`
	Roles                  []string                `json:"roles" required:"true"`
	Name                   *Name                   `json:"name,omitzero"`
	CreatedAt              time.Time               `json:"created_at,omitzero"`
	Password               *Password               `json:"password,omitzero"`
	TrustedMetadata        map[string]any          `json:"trusted_metadata,omitzero"`
	UntrustedMetadata      map[string]any          `json:"untrusted_metadata,omitzero"` // the user can edit it: decide nothing by it
	ExternalID             string                  `json:"external_id" need:"type"`     // the application's own id of the user
	LockCreatedAt          time.Time               `json:"lock_created_at,omitzero"`
	LockExpiresAt          time.Time               `json:"lock_expires_at,omitzero"`
}

// Email is an address of a User.
type Email struct {
	EmailID  string `json:"email_id" required:"true"`
	Email    string `json:"email" required:"true" need:"value"`
	Verified bool   `json:"verified" required:"true" need:"value"`
}

// PhoneNumber is a telephone number of a User.
type PhoneNumber struct {
	PhoneID     string `json:"phone_id" required:"true"`
	PhoneNumber string `json:"phone_number" required:"true"`
	Verified    bool   `json:"verified" required:"true"`
}

// WebAuthnRegistration is a passkey or security key of a User.
type WebAuthnRegistration struct {
	WebAuthnRegistrationID string `json:"webauthn_registration_id" required:"true"`
	Domain                 string `json:"domain" required:"true"`
	UserAgent              string `json:"user_agent" required:"true"`
	Verified               bool   `json:"verified" required:"true"`
	AuthenticatorType      string `json:"authenticator_type" required:"true"` // platform, cross-platform or ""
	Name                   string `json:"name" required:"true"`
}

// OAuthProvider is an account elsewhere that a User signs in with.
type OAuthProvider struct {
	ProviderType            string `json:"provider_type" required:"true"`
	ProviderSubject         string `json:"provider_subject" required:"true"`
	ProfilePictureURL       string `json:"profile_picture_url" required:"true"`
	Locale                  string `json:"locale" required:"true"`
	OAuthUserRegistrationID string `json:"oauth_user_registration_id" required:"true"`
}

// TOTP is an authenticator app of a User.
type TOTP struct {
	TOTPID   string `json:"totp_id" required:"true"`
	Verified bool   `json:"verified" required:"true"`
}

// CryptoWallet is a wallet of a User.
type CryptoWallet struct {
	CryptoWalletID      string `json:"crypto_wallet_id" required:"true"`
	CryptoWalletAddress string `json:"crypto_wallet_address" required:"true"`
	CryptoWalletType    string `json:"crypto_wallet_type" required:"true"`
	Verified            bool   `json:"verified" required:"true"`
}

// BiometricRegistration is a fingerprint or face of a User, as their device
// vouches for it.
type BiometricRegistration struct {
	BiometricRegistrationID string `json:"biometric_registration_id" required:"true"`
	Verified                bool   `json:"verified" required:"true"`
}

// Name is what a User is called. Each part may be empty.
type Name struct {
	FirstName  string `json:"first_name"`
	MiddleName string `json:"middle_name"`
	LastName   string `json:"last_name"`
}

// Password says that a User has one.
type Password struct {
	PasswordID    string `json:"password_id" required:"true"`
	RequiresReset bool   `json:"requires_reset" required:"true"`
}

// Session is a Stytch session. Numbers in CustomClaims are json.Number. Where
// User.Partial is true it is what the session's JWT says. When a newer JWT comes, the
// factors, roles, custom claims and dates are those of that JWT.
type Session struct {
	SessionID             string                 `json:"session_id" required:"true" need:"value"`
	UserID                string                 `json:"user_id" required:"true" need:"type"`
	AuthenticationFactors []AuthenticationFactor `json:"authentication_factors" required:"true"`
	Roles                 []string               `json:"roles" required:"true"`
	StartedAt             time.Time              `json:"started_at,omitzero" need:"type"`
	LastAccessedAt        time.Time              `json:"last_accessed_at,omitzero"`
	ExpiresAt             time.Time              `json:"expires_at,omitzero" need:"type"`
	Attributes            *Attributes            `json:"attributes,omitzero"`
	CustomClaims          map[string]any         `json:"custom_claims,omitzero"`
}

// Attributes are where a Session was started, as far as Stytch was told.
type Attributes struct {
	IPAddress string `json:"ip_address"`
	UserAgent string `json:"user_agent"`
}

// DeviceInfo is what Stytch's device fingerprinting knows of a user's device.
type DeviceInfo struct {
	VisitorID           string                  `json:"visitor_id" required:"true"`
	VisitorIDDetails    *DeviceAttributeDetails `json:"visitor_id_details,omitzero"`
	IPAddress           string                  `json:"ip_address"`
	IPAddressDetails    *DeviceAttributeDetails `json:"ip_address_details,omitzero"`
	IPGeoCity           string                  `json:"ip_geo_city"`
	IPGeoRegion         string                  `json:"ip_geo_region"`
	IPGeoCountry        string                  `json:"ip_geo_country"`
	IPGeoCountryDetails *DeviceAttributeDetails `json:"ip_geo_country_details,omitzero"`
}

// DeviceAttributeDetails tells whether the user was seen with an attribute of
// DeviceInfo before.
type DeviceAttributeDetails struct {
	IsNew       bool      `json:"is_new" required:"true"`
	FirstSeenAt time.Time `json:"first_seen_at,omitzero"`
	LastSeenAt  time.Time `json:"last_seen_at,omitzero"`
}

// AuthorizationVerdict is the answer to an authorization check.
type AuthorizationVerdict struct {
	Authorized    bool     `json:"authorized" required:"true"`
	GrantingRoles []string `json:"granting_roles" required:"true"`
}

// MarshalJSON writes the tokens themselves; see MigrateResponse.
func (r MigrateResponse) MarshalJSON() ([]byte, error) {
	type plain MigrateResponse // without this method; the fields below hide its tokens
	return json.Marshal(struct {
		plain
		SessionToken string `json:"session_token"`
		SessionJWT   string `json:"session_jwt"`
	}{plain(r), string(r.SessionToken), string(r.SessionJWT)})
}

// LogValue is a group of request_id, user_id, session_id and status_code.
func (r MigrateResponse) LogValue() slog.Value {
	session := ""
	if r.Session != nil {
		session = r.Session.SessionID
	}
	return summary(r.RequestID, r.UserID, session, r.StatusCode)
}

// Format writes what LogValue says, for every verb.
func (r MigrateResponse) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, r.LogValue().String()) }

// MarshalJSON writes the tokens themselves; see MigrateResponse.
func (r AuthenticateResponse) MarshalJSON() ([]byte, error) {
	type plain AuthenticateResponse
	return json.Marshal(struct {
		plain
		SessionToken string `json:"session_token"`
		SessionJWT   string `json:"session_jwt"`
	}{plain(r), string(r.SessionToken), string(r.SessionJWT)})
}

// LogValue is a group of request_id, user_id, session_id and status_code.
func (r AuthenticateResponse) LogValue() slog.Value {
	return summary(r.RequestID, r.User.UserID, r.Session.SessionID, r.StatusCode)
}

// Format writes what LogValue says, for every verb.
func (r AuthenticateResponse) Format(w fmt.State, _ rune) {
	_, _ = io.WriteString(w, r.LogValue().String())
}

// summary is all of an answer that may be logged. What is no identifier stays
// out: an answer is not checked for what Stytch puts where.
func summary(requestID, userID, sessionID string, status int) slog.Value {
	return slog.GroupValue(
		slog.String("request_id", redact.Identifier(requestID)), slog.String("user_id", redact.Identifier(userID)),
		slog.String("session_id", redact.Identifier(sessionID)), slog.Int("status_code", status))
}

// Error is an error that Stytch answered with. Type is one of those listed at
// https://stytch.com/docs/api/errors, or "" where something on the way answered
// instead of Stytch. Message may hold an email address: it is there to be read by
// code, and never printed, logged or encoded, by whatever verb or handler.
type Error struct {
	StatusCode int    `json:"status_code"` // of the HTTP answer, whatever its body says
	RequestID  string `json:"request_id"`
	Type       string `json:"error_type"`
	Message    string `json:"error_message"`
	URL        string `json:"error_url"`
}

// Error returns, for one, "stytchmigrate: stytch answered 404 session_not_found
// (request_id request-id-live-1)".
func (e *Error) Error() string {
	text := "stytchmigrate: stytch answered " + strconv.Itoa(e.StatusCode)
	if e.Type != "" {
		text += " " + e.Type
	}
	if e.RequestID != "" {
		text += " (request_id " + e.RequestID + ")"
	}
	return text
}

// Format writes Error's text, for every verb. Its receiver is a value, as
// LogValue's and MarshalJSON's are, so that an Error that is no pointer keeps its
// Message to itself too.
func (e Error) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, e.Error()) }

// LogValue is a group of status_code, error_type and request_id.
func (e Error) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("status_code", e.StatusCode),
		slog.String("error_type", e.Type), slog.String("request_id", e.RequestID))
}

// MarshalJSON leaves error_message out.
func (e Error) MarshalJSON() ([]byte, error) {
	type plain Error
	return json.Marshal(struct {
		plain
		Message string `json:"error_message,omitempty"` // hides plain's
	}{plain: plain(e)})
}

// toIdentity returns what tells whether a user is a legacy session's person.
func (u *User) toIdentity() identity.User {
	p := identity.User{HasDetails: !u.Partial, ExternalID: u.ExternalID, Emails: make([]identity.Email, len(u.Emails))}
	for i, e := range u.Emails {
		p.Emails[i] = identity.Email{Address: e.Email, Verified: e.Verified}
	}
	p.OwnFactor = u.Password != nil || hasSome(u.WebAuthnRegistrations) || hasSome(u.Providers) || hasSome(u.PhoneNumbers) ||
		hasSome(u.TOTPs) || hasSome(u.CryptoWallets) || hasSome(u.BiometricRegistrations)
	return p
}

// hasSome reports whether a list of factors has any, or was not in the answer: then it
// must not count as empty, because the identity guard acts on that.
func hasSome[T any](factors []T) bool { return factors == nil || len(factors) > 0 }

// take takes what a newer JWT says of the session. A JWT may lack roles, factors and the
// last access: then it says nothing of them.
func (s *Session) take(newer *Session) {
	s.CustomClaims = newer.CustomClaims
	if newer.Roles != nil {
		s.Roles = newer.Roles
	}
	if newer.AuthenticationFactors != nil {
		s.AuthenticationFactors = newer.AuthenticationFactors
	}
	if !newer.LastAccessedAt.IsZero() {
		s.LastAccessedAt = newer.LastAccessedAt
	}
}
