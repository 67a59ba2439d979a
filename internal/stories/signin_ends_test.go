package stories_test

import (
	"context"
	"errors"
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

// What SignIn ends, in each stage, and what it must not end.

// signInHandler is the handler of a login that was given a session by Stytch.
func signInHandler(a *apptest.App, t *testing.T, s stytchtest.Session) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, a.Middleware.SignIn(w, r, stytchmigrate.Secret(s.Token), stytchmigrate.Secret(s.JWT)))
	}
}

// In each stage of the rollout, and when the migration is over.
func TestSignInInEachStage(t *testing.T) {
	for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageReplace, stytchmigrate.StageKeep, stytchmigrate.StageObserve, stytchmigrate.StageShadow, stytchmigrate.StageRetired} {
		t.Run(stage.String(), func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Handler = signInHandler(a, t, a.Stytch.NewSession(a.Ada.ID, 0))
				got := a.GetChecked(t, "sid=bob-1", apptest.Method(http.MethodPost))
				assert.Equal(t, []string{"+stytch_session", "+stytch_session_jwt", "-sid"}, got.Cookies())
				a.Handler = nil
				assert.Equal(t, apptest.Authenticated, a.GetChecked(t, got.Jar("sid=bob-1")).String())
				require.NoError(t, a.Middleware.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}))
				if stage != stytchmigrate.StageRetired { // where Resolve is not called
					assert.Equal(t, apptest.Refused, a.GetChecked(t, "sid=bob-1").String())
				}
			}, apptest.Stage(stage))
		})
	}
	t.Run("Legacy nil", func(t *testing.T) {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Handler = signInHandler(a, t, a.Stytch.NewSession(a.Ada.ID, 0))
			got := a.GetChecked(t, "sid=bob-1")
			assert.Equal(t, "anonymous | +stytch_session +stytch_session_jwt | no-store | authenticate", got.String())
		}, func(c *stytchmigrate.Config) { c.FixedExpiry, c.Legacy = true, nil })
	})
}

// The session before has ended for good: on all machines, and at its source. An End that
// fails does not undo the sign-in; the event tells of it.
func TestSignInEndsTheSourceOfTheSessionBefore(t *testing.T) {
	for _, fails := range []bool{false, true} {
		var ended []string
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			bob := a.GetChecked(t, "sid=bob-1").Jar("")
			a.Handler = signInHandler(a, t, a.Stytch.NewSession(a.Ada.ID, 0))
			got := a.GetChecked(t, bob, apptest.Method(http.MethodPost)) // the browser no longer has sid
			assert.Equal(t, []string{"+stytch_session", "+stytch_session_jwt", "-sid"}, got.Cookies())
			assert.Equal(t, []string{"bob-1"}, ended)
			assert.Equal(t, "refused", a.GetChecked(t, "sid=bob-1").Saw)
			synctest.Wait()
			for _, e := range a.Events {
				if e.Kind == "signin" {
					assert.Equal(t, stytchmigrate.OutcomeAuthenticated, e.Outcome)
					assert.Equal(t, fails, e.Err != nil)
				}
			}
			assert.NotContains(t, a.Log.String(), "canary")
		}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
			l.End = func(_ context.Context, s stytchmigrate.LegacySession) error {
				ended = append(ended, string(s.ID))
				if fails {
					return errors.New("canary")
				}
				return nil
			}
		}))
	}
}

// A login adds a factor to the session that the browser has. That session came from the
// legacy session beside it, which must not end with the sign-in: the session would end
// with it.
func TestSignInWithTheSessionThatTheBrowserHas(t *testing.T) {
	ends := 0
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		jar := a.GetChecked(t, "sid=ada-1").Jar("sid=ada-1")
		require.Contains(t, jar, "sid=ada-1")
		time.Sleep(10 * time.Second)
		s := a.Stytch.Sessions()[0]
		s.JWT = a.Stytch.JWT(s.ID) // as the login's answer has it
		a.Handler = signInHandler(a, t, s)
		got := a.GetChecked(t, jar, apptest.Method(http.MethodPost))
		assert.Equal(t, "authenticated ada"+" | +stytch_session +stytch_session_jwt -sid | no-store | "+"-", got.String(), "memory proves the pair")
		a.Handler = nil
		assert.Equal(t, apptest.Authenticated, a.GetChecked(t, got.Jar(jar)).String())
		assert.Zero(t, ends)
	}, apptest.Stage(stytchmigrate.StageKeep), apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
		l.End = func(context.Context, stytchmigrate.LegacySession) error { ends++; return nil }
	}))
}

// A session that was logged out does not come back by a sign-in, whatever Stytch says.
func TestSignInWithASessionThatWasLoggedOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Revoke, stytchtest.Error(500, "internal_server_error"))
		jar := a.GetChecked(t, "sid=ada-1").Jar("")
		a.LogOut(jar)
		s := a.Stytch.Sessions()[0]
		require.True(t, s.Live)
		for _, jwt := range []string{"", s.JWT} {
			var err error
			a.Handler = func(w http.ResponseWriter, r *http.Request) {
				err = a.Middleware.SignIn(w, r, stytchmigrate.Secret(s.Token), stytchmigrate.Secret(jwt))
			}
			got := a.Get("", apptest.Method(http.MethodPost))
			assert.ErrorIs(t, err, stytchmigrate.ErrNoSession)
			assert.Empty(t, got.Cookies())
		}
	})
}

// Where a browser would drop the cookies, or not bring them.
func TestSignInWhereCookiesAreDropped(t *testing.T) {
	for name, row := range map[string]struct {
		url, cut, want string
	}{
		"the host":                  {"https://example.org/app/login", "", "Cookies.Domain"},
		"the path":                  {"https://app.example.com/login", "", "Cookies.Path"},
		"inside":                    {"https://app.example.com/app/login", "", ""},
		"inside, behind a prefix":   {"https://app.example.com/app/login", "/app", ""},
		"Clear-Site-Data: its site": {"https://app.example.com/app/clear", "", "Clear-Site-Data"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				s := a.Stytch.NewSession(a.Ada.ID, 0)
				w := httptest.NewRecorder()
				h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/clear") {
						w.Header().Set("Clear-Site-Data", `"cookies"`)
					}
					err := a.Middleware.SignIn(w, r, stytchmigrate.Secret(s.Token), stytchmigrate.Secret(s.JWT))
					if row.want == "" {
						assert.NoError(t, err)
						return
					}
					assert.ErrorContains(t, err, row.want)
					assert.False(t, errors.Is(err, stytchmigrate.ErrNoSession))
				})
				a.Middleware.Handler(http.StripPrefix(row.cut, h)).ServeHTTP(w, httptest.NewRequest(http.MethodPost, row.url, nil))
				assert.Equal(t, row.want == "", len(w.Result().Cookies()) > 0)
			}, apptest.CookieOptions(func(o *stytchmigrate.CookieOptions) { o.Domain, o.Path = "example.com", "/app" }))
		})
	}
}

// The context of the request does not change.
func TestSignInLeavesTheContextAlone(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			signInHandler(a, t, a.Stytch.NewSession(a.Ada.ID, 0))(w, r)
			assert.Equal(t, "anonymous", a.Who(r.Context()))
		}
		a.Get("")
	})
}
