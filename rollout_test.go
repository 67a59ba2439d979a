package stytchmigrate_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
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

// Requests go on while the rollout changes.
func TestSetRolloutUnderLoad(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				for range 20 {
					assert.NoError(t, a.Middleware.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.Stage(i % 2), HoldBack: float64(i % 2)}))
					r := a.Middleware.Rollout()
					assert.Equal(t, float64(r.Stage), r.HoldBack, "never half of one and half of another")
				}
			})
			wg.Go(func() { a.Parallel("sid=ada-1") })
		}
		wg.Wait()
	})
}
