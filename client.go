package stytchmigrate

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	userAgent    = "stytchmigrate-go/0.1"
	maxBody      = 1 << 20 // no answer of Stytch comes near it
	maxRetryWait = 60 * time.Second
)

// answer is what a reply means for the session it was about. The zero value
// is "can't tell", so that a path nobody thought of never reads as "no".
type answer int

const (
	cantTell answer = iota
	yes
	no
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
}

// newHTTPClient returns a copy of c with redirects, cookies and time-outs as a
// call that carries the project's secret and a user's token needs them. A
// redirect would hand both to whatever host it names.
func newHTTPClient(c *http.Client) *http.Client {
	out := &http.Client{}
	if c != nil {
		out.Transport = c.Transport
	}
	if out.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = 32
		t.MaxResponseHeaderBytes = 64 << 10
		out.Transport = t
	}
	out.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return out
}

// The request bodies, as Stytch's API reference names their members.
type (
	migrateRequest struct {
		SessionToken           string         `json:"session_token"`
		SessionDurationMinutes int            `json:"session_duration_minutes"`
		SessionCustomClaims    map[string]any `json:"session_custom_claims,omitempty"`
		TelemetryID            string         `json:"telemetry_id,omitempty"`
	}
	// authenticateRequest and revokeRequest name the session in exactly one way.
	authenticateRequest struct {
		SessionToken           string `json:"session_token,omitempty"`
		SessionJWT             string `json:"session_jwt,omitempty"`
		SessionDurationMinutes int    `json:"session_duration_minutes,omitempty"`
	}
	revokeRequest struct {
		SessionID    string `json:"session_id,omitempty"`
		SessionToken string `json:"session_token,omitempty"`
		SessionJWT   string `json:"session_jwt,omitempty"`
	}
)

func (c *client) migrate(ctx context.Context, in migrateRequest) (*MigrateResponse, error) {
	out := new(MigrateResponse)
	if err := c.post(ctx, "migrate", in, out); err != nil {
		return nil, err
	}
	return out, c.usable("migrate", out.RequestID, out.UserID, out.User.UserID, out.SessionToken, out.SessionJWT)
}

func (c *client) authenticate(ctx context.Context, in authenticateRequest) (*AuthenticateResponse, error) {
	out := new(AuthenticateResponse)
	if err := c.post(ctx, "authenticate", in, out); err != nil {
		return nil, err
	}
	return out, c.usable("authenticate", out.RequestID, out.Session.UserID, out.User.UserID, out.SessionToken, out.SessionJWT)
}

// revoke ends a session. A session that Stytch does not know has ended.
func (c *client) revoke(ctx context.Context, in revokeRequest) error {
	err := c.post(ctx, "revoke", in, new(RevokeResponse))
	if answerOf(err) == no {
		return nil
	}
	return err
}

// jwks fetches the project's key set. It is public: no credentials are sent.
func (c *client) jwks(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/v1/sessions/jwks/"+url.PathEscape(c.projectID), nil)
	if err != nil {
		return nil, &callError{op: "jwks", reason: "request could not be made"}
	}
	_, body, err := c.do("jwks", req)
	return body, err
}

func (c *client) post(ctx context.Context, op string, in, out any) (err error) {
	start := time.Now()
	defer func() { c.logError(ctx, op, time.Since(start), err) }()

	payload, err := json.Marshal(in)
	if err != nil {
		return &callError{op: op, reason: "request could not be encoded: session_custom_claims hold a value that JSON has no form for"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/v1/sessions/"+op, bytes.NewReader(payload))
	if err != nil {
		return &callError{op: op, reason: "request could not be made"}
	}
	req.SetBasicAuth(c.projectID, string(c.secret))
	req.Header.Set("Content-Type", "application/json")
	status, body, err := c.do(op, req)
	if err != nil {
		return err
	}
	if err := decode(body, out); err != nil {
		return &callError{op: op, reason: fmt.Sprintf("answer %d could not be used: %v", status, err)}
	}
	return nil
}

// do sends one request and returns the body of a 200. Any other status is a
// *callError that keeps the status, whatever the body is.
func (c *client) do(op string, req *http.Request) (int, []byte, error) {
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, &callError{op: op, reason: safeReason(err)}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		api := decodeError(resp.StatusCode, body)
		return 0, nil, &callError{op: op, api: api, answer: meaning(op, api), retryAfter: retryAfter(resp.Header)}
	case err != nil:
		return 0, nil, &callError{op: op, reason: "answer 200 broke off: " + safeReason(err)}
	case len(body) > maxBody:
		return 0, nil, &callError{op: op, reason: "answer 200 is longer than 1 MiB"}
	}
	return resp.StatusCode, body, nil
}

// usable says whether a 200 holds a session that can be handed to a browser:
// one user throughout, and tokens that are cookie values (RFC 6265 section
// 4.1.1). Anything else is an error, never a cookie.
func (c *client) usable(op, requestID, userID, sameUserID string, token, jwt Secret) error {
	reason := ""
	switch {
	case userID == "":
		reason = "user_id is empty"
	case userID != sameUserID:
		reason = "user_id and user.user_id differ"
	case !isCookieValue(string(token)):
		reason = "session_token is empty or no cookie value"
	case !isCookieValue(string(jwt)):
		reason = "session_jwt is empty or no cookie value"
	default:
		return nil
	}
	err := &callError{op: op, reason: "answer 200 could not be used: " + reason + " (request_id " + identifier(requestID) + ")"}
	c.log.Error("stytchmigrate: "+err.Error(), "op", op)
	return err
}

// callError is why a call brought no session: Stytch's error (api), or none
// came. Its text holds nothing that a peer wrote but identifiers.
type callError struct {
	op         string
	api        *Error
	reason     string
	answer     answer
	retryAfter time.Duration // zero: Stytch gave none that makes sense
}

func (e *callError) Error() string {
	if e.api != nil {
		return e.api.Error() + " to " + e.op
	}
	return "stytchmigrate: " + e.op + ": " + e.reason
}

func (e *callError) Unwrap() error {
	if e.api == nil {
		return nil
	}
	return e.api
}

// answerOf is the meaning of a call's error: nil is yes.
func answerOf(err error) answer {
	if err == nil {
		return yes
	}
	var call *callError
	if errors.As(err, &call) {
		return call.answer
	}
	return cantTell
}

// meaning tells what an error of Stytch says about the session that was asked
// about. Only a body in Stytch's form can say "no": a 404 of some gateway on
// the way says nothing. On authenticate a "no" clears cookies, so there it
// takes an error that is known to mean it; on migrate nothing is lost by it.
// Error types: https://stytch.com/docs/api/errors
func meaning(op string, e *Error) answer {
	switch e.Type {
	case "session_not_found", "invalid_session_token", "unable_to_parse_session_jwt",
		"jwt_invalid_audience", "jwt_invalid_claims", "jwt_invalid_issuer":
		return no
	case "user_lock_limit_reached":
		if op == "migrate" {
			return no
		}
		return cantTell
	case "", "migrate_from_external_unexpected_response":
		return cantTell
	}
	clientError := e.StatusCode >= 400 && e.StatusCode < 500
	if ownSettings(e) != "" || e.StatusCode == http.StatusTooManyRequests || e.StatusCode == http.StatusRequestTimeout || !clientError {
		return cantTell
	}
	if op == "migrate" {
		return no
	}
	return cantTell
}

// ownSettings names the setting that an error of Stytch complains about, or
// "" where it is not about a setting of ours.
func ownSettings(e *Error) string {
	switch e.Type {
	case "migrate_from_external_missing_userinfo", "invalid_userinfo_url":
		return "UserInfo URL in the Stytch dashboard"
	case "unauthorized_credentials", "invalid_secret_authentication", "invalid_project_id_authentication",
		"unauthorized_project_id_live", "unauthorized_project_id_test", "project_not_found":
		return "Config.ProjectID or Config.Secret"
	}
	if e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden {
		return "Config.ProjectID or Config.Secret"
	}
	return ""
}

// logError writes one line for a call that failed, with Stytch's request_id.
func (c *client) logError(ctx context.Context, op string, took time.Duration, err error) {
	var call *callError
	if !errors.As(err, &call) {
		return
	}
	level := slog.LevelWarn
	attrs := []slog.Attr{slog.String("op", op), slog.Duration("duration", took)}
	if call.api == nil {
		attrs = append(attrs, slog.String("reason", call.reason))
	} else {
		attrs = append(attrs, slog.Int("status_code", call.api.StatusCode),
			slog.String("error_type", call.api.Type), slog.String("request_id", call.api.RequestID))
		if setting := ownSettings(call.api); setting != "" {
			level = slog.LevelError
			attrs = append(attrs, slog.String("setting", setting))
		}
	}
	if call.answer == no {
		level = slog.LevelInfo
	}
	c.log.LogAttrs(ctx, level, "stytchmigrate: call to Stytch failed", attrs...)
}

// safeReason describes a transport's error in words that can't hold a secret:
// the errors of package net, crypto/tls and crypto/x509 speak of hosts and
// certificates only, any other transport's are named by their type.
func safeReason(err error) string {
	var (
		op   *net.OpError
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		auth x509.UnknownAuthorityError
		host x509.HostnameError
		bad  x509.CertificateInvalidError
		net_ net.Error
	)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &dns):
		return dns.Error()
	case errors.As(err, &cert):
		return cert.Error()
	case errors.As(err, &auth):
		return auth.Error()
	case errors.As(err, &host):
		return host.Error()
	case errors.As(err, &bad):
		return bad.Error()
	case errors.As(err, &op):
		return op.Op + " " + op.Net + ": " + op.Err.Error()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "connection closed"
	case errors.As(err, &net_) && net_.Timeout():
		return "timed out"
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Sprintf("transport failed (%T)", err)
}

// retryAfter reads Retry-After as seconds or a date (RFC 9110 section
// 10.2.3); what makes no sense counts as absent.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return min(time.Duration(min(s, 3600))*time.Second, maxRetryWait)
	}
	if t, err := http.ParseTime(v); err == nil && time.Until(t) > 0 {
		return min(time.Until(t), maxRetryWait)
	}
	return 0
}
