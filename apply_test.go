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
)

// Each row is a request with ada's legacy session whose handler sets cookies of its
// own, the Set-Cookie lines of the response, and whose the next page is. The other
// cases are in internal/cookies.
func TestWhatTheHandlerDoesWins(t *testing.T) {
	const all = "+stytch_session +stytch_session_jwt -sid -csrf"
	for name, row := range map[string]struct {
		method  string
		handler http.HandlerFunc
		want    string
		next    string
	}{
		"nothing":                            {"POST", apptest.SetCookie(), all, "authenticated ada"},
		"signs bob in":                       {"POST", apptest.SetCookie("sid=bob-1"), "+sid", "migrated bob"},
		"signs bob in, by GET":               {"GET", apptest.SetCookie("sid=bob-1"), "+sid", "migrated bob"},
		"signs ada in again":                 {"POST", apptest.SetCookie("sid=ada-2"), "+sid", "migrated ada"},
		"saves the session again":            {"POST", apptest.SetCookie("sid=ada-1"), "+sid +stytch_session +stytch_session_jwt -csrf", "authenticated ada"},
		"a session of a visitor":             {"GET", apptest.SetCookie("sid=visitor"), "+sid +stytch_session +stytch_session_jwt -csrf", "authenticated ada"},
		"a companion of the session":         {"GET", apptest.SetCookie("csrf=2"), "+csrf +stytch_session +stytch_session_jwt -sid", "authenticated ada"},
		"deletes what it can't see":          {"GET", apptest.SetCookie("sid=; Max-Age=0"), "-sid " + all, "authenticated ada"},
		"signs out the old way":              {"POST", apptest.SetCookie("sid=; Max-Age=0"), "-sid -stytch_session -stytch_session_jwt -sid -csrf", "anonymous"},
		"signs out by a visitor's session":   {"POST", apptest.SetCookie("sid=visitor"), "+sid -stytch_session -stytch_session_jwt -csrf", "anonymous"},
		"sets a Stytch cookie":               {"GET", apptest.SetCookie("stytch_session=own; Secure"), "+stytch_session", ""},
		"deletes the Stytch cookies":         {"GET", apptest.SetCookie("stytch_session=; Max-Age=0", "stytch_session_jwt=; Max-Age=0"), "-stytch_session -stytch_session_jwt", "migrated ada"},
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
				apptest.RequireValidCookies(t, "app.example.com", got.Result().Header)
				assert.Equal(t, row.want, strings.Join(got.Cookies(), " "))
				assert.Equal(t, "migrated ada", got.Saw)
				if row.next != "" {
					a.Handler = nil
					assert.Equal(t, row.next, a.GetChecked(t, got.Jar(cookies)).Saw)
				}
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) { l.Also = []string{"csrf"} }))
		})
	}
}

// The old logout code, unchanged, handles a form that was loaded before the switch.
func TestOldLogoutOfASessionThatMovesInThatRequest(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = apptest.SetCookie("sid=; Max-Age=0")
		a.GetChecked(t, "sid=ada-1", apptest.Method(http.MethodPost))
		synctest.Wait()
		assert.False(t, a.Stytch.Sessions()[0].Live, "revoked")
		a.Handler = nil
		assert.Equal(t, "refused"+apptest.CookiesUntouched+"-", a.GetChecked(t, "sid=ada-1").String(), "ended")
	})
}

// Resolve may fail for the value that the handler set. It may be a sign-in then.
func TestHandlerSetsACookieThatCannotBeJudged(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			if v == "ada-1" {
				return apptest.LegacySession("ada", v), nil
			}
			return stytchmigrate.LegacySession{}, assert.AnError
		}
		a.Handler = apptest.SetCookie("sid=bob-1")
		assert.Equal(t, "migrated ada | +sid | no-store | migrate", a.GetChecked(t, "sid=ada-1").String())
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

// The user logs out in another tab while the handler runs. The response to that tab
// cleared the cookies. What came into the browser since then is newer, and stays.
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
				got := a.GetChecked(t, cookies)
				assert.Empty(t, got.Cookies())
				assert.False(t, a.Stytch.Sessions()[0].Live)
			})
		})
	}
}

// A handler that recovers from a panic of Resolve still answers: no lock is held.
func TestResolveAtTheEndHoldsNothingUp(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			if value == "bob-2" {
				panic("store")
			}
			return apptest.LegacySession("ada", value), nil
		}
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: "bob-2"})
			assert.Panics(t, func() { w.WriteHeader(200) })
			w.Header().Del("Set-Cookie")
			w.WriteHeader(500)
		}
		assert.Equal(t, 500, a.Get("sid=ada-1").Code)
	})
}
