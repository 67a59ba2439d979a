package redisstore_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/redisstore"
	"example.com/stytchmigrate/stytchtest"
)

// answer is an error that a server answers with.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// faulty is the client of a cluster whose calls all fail.
type faulty struct {
	redis.UniversalClient
	err     error
	reload  func()
	reloads atomic.Int64
}

func (f *faulty) Process(_ context.Context, cmd redis.Cmder) error {
	cmd.SetErr(f.err)
	return f.err
}

func (f *faulty) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(f.err)
	return cmd
}

// safe returns the text that an error vouches for.
func safe(t *testing.T, err error) string {
	t.Helper()
	var v interface{ SafeText() string }
	require.ErrorAs(t, err, &v)
	return v.SafeText()
}

// Each row is what a client's call fails with, and the text that is vouched for. Every
// secret that it might hold is called canary.
func TestSafeText(t *testing.T) {
	const noSentinel = "redis: all sentinels specified in configuration are unreachable"
	tls1 := &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}
	for _, row := range []struct {
		err  error
		want string
	}{
		{answer("WRONGPASS invalid username-password pair or user is disabled."), "redis: WRONGPASS: the user name or the password is wrong, or the user is disabled"},
		{answer("WRONGPASS canary"), "redis: WRONGPASS: the user name or the password is wrong, or the user is disabled"},
		{fmt.Errorf("failed to authenticate: %w", answer("WRONGPASS canary")), "redis: WRONGPASS: the user name or the password is wrong, or the user is disabled"},
		{answer("NOAUTH Authentication required."), "redis: NOAUTH: the server demands a password"},
		{answer("NOPERM this user has no permissions to run the 'getex' command"), "redis: NOPERM: the user may not run 'getex'"},
		{answer("NOPERM User canary has no permissions to run the 'cluster|slots' command"), "redis: NOPERM: the user may not run 'cluster|slots'"},
		{answer("NOPERM User canary has no permissions to run the 'canary' command"), "redis: NOPERM: the user lacks a permission"},
		{answer("NOPERM User 'get' has no permissions to run the 'CANARY' command"), "redis: NOPERM: the user lacks a permission"},
		{answer("NOPERM this user has no permissions to access one of the keys used as arguments"), "redis: NOPERM: the user may not use keys of this prefix"},
		{answer("NOPERM No permissions to access a key"), "redis: NOPERM: the user may not use keys of this prefix"},
		{answer("NOPERM User canary has no permissions to access the 'canary' key"), "redis: NOPERM: the user lacks a permission"},
		{answer("NOPERM The user executing the script can't run this command or subcommand script: canary"), "redis: NOPERM: the user may not run a command of a script: GET, SET or DEL"},
		{answer("ERR The user executing the script can't run this command or subcommand script: canary"), "redis: ERR: the user may not run a command of a script: GET, SET or DEL"},
		{answer("ERR The user executing the script can't access at least one of the keys mentioned in the command arguments"), "redis: ERR: the user may not use keys of this prefix"},
		{answer("ERR unknown command 'GETEX', with args beginning with: 'canary'"), "redis: ERR: the server lacks a command: Redis 6.2 or later is needed"},
		{answer("ERR max number of clients reached"), "redis: ERR: the server has no connection left (maxclients)"},
		{answer("ERR canary"), "redis: ERR"},
		{answer("CLUSTERDOWN Hash slot not served"), "redis: CLUSTERDOWN: the cluster is down, or has no master for the key"},
		{answer("READONLY You can't write against a read only replica. script: canary"), "redis: READONLY: the server is a replica"},
		{answer("LOADING canary"), "redis: LOADING: the server is loading its data"},
		{answer("MASTERDOWN canary"), "redis: MASTERDOWN: the replica has lost its master"},
		{answer("OOM command not allowed when used memory > 'maxmemory'."), "redis: OOM: the server is out of memory (maxmemory)"},
		{answer("MISCONF canary"), "redis: MISCONF: the server can't write to its disk, and so refuses writes"},
		{answer("MOVED 1 canary:1"), "redis: MOVED: the key is on another server"},
		{answer("NEWCODE canary"), "redis: NEWCODE"},
		{answer("NEWCODE"), "redis: NEWCODE"},
		{answer("canary"), "redis: the server refused the call, without a code"},
		{answer("CANARY=1"), "redis: the server refused the call, without a code"},
		{answer("CANARY\ncanary"), "redis: the server refused the call, without a code"},
		{answer(strings.Repeat("A", 21)), "redis: the server refused the call, without a code"},
		{answer("A canary"), "redis: the server refused the call, without a code"},
		{answer(""), "redis: the server refused the call, without a code"},

		{redis.ErrClosed, "redis: client is closed"},
		{redis.ErrPoolTimeout, "redis: connection pool timeout"},
		{errors.New("redis: cluster has no nodes"), "redis: cluster has no nodes"},
		{fmt.Errorf("canary: %w", errors.New("redis: all ring shards are down")), "redis: all ring shards are down"},
		{fmt.Errorf(noSentinel+": %w", errors.Join(io.EOF, redis.Nil)), noSentinel + ": one knows no master of this name"},
		{fmt.Errorf(noSentinel+": %w", errors.Join(io.EOF, answer("WRONGPASS canary"))), noSentinel + ": WRONGPASS: the user name or the password is wrong, or the user is disabled"},
		{fmt.Errorf(noSentinel+": %w", &net.OpError{Op: "dial", Err: errors.New("canary")}), noSentinel},
		{io.EOF, "redis: connection closed"},
		{io.ErrUnexpectedEOF, "redis: connection closed"},
		{tls1, "redis: certificate is signed by an unknown authority"},
		{fmt.Errorf("canary: %w", tls1), "redis: certificate is signed by an unknown authority"},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "canary"}, "redis: certificate is for another host"},
		{x509.CertificateInvalidError{Reason: x509.Expired, Detail: "canary"}, "redis: certificate has expired or is not valid yet"},
		{x509.CertificateInvalidError{Reason: x509.NotAuthorizedToSign, Detail: "canary"}, "redis: certificate is not valid"},
		{&tls.CertificateVerificationError{Err: errors.New("canary")}, "redis: certificate is not valid"},
		{tls.RecordHeaderError{Msg: "canary"}, "redis: the server does not speak TLS"},
		{fmt.Errorf("canary: %w", errors.New("canary")), "redis: the client failed (*errors.errorString)"},

		// Package stytchmigrate has words for these.
		{context.DeadlineExceeded, ""},
		{context.Canceled, ""},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, ""},
		{&net.DNSError{Name: "canary", IsNotFound: true}, ""},
		{os.ErrDeadlineExceeded, ""},
	} {
		for _, err := range all(t, t.Context(), redisstore.New(&faulty{err: row.err}, ""), "the-key") {
			assert.Equal(t, row.want, safe(t, err), "%v", row.err)
			assert.NotContains(t, safe(t, err), "canary")
		}
	}
}

// Servers and connections that fail, and what Check and the event say, whose text is the
// log's. Neither says a key, a value, a user or a password.
func TestWhatCheckAndTheLogSay(t *testing.T) {
	s := startServer(t)
	user := func(rules ...any) redis.Options {
		s.do(append([]any{"acl", "setuser", "app-canary", "reset", "on", ">pw-canary", "~*", "+@all"}, rules...)...)
		return redis.Options{Username: "app-canary", Password: "pw-canary"}
	}
	unused, secure, plain := freeAddr(t), listen(t, (*httptest.Server).StartTLS), listen(t, (*httptest.Server).Start)
	unknown := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Name: "canary", Err: "canary", IsNotFound: true}}
	}
	for _, row := range []struct {
		options func() redis.Options
		want    string
	}{
		{func() redis.Options { return redis.Options{Username: "app-canary", Password: "canary"} }, "failed: redis: WRONGPASS: the user name or the password is wrong, or the user is disabled"},
		{func() redis.Options { return user("-getex") }, "failed: redis: NOPERM: the user may not run 'getex'"},
		{func() redis.Options { return user("resetkeys", "~canary:*") }, "failed: redis: NOPERM: the user may not use keys of this prefix"},
		{func() redis.Options { return redis.Options{DB: 99} }, "failed: redis: ERR: the server does not have that many databases"},
		{func() redis.Options { return redis.Options{Addr: secure, TLSConfig: &tls.Config{ServerName: "canary"}} }, "failed: redis: certificate is for another host"},
		{func() redis.Options { return redis.Options{Addr: plain, TLSConfig: &tls.Config{ServerName: "canary"}} }, "failed: redis: the server does not speak TLS"},
		{func() redis.Options { return redis.Options{Addr: unused} }, "dial: connection refused"},
		{func() redis.Options { return redis.Options{Dialer: unknown} }, "host not found"},
	} {
		options := row.options()
		options.MaxRetries, options.DialerRetries = -1, 1
		check, event := said(t, s.store(options))
		assert.Contains(t, check, "Store: Get "+row.want+": ")
		assert.Equal(t, "stytchmigrate: store: get: "+strings.TrimPrefix(row.want, "failed: "), event)
		assert.NotContains(t, check+event, "canary")
	}
}

// listen returns the address of a server that is no Redis.
func listen(t *testing.T, start func(*httptest.Server)) string {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	start(s)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// said returns what Check says of a store, and what the event does after a request.
func said(t *testing.T, store stytchmigrate.Store) (check, event string) {
	t.Helper()
	stytch, events := stytchtest.NewServer(t, stytchtest.Config{}), make(chan string, 100)
	people(stytch, "ada")
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: stytch.ProjectID, Secret: stytchmigrate.Secret(stytch.Secret), BaseURL: stytch.URL,
		Legacy:  []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolve}},
		Timeout: patient, Store: store, Logger: slog.New(slog.DiscardHandler),
		OnEvent: func(_ context.Context, e stytchmigrate.Event) {
			if e.Kind == "store" {
				events <- e.Err.Error()
			}
		},
	})
	require.NoError(t, err)
	err = auth.Check(t.Context())
	require.Error(t, err)
	r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
	r.Header.Set("Cookie", "sid=ada-1")
	auth.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	return err.Error(), <-events
}
