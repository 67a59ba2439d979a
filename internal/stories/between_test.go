package stories

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// Something between the application and Stytch answers in Stytch's place. Each row is
// its answer to a hundred users, one after the other. No setting is blamed. The
// breaker opens, so that most users do not wait for a call that can't succeed.
func TestAnswerFromBetween(t *testing.T) {
	for name, fault := range map[string]stytchtest.Fault{
		"a firewall's 403":    stytchtest.Respond(403, "<html>Forbidden</html>"),
		"a gateway's 403":     stytchtest.Respond(403, `{"message":"Forbidden"}`),
		"a proxy's 401":       stytchtest.Respond(401, "").WithHeader("WWW-Authenticate", "Basic"),
		"a gateway's 404":     stytchtest.Respond(404, "<html>Not Found</html>"),
		"a proxy's 407":       stytchtest.Respond(407, ""),
		"a captive portal":    stytchtest.Redirect("https://login.example/"),
		"a maintenance page":  stytchtest.Respond(200, "<html>Back soon</html>"),
		"a firewall's 418":    stytchtest.Respond(418, "blocked"),
		"a firewall's 406":    stytchtest.Respond(406, "Not Acceptable"),
		"a gateway's 413":     stytchtest.Respond(413, "<html>"),
		"a list, with a type": stytchtest.Respond(400, `[{"error_type":"session_not_found"}]`),
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.ResolveAsAda
				a.Stytch.FailAll(stytchtest.Any, fault)
				calls := 0
				for i := range 100 {
					got := a.Get(fmt.Sprint("sid=ada-", i)).String()
					calls += strings.Count(got, "migrate")
					assert.Equal(t, apptest.UnavailableUntouched, got[:len(apptest.UnavailableUntouched)])
				}
				assert.Equal(t, 5, calls, "of 100 requests")
				assert.NotContains(t, a.Log.String(), "setting")
				assert.NotContains(t, a.Log.String(), "ERROR")

				a.Stytch.Heal(stytchtest.Any)
				time.Sleep(6 * time.Second)
				assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
			})
		})
	}
}

// The secret is wrong. Thirty users, whose sessions are old or Stytch's, come again
// and again. Stytch is asked a few times a minute, the log has one line a minute, and
// nobody is signed out.
func TestWrongCredentials(t *testing.T) {
	for _, fault := range []stytchtest.Fault{
		stytchtest.Error(401, "unauthorized_credentials"),
		stytchtest.Error(400, "invalid_secret_authentication"),
		stytchtest.Error(404, "project_not_found"),
		stytchtest.Error(400, "invalid_consumer_endpoint"),
		stytchtest.Error(403, "billing_not_verified"),
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Resolve = apptest.ResolveAsAda
			var users []string
			for i := range 30 {
				both, _ := a.SignedIn(a.Bob)
				token, jwt, _ := strings.Cut(both, "; ")
				users = append(users, []string{token, jwt}[i%2], fmt.Sprint("sid=ada-", i))
			}
			time.Sleep(6 * time.Minute)
			a.Stytch.FailAll(stytchtest.Any, fault)
			calls := 0
			for range 50 { // 10 s
				for _, cookies := range users {
					got := a.Get(cookies).String()
					assert.Equal(t, apptest.UnavailableUntouched, got[:len(apptest.UnavailableUntouched)])
					calls += strings.Count(got, "migrate") + strings.Count(got, "authenticate")
				}
				time.Sleep(time.Second / 5)
			}
			assert.LessOrEqual(t, calls, 15)
			assert.Equal(t, 1, strings.Count(a.Log.String(), "ERROR"), a.Log.String())

			a.Stytch.Heal(stytchtest.Any)
			time.Sleep(11 * time.Second)
			assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
			assert.Equal(t, strings.Replace(apptest.Refreshed, "ada", "bob", 1), a.Get(users[2]).String())
			assert.Contains(t, a.Log.String(), `"level":"INFO","msg":"stytchmigrate: Stytch accepts calls again"`)
		})
	}
}

// After a deployment no token is in memory. Sixty users a second come with tokens
// that are all good. Each of them is signed in.
func TestGoodTokensAreNotLimited(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var tokens []string
		for range 600 {
			both, _ := a.SignedIn(a.Ada)
			token, _, _ := strings.Cut(both, "; ")
			tokens = append(tokens, token)
		}
		got := map[string]int{}
		for _, cookies := range tokens {
			got[a.Get(cookies).Saw]++
			time.Sleep(time.Second / 60)
		}
		assert.Equal(t, map[string]int{"authenticated ada": 600}, got)
	})
}

// Stytch does not know the telemetry id, which may have expired. The user moves
// without it.
func TestUnknownTelemetryID(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(404, "telemetry_id_not_found"))
		require.Equal(t, apptest.Moved+" migrate", a.Get("sid=ada-1").String())
		assert.Equal(t, "telemetry-1", a.Stytch.Calls()[0].TelemetryID)
		assert.Empty(t, a.Stytch.Calls()[1].TelemetryID)
		assert.Contains(t, a.Log.String(), `"setting":"Config.TelemetryID"`)
	}, func(c *stytchmigrate.Config) {
		c.TelemetryID = func(*http.Request) string { return "telemetry-1" }
	})
}
