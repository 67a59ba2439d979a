package stytchmigrate_test

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
	"example.com/stytchmigrate/stytchtest"
)

// fetch sets the Fetch Metadata of a request: Site, Mode, Dest.
func fetch(metadata string) func(*http.Request) {
	return func(r *http.Request) {
		for i, v := range strings.Fields(metadata) {
			r.Header.Set([]string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"}[i], v)
		}
	}
}

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
		"typed into the address bar":            {fetch("none navigate document"), true},
		"a link on the site":                    {fetch("same-origin navigate document"), true},
		"a link on another site":                {fetch("cross-site navigate document"), true},
		"a fetch of the page":                   {fetch("same-origin cors empty"), true},
		"a fetch of a sibling's page":           {fetch("same-site cors empty"), true},
		"a frame of the site":                   {fetch("same-origin navigate iframe"), true},
		"a frame on another site":               {fetch("cross-site navigate iframe"), false},
		"an object on another site":             {fetch("cross-site navigate object"), false},
		"a fetch of another site":               {fetch("cross-site cors empty"), false},
		"an opaque fetch of another site":       {fetch("cross-site no-cors empty"), false},
		"a relation nobody knows":               {fetch("new-site navigate iframe"), false},
		"an image":                              {fetch("same-origin no-cors image"), false},
		"a stylesheet":                          {fetch("same-origin no-cors style"), false},
		"a script":                              {fetch("same-origin no-cors script"), false},
		"a font":                                {fetch("same-origin cors font"), false},
		"audio":                                 {fetch("same-origin no-cors audio"), false},
		"video":                                 {fetch("none navigate video"), false},
		"subtitles":                             {fetch("same-origin cors track"), false},
		"a manifest":                            {fetch("same-origin cors manifest"), false},
		"a worker's script":                     {fetch("same-origin same-origin worker"), false},
		"a service worker's script":             {fetch("same-origin same-origin serviceworker"), false},
		"no metadata, no origin":                {func(*http.Request) {}, true},
		"the origin of the page":                {header("Origin", "https://app.example.com"), true},
		"the origin of a sibling":               {header("Origin", "https://www.example.com"), true},
		"another origin":                        {header("Origin", "https://other.example"), false},
		"an origin that only ends alike":        {header("Origin", "https://badexample.com"), false},
		"the origin null":                       {header("Origin", "null"), false},
		"an origin that is none":                {header("Origin", "://"), false},
		"metadata go before an origin":          {both(fetch("same-origin cors empty"), header("Origin", "https://other.example")), true},
		"an upgrade":                            {header("Upgrade", "websocket"), false},
		"a tunnel":                              {method(http.MethodConnect), false},
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
		"a health check's fetch of the outside": {both(host("10.0.0.1"), fetch("none navigate document")), false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				got := a.get("sid=ada-1; theme=dark", row.change)
				if row.swaps {
					assert.Equal(t, swapped, got.String())
					return
				}
				assert.Equal(t, "migrated ada"+keep+"migrate", got.String())
				assert.Equal(t, "sid=ada-1; theme=dark", a.passedOn[0])
				later := a.ask(t, "sid=ada-1; theme=dark", fetch("same-origin navigate document"))
				assert.Equal(t, strings.TrimSuffix(swapped, "migrate")+"-", later.String(), "the same session, in a navigation")
			}, options(func(o *stytchmigrate.CookieOptions) { o.Domain = "example.com" }))
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
		"the page's origin and port":   {both(host("localhost:8080"), header("Origin", "http://localhost:8080")), true},
		"another port":                 {both(host("localhost:8080"), header("Origin", "http://localhost:8081")), false},
		"a sibling's origin":           {header("Origin", "https://www.example.com"), false},
		"a post without any metadata":  {method(http.MethodPost), true},
		"a post from another site":     {both(method(http.MethodPost), header("Origin", "https://other.example")), false},
		"a post that leads to a page":  {both(method(http.MethodPost), fetch("cross-site navigate document")), true},
		"options that is no preflight": {method(http.MethodOptions), true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				got := a.get("sid=ada-1", row.change)
				assert.Equal(t, "migrated ada", got.saw)
				assert.Equal(t, row.swaps, len(got.cookies()) == 3, got.String())
			})
		})
	}
}

// Not only a swap waits for its place: so does what ends a session.
func TestDeletionsWaitForTheirPlace(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies, s := a.signedIn(a.ada)
		a.stytch.RevokeSession(s.ID)
		got := a.ask(t, cookies, fetch("cross-site cors empty"))
		assert.Equal(t, "anonymous"+keep+"authenticate", got.String())
		got = a.ask(t, cookies, fetch("none navigate document"))
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
			inBubble(t, func(t *testing.T, a *app) {
				got := a.ask(t, before, method(name))
				s := a.stytch.Sessions()[0]
				assert.Equal(t, "migrated ada", got.saw)
				assert.Equal(t, want+"; stytch_session="+s.Token+"; stytch_session_jwt="+s.JWT, a.passedOn[0])
			}, oldCookie(func(l *stytchmigrate.LegacyCookie) { l.Also = []string{"csrf"} }))
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
		inBubble(t, func(t *testing.T, a *app) {
			want := "migrated ada | - | - | migrate"
			if changes {
				want = swapped
			}
			assert.Equal(t, want, a.get("sid=ada-1", func(r *http.Request) { r.URL.Path = path }).String(), path)
		}, func(c *stytchmigrate.Config) { c.Cookies.Path = "/app" })
	}
}

// A Domain that the application is not served under is found out about by users
// who are migrated in each request. It is said once, whatever hosts are made up.
func TestHostOutsideOfTheDomain(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		for _, name := range []string{"shop.example", "canary.example", "shop.example"} {
			assert.Equal(t, "migrated ada"+keep, strings.TrimSuffix(strings.TrimSuffix(a.get("sid=ada-1", host(name)).String(), "-"), "migrate"))
		}
		assert.Equal(t, 1, strings.Count(a.log.String(), `"setting":"Config.Cookies.Domain"`))
		assert.NotContains(t, a.log.String(), "canary")
	}, func(c *stytchmigrate.Config) { c.Cookies.Domain = "example.com" })
	inBubble(t, func(t *testing.T, a *app) {
		assert.Equal(t, swapped, a.get("sid=ada-1").String())
		assert.NotContains(t, a.log.String(), "setting")
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
		cookies func(a *app) string
		host    string
	}{
		"cookies of another project": {func(a *app) string { return newWallet(a).jwtHeader("F") }, "app.example.com"},
		"a host outside of Domain":   {func(*app) string { return "sid=ada-1" }, "app.example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &slowLog{came: make(chan struct{}), goOn: make(chan struct{})}
			a := newApp(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
				c.Logger, c.Cookies.Domain = slog.New(l), "example.com"
			})
			cookies, done := row.cookies(a), make(chan bool, 2)
			ask := func() {
				r := httptest.NewRequest(http.MethodGet, "https://"+row.host+"/", nil)
				r.Header.Set("Cookie", cookies)
				a.m.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
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
