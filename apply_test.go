package stytchmigrate_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
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

// Each row is a request with ada's legacy session whose handler sets cookies of its
// own, the Set-Cookie lines of the response, and whose the next page is. The request
// moves ada in StageReplace, or brings her Stytch session beside the old cookie. The
// other cases are in internal/cookies.
func TestWhatTheHandlerDoesWins(t *testing.T) {
	const first, second, moves, goes = false, true, "+stytch_session +stytch_session_jwt", "-sid -csrf"
	const logout = "-stytch_session -stytch_session_jwt -sid -csrf"
	for name, row := range map[string]struct {
		both    bool
		method  string
		handler http.HandlerFunc
		want    string
		next    string
	}{
		"nothing":                              {first, "POST", apptest.SetCookie(), moves, "authenticated ada"},
		"signs bob in":                         {first, "POST", apptest.SetCookie("sid=bob-1"), "+sid", "migrated bob"},
		"signs bob in, by GET":                 {first, "GET", apptest.SetCookie("sid=bob-1"), "+sid", "migrated bob"},
		"signs ada in again":                   {first, "POST", apptest.SetCookie("sid=ada-2"), "+sid " + moves, "authenticated ada"},
		"saves the session again":              {first, "POST", apptest.SetCookie("sid=ada-1"), "+sid " + moves, "authenticated ada"},
		"a companion of the session":           {first, "GET", apptest.SetCookie("csrf=2"), "+csrf " + moves, "authenticated ada"},
		"signs out the old way":                {first, "POST", apptest.SetCookie("sid=; Max-Age=0"), "-sid " + logout, "anonymous"},
		"signs out the old way, by GET":        {first, "GET", apptest.SetCookie("sid=; Max-Age=0"), "-sid " + logout, "anonymous"},
		"signs out by a visitor's session":     {first, "POST", apptest.SetCookie("sid=visitor"), "+sid -stytch_session -stytch_session_jwt -csrf", "anonymous"},
		"signs out by a visitor's, by GET":     {first, "GET", apptest.SetCookie("sid=visitor"), "+sid -stytch_session -stytch_session_jwt -csrf", "anonymous"},
		"sets a Stytch cookie":                 {first, "GET", apptest.SetCookie("stytch_session=own; Secure"), "+stytch_session", ""},
		"deletes the Stytch cookies":           {first, "GET", apptest.SetCookie("stytch_session=; Max-Age=0", "stytch_session_jwt=; Max-Age=0"), "-stytch_session -stytch_session_jwt", "migrated ada"},
		"wrapped twice by mistake, as below":   {first, "POST", nil, moves, "authenticated ada"},
		"both, nothing":                        {second, "POST", apptest.SetCookie(), goes, "authenticated ada"},
		"both, signs bob in":                   {second, "POST", apptest.SetCookie("sid=bob-1"), "+sid", ""},
		"both, signs ada in again":             {second, "POST", apptest.SetCookie("sid=ada-2"), "+sid", "authenticated ada"},
		"both, saves the session again":        {second, "POST", apptest.SetCookie("sid=ada-1"), "+sid -csrf", "authenticated ada"},
		"both, a session of a visitor":         {second, "GET", apptest.SetCookie("sid=visitor"), "+sid -csrf", "authenticated ada"},
		"both, a companion of the session":     {second, "GET", apptest.SetCookie("csrf=2"), "+csrf -sid", "authenticated ada"},
		"both, deletes what it can't see":      {second, "GET", apptest.SetCookie("sid=; Max-Age=0"), "-sid " + goes, "authenticated ada"},
		"both, signs out the old way":          {second, "POST", apptest.SetCookie("sid=; Max-Age=0"), "-sid " + logout, "anonymous"},
		"both, signs out by a visitor's":       {second, "POST", apptest.SetCookie("sid=visitor"), "+sid -stytch_session -stytch_session_jwt -csrf", "anonymous"},
		"both, signs out where none may write": {second, "IMAGE", apptest.SetCookie("sid=; Max-Age=0"), "-sid " + logout, "anonymous"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, saw, change := "sid=ada-1; theme=light", "migrated ada", apptest.Method(row.method)
				if row.both {
					cookies, saw = a.GetChecked(t, cookies).Jar(cookies), "authenticated ada"
				}
				if row.method == "IMAGE" {
					change = apptest.FetchMetadata("same-origin no-cors image")
				}
				a.Handler = row.handler
				if row.handler == nil {
					a.Handler = a.Middleware.Handler(http.NotFoundHandler()).ServeHTTP
				}
				got := a.GetChecked(t, cookies, change)
				assert.Equal(t, row.want, strings.Join(got.Cookies(), " "))
				assert.Equal(t, saw, got.Saw)
				if row.next != "" {
					a.Handler = nil
					assert.Equal(t, row.next, a.GetChecked(t, got.Jar(cookies)).Saw)
				}
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) { l.Also = []string{"csrf"} }))
		})
	}
}

// Each row is the first requests of a browser in StageReplace, by method, and the cookies
// of each that the handler sees: S for the Stytch cookies. The old cookie goes in the
// first response to a request that brings the Stytch cookies.
func TestReplacementTakesTwoResponses(t *testing.T) {
	const refreshed = "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate"
	for name, row := range map[string]struct {
		methods string
		pause   time.Duration // between two requests
		drop    string        // a cookie that the browser does not keep
		want    []string
		seen    string
	}{
		"pages":                       {"GET GET GET", 0, "", []string{apptest.Moved, apptest.Replaced, apptest.Authenticated}, "sid=ada-1 S|S|S"},
		"forms":                       {"POST POST POST", 0, "", []string{apptest.Moved, apptest.Replaced, apptest.Authenticated}, "sid=ada-1 S|sid=ada-1 S|S"},
		"HEAD":                        {"HEAD HEAD HEAD", 0, "", []string{apptest.Moved, apptest.Replaced, apptest.Authenticated}, "sid=ada-1 S|S|S"},
		"six minutes later":           {"GET GET GET", 6 * time.Minute, "", []string{apptest.Moved, refreshed, apptest.Refreshed}, "sid=ada-1 S|N|N"},
		"the JWT is not kept":         {"GET GET", 0, "stytch_session_jwt", []string{apptest.Moved, apptest.Replaced}, "sid=ada-1 S|stytch_session=T"},
		"the token is not kept":       {"GET GET", 0, "stytch_session", []string{apptest.Moved, apptest.Replaced}, "sid=ada-1 S|stytch_session_jwt=J"},
		"no Stytch cookie is kept":    {"GET POST GET", 0, "stytch_session stytch_session_jwt", []string{apptest.Moved, apptest.MovedAfter + "-", apptest.MovedAfter + "-"}, "sid=ada-1 S|sid=ada-1 S|sid=ada-1 S"},
		"the same, six minutes apart": {"GET GET", 6 * time.Minute, "stytch_session stytch_session_jwt", []string{apptest.Moved, apptest.MovedAfter + "authenticate"}, "sid=ada-1 S|sid=ada-1 N"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, seen := "sid=ada-1", []string(nil)
				var s stytchtest.Session
				for i, method := range strings.Fields(row.methods) {
					got := a.GetChecked(t, cookies, apptest.Method(method))
					assert.Equal(t, row.want[i], got.String())
					if i == 0 {
						s = a.Stytch.Sessions()[0]
					}
					short := a.ShortenCookies("stytch_session="+s.Token+"; stytch_session_jwt="+s.JWT, a.CookiesSeen[i])
					seen = append(seen, strings.NewReplacer(s.Token, "T", s.JWT, "J").Replace(short))
					cookies = withoutCookies(got.Jar(cookies), row.drop)
					time.Sleep(row.pause)
				}
				assert.Equal(t, row.seen, strings.Join(seen, "|"))
			})
		})
	}
}

// withoutCookies returns a Cookie header without the cookies of some names.
func withoutCookies(header, names string) string {
	var kept []string
	for pair := range strings.SplitSeq(header, "; ") {
		if name, _, _ := strings.Cut(pair, "="); !slices.Contains(strings.Fields(names), name) {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "; ")
}

// Bob signs in later by the old login, at a browser with ada's Stytch cookies. His old
// cookie stays until the browser has brought his Stytch cookies.
func TestReplacementOfALaterSignIn(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		adas, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, adas)
		first := a.GetChecked(t, adas+"; sid=bob+1h")
		assert.Equal(t, bobWins, first.Settled())
		again := a.GetChecked(t, adas+"; sid=bob+1h")
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt | no-store | -", again.Settled(), "his cookies were lost on their way")
		cookies := again.Jar(adas + "; sid=bob+1h")
		assert.Equal(t, "authenticated bob | -sid | no-store | -", a.GetChecked(t, cookies).String())
	})
}

// Each row is the requests of a browser that keeps no Stytch cookie, in order, and how often
// event not_kept comes: "page", "form", "fetch" and "image" bring the old cookie alone,
// "kept" brings both, "other" is another browser, and a duration passes.
func TestBrowserThatKeepsNoStytchCookies(t *testing.T) {
	for name, row := range map[string]struct {
		requests string
		events   int
	}{
		"the page that moves it, and two":      {"page page page", 0},
		"the page that moves it, and three":    {"page page page page", 1},
		"it is said once of a session":         {"page page page page page page page page", 1},
		"pages and forms, on several days":     {"page 24h form 24h page 24h form", 1},
		"images count for nothing":             {"page page page image image image image", 0},
		"nor does what a page fetches":         {"page page fetch fetch fetch fetch", 0},
		"an application that fetches, in time": {"page fetch 2s fetch 2s fetch", 1},
		"the cookies came back":                {"page page page kept page page", 0},
		"each of two browsers":                 {"page other page other page other page other", 2},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				last := ""
				for step := range strings.FieldsSeq(row.requests) {
					pause, err := time.ParseDuration(step)
					switch {
					case err == nil:
						time.Sleep(pause)
					case step == "kept":
						a.Get(last)
					case step == "other":
						a.Get("sid=ada-2")
					default:
						got := a.Get("sid=ada-1", map[string]func(*http.Request){
							"page": apptest.FetchMetadata("none navigate document"), "form": apptest.Method(http.MethodPost),
							"fetch": apptest.FetchMetadata("same-origin cors empty"), "image": apptest.FetchMetadata("same-origin no-cors image"),
						}[step])
						assert.Equal(t, "migrated ada", got.Saw)
						last = got.Jar("sid=ada-1")
					}
				}
				for _, e := range a.Events {
					assert.Equal(t, []string{"not_kept", "migrated", a.Ada.ID}, []string{e.Kind, e.Outcome.String(), e.UserID})
					assert.NotEmpty(t, e.Fingerprint)
				}
				assert.Len(t, a.Events, row.events)
				assert.Equal(t, min(row.events, 1), strings.Count(a.Log.String(), `"setting":"Config.Cookies"`), "one line in a process")
			})
		})
	}
}

// What the handler made of the response counts: where the Stytch cookies are not in it, no
// browser could keep them.
func TestPageWithoutTheStytchCookiesIsNotCounted(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		a.Handler = apptest.SetCookie("stytch_session_jwt=own; Secure")
		for range 5 {
			assert.Equal(t, "migrated ada | +stytch_session_jwt | no-store | -", a.Get("sid=ada-1").String())
		}
		assert.Empty(t, a.Events)
	})
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

// A form that was loaded before the switch carries a token of the old session, and so
// does one of the page that moved the user. The page and both posts see the old cookie.
func TestFormAcrossTheSwitch(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			c, err := r.Cookie("sid")
			if err != nil || r.Method == http.MethodPost && r.FormValue("token") != "of "+c.Value {
				http.Error(w, "forged", http.StatusForbidden)
			}
		}
		post := func(cookies string) *apptest.Reply {
			r := httptest.NewRequest(http.MethodPost, "https://app.example.com/", strings.NewReader("token=of+ada-1"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Cookie", cookies)
			return a.Do(r)
		}
		page := a.Get("sid=ada-1")
		assert.Equal(t, apptest.Moved, page.String())
		assert.Equal(t, http.StatusOK, page.Code)

		got := post("sid=ada-1")
		assert.Equal(t, apptest.MovedAfter+"-", got.String(), "a client that only posts moves too")
		assert.Equal(t, http.StatusOK, got.Code)

		got = post(page.Jar("sid=ada-1"))
		assert.Equal(t, apptest.Replaced, got.String())
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
