// Package client speaks HTTP to Stytch.
package client

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
	"strconv"
	"time"

	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/rawjson"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/stytch"
)

const (
	userAgent = "stytchmigrate-go/0.1"

	// MaxBody bounds what is read of an answer. None of Stytch's comes near it.
	MaxBody = 1 << 20
)

// Client speaks HTTP to Stytch, and is the only thing here that does. What is
// tried again, held back or refused for the sake of load is the business of
// its HTTP's transport.
type Client struct {
	Base      string // scheme://host, without a trailing slash
	ProjectID string
	Secret    redact.Secret
	HTTP      *http.Client
	Log       *slog.Logger

	CreatesUsers bool // an unknown user is nothing to warn of

	// ReadError reads what can be read of an error's body.
	ReadError func(status int, body []byte) *stytch.APIError
}

// TransportOf returns c's transport, or one of our own.
func Transport(c *http.Client) http.RoundTripper {
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

// Over returns a client over t, with redirects, cookies and time-outs
// as a call that carries the project's secret and a user's token needs them. A
// redirect would hand both to whatever host it names.
func NewHTTPClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// JWKS fetches the project's key set. It is public: no credentials are sent.
func (c *Client) JWKS(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.JWKSURL(), nil)
	if err != nil {
		return nil, &stytch.CallError{Op: stytch.JWKS, Reason: "request could not be made"}
	}
	return c.do(stytch.JWKS, req)
}

// JWKSURL is where the key set is.
func (c *Client) JWKSURL() string {
	return c.Base + "/v1/sessions/jwks/" + url.PathEscape(c.ProjectID)
}

// Post makes a call of the API and fills out. What unusable says of it then is
// an error like any other.
func (c *Client) Post(ctx context.Context, op stytch.Op, path string, in, out any, unusable func() string) (err error) {
	start := time.Now()
	defer func() { c.LogError(ctx, op, time.Since(start), err) }()

	payload, err := json.Marshal(in)
	if err != nil {
		return &stytch.CallError{Op: op, Reason: "request could not be encoded"}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+path, bytes.NewReader(payload))
	if err != nil {
		return &stytch.CallError{Op: op, Reason: "request could not be made"}
	}
	c.Authorize(req)
	req.Header.Set("Content-Type", "application/json")
	body, err := c.do(op, req)
	if err != nil {
		return err
	}
	if err := rawjson.Decode(body, out); err != nil {
		return &stytch.CallError{Op: op, Reason: "answer 200 could not be used: " + err.Error()}
	}
	if reason := unusable(); reason != "" {
		return &stytch.CallError{Op: op, Reason: "answer 200 could not be used: " + reason}
	}
	return nil
}

// Authorize gives a request the project's credentials.
func (c *Client) Authorize(req *http.Request) { req.SetBasicAuth(c.ProjectID, string(c.Secret)) }

// do sends one request and returns the body of a 200. Any other status is a
// *stytch.CallError that keeps the status, whatever the body is.
func (c *Client) do(op stytch.Op, req *http.Request) ([]byte, error) {
	in := c.Send(req)
	switch {
	case in.Status == 0:
		return nil, &stytch.CallError{Op: op, Reason: in.Failure, RetryAfter: in.heldBack, NoSlot: in.full, TimedOut: in.Failure == redact.TimedOut}
	case in.Status != http.StatusOK:
		api := c.ReadError(in.Status, in.Body)
		return nil, &stytch.CallError{Op: op, API: api, Answer: stytch.Interpret(op, api).Answer(), RetryAfter: retryAfter(in.Header)}
	case in.Failure != "":
		return nil, &stytch.CallError{Op: op, Reason: "answer 200 broke off: " + in.Failure}
	case len(in.Body) > MaxBody:
		return nil, &stytch.CallError{Op: op, Reason: "answer 200 is longer than 1 MiB"}
	}
	return in.Body, nil
}

// Received is what came of a request.
type Received struct {
	Status  int // zero: no answer
	Header  http.Header
	Body    []byte // up to a byte more than MaxBody
	Failure string // why there is no answer, or not all of its body

	heldBack time.Duration // not sent, and is not going to be before this has passed
	full     bool          // not sent for want of a place in flight
}

// Send runs the transport, which may be anybody's, in a goroutine of its own.
// If it panics that is an error like any other, and so it is if it leaves by
// runtime.Goexit, of which those who share the call would never hear. The call
// ends with the request's context, whatever the transport makes of that.
func (c *Client) Send(req *http.Request) Received {
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json")
	done := make(chan Received, 1)
	go func() {
		in := Received{Failure: "transport left by runtime.Goexit"}
		defer func() {
			if p := recover(); p != nil {
				in = Received{Failure: fmt.Sprintf("transport panicked (%T)", p)}
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
		return Received{Failure: redact.Reason(req.Context().Err())}
	}
}

func (c *Client) receive(req *http.Request) Received {
	resp, err := c.HTTP.Do(req)
	var held *outbound.HeldBack
	switch {
	case errors.As(err, &held):
		return Received{Failure: held.Error(), heldBack: held.RetryAfter, full: held.Full}
	case err != nil:
		return Received{Failure: redact.Reason(err)}
	}
	defer resp.Body.Close()
	in := Received{Status: resp.StatusCode, Header: resp.Header}
	if in.Body, err = io.ReadAll(io.LimitReader(resp.Body, MaxBody+1)); err != nil {
		in.Failure = redact.Reason(err)
	}
	return in
}

// LogError writes one line for a call that failed, with Stytch's request_id. Of
// calls that were held back there may be thousands a second, for a reason that
// was logged when it began.
func (c *Client) LogError(ctx context.Context, op stytch.Op, took time.Duration, err error) {
	call := stytch.AsCall(err)
	if call == nil {
		return
	}
	level := slog.LevelWarn
	attrs := []slog.Attr{slog.String("op", string(op)), slog.Duration("duration", took)}
	if call.HeldBack() {
		level = slog.LevelDebug
	}
	if call.API == nil {
		attrs = append(attrs, slog.String("reason", call.Reason))
	} else {
		attrs = append(attrs, slog.Int("status_code", call.API.Status),
			slog.String("error_type", call.API.Type), slog.String("request_id", call.API.RequestID))
		setting, meaning := call.API.Setting(), stytch.Interpret(op, call.API)
		switch {
		case call.API.Type == stytch.NoUserInfo:
			attrs = append(attrs, slog.String("setting", "UserInfo endpoint: Check says what is wrong with it"))
		case meaning == stytch.NoUser && !c.CreatesUsers:
			attrs = append(attrs, slog.String("setting", "import of users, or Config.CreateUsers"))
		case meaning == stytch.Unclear && setting != "":
			level = slog.LevelError
			attrs = append(attrs, slog.String("setting", setting))
		case meaning != stytch.Unclear && meaning != stytch.Refused:
			level = slog.LevelInfo
		}
	}
	c.Log.LogAttrs(ctx, level, "stytchmigrate: call to Stytch failed", attrs...)
}

const maxRetryWait = 60 * time.Second

// retryAfter reads Retry-After as seconds or a date (RFC 9110 section
// 10.2.3), in whole seconds; what makes no sense counts as absent.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s > 0 {
		return time.Duration(min(s, int(maxRetryWait/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && time.Until(t) > 0 {
		left := min(time.Until(t), maxRetryWait-1)
		return left.Truncate(time.Second) + time.Second
	}
	return 0
}
