package stytchmigrate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/stytchmigrate/internal/outbound"
)

const (
	maxRetryWait = 60 * time.Second
	timedOut     = "timed out"
)

// answer is what a reply means for the session it was about. The zero value
// is "can't tell", so that a path nobody thought of never reads as "no".
type answer int

const (
	cantTell answer = iota
	yes
	no
)

// callError is why a call brought no session: Stytch's error (api), or none
// came. Its text holds nothing that a peer wrote but identifiers.
type callError struct {
	op         string
	api        *Error
	reason     string
	answer     answer
	retryAfter time.Duration // zero: there is none that makes sense
	full       bool          // not sent, for as many calls as may be were in flight
	late       bool          // no answer came in time
}

// heldBack reports a call that was not sent. Only it has a retryAfter and no
// answer that gave it.
func (e *callError) heldBack() bool { return e.api == nil && e.retryAfter > 0 }

func (e *callError) Error() string {
	if e.api != nil {
		return e.api.Error() + " to " + e.op
	}
	return "stytchmigrate: " + e.op + ": " + e.reason
}

// Format writes Error's text, for every verb. For one that does not fit, as %t,
// package fmt would print the fields, and those of api behind its pointer.
func (e *callError) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, e.Error()) }

func (e *callError) Unwrap() error {
	if e.api == nil {
		return nil
	}
	return e.api
}

// errNoAnswer is why a request gave up: its time was over, or its client gone.
// The call goes on.
var errNoAnswer = &callError{op: "call", reason: "no answer within the time of the request", late: true}

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
// about. Only a 4xx with a body in Stytch's form can say "no": a 404 of some
// gateway on the way says nothing, and neither does a server that is failing. On
// authenticate a "no" clears cookies, so there it takes an error that is known to
// mean it; on migrate and create_user nothing is lost by it.
// Error types: https://stytch.com/docs/api/errors
func meaning(op string, e *Error) answer {
	switch {
	case e.StatusCode < 400 || e.StatusCode > 499:
		return cantTell
	case saysNo(op, e.Type):
		return no
	case op == "authenticate" || op == "revoke" || ownSettings(e) != "" || e.StatusCode == http.StatusTooManyRequests || e.StatusCode == http.StatusRequestTimeout:
		return cantTell
	}
	switch e.Type {
	case "", "migrate_from_external_unexpected_response", "too_many_requests", "too_few_tokens_authenticated":
		return cantTell
	}
	return no
}

// saysNo reports whether an error type is about the session or the user that
// was asked about, whatever its status.
func saysNo(op, errorType string) bool {
	switch errorType {
	case "session_not_found", "invalid_session_token", "unable_to_parse_session_jwt",
		"jwt_invalid_audience", "jwt_invalid_claims", "jwt_invalid_issuer":
		return true
	case "migrate_from_external_email_does_not_exist", "user_not_found", "email_not_found", "user_lock_limit_reached":
		return op == "migrate"
	}
	return op == "create_user" && strings.HasPrefix(errorType, "duplicate_") // _email, or as likely _external_id
}

// ownSettings names the setting that an error of Stytch complains about, or
// "" where it is not about a setting of ours.
func ownSettings(e *Error) string {
	switch e.Type {
	case "migrate_from_external_missing_userinfo", "invalid_userinfo_url":
		return "UserInfo URL in the Stytch dashboard"
	case "route_not_found":
		return "Config.BaseURL"
	case "unauthorized_credentials", "invalid_secret_authentication", "invalid_project_id_authentication",
		"unauthorized_project_id_live", "unauthorized_project_id_test", "project_not_found":
		return "Config.ProjectID or Config.Secret"
	}
	if e.StatusCode == http.StatusUnauthorized || e.StatusCode == http.StatusForbidden {
		return "Config.ProjectID or Config.Secret"
	}
	return ""
}

// safeReason describes a transport's error in words of our own. Its text may
// hold what a peer wrote, such as the names in a certificate or a proxy's status
// line, and that of a transport that is not net/http's may hold anything at all.
func safeReason(err error) string {
	var (
		dns   *net.DNSError
		auth  x509.UnknownAuthorityError
		host  x509.HostnameError
		bad   x509.CertificateInvalidError
		cert  *tls.CertificateVerificationError
		alert tls.AlertError
		errno syscall.Errno
		slow  net.Error
		held  *outbound.HeldBack
	)
	switch {
	case errors.As(err, &held):
		return held.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return timedOut
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "host not found"
	case errors.As(err, &dns):
		return "host could not be looked up"
	case errors.As(err, &auth):
		return "certificate is signed by an unknown authority"
	case errors.As(err, &host):
		return "certificate is for another host"
	case errors.As(err, &bad) && bad.Reason == x509.Expired:
		return "certificate has expired or is not valid yet"
	case errors.As(err, &bad), errors.As(err, &cert):
		return "certificate is not valid"
	case errors.As(err, &alert):
		return alert.Error() // from a table of crypto/tls
	case errors.As(err, &errno):
		return during(err) + errno.Error() // the operating system's words
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "connection closed"
	case errors.As(err, &slow) && slow.Timeout():
		return timedOut
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Sprintf("transport failed (%T)", err)
}

// during says what failed on a connection, if net says so.
func during(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && slices.Contains([]string{"dial", "proxyconnect", "read", "write"}, op.Op) {
		return op.Op + ": "
	}
	return ""
}

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
