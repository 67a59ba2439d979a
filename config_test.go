package stytchmigrate_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// liveConfig is the configuration of a live project that does not exist.
func liveConfig() stytchmigrate.Config {
	return stytchmigrate.Config{ProjectID: "project-live-7c5fc0a2", Secret: "secret-live-canary"}
}

func noSession(*http.Request, string) (stytchmigrate.LegacySession, error) {
	return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
}

// Each row is one change to a valid configuration, and the error of New without its
// prefix. "" is no error.
func TestConfigErrors(t *testing.T) {
	type config = stytchmigrate.Config
	type scope = stytchmigrate.CookieScope
	legacy := func(l stytchmigrate.LegacyCookie) func(*config) {
		return func(c *config) { l.Resolve = noSession; c.Legacy = []stytchmigrate.LegacyCookie{l} }
	}
	base := func(u string) func(*config) { return func(c *config) { c.BaseURL = u } }
	info := func(u string) func(*config) { return func(c *config) { c.UserInfoURL = u } }
	coded := func(cs ...securecookie.Codec) func(*config) {
		return func(c *config) { c.Legacy = []stytchmigrate.LegacyCookie{secure(cs, resolveID)} }
	}
	const (
		projectID = "ProjectID: must be project-live- or project-test- and an id"
		spaces    = "Secret: must not hold spaces or line breaks"
		password  = "BaseURL: must not hold a user name or password"
		query     = "BaseURL: must not hold a query or fragment"
		clear     = "BaseURL: http:// sends the project's secret in the clear; use https://"
		noHost    = "BaseURL: must be https://host"
		noInfo    = "UserInfoURL: must be https://host/path"
		clearInfo = "UserInfoURL: http:// sends users' tokens in the clear; use https://"
		keyless   = "Legacy[0]: SecureCookie: codec 0 has no hash key, or a block key that is not of 16, 24 or 32 bytes"
	)
	for name, row := range map[string]struct {
		change func(*config)
		want   string
	}{
		"nothing wrong":            {func(c *config) {}, ""},
		"no project":               {func(c *config) { c.ProjectID = "" }, projectID},
		"the secret for a project": {func(c *config) { c.ProjectID = "secret-live-canary" }, projectID},
		"half a project":           {func(c *config) { c.ProjectID = "project-live-" }, projectID},
		"a project with a break":   {func(c *config) { c.ProjectID += "\n" }, projectID},
		"a project with a path":    {func(c *config) { c.ProjectID += "/../x" }, projectID},
		"no secret":                {func(c *config) { c.Secret = "" }, "Secret: must not be empty"},
		"a secret with a break":    {func(c *config) { c.Secret += "\n" }, spaces},
		"a secret in spaces":       {func(c *config) { c.Secret = " " + c.Secret }, spaces},
		"a test project's secret":  {func(c *config) { c.Secret = "secret-test-canary" }, "Secret: is a test project's, ProjectID is a live project's"},
		"a live project's secret":  {func(c *config) { c.ProjectID = "project-test-1" }, "Secret: is a live project's, ProjectID is a test project's"},
		"a secret of another form": {func(c *config) { c.Secret = "canary" }, ""},

		"the test host":              {base("https://test.stytch.com"), "BaseURL: is for test projects, ProjectID is a live project's"},
		"the test host, in disguise": {base("https://TEST.stytch.com:443/"), "BaseURL: is for test projects, ProjectID is a live project's"},
		"the live host": {func(c *config) {
			*c = config{ProjectID: "project-test-1", Secret: "x", BaseURL: "https://api.stytch.com/"}
		}, "BaseURL: is for live projects, ProjectID is a test project's"},
		"a custom domain":          {base("https://login.example.com"), ""},
		"a slash at the end":       {base("https://login.example.com/"), ""},
		"a proxy's path":           {base("https://proxy.example.com/stytch"), ""},
		"http":                     {base("http://api.stytch.com"), clear},
		"http to this machine":     {base("http://127.0.0.1:8080"), ""},
		"http to this machine, v6": {base("http://[::1]:8080"), ""},
		"http to localhost":        {base("http://localhost:8080"), ""},
		"http to a look-alike":     {base("http://localhost.example.com"), clear},
		"http to a longer number":  {base("http://127.0.0.1.example.com"), clear},
		"no scheme":                {base("api.stytch.com"), noHost},
		"another scheme":           {base("ftp://api.stytch.com"), noHost},
		"a port alone":             {base("https://:443"), noHost},
		"no URL":                   {base("https://api.stytch.com:canary"), noHost},
		"a password":               {base("https://user:canary@api.stytch.com"), password},
		"a host behind a user":     {base("http://localhost@example.com"), password + "\n" + clear},
		"a query":                  {base("https://api.stytch.com/?a=canary"), query},
		"an empty query":           {base("https://api.stytch.com?"), query},
		"a fragment":               {base("https://api.stytch.com/#canary"), query},
		"an empty fragment":        {base("https://api.stytch.com#"), query},

		"a UserInfo URL":               {info("https://app.example.com/userinfo"), ""},
		"a UserInfo URL with a query":  {info("https://app.example.com/userinfo?for=stytch"), ""},
		"UserInfo on this machine":     {info("http://localhost:8080/userinfo"), ""},
		"UserInfo by http":             {info("http://app.example.com/canary"), clearInfo},
		"UserInfo by http, near":       {info("http://10.0.0.5/userinfo"), clearInfo},
		"UserInfo of no scheme":        {info("app.example.com/canary"), noInfo},
		"UserInfo of a path alone":     {info("/userinfo"), noInfo},
		"UserInfo of another scheme":   {info("ftp://app.example.com/canary"), noInfo},
		"UserInfo that is no URL":      {info("https://app.example.com:canary/"), noInfo},
		"UserInfo with a password":     {info("https://u:canary@app.example.com/"), "UserInfoURL: must not hold a user name or password"},
		"UserInfo with a fragment":     {info("https://app.example.com/userinfo?a=canary#canary"), "UserInfoURL: must not hold a fragment"},
		"UserInfo with an empty one":   {info("https://app.example.com/userinfo#"), "UserInfoURL: must not hold a fragment"},
		"UserInfo with a wrong escape": {info("https://app.example.com/%zzcanary"), noInfo},

		"five minutes":           {func(c *config) { c.SessionDuration = 5 * time.Minute }, ""},
		"less than five minutes": {func(c *config) { c.SessionDuration = 5*time.Minute - 1 }, "SessionDuration 4m59.999999999s: must be from 5 minutes to 366 days"},
		"366 days":               {func(c *config) { c.SessionDuration = 366 * 24 * time.Hour }, ""},
		"more than 366 days":     {func(c *config) { c.SessionDuration = 366*24*time.Hour + 1 }, "SessionDuration 8784h0m0.000000001s: must be from 5 minutes to 366 days"},
		"a negative duration":    {func(c *config) { c.SessionDuration = -time.Hour }, "SessionDuration -1h0m0s: must be from 5 minutes to 366 days"},
		"a negative time-out":    {func(c *config) { c.Timeout = -1 }, "Timeout -1ns: must be from 0 to 1 hour"},
		"an endless time-out":    {func(c *config) { c.Timeout = 1<<63 - 1 }, "Timeout 2562047h47m16.854775807s: must be from 0 to 1 hour"},
		"a short record key":     {func(c *config) { c.RecordKey = "canary-of-fewer-than-32-bytes" }, "RecordKey: must be 32 bytes or more"},
		"a record key":           {func(c *config) { c.RecordKey = "canary-of-not-fewer-than-32-bytes" }, ""},

		"a space in a name":     {func(c *config) { c.Cookies.SessionName = "a b" }, `Cookies.SessionName "a b": is no cookie name`},
		"a break in a name":     {func(c *config) { c.Cookies.JWTName = "a\r\n" }, `Cookies.JWTName "a\r\n": is no cookie name`},
		"one name for both":     {func(c *config) { c.Cookies.SessionName, c.Cookies.JWTName = "s", "s" }, `Cookies.JWTName "s": must differ from Cookies.SessionName`},
		"the other's default":   {func(c *config) { c.Cookies.SessionName = "stytch_session_jwt" }, `Cookies.JWTName "stytch_session_jwt": must differ from Cookies.SessionName`},
		"__Host-":               {func(c *config) { c.Cookies.SessionName = "__Host-s" }, ""},
		"__Host- and Domain":    {func(c *config) { c.Cookies.SessionName, c.Cookies.Domain = "__Host-s", "example.com" }, `Cookies.SessionName "__Host-s": a __Host- cookie has no Domain, and Path=/`},
		"__host- and Path":      {func(c *config) { c.Cookies.JWTName, c.Cookies.Path = "__host-j", "/app" }, `Cookies.JWTName "__host-j": a __Host- cookie has no Domain, and Path=/`},
		"__Host-, Insecure":     {func(c *config) { c.Cookies.SessionName, c.Cookies.Insecure = "__Host-s", true }, `Cookies.SessionName "__Host-s": a browser refuses this name with Cookies.Insecure`},
		"__Secure-, Insecure":   {func(c *config) { c.Cookies.JWTName, c.Cookies.Insecure = "__Secure-j", true }, `Cookies.JWTName "__Secure-j": a browser refuses this name with Cookies.Insecure`},
		"__Secure- and Domain":  {func(c *config) { c.Cookies.JWTName, c.Cookies.Domain = "__Secure-j", "example.com" }, ""},
		"__Http-":               {func(c *config) { c.Cookies.SessionName, c.Cookies.JWTName = "__Http-s", "__Host-Http-j" }, ""},
		"__Http-, readable":     {func(c *config) { c.Cookies.SessionName, c.Cookies.ReadableByScripts = "__http-s", true }, `Cookies.SessionName "__http-s": a browser refuses this name with Cookies.ReadableByScripts`},
		"__Http-, Insecure":     {func(c *config) { c.Cookies.JWTName, c.Cookies.Insecure = "__Http-j", true }, `Cookies.JWTName "__Http-j": a browser refuses this name with Cookies.Insecure`},
		"__Host-Http-":          {func(c *config) { c.Cookies.JWTName, c.Cookies.ReadableByScripts = "__Host-Http-j", true }, `Cookies.JWTName "__Host-Http-j": a browser refuses this name with Cookies.ReadableByScripts`},
		"__Host-Http-, Domain":  {func(c *config) { c.Cookies.JWTName, c.Cookies.Domain = "__Host-Http-j", "example.com" }, `Cookies.JWTName "__Host-Http-j": a __Host- cookie has no Domain, and Path=/`},
		"__Host-, readable":     {func(c *config) { c.Cookies.JWTName, c.Cookies.ReadableByScripts = "__Host-j", true }, ""},
		"SameSite=None":         {func(c *config) { c.Cookies.SameSite = http.SameSiteNoneMode }, ""},
		"None, Insecure":        {func(c *config) { c.Cookies.SameSite, c.Cookies.Insecure = http.SameSiteNoneMode, true }, "Cookies.SameSite: a browser refuses None with Cookies.Insecure"},
		"an unknown SameSite":   {func(c *config) { c.Cookies.SameSite = 9 }, "Cookies.SameSite 9: unknown"},
		"a negative SameSite":   {func(c *config) { c.Cookies.SameSite = -1 }, "Cookies.SameSite -1: unknown"},
		"no domain":             {func(c *config) { c.Cookies.Domain = "a b" }, `Cookies: Domain "a b" is no domain`},
		"a top-level domain":    {func(c *config) { c.Cookies.Domain = ".com" }, `Cookies: Domain ".com": browsers keep no cookie for a whole top-level domain`},
		"a URL for a domain":    {func(c *config) { c.Cookies.Domain = "https://example.com" }, `Cookies: Domain "https://example.com" is no domain`},
		"a dot before it":       {func(c *config) { c.Cookies.Domain = ".example.com" }, ""},
		"no path":               {func(c *config) { c.Cookies.Path = "app" }, `Cookies: Path "app" is no path`},
		"a path with attribute": {func(c *config) { c.Cookies.Path = "/; Domain=x" }, `Cookies: Path "/; Domain=x" is no path`},
		"an old scope":          {func(c *config) { c.Cookies.OldScopes = []scope{{Domain: "example.com"}} }, ""},
		"an old scope in use":   {func(c *config) { c.Cookies.OldScopes = []scope{{Path: "/app"}, {}} }, "Cookies.OldScopes[1]: is the scope in use"},
		"the same, by a dot": {func(c *config) {
			c.Cookies.Domain = "example.com"
			c.Cookies.OldScopes = []scope{{Domain: ".EXAMPLE.com", Path: "/"}}
		}, "Cookies.OldScopes[0]: is the scope in use"},
		"a wrong old scope": {func(c *config) { c.Cookies.OldScopes = []scope{{Domain: "a b"}} }, `Cookies.OldScopes[0]: Domain "a b" is no domain`},

		"a legacy cookie": {legacy(stytchmigrate.LegacyCookie{Name: "sid"}), ""},
		"a legacy cookie twice": {func(c *config) {
			legacy(stytchmigrate.LegacyCookie{Name: "sid"})(c)
			c.Legacy = append(c.Legacy, c.Legacy[0])
		}, ""},
		"no name":                 {legacy(stytchmigrate.LegacyCookie{}), `Legacy[0].Name "": is no cookie name`},
		"no further name":         {legacy(stytchmigrate.LegacyCookie{Name: "sid", Also: []string{"cart", "a b"}}), `Legacy[0].Also[1] "a b": is no cookie name`},
		"a Stytch name":           {legacy(stytchmigrate.LegacyCookie{Name: "stytch_session"}), `Legacy[0].Name "stytch_session": is a Stytch cookie's name`},
		"a further Stytch name":   {legacy(stytchmigrate.LegacyCookie{Name: "sid", Also: []string{"stytch_session_jwt"}}), `Legacy[0].Also[0] "stytch_session_jwt": is a Stytch cookie's name`},
		"a legacy scope":          {legacy(stytchmigrate.LegacyCookie{Name: "sid", Scopes: []scope{{Path: "x"}}}), `Legacy[0].Scopes[0]: Path "x" is no path`},
		"no Resolve":              {func(c *config) { c.Legacy = []stytchmigrate.LegacyCookie{{Name: "sid"}} }, "Legacy[0].Resolve: must not be nil"},
		"a codec":                 {coded(securecookie.New(apptest.KeyOf('h', 32), apptest.KeyOf('b', 16))), ""},
		"no codec":                {coded(), "Legacy[0]: SecureCookie: no codec"},
		"a nil codec":             {coded(securecookie.New(apptest.KeyOf('h', 32), nil), nil), "Legacy[0]: SecureCookie: codec 1 is nil"},
		"a nil SecureCookie":      {coded((*securecookie.SecureCookie)(nil)), "Legacy[0]: SecureCookie: codec 0 is nil"},
		"an empty hash key":       {coded(codecs(nil)...), keyless},
		"a block key of 17 bytes": {coded(codecs(apptest.KeyOf('h', 32), []byte("canary-canary-17b"))...), keyless},
		"no resolve function": {func(c *config) {
			c.Legacy = []stytchmigrate.LegacyCookie{secure[string](codecs(apptest.KeyOf('h', 32)), nil)}
		}, "Legacy[0]: SecureCookie: no resolve function"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := liveConfig()
			row.change(&cfg)
			m, err := stytchmigrate.New(cfg)
			if row.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.Nil(t, m)
			assert.EqualError(t, err, "stytchmigrate: "+strings.ReplaceAll(row.want, "\n", "\nstytchmigrate: "))
			assert.NotContains(t, err.Error(), "canary")
		})
	}
}

// New reports everything that is wrong at once, always in the same order.
func TestConfigErrorsTogether(t *testing.T) {
	cfg := stytchmigrate.Config{
		ProjectID: "canary", BaseURL: "http://u:canary@example.com?canary", SessionDuration: 1, Timeout: -1, RecordKey: "canary",
		Cookies: stytchmigrate.CookieOptions{SessionName: "=", JWTName: "=", Domain: "=", SameSite: 7},
		Legacy:  []stytchmigrate.LegacyCookie{{}, secure[string](nil, nil)},
	}
	want := strings.Split(`ProjectID: must be project-live- or project-test- and an id
Secret: must not be empty
BaseURL: must not hold a user name or password
BaseURL: must not hold a query or fragment
BaseURL: http:// sends the project's secret in the clear; use https://
SessionDuration 1ns: must be from 5 minutes to 366 days
Timeout -1ns: must be from 0 to 1 hour
RecordKey: must be 32 bytes or more
Cookies.SessionName "=": is no cookie name
Cookies.JWTName "=": is no cookie name
Cookies.JWTName "=": must differ from Cookies.SessionName
Cookies.SameSite 7: unknown
Cookies: Domain "=" is no domain
Legacy[0].Name "": is no cookie name
Legacy[0].Resolve: must not be nil
Legacy[1]: SecureCookie: no codec
Legacy[1]: SecureCookie: no resolve function`, "\n")
	for range 20 {
		_, err := stytchmigrate.New(cfg)
		require.EqualError(t, err, "stytchmigrate: "+strings.Join(want, "\nstytchmigrate: "))
	}
}

// recorder is a transport that records the calls and sends none.
type recorder struct {
	urls   []string
	bodies []map[string]any
}

func (rec *recorder) RoundTrip(r *http.Request) (*http.Response, error) {
	rec.urls = append(rec.urls, r.Method+" "+r.URL.String())
	var body map[string]any
	if r.Body != nil {
		b, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(b, &body)
	}
	rec.bodies = append(rec.bodies, body)
	return nil, errors.New("nothing is sent")
}

// visit sends one request with a legacy cookie through a middleware with cfg, and
// returns the calls that it led to.
func visit(t *testing.T, cfg stytchmigrate.Config) *recorder {
	t.Helper()
	rec := new(recorder)
	cfg.HTTPClient, cfg.Logger = &http.Client{Transport: rec}, slog.New(slog.DiscardHandler)
	cfg.Legacy = []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: func(_ *http.Request, v string) (stytchmigrate.LegacySession, error) {
		return apptest.LegacySession("ada", v), nil
	}}}
	m, err := stytchmigrate.New(cfg)
	require.NoError(t, err)
	require.Empty(t, rec.urls, "New makes no call")
	r := httptest.NewRequest("GET", "https://app.example.com/", nil)
	r.Header.Set("Cookie", "sid=ada-1")
	synctest.Test(t, func(*testing.T) { // a bubble: the pause before a second try takes no time
		m.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	})
	return rec
}

// Each row is a ProjectID and a BaseURL, and where the sessions are exchanged.
func TestBaseURL(t *testing.T) {
	for name, row := range map[string]struct{ project, base, want string }{
		"a live project":     {"project-live-1", "", "https://api.stytch.com"},
		"a test project":     {"project-test-1", "", "https://test.stytch.com"},
		"a custom domain":    {"project-live-1", "https://login.example.com", "https://login.example.com"},
		"with a slash":       {"project-live-1", "https://login.example.com//", "https://login.example.com"},
		"the default, given": {"project-test-1", "https://test.stytch.com/", "https://test.stytch.com"},
		"with a path":        {"project-test-1", "http://127.0.0.1:1/stytch/", "http://127.0.0.1:1/stytch"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := visit(t, stytchmigrate.Config{ProjectID: row.project, Secret: "x", BaseURL: row.base})
			require.NotEmpty(t, rec.urls)
			for _, u := range rec.urls { // a failed call is tried twice
				assert.Equal(t, "POST "+row.want+"/v1/sessions/migrate", u)
			}
		})
	}
}

// A Stytch session lives 30 days by default.
func TestDefaultDuration(t *testing.T) {
	assert.Equal(t, 30.0*24*60, visit(t, liveConfig()).bodies[0]["session_duration_minutes"])
}

// By default a request waits five seconds for Stytch, all calls together.
func TestDefaultTimeout(t *testing.T) {
	slowNo := stytchtest.Error(404, "session_not_found").WithDelay(4 * time.Second)
	for cookies, session := range map[string]stytchtest.Fault{
		"sid=ada-1":                         {},
		"stytch_session=madeup":             stytchtest.Silence(),
		"stytch_session=unknown; sid=ada-1": slowNo,
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Stytch.FailAll(stytchtest.Authenticate, session)
			a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
			began := time.Now()
			assert.Equal(t, "unavailable", a.Get(cookies).Saw)
			assert.Equal(t, 5*time.Second, time.Since(began))
		})
	}
}

// The Set-Cookie lines of a Config without Cookies, in full.
func TestDefaultCookies(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for _, line := range a.Get("sid=ada-1").Header()["Set-Cookie"] {
			name, rest, _ := strings.Cut(line, "=")
			_, attributes, _ := strings.Cut(rest, "; ")
			assert.Contains(t, []string{"stytch_session", "stytch_session_jwt"}, name)
			assert.Equal(t, "Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax", attributes)
		}
	})
}

// Changing a Config after New changes nothing.
func TestConfigIsCopied(t *testing.T) {
	var cfg stytchmigrate.Config
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cfg.Legacy[0].Name, cfg.Legacy[0].Also[0], cfg.Legacy[0].Scopes[0].Path = "x", "stytch_session", "/x"
		cfg.Cookies.OldScopes[0].Path = "/x"
		cfg.HTTPClient.Transport = nil
		cfg.Secret, cfg.BaseURL = "x", "x"
		out := a.Get("sid=ada-1; cart=7")
		assert.Equal(t, "migrated ada", out.Saw)
		set := out.Result().Cookies()
		var lines []string
		for _, c := range append(set[2:], a.Get(out.Jar("sid=ada-1")).Result().Cookies()...) {
			lines = append(lines, c.Name+" "+c.Path)
		}
		assert.Equal(t, []string{"stytch_session /old", "stytch_session_jwt /old", "sid /app", "cart /app"}, lines)
	}, func(c *stytchmigrate.Config) {
		c.Legacy[0].Also = []string{"cart"}
		c.Legacy[0].Scopes = []stytchmigrate.CookieScope{{Path: "/app"}}
		c.Cookies.OldScopes = []stytchmigrate.CookieScope{{Path: "/old"}}
		cfg = *c
	})
}

// Only the transport of Config.HTTPClient is used, and nothing in it is changed.
func TestHTTPClientIsOnlyATransport(t *testing.T) {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	var client *http.Client
	redirects := 0
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		u, _ := url.Parse(a.Stytch.URL)
		jar.SetCookies(u, []*http.Cookie{{Name: "tracking", Value: "1"}})
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithDelay(time.Second).WithHeader("Set-Cookie", "a=b"))
		assert.Equal(t, "migrated ada", a.Get("sid=ada-1").Saw, "its Timeout is not ours")
		assert.Empty(t, a.Stytch.Calls()[0].Header["Cookie"], "nor its Jar")
		assert.Len(t, jar.Cookies(u), 1)

		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Redirect("https://elsewhere.example/"))
		assert.Equal(t, "unavailable", a.Get("sid=bob-1").Saw)
		assert.Zero(t, redirects, "nor its CheckRedirect")
		assert.Equal(t, time.Millisecond, client.Timeout)
		assert.Same(t, jar, client.Jar)
		assert.NotNil(t, client.CheckRedirect)
	}, func(c *stytchmigrate.Config) {
		client = c.HTTPClient
		client.Timeout, client.Jar = time.Millisecond, jar
		client.CheckRedirect = func(*http.Request, []*http.Request) error { redirects++; return nil }
	})
}

// New makes no call, and starts no goroutine that does.
func TestNewMakesNoCall(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		synctest.Wait()
		time.Sleep(time.Hour)
		assert.Empty(t, a.Stytch.Calls())
		assert.Equal(t, apptest.Anonymous, a.Get("").String())
	})
}
