package stytchmigrate_test

import (
	"encoding/json"
	"errors"
	"fmt"
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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// recorder is a transport that writes down what it is asked for, and sends nothing.
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

// visit sends one request with an old cookie through a middleware of cfg, and
// returns what it led to.
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
	synctest.Test(t, func(*testing.T) { // in which the pause before a second try is none
		m.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	})
	return rec
}

// Each row is a project, and where its sessions are exchanged.
func TestBaseURL(t *testing.T) {
	for name, row := range map[string]struct{ project, base, want string }{
		"a live project":     {"project-live-1", "", "https://api.stytch.com"},
		"a test project":     {"project-test-1", "", "https://test.stytch.com"},
		"a custom domain":    {"project-live-1", "https://login.example.com", "https://login.example.com"},
		"with a slash":       {"project-live-1", "https://login.example.com//", "https://login.example.com"},
		"said in so many":    {"project-test-1", "https://test.stytch.com/", "https://test.stytch.com"},
		"behind some prefix": {"project-test-1", "http://127.0.0.1:1/stytch/", "http://127.0.0.1:1/stytch"},
	} {
		t.Run(name, func(t *testing.T) {
			rec := visit(t, stytchmigrate.Config{ProjectID: row.project, Secret: "x", BaseURL: row.base})
			require.NotEmpty(t, rec.urls)
			for _, u := range rec.urls { // one, or two where it is tried again
				assert.Equal(t, "POST "+row.want+"/v1/sessions/migrate", u)
			}
		})
	}
}

func TestDefaultDuration(t *testing.T) {
	assert.Equal(t, 30.0*24*60, visit(t, liveConfig()).bodies[0]["session_duration_minutes"])
}

// By default a request waits five seconds for Stytch.
func TestDefaultTimeout(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Silence())
		began := time.Now()
		assert.Equal(t, "unavailable", a.Get("sid=ada-1").Saw)
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

// The Stytch cookies of a Config that says nothing of them, in full.
func TestDefaultCookies(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for _, line := range a.Get("sid=ada-1").Header()["Set-Cookie"][:2] {
			name, rest, _ := strings.Cut(line, "=")
			_, attributes, _ := strings.Cut(rest, "; ")
			assert.Contains(t, []string{"stytch_session", "stytch_session_jwt"}, name)
			assert.Equal(t, "Path=/; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax", attributes)
		}
	})
}

// What becomes of a Config after New is no matter.
func TestConfigIsCopied(t *testing.T) {
	var cfg stytchmigrate.Config
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cfg.Legacy[0].Name, cfg.Legacy[0].Also[0], cfg.Legacy[0].Scopes[0].Path = "x", "stytch_session", "/x"
		cfg.Cookies.OldScopes[0].Path = "/x"
		cfg.HTTPClient.Transport = nil
		cfg.Secret, cfg.BaseURL = "x", "x"
		out := a.Get("sid=ada-1; cart=7")
		var lines []string
		for _, c := range out.Result().Cookies()[2:] {
			lines = append(lines, c.Name+" "+c.Path)
		}
		assert.Equal(t, "migrated ada", out.Saw)
		assert.Equal(t, []string{"stytch_session /old", "stytch_session_jwt /old", "sid /app", "cart /app"}, lines)
	}, func(c *stytchmigrate.Config) {
		c.Legacy[0].Also = []string{"cart"}
		c.Legacy[0].Scopes = []stytchmigrate.CookieScope{{Path: "/app"}}
		c.Cookies.OldScopes = []stytchmigrate.CookieScope{{Path: "/old"}}
		cfg = *c
	})
}

// Of the caller's client only the transport is used, and nothing is changed.
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

// New leaves no call and no goroutine behind, whatever Stytch does.
func TestNewMakesNoCall(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		synctest.Wait()
		time.Sleep(time.Hour)
		assert.Empty(t, a.Stytch.Calls())
		assert.Equal(t, apptest.Anonymous, a.Get("").String())
	})
}

// A Middleware in a log tells no secret.
func TestMiddlewarePrintsNoSecret(t *testing.T) {
	cfg := liveConfig()
	cfg.RecordKey = "canary-of-not-fewer-than-32-bytes"
	m, err := stytchmigrate.New(cfg)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v"} { // those that go vet does not report
		assert.NotContains(t, fmt.Sprintf(verb, cfg), "canary", verb)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%t"} { // and those for which fmt follows pointers
		assert.NotContains(t, fmt.Sprintf(verb, m), "canary", verb)
	}
}
