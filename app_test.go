package stytchmigrate_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// app is an application behind the middleware, with a stand-in for Stytch.
// Its people are ada and bob; their legacy sessions are in a cookie "sid" whose
// value is a name and a number, as in "ada-1".
type app struct {
	stytch     *stytchtest.Server
	m          *stytchmigrate.Middleware
	ada, bob   stytchtest.User
	handler    http.HandlerFunc                                  // what is behind the middleware
	resolve    func(string) (stytchmigrate.LegacySession, error) // in place of the usual, if set
	logger     *slog.Logger                                      // of all machines: its handler locks log
	log        bytes.Buffer                                      // written by the middleware's logger
	mu         sync.Mutex                                        // guards events
	events     []stytchmigrate.Event                             // but for those of Kind request
	requests   []stytchmigrate.Event                             // of Kind request
	passedOn   []string                                          // Cookie headers that the handler saw
	legacySeen stytchmigrate.LegacySession                       // LegacyFromContext of the last request
}

// inBubble runs a test with a clock of its own, in which nothing sleeps for real,
// beside other tests. The calls that no request waits for any more come to their
// end in it.
func inBubble(t *testing.T, f func(t *testing.T, a *app), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	parallel(t)
	inBubbleAlone(t, f, change...)
}

// inBubbleAlone is inBubble for a test that counts goroutines.
func inBubbleAlone(t *testing.T, f func(t *testing.T, a *app), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		a := newApp(t, stytchtest.Config{InProcess: true}, change...)
		defer time.Sleep(15 * time.Second)
		f(t, a)
	})
}

// bubbles are the tests that had one: t.Parallel may be called once.
var bubbles sync.Map

func parallel(t *testing.T) {
	t.Helper()
	if _, again := bubbles.LoadOrStore(t, true); !again {
		t.Cleanup(func() { bubbles.Delete(t) })
		t.Parallel()
	}
}

func newApp(t *testing.T, sc stytchtest.Config, change ...func(*stytchmigrate.Config)) *app {
	t.Helper()
	a := &app{stytch: stytchtest.NewServer(t, sc)}
	a.logger = slog.New(slog.NewJSONHandler(&a.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a.ada = a.stytch.AddUser(stytchtest.Person("ada@example.com"))
	a.bob = a.stytch.AddUser(stytchtest.Person("bob@example.com"))
	for _, name := range []string{"ada", "bob"} {
		a.stytch.Accept(name+"-token", name+"@example.com")
	}
	cfg := a.config()
	for _, f := range change {
		f(&cfg)
	}
	m, err := stytchmigrate.New(cfg)
	require.NoError(t, err)
	a.m = m
	return a
}

func (a *app) config() stytchmigrate.Config {
	return stytchmigrate.Config{
		ProjectID:  a.stytch.ProjectID,
		Secret:     stytchmigrate.Secret(a.stytch.Secret),
		BaseURL:    a.stytch.URL,
		HTTPClient: a.stytch.Client(),
		Legacy:     []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: a.resolveName}},
		Logger:     a.logger,
		OnEvent:    a.record,
	}
}

// resolveName knows the sessions of ada and bob by the name in the cookie.
func (a *app) resolveName(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	if a.resolve != nil {
		return a.resolve(value)
	}
	name, _, found := strings.Cut(value, "-")
	if !found || name != "ada" && name != "bob" {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return legacySession(name, value), nil
}

func legacySession(name, id string) stytchmigrate.LegacySession {
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(id), Token: stytchmigrate.Secret(name + "-token"),
		Identity: userinfo.Identity{Subject: name, Email: name + "@example.com", EmailVerified: true},
	}
}

func (a *app) record(_ context.Context, e stytchmigrate.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e.Kind == "request" {
		a.requests = append(a.requests, e)
		return
	}
	a.events = append(a.events, e)
}

// reply is all that a request led to.
type reply struct {
	*httptest.ResponseRecorder
	saw string
	a   *app
}

// get sends a GET with a Cookie header, "" for none.
func (a *app) get(cookies string, change ...func(*http.Request)) *reply {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	for _, f := range change {
		f(r)
	}
	return a.do(r)
}

func (a *app) do(r *http.Request) *reply {
	a.stytch.ResetCalls()
	out := &reply{ResponseRecorder: httptest.NewRecorder(), saw: "handler not run", a: a}
	a.m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out.saw = a.who(r.Context())
		a.legacySeen, _ = stytchmigrate.LegacyFromContext(r.Context())
		a.passedOn = append(a.passedOn, r.Header.Get("Cookie"))
		if a.handler != nil {
			a.handler(w, r)
		}
	})).ServeHTTP(out, r)
	return out
}

// logOut sends a request whose handler logs out.
func (a *app) logOut(cookies string) *reply {
	a.handler = func(w http.ResponseWriter, r *http.Request) { _ = a.m.Logout(w, r) }
	defer func() { a.handler = nil }()
	return a.get(cookies)
}

// who is the outcome, and the user's name where there is one.
func (a *app) who(ctx context.Context) string {
	outcome := stytchmigrate.OutcomeFromContext(ctx).String()
	u, ok := stytchmigrate.UserFromContext(ctx)
	switch {
	case !ok:
		return outcome
	case u.Partial:
		outcome += " partial"
	}
	switch u.UserID {
	case a.ada.ID:
		return outcome + " ada"
	case a.bob.ID:
		return outcome + " bob"
	}
	return outcome + " somebody else"
}

// String tells the outcome, every cookie that is set (+) or expired (-) in
// order, the Cache-Control, and the calls that Stytch got, as in
// "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | migrate".
func (r *reply) String() string {
	var calls []string
	for _, c := range r.a.stytch.Calls() {
		if c.Op != stytchtest.JWKS {
			calls = append(calls, string(c.Op))
		}
	}
	parts := []string{r.saw, strings.Join(r.cookies(), " "), r.Header().Get("Cache-Control"), strings.Join(calls, " ")}
	for i := range parts {
		if parts[i] == "" {
			parts[i] = "-"
		}
	}
	return strings.Join(parts, " | ")
}

func (r *reply) cookies() (out []string) {
	for _, c := range r.Result().Cookies() {
		sign := "+"
		if c.MaxAge < 0 {
			sign = "-"
		}
		out = append(out, sign+c.Name)
	}
	return out
}

// jar is the Cookie header that a browser sends after the reply, which it had
// sent before with the given one.
func (r *reply) jar(before string) string {
	var pairs []string
	for pair := range strings.SplitSeq(before, "; ") {
		name, _, _ := strings.Cut(pair, "=")
		if pair != "" && !slices.ContainsFunc(r.Result().Cookies(), func(c *http.Cookie) bool { return c.Name == name }) {
			pairs = append(pairs, pair)
		}
	}
	for _, c := range r.Result().Cookies() {
		if c.MaxAge >= 0 {
			pairs = append(pairs, c.Name+"="+c.Value)
		}
	}
	return strings.Join(pairs, "; ")
}

// signedIn is the Cookie header of a native Stytch session.
func (a *app) signedIn(u stytchtest.User) (cookies string, s stytchtest.Session) {
	s = a.stytch.NewSession(u.ID, 30*24*time.Hour)
	return "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT, s
}
