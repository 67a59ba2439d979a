package client

import (
	"errors"
	"io"
	"net/http"
	"time"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/stytch"
)

const (
	userAgent = "stytchmigrate-go/0.1"

	// MaxBody bounds what is read of an answer. No answer of Stytch's comes near it.
	MaxBody = 1 << 20

	maxList = 16 << 20 // of the answer that lists a user's sessions: 16,000 of them, as a rule

	maxRetryAfter = 60 * time.Second
)

// maxBody bounds what is read of an answer of op.
func maxBody(op stytch.Op) int {
	if op == stytch.List {
		return maxList
	}
	return MaxBody
}

// NewHTTPClient returns a client over t that follows no redirect and keeps no
// cookies. A redirect would send the project's secret and a user's token to
// whatever host it names. t must be isolated: an *outbound.Isolated, or an
// *outbound.Transport over one.
func NewHTTPClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Received is the outcome of sending a request.
type Received struct {
	Status  int // zero: no answer
	Header  http.Header
	Body    []byte // up to a byte more than MaxBody
	Failure string // why there is no answer, or not all of its body

	heldBack time.Duration // not sent, and will not be sent before this has passed
	full     bool          // not sent, because too many calls are in flight
}

// Send sends a request. It describes a failure in words of our own, because an
// error's text may hold what a peer wrote. A whole answer counts even if the request's
// context ends at that moment: it may be a session, which must be used or revoked.
func (c *Client) Send(req *http.Request) Received {
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "application/json")
	in := c.receive(req)
	if err := req.Context().Err(); err != nil && (in.Status == 0 || in.Failure != "") {
		return Received{Failure: redact.Reason(err)}
	}
	return in
}

func (c *Client) receive(req *http.Request) Received {
	resp, err := c.HTTP.Do(req)
	var held *outbound.HeldBack
	switch {
	case errors.As(err, &held):
		return Received{Failure: held.Error(), heldBack: held.RetryAfter, full: held.Full}
	case err != nil:
		return Received{Failure: reason(err)}
	}
	defer resp.Body.Close()
	in := Received{Status: resp.StatusCode, Header: resp.Header}
	if in.Body, err = io.ReadAll(io.LimitReader(resp.Body, maxList+1)); err != nil {
		in.Failure = reason(err)
	}
	return in
}

func reason(err error) string {
	var crash *background.Crash
	if errors.As(err, &crash) {
		return "transport " + crash.Error()
	}
	if refusal := refusalOfProxy(err); refusal != "" {
		return refusal
	}
	return redact.Reason(err)
}

// retryAfter is the time for the Retry-After of our own answers, in whole seconds.
// Never is more likely a mistake than what Stytch means, so it counts as absent.
func retryAfter(h http.Header) time.Duration {
	after := outbound.RetryAfter(h)
	if after == outbound.Never {
		return 0
	}
	return min(outbound.WholeSeconds(after), maxRetryAfter)
}
