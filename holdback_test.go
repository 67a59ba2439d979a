package stytchmigrate_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
)

const leftAlone = "legacy" + keep + "-"

// holdBack leaves everybody alone.
func holdBack(c *stytchmigrate.Config) { c.Rollout.HoldBack = 100 }

// Each row is a request where every legacy session is left alone. Nothing is
// called for one, and nothing touched.
func TestHeldBack(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *app, stytch string) string
		want    string
		legacy  stytchmigrate.Secret // ID of the session that LegacyFromContext gives
	}{
		"a legacy session":     {func(*app, string) string { return "theme=dark; sid=ada" }, leftAlone, "ada"},
		"no session":           {func(*app, string) string { return "sid=nobody" }, anonymous, ""},
		"a Stytch session":     {func(_ *app, c string) string { return c }, staysAlone, ""},
		"the same person":      {func(_ *app, c string) string { return c + "; sid=ada" }, staysAlone, ""},
		"another, later":       {func(_ *app, c string) string { return c + "; sid=bob+1h" }, leftAlone, "bob+1h"},
		"another, earlier":     {func(_ *app, c string) string { return c + "; sid=bob-1h" }, staysAnd, ""},
		"another, who knows":   {func(_ *app, c string) string { return c + "; sid=bob" }, neither, ""},
		"a session that ended": {func(a *app, c string) string { a.logOut(c); return c + "; sid=ada" }, "legacy | -stytch_session -stytch_session_jwt | no-store | -", "ada"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies, _ := a.signedIn(a.ada)
				a.asks(t, cookies)
				a.resolve = legacyOf(time.Now(), nil)
				sent := row.cookies(a, cookies)
				for range 2 {
					assert.Equal(t, row.want, a.get(sent).settled())
					assert.Equal(t, row.legacy, a.legacySeen.ID)
				}
				if row.want == leftAlone || row.want == staysAlone {
					assert.Equal(t, sent, a.passedOn[len(a.passedOn)-1])
				}
				if row.legacy != "" {
					a.roll(t, stytchmigrate.Rollout{})
					assert.True(t, strings.HasPrefix(a.get(sent).settled(), "migrated"), "and moves when it is its turn")
				}
			}, holdBack)
		})
	}
}

// Who has moved stays where they are, though all others are left alone now.
func TestHeldBackAfterTheMove(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies := a.get("sid=ada-1").jar("sid=ada-1")
		a.roll(t, stytchmigrate.Rollout{HoldBack: 100})
		assert.Equal(t, staysAlone, a.get(cookies).String())
		assert.Equal(t, leftAlone, a.get("sid=ada-1").String(), "a tab that is late")
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", a.get(cookies).String())
	})
}

// A session that is left alone can be logged out, and is over on every machine,
// whatever the rollout is there.
func TestHeldBackLogout(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.resolve = legacyOf(time.Now(), nil)
		for _, sid := range []string{"sid=ada", "sid=bob+1h"} {
			assert.Equal(t, "legacy"+cleared+"-", a.on(m[0]).logOut(sid).settled())
			for _, machine := range m {
				assert.Equal(t, refusedKeep+"-", a.on(machine).get(sid).String())
				assert.Equal(t, strings.HasPrefix(sid, "sid=ada"), a.legacySeen.ID != "", "without StartedAt it may be a new sign-in")
			}
		}
		a.roll(t, stytchmigrate.Rollout{})
		assert.Equal(t, refusedKeep+"-", a.get("sid=ada").String())
	}, holdBack)
}

// An old logout handler ends the Stytch session too where the rollout leaves both.
func TestHeldBackOldLogout(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		first := a.get("sid=ada-1", method(http.MethodPost))
		both := first.jar("sid=ada-1") + "; sid=ada-1"
		a.roll(t, stytchmigrate.Rollout{HoldBack: 100})
		a.handler = oldLogout
		assert.Equal(t, leftLater, a.get(both).settled())
	})
}

// The old code serves whom RequireUser would turn away.
func TestHeldBackIsSeen(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		assert.Equal(t, leftAlone, a.get("sid=ada-1").String())
		assert.Equal(t, stytchmigrate.OutcomeLegacy, a.requests[0].Outcome)
		assert.NoError(t, a.requests[0].Err)
		assert.NotEmpty(t, a.requests[0].Fingerprint)
		assert.Empty(t, a.log.String())
		assert.Equal(t, http.StatusUnauthorized, a.required("sid=ada-1").Code)
	}, holdBack)
}
