package stytchmigrate_test

import (
	"context"
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

// Each row is what Stytch says when a later sign-in is exchanged. The page of
// the person before is never shown, and that session not ended either.
func TestOvertakenButNotMoved(t *testing.T) {
	for name, row := range map[string]struct {
		script func(a *apptest.App)
		want   string
	}{
		"down":        {func(a *apptest.App) { a.Stytch.FailAll("migrate", stytchtest.Error(503, "server_unavailable")) }, "unavailable" + apptest.Untouched + "migrate migrate"},
		"silent":      {func(a *apptest.App) { a.Stytch.FailAll("migrate", stytchtest.Silence()) }, "unavailable" + apptest.Untouched + "migrate migrate"},
		"refuses":     {func(a *apptest.App) { a.Stytch.FailAll("migrate", stytchtest.Error(404, "user_not_found")) }, "refused" + apptest.Untouched + "migrate"},
		"says ada":    {func(a *apptest.App) { a.Stytch.Accept("bob-token", "ada@example.com") }, "refused" + apptest.Untouched + "migrate revoke"},
		"logged out":  {func(a *apptest.App) { a.LogOut("sid=bob+1h") }, "refused" + apptest.Untouched + "-"},
		"says no one": {func(a *apptest.App) { a.Stytch.FailAll("migrate", stytchtest.Respond(200, "{}")) }, "unavailable" + apptest.Untouched + "migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.Accounts(time.Now(), nil)
				cookies, s := a.SignedIn(a.Ada)
				a.Asks(t, cookies)
				row.script(a)
				assert.Equal(t, row.want, a.Get(cookies+"; sid=bob+1h").Settled())
				if name != "logged out" {
					assert.Equal(t, "bob", a.LegacySeen.Identity.Subject)
				}
				assert.NotContains(t, a.Get(cookies+"; sid=bob+1h").Saw, "ada", "the next time neither")
				live, _ := a.Stytch.Session(s.ID)
				assert.True(t, live.Live)
				assert.Equal(t, apptest.StaysAlone, a.Get(cookies).String(), "without the old cookie she is who she was")
			})
		})
	}
}

// Whether Stytch can be told or not, the session that was overtaken is over.
func TestOvertakenIsOver(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
		var hold stytchtest.Hold
		a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Fault{}.WithHold(&hold))
		out := a.Get(cookies + "; sid=bob+1h")
		assert.Equal(t, bobWins, out.Settled())
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | -", a.Get(cookies).String(), "before Stytch has heard of it")
		assert.Equal(t, "authenticated bob"+apptest.Untouched+"-", a.Get(out.Jar(cookies)).String())
		hold.Release()
	})
}

// The session that was older is not the user's when the newer one runs out.
func TestOlderLegacyNeverComesBack(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		s := a.Stytch.NewSession(a.Ada.ID, time.Hour)
		cookies := "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
		a.Asks(t, cookies)
		browser := a.Get(cookies + "; sid=bob-1h").Jar(cookies + "; sid=bob-1h")
		assert.Equal(t, cookies, browser)
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate", a.Get(browser).String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// Of parallel requests that are overtaken, one tells Stytch so.
func TestOvertakenOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
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

func (p panicOnRevoke) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/revoke") {
		panic("a transport's")
	}
	return p.RoundTripper.RoundTrip(r)
}

// What panics where no request waits is not the process's end.
func TestOvertakenByAPanic(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | migrate", a.Get(cookies+"; sid=bob+1h").Settled())
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | -", a.Get(cookies).String())
	}, func(c *stytchmigrate.Config) {
		c.HTTPClient = &http.Client{Transport: panicOnRevoke{c.HTTPClient.Transport}}
	})
}

// Logout ends the old session too, whose cookie the handler never saw.
func TestLogoutWithTwoSessions(t *testing.T) {
	var ended []stytchmigrate.Secret
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
		a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
		out := a.Get(cookies + "; sid=ada")
		assert.Equal(t, "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
		assert.Equal(t, cookies, a.PassedOn[1])
		assert.Equal(t, []stytchmigrate.Secret{"ada"}, ended)
		a.Handler = nil
		assert.Equal(t, apptest.Refused, a.Get("sid=ada").String())
	}, func(c *stytchmigrate.Config) {
		c.Legacy[0].End = func(_ context.Context, s stytchmigrate.LegacySession) error {
			ended = append(ended, s.ID)
			return nil
		}
	})
}

// Of two people's sessions neither counts, and the handler sees no cookie of
// them. A logout ends what the browser sent all the same.
func TestLogoutOfAConflict(t *testing.T) {
	for _, dest := range []string{"document", "image"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Resolve = apptest.Accounts(time.Now(), nil)
			cookies, s := a.SignedIn(a.Ada)
			a.Asks(t, cookies)
			a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
			out := a.Get(cookies+"; sid=bob", func(r *http.Request) {
				r.Header.Set("Sec-Fetch-Site", "same-origin")
				r.Header.Set("Sec-Fetch-Dest", dest)
			})
			assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
			ended, _ := a.Stytch.Session(s.ID)
			assert.False(t, ended.Live)
		})
	}
}
