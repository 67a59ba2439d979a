package stories_test

import (
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
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// The story of two things at once, on several machines: a logout while a request
// moves the user, a sign-in of another user while a session lives, a claim that
// another machine takes. All machines must come to the same end.

// The old code logs ada out on one machine. The other machines refuse the old
// cookie from then on, although the client left.
func TestOldLogoutIsSharedThoughItsClientLeft(t *testing.T) {
	for name, row := range map[string]struct{ leavesBefore, leavesAfter bool }{
		"the client stays":            {false, false},
		"it leaves before the header": {true, false},
		"it leaves with the header":   {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
				r, leave := oldLogout(t, "sid=ada-1")
				m[0].Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					apptest.LegacyLogout(w, r)
					if row.leavesBefore {
						leave()
					}
					w.WriteHeader(http.StatusOK)
					if row.leavesAfter {
						leave()
					}
				})).ServeHTTP(httptest.NewRecorder(), r)
				synctest.Wait()
				assert.NotEmpty(t, s.Values()[a.OriginOf(t)+".ended"])
				assert.Equal(t, apptest.Refused, a.On(m[1]).Get("sid=ada-1").String())
			})
		})
	}
}

// One machine moves ada's session. While its handler runs, ada logs out on
// another machine. The response of the first machine sets no session.
func TestLogoutElsewhereWhileTheHandlerRuns(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Handler = func(http.ResponseWriter, *http.Request) {
			r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			require.NoError(t, m[1].Logout(httptest.NewRecorder(), r))
		}
		got := a.On(m[0]).Get("sid=ada-1")
		a.Handler = nil
		assert.Empty(t, got.Cookies())
		for _, machine := range m {
			assert.Equal(t, "refused", a.On(machine).Get("sid=ada-1").Saw)
		}
	})
}

// adaThenBob is an App.Resolve: ada signed in now, and bob signs in a minute later.
func adaThenBob() func(string) (stytchmigrate.LegacySession, error) {
	began := time.Now()
	return func(value string) (stytchmigrate.LegacySession, error) {
		name, _, _ := strings.Cut(value, "-")
		s := apptest.LegacySession(name, value)
		s.StartedAt = map[string]time.Time{"ada": began, "bob": began.Add(time.Minute)}[name]
		return s, nil
	}
}

// Bob signs in later at ada's browser, so bob's session wins and ada's is
// revoked. Ada did not log out: where a machine hears from Stytch that ada's
// session is gone, ada's legacy session may still move.
func TestOvertakenSessionMayMoveAgain(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Resolve = adaThenBob()
		cookies := a.On(m[0]).Get("sid=ada-1").Jar("")
		time.Sleep(6 * time.Minute)
		require.Contains(t, a.On(m[1]).Get(cookies+"; sid=bob-1").String(), "migrated bob |")
		synctest.Wait()
		a.On(m[2]).Get(cookies) // another tab of that browser, at the same time
		assert.Equal(t, apptest.Moved, a.On(m[0]).Get("sid=ada-1").String())
	})
}

// As above, but the store loses what the machine wrote of ada's record, and
// keeps the mark that the Stytch session ended.
func TestOvertakenSessionMayMoveAgainThoughTheStoreLostARecord(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		a.Resolve = adaThenBob()
		cookies := a.On(m[0]).Get("sid=ada-1").Jar("")
		time.Sleep(2 * time.Minute)
		require.Contains(t, a.On(m[1]).Get(cookies).String(), "authenticated ada")
		restore := s.Snapshot()
		require.Contains(t, a.On(m[1]).Get(cookies+"; sid=bob-1").String(), "migrated bob |")
		synctest.Wait()
		restore()
		time.Sleep(10 * time.Second)
		assert.Equal(t, apptest.Moved, a.On(m[2]).Get("sid=ada-1").String())
	})
}

// Stytch answers an exchange so late that the machine has lost its claim to
// another machine. The session that the exchange made is revoked, because no
// browser will have it.
func TestSessionWhoseClaimIsLostIsRevoked(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		hold := &stytchtest.Hold{}
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		var key string
		s.Fail(func(op, of string) error {
			if op == "claim" {
				key = of
			}
			return nil
		})
		go apptest.CrowdAcross(m[:1], 1)
		synctest.Wait()
		s.Fail(nil)
		s.LoseClaims()
		got, err := s.Claim(t.Context(), key, "another", time.Hour) // which makes no record
		require.NoError(t, err)
		require.True(t, got)
		hold.Release()
		time.Sleep(30 * time.Second)
		require.Len(t, a.Stytch.Sessions(), 1)
		assert.False(t, a.Stytch.Sessions()[0].Live)
	})
}
