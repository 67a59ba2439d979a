package stories_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

const (
	leftAlone   = apptest.Legacy
	retiredNow  = "anonymous | -sid | no-store | -"
	signInByOld = "anonymous | +sid | - | -"
)

func retiredStage(c *stytchmigrate.Config) { c.Rollout.Stage = stytchmigrate.StageRetired }

// oldLogin is a handler of the old login form: it sets a session in the cookie sid.
func oldLogin(value string) http.HandlerFunc { return apptest.SetCookie("sid=" + value + "; Path=/") }

func events(a *apptest.App, kind string) (n int) {
	for _, e := range a.SettledEvents() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// The old login form is still there when StageRetired comes. The first response that
// signs somebody in is heard: the next request is served by the old code, and so are all
// until a day has passed without one.
func TestRetiredWhileTheOldLoginIsThere(t *testing.T) {
	for name, row := range map[string]struct {
		method string
		before func(a *apptest.App, t *testing.T) string // cookies beside
		login  string
	}{
		"a form":                     {http.MethodPost, nil, signInByOld},
		"a callback":                 {http.MethodGet, nil, signInByOld},
		"beside a Stytch session":    {http.MethodPost, func(a *apptest.App, t *testing.T) string { return a.Get("sid=bob-1").Jar("") }, ""},
		"beside a visitor's cookie":  {http.MethodPost, func(*apptest.App, *testing.T) string { return "sid=visitor" }, signInByOld},
		"beside another old session": {http.MethodPost, func(*apptest.App, *testing.T) string { return "sid=bob-1" }, "anonymous | +sid | no-store | -"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var cookies string
				if row.before != nil {
					cookies = row.before(a, t)
				}
				a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired})
				a.Handler = oldLogin("ada-1")
				got := a.Get(cookies, apptest.Method(row.method))
				if row.login != "" {
					assert.Equal(t, row.login, got.Settled())
				}
				a.Handler = nil
				assert.Contains(t, a.Middleware.Explain(pageWith("sid=ada-1")), "outcome: legacy, cause still_set")
				assert.Equal(t, leftAlone, a.Get("sid=ada-1").Settled())
				assert.Equal(t, "sid=ada-1", a.CookiesSeen[len(a.CookiesSeen)-1])
				assert.Equal(t, stytchmigrate.Secret("ada-1"), a.LegacySeen.ID)
				assert.Equal(t, "still_set", a.Requests[len(a.Requests)-1].Cause)
				assert.Equal(t, leftAlone, a.Get("sid=bob-7", apptest.Method(http.MethodPost)).Settled(), "another one's")
				assert.Equal(t, 1, events(a, "still_set"))
				assert.Equal(t, 1, strings.Count(a.Log.String(), `"level":"ERROR"`))

				time.Sleep(24*time.Hour - time.Second)
				assert.Equal(t, leftAlone, a.Get("sid=ada-1").Settled())
				assert.Equal(t, 2, events(a, "still_set"), "it still is")
				time.Sleep(time.Second)
				assert.Equal(t, retiredNow, a.Get("sid=ada-1").Settled())
			})
		})
	}
}

// A handler that saves the old session again is the old code, too. It was heard before
// StageRetired came.
func TestRetiredWhileTheOldSessionIsSavedAgain(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep})
		a.Handler = oldLogin("ada-1")
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(time.Hour)
		a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired})
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt +sid | no-store | authenticate", sorted(a.Get(cookies).Settled()))
		a.Handler = nil
		assert.Equal(t, leftAlone, a.Get("sid=bob-1").Settled())
	})
}

// sorted is a row with the handler's cookie last.
func sorted(row string) string {
	return strings.Replace(row, "+sid +stytch_session +stytch_session_jwt", "+stytch_session +stytch_session_jwt +sid", 1)
}

// Each row is a session that started on another machine, which this one did not hear of.
func TestRetiredWhileAnotherMachineSignsIn(t *testing.T) {
	for started, want := range map[string]string{
		"":          retiredNow, // unknown
		"-1s":       leftAlone,
		"-1m":       leftAlone,
		"-23h59m":   leftAlone,
		"-24h":      retiredNow,
		"+1m":       leftAlone, // that machine's clock is ahead
		"+24h":      retiredNow,
		"-87600h":   retiredNow,
		"+1000000h": retiredNow,
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
			stytch, _ := a.SignedIn(a.Bob)
			assert.Equal(t, want, a.Get("sid=ada"+started).Settled(), started)
			a.Stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "down"))
			a.Get(strings.Replace(stytch, "stytch_session_jwt=", "stytch_session_jwt=x", 1) + "; sid=ada" + started)
			assert.Equal(t, want == leftAlone, a.LegacySeen.ID != "", "in an outage: %s", started)
		}, retiredStage)
	}
}

// Machines that share a store tell each other, whatever is known of the start of sessions.
func TestRetiredOnSeveralMachines(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		assert.Equal(t, retiredNow, a.On(m[1]).Get("sid=bob-1").Settled(), "nothing was set")
		a.Handler = oldLogin("ada-1")
		assert.Equal(t, signInByOld, a.On(m[0]).Get("", apptest.Method(http.MethodPost)).Settled())
		a.Handler = nil
		for i := range m {
			assert.Equal(t, leftAlone, a.On(m[i]).Get("sid=ada-1").Settled(), "machine %d", i)
		}
		time.Sleep(25*time.Hour + time.Second)
		for i := range m {
			assert.Equal(t, retiredNow, a.On(m[i]).Get("sid=ada-1").Settled(), "machine %d", i)
		}
		s.Fail(apptest.StoreDown)
		assert.Equal(t, leftAlone, a.On(m[1]).Get("sid=ada-1").Settled(), "it can't be told")
		assert.Equal(t, 3, events(a, "still_set"), "once on each machine")
	}, retiredStage)
}

// Each row is a legacy cookie with the values that a browser sends. Where a value is
// nobody's session, the cookie is neither expired nor hidden, in any stage.
func TestAVisitorsCookieStays(t *testing.T) {
	const all = "observe shadow keep replace retired"
	for name, row := range map[string]struct{ stages, cookies, want string }{
		"a visitor's":                          {all, "sid=visitor", apptest.Anonymous},
		"a visitor's, beside a Stytch session": {all, "S; sid=visitor", apptest.Authenticated},
		"one of two, beside a Stytch session":  {all, "S; sid=ada-1; sid=visitor", apptest.Authenticated},
		"one of two, the other way":            {all, "S; sid=visitor; sid=ada-1", apptest.Authenticated},
		"one of two":                           {"retired", "sid=ada-1; sid=visitor", apptest.Anonymous},
		"two sessions of one person":           {"replace retired", "S; sid=ada-1; sid=ada-2", apptest.Replaced},
		"two people's":                         {"retired", "sid=ada-1; sid=bob-1", retiredNow},
		"two people's, beside":                 {"retired", "S; sid=ada-1; sid=bob-1", apptest.Replaced},
	} {
		for stage := range strings.FieldsSeq(row.stages) {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				t.Run(name+" "+stage+" "+method, func(t *testing.T) {
					apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
						stytch, _ := a.SignedIn(a.Ada)
						a.LearnSession(t, stytch)
						a.SetRollout(t, stytchmigrate.Rollout{Stage: stageOf(stage)})
						for range 2 {
							got := a.Get(strings.Replace(row.cookies, "S", stytch, 1), apptest.Method(method))
							assert.Equal(t, row.want, got.Settled())
							if row.want == apptest.Authenticated || row.want == apptest.Anonymous {
								assert.Equal(t, strings.ReplaceAll(row.cookies, "; ", " "), a.ShortenCookies(stytch, a.CookiesSeen[len(a.CookiesSeen)-1]))
							}
						}
					})
				})
			}
		}
	}
}

func stageOf(name string) stytchmigrate.Stage {
	for s := stytchmigrate.StageReplace; s <= stytchmigrate.StageRetired; s++ {
		if s.String() == name {
			return s
		}
	}
	panic(name)
}

// A visitor's cookie that a handler sets is no sign of the old login.
func TestRetiredWithVisitors(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = oldLogin("visitor")
		assert.Equal(t, signInByOld, a.Get("").Settled())
		assert.Equal(t, "anonymous | +sid | no-store | -", a.Get("sid=ada-1").Settled())
		a.Handler = apptest.LegacyLogout
		a.Get("sid=visitor")
		a.Handler = nil
		assert.Equal(t, retiredNow, a.Get("sid=ada-1").Settled())
		assert.Zero(t, events(a, "still_set"))
	}, retiredStage)
}

// Two entries read one cookie, in the formats of before and after a change. A session in
// either format is no visitor's.
func TestTwoFormatsOfOneCookie(t *testing.T) {
	for cookies, want := range map[string]string{
		"sid=ada-1":                            "-sid",
		"sid=v2.ada-1":                         "-sid",
		"sid=v2.ada-1; sid=ada-1":              "-sid",
		"sid=ada-1; sid=v2.ada-1":              "-sid",
		"sid=ada-1; sid=v2.ada-1; sid=visitor": "",
	} {
		for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageReplace, stytchmigrate.StageRetired} {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, stytch)
				assert.Equal(t, want, strings.Join(a.Get(stytch+"; "+cookies).Cookies(), " "), "%s: %s", stage, cookies)
			}, apptest.Stage(stage), func(c *stytchmigrate.Config) {
				old := c.Legacy[0]
				c.Legacy = append(c.Legacy, stytchmigrate.LegacyCookie{Name: "sid", Resolve: func(r *http.Request, v string) (stytchmigrate.LegacySession, error) {
					v, found := strings.CutPrefix(v, "v2.")
					if !found {
						return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
					}
					return old.Resolve(r, v)
				}})
			})
		}
	}
}

// Of two people's sessions the one that is held back stays.
func TestRetiredBesideOneThatIsHeldBack(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		isHeld := func(sid string) bool { return a.Get(sid).Saw == "legacy" }
		rollout := stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired}
		for isHeld("sid=ada-1") == isHeld("sid=bob-1") {
			rollout.HoldBack++
			a.SetRollout(t, rollout)
		}
		stays, goes := "ada-1", "bob-1"
		if isHeld("sid=bob-1") {
			stays, goes = goes, stays
		}
		assert.Equal(t, "anonymous | -sid | no-store | -", a.Get("sid="+goes+"; older="+stays).Settled())
		assert.Equal(t, "older="+stays, a.CookiesSeen[len(a.CookiesSeen)-1])
		assert.Equal(t, apptest.Legacy, a.Get("sid="+stays+"; older="+goes).Settled())
	}, retiredStage, func(c *stytchmigrate.Config) {
		c.Legacy = append(c.Legacy, stytchmigrate.LegacyCookie{Name: "older", Resolve: c.Legacy[0].Resolve})
	})
}
