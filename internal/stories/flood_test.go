package stories_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/internal/apptest/scale"
	"example.com/stytchmigrate/stytchtest"
)

// The story of a flood of made-up cookies. Calls for sessions that nothing
// vouches for have a limit and a breaker of their own, so users don't notice the
// flood.

// A flood of made-up session tokens comes with exchanges that fail. Users whose
// JWT has expired are refreshed at once, and the flood costs a bounded number of
// calls.
func TestUsersAreRefreshedDuringAFlood(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		most   int // calls in ten seconds
	}{
		"Stytch does not know the tokens": {404, `{"status_code":404,"error_type":"session_not_found"}`, 100 + 10*25},
		"Stytch fails over them":          {500, "", 2 * (16 + 4 + 2)}, // those in flight, beside four that failed, and two probes
	} {
		t.Run(name, func(t *testing.T) {
			var flood splitTransport
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				flood.stytch, a.Resolve = a.Stytch.RoundTripper(), apptest.ResolveAsAda
				users := tenExpired(a)
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(500, "internal_server_error"))
				n := scale.Down(2_500)
				every := n / len(users)
				all := stream(a, n, 10*time.Second/time.Duration(n), func(i int) string {
					switch {
					case i%every == every-1:
						return users[i/every]
					case i%20 == 1:
						return fmt.Sprint("sid=ada-", i)
					}
					return fmt.Sprintf("stytch_session=made-up-%044d", i)
				})
				for i := every - 1; i < n; i += every {
					assert.Equal(t, served{"authenticated ada", 0}, all[i])
				}
				assert.LessOrEqual(t, int(flood.calls.Load()), row.most)
				assert.GreaterOrEqual(t, int(flood.calls.Load()), 10)
				for _, e := range a.SettledEvents() {
					assert.NotContains(t, e.Err.Error(), "stytchmigrate: session:")
				}
			}, apptest.LogWarnings(io.Discard), apptest.Through(flood.answering(row.status, row.body)))
		})
	}
}

// splitTransport answers the calls of the flood, and sends all others to Stytch.
type splitTransport struct {
	stytch http.RoundTripper
	calls  atomic.Int64 // of the flood
}

func (s *splitTransport) answering(status int, body string) apptest.RoundTripper {
	return func(r *http.Request) (*http.Response, error) {
		if !isMadeUp(r) {
			return s.stytch.RoundTrip(r)
		}
		s.calls.Add(1)
		return apptest.Answering(status, strings.NewReader(body))(r)
	}
}

// isMadeUp looks for a token of the flood in the body of a call.
func isMadeUp(r *http.Request) bool {
	if r.GetBody == nil {
		return false
	}
	body, err := r.GetBody()
	if err != nil {
		return false
	}
	defer body.Close()
	sent, _ := io.ReadAll(body)
	return bytes.Contains(sent, []byte("made-up-"))
}

// tenExpired are sessions of ada's whose JWT has expired, every other one
// without its token.
func tenExpired(a *apptest.App) (users []string) {
	for i := range 10 {
		both, _ := a.SignedIn(a.Ada)
		_, jwt, _ := strings.Cut(both, "; ")
		users = append(users, []string{both, jwt}[i%2])
	}
	time.Sleep(6 * time.Minute)
	return users
}

// A flood of made-up tokens makes Stytch fail. Each row is a user who comes in
// the midst of it. Only a user whom nothing vouches for is unavailable.
func TestFloodOfTokensOpensABreakerOfItsOwn(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *apptest.App) string
		want    string
	}{
		"the JWT verifies":                       {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c }, apptest.AuthenticatedUntouched + "authenticate"},
		"the JWT has expired":                    {expiredCookies("jwt"), apptest.Refreshed},
		"the JWT has expired, beside its token":  {expiredCookies("both"), apptest.Refreshed},
		"the JWT has expired, beside a made-up":  {func(a *apptest.App) string { return expiredCookies("jwt")(a) + "; stytch_session=AAAA" }, apptest.Refreshed},
		"a token that this machine knows":        {tokenOfAnExchange, apptest.Refreshed},
		"a token that this machine doesn't know": {expiredCookies("session"), apptest.UnavailableUntouched + "-"},
		"a legacy session":                       {func(*apptest.App) string { return "sid=ada-1" }, apptest.Moved},
		"no session":                             {func(*apptest.App) string { return "sid=nobody" }, apptest.Anonymous},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := row.cookies(a)
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
				a.Crowd(scale.Down(1000), func(i int, r *http.Request) (*http.Request, time.Duration) {
					r.Header.Set("Cookie", fmt.Sprint("stytch_session=", i))
					return r, 0
				})
				a.Stytch.Heal(stytchtest.Any)
				assert.Equal(t, row.want, a.Get(cookies).String())
				for _, e := range a.SettledEvents() {
					assert.Contains(t, e.Err.Error(), ": unvouched session: ")
				}
			})
		})
	}
}

// expiredCookies are the cookies of App.Expired.
func expiredCookies(names string) func(a *apptest.App) string {
	return func(a *apptest.App) string { c, _ := a.Expired(a.Ada, names); return c }
}

// tokenOfAnExchange is the token of a session that was made here, six minutes
// ago.
func tokenOfAnExchange(a *apptest.App) string {
	cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
	time.Sleep(6 * time.Minute)
	return only("stytch_session=", cookies)
}

// A flood of logouts with made-up tokens is held back. Its cookies are cleared
// without a call. A user's logout revokes the session at Stytch.
func TestFloodOfLogoutsHoldsNoUserBack(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		for i := range 200 {
			a.LogOut(fmt.Sprint("stytch_session=", i))
		}
		assert.Equal(t, "unavailable"+apptest.CookiesCleared+"-", a.LogOut("stytch_session=AAAA").String(), "held back")
		assert.Equal(t, "authenticated ada"+apptest.CookiesCleared+"revoke", a.LogOut(cookies).String())
		assert.False(t, a.Stytch.Sessions()[0].Live)
	})
}
