package soak

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const (
	oldCookie   = "sid"
	tokenCookie = "stytch_session"
	jwtCookie   = "stytch_session_jwt"

	timeout = 2 * time.Second // Config.Timeout
)

// bounds are how many calls a machine has in flight at most, by the last word of
// their path; of sessions that are vouched for, and those that are not.
var bounds = map[string]int{"migrate": 32, "users": 32, "authenticate": 64 + 16, "revoke": 32 + 8, "jwks": 1}

// machine is one of those that serve the application. It is also the transport
// of its middleware, and counts what is in flight.
type machine struct {
	auth *stytchmigrate.Middleware
	base *http.Transport

	mu    sync.Mutex // guards all below
	now   counts
	peak  counts
	calls counts
}

func newMachine(s *soak, tickets *userinfo.Tickets) (*machine, error) {
	m := &machine{now: counts{}, peak: counts{}, calls: counts{}}
	m.base = &http.Transport{DialContext: s.net.dial, MaxIdleConnsPerHost: 32}
	var err error
	m.auth, err = stytchmigrate.New(stytchmigrate.Config{
		ProjectID: s.stytch.ProjectID, Secret: stytchmigrate.Secret(s.stytch.Secret), BaseURL: s.stytch.URL,
		HTTPClient: &http.Client{Transport: m}, Store: s.store, Timeout: timeout,
		Legacy:  []stytchmigrate.LegacyCookie{{Name: oldCookie, Resolve: resolve}},
		Tickets: tickets, CreateUsers: true,
		SessionClaims: func(l stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"of": l.Identity.Subject}
		},
		OnEvent: s.heard,
		Logger:  slog.New(slog.DiscardHandler),
	})
	return m, err
}

// RoundTrip counts a call as in flight until its body is closed, or it is called
// off: a transport may take a moment to hear of that.
func (m *machine) RoundTrip(r *http.Request) (*http.Response, error) {
	op := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if strings.Contains(r.URL.Path, "/jwks/") { // the last word is the project
		op = "jwks"
	}
	m.count(op, 1)
	over := sync.OnceFunc(func() { m.count(op, -1) })
	stop := context.AfterFunc(r.Context(), over)
	resp, err := m.base.RoundTrip(r)
	if err != nil {
		stop()
		over()
		return nil, err
	}
	resp.Body = &body{resp.Body, func() { stop(); over() }}
	return resp, nil
}

func (m *machine) count(op string, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now[op] += n
	m.peak[op] = max(m.peak[op], m.now[op])
	if n > 0 {
		m.calls[op]++
	}
}

type body struct {
	io.ReadCloser
	closed func()
}

func (b *body) Close() error {
	defer b.closed()
	return b.ReadCloser.Close()
}

// resolve reads "name.id.start", the old cookie.
func resolve(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	part := strings.Split(value, ".")
	if len(part) != 3 {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	start, err := strconv.ParseInt(part[2], 10, 64)
	if err != nil {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(part[1]), StartedAt: time.Unix(0, start),
		Identity: userinfo.Identity{Subject: part[0], Email: part[0] + "@example.com", EmailVerified: true},
	}, nil
}

func newTickets(stytch *stytchtest.Server) (*userinfo.Tickets, error) {
	tickets, err := userinfo.NewTickets([]byte("32 bytes that sign the tickets.."), []byte("32 bytes that lock the tickets.."))
	if err != nil {
		return nil, err
	}
	stytch.SetUserInfo(func(ctx context.Context, ticket string) (string, error) {
		id, err := tickets.Redeem(ctx, ticket)
		if err == nil && id.Email == "" {
			err = errors.New("a ticket without an email")
		}
		return id.Email, err
	})
	return tickets, nil
}
