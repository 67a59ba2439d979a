package stories_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// The old logout is under way while the browser signs in by SignIn, on the same machine or
// another one. The response of the logout comes last. It ends what was there before, and
// leaves the Stytch cookies alone: they are those of the sign-in.
func TestOldLogoutThatASignInOvertakes(t *testing.T) {
	logout := apptest.SetCookie("sid=; Path=/; Max-Age=0")
	for name, row := range map[string]struct {
		before string // what the browser has: a session of ada's that moved, and these cookies
		outage bool
	}{
		"both cookies":                 {"sid=ada-1", false},
		"the Stytch cookies":           {"", false},
		"an old cookie, in an outage":  {"only sid=ada-2", true},
		"both cookies, in an outage":   {"sid=ada-1", true},
		"an old cookie, which moves":   {"only sid=ada-2", false},
		"a later old cookie beside it": {"sid=ada-2", false},
	} {
		for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
			for _, who := range []string{"ada", "bob"} {
				for machine := range 2 {
					t.Run(strings.Join([]string{name, stage.String(), who}, ", "), func(t *testing.T) {
						apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
							cookies := a.On(m[0]).Get("sid=ada-1").Jar("") + "; " + row.before
							if only, ok := strings.CutPrefix(row.before, "only "); ok {
								cookies = only
							}
							ended := "1"
							if strings.Contains(row.before, "ada-2") {
								ended = "2"
							}
							user := map[string]stytchtest.User{"ada": a.Ada, "bob": a.Bob}[who]
							next := a.Stytch.NewSession(user.ID, 0)
							signIn(t, m[machine], "", next) // known there, so that Stytch is not asked
							if row.outage {
								a.Stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "down"))
							}
							page := slow(a, m[0], http.MethodPost, cookies, logout)
							<-page.began
							signIn(t, m[machine], cookies, next)
							for _, c := range page.finish() {
								assert.NotContains(t, c.Name, "stytch")
							}
							synctest.Wait()
							now, _ := a.Stytch.Session(next.ID)
							assert.True(t, now.Live)
							assert.Equal(t, "refused", a.On(m[1]).Get("sid=ada-"+ended).Saw)
						}, apptest.Stage(stage))
					})
				}
			}
		}
	}
}

// A form is under way while another request of the browser gives the old session another
// id. That is no logout, whichever of the two ends first. A logout under the new id is one.
func TestIDRenewedWhileAFormIsServed(t *testing.T) {
	for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
		for name, before := range map[string]bool{"before the form ends": true, "while the session is looked for": false} {
			t.Run(name+", "+stage.String(), func(t *testing.T) {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					jar := a.Get("sid=ada-1").Jar("sid=ada-1")
					rows := map[string]bool{"ada-1": true}
					a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
						if !rows[v] {
							return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
						}
						return apptest.LegacySession("ada", v), nil
					}
					form := slowPost(a, a.Middleware, jar)
					<-form.began
					renewing := slow(a, a.Middleware, http.MethodPost, jar, apptest.SetCookie("sid=ada-2; Path=/"))
					<-renewing.began
					rows["ada-1"], rows["ada-2"] = false, true
					if !before {
						close(form.end)
						time.Sleep(time.Millisecond)
					}
					renewing.finish()
					if before {
						close(form.end)
					}
					<-form.done
					synctest.Wait()
					assert.True(t, a.Stytch.Sessions()[0].Live)
					jar = (&apptest.Reply{ResponseRecorder: renewing.ResponseRecorder}).Jar(jar)
					assert.Equal(t, "authenticated ada", a.Get(jar).Saw)

					out := slow(a, a.Middleware, http.MethodPost, jar, func(http.ResponseWriter, *http.Request) { rows["ada-2"] = false })
					<-out.began
					out.finish()
					synctest.Wait()
					assert.False(t, a.Stytch.Sessions()[0].Live)
				}, apptest.Stage(stage))
			})
		}
	}
}
