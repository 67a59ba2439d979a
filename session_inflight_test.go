package stytchmigrate_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// A page is slow to write its first byte; meanwhile the user logs out in
// another tab. The page's answer does not bring the session back.
func TestLogoutBeforeAPageIsWritten(t *testing.T) {
	for name, cookies := range map[string]func(*app) (string, string){
		"refreshed": func(a *app) (string, string) {
			sent, s := a.expired(a.ada, "both")
			return sent, "stytch_session_jwt=" + a.stytch.JWT(s.ID)
		},
		"migrated": func(a *app) (string, string) { return "sid=ada-1", "sid=ada-1" },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				slow, other := cookies(a)
				var page *reply
				done, finish := make(chan struct{}), make(chan struct{})
				a.handler = func(w http.ResponseWriter, r *http.Request) { <-finish }
				go func() { page = a.get(slow); close(done) }()
				synctest.Wait()
				a.logOut(other)
				close(finish)
				<-done
				for _, c := range page.cookies() {
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
			inBubble(t, func(t *testing.T, a *app) {
				var hold stytchtest.Hold
				sent, _ := a.expired(a.ada, cookies)
				a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Fault{}.AfterWork().WithHold(&hold))
				var saw []string
				done := make(chan struct{})
				go func() {
					time.Sleep(4 * time.Second)
					saw = a.each(1, sent)
					close(done)
				}()
				require.Equal(t, "unavailable | "+loggedOut+calls, a.logOut(sent).String())
				hold.Release()
				<-done
				assert.Equal(t, []string{gone}, saw)
			})
		})
	}
}
