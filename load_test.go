package stytchmigrate_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// aPause is the time before a second try, which is random.
const aPause = 100 * time.Millisecond

// took asserts how long what came before took.
func took(t *testing.T, want time.Duration, start time.Time) {
	t.Helper()
	if want == aPause {
		assert.InDelta(t, want, time.Since(start), float64(aPause/2))
		return
	}
	assert.Equal(t, want, time.Since(start))
}

// heard waits for what is told in goroutines of its own.
func (a *app) heard() []stytchmigrate.Event {
	synctest.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.events
}

// everybody has a legacy session of their own.
func everybody(v string) (stytchmigrate.LegacySession, error) { return legacySession("ada", v), nil }

// The whole project is throttled: exchanges pause for as long as Stytch says.
func TestThrottledForBadTokens(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies := a.stale(a.ada)
		a.stytch.Fail(stytchtest.Migrate, stytchtest.Error(429, "too_few_tokens_authenticated").WithHeader("Retry-After", "20"))
		out := a.required("sid=ada-1")
		assert.Equal(t, "handler not run | - | no-store | migrate", out.String())
		assert.Equal(t, "20", out.Header().Get("Retry-After"))

		time.Sleep(5*time.Second + 1)
		for _, sid := range []string{"ada-1", "ada-2"} {
			out = a.required("sid=" + sid)
			assert.Equal(t, "handler not run | - | no-store | -", out.String())
			assert.Equal(t, "15", out.Header().Get("Retry-After"), "what is left of it")
		}
		assert.Equal(t, refreshed, a.get(cookies).String(), "sessions do not pause")
		require.Len(t, a.heard(), 1)
		e := a.heard()[0]
		assert.Equal(t, "paused", e.Kind)
		assert.Equal(t, 20*time.Second, e.Duration)
		assert.EqualError(t, e.Err, "stytchmigrate: exchange: paused")
		assert.Contains(t, a.log.String(), `"level":"WARN","msg":"stytchmigrate: paused","calls":"exchange"`)

		time.Sleep(15 * time.Second)
		assert.Equal(t, swapped, a.get("sid=ada-1").String())
	})
}

// Stytch is down: after a few calls it is left alone, and users have their
// answer at once. That is told once, and not for each of them.
func TestStytchIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = everybody
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable"))
		for i := range 5 {
			assert.Equal(t, unavailableKeep+"migrate migrate", a.get(fmt.Sprint("sid=", i)).String())
		}
		synctest.Wait()
		assert.Contains(t, a.log.String(), `"level":"WARN","msg":"stytchmigrate: breaker open","calls":"exchange"`)
		a.log.Reset()
		start := time.Now()
		n := load(2000)
		for i := range n {
			require.Equal(t, unavailableKeep+"-", a.get(fmt.Sprint("sid=", i)).String())
			assert.EqualValues(t, fmt.Sprint(i), a.legacySeen.ID, "the old code can still serve the user")
		}
		took(t, 0, start)
		assert.EqualError(t, a.requests[len(a.requests)-1].Err, "stytchmigrate: migrate: held back: breaker is open")
		assert.Equal(t, n, strings.Count(a.log.String(), `"level":"DEBUG"`))
		assert.Equal(t, n, strings.Count(a.log.String(), "\n"), "and no louder")
		assert.Equal(t, "5", a.required("sid=0").Header().Get("Retry-After"))

		a.stytch.Heal(stytchtest.Any)
		time.Sleep(5*time.Second + 1)
		assert.Equal(t, swapped, a.get("sid=0").String())
		var told []string
		for _, e := range a.heard() {
			assert.Equal(t, "breaker", e.Kind)
			told = append(told, e.Err.Error())
		}
		assert.Equal(t, []string{
			"stytchmigrate: exchange: breaker open",
			"stytchmigrate: exchange: breaker half-open",
			"stytchmigrate: exchange: breaker closed",
		}, told)
		assert.Contains(t, a.log.String(), `"level":"INFO","msg":"stytchmigrate: breaker closed","calls":"exchange","failures":5`)
	})
}

// A flood of tokens that somebody made up, and Stytch that fails over it. Each
// row is a user in the midst of it.
func TestFloodOfTokens(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *app) string
		want    string
	}{
		"whose JWT verifies":               {func(a *app) string { c, _ := a.signedIn(a.ada); return c }, fromJWT + "authenticate"},
		"whose JWT has expired":            {func(a *app) string { c, _ := a.expired(a.ada, "jwt"); return c }, refreshed},
		"with a token beside that":         {func(a *app) string { c, _ := a.expired(a.ada, "both"); return c }, refreshed},
		"whose token is known":             {aged, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate"},
		"whose token nobody knows":         {func(a *app) string { c, _ := a.expired(a.ada, "session"); return c }, unavailableKeep + "-"},
		"who has only a legacy session":    {func(*app) string { return "sid=ada-1" }, swapped},
		"who has nothing but old cookies":  {func(*app) string { return "sid=nobody" }, "anonymous" + keep + "-"},
		"whose JWT is another's than that": {mixed, refreshed},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies := row.cookies(a)
				a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
				a.crowd(load(1000), func(i int, r *http.Request) (*http.Request, time.Duration) {
					r.Header.Set("Cookie", fmt.Sprint("stytch_session=", i))
					return r, 0
				})
				a.stytch.Heal(stytchtest.Any)
				assert.Equal(t, row.want, a.get(cookies).String())
				for _, e := range a.heard() {
					assert.Contains(t, e.Err.Error(), ": unvouched session: ")
				}
			})
		})
	}
}

// aged is the token of a session that was made here, and whose JWT has expired.
func aged(a *app) string {
	cookies := a.get("sid=ada-1").jar("sid=ada-1")
	time.Sleep(6 * time.Minute)
	token, _, _ := strings.Cut(cookies, "; ")
	return token
}

// mixed is an expired JWT of ada's beside a token of nobody's.
func mixed(a *app) string {
	jwt, _ := a.expired(a.ada, "jwt")
	return jwt + "; stytch_session=AAAA"
}

// Logouts of made-up sessions don't stand in the way of one that is known.
func TestFloodOfLogouts(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies := a.get("sid=ada-1").jar("sid=ada-1")
		for i := range 200 {
			a.logOut(fmt.Sprint("stytch_session=", i))
		}
		assert.Equal(t, "unavailable"+cleared+"-", a.logOut("stytch_session=AAAA").String(), "held back")
		assert.Equal(t, "authenticated ada"+cleared+"revoke", a.logOut(cookies).String())
		assert.False(t, a.stytch.Sessions()[0].Live)
	})
}
