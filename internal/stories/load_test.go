package stories_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/internal/apptest/scale"
	"example.com/stytchmigrate/stytchtest"
)

// The whole project is throttled: exchanges pause for as long as Stytch says.
func TestThrottledForBadTokens(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.Expired(a.Ada, "both")
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(429, "too_few_tokens_authenticated").WithHeader("Retry-After", "20"))
		out := a.GetRequiringUser("sid=ada-1")
		assert.Equal(t, "handler not run | - | no-store | migrate", out.String())
		assert.Equal(t, "20", out.Header().Get("Retry-After"))

		time.Sleep(5*time.Second + 1)
		for _, sid := range []string{"ada-1", "ada-2"} {
			out = a.GetRequiringUser("sid=" + sid)
			assert.Equal(t, "handler not run | - | no-store | -", out.String())
			assert.Equal(t, "15", out.Header().Get("Retry-After"), "what is left of it")
		}
		assert.Equal(t, apptest.Refreshed, a.Get(cookies).String(), "sessions do not pause")
		require.Len(t, a.SettledEvents(), 1)
		e := a.SettledEvents()[0]
		assert.Equal(t, "paused", e.Kind)
		assert.Equal(t, 20*time.Second, e.Duration)
		assert.EqualError(t, e.Err, "stytchmigrate: exchange: paused")
		assert.Contains(t, a.Log.String(), `"level":"WARN","msg":"stytchmigrate: paused","calls":"exchange"`)

		time.Sleep(15 * time.Second)
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
	})
}

// Stytch is down: after a few calls it is left alone, and users have their
// answer at once. That is told once, and not for each of them.
func TestStytchIsDown(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable"))
		for i := range 5 {
			assert.Equal(t, apptest.UnavailableUntouched+"migrate migrate", a.Get(fmt.Sprint("sid=", i)).String())
		}
		synctest.Wait()
		assert.Contains(t, a.Log.String(), `"level":"WARN","msg":"stytchmigrate: breaker open","calls":"exchange"`)
		a.Log.Reset()
		start := time.Now()
		n := scale.Down(2000)
		for i := range n {
			require.Equal(t, apptest.UnavailableUntouched+"-", a.Get(fmt.Sprint("sid=", i)).String())
			assert.EqualValues(t, fmt.Sprint(i), a.LegacySeen.ID, "the old code can still serve the user")
		}
		apptest.RequireTook(t, 0, start)
		assert.EqualError(t, a.Requests[len(a.Requests)-1].Err, "stytchmigrate: migrate: held back: breaker is open")
		assert.Equal(t, n, strings.Count(a.Log.String(), `"level":"DEBUG"`))
		assert.Equal(t, n, strings.Count(a.Log.String(), "\n"), "and no louder")
		assert.Equal(t, "5", a.GetRequiringUser("sid=0").Header().Get("Retry-After"))

		a.Stytch.Heal(stytchtest.Any)
		time.Sleep(5*time.Second + 1)
		assert.Equal(t, apptest.Swapped, a.Get("sid=0").String())
		var told []string
		for _, e := range a.SettledEvents() {
			assert.Equal(t, "breaker", e.Kind)
			told = append(told, e.Err.Error())
		}
		assert.Equal(t, []string{
			"stytchmigrate: exchange: breaker open",
			"stytchmigrate: exchange: breaker half-open",
			"stytchmigrate: exchange: breaker closed",
		}, told)
		assert.Contains(t, a.Log.String(), `"level":"INFO","msg":"stytchmigrate: breaker closed","calls":"exchange","failures":5`)
	})
}

// A flood of tokens that somebody made up, and Stytch that fails over it. Each
// row is a user in the midst of it.
func TestFloodOfTokens(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *apptest.App) string
		want    string
	}{
		"whose JWT verifies":               {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c }, apptest.AuthenticatedUntouched + "authenticate"},
		"whose JWT has expired":            {func(a *apptest.App) string { c, _ := a.Expired(a.Ada, "jwt"); return c }, apptest.Refreshed},
		"with a token beside that":         {func(a *apptest.App) string { c, _ := a.Expired(a.Ada, "both"); return c }, apptest.Refreshed},
		"whose token is known":             {aged, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate"},
		"whose token nobody knows":         {func(a *apptest.App) string { c, _ := a.Expired(a.Ada, "session"); return c }, apptest.UnavailableUntouched + "-"},
		"who has only a legacy session":    {func(*apptest.App) string { return "sid=ada-1" }, apptest.Swapped},
		"who has nothing but old cookies":  {func(*apptest.App) string { return "sid=nobody" }, "anonymous" + apptest.CookiesUntouched + "-"},
		"whose JWT is another's than that": {mixed, apptest.Refreshed},
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

// aged is the token of a session that was made here, and whose JWT has expired.
func aged(a *apptest.App) string {
	cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
	time.Sleep(6 * time.Minute)
	token, _, _ := strings.Cut(cookies, "; ")
	return token
}

// mixed is an expired JWT of ada's beside a token of nobody's.
func mixed(a *apptest.App) string {
	jwt, _ := a.Expired(a.Ada, "jwt")
	return jwt + "; stytch_session=AAAA"
}

// Logouts of made-up sessions don't stand in the way of one that is known.
func TestFloodOfLogouts(t *testing.T) {
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
