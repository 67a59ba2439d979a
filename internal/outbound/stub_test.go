package outbound_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/outbound"
)

const (
	timeout = 4 * time.Second
	maxBody = 100
	life    = 3 * timeout // of a call's context
)

// The lanes, for short.
const (
	exchange   = outbound.Exchange
	createUser = outbound.CreateUser
	session    = outbound.Session
	anySession = outbound.UnvouchedSession
	logout     = outbound.Revoke
	anyLogout  = outbound.UnvouchedRevoke
)

// reply is the outcome of a try.
type reply func(*http.Request) (*http.Response, error)

func say(status int, body string, header ...string) reply {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func apiError(status int, errorType string, header ...string) reply {
	return say(status, fmt.Sprintf(`{"error_type":%q}`, errorType), header...)
}

func fail(err error) reply {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

func silence(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// breakOff returns the body and then an error, or silence if err is nil.
func breakOff(status int, body string, err error) reply {
	return func(r *http.Request) (*http.Response, error) {
		resp, _ := say(status, "")(r)
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(body), readFunc(func([]byte) (int, error) {
			if err == nil {
				<-r.Context().Done()
				return 0, r.Context().Err()
			}
			return 0, err
		})))
		return resp, nil
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

func after(d time.Duration, then reply) reply {
	return func(r *http.Request) (*http.Response, error) {
		select {
		case <-time.After(d):
			return then(r)
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

var (
	ok       = say(200, `{"user_id":"u"}`)
	down     = say(503, "")
	refused  = fail(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
	reset    = fail(&net.OpError{Op: "read", Err: syscall.ECONNRESET})
	noHost   = fail(&net.DNSError{IsNotFound: true})
	badCert  = fail(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}})
	tlsAlert = fail(&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")})
)

// stytch answers each call with the replies in its context. It repeats the last one.
type stytch struct {
	*outbound.Transport
	began time.Time

	mu             sync.Mutex
	tries          []time.Duration // since began
	inFlight, most int
	notices        []outbound.Notice
}

func newStytch(change ...func(*outbound.Config)) *stytch {
	s := &stytch{began: time.Now()}
	c := outbound.Config{Base: outbound.Isolate(base{s}, maxBody), Timeout: timeout, Notify: s.hear}
	for _, f := range change {
		f(&c)
	}
	s.Transport = outbound.New(c)
	return s
}

func (s *stytch) hear(n outbound.Notice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notices = append(s.notices, n)
}

func (s *stytch) heard() []outbound.Notice {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.notices
}

func (s *stytch) triesMade() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.tries)
}

type base struct{ *stytch }

func (s base) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.tries = append(s.tries, time.Since(s.began))
	s.inFlight++
	s.most = max(s.most, s.inFlight)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.inFlight--
		s.mu.Unlock()
	}()
	return r.Context().Value(scriptKey{}).(*script).next()(r)
}

type scriptKey struct{}

type script struct {
	mu      sync.Mutex
	replies []reply
}

func (s *script) next() reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.replies[0]
	if len(s.replies) > 1 {
		s.replies = s.replies[1:]
	}
	return r
}

// newRequest is a call as the client makes it.
func newRequest(ctx context.Context, lane outbound.Lane, replies ...reply) *http.Request {
	ctx = context.WithValue(outbound.In(ctx, lane), scriptKey{}, &script{replies: replies})
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://test.stytch.com/v1/sessions", strings.NewReader("body"))
	if err != nil {
		panic(err)
	}
	return r
}

// call makes a call and returns its status, "held back: ..." or "error: ...". If the
// body breaks off, it adds the error.
func (s *stytch) call(lane outbound.Lane, replies ...reply) string {
	ctx, cancel := context.WithTimeout(context.Background(), life)
	defer cancel()
	return s.callWith(ctx, lane, replies...)
}

func (s *stytch) callWith(ctx context.Context, lane outbound.Lane, replies ...reply) string {
	resp, err := s.RoundTrip(newRequest(ctx, lane, replies...))
	var held *outbound.HeldBack
	switch {
	case errors.As(err, &held):
		return fmt.Sprintf("%v for %v", held, held.RetryAfter)
	case err != nil:
		return "error: " + err.Error()
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Sprintf("%d %s, then %v", resp.StatusCode, body, err)
	}
	return fmt.Sprint(resp.StatusCode)
}

// many makes n calls at once and counts their outcomes.
func (s *stytch) many(n int, lane outbound.Lane, replies ...reply) map[string]int {
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string]int{}
	for range n {
		wg.Go(func() {
			said := s.call(lane, replies...)
			mu.Lock()
			defer mu.Unlock()
			got[said]++
		})
	}
	wg.Wait()
	return got
}

// start starts n calls. The test waits for them at its end.
func (s *stytch) start(t *testing.T, n int, lane outbound.Lane, replies ...reply) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { s.call(lane, replies...) })
	}
	t.Cleanup(wg.Wait)
	synctest.Wait()
}

// open opens the breaker of a lane.
func (s *stytch) open(t *testing.T, lane outbound.Lane) {
	t.Helper()
	for range 5 {
		require.Equal(t, "503", s.call(lane, down))
	}
	require.Contains(t, s.call(lane, ok), "breaker is open")
}

// took asserts how much time has passed.
func took(t *testing.T, want time.Duration, since time.Time) {
	t.Helper()
	assert.Equal(t, want, time.Since(since), "time taken")
}
