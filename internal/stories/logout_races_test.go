package stories_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// Logout is called while another request of the same browser waits for Stytch. What
// Stytch answers after that must not sign the user in again.

// Another request waits for the exchange.
func TestLogoutDuringAnExchange(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var hold stytchtest.Hold
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(&hold).AfterWork())
		replies := make([]*apptest.Reply, 5)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Go(func() { replies[i] = a.ParallelGet("sid=ada-1") })
		}
		<-hold.Arrived()
		synctest.Wait()
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", "sid=ada-1")
		assert.NoError(t, a.Middleware.Logout(httptest.NewRecorder(), r))
		hold.Release()
		wg.Wait()
		for _, got := range replies {
			assert.Equal(t, "refused", got.Saw)
			assert.Empty(t, got.Cookies())
		}
		assert.False(t, a.Stytch.Sessions()[0].Live)
		assert.Equal(t, "refused"+apptest.CookiesUntouched+"-", a.GetChecked(t, "sid=ada-1").String())
	})
}

// Another request waits for Stytch's answer about the session.
func TestLogoutDuringARefreshOfOneBrowser(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		time.Sleep(10 * time.Minute)
		var hold stytchtest.Hold
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(&hold).AfterWork())
		var got *apptest.Reply
		var wg sync.WaitGroup
		wg.Go(func() { got = a.ParallelGet(cookies) })
		<-hold.Arrived()
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", cookies)
		assert.NoError(t, a.Middleware.Logout(httptest.NewRecorder(), r))
		hold.Release()
		wg.Wait()
		assert.Equal(t, "anonymous", got.Saw)
		assert.Equal(t, "-stytch_session -stytch_session_jwt", strings.Join(got.Cookies(), " "))
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate", a.GetChecked(t, cookies).String())
	})
}

// Logout waits for the key set to verify the JWT beside the legacy cookie. The legacy
// session is refused meanwhile: what Logout knows ends before it waits.
func TestLegacySessionIsRefusedWhileLogoutVerifiesAJWT(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Delay(time.Second))
		var wg sync.WaitGroup
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
			r.Header.Set("Cookie", cookies+"; sid=ada-1")
			assert.NoError(t, a.Middleware.Logout(httptest.NewRecorder(), r))
		})
		synctest.Wait()
		assert.Equal(t, "refused", a.ParallelGet("sid=ada-1").Saw)
		wg.Wait()
		assert.Zero(t, a.Stytch.Count(stytchtest.Migrate))
	})
}
