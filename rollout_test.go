package stytchmigrate_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
)

// Each row is a rollout, and the error of New and SetRollout.
func TestRolloutErrors(t *testing.T) {
	type rollout = stytchmigrate.Rollout
	for name, row := range map[string]struct {
		rollout rollout
		want    string
	}{
		"nothing set":          {rollout{}, ""},
		"everything set":       {rollout{stytchmigrate.StageRetired, 100, []string{"17", "18", "18"}, 0.5, time.Unix(1, 0)}, ""},
		"the highest pace":     {rollout{PerSecond: math.MaxFloat64}, ""},
		"a stage too many":     {rollout{Stage: 5}, "stytchmigrate: Rollout.Stage 5: unknown"},
		"a negative stage":     {rollout{Stage: -1}, "stytchmigrate: Rollout.Stage -1: unknown"},
		"a negative percent":   {rollout{HoldBack: -0.1}, "stytchmigrate: Rollout.HoldBack -0.1: must be from 0 to 100"},
		"over 100 percent":     {rollout{HoldBack: 100.1}, "stytchmigrate: Rollout.HoldBack 100.1: must be from 0 to 100"},
		"a percent of NaN":     {rollout{HoldBack: math.NaN()}, "stytchmigrate: Rollout.HoldBack NaN: must be from 0 to 100"},
		"a negative pace":      {rollout{PerSecond: -1}, "stytchmigrate: Rollout.PerSecond -1: must be 0 or a positive number"},
		"a pace of NaN":        {rollout{PerSecond: math.NaN()}, "stytchmigrate: Rollout.PerSecond NaN: must be 0 or a positive number"},
		"an infinite pace":     {rollout{PerSecond: math.Inf(1)}, "stytchmigrate: Rollout.PerSecond +Inf: must be 0 or a positive number"},
		"a year of 5 digits":   {rollout{Until: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "stytchmigrate: Rollout.Until: the year 10000 has no form in RFC 3339"},
		"the same, in UTC":     {rollout{Until: time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -3600))}, "stytchmigrate: Rollout.Until: the year 10000 has no form in RFC 3339"},
		"a date before year 0": {rollout{Until: time.Date(-1000, 1, 1, 0, 0, 0, 0, time.UTC)}, "stytchmigrate: Rollout.Until: the year -1000 has no form in RFC 3339"},
		"everything is wrong":  {rollout{9, 101, []string{""}, -1, time.Time{}}, "stytchmigrate: Rollout.Stage 9: unknown\nstytchmigrate: Rollout.HoldBack 101: must be from 0 to 100\nstytchmigrate: Rollout.First[0]: must be an Identity.Subject: printable, 1 to 255 bytes, no spaces around it\nstytchmigrate: Rollout.PerSecond -1: must be 0 or a positive number"},
		"the longest subjects": {rollout{First: slices.Repeat([]string{strings.Repeat("x", 255)}, 5000)}, ""},
		"too many subjects":    {rollout{First: make([]string, 5001)}, "stytchmigrate: Rollout.First: has 5001 subjects, 5000 are the most"},
		"too long a subject":   {rollout{First: []string{"17", strings.Repeat("canary", 43)}}, firstError},
		"a subject of spaces":  {rollout{First: []string{"17", " \u00a0"}}, firstError},
		"a list with commas":   {rollout{First: strings.Split("17, 18", ",")}, firstError},
		"a file of Windows":    {rollout{First: strings.Split("17\n18\r", "\n")}, firstError},
		"a subject of bytes":   {rollout{First: []string{"17", "canary\xff"}}, firstError},
		"two wrong subjects":   {rollout{First: []string{"17", "", ""}}, firstError},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := liveConfig()
			m, err := stytchmigrate.New(cfg)
			require.NoError(t, err)
			cfg.Rollout = row.rollout
			fresh, errNew := stytchmigrate.New(cfg)
			errSet := m.SetRollout(row.rollout)
			if row.want != "" {
				assert.EqualError(t, errNew, row.want)
				assert.EqualError(t, errSet, row.want)
				assert.Equal(t, stytchmigrate.Rollout{}, m.Rollout(), "nothing has changed")
				return
			}
			require.NoError(t, errNew)
			require.NoError(t, errSet)
			assert.Equal(t, row.rollout, fresh.Rollout())
			assert.Equal(t, row.rollout, m.Rollout())
		})
	}
}

// The first subject that is wrong is named by its place: it may be an email.
const firstError = "stytchmigrate: Rollout.First[1]: must be an Identity.Subject: printable, 1 to 255 bytes, no spaces around it"

func TestStageNames(t *testing.T) {
	for s, want := range map[stytchmigrate.Stage]string{
		stytchmigrate.StageReplace: "replace", stytchmigrate.StageKeep: "keep", stytchmigrate.StageShadow: "shadow",
		stytchmigrate.StageObserve: "observe", stytchmigrate.StageRetired: "retired", 5: "stage 5", -1: "stage -1",
	} {
		assert.Equal(t, want, s.String())
	}
	assert.Equal(t, stytchmigrate.StageReplace, stytchmigrate.Rollout{}.Stage)
}

// Setting PerSecond again does not start a new second.
func TestPerSecondHoldsWhenItIsSetAgain(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
		for i := range 5 {
			a.SetRollout(t, stytchmigrate.Rollout{PerSecond: 1, HoldBack: float64(i) / 1e9})
			assert.Equal(t, apptest.Legacy, a.Get("sid=ada-2").String())
		}
		a.SetRollout(t, stytchmigrate.Rollout{PerSecond: 2})
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-2").String())
		a.SetRollout(t, stytchmigrate.Rollout{})
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-3").String())
	}, apptest.PerSecond(1))
}

// The later sign-in of another person waits for a place. Meanwhile the other person's
// Stytch session is not shown.
func TestPerSecondBesideAStytchSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, cookies)
		assert.Equal(t, apptest.Moved, a.Get("sid=ada").String())
		assert.Equal(t, apptest.Legacy, a.Get(cookies+"; sid=bob+1h").Settled())
		time.Sleep(time.Second)
		assert.Equal(t, bobWins, a.Get(cookies+"; sid=bob+1h").Settled())
	}, apptest.PerSecond(1))
}

// From Until on no session moves, and none is deleted.
func TestUntilStopsExchangesForGood(t *testing.T) {
	for _, s := range []stytchmigrate.Stage{stytchmigrate.StageReplace, stytchmigrate.StageKeep} {
		t.Run(s.String(), func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				until := time.Now().Add(time.Hour)
				a.SetRollout(t, stytchmigrate.Rollout{Stage: s, Until: until})
				time.Sleep(time.Hour - time.Nanosecond)
				cookies := a.Get("sid=ada-1").Jar("")
				assert.Len(t, a.Stytch.Sessions(), 1, "before Until")
				time.Sleep(time.Nanosecond)
				for _, later := range []time.Duration{0, time.Minute} {
					time.Sleep(later)
					assert.Equal(t, apptest.Legacy, a.Get("sid=ada-2").String())
					assert.Equal(t, apptest.Authenticated, a.Get(cookies+"; sid=ada-1").String())
				}
				time.Sleep(10 * 365 * 24 * time.Hour)
				assert.Equal(t, apptest.Legacy, a.Get("sid=ada-2").String())
			})
		})
	}
}

// holdBack holds every legacy session back.
func holdBack(c *stytchmigrate.Config) { c.Rollout.HoldBack = 100 }

// Each row is a request while every legacy session is held back. Stytch is not called
// for a legacy session, and its cookie stays.
func TestHeldBackSessionIsLeftAlone(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *apptest.App, stytch string) string
		want    string
		legacy  stytchmigrate.Secret // its ID, as LegacyFromContext returns it
	}{
		"a legacy session":      {func(*apptest.App, string) string { return "theme=dark; sid=ada" }, apptest.Legacy, "ada"},
		"no session":            {func(*apptest.App, string) string { return "sid=nobody" }, apptest.Anonymous, ""},
		"a Stytch session":      {func(_ *apptest.App, c string) string { return c }, apptest.Authenticated, ""},
		"the same person":       {func(_ *apptest.App, c string) string { return c + "; sid=ada" }, apptest.Authenticated, ""},
		"another, later":        {func(_ *apptest.App, c string) string { return c + "; sid=bob+1h" }, apptest.Legacy, "bob+1h"},
		"another, earlier":      {func(_ *apptest.App, c string) string { return c + "; sid=bob-1h" }, apptest.Replaced, ""},
		"another, unknown when": {func(_ *apptest.App, c string) string { return c + "; sid=bob" }, neither, ""},
		"a session that ended":  {func(a *apptest.App, c string) string { a.LogOut(c); return c + "; sid=ada" }, "legacy | -stytch_session -stytch_session_jwt | no-store | -", "ada"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
				a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
				sent := row.cookies(a, cookies)
				for range 2 {
					assert.Equal(t, row.want, a.Get(sent).Settled())
					assert.Equal(t, row.legacy, a.LegacySeen.ID)
				}
				if row.want == apptest.Legacy || row.want == apptest.Authenticated {
					assert.Equal(t, sent, a.CookiesSeen[len(a.CookiesSeen)-1])
				}
				if row.legacy != "" {
					a.SetRollout(t, stytchmigrate.Rollout{})
					assert.True(t, strings.HasPrefix(a.Get(sent).Settled(), "migrated"), "and moves once HoldBack is 0")
				}
			}, holdBack)
		})
	}
}

// A user who has moved keeps the Stytch session when HoldBack becomes 100.
func TestHoldBackKeepsUsersWhoHaveMoved(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		a.SetRollout(t, stytchmigrate.Rollout{HoldBack: 100})
		assert.Equal(t, apptest.Authenticated, a.Get(cookies).String())
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-1").String(), "a tab that is late")
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", a.Get(cookies).String())
	})
}

// The event says so, and RequireUser turns the request away.
func TestHeldBackRequestIsOutcomeLegacy(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-1").String())
		assert.Equal(t, stytchmigrate.OutcomeLegacy, a.Requests[0].Outcome)
		assert.NoError(t, a.Requests[0].Err)
		assert.NotEmpty(t, a.Requests[0].Fingerprint)
		assert.Empty(t, a.Log.String())
		assert.Equal(t, http.StatusUnauthorized, a.GetRequiringUser("sid=ada-1").Code)
	}, holdBack)
}

// Of 200 users, HoldBack holds back about as many as it says: the same ones after a
// restart, and fewer, but no others, when it is lowered.
func TestLoweringHoldBackOnlyAddsUsers(t *testing.T) {
	key := func(c *stytchmigrate.Config) { c.RecordKey = stytchmigrate.Secret(strings.Repeat("k", 32)) }
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) { return apptest.LegacySession(v, v), nil }
		heldBack := func(percent float64) (users []int) {
			a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve, HoldBack: percent})
			for user := range 200 {
				a.Get(fmt.Sprint("sid=", user))
				if a.Requests[len(a.Requests)-1].Cause == "held_back" {
					users = append(users, user)
				}
			}
			return users
		}
		before := heldBack(100)
		for _, percent := range []float64{99, 90, 50, 10, 0} {
			now := heldBack(percent)
			assert.Subset(t, before, now, percent)
			assert.InDelta(t, 2*percent, len(now), 25, percent)
			a.On(a.Machines(t, 1, key)[0])
			assert.Equal(t, now, heldBack(percent), "on a machine that has just started")
			before = now
		}
	}, key)
}

// Each row is the same request by bob, who is in First, and by ada, who is not. A
// session without Identity is nobody's in First.
func TestFirstMoveWhateverHoldBackSays(t *testing.T) {
	const replace, keep, shadow = stytchmigrate.StageReplace, stytchmigrate.StageKeep, stytchmigrate.StageShadow
	bobMoved := strings.Replace(apptest.Moved, "ada", "bob", 1)
	for name, row := range map[string]struct {
		rollout stytchmigrate.Rollout
		bob     string
		cause   string
		ada     string
	}{
		"replace":              {stytchmigrate.Rollout{Stage: replace, HoldBack: 100}, bobMoved, "exchange", apptest.Legacy},
		"keep":                 {stytchmigrate.Rollout{Stage: keep, HoldBack: 100}, bobMoved, "exchange", apptest.Legacy},
		"keep, nearly all":     {stytchmigrate.Rollout{Stage: keep, HoldBack: 100 - 1e-9}, bobMoved, "exchange", apptest.Legacy},
		"keep, nobody is held": {stytchmigrate.Rollout{Stage: keep}, bobMoved, "exchange", apptest.Moved},
		"shadow":               {stytchmigrate.Rollout{Stage: shadow, HoldBack: 100}, triedOut, "shadow", apptest.Legacy},
		"observe":              {stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve, HoldBack: 100}, apptest.Legacy, "observe", apptest.Legacy},
		"retired":              {stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: 100}, taken, "", apptest.Legacy},
		"until":                {stytchmigrate.Rollout{Stage: keep, HoldBack: 100, Until: time.Unix(1, 0)}, apptest.Legacy, "until", apptest.Legacy},
		"per second":           {stytchmigrate.Rollout{Stage: keep, HoldBack: 100, PerSecond: 1e-9}, apptest.Legacy, "per_second", apptest.Legacy},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				row.rollout.First = []string{"17", "bob"}
				if row.rollout.PerSecond > 0 { // there is room for one, which is another session's
					a.SetRollout(t, stytchmigrate.Rollout{PerSecond: row.rollout.PerSecond})
					a.Get("sid=ada-0")
				}
				a.SetRollout(t, row.rollout)
				assert.Equal(t, row.bob, a.Get("sid=bob-1").Settled())
				assert.Equal(t, row.cause, a.Requests[len(a.Requests)-1].Cause)
				assert.Equal(t, row.ada, a.Get("sid=ada-1").Settled())
				a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
					return stytchmigrate.LegacySession{ID: "bob", Token: stytchmigrate.Secret(v)}, nil
				}
				if row.rollout.HoldBack > 0 {
					a.Get("sid=token-1")
					assert.Equal(t, "held_back", a.Requests[len(a.Requests)-1].Cause, "it goes by Subject alone")
				}
			})
		})
	}
}

// Who is in First and has a Stytch session has the old cookie replaced, as with HoldBack 0.
func TestFirstHaveTheirCookieReplaced(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		for _, row := range []struct {
			first []string
			want  string
		}{{nil, apptest.Authenticated}, {[]string{"bob"}, apptest.Authenticated}, {[]string{"bob", "ada"}, apptest.Replaced}} {
			a.SetRollout(t, stytchmigrate.Rollout{HoldBack: 100, First: row.first})
			assert.Equal(t, row.want, a.Get(cookies).String(), row.first)
		}
	})
}

// The list in force is nobody else's: neither the one that was given nor the one that
// Rollout returns.
func TestFirstIsNotShared(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		given := []string{"bob"}
		a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 100, First: given})
		given[0] = "ada"
		now := a.Middleware.Rollout()
		assert.Equal(t, []string{"bob"}, now.First)
		require.NoError(t, json.Unmarshal([]byte(`{"first": ["ada"]}`), &now), "which writes into the list that is there")
		assert.Equal(t, []string{"bob"}, a.Middleware.Rollout().First)
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-1").String())
		a.SetRollout(t, now)
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
	})
	cfg := liveConfig()
	cfg.Rollout.First = []string{"bob"}
	m, err := stytchmigrate.New(cfg)
	require.NoError(t, err)
	cfg.Rollout.First[0] = "ada"
	assert.Equal(t, []string{"bob"}, m.Rollout().First)
}
