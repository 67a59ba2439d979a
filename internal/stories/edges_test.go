package stories_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// longPolicy is a page with a Content-Security-Policy of n bytes.
func longPolicy(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", strings.Repeat("x", n))
	}
}

// A handler's own header leaves no room for the JWT, or for any cookie. The exchange is
// made once all the same, and a later page has room for what it brought.
func TestLongHeaderPostponesTheCookies(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = longPolicy(3800)
		assert.Equal(t, "migrated ada | - | - | migrate", a.Get("sid=ada-1").String())
		assert.Equal(t, "migrated ada | - | - | -", a.Get("sid=ada-1").String())
		a.Handler = longPolicy(2600)
		assert.Equal(t, "migrated ada | +stytch_session | no-store | -", a.Get("sid=ada-1").String())
		a.Handler = nil
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | -", a.Get("sid=ada-1").String())
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// A refresh waits for a response that has room, and the user stays signed in.
func TestLongHeaderPostponesARefresh(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("")
		time.Sleep(6 * time.Minute)
		a.Handler = longPolicy(3800)
		assert.Equal(t, "authenticated ada | - | - | authenticate", a.Get(cookies).String())
		assert.Equal(t, "authenticated ada | - | - | -", a.Get(cookies).String())
		a.Handler = nil
		assert.Contains(t, a.Get(cookies).String(), "authenticated ada | ")
	})
}

// Old code logs out by Clear-Site-Data. Browsers drop every cookie then, and the
// sessions behind them end too.
func TestOldLogoutByClearSiteData(t *testing.T) {
	for _, value := range []string{`"cookies"`, `"cache", "*"`} {
		for _, moved := range []bool{false, true} {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, want := "sid=ada-1", "migrated ada | -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"
				if moved {
					cookies, want = a.Get(cookies).Jar(cookies), "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | revoke"
				}
				a.Handler = func(w http.ResponseWriter, _ *http.Request) { w.Header()["clear-site-data"] = []string{value} }
				assert.Equal(t, want, a.Get(cookies).Settled())
				a.Handler = nil
				assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
			}, apptest.Stage(stytchmigrate.StageKeep))
		}
	}
}

// The client leaves while Resolve waits for its database, which then fails. That is no
// error of the application: nothing is logged, and no event says that somebody could not
// be told, by which the status page would go on waiting.
func TestClientGoneWhileResolveWaits(t *testing.T) {
	known, err := "authenticated ada | - | - | -", errors.New("database: context canceled")
	for name, row := range map[string]struct {
		before func(a *apptest.App) string
		want   string
		events []string
	}{
		"a legacy cookie":   {func(*apptest.App) string { return "sid=ada-2" }, "handler not run | - | - | -", nil},
		"beside a live one": {func(a *apptest.App) string { return a.Get("sid=ada-1").Jar("sid=ada-2") }, known, []string{"authenticated memory"}},
		"beside an old one": {func(*apptest.App) string { return "stytch_session=unknown; sid=ada-2" }, "handler not run | - | - | authenticate", nil},
		"while Stytch is down": {func(a *apptest.App) string {
			cookies := a.Get("sid=ada-1").Jar("sid=ada-2")
			time.Sleep(6 * time.Minute)
			a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
			return cookies
		}, "handler not run | - | - | authenticate authenticate", []string{"unavailable stytch"}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := row.before(a)
				a.Requests = nil
				a.Log.Reset()
				ctx, leave := context.WithCancel(t.Context())
				a.Resolve = func(string) (stytchmigrate.LegacySession, error) { leave(); return stytchmigrate.LegacySession{}, err }
				got := a.Get(cookies, func(r *http.Request) { *r = *r.WithContext(ctx) })
				assert.Equal(t, row.want, got.String())
				var events []string
				for _, e := range a.Requests {
					events = append(events, e.Outcome.String()+" "+e.Cause)
				}
				assert.Equal(t, row.events, events)
				assert.NotContains(t, a.Log.String(), `"ERROR"`)
				assert.NotContains(t, a.Log.String(), "Resolve")
			}, apptest.Stage(stytchmigrate.StageKeep))
		})
	}
}
