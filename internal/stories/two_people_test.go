package stories_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// Ada has a Stytch session, and the same browser sends a legacy session of bob's. If
// that started later, bob is at the browser now, and his session is exchanged. These
// tests are about what can go wrong on the way. Which of two sessions counts is in the
// root's decide_test.go.

const bobWins = "migrated bob | +stytch_session +stytch_session_jwt | no-store | migrate revoke"

// Bob's legacy session started later. Each row is what becomes of its exchange. Ada's page is never shown, and her
// session is not ended either.
func TestLaterSignInThatDoesNotMove(t *testing.T) {
	for name, row := range map[string]struct {
		script func(a *apptest.App)
		want   string
	}{
		"down":        {func(a *apptest.App) { a.Stytch.FailAll("migrate", stytchtest.Error(503, "server_unavailable")) }, "unavailable" + apptest.CookiesUntouched + "migrate migrate"},
		"silent":      {func(a *apptest.App) { a.Stytch.FailAll("migrate", stytchtest.Silence()) }, "unavailable" + apptest.CookiesUntouched + "migrate migrate"},
		"refuses":     {func(a *apptest.App) { a.Stytch.FailAll("migrate", stytchtest.Error(404, "user_not_found")) }, "refused" + apptest.CookiesUntouched + "migrate"},
		"says ada":    {func(a *apptest.App) { a.Stytch.Accept("bob-token", "ada@example.com") }, "refused" + apptest.CookiesUntouched + "migrate revoke"},
		"says no one": {func(a *apptest.App) { a.Stytch.FailAll("migrate", stytchtest.Respond(200, "{}")) }, "unavailable" + apptest.CookiesUntouched + "migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
				cookies, s := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
				row.script(a)
				assert.Equal(t, row.want, a.Get(cookies+"; sid=bob+1h").Settled())
				assert.Equal(t, "bob", a.LegacySeen.Identity.Subject)
				assert.NotContains(t, a.Get(cookies+"; sid=bob+1h").Saw, "ada", "the next time neither")
				live, _ := a.Stytch.Session(s.ID)
				assert.True(t, live.Live)
				assert.Equal(t, apptest.Authenticated, a.Get(cookies).String(), "without the old cookie she is who she was")
			})
		})
	}
}

// Ada's session is over on this machine before Stytch has answered the revoke.
func TestLaterSignInEndsTheSessionBefore(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, cookies)
		var hold stytchtest.Hold
		a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Fault{}.WithHold(&hold))
		out := a.Get(cookies + "; sid=bob+1h")
		assert.Equal(t, bobWins, out.Settled())
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | -", a.Get(cookies).String(), "before Stytch has heard of it")
		assert.Equal(t, "authenticated bob"+apptest.CookiesUntouched+"-", a.Get(out.Jar(cookies)).String())
		hold.Release()
	})
}

// Of 50 parallel requests, one revokes ada's session.
func TestLaterSignInRevokesOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, cookies)
		a.Stytch.ResetCalls()
		var hold stytchtest.Hold
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Fault{}.WithHold(&hold))
		h := a.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "migrated bob", a.Who(r.Context()))
		}))
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				r := httptest.NewRequest("GET", "https://app.example.com/", nil)
				r.Header.Set("Cookie", cookies+"; sid=bob+1h")
				h.ServeHTTP(httptest.NewRecorder(), r)
			})
		}
		synctest.Wait()
		hold.Release()
		wg.Wait()
		synctest.Wait()
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Migrate))
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Revoke))
	})
}

// panicOnRevoke is a transport with a bug in it.
type panicOnRevoke struct{ http.RoundTripper }

// A panic of the transport in the background does not end the process.
func TestLaterSignInWhoseRevokePanics(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, cookies)
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt | no-store | migrate", a.Get(cookies+"; sid=bob+1h").Settled())
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | -", a.Get(cookies).String())
	}, func(c *stytchmigrate.Config) {
		c.HTTPClient = &http.Client{Transport: panicOnRevoke{c.HTTPClient.Transport}}
	})
}

func (p panicOnRevoke) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/revoke") {
		panic("a transport's")
	}
	return p.RoundTripper.RoundTrip(r)
}

// Bob's legacy session started earlier, so its cookie is expired. It does not sign him
// in when ada's session runs out.
func TestEarlierLegacySessionNeverComesBack(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		s := a.Stytch.NewSession(a.Ada.ID, time.Hour)
		cookies := "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
		a.LearnSession(t, cookies)
		browser := a.Get(cookies + "; sid=bob-1h").Jar(cookies + "; sid=bob-1h")
		assert.Equal(t, cookies, browser)
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate", a.Get(browser).String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// While Stytch can't say whose a session is, ada's session stays: that it is not
// bob's would be a guess. It is decided once Stytch answers.
func TestTwoSessionsWhileStytchIsDown(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "server_unavailable"))
		cookies, _ := a.SignedIn(a.Ada)
		assert.Equal(t, "authenticated partial ada"+apptest.CookiesUntouched+"authenticate authenticate", a.Get(cookies+"; sid=bob").String())
		a.Stytch.Heal(stytchtest.Any)
		time.Sleep(11 * time.Second)
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | authenticate", a.Get(cookies+"; sid=bob").String())
	})
}
