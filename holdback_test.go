package stytchmigrate_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
)

// holdBack leaves everybody alone.
func holdBack(c *stytchmigrate.Config) { c.Rollout.HoldBack = 100 }

// Each row is a request where every legacy session is left alone. Nothing is
// called for one, and nothing touched.
func TestHeldBack(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *apptest.App, stytch string) string
		want    string
		legacy  stytchmigrate.Secret // ID of the session that LegacyFromContext gives
	}{
		"a legacy session":     {func(*apptest.App, string) string { return "theme=dark; sid=ada" }, apptest.LeftAlone, "ada"},
		"no session":           {func(*apptest.App, string) string { return "sid=nobody" }, apptest.Anonymous, ""},
		"a Stytch session":     {func(_ *apptest.App, c string) string { return c }, apptest.StaysAlone, ""},
		"the same person":      {func(_ *apptest.App, c string) string { return c + "; sid=ada" }, apptest.StaysAlone, ""},
		"another, later":       {func(_ *apptest.App, c string) string { return c + "; sid=bob+1h" }, apptest.LeftAlone, "bob+1h"},
		"another, earlier":     {func(_ *apptest.App, c string) string { return c + "; sid=bob-1h" }, staysAnd, ""},
		"another, who knows":   {func(_ *apptest.App, c string) string { return c + "; sid=bob" }, neither, ""},
		"a session that ended": {func(a *apptest.App, c string) string { a.LogOut(c); return c + "; sid=ada" }, "legacy | -stytch_session -stytch_session_jwt | no-store | -", "ada"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.SignedIn(a.Ada)
				a.Asks(t, cookies)
				a.Resolve = apptest.Accounts(time.Now(), nil)
				sent := row.cookies(a, cookies)
				for range 2 {
					assert.Equal(t, row.want, a.Get(sent).Settled())
					assert.Equal(t, row.legacy, a.LegacySeen.ID)
				}
				if row.want == apptest.LeftAlone || row.want == apptest.StaysAlone {
					assert.Equal(t, sent, a.PassedOn[len(a.PassedOn)-1])
				}
				if row.legacy != "" {
					a.Roll(t, stytchmigrate.Rollout{})
					assert.True(t, strings.HasPrefix(a.Get(sent).Settled(), "migrated"), "and moves when it is its turn")
				}
			}, holdBack)
		})
	}
}

// Who has moved stays where they are, though all others are left alone now.
func TestHeldBackAfterTheMove(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		a.Roll(t, stytchmigrate.Rollout{HoldBack: 100})
		assert.Equal(t, apptest.StaysAlone, a.Get(cookies).String())
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").String(), "a tab that is late")
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", a.Get(cookies).String())
	})
}

// A session that is left alone can be logged out, and is over on every machine,
// whatever the rollout is there.
func TestHeldBackLogout(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		for _, sid := range []string{"sid=ada", "sid=bob+1h"} {
			assert.Equal(t, "legacy"+apptest.Cleared+"-", a.On(m[0]).LogOut(sid).Settled())
			for _, machine := range m {
				assert.Equal(t, apptest.RefusedUntouched+"-", a.On(machine).Get(sid).String())
				assert.Equal(t, strings.HasPrefix(sid, "sid=ada"), a.LegacySeen.ID != "", "without StartedAt it may be a new sign-in")
			}
		}
		a.Roll(t, stytchmigrate.Rollout{})
		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada").String())
	}, holdBack)
}

// An old logout handler ends the Stytch session too where the rollout leaves both.
func TestHeldBackOldLogout(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("sid=ada-1", apptest.Method(http.MethodPost))
		both := first.Jar("sid=ada-1") + "; sid=ada-1"
		a.Roll(t, stytchmigrate.Rollout{HoldBack: 100})
		a.Handler = apptest.LegacyLogout
		assert.Equal(t, leftLater, a.Get(both).Settled())
	})
}

// The old code serves whom RequireUser would turn away.
func TestHeldBackIsSeen(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").String())
		assert.Equal(t, stytchmigrate.OutcomeLegacy, a.Requests[0].Outcome)
		assert.NoError(t, a.Requests[0].Err)
		assert.NotEmpty(t, a.Requests[0].Fingerprint)
		assert.Empty(t, a.Log.String())
		assert.Equal(t, http.StatusUnauthorized, a.Required("sid=ada-1").Code)
	}, holdBack)
}
