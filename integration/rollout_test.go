package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// estate is an application on many machines, of which some have the middleware
// and some don't. Its old sessions are in a table that all machines share.
type estate struct {
	stytch   *stytchtest.Server
	auth     *stytchmigrate.Middleware
	machines []http.Handler // with the middleware, and without
	page     *statuspage.Page

	mu  sync.Mutex
	odd []string // events that deserve a look
}

// newEstate has n users at Stytch, of whom user i's old session is "old-i".
func newEstate(t *testing.T, n int) *estate {
	t.Helper()
	e := &estate{page: statuspage.New(statuspage.Options{}), stytch: stytchtest.NewServer(t, stytchtest.Config{
		InProcess: true, ProjectID: "project-test-11111111-1111-4111-8111-111111111111", // of all estates, for users are held back by it too
	})}
	e.addUsers(n)
	e.start(t, e.config())
	return e
}

func (e *estate) addUsers(n int) {
	for i := range n {
		u := stytchtest.Person(fmt.Sprintf("user%d@example.com", i))
		u.ExternalID = fmt.Sprint("user-", i)
		e.stytch.AddUser(u)
		e.stytch.Accept(fmt.Sprint("token-of-old-", i), u.Emails[0].Email)
	}
}

func (e *estate) config() stytchmigrate.Config {
	return stytchmigrate.Config{
		ProjectID: e.stytch.ProjectID, Secret: stytchmigrate.Secret(e.stytch.Secret), BaseURL: e.stytch.URL, HTTPClient: e.stytch.Client(),
		Legacy:  []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolveEstate}},
		Rollout: stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve},
		SessionClaims: func(s stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"user": s.Identity.Subject}
		},
		OnEvent: e.observe, Logger: slog.New(slog.DiscardHandler),
	}
}

func (e *estate) start(t *testing.T, cfg stytchmigrate.Config) {
	t.Helper()
	var err error
	e.auth, err = stytchmigrate.New(cfg)
	require.NoError(t, err)
	e.machines = []http.Handler{e.auth.Handler(http.HandlerFunc(whoIsThere)), http.HandlerFunc(asBefore)}
}

// resolveEstate tells whose an old session is.
func resolveEstate(_ *http.Request, id string) (stytchmigrate.LegacySession, error) {
	n, found := strings.CutPrefix(id, "old-")
	if !found {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	n, _, _ = strings.Cut(n, ".") // "old-7.phone" is another session of user 7
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(id), Token: stytchmigrate.Secret("token-of-" + id),
		Identity: userinfo.Identity{Subject: "user-" + n, Email: "user" + n + "@example.com", EmailVerified: true},
	}, nil
}

// whoIsThere is the page of the machines with the middleware.
func whoIsThere(w http.ResponseWriter, r *http.Request) {
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok && !u.Partial {
		io.WriteString(w, u.ExternalID)
	} else if s, ok := stytchmigrate.SessionFromContext(r.Context()); ok {
		fmt.Fprint(w, s.CustomClaims["user"])
	} else if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
		io.WriteString(w, old.Identity.Subject)
	}
}

// asBefore is the page of those without it.
func asBefore(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie("sid"); err == nil {
		if s, err := resolveEstate(r, c.Value); err == nil {
			io.WriteString(w, s.Identity.Subject)
		}
	}
}

func (e *estate) observe(ctx context.Context, ev stytchmigrate.Event) {
	e.page.Observe(ctx, ev)
	if ev.Kind != "request" {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.odd = append(e.odd, ev.Kind)
	}
}

var estateURL = &url.URL{Scheme: "https", Host: "app.example.com", Path: "/"}

// visit sends a browser to a machine, and returns who it is there.
func (e *estate) visit(jar http.CookieJar, machine int) string {
	return send(jar, http.MethodGet, e.machines[machine])
}

// send is a request of a browser. It returns the page.
func send(jar http.CookieJar, method string, to http.Handler) string {
	r := httptest.NewRequest(method, estateURL.String(), nil)
	for _, c := range jar.Cookies(estateURL) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	to.ServeHTTP(w, r)
	jar.SetCookies(estateURL, w.Result().Cookies())
	return w.Body.String()
}

// live is how many Stytch sessions are alive.
func (e *estate) live() (n int) {
	for _, s := range e.stytch.Sessions() {
		if s.Live {
			n++
		}
	}
	return n
}

// shown is what the page of the estate tells.
type shown struct {
	Requests map[string]int `json:"requests"` // by outcome
	Stages   []struct {
		Stage    string
		Migrated float64 // estimated, as are those below
	} `json:"stages"`
	Sessions struct {
		Seen         float64
		ToMove       float64 `json:"to_move"`
		ErrorPercent float64 `json:"error_percent"`
	} `json:"legacy_sessions"`
}

func (e *estate) shown(t *testing.T) (s shown) {
	t.Helper()
	w := httptest.NewRecorder()
	e.page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?format=json", nil))
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &s))
	return s
}

// agrees holds the page against the stand-in, which has answered so many exchanges
// in each stage. Estimates are off by four standard errors one time in 16,000.
func (e *estate) agrees(t *testing.T, browsers int, exchanges map[string]int) {
	t.Helper()
	s, live := e.shown(t), e.live()
	near := func(want int, got float64, what string) {
		assert.InDelta(t, want, got, float64(browsers)*4*s.Sessions.ErrorPercent/100, what)
	}
	migrated := map[string]float64{}
	for _, row := range s.Stages {
		migrated[row.Stage] = row.Migrated
	}
	for stage, n := range exchanges {
		near(n, migrated[stage], "sessions that moved, and exchanges, in stage "+stage)
	}
	near(browsers, s.Sessions.Seen, "sessions seen")
	near(browsers-live, s.Sessions.ToMove, "sessions that are still to move")
	assert.Equal(t, live, s.Requests["migrated"], "requests that moved somebody, and sessions alive at Stytch")
	t.Logf("page: seen %.0f, to move %.0f, migrated by stage %v; stand-in: %d live, exchanges by stage %v",
		s.Sessions.Seen, s.Sessions.ToMove, migrated, live, exchanges)
}

// The whole of a migration, there and back and there again, with every browser on
// any machine: nobody is ever anybody else, or nobody.
func TestRolloutLosesNobody(t *testing.T) {
	const browsers = 2000
	e := newEstate(t, browsers)
	jars := make([]http.CookieJar, browsers)
	for i := range jars {
		jars[i], _ = cookiejar.New(nil)
		jars[i].SetCookies(estateURL, []*http.Cookie{{Name: "sid", Value: fmt.Sprint("old-", i), Path: "/"}})
	}
	exchanges := map[string]int{} // by stage
	for _, phase := range []struct {
		rollout  stytchmigrate.Rollout
		machines int
		live     [2]int // Stytch sessions alive afterwards, from and to
	}{
		{stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}, 2, [2]int{0, 0}},
		{stytchmigrate.Rollout{Stage: stytchmigrate.StageShadow}, 2, [2]int{0, 0}},
		{stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 90}, 2, [2]int{100, 260}},
		{stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, 2, [2]int{browsers, browsers}},
		{stytchmigrate.Rollout{Stage: stytchmigrate.StageReplace}, 1, [2]int{browsers, browsers}},
		{stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}, 1, [2]int{browsers, browsers}},
		{stytchmigrate.Rollout{Stage: stytchmigrate.StageReplace}, 1, [2]int{browsers, browsers}},
		{stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired}, 1, [2]int{browsers, browsers}},
	} {
		require.NoError(t, e.auth.SetRollout(phase.rollout))
		before := e.stytch.Count(stytchtest.Migrate)
		for i, jar := range jars {
			for visit := range 4 {
				machine := rand.IntN(phase.machines)
				if visit == 3 {
					machine = 0
				}
				if got := e.visit(jar, machine); got != fmt.Sprint("user-", i) {
					require.Failf(t, "lost", "%v: browser %d is %q on machine %d", phase.rollout, i, got, machine)
				}
			}
		}
		// In the shadow a session is revoked when its request is over.
		assert.Eventually(t, func() bool {
			live := e.live()
			return live >= phase.live[0] && live <= phase.live[1]
		}, 5*time.Second, 10*time.Millisecond, "%v: %d sessions live", phase.rollout.Stage, e.live())
		exchanges[phase.rollout.Stage.String()] += e.stytch.Count(stytchtest.Migrate) - before
		e.agrees(t, browsers, exchanges)
	}
	require.NotContains(t, e.odd, "mismatch")
	require.NotContains(t, e.odd, "conflict")
	for i, jar := range jars {
		for _, c := range jar.Cookies(estateURL) {
			require.NotEqual(t, "sid", c.Name, "browser %d", i)
		}
	}
}
