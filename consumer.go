package stytchmigrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/identity"
	"example.com/stytchmigrate/internal/rawjson"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/userinfo"
)

const (
	maxClaims     = 4 << 10 // session_custom_claims, encoded
	maxExternalID = 128     // as Stytch's API reference has it
	maxName       = 512     // bytes, as in a ticket: a long name must keep nobody from moving

	// maxSessionToken is far beyond Stytch's 44 characters. A longer one would
	// crowd a cookie, and the browser would drop that without a word.
	maxSessionToken = 2 << 10
)

// consumer is Stytch's API for consumers: what its bodies look like, and what they
// are to the rules, which know a stytch.Session and no more.
type consumer struct {
	*client.Client
	verifier *sessionjwt.Verifier
}

// The request bodies, as Stytch's API reference names their members.
type (
	migrateRequest struct {
		SessionToken           string          `json:"session_token"`
		SessionDurationMinutes int             `json:"session_duration_minutes"`
		SessionCustomClaims    json.RawMessage `json:"session_custom_claims,omitempty"`
		TelemetryID            string          `json:"telemetry_id,omitempty"`
	}
	// authenticateRequest and revokeRequest name the session in exactly one way.
	authenticateRequest struct {
		SessionToken           string `json:"session_token,omitempty"`
		SessionJWT             string `json:"session_jwt,omitempty"`
		SessionDurationMinutes int    `json:"session_duration_minutes,omitempty"`
	}
	createUserRequest struct {
		Email      string    `json:"email"`
		Name       *userName `json:"name,omitempty"`
		ExternalID string    `json:"external_id,omitempty"`
	}
	userName struct {
		FirstName  string `json:"first_name,omitempty"`
		MiddleName string `json:"middle_name,omitempty"`
		LastName   string `json:"last_name,omitempty"`
	}
	revokeRequest struct {
		SessionID    string `json:"session_id,omitempty"`
		SessionToken string `json:"session_token,omitempty"`
		SessionJWT   string `json:"session_jwt,omitempty"`
	}
)

// Exchange is stytch.API's. The schema lets the session of an answer be absent, and
// its expiry too: both are then what was asked for.
func (a *consumer) Exchange(ctx context.Context, in stytch.ExchangeRequest) (*stytch.Session, error) {
	asked := time.Now()
	out := new(MigrateResponse)
	body := migrateRequest{string(in.Token), in.Minutes, in.Claims, in.TelemetryID}
	err := a.Post(ctx, client.Call{Op: stytch.Migrate, Path: "/v1/sessions/migrate", In: body, Out: out, Unusable: func() string {
		return unusable(out.UserID, out.User.UserID, out.Session, out.SessionToken, out.SessionJWT)
	}})
	if err != nil {
		return nil, err
	}
	answer := &AuthenticateResponse{
		RequestID: out.RequestID, StatusCode: out.StatusCode, User: out.User, SessionToken: out.SessionToken, SessionJWT: out.SessionJWT,
	}
	if out.Session != nil {
		answer.Session = *out.Session
	} else if c, err := a.verifier.Read(string(out.SessionJWT)); err == nil {
		answer.Session = Session{SessionID: c.SessionID, StartedAt: asked, CustomClaims: c.Custom}
	}
	answer.Session.UserID = out.UserID
	if answer.Session.ExpiresAt.IsZero() {
		answer.Session.ExpiresAt = asked.Add(time.Duration(in.Minutes) * time.Minute)
	}
	return answer.known(), nil
}

// Authenticate implements stytch.API.
func (a *consumer) Authenticate(ctx context.Context, ref stytch.SessionRef, minutes int) (*stytch.Session, error) {
	out := new(AuthenticateResponse)
	err := a.Post(ctx, client.Call{
		Op: stytch.Authenticate, Path: "/v1/sessions/authenticate", Vouched: isVouched(ref),
		In: authenticateRequest{string(ref.Token), string(ref.JWT), minutes}, Out: out, Unusable: out.unusable,
	})
	if err != nil {
		return nil, err
	}
	return out.known(), nil
}

// Revoke implements stytch.API.
func (a *consumer) Revoke(ctx context.Context, ref stytch.SessionRef) error {
	err := a.Post(ctx, client.Call{
		Op: stytch.Revoke, Path: "/v1/sessions/revoke", Vouched: isVouched(ref),
		In: revokeRequest{ref.ID, string(ref.Token), string(ref.JWT)}, Out: new(RevokeResponse),
	})
	if stytch.AnswerOf(err) == stytch.No {
		return nil
	}
	return err
}

// isVouched reports whether a session was verified here. An ID always was: it
// comes from Stytch or from a verified JWT, while a token or a JWT is what a
// browser sent.
func isVouched(ref stytch.SessionRef) bool { return ref.Vouched || ref.ID != "" }

// CreateUser implements stytch.API.
func (a *consumer) CreateUser(ctx context.Context, id userinfo.Identity) (userID string, err error) {
	var out struct {
		UserID string `json:"user_id" required:"true"`
	}
	err = a.Post(ctx, client.Call{Op: stytch.CreateUser, Path: "/v1/users", In: newUser(id), Out: &out, Unusable: func() string {
		if redact.Identifier(out.UserID) == "" {
			return "user_id is no id"
		}
		return ""
	}})
	call := stytch.AsCall(err)
	if call != nil && call.API != nil && stytch.Interpret(stytch.CreateUser, call.API) == stytch.UserExists {
		return "", nil
	}
	if err == nil {
		a.Log.LogAttrs(ctx, slog.LevelInfo, "stytchmigrate: user created", slog.String("user_id", out.UserID))
	}
	return out.UserID, err
}

// newUser is the Stytch user of an identity. Stytch has a name in parts only:
// where just the whole is known it is the first part, for nobody can tell how to
// split it, and one that Stytch may find too long is left out. An external id that
// Stytch has no form for is left out.
func newUser(id userinfo.Identity) createUserRequest {
	given := func(s string) string {
		if s = strings.TrimSpace(s); strings.EqualFold(s, "null") { // made text by some program
			return ""
		}
		return s
	}
	name := userName{given(id.GivenName), given(id.MiddleName), given(id.FamilyName)}
	if name == (userName{}) {
		name.FirstName = given(id.Name)
	}
	if len(name.FirstName)+len(name.MiddleName)+len(name.LastName) > maxName {
		name = userName{}
	}
	in := createUserRequest{Email: id.Email, ExternalID: redact.Only(id.Subject, "._-|", maxExternalID)}
	if name != (userName{}) {
		in.Name = &name
	}
	return in
}

// unusable says why a 200 holds no session that can be handed to a browser:
// one user throughout, and tokens that are cookie values (RFC 6265 section
// 4.1.1). It returns "" if there is nothing against it.
func unusable(userID, sameUserID string, session *Session, token, jwt Secret) string {
	switch {
	case redact.Identifier(userID) == "":
		return "user_id is no id"
	case userID != sameUserID:
		return "user_id and user.user_id differ"
	case session != nil && redact.Identifier(session.SessionID) == "":
		return "session.session_id is no id"
	case session != nil && session.UserID != userID:
		return "session.user_id is another user's"
	case !stytch.IsToken(string(token)):
		return "session_token is empty or no cookie value"
	case len(token) > maxSessionToken:
		return "session_token is too long for a cookie"
	case !stytch.IsToken(string(jwt)):
		return "session_jwt is empty or no cookie value"
	}
	return ""
}

func (r *AuthenticateResponse) unusable() string {
	return unusable(r.User.UserID, r.User.UserID, &r.Session, r.SessionToken, r.SessionJWT)
}

// known is r in what the rules are about.
func (r *AuthenticateResponse) known() *stytch.Session {
	origin, _ := r.Session.CustomClaims[stytch.OriginClaim].(string)
	return &stytch.Session{
		ID: r.Session.SessionID, UserID: r.User.UserID, Origin: origin,
		StartedAt: r.Session.StartedAt, ExpiresAt: r.Session.ExpiresAt,
		Token: redact.Secret(r.SessionToken), JWT: redact.Secret(r.SessionJWT), User: r.User.person(), Raw: r,
	}
}

func (u *User) person() identity.User {
	p := identity.User{HasDetails: !u.Partial, ExternalID: u.ExternalID, Emails: make([]identity.Email, len(u.Emails))}
	for i, e := range u.Emails {
		p.Emails[i] = identity.Email{Address: e.Email, Verified: e.Verified}
	}
	p.OwnFactor = u.Password != nil || len(u.WebAuthnRegistrations) > 0 || len(u.Providers) > 0 || len(u.PhoneNumbers) > 0 ||
		len(u.TOTPs) > 0 || len(u.CryptoWallets) > 0 || len(u.BiometricRegistrations) > 0
	return p
}

// told is a session as handlers are told of it: what Stytch said, or the JWT alone,
// but for the expiry, which a later JWT may have moved.
func publicTypes(s *stytch.Session) (*User, *Session) {
	if c, ok := s.Raw.(*sessionjwt.Claims); ok {
		return &User{UserID: c.UserID, Partial: true}, sessionOf(c)
	}
	a := s.Raw.(*AuthenticateResponse)
	if a.Session.ExpiresAt.Equal(s.ExpiresAt) {
		return &a.User, &a.Session
	}
	session := a.Session
	session.ExpiresAt = s.ExpiresAt
	return &a.User, &session
}

func sessionOf(c *sessionjwt.Claims) *Session {
	session := &Session{
		SessionID: c.SessionID, UserID: c.UserID, Roles: c.Session.Roles, CustomClaims: c.Custom,
		StartedAt: c.SessionStartedAt, LastAccessedAt: c.Session.LastAccessedAt, ExpiresAt: c.SessionExpiresAt,
		Attributes: &Attributes{IPAddress: c.Session.IPAddress, UserAgent: c.Session.UserAgent},
	}
	if err := decode(c.Session.AuthenticationFactors, &session.AuthenticationFactors); err != nil {
		session.AuthenticationFactors = nil // a JWT's may lack what an answer's have
	}
	return session
}

// recordCodec writes down what Stytch answered.
var recordCodec = records.Codec{
	Encode: func(s *stytch.Session) (json.RawMessage, error) {
		user, session := publicTypes(s)
		return json.Marshal(AuthenticateResponse{User: *user, Session: *session, SessionToken: Secret(s.Token), SessionJWT: Secret(s.JWT)})
	},
	Decode: func(raw json.RawMessage) (*stytch.Session, error) {
		r := new(AuthenticateResponse)
		from := json.NewDecoder(bytes.NewReader(raw))
		from.UseNumber()
		if err := from.Decode(r); err != nil {
			return nil, err
		}
		if why := r.unusable(); why != "" {
			return nil, errors.New(why)
		}
		return r.known(), nil
	},
}

// decode fills dst from a body of Stytch's.
func decode(body []byte, dst any) error { return rawjson.Decode(body, dst) }

// readError reads what can be read of an error's body. It may be a gateway's
// HTML, cut off or empty, so the status is the HTTP status, and members of the
// wrong type count as absent.
//
// What is printed of an Error is kept only where it looks as Stytch's does: an
// address or a name in their place would reach every log.
func readError(status int, body []byte) *stytch.APIError {
	e := decodeError(status, body)
	return &stytch.APIError{Status: e.StatusCode, Type: e.Type, RequestID: e.RequestID, Err: e}
}

func decodeError(status int, body []byte) *Error {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members) // nil where it is no object: all absent
	text := func(name string) (s string) {
		if json.Unmarshal(members[name], &s) != nil {
			return ""
		}
		return s
	}
	return &Error{
		StatusCode: status,
		RequestID:  redact.Identifier(text("request_id")),
		Type:       redact.Identifier(text("error_type")),
		Message:    text("error_message"),
		URL:        redact.Only(text("error_url"), "_-.:/#", 200), // no @, no query, no escapes
	}
}
