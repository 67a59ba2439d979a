// Package apptest is an application behind the middleware, with a stand-in for
// Stytch, for the tests of the whole module.
package apptest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// Ask sends a GET, and holds the reply against what is true of every reply.
func (a *App) GetChecked(t *testing.T, cookies string, change ...func(*http.Request)) *Reply {
	t.Helper()
	out := a.Get(cookies, change...)
	RequireValidCookies(t, "app.example.com", out.Result().Header)
	return out
}

// Crowd sends n requests at once, each after a pause, and returns when all are done.
func (a *App) Crowd(n int, change func(i int, r *http.Request) (*http.Request, time.Duration)) []*Visitor {
	out := make([]*Visitor, n)
	var wg sync.WaitGroup
	for i := range out {
		v := &Visitor{ResponseRecorder: httptest.NewRecorder()}
		out[i] = v
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			r, pause := change(i, r)
			time.Sleep(pause)
			start := time.Now()
			a.Middleware.Handler(v).ServeHTTP(v, r)
			v.Took = time.Since(start)
		})
	}
	wg.Wait()
	return out
}

// Heard waits for what is told in goroutines of its own.
func (a *App) SettledEvents() []stytchmigrate.Event {
	synctest.Wait()
	a.Mu.Lock()
	defer a.Mu.Unlock()
	return a.Events
}

// Roll puts a rollout in force.
func (a *App) SetRollout(t *testing.T, r stytchmigrate.Rollout) {
	t.Helper()
	require.NoError(t, a.Middleware.SetRollout(r))
}

// Asks makes the middleware know the session in cookies, by one request.
func (a *App) LearnSession(t *testing.T, cookies string) {
	t.Helper()
	require.Equal(t, "authenticated ada"+CookiesUntouched+"authenticate", a.Get(cookies).String())
}

// Short is a Cookie header with S for the given Stytch cookies and N for others.
func (a *App) ShortenCookies(stytch, header string) string {
	header = strings.ReplaceAll(header, stytch, "S")
	for _, s := range a.Stytch.Sessions() {
		header = strings.ReplaceAll(header, "stytch_session="+s.Token+"; stytch_session_jwt="+s.JWT, "N")
	}
	return strings.ReplaceAll(header, "; ", " ")
}

// OriginOf is the key of the record that the latest session came from.
func (a *App) OriginOf(t *testing.T) string {
	t.Helper()
	all := a.Stytch.Sessions()
	key, _ := all[len(all)-1].CustomClaims["legacy_session"].(string)
	require.NotEmpty(t, key)
	return key
}

// Tabs signs in n people, each at a browser of their own.
func (a *App) Browsers(n int) []*Browser {
	tabs := make([]*Browser, n)
	for i := range tabs {
		u := a.Stytch.AddUser(stytchtest.Person(fmt.Sprintf("user%d@example.com", i)))
		cookies, session := a.SignedIn(u)
		tabs[i] = &Browser{App: a, Cookies: cookies, Until: session.ExpiresAt}
	}
	return tabs
}

// Parallel sends a GET that may run beside others.
func (a *App) ParallelGet(cookies string) *Reply {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
	r.Header.Set("Cookie", cookies)
	out := &Reply{ResponseRecorder: httptest.NewRecorder(), a: a}
	a.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { out.Saw = a.Who(r.Context()) })).ServeHTTP(out, r)
	return out
}

// Expired is the Cookie header of a session of u's whose JWT has expired; of
// the names, session and jwt, only those that are asked for are in it.
func (a *App) Expired(u stytchtest.User, names string) (cookies string, s stytchtest.Session) {
	both, s := a.SignedIn(u)
	time.Sleep(6 * time.Minute)
	token, jwt, _ := strings.Cut(both, "; ")
	return map[string]string{"session": token, "jwt": jwt, "both": both}[names], s
}

// Required sends a GET to a handler for users alone.
func (a *App) GetRequiringUser(cookies string) *Reply {
	a.Stytch.ResetCalls()
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
	r.Header.Set("Cookie", cookies)
	out := &Reply{ResponseRecorder: httptest.NewRecorder(), Saw: "handler not run", a: a}
	a.Middleware.Handler(a.Middleware.RequireUser(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		out.Saw = a.Who(r.Context())
	}))).ServeHTTP(out, r)
	return out
}

// Site serves h behind the middleware over TLS, by HTTP/1.1 or HTTP/2.
func (a *App) Site(t *testing.T, http2 bool, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(a.Middleware.Handler(h))
	s.EnableHTTP2 = http2
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// App is an application behind the middleware, with a stand-in for Stytch.
// Its people are ada and bob; their legacy sessions are in a cookie "sid" whose
// value is a name and a number, as in "ada-1".
type App struct {
	Stytch      *stytchtest.Server
	Middleware  *stytchmigrate.Middleware
	Ada, Bob    stytchtest.User
	Handler     http.HandlerFunc                                  // what is behind the middleware
	Resolve     func(string) (stytchmigrate.LegacySession, error) // in place of the usual, if set
	Logger      *slog.Logger                                      // of all machines: its handler locks log
	Log         bytes.Buffer                                      // written by the middleware's logger
	Mu          sync.Mutex                                        // guards events
	Events      []stytchmigrate.Event                             // but for those of Kind request
	Requests    []stytchmigrate.Event                             // of Kind request
	CookiesSeen []string                                          // Cookie headers that the handler saw
	LegacySeen  stytchmigrate.LegacySession                       // LegacyFromContext of the last request
}

// InBubble runs a test with a clock of its own, in which nothing sleeps for real,
// beside other tests. The calls that no request waits for any more come to their
// end in it.
func InBubble(t *testing.T, f func(t *testing.T, a *App), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	RunParallel(t)
	InBubbleAlone(t, f, change...)
}

// InBubbleAlone is inBubble for a test that counts goroutines.
func InBubbleAlone(t *testing.T, f func(t *testing.T, a *App), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		a := New(t, stytchtest.Config{InProcess: true}, change...)
		defer time.Sleep(15 * time.Second)
		f(t, a)
	})
}

// bubbles are the tests that had one: t.Parallel may be called once.
var bubbles sync.Map

func RunParallel(t *testing.T) {
	t.Helper()
	if _, again := bubbles.LoadOrStore(t, true); !again {
		t.Cleanup(func() { bubbles.Delete(t) })
		t.Parallel()
	}
}

func New(t *testing.T, sc stytchtest.Config, change ...func(*stytchmigrate.Config)) *App {
	t.Helper()
	a := &App{Stytch: stytchtest.NewServer(t, sc)}
	a.Logger = slog.New(slog.NewJSONHandler(&a.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a.Ada = a.Stytch.AddUser(stytchtest.Person("ada@example.com"))
	a.Bob = a.Stytch.AddUser(stytchtest.Person("bob@example.com"))
	for _, name := range []string{"ada", "bob"} {
		a.Stytch.Accept(name+"-token", name+"@example.com")
	}
	cfg := a.Config()
	for _, f := range change {
		f(&cfg)
	}
	m, err := stytchmigrate.New(cfg)
	require.NoError(t, err)
	a.Middleware = m
	return a
}

func (a *App) Config() stytchmigrate.Config {
	return stytchmigrate.Config{
		ProjectID:  a.Stytch.ProjectID,
		Secret:     stytchmigrate.Secret(a.Stytch.Secret),
		BaseURL:    a.Stytch.URL,
		HTTPClient: a.Stytch.Client(),
		Legacy:     []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: a.ResolveName}},
		Logger:     a.Logger,
		OnEvent:    a.record,
	}
}

// ResolveName knows the sessions of ada and bob by the name in the cookie.
func (a *App) ResolveName(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	if a.Resolve != nil {
		return a.Resolve(value)
	}
	name, _, found := strings.Cut(value, "-")
	if !found || name != "ada" && name != "bob" {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return LegacySession(name, value), nil
}

func (a *App) record(_ context.Context, e stytchmigrate.Event) {
	a.Mu.Lock()
	defer a.Mu.Unlock()
	if e.Kind == "request" {
		a.Requests = append(a.Requests, e)
		return
	}
	a.Events = append(a.Events, e)
}

// Get sends a GET with a Cookie header, "" for none.
func (a *App) Get(cookies string, change ...func(*http.Request)) *Reply {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	for _, f := range change {
		f(r)
	}
	return a.Do(r)
}

func (a *App) Do(r *http.Request) *Reply {
	a.Stytch.ResetCalls()
	out := &Reply{ResponseRecorder: httptest.NewRecorder(), Saw: "handler not run", a: a}
	a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out.Saw = a.Who(r.Context())
		a.LegacySeen, _ = stytchmigrate.LegacyFromContext(r.Context())
		a.CookiesSeen = append(a.CookiesSeen, r.Header.Get("Cookie"))
		if a.Handler != nil {
			a.Handler(w, r)
		}
	})).ServeHTTP(out, r)
	return out
}

// LogOut sends a request whose handler logs out.
func (a *App) LogOut(cookies string) *Reply {
	a.Handler = func(w http.ResponseWriter, r *http.Request) { _ = a.Middleware.Logout(w, r) }
	defer func() { a.Handler = nil }()
	return a.Get(cookies)
}

// Who is the outcome, and the user's name where there is one.
func (a *App) Who(ctx context.Context) string {
	outcome := stytchmigrate.OutcomeFromContext(ctx).String()
	u, ok := stytchmigrate.UserFromContext(ctx)
	switch {
	case !ok:
		return outcome
	case u.Partial:
		outcome += " partial"
	}
	switch u.UserID {
	case a.Ada.ID:
		return outcome + " ada"
	case a.Bob.ID:
		return outcome + " bob"
	}
	return outcome + " somebody else"
}

// SignedIn is the Cookie header of a native Stytch session.
func (a *App) SignedIn(u stytchtest.User) (cookies string, s stytchtest.Session) {
	s = a.Stytch.NewSession(u.ID, 30*24*time.Hour)
	return "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT, s
}

// Machines returns n more middlewares with the settings of a's, of which each is
// App machine with a memory of its own. on runs f on one.
func (a *App) Machines(t *testing.T, n int, change ...func(*stytchmigrate.Config)) []*stytchmigrate.Middleware {
	t.Helper()
	out := make([]*stytchmigrate.Middleware, n)
	for i := range out {
		cfg := a.Config()
		for _, f := range change {
			f(&cfg)
		}
		m, err := stytchmigrate.New(cfg)
		require.NoError(t, err)
		out[i] = m
	}
	return out
}

func (a *App) On(m *stytchmigrate.Middleware) *App { a.Middleware = m; return a }

// Told is the events of a kind, with their cause; only those that are over have no error.
func (a *App) EventsOf(kind string) (out []string) {
	for _, e := range a.SettledEvents() {
		if e.Kind == kind {
			out = append(out, e.Kind+" "+e.Cause)
			if (e.Err == nil) != (e.Cause == "recovered") {
				out = append(out, "wrong error")
			}
		}
	}
	return out
}

// Copies answers exchanges with the one of ada that it makes first, under a
// token of each one's own. To sign a JWT for each takes longer than all else.
func (a *App) Copies(t *testing.T) http.HandlerFunc {
	t.Helper()
	var first map[string]any
	a.Stytch.Fail(stytchtest.Migrate, stytchtest.Mutate(func(body map[string]any) { first = body }))
	require.Equal(t, Swapped, a.Get("sid=ada-first").String())
	a.Requests = nil
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		body := maps.Clone(first)
		body["session_token"] = fmt.Sprintf("%044d", n.Add(1))
		w.Header().Set("Content-Type", "application/json")
		assert.NoError(t, json.NewEncoder(w).Encode(body))
	}
}

// Restart gives the application a middleware that remembers nothing.
func (a *App) Restart(t *testing.T) {
	t.Helper()
	m, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: a.Stytch.ProjectID, Secret: stytchmigrate.Secret(a.Stytch.Secret),
		BaseURL: a.Stytch.URL, HTTPClient: a.Stytch.Client(),
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: a.ResolveName}},
	})
	require.NoError(t, err)
	a.Middleware = m
}

// Each sends n requests at the same time, and returns what their handlers saw
// and which cookies they set.
func (a *App) ParallelGets(n int, cookies string) []string {
	a.Stytch.ResetCalls()
	saw := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
			r.Header.Set("Cookie", cookies)
			w := &Reply{ResponseRecorder: httptest.NewRecorder(), a: a}
			a.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { w.Saw = a.Who(r.Context()) })).ServeHTTP(w, r)
			saw[i] = w.Saw + " | " + strings.Join(w.Cookies(), " ")
		})
	}
	wg.Wait()
	return saw
}
