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
	"example.com/stytchmigrate/stytchtest"
)

func setCookie(lines ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, l := range lines {
			w.Header().Add("Set-Cookie", l)
		}
	}
}

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
		"nothing":                                 {"POST", setCookie(), all, "authenticated ada"},
		"a cookie of its own":                     {"POST", setCookie("theme=dark"), "+theme " + all, "authenticated ada"},
		"signs bob in":                            {"POST", setCookie("sid=bob-1"), "+sid", "migrated bob"},
		"signs bob in, by GET":                    {"GET", setCookie("sid=bob-1"), "+sid", "migrated bob"},
		"signs ada in again":                      {"POST", setCookie("sid=ada-2"), "+sid", "migrated ada"},
		"deletes, then signs bob in":              {"POST", setCookie("sid=; Max-Age=0", "sid=bob-1"), "-sid +sid", "migrated bob"},
		"saves the session again":                 {"POST", setCookie("sid=ada-1"), "+sid +stytch_session +stytch_session_jwt -csrf", "authenticated ada"},
		"a session of a visitor":                  {"GET", setCookie("sid=visitor"), "+sid +stytch_session +stytch_session_jwt -csrf", "authenticated ada"},
		"an empty session":                        {"GET", setCookie("sid=; Path=/"), "+sid +stytch_session +stytch_session_jwt -csrf", "authenticated ada"},
		"a companion of the session":              {"GET", setCookie("csrf=2"), "+csrf +stytch_session +stytch_session_jwt -sid", "authenticated ada"},
		"deletes what it can't see":               {"GET", setCookie("sid=; Max-Age=0"), "-sid " + all, "authenticated ada"},
		"signs out the old way":                   {"POST", setCookie("sid=; Max-Age=0"), "-sid -stytch_session -stytch_session_jwt -sid -csrf", "anonymous"},
		"signs out the old way, by a date":        {"POST", setCookie("sid=; Expires=Thu, 01 Jan 1970 00:00:01 GMT"), "+sid -stytch_session -stytch_session_jwt -sid -csrf", "anonymous"},
		"signs out the old way, by nothing in it": {"POST", setCookie("sid="), "+sid -stytch_session -stytch_session_jwt -csrf", "anonymous"},
		"signs out by a visitor's session":        {"POST", setCookie("sid=visitor"), "+sid -stytch_session -stytch_session_jwt -csrf", "anonymous"},
		"sets a Stytch cookie":                    {"GET", setCookie("stytch_session=own; Secure"), "+stytch_session", ""},
		"sets a Stytch JWT":                       {"GET", setCookie("stytch_session_jwt=own; Secure"), "+stytch_session_jwt", ""},
		"deletes the Stytch cookies":              {"GET", setCookie("stytch_session=; Max-Age=0", "stytch_session_jwt=; Max-Age=0"), "-stytch_session -stytch_session_jwt", "migrated ada"},
		"a line that is no cookie":                {"GET", setCookie("\u00e9"), all, "authenticated ada"},
		"cacheable, and signs bob in": {"GET", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public")
			setCookie("sid=bob-1")(w, r)
		}, "+sid", "migrated bob"},
		"wrapped twice by mistake, as below": {"POST", nil, all, "authenticated ada"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				a.handler = row.handler
				if row.handler == nil {
					a.handler = a.m.Handler(http.NotFoundHandler()).ServeHTTP
				}
				cookies := "sid=ada-1; theme=light"
				got := a.get(cookies, method(row.method))
				if !strings.Contains(name, "no cookie") {
					obeys(t, "app.example.com", got.Result().Header)
				}
				assert.Equal(t, row.want, strings.Join(got.cookies(), " "))
				assert.Equal(t, "migrated ada", got.saw)
				if row.next != "" {
					a.handler = nil
					assert.Equal(t, row.next, a.ask(t, got.jar(cookies)).saw)
				}
			}, oldCookie(func(l *stytchmigrate.LegacyCookie) { l.Also = []string{"csrf"} }))
		})
	}
}

// The old logout handler, unchanged, is in a form from before the switch.
func TestOldLogoutOfASessionThatMovesInThatRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.handler = setCookie("sid=; Max-Age=0")
		a.ask(t, "sid=ada-1", method(http.MethodPost))
		synctest.Wait()
		assert.False(t, a.stytch.Sessions()[0].Live, "revoked")
		a.handler = nil
		assert.Equal(t, "refused"+keep+"-", a.ask(t, "sid=ada-1").String(), "ended")
	})
}

// Whether a session is in what the handler set may be more than Resolve can tell.
func TestHandlerSetsACookieThatCannotBeJudged(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = func(v string) (stytchmigrate.LegacySession, error) {
			if v == "ada-1" {
				return legacySession("ada", v), nil
			}
			return stytchmigrate.LegacySession{}, assert.AnError
		}
		a.handler = setCookie("sid=bob-1")
		assert.Equal(t, "migrated ada | +sid | no-store | migrate", a.ask(t, "sid=ada-1").String())
	})
}

// A form that was loaded before the switch carries a token of the old session.
func TestFormAcrossTheSwitch(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.handler = func(w http.ResponseWriter, r *http.Request) {
			c, err := r.Cookie("sid")
			if err != nil || r.FormValue("token") != "of "+c.Value {
				http.Error(w, "forged", http.StatusForbidden)
			}
		}
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/", strings.NewReader("token=of+ada-1"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", "sid=ada-1")
		got := a.do(r)
		assert.Equal(t, swapped, got.String(), "a client that only posts is swapped too")
		assert.Equal(t, http.StatusOK, got.Code)
	})
}

// The user logs out in another tab while the handler takes its time. That tab's
// response cleared the cookies; what came into the browser since then is newer.
func TestLogoutWhileTheHandlerRuns(t *testing.T) {
	for name, before := range map[string]string{"of a session that moves": "sid=ada-1", "of a session that is refreshed": ""} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies := before
				if cookies == "" {
					cookies, _ = a.signedIn(a.ada)
					time.Sleep(10 * time.Minute)
				}
				a.handler = func(http.ResponseWriter, *http.Request) {
					r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
					r.Header.Set("Cookie", cookies)
					require.NoError(t, a.m.Logout(httptest.NewRecorder(), r))
				}
				got := a.ask(t, cookies)
				assert.Empty(t, got.cookies())
				assert.False(t, a.stytch.Sessions()[0].Live)
			})
		})
	}
}

// Flushing is done by another goroutine than writing, as ReverseProxy does;
// net/http wants the two apart, and here too only one of them writes cookies.
func TestFlushFromAnotherGoroutine(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		a := newApp(t, stytchtest.Config{InProcess: true})
		s := a.site(t, http2, backend(t))
		for range 5 {
			got, _ := fetchPage(t, s, http.MethodGet)
			require.NotNil(t, got)
			assert.Equal(t, "+stytch_session +stytch_session_jwt -sid", names(got.Header))
		}
	}
}
