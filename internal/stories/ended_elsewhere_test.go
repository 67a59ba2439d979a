package stories_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// Another request saves the row by deleting it and inserting it again.
func TestRowSavedAgainByAnotherRequest(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		gone := atomic.Bool{}
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			if gone.Load() {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			return apptest.LegacySession("ada", v), nil
		}
		page := slowPost(a, a.Middleware, cookies)
		<-page.began
		done := make(chan struct{})
		go func() {
			defer close(done)
			r := httptest.NewRequest(http.MethodPost, "https://app.example.com/cart", nil)
			r.Header.Set("Cookie", cookies)
			a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				gone.Store(true) // DELETE
				time.Sleep(2 * time.Millisecond)
				gone.Store(false) // INSERT
			})).ServeHTTP(httptest.NewRecorder(), r)
		}()
		time.Sleep(time.Millisecond)
		page.finish()
		<-done
		synctest.Wait()
		assert.True(t, a.Stytch.Sessions()[0].Live, "nobody logged out")
		got := a.Get(cookies)
		assert.Contains(t, got.Saw, "ada")
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// A sign-in ends the legacy session while a page of before is served.
func TestPageOfBeforeASignIn(t *testing.T) {
	ended := atomic.Bool{}
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := a.Stytch.NewSession(a.Ada.ID, 0)
		cookies := "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT + "; sid=ada-1"
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			if ended.Load() {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			return apptest.LegacySession("ada", v), nil
		}
		page := slowPost(a, a.Middleware, cookies)
		<-page.began
		require.Equal(t, "authenticated ada", page.Saw)
		got := signIn(t, a.Middleware, cookies, s) // a second factor was added to s
		jar := (&apptest.Reply{ResponseRecorder: got}).Jar(cookies)
		require.Equal(t, "authenticated ada", a.Get(jar).Saw)
		page.finish()
		synctest.Wait()
		now, _ := a.Stytch.Session(s.ID)
		assert.True(t, now.Live)
		assert.Equal(t, "authenticated ada", a.Get(jar).Saw)
	}, apptest.Stage(stytchmigrate.StageKeep), apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
		l.End = func(context.Context, stytchmigrate.LegacySession) error { ended.Store(true); return nil }
	}))
}

// A cookie of somebody else stands beside a Stytch session that Stytch can not be asked
// about. Its logout is not this user's.
func TestPlantedCookieInAnOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.Expired(a.Ada, "both")
		gone := atomic.Bool{}
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			if gone.Load() {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			return apptest.LegacySession("bob", v), nil
		}
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
		page := slowPost(a, a.Middleware, cookies+"; sid=bob-1")
		<-page.began
		gone.Store(true) // bob logs out at home
		page.finish()
		synctest.Wait()
		now, _ := a.Stytch.Session(s.ID)
		assert.True(t, now.Live, "ada's session was ended by bob's logout")
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// Memory has the session, and another machine has ended it. Nothing is set, and the user
// who is here stays.
func TestSignInWithASessionThatEndedElsewhere(t *testing.T) {
	for name, pick := range map[string]func(tok, jwt string) (string, string){
		"both": func(a, b string) (string, string) { return a, b }, "token": func(a, _ string) (string, string) { return a, "" }, "jwt": func(_, b string) (string, string) { return "", b },
	} {
		for _, how := range []string{"logout", "endsessions"} {
			t.Run(name+how, func(t *testing.T) {
				apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
					cookies, s := a.SignedIn(a.Ada)
					require.Equal(t, "authenticated ada", a.On(m[1]).Get(cookies).Saw)
					if how == "logout" {
						r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
						r.Header.Set("Cookie", cookies)
						require.NoError(t, m[0].Logout(httptest.NewRecorder(), r))
					} else {
						require.NoError(t, m[0].EndSessions(t.Context(), a.Ada.ID))
					}
					a.Stytch.ResetCalls()
					bob, _ := a.SignedIn(a.Bob)
					a.On(m[1]).Get(bob)
					tok, jwt := pick(s.Token, s.JWT)
					w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://app.example.com/login", nil)
					r.Header.Set("Cookie", bob)
					assert.Error(t, m[1].SignIn(w, r, stytchmigrate.Secret(tok), stytchmigrate.Secret(jwt)))
					assert.Empty(t, w.Result().Cookies())
					assert.Equal(t, "authenticated bob", a.On(m[1]).Get(bob).Saw, "his session ended for nothing")
				})
			})
		}
	}
}

// The JWT is still good. The store knows that the session has ended before Stytch says so.
func TestSlowStytchAfterEndSessions(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		cookies, _ := a.SignedIn(a.Ada)
		bob, _ := a.SignedIn(a.Bob)
		require.Equal(t, "authenticated bob", a.On(m[1]).Get(bob).Saw)
		require.NoError(t, m[0].EndSessions(t.Context(), a.Ada.ID))
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Delay(600*time.Millisecond))
		assert.NotContains(t, a.On(m[1]).Get(cookies).Saw, "ada")
	})
}

// The same while Stytch is down.
func TestEndedElsewhereInAnOutage(t *testing.T) {
	for _, how := range []string{"logout", "endsessions"} {
		apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
			cookies, _ := a.SignedIn(a.Ada)
			require.Equal(t, "authenticated ada", a.On(m[0]).Get(cookies).Saw)
			require.Equal(t, "anonymous", a.On(m[1]).Get("").Saw)
			bob, _ := a.SignedIn(a.Bob)
			require.Equal(t, "authenticated bob", a.On(m[1]).Get(bob).Saw) // has the key set
			if how == "logout" {
				r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
				r.Header.Set("Cookie", cookies)
				require.NoError(t, m[0].Logout(httptest.NewRecorder(), r))
			} else {
				require.NoError(t, m[0].EndSessions(t.Context(), a.Ada.ID))
			}
			a.Stytch.FailAll(stytchtest.Any, stytchtest.Error(500, "internal_server_error"))
			assert.NotContains(t, a.On(m[1]).Get(cookies).Saw, "ada", how)
		})
	}
}

// Of more tokens than are looked at, one may be of a session that lives on. The event says so.
func TestSignInBesideTooManyCookies(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, bob := a.SignedIn(a.Bob)
		junk := ""
		for _, c := range "abcdefg" {
			junk += "stytch_session=" + strings.Repeat(string(c), 44) + "; "
		}
		s := a.Stytch.NewSession(a.Ada.ID, 0)
		signIn(t, a.Middleware, junk+"stytch_session="+bob.Token, s)
		now, _ := a.Stytch.Session(bob.ID)
		told := false
		for _, e := range a.SettledEvents() {
			if e.Kind == "signin" {
				told = e.Err != nil
			}
		}
		assert.True(t, !now.Live || told, "bob's session lives, and nobody is told")
	})
}

// An application is behind two Middlewares, for two projects. Logout of the outer one is
// about its own sessions.
func TestLogoutOfTheOuterMiddleware(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		outer := a.Machines(t, 1, func(c *stytchmigrate.Config) {
			c.Legacy = nil
			c.Cookies.SessionName, c.Cookies.JWTName = "outer_session", "outer_jwt"
		})[0]
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", cookies)
		w := httptest.NewRecorder()
		outer.Handler(a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, outer.Logout(w, r))
		}))).ServeHTTP(w, r)
		synctest.Wait()
		assert.True(t, a.Stytch.Sessions()[0].Live)
		assert.Equal(t, "authenticated ada", a.Get(cookies).Saw)
	}, apptest.Stage(stytchmigrate.StageKeep))
}
