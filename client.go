package stytchmigrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"example.com/stytchmigrate/internal/outbound"
)

const (
	userAgent = "stytchmigrate-go/0.1"
	maxBody   = 1 << 20 // no answer of Stytch comes near it

	// maxSessionToken is far beyond Stytch's 44 characters. A longer one would
	// crowd a cookie, and the browser would drop that without a word.
	maxSessionToken = 2 << 10
)

// client speaks HTTP to Stytch, and is the only thing here that does. What is
// tried again, held back or refused for the sake of load is the business of
// its http.Client's transport.
type client struct {
	base      string // scheme://host, without a trailing slash
	projectID string
	secret    Secret
	http      *http.Client
	log       *slog.Logger

	createsUsers bool // an unknown user is nothing to warn of
}

// transportOf returns c's transport, or one of our own.
func transportOf(c *http.Client) http.RoundTripper {
	if c != nil && c.Transport != nil {
		return c.Transport
	}
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // programs put others there, for tracing: such a one is used as it is
		return http.DefaultTransport
	}
	t = t.Clone()
	t.MaxIdleConnsPerHost = 32
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

// newHTTPClient returns a client over t, with redirects, cookies and time-outs
// as a call that carries the project's secret and a user's token needs them. A
// redirect would hand both to whatever host it names.
func newHTTPClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// The request bodies, as Stytch's API reference names their members.
type (
	migrateRequest struct {
		SessionToken           string          `json:"session_token"`
		SessionDurationMinutes int             `json:"session_duration_minutes"`
		SessionCustomClaims    json.RawMessage `json:"session_custom_claims,omitempty"` // encoded already: MarshalJSON may be the application's
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

func (c *client) migrate(ctx context.Context, in migrateRequest) (*MigrateResponse, error) {
	out := new(MigrateResponse)
	return out, c.post(ctx, "migrate", "/v1/sessions/migrate", in, out, func() string {
		return unusable(out.UserID, out.User.UserID, out.Session, out.SessionToken, out.SessionJWT)
	})
}

func (c *client) authenticate(ctx context.Context, in authenticateRequest) (*AuthenticateResponse, error) {
	out := new(AuthenticateResponse)
	return out, c.post(ctx, "authenticate", "/v1/sessions/authenticate", in, out, func() string {
		return unusable(out.User.UserID, out.User.UserID, &out.Session, out.SessionToken, out.SessionJWT)
	})
}

// revoke ends a session. A session that Stytch does not know has ended. Its id
// is known here from Stytch, or from a JWT that was verified; a token or a JWT is
// what a browser sent.
func (c *client) revoke(ctx context.Context, in revokeRequest) error {
	if in.SessionID != "" {
		ctx = outbound.Vouched(ctx)
	}
	err := c.post(ctx, "revoke", "/v1/sessions/revoke", in, new(RevokeResponse), func() string { return "" })
	if answerOf(err) == no {
		return nil
	}
	return err
}

// createUser makes a user and returns the id of it, or "" where somebody else
// has made it: another machine, or a try whose answer was lost.
func (c *client) createUser(ctx context.Context, in createUserRequest) (userID string, err error) {
	var out struct {
		UserID string `json:"user_id" required:"true"`
	}
	err = c.post(ctx, "create_user", "/v1/users", in, &out, func() string {
		if identifier(out.UserID) == "" {
			return "user_id is no id"
		}
		return ""
	})
	var api *Error
	if errors.As(err, &api) && saysNo("create_user", api.Type) {
		return "", nil
	}
	if err == nil {
		c.log.LogAttrs(ctx, slog.LevelInfo, "stytchmigrate: user created", slog.String("user_id", out.UserID))
	}
	return out.UserID, err
}

// unusable says why a 200 holds no session that can be handed to a browser:
// one user throughout, and tokens that are cookie values (RFC 6265 section
// 4.1.1). It returns "" if there is nothing against it.
func unusable(userID, sameUserID string, session *Session, token, jwt Secret) string {
	switch {
	case identifier(userID) == "":
		return "user_id is no id"
	case userID != sameUserID:
		return "user_id and user.user_id differ"
	case session != nil && identifier(session.SessionID) == "":
		return "session.session_id is no id"
	case session != nil && session.UserID != userID:
		return "session.user_id is another user's"
	case !isCookieValue(string(token)):
		return "session_token is empty or no cookie value"
	case len(token) > maxSessionToken:
		return "session_token is too long for a cookie"
	case !isCookieValue(string(jwt)):
		return "session_jwt is empty or no cookie value"
	}
	return ""
}

// jwks fetches the project's key set. It is public: no credentials are sent.
func (c *client) jwks(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.jwksURL(), nil)
	if err != nil {
		return nil, &callError{op: "jwks", reason: "request could not be made"}
	}
	return c.do("jwks", req)
}

func (c *client) jwksURL() string { return c.base + "/v1/sessions/jwks/" + url.PathEscape(c.projectID) }

// post makes a call of the API and fills out. What unusable says of it then is
// an error like any other.
func (c *client) post(ctx context.Context, op, path string, in, out any, unusable func() string) (err error) {
	start := time.Now()
	defer func() { c.logError(ctx, op, time.Since(start), err) }()

	payload, err := json.Marshal(in)
	if err != nil {
		return &callError{op: op, reason: "request could not be encoded"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(payload))
	if err != nil {
		return &callError{op: op, reason: "request could not be made"}
	}
	req.SetBasicAuth(c.projectID, string(c.secret))
	req.Header.Set("Content-Type", "application/json")
	body, err := c.do(op, req)
	if err != nil {
		return err
	}
	if err := decode(body, out); err != nil {
		return &callError{op: op, reason: "answer 200 could not be used: " + err.Error()}
	}
	if reason := unusable(); reason != "" {
		return &callError{op: op, reason: "answer 200 could not be used: " + reason}
	}
	return nil
}

// do sends one request and returns the body of a 200. Any other status is a
// *callError that keeps the status, whatever the body is.
func (c *client) do(op string, req *http.Request) ([]byte, error) {
	in := c.send(req)
	switch {
	case in.status == 0:
		return nil, &callError{op: op, reason: in.failure, retryAfter: in.heldBack, full: in.full, late: in.failure == timedOut}
	case in.status != http.StatusOK:
		api := decodeError(in.status, in.body)
		return nil, &callError{op: op, api: api, answer: meaning(op, api), retryAfter: retryAfter(in.header)}
	case in.failure != "":
		return nil, &callError{op: op, reason: "answer 200 broke off: " + in.failure}
	case len(in.body) > maxBody:
		return nil, &callError{op: op, reason: "answer 200 is longer than 1 MiB"}
	}
	return in.body, nil
}

// received is what came of a request.
type received struct {
	status   int // zero: no answer
	header   http.Header
	body     []byte        // up to a byte more than maxBody
	failure  string        // why there is no answer, or not all of its body
	heldBack time.Duration // not sent, and is not going to be before this has passed
	full     bool          // not sent for want of a place in flight
}

// send runs the transport, which may be anybody's, in a goroutine of its own.
// If it panics that is an error like any other, and so it is if it leaves by
// runtime.Goexit, of which those who share the call would never hear. The call
// ends with the request's context, whatever the transport makes of that.
func (c *client) send(req *http.Request) received {
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json")
	done := make(chan received, 1)
	go func() {
		in := received{failure: "transport left by runtime.Goexit"}
		defer func() {
			if p := recover(); p != nil {
				in = received{failure: fmt.Sprintf("transport panicked (%T)", p)}
			}
			done <- in
		}()
		in = c.receive(req)
	}()
	select {
	case in := <-done:
		return in
	case <-req.Context().Done():
	}
	select {
	case in := <-done: // both were ready
		return in
	default:
		return received{failure: safeReason(req.Context().Err())}
	}
}

func (c *client) receive(req *http.Request) received {
	resp, err := c.http.Do(req)
	if err != nil {
		in := received{failure: safeReason(err)}
		var held *outbound.HeldBack
		if errors.As(err, &held) {
			in.heldBack, in.full = held.RetryAfter, held.Full
		}
		return in
	}
	defer resp.Body.Close()
	in := received{status: resp.StatusCode, header: resp.Header}
	if in.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1)); err != nil {
		in.failure = safeReason(err)
	}
	return in
}

// logError writes one line for a call that failed, with Stytch's request_id. Of
// calls that were held back there may be thousands a second, for a reason that
// was logged when it began.
func (c *client) logError(ctx context.Context, op string, took time.Duration, err error) {
	var call *callError
	if !errors.As(err, &call) {
		return
	}
	level := slog.LevelWarn
	attrs := []slog.Attr{slog.String("op", op), slog.Duration("duration", took)}
	if call.heldBack() {
		level = slog.LevelDebug
	}
	if call.api == nil {
		attrs = append(attrs, slog.String("reason", call.reason))
	} else {
		attrs = append(attrs, slog.Int("status_code", call.api.StatusCode),
			slog.String("error_type", call.api.Type), slog.String("request_id", call.api.RequestID))
		setting := ownSettings(call.api)
		switch {
		case call.api.Type == "migrate_from_external_unexpected_response":
			attrs = append(attrs, slog.String("setting", "UserInfo endpoint: Check says what is wrong with it"))
		case op == "migrate" && call.api.isUnknownUser() && !c.createsUsers:
			attrs = append(attrs, slog.String("setting", "import of users, or Config.CreateUsers"))
		case call.answer == cantTell && setting != "":
			level = slog.LevelError
			attrs = append(attrs, slog.String("setting", setting))
		case saysNo(op, call.api.Type) && call.answer == no: // another "no" is one that nobody knows the reason of
			level = slog.LevelInfo
		}
	}
	c.log.LogAttrs(ctx, level, "stytchmigrate: call to Stytch failed", attrs...)
}
