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

// An application that signs its cookie anew on each response does so with a copy of a
// cookie that was logged out, if it sees the copy. It must not, in any stage. The copy may
// come to another machine.
func TestCopyOfALoggedOutCookieNeverReachesTheHandler(t *testing.T) {
	resign := func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie("sid"); err == nil {
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: c.Value + "x", Path: "/"})
		}
	}
	for _, stage := range strings.Fields("observe shadow keep replace retired") {
		for _, outage := range []bool{false, true} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
					a.Resolve = signedInAt(time.Now().Add(-48 * time.Hour))
					stytch := a.On(m[0]).Get("sid=ada-1").Jar("")
					a.LogOut(stytch)
					other, _ := a.SignedIn(a.Bob)
					if outage {
						a.Stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "down"))
						other = strings.Replace(other, "jwt=", "jwt=x", 1)
					}
					for i := range m {
						a.On(m[i]).SetRollout(t, stytchmigrate.Rollout{Stage: stageOf(stage)})
						a.Handler = resign
						cookies := "theme=x; sid=ada-1"
						if outage {
							cookies = other + "; " + cookies
						}
						got := a.Get(cookies, apptest.Method(method))
						assert.NotContains(t, a.CookiesSeen[len(a.CookiesSeen)-1], "sid=", "%s, machine %d, %v", stage, i, outage)
						assert.NotContains(t, got.Cookies(), "+sid")
						assert.Contains(t, a.CookiesSeen[len(a.CookiesSeen)-1], "theme=x")
					}
				})
			}
		}
	}
}

// Nor does it reach the handler of a WebSocket.
func TestCopyOfALoggedOutCookieOpensNoWebSocket(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.LogOut("sid=ada-1")
		assert.Equal(t, apptest.Refused, a.Get("sid=ada-1", apptest.Header("Upgrade", "websocket")).Settled())
		assert.Empty(t, a.CookiesSeen[1])
	})
}

// Each row is what the handler sets in answer to a copy of a session that was logged out,
// where the ID is only the value: the same session, saved again, or a sign-in. "+1h" began
// an hour later than the one that was logged out.
func TestWhatIsSetInAnswerToALoggedOutCopy(t *testing.T) {
	const get, post = http.MethodGet, http.MethodPost
	began := time.Now()
	for name, row := range map[string]struct {
		copied, set string
		method      string
		redirect    bool
		lives       bool
	}{
		"saved again":                           {"ada+0h", "ada-0h", get, false, false},
		"saved again, in a form":                {"ada+0h", "ada-0h", post, false, false},
		"saved again, and it is not known when": {"ada", "ada-x", get, false, false},
		"another row, in a form":                {"ada+0h", "ada-0h", post, false, true},
		"another row, by a page":                {"ada+0h", "ada-0h", get, false, false},
		"an earlier one":                        {"ada+0h", "ada-1h", get, false, false},
		"another person signs in":               {"ada+0h", "bob+0h", post, false, true},
		"another person, and not known when":    {"ada", "bob", get, false, true},
		"a later sign-in":                       {"ada+0h", "ada+1h", post, false, true},
		"a later sign-in, by a link":            {"ada+0h", "ada+1h", get, false, true},
		"a form, and it is not known when":      {"ada", "ada-x", post, false, true},
		"a callback, and it is not known when":  {"ada", "ada-x", get, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				a.Resolve = apptest.ResolveWithStart(began, func(s *stytchmigrate.LegacySession) {
					if strings.Contains(name, "row") {
						s.ID = "row of " + s.ID
					}
				})
				a.On(m[0]).LogOut("sid=" + row.copied)
				a.Handler = func(w http.ResponseWriter, _ *http.Request) {
					http.SetCookie(w, &http.Cookie{Name: "sid", Value: row.set, Path: "/"})
					if row.redirect {
						w.Header().Set("Location", "/")
						w.WriteHeader(http.StatusFound)
					}
				}
				got := a.On(m[1]).Get("sid="+row.copied, apptest.Method(row.method))
				assert.Equal(t, "refused | +sid | - | -", got.Settled())
				a.Handler = nil
				for i := range m {
					assert.Equal(t, row.lives, !strings.HasPrefix(a.On(m[i]).Get("sid="+row.set).Saw, "refused"), "machine %d", i)
				}
			}, apptest.Stage(stytchmigrate.StageKeep))
		})
	}
}

// The old login calls Logout and sets its cookie. Whatever the browser brought, the user is
// signed in, by a page of any method.
func TestOldLoginInAnswerToALoggedOutCopy(t *testing.T) {
	for _, before := range []string{"", "sid=ada-1", "sid=ada-9"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.LogOut("sid=ada-9")
			a.Handler = func(w http.ResponseWriter, r *http.Request) {
				assert.NoError(t, a.Middleware.Logout(w, r))
				http.SetCookie(w, &http.Cookie{Name: "sid", Value: "ada-2", Path: "/"})
			}
			a.Get(before)
			a.Handler = nil
			assert.Equal(t, apptest.Moved, a.Get("sid=ada-2").Settled(), before)
		}, apptest.Stage(stytchmigrate.StageKeep))
	}
}

// A page signs its user in by itself if no cookie comes: the application is behind a proxy
// with single sign-on, or remembers its users. A cookie that was logged out is hidden from
// it, and what it sets then is a sign-in.
func TestPageThatSignsItsUserInByItself(t *testing.T) {
	for name, known := range map[string]bool{"StartedAt is known": true, "StartedAt is not known": false} {
		for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
			t.Run(name+", "+stage.String(), func(t *testing.T) {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					began := map[string]time.Time{"ada-1": time.Now().Add(-time.Hour)}
					a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
						s := apptest.LegacySession("ada", "") // the value is all that it has
						s.Token = stytchmigrate.Secret("token-" + v)
						if known {
							s.StartedAt = began[v]
						}
						return s, nil
					}
					a.Stytch.Accept("token-ada-2", "ada@example.com")
					a.LogOut("sid=ada-1")
					a.Handler = func(w http.ResponseWriter, r *http.Request) {
						if _, err := r.Cookie("sid"); err != nil {
							began["ada-2"] = time.Now()
							http.SetCookie(w, &http.Cookie{Name: "sid", Value: "ada-2", Path: "/"})
						}
					}
					got := a.Get("sid=ada-1")
					assert.Equal(t, "refused | +sid | - | -", got.Settled())
					assert.Equal(t, apptest.Moved, a.Get(got.Jar("sid=ada-1")).Settled())
				}, apptest.Stage(stage))
			})
		}
	}
}

// The same page is under way, with the Stytch session and without the old cookie, when the
// user logs out in another tab.
func TestPageThatSignsItsUserInWhileALogoutIsServed(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			return apptest.LegacySession("ada", "row of "+v), nil
		}
		jar := a.Get("sid=ada-1").Jar("sid=ada-1")
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			assert.Empty(t, r.CookiesNamed("sid"))
			a.LogOut(jar)
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: "ada-2", Path: "/"})
		}
		a.Get(jar)
		a.Handler = nil
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-2").Settled())
	}, apptest.Stage(stytchmigrate.StageReplace))
}

// A page is under way when the user logs out in another tab, and saves the session again
// under a new value.
func TestSavedAgainWhileALogoutIsServed(t *testing.T) {
	for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageObserve} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Handler = func(w http.ResponseWriter, _ *http.Request) {
				a.LogOut("sid=ada-1")
				http.SetCookie(w, &http.Cookie{Name: "sid", Value: "ada-2", Path: "/"})
			}
			a.Get("sid=ada-1")
			assert.Equal(t, "refused", a.Get("sid=ada-2").Saw)
		}, apptest.Stage(stage))
	}
}
