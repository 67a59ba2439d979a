package stytchmigrate_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const (
	leftBoth  = "migrated ada | -sid -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"
	goneOfBob = " | -sid -stytch_session -stytch_session_jwt -sid | no-store | "
	leftLater = "authenticated ada | -sid -stytch_session -stytch_session_jwt -sid | no-store | revoke"
)

// An old logout ends the Stytch session too if the legacy session is held back by now.
func TestOldLogoutOfAHeldBackSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("sid=ada-1", apptest.Method(http.MethodPost))
		both := first.Jar("sid=ada-1") + "; sid=ada-1"
		a.SetRollout(t, stytchmigrate.Rollout{HoldBack: 100})
		a.Handler = apptest.LegacyLogout
		assert.Equal(t, leftLater, a.Get(both).Settled())
	})
}

// Browser and handler have both cookies, and each request has the same outcome.
func TestKeepLeavesBothCookies(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("theme=dark; sid=ada-1")
		assert.Equal(t, apptest.Moved, first.String())
		both := first.Jar("theme=dark; sid=ada-1")
		assert.Contains(t, both, "sid=ada-1")
		assert.Equal(t, both, a.CookiesSeen[0], "the handler sees what the browser will send")
		for _, name := range []string{http.MethodGet, http.MethodPost} {
			assert.Equal(t, apptest.Authenticated, a.Get(both, apptest.Method(name)).String())
		}
		assert.Equal(t, both, a.CookiesSeen[2])

		time.Sleep(6 * time.Minute)
		refreshed := a.Get(both)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", refreshed.String())
		both = refreshed.Jar(both)
		a.SetRollout(t, stytchmigrate.Rollout{})
		assert.Equal(t, apptest.Replaced, a.Get(both).String(), "StageReplace expires the old cookie")
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// Each row is a native Stytch session of ada, beside a legacy cookie.
func TestKeepTwoSessions(t *testing.T) {
	for name, row := range map[string]struct{ sid, want, passedOn string }{
		"the same person":              {"ada", apptest.Authenticated, "S sid=ada"},
		"the same person, later":       {"ada+1h", apptest.Authenticated, "S sid=ada+1h"},
		"no session":                   {"nobody", apptest.Authenticated, "S sid=nobody"},
		"another person, later":        {"bob+1h", bobWins, "sid=bob+1h N"},
		"another person, earlier":      {"bob-1h", apptest.Replaced, "S"},
		"another person, unknown when": {"bob", neither, ""},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
				a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
				assert.Equal(t, row.want, a.Get(cookies+"; sid="+row.sid).Settled())
				assert.Equal(t, row.passedOn, a.ShortenCookies(cookies, a.CookiesSeen[1]))
			}, apptest.Stage(stytchmigrate.StageKeep))
		})
	}
}

// Where no cookie may change, the handler sees the cookies that the browser has.
func TestKeepWhereNoCookiesMayChange(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, "migrated ada"+apptest.CookiesUntouched+"migrate", a.Get("sid=ada-1", apptest.FetchMetadata("same-origin no-cors image")).String())
		assert.Equal(t, "sid=ada-1", a.CookiesSeen[0])
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// A Stytch session that ran out was not logged out. The legacy session moves again.
func TestKeepMovesAgainAfterTheStytchSessionRanOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | authenticate migrate", a.Get("sid=ada-1").String())
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | authenticate authenticate migrate", a.Get(cookies).String())
		assert.Len(t, a.Stytch.Sessions(), 3)
	}, apptest.Stage(stytchmigrate.StageKeep), func(c *stytchmigrate.Config) { c.SessionDuration = time.Hour })
}

// Each row is what the old code does with its cookie in the last of some requests,
// and whether the user is signed in afterwards.
func TestOldLogoutEndsBothSessions(t *testing.T) {
	set := func(value string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: value, Path: "/"})
		}
	}
	both := func(f ...http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for _, f := range f {
				f(w, r)
			}
		}
	}
	const alive, saved = true, "authenticated ada | +sid | no-store | -"
	for name, row := range map[string]struct {
		handler http.HandlerFunc
		visits  int
		change  func(*http.Request)
		want    string
		alive   bool
	}{
		"in the first request":             {apptest.LegacyLogout, 1, apptest.Method("GET"), leftBoth, !alive},
		"in the first, by POST":            {apptest.LegacyLogout, 1, apptest.Method("POST"), leftBoth, !alive},
		"in the first, by another site":    {apptest.LegacyLogout, 1, apptest.FetchMetadata("cross-site no-cors image"), leftBoth, !alive},
		"later":                            {apptest.LegacyLogout, 2, apptest.Method("GET"), leftLater, !alive},
		"later, by POST":                   {apptest.LegacyLogout, 2, apptest.Method("POST"), leftLater, !alive},
		"later, by an image":               {apptest.LegacyLogout, 2, apptest.FetchMetadata("same-origin no-cors image"), leftLater, !alive},
		"emptied":                          {set(""), 2, apptest.Method("GET"), "authenticated ada | +sid -stytch_session -stytch_session_jwt | no-store | revoke", !alive},
		"emptied, then saved":              {both(set(""), set("ada-1")), 2, apptest.Method("GET"), "authenticated ada | +sid +sid | no-store | -", alive},
		"a visitor's in its place":         {set("visitor"), 2, apptest.Method("GET"), "authenticated ada | +sid -stytch_session -stytch_session_jwt | no-store | revoke", !alive},
		"a visitor's, at first, by POST":   {both(apptest.LegacyLogout, set("visitor")), 1, apptest.Method("POST"), "migrated ada | -sid +sid -stytch_session -stytch_session_jwt | no-store | migrate revoke", !alive},
		"a visitor's before":               {both(set("visitor"), set("ada-1")), 2, apptest.Method("GET"), "authenticated ada | +sid +sid | no-store | -", alive},
		"saved in another scope before":    {both(apptest.SetCookie("sid=ada-1; Domain=example.com; Path=/"), apptest.LegacyLogout), 2, apptest.Method("GET"), "authenticated ada | +sid -sid | no-store | -", alive},
		"saved, and cleared elsewhere":     {both(set("ada-2"), apptest.SetCookie("sid=; Path=/app; Max-Age=0")), 2, apptest.Method("GET"), "authenticated ada | +sid -sid | no-store | -", alive},
		"cleared in every scope":           {both(apptest.LegacyLogout, apptest.SetCookie("sid=; Domain=example.com; Max-Age=0")), 2, apptest.Method("GET"), "authenticated ada | -sid -sid -stytch_session -stytch_session_jwt -sid | no-store | revoke", !alive},
		"saved before":                     {both(set("ada-1"), apptest.LegacyLogout), 2, apptest.Method("GET"), "authenticated ada | +sid -sid -stytch_session -stytch_session_jwt | no-store | revoke", !alive},
		"saved after":                      {both(apptest.LegacyLogout, set("ada-1")), 2, apptest.Method("GET"), "authenticated ada | -sid +sid | no-store | -", alive},
		"saved":                            {set("ada-1"), 2, apptest.Method("GET"), saved, alive},
		"saved under another id":           {set("ada-2"), 2, apptest.Method("GET"), saved, alive},
		"saved under another id, at first": {set("ada-2"), 1, apptest.Method("GET"), "migrated ada | +sid +stytch_session +stytch_session_jwt | no-store | migrate", alive},
		"another signs in, at first":       {set("bob-1"), 1, apptest.Method("GET"), "migrated ada | +sid | no-store | migrate", alive},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := "sid=ada-1"
				for range row.visits - 1 {
					cookies = a.Get(cookies).Jar(cookies)
				}
				a.Handler = row.handler
				assert.Equal(t, row.want, a.Get(cookies, row.change).Settled())
				a.Handler = nil
				assert.Equal(t, row.alive, a.Stytch.Sessions()[0].Live)
				if !row.alive {
					assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String(), "ended")
					assert.NotContains(t, a.Get(cookies).Saw, "ada")
				}
			}, apptest.Stage(stytchmigrate.StageKeep))
		})
	}
}

// Each row is a date in the past as old servers write it and browsers read it (RFC
// 6265 section 5.1.1). The cookie has a value, and the date expires it.
func TestOldLogoutByADateInAnOldForm(t *testing.T) {
	for date, want := range map[string]string{
		"Thu, 01-Jan-70 00:00:10 GMT":      leftLater,
		"Thursday, 01-Jan-70 00:00:10 GMT": leftLater,
		"Thu Jan  1 00:00:10 1970":         leftLater,
		"Thu, 1 Jan 1970 00:00:10 GMT":     leftLater,
		"Thu, 01-Jan-60 00:00:10 GMT":      "authenticated ada | +sid | no-store | -", // 2060
		"0":                                "authenticated ada | +sid | no-store | -", // no date
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
			a.Handler = apptest.SetCookie("sid=ada-1; Path=/; Expires=" + date)
			want := strings.Replace(want, "-sid -stytch", "+sid -stytch", 1) // net/http takes it for a cookie that is set
			assert.Equal(t, want, a.Get(cookies).Settled(), date)
		}, apptest.Stage(stytchmigrate.StageKeep))
	}
}

// Each row is a cookie that the handler sets: a visitor's under another name, or the
// session in the format of another entry of Config.Legacy. None is a logout.
func TestOtherCookieIsNoLogout(t *testing.T) {
	for line, want := range map[string]string{
		"older=visitor": "migrated ada | +older +stytch_session +stytch_session_jwt | no-store | migrate",
		"sid=ada-2":     "migrated ada | +sid +stytch_session +stytch_session_jwt | no-store | migrate",
		"older=bob-1":   "migrated ada | +older | no-store | migrate",
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Handler = apptest.SetCookie(line)
			assert.Equal(t, want, a.Get("sid=ada-1").Settled())
		}, apptest.Stage(stytchmigrate.StageKeep), olderCookie, func(c *stytchmigrate.Config) {
			nobody := func(*http.Request, string) (stytchmigrate.LegacySession, error) {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			c.Legacy = append([]stytchmigrate.LegacyCookie{{Name: "sid", Resolve: nobody}}, c.Legacy...)
		})
	}
}

// The old code gives its cookie another name, and saves the session under that. This
// is no logout. Expiring every name is one, whatever was saved before.
func TestRenamedLegacyCookieIsNoLogout(t *testing.T) {
	const gone = "sid=; Path=/; Max-Age=0"
	renamed, left := apptest.SetCookie(gone, "older=ada-1; Path=/"), apptest.SetCookie("older=ada-1; Path=/", gone, "older=; Path=/; Max-Age=0")
	down := func(a *apptest.App) { a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down")) }
	for name, row := range map[string]struct {
		script  func(a *apptest.App)
		stage   stytchmigrate.Stage
		handler http.HandlerFunc
		want    string
	}{
		"as it moves":            {nil, stytchmigrate.StageKeep, renamed, "migrated ada | -sid +older +stytch_session +stytch_session_jwt | no-store | migrate"},
		"as it moves, in POST":   {nil, stytchmigrate.StageReplace, renamed, "migrated ada | -sid +older +stytch_session +stytch_session_jwt | no-store | migrate"},
		"in an outage":           {down, stytchmigrate.StageReplace, renamed, "unavailable | -sid +older | no-store | migrate migrate"},
		"a logout in an outage":  {down, stytchmigrate.StageReplace, left, "unavailable | +older -sid -older -stytch_session -stytch_session_jwt -sid | no-store | migrate migrate"},
		"a logout, as it moves":  {nil, stytchmigrate.StageKeep, left, "migrated ada | +older -sid -older -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"},
		"a visitor's, under one": {nil, stytchmigrate.StageKeep, apptest.SetCookie(gone, "older=visitor; Path=/"), "migrated ada | -sid +older -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				if row.script != nil {
					row.script(a)
				}
				a.Handler = row.handler
				assert.Equal(t, row.want, a.Get("sid=ada-1", apptest.Method(http.MethodPost)).Settled())
			}, apptest.Stage(row.stage), olderCookie)
		})
	}
}

// The old code expires a cookie that holds no session. That logs no user out.
func TestExpiringACookieWithoutASessionIsNoLogout(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("")
		a.Handler = apptest.LegacyLogout
		assert.Equal(t, "authenticated ada | -sid | - | -", a.Get(cookies+"; sid=nobody").Settled())
		assert.True(t, a.Stytch.Sessions()[0].Live)
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// The Stytch session came from a sign-in before the last one. A logout ends both.
func TestOldLogoutOfALaterSignIn(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := strings.Replace(a.Get("sid=ada-1").Jar("sid=ada-1"), "ada-1", "ada-2", 1)
		a.Handler = apptest.LegacyLogout
		assert.Equal(t, leftLater, a.Get(cookies).Settled())
		a.Handler = nil
		for _, sid := range []string{"sid=ada-1", "sid=ada-2"} {
			assert.Equal(t, apptest.RefusedUntouched+"-", a.Get(sid).String())
		}
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// Bob signs in later, at the browser that has ada's Stytch cookies. The old code serves
// him, and logs him out. Ada's cookies must not sign her in for the next person there.
func TestOldLogoutBesideAnotherPersonsStytchSession(t *testing.T) {
	for name, row := range map[string]struct {
		rollout stytchmigrate.Rollout
		knows   bool // Stytch knows bob
		want    string
	}{
		"held back": {stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 100}, true, "legacy" + goneOfBob + "revoke"},
		"observed":  {stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}, true, "legacy" + goneOfBob + "revoke"},
		"refused":   {stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, false, "refused" + goneOfBob + "migrate revoke"},
		"replaced":  {stytchmigrate.Rollout{}, false, "refused" + goneOfBob + "migrate revoke"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
				cookies, s := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
				if !row.knows {
					a.Stytch.RemoveUser(a.Bob.ID)
				}
				a.SetRollout(t, row.rollout)
				a.Handler = apptest.LegacyLogout
				assert.Equal(t, row.want, a.Get(cookies+"; sid=bob+1h").Settled())
				a.Handler = nil
				ended, _ := a.Stytch.Session(s.ID)
				assert.False(t, ended.Live)
				assert.Equal(t, apptest.SignedOutAfter+"-", a.Get(cookies).String(), "nor by a copy")
				assert.Equal(t, apptest.Refused, a.Get("sid=bob+1h").String())
			})
		})
	}
}

// A proxy to the old code gives up in the middle of the logout's answer.
func TestOldLogoutThatPanicsOnceItHasAnswered(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			apptest.LegacyLogout(w, r)
			w.WriteHeader(http.StatusOK)
			panic(http.ErrAbortHandler)
		}
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() { a.Get("sid=ada-1") })
		synctest.Wait()
		a.Handler = nil
		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
		assert.False(t, a.Stytch.Sessions()[0].Live)
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// A handler that panics before it has answered logs no user out.
func TestOldLogoutThatPanicsBeforeItAnswers(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			apptest.LegacyLogout(w, r)
			panic(http.ErrAbortHandler)
		}
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() { a.Get("sid=ada-1") })
		a.Handler = nil
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | -", a.Get("sid=ada-1").Settled())
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// Without Identity the legacy session is taken for the user's own wherever both cookies
// stay. Only where the old cookie would be replaced it is not.
func TestOldLogoutWithoutIdentity(t *testing.T) {
	type rollout = stytchmigrate.Rollout
	for _, row := range []struct {
		rollout rollout
		want    string
	}{
		{rollout{Stage: stytchmigrate.StageKeep}, leftLater},
		{rollout{Stage: stytchmigrate.StageKeep, HoldBack: 100}, leftLater},
		{rollout{Stage: stytchmigrate.StageObserve}, leftLater},
		{rollout{Stage: stytchmigrate.StageShadow}, leftLater},
		{rollout{Stage: stytchmigrate.StageRetired, HoldBack: 100}, leftLater},
		{rollout{HoldBack: 100}, leftLater},
		{rollout{Until: time.Unix(1, 0)}, leftLater},
		{rollout{}, "authenticated ada | -sid | - | -"},
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Resolve = apptest.ResolveWithStart(time.Now(), setIdentity(userinfo.Identity{}))
			cookies := a.Get("sid=ada").Jar("")
			a.SetRollout(t, row.rollout)
			a.Handler = apptest.LegacyLogout
			assert.Equal(t, row.want, a.Get(cookies+"; sid=ada+1h").Settled(), row.rollout)
		}, apptest.Stage(stytchmigrate.StageKeep))
	}
}

// In StageReplace it is not, even if the response writes the Stytch cookies again.
func TestOldLogoutWithoutIdentityBesideARefresh(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), setIdentity(userinfo.Identity{}))
		cookies, s := a.Expired(a.Ada, "both")
		a.Handler = apptest.LegacyLogout
		got := a.Get(cookies+"; sid=ada", apptest.Method(http.MethodPost))
		assert.Equal(t, "authenticated ada | -sid +stytch_session +stytch_session_jwt | no-store | authenticate", got.Settled())
		assert.Equal(t, "authenticated ada", a.Get("stytch_session="+s.Token).Saw)
	})
}
