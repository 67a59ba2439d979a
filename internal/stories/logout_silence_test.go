package stories_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// A user logs out while Stytch, or only its key set, is silent. The page does not wait
// longer than Timeout, and the session ends all the same.

// The old code logs a user out while nothing of Stytch answers, the key set neither. The
// request waits for Timeout, and not for the keys again after that.
func TestOldLogoutDoesNotWaitForKeys(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Silence())
		_, s1 := a.SignedIn(a.Ada)
		cookies := "sid=ada-1"
		for range 5 {
			cookies += "; stytch_session_jwt=" + a.Stytch.JWT(s1.ID)
			time.Sleep(time.Second)
		}
		a.Handler = apptest.LegacyLogout
		start := time.Now()
		a.Get(cookies)
		assert.LessOrEqual(t, time.Since(start), 5*time.Second)
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// One JWT, and a Timeout of a second.
func TestOldLogoutWithOneJWTDoesNotWaitForKeys(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		m := a.Machines(t, 1, apptest.Stage(stytchmigrate.StageKeep), func(c *stytchmigrate.Config) { c.Timeout = time.Second })[0]
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Silence())
		cookies, _ := a.SignedIn(a.Ada)
		a.Handler = apptest.LegacyLogout
		start := time.Now()
		a.On(m).Get(cookies + "; sid=ada-1")
		assert.LessOrEqual(t, time.Since(start), time.Second)
	})
}

// The key set is silent, and the rest of Stytch works. A logout must not spend all of its
// time on waiting for the keys: Stytch can revoke the session by its JWT.
func TestLogoutRevokesWhileTheKeySetIsSilent(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		m := a.Machines(t, 1, func(c *stytchmigrate.Config) { c.Timeout = time.Second })[0]
		_, s := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Silence())
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", "stytch_session_jwt="+s.JWT)
		assert.NoError(t, m.Logout(w, r))
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Revoke))
	})
}
