package stytchmigrate_test

import (
	"errors"
	"fmt"
	"math"
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

// Each row is a rollout, and what New and SetRollout have against it.
func TestRolloutErrors(t *testing.T) {
	type rollout = stytchmigrate.Rollout
	for name, row := range map[string]struct {
		rollout rollout
		want    string
	}{
		"nothing set":          {rollout{}, ""},
		"everything set":       {rollout{stytchmigrate.StageRetired, 100, 0.5, time.Unix(1, 0)}, ""},
		"the highest pace":     {rollout{PerSecond: math.MaxFloat64}, ""},
		"a stage too many":     {rollout{Stage: 5}, "stytchmigrate: Rollout.Stage 5: unknown"},
		"a negative stage":     {rollout{Stage: -1}, "stytchmigrate: Rollout.Stage -1: unknown"},
		"a negative percent":   {rollout{HoldBack: -0.1}, "stytchmigrate: Rollout.HoldBack -0.1: must be from 0 to 100"},
		"over 100 percent":     {rollout{HoldBack: 100.1}, "stytchmigrate: Rollout.HoldBack 100.1: must be from 0 to 100"},
		"a percent of NaN":     {rollout{HoldBack: math.NaN()}, "stytchmigrate: Rollout.HoldBack NaN: must be from 0 to 100"},
		"a negative pace":      {rollout{PerSecond: -1}, "stytchmigrate: Rollout.PerSecond -1: must be 0 or a positive number"},
		"a pace of NaN":        {rollout{PerSecond: math.NaN()}, "stytchmigrate: Rollout.PerSecond NaN: must be 0 or a positive number"},
		"a pace without end":   {rollout{PerSecond: math.Inf(1)}, "stytchmigrate: Rollout.PerSecond +Inf: must be 0 or a positive number"},
		"a date without form":  {rollout{Until: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "stytchmigrate: Rollout.Until: the year 10000 has no form in RFC 3339"},
		"such a date in UTC":   {rollout{Until: time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -3600))}, "stytchmigrate: Rollout.Until: the year 10000 has no form in RFC 3339"},
		"a date before year 0": {rollout{Until: time.Date(-1000, 1, 1, 0, 0, 0, 0, time.UTC)}, "stytchmigrate: Rollout.Until: the year -1000 has no form in RFC 3339"},
		"everything is wrong":  {rollout{9, 101, -1, time.Time{}}, "stytchmigrate: Rollout.Stage 9: unknown\nstytchmigrate: Rollout.HoldBack 101: must be from 0 to 100\nstytchmigrate: Rollout.PerSecond -1: must be 0 or a positive number"},
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

func TestStageNames(t *testing.T) {
	for s, want := range map[stytchmigrate.Stage]string{
		stytchmigrate.StageReplace: "replace", stytchmigrate.StageKeep: "keep", stytchmigrate.StageShadow: "shadow",
		stytchmigrate.StageObserve: "observe", stytchmigrate.StageRetired: "retired", 5: "stage 5", -1: "stage -1",
	} {
		assert.Equal(t, want, s.String())
	}
	assert.Equal(t, stytchmigrate.StageReplace, stytchmigrate.Rollout{}.Stage)
}

// A pace that is set again and again is no way around it.
func TestPerSecondHoldsWhenItIsSetAgain(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
		for i := range 5 {
			a.Roll(t, stytchmigrate.Rollout{PerSecond: 1, HoldBack: float64(i) / 1e9})
			assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-2").String())
		}
		a.Roll(t, stytchmigrate.Rollout{PerSecond: 2})
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-2").String())
		a.Roll(t, stytchmigrate.Rollout{})
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-3").String())
	}, apptest.PerSecond(1))
}

// The later sign-in of another person waits its turn, and is not shown the page
// of the one before.
func TestPerSecondBesideAStytchSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada").String())
		assert.Equal(t, apptest.LeftAlone, a.Get(cookies+"; sid=bob+1h").Settled())
		time.Sleep(time.Second)
		assert.Equal(t, bobWins, a.Get(cookies+"; sid=bob+1h").Settled())
	}, apptest.PerSecond(1))
}

// From a moment on nobody moves, for ever, and nothing is deleted by that.
func TestUntilStopsExchangesForGood(t *testing.T) {
	for _, s := range []stytchmigrate.Stage{stytchmigrate.StageReplace, stytchmigrate.StageKeep} {
		t.Run(s.String(), func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				until := time.Now().Add(time.Hour)
				a.Roll(t, stytchmigrate.Rollout{Stage: s, Until: until})
				time.Sleep(time.Hour - time.Nanosecond)
				cookies := a.Get("sid=ada-1").Jar("")
				assert.Len(t, a.Stytch.Sessions(), 1, "the last one")
				time.Sleep(time.Nanosecond)
				for _, later := range []time.Duration{0, time.Minute} {
					time.Sleep(later)
					assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-2").String())
					assert.Equal(t, apptest.StaysAlone, a.Get(cookies+"; sid=ada-1").String())
				}
				time.Sleep(10 * 365 * 24 * time.Hour)
				assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-2").String())
			})
		})
	}
}

// No date leads to a deletion, and none keeps what was retired in code.
func TestNoDateLeadsToStageRetired(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		past := time.Now().Add(-time.Hour)
		for s, want := range map[stytchmigrate.Stage]string{
			stytchmigrate.StageReplace: apptest.LeftAlone, stytchmigrate.StageKeep: apptest.LeftAlone, stytchmigrate.StageShadow: apptest.LeftAlone,
			stytchmigrate.StageObserve: apptest.LeftAlone, stytchmigrate.StageRetired: taken,
		} {
			a.Roll(t, stytchmigrate.Rollout{Stage: s, Until: past})
			assert.Equal(t, want, a.Get("sid=ada-1").Settled(), s)
		}
	})
}

// holdBack leaves everybody alone.
func holdBack(c *stytchmigrate.Config) { c.Rollout.HoldBack = 100 }

// Each row is a request where every legacy session is left alone. Nothing is
// called for one, and nothing touched.
func TestHeldBackSessionIsLeftAlone(t *testing.T) {
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
func TestHoldBackKeepsUsersWhoHaveMoved(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		a.Roll(t, stytchmigrate.Rollout{HoldBack: 100})
		assert.Equal(t, apptest.StaysAlone, a.Get(cookies).String())
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").String(), "a tab that is late")
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", a.Get(cookies).String())
	})
}

// The old code serves whom RequireUser would turn away.
func TestHeldBackRequestIsOutcomeLegacy(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").String())
		assert.Equal(t, stytchmigrate.OutcomeLegacy, a.Requests[0].Outcome)
		assert.NoError(t, a.Requests[0].Err)
		assert.NotEmpty(t, a.Requests[0].Fingerprint)
		assert.Empty(t, a.Log.String())
		assert.Equal(t, http.StatusUnauthorized, a.Required("sid=ada-1").Code)
	}, holdBack)
}

const taken = "anonymous | -sid | no-store | -"

// The way of a migration: everybody moves, nobody is signed out, and in the end
// the legacy cookies are gone.
func TestStagesInOrderSignNobodyOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := "sid=ada-1"
		for _, step := range []struct {
			stage stytchmigrate.Stage
			want  string
		}{
			{stytchmigrate.StageObserve, apptest.LeftAlone},
			{stytchmigrate.StageKeep, movedKept},
			{stytchmigrate.StageObserve, apptest.StaysAlone},
			{stytchmigrate.StageKeep, apptest.StaysAlone},
			{stytchmigrate.StageReplace, staysAnd},
			{stytchmigrate.StageRetired, apptest.StaysAlone},
		} {
			a.Roll(t, stytchmigrate.Rollout{Stage: step.stage})
			got := a.Get(cookies)
			assert.Equal(t, step.want, got.Settled(), step.stage)
			cookies = got.Jar(cookies)
		}
		assert.NotContains(t, cookies, "sid")
	})
}

// Each row is a request in a stage in which nothing is exchanged, and what the
// handler is shown: S for the Stytch cookies of ada.
func TestObserveAndRetiredExchangeNothing(t *testing.T) {
	const retired, observe = stytchmigrate.StageRetired, stytchmigrate.StageObserve
	image, post := apptest.FetchMetadata("same-origin no-cors image"), apptest.Method(http.MethodPost)
	for name, row := range map[string]struct {
		stage    stytchmigrate.Stage
		cookies  string
		change   func(*http.Request)
		want     string
		passedOn string
	}{
		"observe, a legacy session":     {observe, "sid=ada", post, apptest.LeftAlone, "sid=ada"},
		"observe, no session":           {observe, "sid=nobody", post, apptest.Anonymous, "sid=nobody"},
		"observe, a Stytch session":     {observe, "S", post, apptest.StaysAlone, "S"},
		"observe, the same person":      {observe, "S; sid=ada", post, apptest.StaysAlone, "S sid=ada"},
		"observe, another, later":       {observe, "S; sid=bob+1h", post, apptest.LeftAlone, "S sid=bob+1h"},
		"observe, another, earlier":     {observe, "S; sid=bob-1h", post, staysAnd, "S"},
		"retired, a legacy session":     {retired, "theme=x; sid=ada", apptest.Method("GET"), taken, "theme=x"},
		"retired, a form":               {retired, "sid=ada", post, taken, ""},
		"retired, an image":             {retired, "sid=ada", image, apptest.Anonymous, ""},
		"retired, another site's frame": {retired, "sid=ada", apptest.FetchMetadata("cross-site navigate iframe"), apptest.Anonymous, ""},
		"retired, no session":           {retired, "sid=nobody", post, taken, ""},
		"retired, no cookie":            {retired, "sid=; theme=x", post, apptest.Anonymous, "sid= theme=x"},
		"retired, two cookies":          {retired, "sid=ada; older=bob", post, "anonymous | -sid -older | no-store | -", ""},
		"retired, a Stytch session":     {retired, "S", post, apptest.StaysAlone, "S"},
		"retired, the same person":      {retired, "S; sid=ada", post, staysAnd, "S"},
		"retired, another, later":       {retired, "S; sid=bob+1h", post, staysAnd, "S"},
		"retired, another, who knows":   {retired, "S; sid=bob; older=ada", image, apptest.StaysAlone, "S"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch, _ := a.SignedIn(a.Ada)
				a.Asks(t, stytch)
				a.Resolve = apptest.Accounts(time.Now(), nil)
				for range 2 {
					got := a.Get(strings.Replace(row.cookies, "S", stytch, 1), row.change)
					assert.Equal(t, row.want, got.Settled())
					assert.Equal(t, row.passedOn, a.Short(stytch, a.PassedOn[len(a.PassedOn)-1]))
				}
				assert.Empty(t, a.Events)
				assert.Len(t, a.Stytch.Sessions(), 1)
			}, apptest.Stage(row.stage), olderCookie)
		})
	}
}

// Where nothing is held back nobody asks whose a retired session was: what knew
// it may be gone. Who is held back is not retired.
func TestRetiredDoesNotCallResolve(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		stytch, _ := a.SignedIn(a.Ada)
		a.Asks(t, stytch)
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { panic("it is no more") }
		assert.Equal(t, taken, a.Get("sid=ada-1").String())
		assert.Equal(t, staysAnd, a.Get(stytch+"; sid=ada-1").String())
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate", a.Get(stytch+"; sid=ada-1").String())

		time.Sleep(6 * time.Minute)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
		assert.Equal(t, apptest.UnavailableUntouched+"authenticate authenticate", a.Get(stytch+"; sid=ada-1").String(), "an outage deletes nothing")
		a.Stytch.Heal(stytchtest.Any)

		a.Resolve = nil
		a.Roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: 100})
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").String())
		a.Roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: 1e-9})
		assert.Equal(t, taken, a.Get("sid=ada-1").String())
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, errors.New("down")
		}
		assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String(), "who would be held back can't be told")
	}, apptest.Stage(stytchmigrate.StageRetired))
}

// Nor is anybody asked about a cookie of that name that a handler sets, as sites do
// that give one to every visitor. It signs nobody in any more.
func TestRetiredKeepsAVisitorsCookie(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		stytch, _ := a.SignedIn(a.Ada)
		a.Asks(t, stytch)
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { panic("it is no more") }
		a.Handler = apptest.SetCookie("sid=visitor; Path=/")
		assert.Equal(t, "anonymous | +sid | no-store | -", a.Get("sid=ada-1").String())
		assert.Equal(t, "authenticated ada | +sid | no-store | -", a.Get(stytch+"; sid=ada-1").String())
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +sid +stytch_session +stytch_session_jwt | no-store | authenticate", a.Get(stytch+"; sid=ada-1").String())
	}, apptest.Stage(stytchmigrate.StageRetired))
}

// Who is held back is not retired, beside a Stytch session either: another person's
// is not shown to them, and their cookie stays.
func TestHeldBackSessionIsNotRetired(t *testing.T) {
	for _, row := range []struct {
		sid  string
		held float64
		want string
	}{
		{"ada", 100, apptest.StaysAlone},
		{"bob+1h", 100, apptest.LeftAlone},
		{"bob-1h", 100, staysAnd},
		{"bob", 100, neither},
		{"nobody", 100, apptest.StaysAlone},
		{"ada", 1e-9, staysAnd},
		{"bob+1h", 1e-9, staysAnd},
		{"bob", 1e-9, staysAnd},
	} {
		t.Run(fmt.Sprint(row.sid, row.held), func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.SignedIn(a.Ada)
				a.Asks(t, cookies)
				a.Resolve = apptest.Accounts(time.Now(), nil)
				a.Roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: row.held})
				assert.Equal(t, row.want, a.Get(cookies+"; sid="+row.sid).Settled())
			})
		})
	}
}
