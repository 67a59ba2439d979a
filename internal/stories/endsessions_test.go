package stories_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
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

// A user is signed out everywhere by EndSessions: by the password that changed, or because
// the account is disabled. No device of theirs stays signed in, and no other user is.

// Every session of ada's ends, also where this machine has its JWT in memory. The old
// cookies that they came from are refused on every machine.
func TestEndSessions(t *testing.T) {
	for name, id := range map[string]func(a *apptest.App) string{
		"by Stytch's id": func(a *apptest.App) string { return a.Ada.ID },
		"by the external id": func(a *apptest.App) string {
			a.Stytch.UpdateUser(a.Ada.ID, func(u *stytchtest.User) { u.ExternalID = "ada" })
			return "ada"
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ended []string
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				userID := id(a)
				phone := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
				tablet, _ := a.SignedIn(a.Ada)
				laptop, _ := a.SignedIn(a.Ada) // not seen by any machine yet
				bob := a.On(m[0]).Get("sid=bob-1").Jar("")
				require.Contains(t, a.On(m[0]).Get(tablet).String(), "authenticated ada")
				a.Stytch.ResetCalls()
				require.NoError(t, m[0].EndSessions(t.Context(), userID))
				assert.Equal(t, 2, a.Stytch.Count(stytchtest.ListSessions))
				assert.Equal(t, 3, a.Stytch.Count(stytchtest.Revoke))
				for _, s := range a.Stytch.Sessions() {
					assert.Equal(t, s.UserID == a.Bob.ID, s.Live)
				}
				for _, device := range []string{phone, tablet, laptop, "sid=ada-1"} {
					got := a.On(m[0]).Get(device)
					assert.NotContains(t, got.Saw, "ada", device)
					assert.NotContains(t, strings.Join(got.Cookies(), " "), "+stytch")
				}
				for i := range m {
					assert.Equal(t, "refused", a.On(m[i]).Get("sid=ada-1").Saw)
					assert.NotContains(t, a.On(m[i]).Get(laptop).Saw, "ada")
					assert.Equal(t, "authenticated bob", a.On(m[i]).Get(bob).Saw)
				}
				assert.Equal(t, []string{"ada-1"}, ended)
				time.Sleep(16 * time.Second)
				assert.True(t, strings.HasPrefix(a.On(m[1]).Get("sid=ada-2").String(), "migrated ada"), "a new sign-in by the old login")
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
				l.End = func(_ context.Context, s stytchmigrate.LegacySession) error {
					ended = append(ended, string(s.ID))
					return nil
				}
			}))
		})
	}
}

// Each row is a userID for which there is nothing to end. The error names the argument,
// and does not repeat what may be an email address.
func TestEndSessionsOfNobody(t *testing.T) {
	for name, row := range map[string]struct{ id, want string }{
		"empty":             {"", "userID is empty"},
		"an email address":  {"ada@example.com", "other characters"},
		"a space":           {"user 1", "other characters"},
		"too long":          {strings.Repeat("x", 129), "other characters"},
		"a path":            {"../users", "other characters"},
		"unknown at Stytch": {"user-test-unknown", "404 user_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
				a.Stytch.ResetCalls()
				err := a.Middleware.EndSessions(t.Context(), row.id)
				require.ErrorContains(t, err, "stytchmigrate: EndSessions: ")
				assert.ErrorContains(t, err, row.want)
				assert.NotContains(t, err.Error(), "example.com")
				assert.Zero(t, a.Stytch.Count(stytchtest.Revoke))
				var answer *stytchmigrate.Error
				assert.Equal(t, name == "unknown at Stytch", errors.As(err, &answer))
				assert.Equal(t, apptest.Authenticated, a.Get(cookies).String())
			})
		})
	}
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.NoError(t, a.Middleware.EndSessions(t.Context(), a.Ada.ID), "a user without a session")
	})
}

// Each row is what fails. What can be ended is ended: this machine accepts no cookie that
// it has in memory, whatever Stytch says.
func TestEndSessionsWhenSomethingFails(t *testing.T) {
	for name, row := range map[string]struct {
		op    stytchtest.Op
		fault stytchtest.Fault
		want  string
	}{
		"the list":         {stytchtest.ListSessions, stytchtest.Error(500, "internal_server_error"), "could not be listed"},
		"silence":          {stytchtest.Any, stytchtest.Silence(), "could not be listed"},
		"our credentials":  {stytchtest.Any, stytchtest.Error(401, "unauthorized_credentials"), "unauthorized_credentials"},
		"each revocation":  {stytchtest.Revoke, stytchtest.Error(500, "internal_server_error"), "2 of 2 sessions may not have ended"},
		"a gateway's page": {stytchtest.ListSessions, stytchtest.Respond(502, "<html>"), "could not be listed"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				one, _ := a.SignedIn(a.Ada)
				two, _ := a.SignedIn(a.Ada)
				for _, cookies := range []string{one, two} {
					a.LearnSession(t, cookies)
				}
				a.Stytch.FailAll(row.op, row.fault)
				ctx, leave := context.WithCancel(t.Context())
				leave()
				start := time.Now()
				err := a.Middleware.EndSessions(ctx, a.Ada.ID)
				assert.ErrorContains(t, err, row.want)
				assert.LessOrEqual(t, time.Since(start), 30*time.Second)
				a.Stytch.Heal(row.op)
				for _, cookies := range []string{one, two} {
					assert.NotContains(t, a.Get(cookies).Saw, "ada")
				}
			})
		})
	}
}

// One revocation of many fails. The error counts, and the others have ended.
func TestEndSessionsOfAUserWithMany(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		const n = 1500 // their list is longer than other answers may be
		for range n {
			a.Stytch.NewSession(a.Ada.ID, 0)
		}
		a.Stytch.Fail(stytchtest.Revoke, stytchtest.Error(400, "canary_type"))
		err := a.Middleware.EndSessions(t.Context(), a.Ada.ID)
		assert.ErrorContains(t, err, fmt.Sprintf("1 of %d sessions", n))
		live := 0
		for _, s := range a.Stytch.Sessions() {
			if s.Live {
				live++
			}
		}
		assert.Equal(t, 1, live)
		assert.LessOrEqual(t, a.Stytch.MaxInFlight(stytchtest.Revoke), 4)
	})
}

// An exchange is under way, here or on another machine. It hands out no session, and what
// it made is revoked. The legacy session moves later, unless the application has ended it.
func TestEndSessionsDuringAnExchange(t *testing.T) {
	for _, after := range []bool{true, false} { // the session is made before the list, or after it
		for machine := range 2 {
			t.Run(fmt.Sprint(after, machine), func(t *testing.T) {
				apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
					hold := &stytchtest.Hold{}
					fault := stytchtest.Fault{}.WithHold(hold)
					if after {
						fault = fault.AfterWork()
					}
					a.Stytch.Fail(stytchtest.Migrate, fault)
					page := openSlowPage(a, m[machine], "sid=ada-1")
					<-hold.Arrived()
					require.NoError(t, m[0].EndSessions(t.Context(), a.Ada.ID))
					hold.Release()
					<-page.began
					assert.NotContains(t, page.Saw, "ada")
					assert.Empty(t, page.finish())
					synctest.Wait()
					for _, s := range a.Stytch.Sessions() {
						assert.False(t, s.Live)
					}
				})
			})
		}
	}
}

// A refresh is under way, and the response of one that was answered before.
func TestEndSessionsDuringARefresh(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		cookies, _ := a.Expired(a.Ada, "both")
		served := openSlowPage(a, m[1], cookies)
		<-served.began
		hold := &stytchtest.Hold{}
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		asked := openSlowPage(a, m[2], cookies)
		<-hold.Arrived()
		require.NoError(t, m[0].EndSessions(t.Context(), a.Ada.ID))
		hold.Release()
		<-asked.began
		assert.Equal(t, "anonymous", asked.Saw)
		for _, page := range []*slowPage{served, asked} {
			for _, c := range page.finish() {
				assert.Negative(t, c.MaxAge, c.Name)
			}
		}
	})
}

// The handler of "change password": it ends all sessions, lets Stytch begin a new one, and
// signs in with that. Only this browser stays signed in.
func TestEndSessionsAndSignIn(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		here, _ := a.SignedIn(a.Ada)
		there, _ := a.SignedIn(a.Ada)
		for _, cookies := range []string{here, there} {
			a.LearnSession(t, cookies)
		}
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, a.Middleware.EndSessions(r.Context(), a.Ada.ID))
			signInHandler(a, t, a.Stytch.NewSession(a.Ada.ID, 0))(w, r)
		}
		got := a.Get(here, apptest.Method(http.MethodPost))
		a.Handler = nil
		assert.Equal(t, apptest.Authenticated, a.Get(got.Jar(here)).String())
		assert.NotContains(t, a.Get(there).Saw, "ada")
		assert.NotContains(t, a.Get(here).Saw, "ada")
	})
}
