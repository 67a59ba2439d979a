package stytchmigrate_test

import (
	"net/http"
	"net/http/httptest"
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

// Each row is a request with ada's legacy session whose handler sets cookies
// of its own, the Set-Cookie lines in the reply, and who the next page is for.
func TestWhatTheHandlerDoesWins(t *testing.T) {
	const all = "+stytch_session +stytch_session_jwt -sid -csrf"
	for name, row := range map[string]struct {
		method  string
		handler http.HandlerFunc
		want    string
		next    string
	}{
		"nothing":                                 {"POST", apptest.SetCookie(), all, "authenticated ada"},
		"a cookie of its own":                     {"POST", apptest.SetCookie("theme=dark"), "+theme " + all, "authenticated ada"},
		"signs bob in":                            {"POST", apptest.SetCookie("sid=bob-1"), "+sid", "migrated bob"},
		"signs bob in, by GET":                    {"GET", apptest.SetCookie("sid=bob-1"), "+sid", "migrated bob"},
		"signs ada in again":                      {"POST", apptest.SetCookie("sid=ada-2"), "+sid", "migrated ada"},
		"deletes, then signs bob in":              {"POST", apptest.SetCookie("sid=; Max-Age=0", "sid=bob-1"), "-sid +sid", "migrated bob"},
		"saves the session again":                 {"POST", apptest.SetCookie("sid=ada-1"), "+sid +stytch_session +stytch_session_jwt -csrf", "authenticated ada"},
		"a session of a visitor":                  {"GET", apptest.SetCookie("sid=visitor"), "+sid +stytch_session +stytch_session_jwt -csrf", "authenticated ada"},
		"an empty session":                        {"GET", apptest.SetCookie("sid=; Path=/"), "+sid +stytch_session +stytch_session_jwt -csrf", "authenticated ada"},
		"a companion of the session":              {"GET", apptest.SetCookie("csrf=2"), "+csrf +stytch_session +stytch_session_jwt -sid", "authenticated ada"},
		"deletes what it can't see":               {"GET", apptest.SetCookie("sid=; Max-Age=0"), "-sid " + all, "authenticated ada"},
		"signs out the old way":                   {"POST", apptest.SetCookie("sid=; Max-Age=0"), "-sid -stytch_session -stytch_session_jwt -sid -csrf", "anonymous"},
		"signs out the old way, by a date":        {"POST", apptest.SetCookie("sid=; Expires=Thu, 01 Jan 1970 00:00:01 GMT"), "+sid -stytch_session -stytch_session_jwt -sid -csrf", "anonymous"},
		"signs out the old way, by nothing in it": {"POST", apptest.SetCookie("sid="), "+sid -stytch_session -stytch_session_jwt -csrf", "anonymous"},
		"signs out by a visitor's session":        {"POST", apptest.SetCookie("sid=visitor"), "+sid -stytch_session -stytch_session_jwt -csrf", "anonymous"},
		"sets a Stytch cookie":                    {"GET", apptest.SetCookie("stytch_session=own; Secure"), "+stytch_session", ""},
		"sets a Stytch JWT":                       {"GET", apptest.SetCookie("stytch_session_jwt=own; Secure"), "+stytch_session_jwt", ""},
		"deletes the Stytch cookies":              {"GET", apptest.SetCookie("stytch_session=; Max-Age=0", "stytch_session_jwt=; Max-Age=0"), "-stytch_session -stytch_session_jwt", "migrated ada"},
		"a line that is no cookie":                {"GET", apptest.SetCookie("\u00e9"), all, "authenticated ada"},
		"cacheable, and signs bob in": {"GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public")
			apptest.SetCookie("sid=bob-1")(w, r)
		}, "+sid", "migrated bob"},
		"wrapped twice by mistake, as below": {"POST", nil, all, "authenticated ada"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Handler = row.handler
				if row.handler == nil {
					a.Handler = a.Middleware.Handler(http.NotFoundHandler()).ServeHTTP
				}
				cookies := "sid=ada-1; theme=light"
				got := a.Get(cookies, apptest.Method(row.method))
				if !strings.Contains(name, "no cookie") {
					apptest.RequireValidCookies(t, "app.example.com", got.Result().Header)
				}
				assert.Equal(t, row.want, strings.Join(got.Cookies(), " "))
				assert.Equal(t, "migrated ada", got.Saw)
				if row.next != "" {
					a.Handler = nil
					assert.Equal(t, row.next, a.Ask(t, got.Jar(cookies)).Saw)
				}
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) { l.Also = []string{"csrf"} }))
		})
	}
}

// The old logout handler, unchanged, is in a form from before the switch.
func TestOldLogoutOfASessionThatMovesInThatRequest(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = apptest.SetCookie("sid=; Max-Age=0")
		a.Ask(t, "sid=ada-1", apptest.Method(http.MethodPost))
		synctest.Wait()
		assert.False(t, a.Stytch.Sessions()[0].Live, "revoked")
		a.Handler = nil
		assert.Equal(t, "refused"+apptest.Untouched+"-", a.Ask(t, "sid=ada-1").String(), "ended")
	})
}

// Whether a session is in what the handler set may be more than Resolve can tell.
func TestHandlerSetsACookieThatCannotBeJudged(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			if v == "ada-1" {
				return apptest.LegacySession("ada", v), nil
			}
			return stytchmigrate.LegacySession{}, assert.AnError
		}
		a.Handler = apptest.SetCookie("sid=bob-1")
		assert.Equal(t, "migrated ada | +sid | no-store | migrate", a.Ask(t, "sid=ada-1").String())
	})
}

// A form that was loaded before the switch carries a token of the old session.
func TestFormAcrossTheSwitch(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			c, err := r.Cookie("sid")
			if err != nil || r.FormValue("token") != "of "+c.Value {
				http.Error(w, "forged", http.StatusForbidden)
			}
		}
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/", strings.NewReader("token=of+ada-1"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", "sid=ada-1")
		got := a.Do(r)
		assert.Equal(t, apptest.Swapped, got.String(), "a client that only posts is swapped too")
		assert.Equal(t, http.StatusOK, got.Code)
	})
}

// The user logs out in another tab while the handler takes its time. That tab's
// response cleared the cookies; what came into the browser since then is newer.
func TestLogoutWhileTheHandlerRuns(t *testing.T) {
	for name, before := range map[string]string{"of a session that moves": "sid=ada-1", "of a session that is refreshed": ""} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := before
				if cookies == "" {
					cookies, _ = a.SignedIn(a.Ada)
					time.Sleep(10 * time.Minute)
				}
				a.Handler = func(http.ResponseWriter, *http.Request) {
					r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
					r.Header.Set("Cookie", cookies)
					require.NoError(t, a.Middleware.Logout(httptest.NewRecorder(), r))
				}
				got := a.Ask(t, cookies)
				assert.Empty(t, got.Cookies())
				assert.False(t, a.Stytch.Sessions()[0].Live)
			})
		})
	}
}

// Flushing is done by another goroutine than writing, as ReverseProxy does;
// net/http wants the two apart, and here too only one of them writes cookies.
func TestFlushFromAnotherGoroutine(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		a := apptest.New(t, stytchtest.Config{InProcess: true})
		s := a.Site(t, http2, apptest.Backend(t))
		for range 5 {
			got, _ := apptest.FetchPage(t, s, http.MethodGet)
			require.NotNil(t, got)
			assert.Equal(t, "+stytch_session +stytch_session_jwt -sid", apptest.SetCookieNames(got.Header))
		}
	}
}
