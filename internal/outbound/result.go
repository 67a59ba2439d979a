package outbound

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// try is what came of sending a request once.
type try struct {
	resp *http.Response // nil: no answer
	body []byte         // of resp, one byte more than MaxBody at most
	err  error          // why there is no answer, or not all of its body

	paid bool // it was cut short, and another one is paid for
	left bool // the caller cancelled it
}

// again reports whether another try may bring what this one did not. An answer
// 200 that makes no sense is not one that a moment mends, and neither is a
// certificate.
func (t *try) again() bool {
	switch {
	case t.err != nil:
		return !isTLS(t.err)
	case t.resp.StatusCode == http.StatusTooManyRequests:
		return !t.aboutUser() && !t.throttled()
	}
	return t.resp.StatusCode >= 500
}

// outcome is what a try says of Stytch. "No" is as good an answer as "yes",
// and that our credentials are wrong is one too. What is neither a 200 nor a 4xx
// does not come from Stytch's API.
func (t *try) outcome(maxBody int64) error {
	if t.left {
		return errNotCounted
	}
	if t.err != nil {
		return errFailed
	}
	switch code := t.resp.StatusCode; {
	case code == http.StatusOK && int64(len(t.body)) <= maxBody && isObject(t.body),
		code == http.StatusTooManyRequests && t.aboutUser(),
		code >= 400 && code < 500 && code != http.StatusTooManyRequests:
		return nil
	}
	return errFailed
}

// aboutUser reports a 429 that is about one user, and says nothing of load.
func (t *try) aboutUser() bool { return t.tooMany("user_lock_limit_reached") }

// throttled reports a 429 that is about all the exchanges of the project.
func (t *try) throttled() bool { return t.tooMany("too_few_tokens_authenticated") }

func (t *try) tooMany(errorType string) bool {
	if t.resp == nil || t.resp.StatusCode != http.StatusTooManyRequests {
		return false
	}
	var body struct {
		Type string `json:"error_type"`
	}
	return json.Unmarshal(t.body, &body) == nil && body.Type == errorType
}

// response is the answer as Base gave it, but for its body, which is in memory
// and ends as the original did.
func (t *try) response(req *http.Request) (*http.Response, error) {
	if t.resp == nil {
		return nil, t.err
	}
	var body io.Reader = bytes.NewReader(t.body)
	if t.err != nil {
		body = io.MultiReader(body, brokenOff{t.err})
	}
	t.resp.Body, t.resp.Request = io.NopCloser(body), req
	return t.resp, nil
}

type brokenOff struct{ err error }

func (b brokenOff) Read([]byte) (int, error) { return 0, b.err }

// retryAfter reads Retry-After as seconds or a date (RFC 9110 section 10.2.3).
// What makes no sense counts as absent: zero.
func (t *try) retryAfter() time.Duration {
	if t.resp == nil {
		return 0
	}
	const forever = 24 * time.Hour // longer than anybody waits, and far from overflow
	v := t.resp.Header.Get("Retry-After")
	s, err := strconv.ParseUint(v, 10, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(s, uint64(forever/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

func isObject(body []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) && json.Valid(body)
}

// isTLS reports an error of the handshake. One that has another cause, as a
// time-out or a reset, is not among them.
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
	case errors.As(err, &op): // as crypto/tls names an alert
		return op.Op == "remote error" || op.Op == "local error"
	}
	return false
}
