package stories_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// The old code logs a user out by expiring its own cookie, and knows nothing of
// Stytch. These tests do that in the worst moments: during an outage, before Stytch
// has answered, or while another request waits for the same exchange. No request may
// be signed in afterwards. The plain cases are in the root's keep_test.go.

// Each row is a request that carries ada's Stytch cookies, and that the old code
// serves: Stytch can't be asked, or bob signed in later. Its handler logs out. The
// next request of that browser must not be ada's.
func TestOldLogoutBesideAStytchSession(t *testing.T) {
	down := func(a *apptest.App) { a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down")) }
	bob := func(a *apptest.App) { a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down")) }
	for name, row := range map[string]struct {
		script  func(a *apptest.App)
		sid     string
		rollout stytchmigrate.Rollout
		want    string
	}{
		"Stytch is down":              {down, "ada-1", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, "unavailable"},
		"Stytch is down, a later one": {down, "ada-2", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, "unavailable"},
		"Stytch is down, another one": {down, "bob-1", stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}, "unavailable"},
		"Stytch is down, in replace":  {down, "ada-1", stytchmigrate.Rollout{HoldBack: 100}, "unavailable"},
		"a later one, in an outage":   {bob, "bob-1", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = signedInAt(time.Now().Add(time.Minute))
				stytch := a.Get("sid=ada-1").Jar("")
				time.Sleep(6 * time.Minute)
				if strings.HasPrefix(name, "a later one") { // of a session that is known, for the rows are about bob
					stytch = a.Get(stytch).Jar(stytch)
				}
				a.SetRollout(t, row.rollout)
				row.script(a)
				a.Handler = apptest.LegacyLogout
				out := a.Get(stytch + "; sid=" + row.sid)
				assert.Equal(t, row.want+" | -sid -stytch_session -stytch_session_jwt -sid | no-store", strings.Join(strings.Split(out.String(), " | ")[:3], " | "))
				synctest.Wait()
				a.Handler = nil
				a.Stytch.Heal(stytchtest.Any)
				time.Sleep(10 * time.Second) // until the breaker closes
				assert.NotContains(t, a.Get(stytch).Saw, "ada", "nor by a copy")
				assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid="+row.sid).String())
			}, apptest.Stage(stytchmigrate.StageKeep))
		})
	}
}

// signedInAt resolves the sessions of ada and bob. Both signed in at the given time.
func signedInAt(at time.Time) func(string) (stytchmigrate.LegacySession, error) {
	return func(v string) (stytchmigrate.LegacySession, error) {
		name, _, _ := strings.Cut(v, "-")
		s := apptest.LegacySession(name, v)
		s.StartedAt = at
		return s, nil
	}
}

// The request gives up before Stytch answers its exchange, and its handler logs out.
// Neither a request that waits for the same exchange nor a copy of the cookie is
// signed in by the late answer.
func TestOldLogoutBeforeStytchAnswers(t *testing.T) {
	for _, s := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(10*time.Second))
			a.Handler = apptest.LegacyLogout
			assert.Equal(t, "unavailable | -sid -stytch_session -stytch_session_jwt -sid | no-store | migrate migrate", a.Get("sid=ada-1").String())
			a.Handler = nil
			assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
			time.Sleep(10 * time.Second)
			assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
			for _, made := range a.Stytch.Sessions() {
				assert.False(t, made.Live)
			}
		}, apptest.Stage(s))
	}
}

// Other requests wait for the same exchange, on the same machine and on others.
func TestOldLogoutWhileAnotherRequestWaits(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(6*time.Second))
		waiting := make(chan []*apptest.Visitor)
		go func() {
			time.Sleep(4900 * time.Millisecond)
			waiting <- apptest.CrowdAcross(m, 6)
		}()
		a.Handler = apptest.LegacyLogout
		assert.Equal(t, "unavailable", a.On(m[0]).Get("sid=ada-1").Saw)
		for _, got := range <-waiting {
			assert.Empty(t, got.Result().Cookies())
		}
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// PerSecond is spent on the machine that serves the logout. Another machine has
// started the exchange.
func TestOldLogoutWherePerSecondIsSpent(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.On(m[0]).SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, PerSecond: 0.01})
		a.Get("sid=bob-1")
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(2*time.Second))
		waiting := make(chan []*apptest.Visitor)
		go func() { waiting <- apptest.CrowdAcross(m[1:], 4) }()
		time.Sleep(time.Second)
		a.Handler = apptest.LegacyLogout
		assert.Equal(t, "legacy", a.Get("sid=ada-1").Saw)
		for _, got := range <-waiting {
			assert.Equal(t, stytchmigrate.OutcomeRefused, got.Outcome)
			assert.Empty(t, got.Result().Cookies())
		}
	}, apptest.Stage(stytchmigrate.StageKeep))
}
