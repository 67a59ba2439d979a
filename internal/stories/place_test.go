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

func both(f, g func(*http.Request)) func(*http.Request) {
	return func(r *http.Request) { f(r); g(r) }
}

// Each row is a request with a legacy session, which becomes a Stytch session
// at once; the cookies change in its response or in a later one's.
func TestWhereCookiesMayChange(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*http.Request)
		swaps  bool
	}{
		"typed into the address bar":            {apptest.FetchMetadata("none navigate document"), true},
		"a link on the site":                    {apptest.FetchMetadata("same-origin navigate document"), true},
		"a link on another site":                {apptest.FetchMetadata("cross-site navigate document"), true},
		"a fetch of the page":                   {apptest.FetchMetadata("same-origin cors empty"), true},
		"a fetch of a sibling's page":           {apptest.FetchMetadata("same-site cors empty"), true},
		"a frame of the site":                   {apptest.FetchMetadata("same-origin navigate iframe"), true},
		"a frame on another site":               {apptest.FetchMetadata("cross-site navigate iframe"), false},
		"an object on another site":             {apptest.FetchMetadata("cross-site navigate object"), false},
		"a fetch of another site":               {apptest.FetchMetadata("cross-site cors empty"), false},
		"an opaque fetch of another site":       {apptest.FetchMetadata("cross-site no-cors empty"), false},
		"a relation nobody knows":               {apptest.FetchMetadata("new-site navigate iframe"), false},
		"an image":                              {apptest.FetchMetadata("same-origin no-cors image"), false},
		"a stylesheet":                          {apptest.FetchMetadata("same-origin no-cors style"), false},
		"a script":                              {apptest.FetchMetadata("same-origin no-cors script"), false},
		"a font":                                {apptest.FetchMetadata("same-origin cors font"), false},
		"audio":                                 {apptest.FetchMetadata("same-origin no-cors audio"), false},
		"video":                                 {apptest.FetchMetadata("none navigate video"), false},
		"subtitles":                             {apptest.FetchMetadata("same-origin cors track"), false},
		"a manifest":                            {apptest.FetchMetadata("same-origin cors manifest"), false},
		"a worker's script":                     {apptest.FetchMetadata("same-origin same-origin worker"), false},
		"a service worker's script":             {apptest.FetchMetadata("same-origin same-origin serviceworker"), false},
		"no metadata, no origin":                {func(*http.Request) {}, true},
		"the origin of the page":                {apptest.Header("Origin", "https://app.example.com"), true},
		"the origin of a sibling":               {apptest.Header("Origin", "https://www.example.com"), true},
		"another origin":                        {apptest.Header("Origin", "https://other.example"), false},
		"an origin that only ends alike":        {apptest.Header("Origin", "https://badexample.com"), false},
		"the origin null":                       {apptest.Header("Origin", "null"), false},
		"an origin that is none":                {apptest.Header("Origin", "://"), false},
		"metadata go before an origin":          {both(apptest.FetchMetadata("same-origin cors empty"), apptest.Header("Origin", "https://other.example")), true},
		"an upgrade":                            {apptest.Header("Upgrade", "websocket"), false},
		"a tunnel":                              {apptest.Method(http.MethodConnect), false},
		"a host with a port":                    {host("app.example.com:8443"), true},
		"a host in capitals":                    {host("APP.Example.COM"), true},
		"the domain itself":                     {host("example.com"), true},
		"a deeper host":                         {host("a.b.example.com"), true},
		"a host with a dot at its end":          {host("app.example.com."), false},
		"a host outside the domain":             {host("other.example"), false},
		"a host that only ends like it":         {host("badexample.com"), false},
		"an address":                            {host("192.0.2.7:80"), false},
		"an address of version 6":               {host("[2001:db8::1]:443"), false},
		"no host at all":                        {host(""), false},
		"a health check's fetch of the outside": {both(host("10.0.0.1"), apptest.FetchMetadata("none navigate document")), false},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				got := a.Get("sid=ada-1; theme=dark", row.change)
				if row.swaps {
					assert.Equal(t, apptest.Swapped, got.String())
					return
				}
				assert.Equal(t, "migrated ada"+apptest.Untouched+"migrate", got.String())
				assert.Equal(t, "sid=ada-1; theme=dark", a.PassedOn[0])
				later := a.Ask(t, "sid=ada-1; theme=dark", apptest.FetchMetadata("same-origin navigate document"))
				assert.Equal(t, strings.TrimSuffix(apptest.Swapped, "migrate")+"-", later.String(), "the same session, in a navigation")
			}, apptest.CookieOptions(func(o *stytchmigrate.CookieOptions) { o.Domain = "example.com" }))
		})
	}
}

// Without a Domain cookies are the host's own, whatever it is called.
func TestWhereCookiesMayChangeWithoutDomain(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*http.Request)
		swaps  bool
	}{
		"an address":                   {host("192.0.2.7:80"), true},
		"a dot at the end":             {host("app.example.com."), true},
		"no host":                      {host(""), true},
		"the page's origin and port":   {both(host("localhost:8080"), apptest.Header("Origin", "http://localhost:8080")), true},
		"another port":                 {both(host("localhost:8080"), apptest.Header("Origin", "http://localhost:8081")), false},
		"a sibling's origin":           {apptest.Header("Origin", "https://www.example.com"), false},
		"a post without any metadata":  {apptest.Method(http.MethodPost), true},
		"a post from another site":     {both(apptest.Method(http.MethodPost), apptest.Header("Origin", "https://other.example")), false},
		"a post that leads to a page":  {both(apptest.Method(http.MethodPost), apptest.FetchMetadata("cross-site navigate document")), true},
		"options that is no preflight": {apptest.Method(http.MethodOptions), true},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				got := a.Get("sid=ada-1", row.change)
				assert.Equal(t, "migrated ada", got.Saw)
				assert.Equal(t, row.swaps, len(got.Cookies()) == 3, got.String())
			})
		})
	}
}

// Not only a swap waits for its place: so does what ends a session.
func TestDeletionsWaitForTheirPlace(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		a.Stytch.RevokeSession(s.ID)
		got := a.Ask(t, cookies, apptest.FetchMetadata("cross-site cors empty"))
		assert.Equal(t, "anonymous"+apptest.Untouched+"authenticate", got.String())
		got = a.Ask(t, cookies, apptest.FetchMetadata("none navigate document"))
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | -", got.String())
	})
}

// Which cookies the handler sees of a request that swaps.
func TestRequestPassedOn(t *testing.T) {
	const before = `a="q; sid=ada-1;b=x y ; c=%41` + "\u00a0" + `;csrf=1; d`
	const kept = `a="q; b=x y; c=%41` + "\u00a0"
	for name, want := range map[string]string{
		http.MethodGet: kept + "; d", http.MethodHead: kept + "; d",
		http.MethodPost: strings.ReplaceAll(before, ";b=x y ; c=%41\u00a0;", "; b=x y; c=%41\u00a0; "),
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				got := a.Ask(t, before, apptest.Method(name))
				s := a.Stytch.Sessions()[0]
				assert.Equal(t, "migrated ada", got.Saw)
				assert.Equal(t, want+"; stytch_session="+s.Token+"; stytch_session_jwt="+s.JWT, a.PassedOn[0])
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) { l.Also = []string{"csrf"} }))
		})
	}
}

// Where the Stytch cookies have a Path, a browser would not send them back to a
// page elsewhere: the cookies that such a page has stay.
func TestWhereCookiesMayChangeWithAPath(t *testing.T) {
	for path, changes := range map[string]bool{
		"/app": true, "/app/": true, "/app/page": true,
		"/": false, "/application": false, "/ap": false, "/APP/page": false, "": false,
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			want := "migrated ada | - | - | migrate"
			if changes {
				want = apptest.Swapped
			}
			assert.Equal(t, want, a.Get("sid=ada-1", func(r *http.Request) { r.URL.Path = path }).String(), path)
		}, func(c *stytchmigrate.Config) { c.Cookies.Path = "/app" })
	}
}

// A Domain that the application is not served under is found out about by users
// who are migrated in each request. It is said once, whatever hosts are made up.
func TestHostOutsideOfTheDomain(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for _, name := range []string{"shop.example", "canary.example", "shop.example"} {
			assert.Equal(t, "migrated ada"+apptest.Untouched, strings.TrimSuffix(strings.TrimSuffix(a.Get("sid=ada-1", host(name)).String(), "-"), "migrate"))
		}
		assert.Equal(t, 1, strings.Count(a.Log.String(), `"setting":"Config.Cookies.Domain"`))
		assert.NotContains(t, a.Log.String(), "canary")
	}, func(c *stytchmigrate.Config) { c.Cookies.Domain = "example.com" })
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
		assert.NotContains(t, a.Log.String(), "setting")
	}, func(c *stytchmigrate.Config) { c.Cookies.Domain = "example.com" })
}

// slowLog is a log handler that holds its first line until it is told to go on.
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

// What is said once is said by one request, and no other waits for the log.
func TestNobodyWaitsForWhatIsSaidOnce(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *apptest.App) string
		host    string
	}{
		"cookies of another project": {func(a *apptest.App) string { return apptest.NewWallet(a).JWTHeader("F") }, "app.example.com"},
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
