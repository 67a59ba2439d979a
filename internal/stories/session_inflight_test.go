package stories_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// A page is slow to write its first byte; meanwhile the user logs out in
// another tab. The page's answer does not bring the session back.
func TestLogoutBeforeAPageIsWritten(t *testing.T) {
	for name, cookies := range map[string]func(*apptest.App) (string, string){
		"refreshed": func(a *apptest.App) (string, string) {
			sent, s := a.Expired(a.Ada, "both")
			return sent, "stytch_session_jwt=" + a.Stytch.JWT(s.ID)
		},
		"migrated": func(a *apptest.App) (string, string) { return "sid=ada-1", "sid=ada-1" },
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				slow, other := cookies(a)
				var page *apptest.Reply
				done, finish := make(chan struct{}), make(chan struct{})
				a.Handler = func(w http.ResponseWriter, r *http.Request) { <-finish }
				go func() { page = a.Get(slow); close(done) }()
				synctest.Wait()
				a.LogOut(other)
				close(finish)
				<-done
				for _, c := range page.Cookies() {
					assert.NotContains(t, []string{"+stytch_session", "+stytch_session_jwt"}, c)
				}
			})
		})
	}
}

// Stytch says nothing, so that a logout knows the session by its cookies alone;
// an answer that comes after it hands the session to nobody.
func TestLogoutOfASessionThatNobodyVouchedFor(t *testing.T) {
	for cookies, calls := range map[string]string{"session": "revoke", "jwt": "revoke", "both": "revoke revoke"} {
		t.Run(cookies, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var hold stytchtest.Hold
				sent, _ := a.Expired(a.Ada, cookies)
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Fault{}.AfterWork().WithHold(&hold))
				var saw []string
				done := make(chan struct{})
				go func() {
					time.Sleep(4 * time.Second)
					saw = a.Each(1, sent)
					close(done)
				}()
				require.Equal(t, "unavailable | "+apptest.LoggedOutCookies+calls, a.LogOut(sent).String())
				hold.Release()
				<-done
				assert.Equal(t, []string{apptest.AnonymousCleared}, saw)
			})
		})
	}
}
