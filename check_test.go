package stytchmigrate_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const userInfoURL = "https://app.example.com/userinfo"

// launch is an application that is about to be launched, with everything that Check
// looks at. Everything is right, until a test changes it.
type launch struct {
	cfg      stytchmigrate.Config
	stytch   *stytchtest.Server
	endpoint http.Handler // at userInfoURL, for Stytch and for Check
}

func newLaunch(t *testing.T) *launch {
	t.Helper()
	tickets, err := userinfo.NewTickets(apptest.KeyOf('t', 32), apptest.KeyOf('u', 32))
	require.NoError(t, err)
	l := &launch{endpoint: userinfo.Handler(tickets.Redeem)}
	l.stytch = stytchtest.NewServer(t, stytchtest.Config{InProcess: true, UserInfoURL: userInfoURL, UserInfoClient: &http.Client{Transport: apptest.RoundTripper(l.serve)}})
	t.Cleanup(func() { time.Sleep(15 * time.Second) }) // for calls that Check does not wait for
	l.cfg = stytchmigrate.Config{
		ProjectID: l.stytch.ProjectID, Secret: stytchmigrate.Secret(l.stytch.Secret), BaseURL: l.stytch.URL,
		HTTPClient: &http.Client{Transport: apptest.RoundTripper(l.send)}, Logger: slog.New(slog.DiscardHandler),
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: noSession}}, Tickets: tickets, UserInfoURL: userInfoURL, Store: new(storetest.Memory),
	}
	return l
}

// serve is the application's own side.
func (l *launch) serve(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	l.endpoint.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

func (l *launch) send(r *http.Request) (*http.Response, error) {
	if r.URL.Path == "/userinfo" {
		return l.serve(r)
	}
	return l.stytch.RoundTripper().RoundTrip(r)
}

// check returns the findings of a Check that has a second.
func (l *launch) check(t *testing.T) string {
	t.Helper()
	m, err := stytchmigrate.New(l.cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err = m.Check(ctx); err == nil {
		return ""
	}
	return err.Error()
}

// Each row is one wrong setting of each kind that Check is given, and all that it
// says then. The other findings are pinned in internal/check.
func TestCheck(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*launch)
		want   string
	}{
		"everything right": {func(l *launch) { l.cfg.CreateUsers = true }, ""},
		"a wrong secret":   {func(l *launch) { l.cfg.Secret = "canary" }, "stytchmigrate: Secret: Stytch refuses it for this ProjectID (401 unauthorized_credentials): nobody can move, and no session can be refreshed; copy both from the same project"},
		"no URL in the dashboard": {func(l *launch) { l.stytch.SetUserInfoURL("") },
			"stytchmigrate: UserInfo URL in the Stytch dashboard: there is none, or it is no URL (400 migrate_from_external_missing_userinfo): nobody can move; set it to where userinfo.Handler is mounted"},
		"other keys": {func(l *launch) {
			other, _ := userinfo.NewTickets(apptest.KeyOf('o', 32), apptest.KeyOf('p', 32))
			l.endpoint = userinfo.Handler(other.Redeem)
		}, "stytchmigrate: UserInfoURL: refuses a good ticket (401): the machine there has other keys than Tickets here, or another time: nobody can move; give all machines the same keys"},
		"tickets without keys": {func(l *launch) { l.cfg.Tickets = new(userinfo.Tickets) }, "stytchmigrate: Tickets: was not made by userinfo.NewTickets: nobody can move; make it so"},
		"a nil store": {func(l *launch) { l.cfg.Store = (*storetest.Memory)(nil) },
			"stytchmigrate: Store: Get panicked (runtime.errorString), for it is a nil *storetest.Memory: machines do not know what others have exchanged or ended; mend it, or leave Store out"},
		"an address for a Domain": {func(l *launch) { l.cfg.Cookies.Domain = "127.0.0.1" }, `stytchmigrate: Cookies: Domain "127.0.0.1": is an address, for which not every browser keeps a cookie; leave Domain empty`},
		"a legacy cookie elsewhere": {func(l *launch) {
			l.cfg.Cookies.Domain, l.cfg.Legacy[0].Scopes = "example.com", []stytchmigrate.CookieScope{{Domain: "example.org"}}
		}, `stytchmigrate: Legacy[0].Scopes[0]: Domain "example.org": no page in Cookies.Domain "example.com" may expire a cookie there, and it stays; take the scope out, or correct one of the two`},
		"a private endpoint": {func(l *launch) {
			l.cfg.BaseURL, l.cfg.UserInfoURL = "https://test.stytch.com", "http://localhost/userinfo"
		},
			"stytchmigrate: UserInfoURL: is an address that only this network knows: Stytch can't reach it, and nobody can move; give the endpoint a public name"},
		"a short time-out": {func(l *launch) {
			l.cfg.Timeout = 500 * time.Millisecond
			l.stytch.FailAll("*", stytchtest.Silence())
		}, "stytchmigrate: BaseURL: Stytch can't be reached (timed out): nobody can move, and no session can be refreshed; check the network, the proxy and BaseURL"},
		"a context that ends": {func(l *launch) { l.stytch.FailAll("*", stytchtest.Silence()) }, "stytchmigrate: Check: ended before all answers were there: what is not said here is not known; give its context more time"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLaunch(t)
				row.change(l)
				assert.Equal(t, row.want, l.check(t))
				assert.Empty(t, l.stytch.Sessions())
				assert.Zero(t, l.stytch.Count("create_user"))
			})
		})
	}
}

// However often Check fails, requests don't notice: no breaker is open, no
// exchange waits, the store is used, and there is no event and no log.
func TestCheckLeavesNoTrace(t *testing.T) {
	store := new(storetest.Memory)
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		store.Fail(apptest.StoreDown)
		a.Stytch.FailAll("*", stytchtest.Error(503, "server_unavailable"))
		a.Stytch.FailAll("migrate", stytchtest.Error(429, "too_few_tokens_authenticated"))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { assert.Error(t, a.Middleware.Check(t.Context())) })
		}
		all.Wait()
		store.Fail(nil)
		a.Stytch.Heal("*")
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
		assert.NotEmpty(t, store.Values())
		assert.Empty(t, a.Events)
		assert.Empty(t, a.Log.String())
	}, func(c *stytchmigrate.Config) {
		c.Tickets, _ = userinfo.NewTickets(apptest.KeyOf('t', 32), apptest.KeyOf('u', 32))
		c.Store = store
	})
}

// Users are served while Check runs.
func TestCheckWhileServing(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		done := make(chan error, 8)
		for range cap(done) {
			go func() { done <- a.Middleware.Check(t.Context()) }()
		}
		assert.Equal(t, "migrated ada", a.Get("sid=ada-1").Saw)
		for range cap(done) {
			assert.NoError(t, <-done)
		}
	})
}
