package stytchtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Config says what a Server is to be like. The zero value is a server that
// listens on a free port of the loopback interface, for a new test project,
// without a UserInfo URL. A Config is read once, by [NewServer] or [Start].
type Config struct {
	// ProjectID is the id of the project served. Empty means project-test-
	// and a random UUID.
	ProjectID string

	// Secret is the project's secret. Empty means a random one.
	Secret string

	// Issuer is the iss claim of the JWTs. Empty means stytch.com/ and the
	// project id; Stytch uses the URL of a custom domain where there is one.
	Issuer string

	// JWTLifetime is the time from a JWT's iat to its exp. Zero means five
	// minutes, as Stytch's.
	JWTLifetime time.Duration

	// UserInfoURL is the endpoint that a migrate call asks who the bearer of a
	// legacy token is. Empty means that the project has none configured.
	UserInfoURL string

	// UserInfoClient makes that request. Nil means a client of the server's
	// own that uses no proxy and keeps no connection. Redirects are not
	// followed whatever the client says, and five seconds are the limit.
	UserInfoClient *http.Client

	// Seed seeds the dice of [Fault.WithChance], so that a test that fails can
	// be run again. Zero is a seed like any other.
	Seed uint64

	// InProcess says to listen on nothing. URL is then https://stytch.invalid,
	// a name that resolves nowhere, and the server is reached through Client,
	// RoundTripper or ServeHTTP alone.
	InProcess bool
}

// Server stands in for Stytch. Create one with [NewServer] or [Start]; the zero
// value is of no use. All methods may be called by several goroutines at once,
// while calls are served too.
type Server struct {
	URL       string // base URL without trailing slash; fixed
	ProjectID string // fixed
	Secret    string // fixed

	env      string // "test" or "live", the middle of every id
	issuer   string
	lifetime time.Duration
	listener *httptest.Server // nil if in process
	ctx      context.Context  // ends at Close; everything that waits, waits for it too
	cancel   context.CancelFunc
	running  sync.WaitGroup // calls being served; Add under mu, and not once closed

	// mu guards all below. It is never held while a call waits, computes a
	// signature or asks the UserInfo endpoint.
	mu        sync.Mutex
	closed    bool
	clock     func() time.Time
	userInfo  userInfo
	keys      []signingKey // the last one signs, all are served
	rotations int
	users     []*User             // in the order of their creation
	sessions  []*session          // likewise
	codes     map[string]passcode // by email id
	calls     []*Call
	inFlight  map[Op]int
	peak      map[Op]int
	script    script
}

// NewServer starts a server for the test t and closes it when t ends. It ends
// the test if the server cannot be started.
func NewServer(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatalf("stytchtest: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a server for a program that is no test. The caller closes it.
func Start(cfg Config) (*Server, error) {
	s := newServer(cfg)
	if cfg.InProcess {
		s.URL = "https://stytch.invalid"
		return s, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.listener = &httptest.Server{Listener: l, Config: &http.Server{Handler: s}}
	s.listener.Start()
	s.URL = s.listener.URL
	return s, nil
}

func newServer(cfg Config) *Server {
	s := &Server{
		ProjectID: cfg.ProjectID,
		Secret:    cfg.Secret,
		env:       "test",
		issuer:    cfg.Issuer,
		lifetime:  cfg.JWTLifetime,
		clock:     time.Now,
		userInfo:  userInfo{url: cfg.UserInfoURL, client: userInfoClient(cfg.UserInfoClient)},
		inFlight:  make(map[Op]int),
		peak:      make(map[Op]int),
		script:    script{dice: rand.New(rand.NewPCG(cfg.Seed, 0))},
	}
	if s.ProjectID == "" {
		s.ProjectID = "project-test-" + newUUID()
	}
	if strings.HasPrefix(s.ProjectID, "project-live-") {
		s.env = "live"
	}
	if s.Secret == "" {
		s.Secret = "secret-" + s.env + "-" + newToken()
	}
	if s.issuer == "" {
		s.issuer = "stytch.com/" + s.ProjectID
	}
	if s.lifetime == 0 {
		s.lifetime = 5 * time.Minute
	}
	s.keys = []signingKey{{id: s.newID("jwk"), key: poolKey(0)}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// errClosed is why a call in process is refused once the server is closed.
var errClosed = errors.New("stytchtest: server is closed")

// Close ends the server: calls that a fault holds are dropped, connections are
// closed, and no goroutine of the server is left when Close returns. Later
// calls are refused as by a host where nothing listens. What was recorded can
// still be read. Close may be called more than once.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel() // first, or the listener would wait for calls that are held
	if s.listener != nil {
		// An answer that nobody reads would block it too.
		s.listener.CloseClientConnections()
		s.listener.Close()
	}
	s.running.Wait()
}

// CloseClientConnections closes all connections to the server, idle ones too,
// as a gateway does when it is restarted. It does nothing in process.
func (s *Server) CloseClientConnections() {
	if s.listener != nil {
		s.listener.CloseClientConnections()
	}
}

// enter counts a call as running. It fails once the server is closed.
func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	s.running.Add(1)
	return nil
}

// SetClock makes the server tell the time by now, for tests of clocks that
// disagree: in JWTs, in bodies, and in the Date header of its answers. Nil means
// time.Now again. Delays are not affected.
func (s *Server) SetClock(now func() time.Time) {
	if now == nil {
		now = time.Now
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = now
}

// now is the server's time. It is called without mu, so that a clock of the
// test's may use the server.
func (s *Server) now() time.Time {
	s.mu.Lock()
	clock := s.clock
	s.mu.Unlock()
	return clock().UTC().Truncate(time.Microsecond)
}
