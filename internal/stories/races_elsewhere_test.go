package stories_test

import (
	"context"
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
)

// An unchanged logout handler expires the old cookie, and the client has left: the
// other machines hear of it all the same.
func TestUserLeftClientGone(t *testing.T) {
	for _, gone := range []bool{false, true} {
		apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
			w := httptest.NewRecorder()
			ctx, cancel := context.WithCancel(context.Background())
			r := httptest.NewRequest(http.MethodPost, "https://app.example.com/old-logout", nil).WithContext(ctx)
			r.Header.Set("Cookie", "sid=ada-1")
			m[0].Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				http.SetCookie(w, &http.Cookie{Name: "sid", MaxAge: -1, Path: "/"})
				w.WriteHeader(200)
				if gone {
					cancel()
				}
			})).ServeHTTP(w, r)
			synctest.Wait()
			time.Sleep(time.Second)
			out := a.On(m[1]).Get("sid=ada-1").String()
			assert.Equal(t, apptest.RefusedUntouched+"-", out)
			cancel()
		})
	}
}

// A session that ran out is no witness for the brake.
func TestBrakeWhereTheWitnessRanOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		u := a.Stytch.NewSession(a.Ada.ID, 9*time.Minute)
		tabs := a.Browsers(1)
		time.Sleep(6 * time.Minute)
		require.Contains(t, a.Get("stytch_session="+u.Token+"; stytch_session_jwt="+u.JWT).String(), "authenticated ada")
		time.Sleep(4 * time.Minute)
		a.Stytch.RevokeSession(a.Stytch.Sessions()[1].ID)
		assert.Equal(t, apptest.SignedOutAfter+"authenticate authenticate", tabs[0].Visit().String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// What the package itself revoked is not ended, though the store missed half of it.
func TestOvertakenForgetLost(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		started := time.Now()
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			name, _, _ := strings.Cut(v, "-")
			x := apptest.LegacySession(name, v)
			x.StartedAt = started
			if name == "bob" {
				x.StartedAt = started.Add(time.Minute)
			}
			return x, nil
		}
		cookies := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(2 * time.Minute)
		require.Contains(t, a.On(m[1]).Get(cookies).String(), "authenticated ada")
		restore := s.Snapshot()
		require.Contains(t, a.On(m[1]).Get(cookies+"; sid=bob-1").String(), "migrated bob |")
		synctest.Wait()
		restore() // the put of forget was lost; the mark of endSession was not
		time.Sleep(10 * time.Second)
		assert.Equal(t, apptest.Swapped, a.On(m[2]).Get("sid=ada-1").String())
		time.Sleep(time.Hour)
	})
}
