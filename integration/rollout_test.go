package integration

import (
	"context"
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
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// estate is an application on many machines, of which some have the middleware
// and some don't. Its old sessions are in a table that all machines share.
type estate struct {
	stytch   *stytchtest.Server
	auth     *stytchmigrate.Middleware
	machines []http.Handler // with the middleware, and without

	mu       sync.Mutex
	outcomes map[string]int // of the requests since the rollout was changed
	odd      []string       // events that deserve a look
}

// newEstate has n users at Stytch, of whom user i's old session is "old-i".
func newEstate(t *testing.T, n int) *estate {
	t.Helper()
	e := &estate{stytch: stytchtest.NewServer(t, stytchtest.Config{InProcess: true}), outcomes: map[string]int{}}
	for i := range n {
		u := stytchtest.Person(fmt.Sprintf("user%d@example.com", i))
		u.ExternalID = fmt.Sprint("user-", i)
		e.stytch.AddUser(u)
		e.stytch.Accept(fmt.Sprint("token-of-old-", i), u.Emails[0].Email)
	}
	var err error
	e.auth, err = stytchmigrate.New(stytchmigrate.Config{
		ProjectID: e.stytch.ProjectID, Secret: stytchmigrate.Secret(e.stytch.Secret), BaseURL: e.stytch.URL, HTTPClient: e.stytch.Client(),
		Legacy:  []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolveEstate}},
		Rollout: stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve},
		OnEvent: e.observe, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	page := http.HandlerFunc(whoIsThere)
	e.machines = []http.Handler{e.auth.Handler(page), page}
	return e
}

// resolveEstate tells whose an old session is.
func resolveEstate(_ *http.Request, id string) (stytchmigrate.LegacySession, error) {
	n, found := strings.CutPrefix(id, "old-")
	if !found {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(id), Token: stytchmigrate.Secret("token-of-" + id),
		Identity: userinfo.Identity{Subject: "user-" + n, Email: "user" + n + "@example.com", EmailVerified: true},
	}, nil
}

// whoIsThere is the page of every machine, with the middleware or without it.
func whoIsThere(w http.ResponseWriter, r *http.Request) {
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		io.WriteString(w, u.ExternalID)
	} else if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
		io.WriteString(w, old.Identity.Subject)
	} else if c, err := r.Cookie("sid"); err == nil {
		if s, err := resolveEstate(r, c.Value); err == nil {
			io.WriteString(w, s.Identity.Subject)
		}
	}
}

func (e *estate) observe(_ context.Context, ev stytchmigrate.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ev.Kind == "request" {
		e.outcomes[ev.Outcome.String()]++
		return
	}
	e.odd = append(e.odd, ev.Kind)
}

var estateURL = &url.URL{Scheme: "https", Host: "app.example.com", Path: "/"}

// visit sends a browser to a machine, and returns who it is there.
func (e *estate) visit(jar http.CookieJar, machine int) string {
	r := httptest.NewRequest(http.MethodGet, estateURL.String(), nil)
	for _, c := range jar.Cookies(estateURL) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	e.machines[machine].ServeHTTP(w, r)
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
	}
	require.NotContains(t, e.odd, "mismatch")
	require.NotContains(t, e.odd, "conflict")
	for i, jar := range jars {
		for _, c := range jar.Cookies(estateURL) {
			require.NotEqual(t, "sid", c.Name, "browser %d", i)
		}
	}
}
