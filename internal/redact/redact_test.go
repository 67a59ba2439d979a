package redact_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/redact"
)

// odd is an error of a transport that is not net/http's. Its text may be anything.
type odd struct{ timeout bool }

func (odd) Error() string   { return "canary" }
func (o odd) Timeout() bool { return o.timeout }
func (odd) Temporary() bool { return false }

func opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "canary", Err: err}
}

// Each row is an error whose text holds what a peer wrote.
func TestReason(t *testing.T) {
	cert := &x509.Certificate{DNSNames: []string{"canary.example"}}
	bad := func(why x509.InvalidReason) error {
		return x509.CertificateInvalidError{Cert: cert, Reason: why, Detail: "canary"}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{redact.Text("ours"), "ours"},
		{fmt.Errorf("canary: %w", redact.Text("ours")), "ours"},
		{context.DeadlineExceeded, "timed out"},
		{context.Canceled, "cancelled"},
		{&net.DNSError{Err: "canary", Name: "canary", IsNotFound: true}, "host not found"},
		{&net.DNSError{Err: "canary", Name: "canary"}, "host could not be looked up"},
		{&net.DNSError{Err: "canary", Name: "canary", IsTimeout: true}, "host could not be looked up"},
		{x509.UnknownAuthorityError{Cert: cert}, "certificate is signed by an unknown authority"},
		{x509.HostnameError{Certificate: cert, Host: "canary"}, "certificate is for another host"},
		{bad(x509.Expired), "certificate has expired or is not valid yet"},
		{bad(x509.NameMismatch), "certificate is not valid"},
		{&tls.CertificateVerificationError{Err: errors.New("canary")}, "certificate is not valid"},
		{&tls.CertificateVerificationError{Err: bad(x509.Expired)}, "certificate has expired or is not valid yet"},
		{opError("remote error", tls.AlertError(40)), "tls: handshake failure"},
		{opError("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED)), "dial: connection refused"},
		{opError("proxyconnect", os.NewSyscallError("connect", syscall.ECONNREFUSED)), "proxyconnect: connection refused"},
		{opError("read", os.NewSyscallError("read", syscall.ECONNRESET)), "read: connection reset by peer"},
		{opError("write", os.NewSyscallError("write", syscall.EPIPE)), "write: broken pipe"},
		{opError("canary", syscall.ECONNRESET), "connection reset by peer"},
		{syscall.ECONNRESET, "connection reset by peer"},
		{io.ErrUnexpectedEOF, "connection closed"},
		{io.EOF, "connection closed"},
		{opError("dial", odd{timeout: true}), "timed out"},
		{opError("dial", net.ErrClosed), "transport failed (*net.OpError)"},
		{opError("proxyconnect", opError("dial", &net.DNSError{Name: "canary", IsNotFound: true})), "proxyconnect: host not found"},
		{opError("dial", &net.DNSError{Name: "canary", IsNotFound: true}), "host not found"},
		{opError("proxyconnect", x509.UnknownAuthorityError{Cert: cert}), "proxyconnect: certificate is signed by an unknown authority"},
		{opError("proxyconnect", &tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: cert, Host: "canary"}}), "proxyconnect: certificate is for another host"},
		{opError("socks connect", opError("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED))), "socks connect: connection refused"},
		{opError("proxyconnect", odd{}), "transport failed (*net.OpError)"},
		{odd{}, "transport failed (redact_test.odd)"},
		{errors.New("canary"), "transport failed (*errors.errorString)"},
		{&url.Error{Op: "Post", URL: "https://canary", Err: odd{}}, "transport failed (redact_test.odd)"},
		{&url.Error{Op: "Post", URL: "https://canary", Err: context.DeadlineExceeded}, "timed out"},
	} {
		assert.Equal(t, tt.want, redact.Reason(tt.err), "%#v", tt.err)
	}
}

func TestIdentifier(t *testing.T) {
	hundred := strings.Repeat("a", 100)
	for s, want := range map[string]string{
		"": "", "user-test-1": "user-test-1", "session_not_found": "session_not_found", "a.B_9-": "a.B_9-", hundred: hundred,
		hundred + "a": "", "ada@example.com": "", "a b": "", "a/b": "", "a:b": "", "é": "", "a\x00": "", "<b>": "", "a\n": "",
	} {
		assert.Equal(t, want, redact.Identifier(s), "%q", s)
	}
}

// Each character is a letter, a digit, one of the marks, or is not allowed.
func TestOnly(t *testing.T) {
	const marks = "-:"
	for c := range 256 {
		s := "a" + string([]byte{byte(c)})
		isAllowed := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == ':'
		assert.Equal(t, isAllowed, redact.Only(s, marks, 2) == s, "%q", s)
		assert.Empty(t, redact.Only(s, marks, 1))
	}
}

// Each row is a text, and the line that is logged of it.
func TestLine(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "a": "a", " a  b ": "a b", "a\r\nb": "a b", "a\tb\vc\fd": "a b c d", "a\x00b\x1b[0m\x7fc": "a b [0m c", "\n\x00\u200b": "",
		"a\u0085b\u2028c\u2029d\u00a0e\u3000f": "a b c d e f", "a\u202eb\u2066c\ufeffd\u200be": "a b c d e", "a\xffb\ufffdc\ue000d": "a b c d",
		"Größe 大 \u0301 'x' \"y\"":              "Größe 大 \u0301 'x' \"y\"",
		strings.Repeat("a", 200):                strings.Repeat("a", 200),
		strings.Repeat("a", 201):                strings.Repeat("a", 199) + "…",
		strings.Repeat("大", 200):                strings.Repeat("大", 200),
		strings.Repeat("大", 1000):               strings.Repeat("大", 199) + "…",
		strings.Repeat("a ", 100) + "b":         strings.Repeat("a ", 99) + "a…",
		strings.Repeat("\n", 1599) + "ab":       "a",
		strings.Repeat("\n", 1600) + "ab":       "",
		strings.Repeat("\U0001f600", 201) + "b": strings.Repeat("\U0001f600", 199) + "…",
	} {
		assert.Equal(t, want, redact.Line(s), "%q", s)
	}
}

func TestSetting(t *testing.T) {
	assert.EqualError(t, redact.Setting("X is missing"), "stytchmigrate: wrong setting: X is missing")
}

func TestProblems(t *testing.T) {
	var p redact.Problems
	p.Add(false, "all is well")
	assert.Empty(t, p)
	p.Add(true, "%s: %d is too small", "X", 1)
	p.Add(true, "Y: is missing")
	assert.EqualError(t, errors.Join(p...), "stytchmigrate: X: 1 is too small\nstytchmigrate: Y: is missing")
}
