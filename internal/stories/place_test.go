package stories_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

// Each row is a request with a legacy session, which becomes a Stytch session at once.
// The Stytch cookies are set in its response, or else in the response to a later
// navigation. Beside them, the legacy cookie is expired in the same places.
func TestWhereCookiesMayChange(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*http.Request)
		writes bool
	}{
		"typed into the address bar":  {apptest.FetchMetadata("none navigate document"), true},
		"a fetch of the page":         {apptest.FetchMetadata("same-origin cors empty"), true},
		"no metadata, no origin":      {func(*http.Request) {}, true},
		"a post without any metadata": {apptest.Method(http.MethodPost), true},
		"options, but no preflight":   {apptest.Method(http.MethodOptions), true},
		"an image":                    {apptest.FetchMetadata("same-origin no-cors image"), false},
		"a fetch of another site":     {apptest.FetchMetadata("cross-site cors empty"), false},
		"another origin":              {apptest.Header("Origin", "https://other.example"), false},
		"an upgrade, ignored":         {apptest.Header("Upgrade", "h2c"), true},
		"by a service worker":         {apptest.FetchMetadata("cross-site navigate empty"), true},
		"a host outside the domain":   {host("other.example"), false},
		"a path outside the path":     {func(r *http.Request) { r.URL.Path = "/application" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				inPath := func(r *http.Request) { r.URL.Path = "/app/page" }
				got := a.Get("sid=ada-1; theme=dark", inPath, row.change)
				if row.writes {
					assert.Equal(t, apptest.Moved, got.String())
					assert.Equal(t, apptest.Replaced, a.Get(got.Jar("sid=ada-1; theme=dark"), inPath, row.change).String())
					return
				}
				assert.Equal(t, "migrated ada"+apptest.CookiesUntouched+"migrate", got.String())
				assert.Equal(t, "sid=ada-1; theme=dark", a.CookiesSeen[0])
				page := apptest.FetchMetadata("same-origin navigate document")
				later := a.GetChecked(t, "sid=ada-1; theme=dark", inPath, page)
				assert.Equal(t, apptest.MovedAfter+"-", later.String(), "the same session, in a navigation")
				both := later.Jar("sid=ada-1; theme=dark")
				assert.Equal(t, apptest.Authenticated, a.Get(both, inPath, row.change).String())
				assert.Equal(t, both, a.CookiesSeen[2], "the handler sees what the browser keeps")
				assert.Equal(t, apptest.Replaced, a.GetChecked(t, both, inPath, page).String())
			}, apptest.CookieOptions(func(o *stytchmigrate.CookieOptions) { o.Domain, o.Path = "example.com", "/app" }))
		})
	}
}

// The deletions of a session that has ended wait for such a response too.
func TestDeletionsWaitForTheirPlace(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		time.Sleep(time.Minute) // it is no new session, of which Stytch may not know everywhere
		a.Stytch.RevokeSession(s.ID)
		got := a.GetChecked(t, cookies, apptest.FetchMetadata("cross-site cors empty"))
		assert.Equal(t, "anonymous"+apptest.CookiesUntouched+"authenticate", got.String())
		got = a.GetChecked(t, cookies, apptest.FetchMetadata("none navigate document"))
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | -", got.String())
	})
}

// The handler of a page gets the Cookie header that the browser's next request has. A
// form keeps its legacy cookies, see TestFormAcrossTheSwitch. The first request moves
// ada, and the second brings her Stytch cookies.
func TestRequestPassedOn(t *testing.T) {
	const before, all = `a="q; sid=ada-1;b=x y ;csrf=1; d`, `a="q; sid=ada-1; b=x y; csrf=1; d`
	for method, second := range map[string]string{http.MethodGet: `a="q; b=x y; d`, http.MethodPost: all} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			got := a.GetChecked(t, before, apptest.Method(method))
			s := a.Stytch.Sessions()[0]
			stytch := "; stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
			assert.Equal(t, "migrated ada", got.Saw)
			assert.Equal(t, all+stytch, a.CookiesSeen[0])

			got = a.GetChecked(t, before+stytch, apptest.Method(method))
			assert.Equal(t, "authenticated ada", got.Saw)
			assert.Equal(t, second+stytch, a.CookiesSeen[1])
		}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) { l.Also = []string{"csrf"} }))
	}
}

// With a Domain that the application is not served under, users are migrated in each
// request. That is logged once, and without the host, which a client can make up.
func TestHostOutsideOfTheDomain(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for _, name := range []string{"shop.example", "canary.example", "shop.example"} {
			assert.Equal(t, "migrated ada"+apptest.CookiesUntouched, strings.TrimSuffix(strings.TrimSuffix(a.Get("sid=ada-1", host(name)).String(), "-"), "migrate"))
		}
		assert.Equal(t, 1, strings.Count(a.Log.String(), `"setting":"Config.Cookies.Domain"`))
		assert.NotContains(t, a.Log.String(), "canary")
	}, func(c *stytchmigrate.Config) { c.Cookies.Domain = "example.com" })
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
		assert.NotContains(t, a.Log.String(), "setting")
	}, func(c *stytchmigrate.Config) { c.Cookies.Domain = "example.com" })
}

// slowLog is a log handler that holds its first line until goOn is closed.
type slowLog struct {
	slog.Handler
	held atomic.Bool
	came chan struct{}
	goOn chan struct{}
}

func (*slowLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *slowLog) Handle(context.Context, slog.Record) error {
	if !l.held.Swap(true) {
		close(l.came)
		<-l.goOn
	}
	return nil
}

// What is logged once is logged by one request, and no other request waits for the log.
func TestNobodyWaitsForWhatIsSaidOnce(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *apptest.App) string
		host    string
	}{
		"cookies of another project": {func(a *apptest.App) string { return apptest.NewWallet(a).CookieHeader("F") }, "app.example.com"},
		"a host outside of Domain":   {func(*apptest.App) string { return "sid=ada-1" }, "app.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &slowLog{came: make(chan struct{}), goOn: make(chan struct{})}
			a := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
				c.Logger, c.Cookies.Domain = slog.New(l), "example.com"
			})
			cookies, done := row.cookies(a), make(chan bool, 2)
			ask := func() {
				r := httptest.NewRequest(http.MethodGet, "https://"+row.host+"/", nil)
				r.Header.Set("Cookie", cookies)
				a.Middleware.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
				done <- true
			}
			go ask()
			<-l.came
			go ask()
			assert.Eventually(t, func() bool { return len(done) == 1 }, 10*time.Second, time.Millisecond)
			close(l.goOn)
			<-done
		})
	}
}
