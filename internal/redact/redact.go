// Package redact makes words of what others say that are fit for a log: an error's
// text may hold what a peer wrote, and a name of theirs may be an address.
package redact

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// TimedOut is the reason of what took too long.
const TimedOut = "timed out"

// Text is an error whose text is ours.
type Text string

func (e Text) Error() string { return string(e) }

// Reason describes a transport's error in words of our own. Its text may
// hold what a peer wrote, such as the names in a certificate or a proxy's status
// line, and that of a transport that is not net/http's may hold anything at all.
func Reason(err error) string {
	var (
		own   Text
		dns   *net.DNSError
		auth  x509.UnknownAuthorityError
		host  x509.HostnameError
		bad   x509.CertificateInvalidError
		cert  *tls.CertificateVerificationError
		alert tls.AlertError
		errno syscall.Errno
		slow  net.Error
	)
	switch {
	case errors.As(err, &own):
		return string(own)
	case errors.Is(err, context.DeadlineExceeded):
		return TimedOut
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
		return TimedOut
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

// Identifier returns s if it looks like an id or an error type of Stytch's,
// and else "".
func Identifier(s string) string { return Only(s, "_-.", 100) }

// Only returns s if it has at most limit bytes, each an ASCII letter, a digit
// or one of marks, and else "".
func Only(s, marks string, limit int) string {
	if len(s) > limit {
		return ""
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte(marks, c) < 0 {
			return ""
		}
	}
	return s
}

// Setting is an error that says what is wrong with a setting, in words of ours.
type Setting string

func (e Setting) Error() string { return "stytchmigrate: wrong setting: " + string(e) }

// Problems collects what is wrong, so that it is mended in one go.
type Problems []error

// Add adds a line, if it is so.
func (p *Problems) Add(wrong bool, format string, args ...any) {
	if wrong {
		*p = append(*p, fmt.Errorf("stytchmigrate: "+format, args...))
	}
}
