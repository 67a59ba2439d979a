package browser

import (
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// Ada logs out in one tab while a page of another is still on its way. Whatever
// that page was to write, nobody is signed in afterwards.
func TestLogoutBesideASlowPage(t *testing.T) { inEngines(t, logoutBesideASlowPage) }

func logoutBesideASlowPage(t *testing.T, e *engine, table *results) {
	for _, tt := range []struct {
		name    string
		stage   stytchmigrate.Stage
		moved   bool // by a page before; the slow one refreshes the session
		outcome stytchmigrate.Outcome
		begun   bool // the slow page's header has gone out
	}{
		{"the slow page moves her", stytchmigrate.StageReplace, false, stytchmigrate.OutcomeMigrated, false},
		{"the slow page moves her and has begun", stytchmigrate.StageReplace, false, stytchmigrate.OutcomeMigrated, true},
		{"the slow page moves her in stage Keep", stytchmigrate.StageKeep, false, stytchmigrate.OutcomeMigrated, false},
		{"the slow page refreshes her session", stytchmigrate.StageReplace, true, stytchmigrate.OutcomeAuthenticated, false},
		{"the slow page refreshes her session and has begun", stytchmigrate.StageReplace, true, stytchmigrate.OutcomeAuthenticated, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, p := newApp(t, func(c *stytchmigrate.Config) { c.Rollout.Stage = tt.stage }), newTab(t, e)
			other, goOn := p.another(), a.servesSlowly(tt.begun)
			a.opens(p, a.before("app.test", newOld("Path=/")))
			if tt.moved {
				a.stytch.SetClock(func() time.Time { return time.Now().Add(-6 * time.Minute) }) // the JWT has expired
				a.opens(p, a.at("app.test", "/"))
				a.stytch.SetClock(nil)
			}
			before := texts(other.jar())
			slow := p.begins(a.at("app.test", "/slow"))
			require.Eventually(t, func() bool { v := a.seen("/slow"); return len(v) == 1 && v[0].outcome == tt.outcome }, patience, time.Millisecond)
			if tt.begun {
				require.Eventually(t, func() bool { return !slices.Equal(before, texts(other.jar())) }, patience, time.Millisecond, "the browser has what was written")
			}
			a.opens(other, a.at("app.test", "/logout"))
			assert.Empty(t, other.jar(), "right after the logout")
			goOn()
			slow()
			table.say(t, "%s", a.isLeftBy(p, other))
		})
	}
}

// servesSlowly adds a page that comes when it is told to go on.
func (a *app) servesSlowly(begun bool) (goOn func()) {
	wait := make(chan struct{})
	a.pages.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		if begun {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!DOCTYPE html>") // Firefox reads the header once there is a body
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-wait:
		case <-r.Context().Done():
		}
		a.page(w, r)
	})
	return func() { close(wait) }
}

// isLeftBy holds that nobody is signed in, in any of the tabs.
func (a *app) isLeftBy(tabs ...*tab) string {
	for _, p := range tabs {
		p.t.Helper()
		assert.Empty(p.t, p.jar())
		v := a.opens(p, a.at("app.test", "/next"))
		assert.Equal(p.t, nobody, v.who())
		assert.Empty(p.t, v.carried)
		require.Len(p.t, a.stytch.Sessions(), 1)
		assert.True(p.t, a.stytch.Sessions()[0].Revoked)
	}
	return "nobody is signed in, no cookie is left"
}
