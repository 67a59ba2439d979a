package stytchmigrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/rawjson"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/userinfo"
)

const (
	maxClaims = 4 << 10 // session_custom_claims, encoded
	maxName   = 512     // bytes, as in a ticket; a longer name is left out, so that its user can still move

	// maxSessionToken is far beyond the 44 characters of Stytch's tokens. Browsers
	// silently drop a cookie that is too long.
	maxSessionToken = 2 << 10
)

// consumer implements stytch.API over Stytch's API for consumers. It alone knows the
// bodies of requests and answers. The rest of the module knows a stytch.Session.
type consumer struct {
	*client.Client
	verifier *sessionjwt.Verifier
	odd      client.Oddities
}

// The request bodies, with the members of Stytch's API reference.
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

// Exchange implements stytch.API. Stytch's schema allows an answer without a session,
// and a session without an expiry. What is absent is then taken from the JWT and
// from the request.
func (a *consumer) Exchange(ctx context.Context, in stytch.ExchangeRequest) (*stytch.Session, error) {
	asked := time.Now()
	out := new(MigrateResponse)
	body := migrateRequest{string(in.Token), in.Minutes, in.Claims, in.TelemetryID}
	var made stytch.SessionRef
	err := a.Post(ctx, client.Call{
		Op: stytch.Migrate, Path: "/v1/sessions/migrate", In: body, Out: out, Odd: &a.odd,
		Unusable: func() string {
			return unusable(out.UserID, out.User.UserID, out.Session, out.SessionToken, out.SessionJWT)
		},
		OnUnusable: func(body []byte) { made = a.sessionIn(body) },
	})
	if call := stytch.AsCall(err); in.TelemetryID != "" && call != nil && call.API != nil && call.API.Type == stytch.UnknownTelemetryID {
		in.TelemetryID = "" // it only adds to what Stytch knows of the device
		return a.Exchange(ctx, in)
	}
	if err != nil {
		if call := stytch.AsCall(err); call != nil {
			call.Made = made
		}
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
	if answer.Session.StartedAt.IsZero() {
		answer.Session.StartedAt = asked
	}
	return a.toSession(answer), nil
}

// sessionIn returns the session that a broken answer names, or zero. The token is the
// surest name: an id may be wrong in an answer that contradicts itself.
func (a *consumer) sessionIn(body []byte) stytch.SessionRef {
	found := rawjson.Salvage(body)
	token := found["session_token"]
	if stytch.IsToken(token) && len(token) <= maxSessionToken {
		return stytch.SessionRef{Token: redact.Secret(token), Vouched: true} // Stytch has just given it
	}
	if id := redact.Identifier(found["session.session_id"]); id != "" {
		return stytch.SessionRef{ID: id}
	}
	if c, err := a.verifier.Read(found["session_jwt"]); err == nil {
		return stytch.SessionRef{ID: c.SessionID}
	}
	return stytch.SessionRef{}
}

// Authenticate implements stytch.API.
func (a *consumer) Authenticate(ctx context.Context, ref stytch.SessionRef, minutes int) (*stytch.Session, error) {
	out := new(AuthenticateResponse)
	err := a.Post(ctx, client.Call{
		Op: stytch.Authenticate, Path: "/v1/sessions/authenticate", Vouched: isVouched(ref),
		In: authenticateRequest{string(ref.Token), string(ref.JWT), minutes}, Out: out, Odd: &a.odd, Unusable: out.unusable,
	})
	if err != nil {
		return nil, err
	}
	out.Session.UserID = out.User.UserID
	return a.toSession(out), nil
}

// Revoke implements stytch.API.
func (a *consumer) Revoke(ctx context.Context, ref stytch.SessionRef) error {
	err := a.Post(ctx, client.Call{
		Op: stytch.Revoke, Path: "/v1/sessions/revoke", Vouched: isVouched(ref),
		In: revokeRequest{ref.ID, string(ref.Token), string(ref.JWT)}, Out: new(RevokeResponse), Odd: &a.odd,
	})
	if stytch.AnswerOf(err) == stytch.No {
		return nil
	}
	return err
}

// List implements stytch.API. Stytch's answer has no pages: see
// https://stytch.com/docs/api/session-get.
func (a *consumer) List(ctx context.Context, userID string) ([]stytch.Session, error) {
	var out struct {
		Sessions []struct {
			ID     string         `json:"session_id"`
			UserID string         `json:"user_id"`
			Claims map[string]any `json:"custom_claims"`
		} `json:"sessions" required:"true" need:"value"`
	}
	err := a.Get(ctx, client.Call{Op: stytch.List, Path: "/v1/sessions", Query: url.Values{"user_id": {userID}}, Out: &out, Odd: &a.odd})
	if err != nil {
		return nil, err
	}
	all := make([]stytch.Session, 0, len(out.Sessions))
	for _, s := range out.Sessions {
		origin, _ := s.Claims[stytch.OriginClaim].(string)
		if redact.Identifier(s.ID) != "" {
			all = append(all, stytch.Session{ID: s.ID, UserID: s.UserID, Origin: origin})
		}
	}
	return all, nil
}

// isVouched reports whether a session was verified here. An ID always was: it
// comes from Stytch or from a verified JWT, while a token or a JWT is what a
// browser sent.
func isVouched(ref stytch.SessionRef) bool { return ref.Vouched || ref.ID != "" }

// CreateUser implements stytch.API. If Stytch refuses the external id, the user is made
// without it: to sign in as that user still takes the verified email.
func (a *consumer) CreateUser(ctx context.Context, id userinfo.Identity) (userID string, err error) {
	in := newUser(id)
	userID, err = a.create(ctx, in)
	if call := stytch.AsCall(err); call != nil && call.API != nil && call.API.RefusesExternalID(in.ExternalID) {
		in.ExternalID = ""
		userID, err = a.create(ctx, in)
	}
	call := stytch.AsCall(err)
	if call != nil && call.API != nil && stytch.Interpret(stytch.CreateUser, call.API) == stytch.UserExists {
		return "", nil
	}
	if err == nil {
		a.Log.LogAttrs(ctx, slog.LevelInfo, "stytchmigrate: user created", slog.String("user_id", userID))
	}
	return userID, err
}

func (a *consumer) create(ctx context.Context, in createUserRequest) (userID string, err error) {
	var out struct {
		UserID string `json:"user_id" required:"true" need:"value"`
	}
	err = a.Post(ctx, client.Call{Op: stytch.CreateUser, Path: "/v1/users", In: in, Out: &out, Unusable: func() string {
		if redact.Identifier(out.UserID) == "" {
			return "user_id is no id"
		}
		return ""
	}})
	return out.UserID, err
}

// newUser returns the Stytch user to create for an identity. Stytch stores a name in
// parts. If only the whole name is known, it becomes the first part, because names
// can't be split reliably. A name that may be too long for Stytch is left out, and
// so is an external id with characters that Stytch does not allow.
func newUser(id userinfo.Identity) createUserRequest {
	given := func(s string) string {
		if s = strings.TrimSpace(s); strings.EqualFold(s, "null") { // a null that some program made a string
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

// unusable returns why the session in a 200 can't be given to a browser, or "". Its
// members must name one user, and its tokens must be cookie values (RFC 6265 section
// 4.1.1).
func unusable(userID, sameUserID string, session *Session, token, jwt Secret) string {
	switch {
	case redact.Identifier(userID) == "":
		return "user_id is no id"
	case userID != sameUserID:
		return "user_id and user.user_id differ"
	case session != nil && redact.Identifier(session.SessionID) == "":
		return "session.session_id is no id"
	case session != nil && session.UserID != "" && session.UserID != userID:
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

// toSession is AuthenticateResponse.toSession. The origin is in the JWT too, if the
// answer lacks its custom claims: a logout goes by it.
func (a *consumer) toSession(r *AuthenticateResponse) *stytch.Session {
	s := r.toSession()
	if s.Origin == "" {
		if c, err := a.verifier.Read(string(s.JWT)); err == nil {
			s.Origin = c.LegacySession
		}
	}
	return s
}

// toSession returns what the rest of the module knows of an answer.
func (r *AuthenticateResponse) toSession() *stytch.Session {
	origin, _ := r.Session.CustomClaims[stytch.OriginClaim].(string)
	untilBrowserCloses, _ := r.Session.CustomClaims[stytch.BrowserClaim].(bool)
	return &stytch.Session{
		ID: r.Session.SessionID, UserID: r.User.UserID, Origin: origin,
		StartedAt: r.Session.StartedAt, ExpiresAt: r.Session.ExpiresAt, UntilBrowserCloses: untilBrowserCloses,
		Fixed: slices.ContainsFunc(r.Session.AuthenticationFactors, AuthenticationFactor.isImpersonation),
		Token: redact.Secret(r.SessionToken), JWT: redact.Secret(r.SessionJWT), User: r.User.toIdentity(), Raw: r,
	}
}

// recordCodec stores Stytch's answer in a record.
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
		return r.toSession(), nil
	},
}

// readError reads the body of an error. The body may be a gateway's HTML, cut off or
// empty. So the status is that of HTTP, and members of a wrong type count as absent.
//
// The members that an Error prints are kept only if they look like Stytch's. An email
// address or a name in their place would get into logs.
func readError(status int, body []byte) *stytch.APIError {
	e := decodeError(status, body)
	return &stytch.APIError{Status: e.StatusCode, Type: e.Type, RequestID: e.RequestID, Err: e}
}

func decodeError(status int, body []byte) *Error {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(body, &members) // stays nil if the body is no object
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
