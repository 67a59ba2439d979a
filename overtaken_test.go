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
	"example.com/stytchmigrate/stytchtest"
)

// Each row is what Stytch says when a later sign-in is exchanged. The page of
// the person before is never shown, and that session not ended either.
func TestOvertakenButNotMoved(t *testing.T) {
	for name, row := range map[string]struct {
		script func(a *app)
		want   string
	}{
		"down":        {func(a *app) { a.stytch.FailAll("migrate", stytchtest.Error(503, "server_unavailable")) }, "unavailable" + keep + "migrate migrate"},
		"silent":      {func(a *app) { a.stytch.FailAll("migrate", stytchtest.Silence()) }, "unavailable" + keep + "migrate migrate"},
		"refuses":     {func(a *app) { a.stytch.FailAll("migrate", stytchtest.Error(404, "user_not_found")) }, "refused" + keep + "migrate"},
		"says ada":    {func(a *app) { a.stytch.Accept("bob-token", "ada@example.com") }, "refused" + keep + "migrate revoke"},
		"logged out":  {func(a *app) { a.logOut("sid=bob+1h") }, "refused" + keep + "-"},
		"says no one": {func(a *app) { a.stytch.FailAll("migrate", stytchtest.Respond(200, "{}")) }, "unavailable" + keep + "migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				a.resolve = legacyOf(time.Now(), nil)
				cookies, s := a.signedIn(a.ada)
				a.asks(t, cookies)
				row.script(a)
				assert.Equal(t, row.want, a.get(cookies+"; sid=bob+1h").settled())
				if name != "logged out" {
					assert.Equal(t, "bob", a.legacySeen.Identity.Subject)
				}
				assert.NotContains(t, a.get(cookies+"; sid=bob+1h").saw, "ada", "the next time neither")
				live, _ := a.stytch.Session(s.ID)
				assert.True(t, live.Live)
				assert.Equal(t, staysAlone, a.get(cookies).String(), "without the old cookie she is who she was")
			})
		})
	}
}

// Whether Stytch can be told or not, the session that was overtaken is over.
func TestOvertakenIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), nil)
		cookies, _ := a.signedIn(a.ada)
		a.asks(t, cookies)
		var hold stytchtest.Hold
		a.stytch.FailAll(stytchtest.Revoke, stytchtest.Fault{}.WithHold(&hold))
		out := a.get(cookies + "; sid=bob+1h")
		assert.Equal(t, bobWins, out.settled())
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | -", a.get(cookies).String(), "before Stytch has heard of it")
		assert.Equal(t, "authenticated bob"+keep+"-", a.get(out.jar(cookies)).String())
		hold.Release()
	})
}

// The session that was older is not the user's when the newer one runs out.
func TestOlderLegacyNeverComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), nil)
		s := a.stytch.NewSession(a.ada.ID, time.Hour)
		cookies := "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
		a.asks(t, cookies)
		browser := a.get(cookies + "; sid=bob-1h").jar(cookies + "; sid=bob-1h")
		assert.Equal(t, cookies, browser)
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate", a.get(browser).String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// Of parallel requests that are overtaken, one tells Stytch so.
func TestOvertakenOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), nil)
		cookies, _ := a.signedIn(a.ada)
		a.asks(t, cookies)
		a.stytch.ResetCalls()
		var hold stytchtest.Hold
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Fault{}.WithHold(&hold))
		h := a.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			assert.Equal(t, "migrated bob", a.who(r.Context()))
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
		assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
		assert.Equal(t, 1, a.stytch.Count(stytchtest.Revoke))
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
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), nil)
		cookies, _ := a.signedIn(a.ada)
		a.asks(t, cookies)
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | migrate", a.get(cookies+"; sid=bob+1h").settled())
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | -", a.get(cookies).String())
	}, func(c *stytchmigrate.Config) {
		c.HTTPClient = &http.Client{Transport: panicOnRevoke{c.HTTPClient.Transport}}
	})
}

// Logout ends the old session too, whose cookie the handler never saw.
func TestLogoutWithTwoSessions(t *testing.T) {
	var ended []stytchmigrate.Secret
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), nil)
		cookies, _ := a.signedIn(a.ada)
		a.asks(t, cookies)
		a.handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.m.Logout(w, r)) }
		out := a.get(cookies + "; sid=ada")
		assert.Equal(t, "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
		assert.Equal(t, cookies, a.passedOn[1])
		assert.Equal(t, []stytchmigrate.Secret{"ada"}, ended)
		a.handler = nil
		assert.Equal(t, refused, a.get("sid=ada").String())
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
		inBubble(t, func(t *testing.T, a *app) {
			a.resolve = legacyOf(time.Now(), nil)
			cookies, s := a.signedIn(a.ada)
			a.asks(t, cookies)
			a.handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.m.Logout(w, r)) }
			out := a.get(cookies+"; sid=bob", func(r *http.Request) {
				r.Header.Set("Sec-Fetch-Site", "same-origin")
				r.Header.Set("Sec-Fetch-Dest", dest)
			})
			assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
			ended, _ := a.stytch.Session(s.ID)
			assert.False(t, ended.Live)
		})
	}
}
