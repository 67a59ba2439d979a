package stytchmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// logout returns the handler of a logout page.
func logout(a *apptest.App, t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
}

// Each row is a logout with the cookies of some state.
func TestLogoutOnEachOutcome(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *apptest.App) string
		want    string
		change  func(*http.Request)
	}{
		"no cookie":                   {func(*apptest.App) string { return "" }, "anonymous" + apptest.CookiesCleared + "-", nil},
		"no session":                  {func(*apptest.App) string { return "sid=nobody" }, "anonymous" + apptest.CookiesCleared + "-", nil},
		"a legacy session":            {func(*apptest.App) string { return "sid=ada-1" }, "migrated ada" + apptest.CookiesCleared + "migrate revoke", nil},
		"a legacy session, by POST":   {func(*apptest.App) string { return "sid=ada-1" }, "migrated ada" + apptest.CookiesCleared + "migrate revoke", apptest.Method(http.MethodPost)},
		"where no cookies may change": {func(*apptest.App) string { return "sid=ada-1" }, "migrated ada" + apptest.CookiesCleared + "migrate revoke", apptest.FetchMetadata("cross-site cors empty")},
		"a Stytch session":            {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c }, "authenticated ada" + apptest.CookiesCleared + "authenticate revoke", nil},
		"both":                        {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c + "; sid=ada-1" }, "authenticated ada" + apptest.CookiesCleared + "authenticate revoke", nil},
		"two people":                  {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c + "; sid=bob-1" }, "anonymous" + apptest.CookiesCleared + "authenticate revoke", nil},
		"a session Stytch has ended": {func(a *apptest.App) string {
			c, s := a.SignedIn(a.Ada)
			time.Sleep(time.Minute)
			a.Stytch.RevokeSession(s.ID)
			return c
		}, "anonymous" + apptest.CookiesCleared + "authenticate revoke revoke", nil},
		"Stytch down for a moment": {func(a *apptest.App) string {
			a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(500, "internal_server_error"), stytchtest.Error(500, "internal_server_error"))
			return "sid=ada-1"
		}, "unavailable" + apptest.CookiesCleared + "migrate migrate", nil},
		"a user that Stytch doesn't know": {func(a *apptest.App) string { a.Stytch.RemoveUser(a.Ada.ID); return "sid=ada-1" }, "refused" + apptest.CookiesCleared + "migrate", nil},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Handler = logout(a, t)
				cookies := row.cookies(a)
				change := row.change
				if change == nil {
					change = func(*http.Request) {}
				}
				got := a.GetChecked(t, cookies, change)
				assert.Equal(t, row.want, got.String())
				for _, s := range a.Stytch.Sessions() {
					assert.False(t, s.Live, "revoked")
				}
				a.Handler = nil
				assert.Equal(t, "anonymous"+apptest.CookiesUntouched+"-", a.GetChecked(t, got.Jar(cookies)).String())
				for _, c := range []string{cookies, "sid=ada-1"} {
					if strings.Contains(cookies, "sid=ada-1") || c == cookies {
						assert.NotContains(t, a.Get(c).Saw, "ada", "the old cookies sign no user in")
					}
				}
			})
		})
	}
}

// Outside Handler there is no context value. The cookies of the request are enough.
func TestLogoutOutsideHandler(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		native, _ := a.SignedIn(a.Ada)
		first := a.GetChecked(t, "sid=ada-1")
		for _, cookies := range []string{native, first.Jar("sid=ada-1"), "sid=ada-1"} {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://app.example.com/", nil)
			r.Header.Set("Cookie", cookies)
			require.NoError(t, a.Middleware.Logout(w, r))
			assert.Len(t, w.Result().Cookies(), 3)
			apptest.RequireValidCookies(t, "app.example.com", w.Result().Header)
		}
		for _, s := range a.Stytch.Sessions() {
			assert.False(t, s.Live)
		}
		assert.Equal(t, "refused"+apptest.CookiesUntouched+"-", a.GetChecked(t, "sid=ada-1").String())
	})
}

// Each row is what a handler sets before and after Logout, and the cookies of the
// response.
func TestLogoutKeepsWhatTheHandlerSets(t *testing.T) {
	const all = "-stytch_session -stytch_session_jwt -sid"
	const kept = "-stytch_session -stytch_session_jwt"
	for name, row := range map[string]struct {
		before, after string // Set-Cookie lines
		moving, known string // the response where the Stytch cookies were pending, and where no cookie was
	}{
		"nothing else":                {"", "", all, all},
		"deletes it before":           {"sid=; Max-Age=0", "", "-sid " + all, "-sid " + all},
		"deletes it after":            {"", "sid=; Max-Age=0", "-sid " + all, all + " -sid"},
		"signs bob in after":          {"", "sid=bob-1", "+sid " + kept, all + " +sid"},
		"signs bob in before":         {"sid=bob-1", "", "+sid " + kept, "+sid " + kept},
		"saved it again before":       {"sid=ada-1", "", all, "+sid " + kept},
		"set a Stytch cookie before":  {"stytch_session=own; Secure", "", all, all},
		"sets a Stytch cookie after":  {"", "stytch_session=own; Secure", "+stytch_session -stytch_session_jwt -sid", all + " +stytch_session"},
		"a cookie of another purpose": {"theme=dark", "", "+theme " + all, "+theme " + all},
	} {
		for state, want := range map[string]string{"moving": row.moving, "known": row.known} {
			t.Run(name+", "+state, func(t *testing.T) {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					cookies := "theme=dark; sid=ada-1"
					if state == "known" {
						cookies = a.GetChecked(t, cookies).Jar("theme=dark")
					}
					a.Handler = func(w http.ResponseWriter, r *http.Request) {
						if row.before != "" {
							apptest.SetCookie(row.before)(w, r)
						}
						assert.NoError(t, a.Middleware.Logout(w, r))
						if row.after != "" {
							apptest.SetCookie(row.after)(w, r)
						}
					}
					got := a.GetChecked(t, cookies, apptest.Method(http.MethodPost))
					assert.Equal(t, want, strings.Join(got.Cookies(), " "))
					assert.False(t, a.Stytch.Sessions()[0].Live, "the session before is revoked")
				})
			})
		}
	}
}

// The second call changes nothing, and is no error.
func TestLogoutTwice(t *testing.T) {
	for _, cookies := range []string{"", "sid=ada-1"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Handler = func(w http.ResponseWriter, r *http.Request) { logout(a, t)(w, r); logout(a, t)(w, r) }
			assert.Equal(t, []string{"-sid", "-stytch_session", "-stytch_session_jwt"}, sorted(a.GetChecked(t, cookies).Cookies()))
		})
	}
}

// It is too late for the cookies of this response, but the session still ends.
func TestLogoutAfterTheResponseBegan(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "page")
			assert.ErrorContains(t, a.Middleware.Logout(w, r), "after the response began")
		}
		assert.Equal(t, apptest.Moved+" revoke", a.GetChecked(t, "sid=ada-1").String())
		a.Handler = nil
		assert.Equal(t, "refused"+apptest.CookiesUntouched+"-", a.GetChecked(t, "sid=ada-1").String())
	})
}

// Each row is Stytch's answer to the revoke. The cookies are expired in any case, and
// LegacyCookie.End is called.
func TestLogoutWhenStytchFails(t *testing.T) {
	for name, row := range map[string]struct {
		fault stytchtest.Fault
		fails bool
	}{
		"unknown there":  {stytchtest.Error(404, "session_not_found"), false},
		"an error":       {stytchtest.Error(500, "internal_server_error"), true},
		"our credential": {stytchtest.Error(401, "unauthorized_credentials"), true},
		"a reset":        {stytchtest.Reset(), true},
		"silence":        {stytchtest.Silence(), true},
	} {
		t.Run(name, func(t *testing.T) {
			var ended []string
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Revoke, row.fault)
				start := time.Now()
				a.Handler = func(w http.ResponseWriter, r *http.Request) {
					assert.Equal(t, row.fails, a.Middleware.Logout(w, r) != nil)
				}
				got := a.GetChecked(t, "sid=ada-1")
				assert.Equal(t, "-stytch_session -stytch_session_jwt -sid", strings.Join(got.Cookies(), " "))
				assert.LessOrEqual(t, time.Since(start), 5*time.Second)
				assert.Equal(t, []string{"ada-1"}, ended)
				a.Handler = nil
				assert.Equal(t, "refused"+apptest.CookiesUntouched+"-", a.GetChecked(t, "sid=ada-1").String())
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
				l.End = func(ctx context.Context, s stytchmigrate.LegacySession) error {
					if ctx.Err() == nil {
						ended = append(ended, string(s.ID))
					}
					return nil
				}
			}))
		})
	}
}

type traceKey struct{}

func TestLogoutReturnsTheErrorOfEnd(t *testing.T) {
	broken := errors.New("database at 192.0.2.1 is down")
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			assert.ErrorIs(t, a.Middleware.Logout(w, r.WithContext(context.WithValue(r.Context(), traceKey{}, "trace"))), broken)
		}
		assert.Equal(t, "migrated ada"+apptest.CookiesCleared+"migrate revoke", a.GetChecked(t, "sid=ada-1").String())
		require.Len(t, a.Events, 1)
		assert.Equal(t, "logout", a.Events[0].Kind)
		assert.NotContains(t, a.Events[0].Err.Error(), "192.0.2.1", "the error's text is the application's alone")
	}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
		l.End = func(ctx context.Context, _ stytchmigrate.LegacySession) error {
			assert.Equal(t, "trace", ctx.Value(traceKey{}), "the context is the handler's")
			return broken
		}
	}))
}

func TestLogoutGoesOnWhenTheClientLeaves(t *testing.T) {
	ended := errors.New("End was not called")
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		ctx, leave := context.WithCancel(t.Context())
		a.Stytch.Fail(stytchtest.Revoke, stytchtest.Delay(time.Second))
		a.Handler = func(w http.ResponseWriter, r *http.Request) { leave(); assert.NoError(t, a.Middleware.Logout(w, r)) }
		a.GetChecked(t, "sid=ada-1", func(r *http.Request) { *r = *r.WithContext(ctx) })
		assert.False(t, a.Stytch.Sessions()[0].Live)
		assert.NoError(t, ended)
	}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
		l.End = func(ctx context.Context, _ stytchmigrate.LegacySession) error { ended = ctx.Err(); return nil }
	}))
}

// Every token in the request is revoked, also another user's.
func TestLogoutRevokesEveryToken(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		one, _ := a.SignedIn(a.Ada)
		_, two := a.SignedIn(a.Ada)
		_, three := a.SignedIn(a.Bob)
		a.Handler = logout(a, t)
		a.GetChecked(t, one+"; stytch_session="+two.Token+"; stytch_session="+three.Token)
		for _, s := range a.Stytch.Sessions() {
			assert.False(t, s.Live)
		}
	})
}

// A session in memory is revoked by its id. Its JWT is not verified again, so the key
// set is not needed.
func TestLogoutFetchesNoKeys(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.LogOut(a.Get("sid=ada-1").Jar("sid=ada-1"))
		assert.Zero(t, a.Stytch.Count(stytchtest.JWKS))
	})
}

func sorted(s []string) []string { slices.Sort(s); return s }

// The handler does not see the legacy cookie beside a Stytch session. Logout ends that
// session too.
func TestLogoutEndsBothSessions(t *testing.T) {
	var ended []stytchmigrate.Secret
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, cookies)
		a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
		out := a.Get(cookies + "; sid=ada")
		assert.Equal(t, "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
		assert.Equal(t, cookies, a.CookiesSeen[1])
		assert.Equal(t, []stytchmigrate.Secret{"ada"}, ended)
		a.Handler = nil
		assert.Equal(t, apptest.Refused, a.Get("sid=ada").String())
	}, func(c *stytchmigrate.Config) {
		c.Legacy[0].End = func(_ context.Context, s stytchmigrate.LegacySession) error {
			ended = append(ended, s.ID)
			return nil
		}
	})
}

// Of two people's sessions neither counts, and the handler sees neither's cookies.
// Logout ends both.
func TestLogoutEndsTheSessionsOfTwoPeople(t *testing.T) {
	for _, dest := range []string{"document", "image"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
			cookies, s := a.SignedIn(a.Ada)
			a.LearnSession(t, cookies)
			a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
			out := a.Get(cookies+"; sid=bob", func(r *http.Request) {
				r.Header.Set("Sec-Fetch-Site", "same-origin")
				r.Header.Set("Sec-Fetch-Dest", dest)
			})
			assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
			ended, _ := a.Stytch.Session(s.ID)
			assert.False(t, ended.Live)
		})
	}
}

// The legacy cookie is gone by the time of the logout, or it is still there. End is
// called once.
func TestLogoutCallsEndForTheSessionThatMoved(t *testing.T) {
	for s, kept := range map[stytchmigrate.Stage]bool{stytchmigrate.StageReplace: false, stytchmigrate.StageKeep: true} {
		var ended []stytchmigrate.LegacySession
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
			cookies = a.Get(cookies).Jar(cookies)
			require.Equal(t, kept, strings.Contains(cookies, "sid="))
			a.LogOut(cookies)
			require.Len(t, ended, 1)
			assert.Equal(t, apptest.LegacySession("ada", "ada-1"), ended[0])
		}, apptest.Stage(s), apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
			l.End = func(_ context.Context, s stytchmigrate.LegacySession) error { ended = append(ended, s); return nil }
		}))
	}
}

// The old logout handler deletes the session from its database, and then calls Logout.
// Resolve does not find the session any more. A copy of the cookie is refused all the
// same, even if the database is restored.
func TestLogoutAfterTheOldCodeDeletedItsSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			logout(a, t)(w, r)
		}
		assert.Equal(t, "legacy"+apptest.CookiesCleared+"-", a.Get("sid=ada-1").String())
		a.Handler, a.Resolve = nil, nil
		assert.Equal(t, apptest.Refused, a.Get("sid=ada-1").String())
	}, holdBack)
}

// More cookies of one name than are looked at may hold a session that goes on.
func TestLogoutOfTooManyCookiesReturnsAnError(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var cookies strings.Builder
		for i := range 20 {
			fmt.Fprintf(&cookies, "stytch_session=%d; ", i)
		}
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			assert.ErrorContains(t, a.Middleware.Logout(w, r), "more cookies than Logout looks at")
		}
		assert.Equal(t, "-stytch_session -stytch_session_jwt -sid", strings.Join(a.Get(cookies.String()).Cookies(), " "))
	})
}
