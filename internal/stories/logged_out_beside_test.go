package stories_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
)

// Bob's legacy session was logged out, and its cookie is beside Ada's live Stytch session.
// She stays signed in, on all machines. Each row is when his session began. "+0h" is later
// than hers.
func TestLoggedOutSessionBesideAnotherUsers(t *testing.T) {
	for _, sid := range []string{"sid=bob-1", "sid=bob+0h", "sid=bob-1h"} {
		for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace, stytchmigrate.StageObserve} {
			t.Run(sid+", "+stage.String(), func(t *testing.T) {
				apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
					cookies, _ := a.SignedIn(a.Ada)
					a.On(m[0]).LearnSession(t, cookies)
					time.Sleep(2 * time.Minute)
					a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
					a.On(m[1]).LogOut(sid)
					for i := range m {
						a.On(m[i])
						assert.Contains(t, a.Get(cookies+"; "+sid).String(), "authenticated ada | -sid | no-store | ", "machine %d", i)
						assert.NotContains(t, a.CookiesSeen[len(a.CookiesSeen)-1], "sid=")
					}
				}, apptest.Stage(stage))
			})
		}
	}
}

// A page of Bob's is under way while Ada signs in by SignIn. It saves his cookie again, as
// some applications do on each response. That does not sign her out.
func TestOldCookieSavedAgainDuringASignIn(t *testing.T) {
	for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			page := slow(a, a.Middleware, http.MethodGet, "sid=bob-1", apptest.SetCookie("sid=bob-1; Path=/"))
			<-page.began
			login := signIn(t, a.Middleware, "sid=bob-1", a.Stytch.NewSession(a.Ada.ID, 0))
			jar := (&apptest.Reply{ResponseRecorder: login}).Jar("sid=bob-1")
			page.finish()
			jar = (&apptest.Reply{ResponseRecorder: page.ResponseRecorder}).Jar(jar)
			assert.Contains(t, jar, "sid=bob-1")
			assert.Equal(t, "authenticated ada | -sid | no-store | -", a.Get(jar).String())
		}, apptest.Stage(stage))
	}
}
