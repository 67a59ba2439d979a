package check_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/userinfo"
)

const (
	apart      = ": machines do not know what others have exchanged or ended; mend it, or leave Store out"
	incomplete = "Check: ended before all answers were there: what is not said here is not known; give its context more time"
)

// store is a Store that works for one caller, unless its calls fail or hang.
type store struct {
	err    error
	hangs  time.Duration
	value  []byte
	holder string // of the claim
}

func (s *store) Get(context.Context, string) ([]byte, bool, error) {
	time.Sleep(s.hangs)
	return s.value, s.value != nil, s.err
}

func (s *store) Put(_ context.Context, _, _ string, value []byte, _ time.Duration) (bool, error) {
	s.value = value
	return true, s.err
}

func (s *store) Claim(_ context.Context, _, owner string, _ time.Duration) (bool, error) {
	if s.holder == "" {
		s.holder = owner
	}
	return s.holder == owner, s.err
}

func (s *store) Release(context.Context, string, string) error { s.holder = ""; return s.err }

func failing(s *site) { s.cfg.Store = &store{err: errors.New("canary")} }

func cantMint(s *site) {
	s.cfg.Mint = func(userinfo.Identity) (redact.Secret, error) { return "", errors.New("canary") }
}

func TestTicketsAndStore(t *testing.T) {
	assert.Equal(t, "Tickets: was not made by userinfo.NewTickets: nobody can move; make it so", findings(t, cantMint))
	assert.Equal(t, "Store: Get failed (*errors.errorString)"+apart, findings(t, failing))
	assert.Empty(t, findings(t, func(s *site) { s.cfg.Store = new(store) }))
}

// Each row is a configuration, and all that is asked. Without legacy cookies, or
// without a ticket, less is asked.
func TestRequests(t *testing.T) {
	const (
		ofUser     = "GET https://stytch.invalid/v1/users/user-test-00000000-0000-4000-8000-000000000000 Basic"
		ofKeySet   = "GET https://stytch.invalid/v1/sessions/jwks/project-test-1"
		ofExchange = `POST https://stytch.invalid/v1/sessions/migrate Basic application/json {"session_token":"canary-ticket"}`
		ofBare     = "GET https://app.example.com/userinfo?key=canary"
		ofToken    = ofBare + " Bearer"
	)
	for name, row := range map[string]struct {
		change change
		want   []string
	}{
		"all":             {all(), []string{ofUser, ofKeySet, ofExchange, ofBare, ofToken, ofToken}},
		"no tickets":      {func(s *site) { s.cfg.Mint = nil }, []string{ofUser, ofKeySet, ofBare, ofToken}},
		"no good tickets": {cantMint, []string{ofUser, ofKeySet, ofBare, ofToken}},
		"no UserInfo URL": {func(s *site) { s.cfg.UserInfoURL = "" }, []string{ofUser, ofKeySet, ofExchange}},
		"no legacy":       {func(s *site) { s.cfg.Legacy = nil }, []string{ofUser, ofKeySet}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite()
			row.change(s)
			_ = s.run(t.Context())
			assert.ElementsMatch(t, row.want, s.requests)
		})
	}
}

// The ticket is about an address that no outsider can guess and no mail reaches.
func TestStranger(t *testing.T) {
	s := newSite()
	assert.NoError(t, s.run(t.Context()))
	assert.NoError(t, s.run(t.Context()))
	assert.NotEqual(t, s.minted[0], s.minted[1])
	for _, id := range s.minted {
		assert.NoError(t, id.Validate())
		assert.True(t, strings.HasSuffix(id.Email, ".invalid"))
	}
}

// Run ends with its context, and does not report an outage then. What it knows by
// then it reports.
func TestCheckIsCutShort(t *testing.T) {
	cookie := `Cookies: Domain "127.0.0.1": is an address, for which not every browser keeps a cookie; leave Domain empty`
	address := func(s *site) { s.cfg.Cookies.Domain = "127.0.0.1" }
	hangs := func(s *site) { s.cfg.Store, s.cfg.Timeout = &store{hangs: time.Hour}, 30*time.Second }
	for name, row := range map[string]struct {
		change change
		want   string
	}{
		"all is silent":          {all(address, on(silent, allOfStytch...), on(silent, allOfEndpoint...)), cookie + "\n" + incomplete},
		"the key set is silent":  {all(address, on(silent, keySet)), cookie + "\n" + incomplete},
		"the exchange is silent": {on(silent, exchange), incomplete},
		"the endpoint is silent": {on(silent, ticketed), incomplete},
		"the store is silent":    {hangs, incomplete},
		"a bad key set, silence": {all(on(reply(200, "{}"), keySet), on(silent, bare)), "BaseURL: Stytch's key set is of no use (key set has no usable key): no session JWT can be verified, and requests wait for Stytch; let GET /v1/sessions/jwks through unchanged\n" + incomplete},
		"nothing is silent":      {all(address, func(s *site) { s.cfg.Timeout = time.Hour }, on(late(stytchError(404, "user_not_found"), time.Second-1), user)), cookie},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite()
				row.change(s)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				assert.Equal(t, row.want, lines(t, s.run(ctx)))
				assert.LessOrEqual(t, time.Since(began), time.Second)
				time.Sleep(2 * time.Hour) // for calls that Run does not wait for
			})
		})
	}
}

// Each row is a transport, and what is found of Stytch and of the endpoint. No
// transport makes Run panic or hang.
func TestCheckOverBrokenTransports(t *testing.T) {
	for name, row := range map[string]struct {
		does answer
		want string
	}{
		"panics":  {func(*http.Request) (*http.Response, error) { panic("canary") }, "(transport panicked (string))"},
		"exits":   {func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, "(transport left by runtime.Goexit)"},
		"nothing": {func(*http.Request) (*http.Response, error) { return nil, nil }, "(transport failed (*errors.errorString))"},
		"no body": {func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil }, "(200)"},
		"hangs":   {func(*http.Request) (*http.Response, error) { time.Sleep(10 * time.Second); return nil, io.EOF }, "(timed out)"},
		"fails":   {refuseConnection, "(dial: connection refused)"},
	} {
		t.Run(name, func(t *testing.T) {
			said := strings.Split(findings(t, all(on(row.does, allOfStytch...), on(row.does, allOfEndpoint...))), "\n")
			assert.Len(t, said, 2)
			assert.True(t, strings.HasPrefix(said[0], "BaseURL: "), said[0])
			assert.Contains(t, said[0], row.want)
			assert.True(t, strings.HasPrefix(said[1], "UserInfoURL: "), said[1])
		})
	}
}

// However a probe fails, no finding holds what the peer said, or what was sent to it.
func TestCheckTellsNoSecret(t *testing.T) {
	failed := func(err error) answer { return func(*http.Request) (*http.Response, error) { return nil, err } }
	for i, a := range []answer{
		failed(errors.New("canary")), failed(fmt.Errorf("canary: %w", context.DeadlineExceeded)), failed(net.UnknownNetworkError("canary")),
		failed(&net.OpError{Op: "canary", Net: "canary", Err: errors.New("canary")}), failed(&net.DNSError{Err: "canary", Name: "canary", Server: "canary"}),
		failed(&url.Error{Op: "canary", URL: "canary", Err: errors.New("canary")}), brokenOff(reply(200, strings.Repeat("canary", 100))),
		reply(200, "canary"), reply(307, "canary", "Location", "https://canary"), reply(400, "canary"), reply(401, "canary", "WWW-Authenticate", "canary"), reply(500, "canary"),
		reply(200, `{"sub":"canary","email":"canary","email_verified":"canary"}`, "Content-Type", "canary", "Date", "canary", "Cache-Control", "canary"),
		stytchError(400, "unauthorized_credentials"), stytchError(404, "session_not_found"),
	} {
		for _, probe := range append(append([]string{}, allOfStytch...), allOfEndpoint...) {
			findings(t, on(a, probe)) // asserts that none is in it
		}
		assert.NotEmpty(t, findings(t, all(on(a, allOfStytch...), on(a, allOfEndpoint...))), i)
	}
}
