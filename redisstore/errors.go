package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// failure is the error of a call. Keys, owners, values, user names and passwords belong
// in no log, so its text ends where the client's or the server's text quotes something.
type failure struct {
	op   string
	err  error
	text string // of err, as far as it is readable
	safe string // what SafeText returns
}

// fail returns a [*failure], or nil for nil.
func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	return &failure{op: op, err: err, text: readable(err), safe: safeText(err)}
}

func (f *failure) Error() string { return "redisstore: " + f.op + ": " + f.text }

// Unwrap returns the client's error, unless its text was cut.
func (f *failure) Unwrap() error {
	if f.text != f.err.Error() {
		return nil
	}
	return f.err
}

// SafeText vouches for a text that tells why the call failed. It is made of words of this
// package alone, see [stytchmigrate.Store]. "" leaves it to the caller to tell of a
// time-out or of the operating system's error.
func (f *failure) SafeText() string { return f.safe }

// own is an error whose text is this package's own.
type own string

func (e own) Error() string { return string(e) }

// readable returns the text of err, up to where it quotes something. A server that lacks
// a command, or forbids it, quotes that with its arguments, and names the user without
// quotes. The client quotes a reply that it does not understand.
func readable(err error) string {
	text := err.Error()
	for _, mark := range []string{`"`, "`", " '", "User ", "user_script"} { // "can't" has another quote
		text, _, _ = strings.Cut(text, mark)
	}
	if text == err.Error() {
		return text
	}
	return strings.TrimSpace(text) + " …"
}

func safeText(err error) string {
	var (
		ours    own
		answer  redis.Error
		network net.Error
	)
	switch {
	case errors.As(err, &ours):
		return "redis: " + string(ours)
	case strings.Contains(err.Error(), noSentinel) && errors.Is(err, redis.Nil):
		return noSentinel + ": one knows no master of this name"
	case strings.Contains(err.Error(), noSentinel) && errors.As(err, &answer):
		return noSentinel + ": " + answerText(answer.Error())
	case errors.As(err, &answer):
		return "redis: " + answerText(answer.Error())
	}
	if text := certificateText(err); text != "" {
		return "redis: " + text
	}
	for _, text := range clientTexts {
		if strings.Contains(err.Error(), text) {
			return text
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &network):
		return ""
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "redis: connection closed"
	}
	return fmt.Sprintf("redis: the client failed (%T)", innermost(err))
}

// clientTexts are in errors of the client that no type tells apart.
var clientTexts = []string{
	redis.ErrClosed.Error(), redis.ErrPoolTimeout.Error(), redis.ErrPoolExhausted.Error(),
	noSentinel, "redis: no sentinels configured",
	"redis: all ring shards are down", "redis: cluster has no nodes",
}

// noSentinel is in the client's error when it asked each Sentinel for the master in
// vain. It wraps what they answered. For an unknown master that is [redis.Nil], which
// must not read as a key without a value.
const noSentinel = "redis: all sentinels specified in configuration are unreachable"

func innermost(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

// certificateText returns why a TLS connection failed, or "".
func certificateText(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		any       *tls.CertificateVerificationError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return "certificate is signed by an unknown authority"
	case errors.As(err, &host):
		return "certificate is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate has expired or is not valid yet"
	case errors.As(err, &invalid), errors.As(err, &any):
		return "certificate is not valid"
	case errors.As(err, &record):
		return "the server does not speak TLS"
	}
	return ""
}

// answerTexts say what a code means that a server's error begins with. The server's own
// text is not shown: it may name the user and the key.
var answerTexts = map[string]string{
	"ASK":         "the key is being moved to another server",
	"BUSY":        "a script blocks the server",
	"CLUSTERDOWN": "the cluster is down, or has no master for the key",
	"CROSSSLOT":   "the keys of a record are in two slots",
	"DENIED":      "the server is in protected mode",
	"EXECABORT":   "the server discarded a transaction",
	"LOADING":     "the server is loading its data",
	"MASTERDOWN":  "the replica has lost its master",
	"MISCONF":     "the server can't write to its disk, and so refuses writes",
	"MOVED":       "the key is on another server",
	"NOAUTH":      "the server demands a password",
	"NOPERM":      "the user lacks a permission",
	"NOPROTO":     "the server does not speak this version of the protocol",
	"NOREPLICAS":  "the master has too few replicas, and so refuses writes",
	"NOSCRIPT":    "the server does not know the script",
	"OOM":         "the server is out of memory (maxmemory)",
	"READONLY":    "the server is a replica",
	"TRYAGAIN":    "the keys are being moved to another server",
	"WRONGPASS":   "the user name or the password is wrong, or the user is disabled",
	"WRONGTYPE":   "the key holds a value of another kind",
}

// marks tell apart errors that have no code of their own, or more than one meaning. Each
// is a piece of a server's text.
var marks = []struct{ code, mark, text string }{
	{"NOPERM", "access one of the keys", noKey},
	{"NOPERM", "access a key", noKey},
	{"NOPERM", "access at least one of the keys", noKey},
	{"NOPERM", "executing the script can't run", noScriptCommand},
	{"ERR", "The user executing the script can't access", noKey},
	{"ERR", "The user executing the script can't run", noScriptCommand},
	{"ERR", "unknown command", "the server lacks a command: Redis 6.2 or later is needed"},
	{"ERR", "Unknown Redis command called from script", "the server lacks a command of a script"},
	{"ERR", "max number of clients reached", "the server has no connection left (maxclients)"},
	{"ERR", "AUTH <password> called without any password", "a password was sent, and the server has none"},
	{"ERR", "Client sent AUTH, but no password is set", "a password was sent, and the server has none"},
	{"ERR", "invalid password", "the password is wrong"},
	{"ERR", "operation not permitted", "the user lacks a permission"},
	{"ERR", "DB index is out of range", "the server does not have that many databases"},
	{"ERR", "SELECT is not allowed in cluster mode", "a cluster has one database only"},
	{"ERR", "This instance has cluster support disabled", "the server is no cluster, and the client is for one"},
}

const (
	noKey           = "the user may not use keys of this prefix"
	noScriptCommand = "the user may not run a command of a script: GET, SET or DEL"
)

// answerText describes the error of a server. An unknown code stands alone.
func answerText(text string) string {
	c := code(text)
	if c == "" {
		return "the server refused the call, without a code"
	}
	if command := forbidden(text); c == "NOPERM" && command != "" {
		return "NOPERM: the user may not run '" + command + "'"
	}
	for _, m := range marks {
		if c == m.code && strings.Contains(text, m.mark) {
			return c + ": " + m.text
		}
	}
	if meaning := answerTexts[c]; meaning != "" {
		return c + ": " + meaning
	}
	return c
}

var codeForm = regexp.MustCompile(`^[A-Z]{2,20}( |$)`)

// code returns the word in capitals that an error of a server begins with, or "".
func code(text string) string {
	return strings.TrimSuffix(codeForm.FindString(text), " ")
}

// commands are those that the client sends for this package. A command that is not among
// them may be anything, and is not shown.
var commands = []string{
	"getex", "evalsha", "eval", "get", "set", "del",
	"hello", "auth", "ping", "select", "readonly", "asking", "command", "subscribe",
	"cluster|slots", "cluster|shards", "cluster", "client|setinfo", "client|setname", "client|maint_notifications", "client",
	"sentinel|get-master-addr-by-name", "sentinel|sentinels", "sentinel|replicas", "sentinel",
}

var forbiddenForm = regexp.MustCompile(`has no permissions to run the '([a-z|_-]+)' command`)

// forbidden returns the command that a server's text says the user may not run, or "". A
// user's name has no space, so no name can pass for this part of the text.
func forbidden(text string) string {
	m := forbiddenForm.FindStringSubmatch(text)
	if m == nil || !slices.Contains(commands, m[1]) {
		return ""
	}
	return m[1]
}
