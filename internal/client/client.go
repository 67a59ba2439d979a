// Package client speaks HTTP to Stytch. It sends the project's credentials, reads
// answers, and makes a [stytch.CallError] of each failure.
//
// Retries, limits and the circuit breaker are not here: see package outbound, whose
// Transport is under the HTTP client.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/rawjson"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/stytch"
)

// Client makes calls to Stytch. No other code of this module does. Set its fields
// before the first call; then it is safe for concurrent use. It must not be copied.
type Client struct {
	Base      string // scheme://host, without a trailing slash
	ProjectID string
	Secret    redact.Secret
	HTTP      *http.Client // made by NewHTTPClient
	Log       *slog.Logger

	CreatesUsers bool // Config.CreateUsers is set, so an unknown user is no reason to warn

	refusals refusals

	// ReadError reads an error's body, as far as it is in Stytch's form.
	ReadError func(status int, body []byte) *stytch.APIError
}

// Call is one call of an operation.
type Call struct {
	Op      stytch.Op
	Path    string
	Vouched bool // the session was verified here: see stytch.SessionRef

	Query url.Values // of a GET

	In  any // encoded as the body of a POST
	Out any // filled from the answer

	// Unusable returns what is wrong with Out after it was filled, or "". It may be
	// nil.
	Unusable func() string

	// Odd hears of members that are not as Stytch's API describes them, and that are not
	// needed. It may be nil.
	Odd *Oddities

	// OnUnusable is called with what was read of an answer 200 that can't be used. It
	// may be nil.
	OnUnusable func(body []byte)
}

// lane returns the lane of a call. Only calls about a session have one lane for
// sessions that were verified here and one for all others.
func (c *Call) lane() outbound.Lane {
	switch c.Op {
	case stytch.Migrate:
		return outbound.Exchange
	case stytch.CreateUser:
		return outbound.CreateUser
	case stytch.List:
		return outbound.List
	case stytch.Authenticate:
		if c.Vouched {
			return outbound.Session
		}
		return outbound.UnvouchedSession
	case stytch.Revoke:
		if c.Vouched {
			return outbound.Revoke
		}
		return outbound.UnvouchedRevoke
	}
	return outbound.NoLane
}

// Refuses reports an error by which Stytch refuses all calls of a lane. A 401 of a type
// that is not listed counts for exchanges only: about a session it may be that
// session's, and one user must not stop the calls of all others.
func Refuses(l outbound.Lane, status int, errorType string) bool {
	e := &stytch.APIError{Status: status, Type: errorType}
	return e.RefusesProject() ||
		l == outbound.Exchange && status == http.StatusUnauthorized && stytch.Interpret(stytch.Migrate, e) == stytch.Unclear
}

// Post makes a call of the API. It logs a call that fails.
func (c *Client) Post(ctx context.Context, call Call) error {
	return c.call(ctx, http.MethodPost, call)
}

// Get is Post for a call that sends no body, but a query.
func (c *Client) Get(ctx context.Context, call Call) error { return c.call(ctx, http.MethodGet, call) }

func (c *Client) call(ctx context.Context, method string, call Call) (err error) {
	start := time.Now()
	defer func() {
		c.LogError(ctx, call.Op, time.Since(start), err)
		c.logAccepted(ctx, call.Op, err)
	}()

	req, err := c.request(outbound.In(ctx, call.lane()), method, &call)
	if err != nil {
		return err
	}
	c.Authorize(req)
	body, err := c.do(call.Op, req)
	if err == nil {
		err = call.read(body, func(path, reason string) {
			if call.Odd != nil {
				call.Odd.Report(ctx, call.Op, path, reason)
			}
		})
	}
	if failed := stytch.AsCall(err); failed != nil && failed.Unusable && call.OnUnusable != nil {
		call.OnUnusable(body)
	}
	return err
}

// request returns the request of a call, without credentials.
func (c *Client) request(ctx context.Context, method string, call *Call) (*http.Request, error) {
	at, payload := c.Base+call.Path, []byte(nil)
	if method == http.MethodGet {
		at += "?" + call.Query.Encode()
	} else {
		var err error
		if payload, err = json.Marshal(call.In); err != nil {
			return nil, &stytch.CallError{Op: call.Op, Reason: "request could not be encoded"}
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, at, bytes.NewReader(payload))
	if err != nil {
		return nil, &stytch.CallError{Op: call.Op, Reason: "request could not be made"}
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

// read fills Out from the body of a 200. odd hears of members that are not as Stytch's
// API describes them, and that are not needed.
func (c *Call) read(body []byte, odd func(path, reason string)) error {
	reason := ""
	if err := rawjson.DecodeNeeded(body, c.Out, odd); err != nil {
		reason = err.Error()
	} else if c.Unusable != nil {
		reason = c.Unusable()
	}
	if reason == "" {
		return nil
	}
	return &stytch.CallError{Op: c.Op, Reason: "answer 200 could not be used: " + reason, Unusable: true}
}

// Authorize adds the project's credentials to a request.
func (c *Client) Authorize(req *http.Request) { req.SetBasicAuth(c.ProjectID, string(c.Secret)) }

// JWKS fetches the project's key set. It is public, so no credentials are sent.
func (c *Client) JWKS(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.JWKSURL(), nil)
	if err != nil {
		return nil, &stytch.CallError{Op: stytch.JWKS, Reason: "request could not be made"}
	}
	return c.do(stytch.JWKS, req)
}

// JWKSURL returns the URL of the key set.
func (c *Client) JWKSURL() string {
	return c.Base + "/v1/sessions/jwks/" + url.PathEscape(c.ProjectID)
}

// do sends one request and returns the body of a 200, also with an error if that can't
// be used. For any other status it returns a *stytch.CallError with that status, even if
// the body broke off.
func (c *Client) do(op stytch.Op, req *http.Request) ([]byte, error) {
	in := c.Send(req)
	switch {
	case in.Status == 0:
		return nil, &stytch.CallError{Op: op, Reason: in.Failure, RetryAfter: in.heldBack, NoSlot: in.full, TimedOut: in.Failure == redact.TimedOut}
	case in.Status != http.StatusOK:
		api := c.ReadError(in.Status, in.Body)
		return nil, &stytch.CallError{Op: op, API: api, Answer: stytch.Interpret(op, api).Answer(), RetryAfter: retryAfter(in.Header)}
	case in.Failure != "":
		return in.Body, &stytch.CallError{Op: op, Reason: "answer 200 broke off: " + in.Failure, Unusable: true}
	case len(in.Body) > maxBody(op):
		return in.Body, &stytch.CallError{Op: op, Reason: fmt.Sprintf("answer 200 is longer than %d MiB", maxBody(op)>>20), Unusable: true}
	}
	return in.Body, nil
}
