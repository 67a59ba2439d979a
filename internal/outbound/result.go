package outbound

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"example.com/stytchmigrate/internal/background"
)

// try is the outcome of sending a request once.
type try struct {
	answer

	hedged    bool // cancelled for a second try, whose retry is taken from the budget already
	cancelled bool // by the caller
}

// isRetryable reports whether a second try may succeed. It may not after an answer
// 200 that can't be used, a certificate that can't be verified, or a transport that
// panicked: a moment later these are the same.
func (t *try) isRetryable() bool {
	var crash *background.Crash
	switch {
	case errors.As(t.err, &crash):
		return false
	case t.err != nil:
		return !isTLS(t.err)
	case t.resp.StatusCode == http.StatusTooManyRequests:
		return !t.isUserLocked() && !t.isThrottled()
	}
	return t.resp.StatusCode >= 500
}

// outcome is what the breaker counts. It counts whether Stytch works, so a "no", or
// a refusal of our credentials, is a success. A status that is neither 200 nor
// 4xx does not come from Stytch's API. Neither does a 4xx without an error_type: a
// firewall, a proxy or a gateway sent it, and the call did not reach Stytch.
func (t *try) outcome(maxBody int64) error {
	if t.cancelled {
		return errNotCounted
	}
	if t.err != nil {
		return errFailed
	}
	switch code := t.resp.StatusCode; {
	case code == http.StatusOK && int64(len(t.body)) <= maxBody && isObject(t.body),
		code == http.StatusTooManyRequests && t.isUserLocked(),
		code >= 400 && code < 500 && code != http.StatusTooManyRequests && t.errorType() != "":
		return nil
	}
	return errFailed
}

// costs reports a call that costs of the limit on made-up tokens. Stytch's "no" does,
// and so does a call that its caller cancelled. A session that Stytch knows was not
// made up, and after a deployment many of them come at once. If Stytch can't tell, the
// breaker bounds the calls. In a lane without a breaker every call costs.
func (t *try) costs(outcome error) bool {
	return t.cancelled || outcome == nil && t.resp.StatusCode != http.StatusOK
}

// isUserLocked reports a 429 about one user. It says nothing about load.
func (t *try) isUserLocked() bool { return t.isTooMany("user_lock_limit_reached") }

// isThrottled reports a 429 about all exchanges of the project.
func (t *try) isThrottled() bool { return t.isTooMany("too_few_tokens_authenticated") }

func (t *try) isTooMany(errorType string) bool {
	return t.resp != nil && t.resp.StatusCode == http.StatusTooManyRequests && t.errorType() == errorType
}

// errorType returns the error_type of an answer in the form of Stytch's errors, or "".
func (t *try) errorType() string {
	var body struct {
		Type string `json:"error_type"`
	}
	if t.resp == nil || json.Unmarshal(t.body, &body) != nil {
		return ""
	}
	return body.Type
}

func (t *try) retryAfter() time.Duration {
	if t.resp == nil {
		return 0
	}
	return RetryAfter(t.resp.Header)
}

func isObject(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) && json.Valid(body)
}

// isTLS reports an error of the TLS handshake itself. A handshake that failed by a
// time-out or a reset connection is not such an error.
func isTLS(err error) bool {
	var (
		op     *net.OpError
		cert   *tls.CertificateVerificationError
		alert  tls.AlertError
		record tls.RecordHeaderError
		auth   x509.UnknownAuthorityError
		host   x509.HostnameError
		bad    x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &cert), errors.As(err, &alert), errors.As(err, &record),
		errors.As(err, &auth), errors.As(err, &host), errors.As(err, &bad),
		errors.Is(err, http.ErrSchemeMismatch):
		return true
	case errors.As(err, &op): // crypto/tls reports an alert in this way
		return op.Op == "remote error" || op.Op == "local error"
	}
	return false
}
