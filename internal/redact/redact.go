// Package redact keeps out of logs and errors what must not be there: secrets, and
// text that a peer wrote. The text of a network error may quote a peer, and an id
// in an answer may be an email address.
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
	"unicode"
	"unicode/utf8"
)

// TimedOut is what [Reason] returns for an error by time-out.
const TimedOut = "timed out"

// Text is an error whose text is our own and may be logged.
type Text string

func (e Text) Error() string { return string(e) }

// Reason describes a transport's error in words of our own. The error's text may
// hold what a peer wrote, such as the names in a certificate or the status line of
// a proxy. The text of a transport other than net/http's may hold anything.
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
		return toProxy(err) + "host not found"
	case errors.As(err, &dns):
		return toProxy(err) + "host could not be looked up"
	case errors.As(err, &auth):
		return toProxy(err) + "certificate is signed by an unknown authority"
	case errors.As(err, &host):
		return toProxy(err) + "certificate is for another host"
	case errors.As(err, &bad) && bad.Reason == x509.Expired:
		return toProxy(err) + "certificate has expired or is not valid yet"
	case errors.As(err, &bad), errors.As(err, &cert):
		return toProxy(err) + "certificate is not valid"
	case errors.As(err, &alert):
		return toProxy(err) + alert.Error() // one of crypto/tls's fixed texts
	case errors.As(err, &errno):
		return during(err) + errno.Error() // the operating system's fixed text
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "connection closed"
	case errors.As(err, &slow) && slow.Timeout():
		return TimedOut
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Sprintf("transport failed (%T)", err)
}

const (
	proxyConnect = "proxyconnect"  // net/http's name for the connection to an HTTP proxy
	socksConnect = "socks connect" // and for that to a SOCKS proxy
)

// during returns the step of a connection that failed, if package net names it.
func during(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && slices.Contains([]string{"dial", proxyConnect, socksConnect, "read", "write"}, op.Op) {
		return op.Op + ": "
	}
	return ""
}

// toProxy is during for an error on the way to a proxy. The host that was not found, or
// that showed a bad certificate, is then the proxy's.
func toProxy(err error) string {
	if step := during(err); step == proxyConnect+": " || step == socksConnect+": " {
		return step
	}
	return ""
}

// Identifier returns s if it looks like an id or an error type of Stytch's.
// Otherwise it returns "".
func Identifier(s string) string { return Only(s, "_-.", 100) }

// Only returns s if it has at most limit bytes and each is an ASCII letter, a
// digit or one of marks. Otherwise it returns "".
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

// maxLine is how many characters [Line] returns at most.
const maxLine = 200

// Line makes one line of a text that somebody vouches for, so that it can't pass for
// another line of a log or rearrange one: runs of white space, of control and format
// characters (Unicode categories Cc and Cf) and of what is no UTF-8 become a space. It
// cuts what is too long.
func Line(s string) string {
	s = s[:min(len(s), 8*maxLine)] // bounds the work
	words := strings.FieldsFunc(s, func(c rune) bool { return !unicode.IsGraphic(c) || unicode.IsSpace(c) || c == utf8.RuneError })
	line := []rune(strings.Join(words, " "))
	if len(line) > maxLine {
		line = append(line[:maxLine-1], '…')
	}
	return string(line)
}

// Setting is an error about a setting of the application. Its text is our own and
// may be logged.
type Setting string

func (e Setting) Error() string { return "stytchmigrate: wrong setting: " + string(e) }

// Problems collects all that is wrong, so that it is reported at once.
type Problems []error

// Add adds a line if wrong is true.
func (p *Problems) Add(wrong bool, format string, args ...any) {
	if wrong {
		*p = append(*p, fmt.Errorf("stytchmigrate: "+format, args...))
	}
}
