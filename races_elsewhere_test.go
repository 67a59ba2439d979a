package stytchmigrate_test

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
	"example.com/stytchmigrate/storetest"
)

// An unchanged logout handler expires the old cookie, and the client has left: the
// other machines hear of it all the same.
func TestUserLeftClientGone(t *testing.T) {
	for _, gone := range []bool{false, true} {
		inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
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
			out := a.on(m[1]).get("sid=ada-1").String()
			assert.Equal(t, refusedKeep+"-", out)
			cancel()
		})
	}
}

// A session that ran out is no witness for the brake.
func TestBrakeWhereTheWitnessRanOut(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		u := a.stytch.NewSession(a.ada.ID, 9*time.Minute)
		tabs := a.many(1)
		time.Sleep(6 * time.Minute)
		require.Contains(t, a.get("stytch_session="+u.Token+"; stytch_session_jwt="+u.JWT).String(), "authenticated ada")
		time.Sleep(4 * time.Minute)
		a.stytch.RevokeSession(a.stytch.Sessions()[1].ID)
		assert.Equal(t, endedReply+"authenticate authenticate", tabs[0].visit().String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// What the package itself revoked is not ended, though the store missed half of it.
func TestOvertakenForgetLost(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		started := time.Now()
		a.resolve = func(v string) (stytchmigrate.LegacySession, error) {
			name, _, _ := strings.Cut(v, "-")
			x := legacySession(name, v)
			x.StartedAt = started
			if name == "bob" {
				x.StartedAt = started.Add(time.Minute)
			}
			return x, nil
		}
		cookies := a.on(m[0]).get("sid=ada-1").jar("sid=ada-1")
		time.Sleep(2 * time.Minute)
		require.Contains(t, a.on(m[1]).get(cookies).String(), "authenticated ada")
		restore := s.Snapshot()
		require.Contains(t, a.on(m[1]).get(cookies+"; sid=bob-1").String(), "migrated bob |")
		synctest.Wait()
		restore() // the put of forget was lost; the mark of endSession was not
		time.Sleep(10 * time.Second)
		assert.Equal(t, swapped, a.on(m[2]).get("sid=ada-1").String())
		time.Sleep(time.Hour)
	})
}
