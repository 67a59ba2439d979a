package stories_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/internal/apptest/scale"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// A rollout under way: many users, several machines, and an operator who changes
// Config.Rollout while requests come in. What a stage, a percentage or a date does to
// one request is in the root's rollout_test.go.

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
			wg.Go(func() { a.ParallelGet("sid=ada-1") })
		}
		wg.Wait()
	})
}

// A user who is held back logs out. The legacy session is over on every machine,
// whatever the rollout is there.
func TestLogoutOfAHeldBackSession(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		for _, sid := range []string{"sid=ada", "sid=bob+1h"} {
			assert.Equal(t, "legacy"+apptest.CookiesCleared+"-", a.On(m[0]).LogOut(sid).Settled())
			for _, machine := range m {
				assert.Equal(t, apptest.RefusedUntouched+"-", a.On(machine).Get(sid).String())
				assert.Equal(t, strings.HasPrefix(sid, "sid=ada"), a.LegacySeen.ID != "", "without StartedAt it may be a new sign-in")
			}
		}
		a.SetRollout(t, stytchmigrate.Rollout{})
		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada").String())
	}, func(c *stytchmigrate.Config) { c.Rollout.HoldBack = 100 })
}

// Half of the machines run the old code alone. Each request of a browser may meet
// either half. Every user stays signed in on both.
func TestKeepWhereHalfOfTheMachinesRunTheOldCode(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		for i := range scale.Down(400) {
			sid := fmt.Sprint("sid=ada-", i)
			cookies := a.Get(sid).Jar(sid)
			for _, step := range []int{i % 3, i % 5} {
				assert.True(t, strings.HasPrefix(cookies, sid+"; "), "for the machines without the middleware")
				time.Sleep(time.Duration(step) * time.Minute)
				got := a.Get(cookies)
				cookies = got.Jar(cookies)
				assert.Equal(t, "authenticated ada", got.Saw)
			}
		}
		assert.Len(t, a.Stytch.Sessions(), scale.Down(400))
	}, apptest.Stage(stytchmigrate.StageKeep))
}

const heldByPace = "stytchmigrate: migrate: held back: Rollout.PerSecond"

// recordExchanges adds to at the time at which each exchange reaches Stytch.
func recordExchanges(a *apptest.App, at *[]time.Time) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		inner := c.HTTPClient.Transport
		c.HTTPClient = &http.Client{Transport: apptest.RoundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/migrate") {
				a.Mu.Lock()
				*at = append(*at, time.Now())
				a.Mu.Unlock()
			}
			return inner.RoundTrip(r)
		})}
	}
}

// mostInASecond returns the largest number of times that lie within one second.
func mostInASecond(at []time.Time) (most int) {
	from := 0
	for to := range at {
		for at[to].Sub(at[from]) >= time.Second {
			from++
		}
		most = max(most, to-from+1)
	}
	return most
}

// insist sends requests with one legacy cookie, with pauses, until its user has
// moved. It returns the outcomes of the requests before.
func insist(a *apptest.App, i int) (others []string) {
	sid := fmt.Sprint("sid=ada-", i)
	for pause := time.Duration(i%50) * 100 * time.Millisecond; ; pause = 5 * time.Second {
		saw := a.ParallelGet(sid).Saw
		if saw == "migrated ada" {
			return others
		}
		others = append(others, saw)
		time.Sleep(pause)
	}
}

// A thousand legacy sessions, or a fifth of that, come at once. No second has more
// exchanges than PerSecond, all others are left alone, and soon every user has moved.
func TestPerSecondOfAThousandUsers(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		var at []time.Time
		a.On(a.Machines(t, 1, recordExchanges(a, &at), apptest.PerSecond(50), apptest.LogWarnings(&a.Log))[0])
		copies := a.Copies(t)
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Handle(copies).WithDelay(300*time.Millisecond))
		n, began := scale.Down(1000), time.Now()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				for _, saw := range insist(a, i) {
					assert.Equal(t, "legacy", saw)
				}
			})
		}
		wg.Wait()
		assert.Len(t, at, n+1, "an exchange for each, and the one that Copies made")
		assert.LessOrEqual(t, mostInASecond(at), 50)
		assert.LessOrEqual(t, time.Since(began), max(time.Duration(n/50+10)*time.Second, time.Duration(n)*24*time.Millisecond), "half a minute for 1,000")
		assert.Empty(t, a.Log.String(), "PerSecond is a setting, so no line warns of it")
	})
}

// Two requests reach their claim at the same moment. There is room for one exchange.
func TestPerSecondOfTwoAtOnce(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		s.Fail(func(op, _ string) error { time.Sleep(100 * time.Millisecond); return nil })
		a.On(m[0])
		var saw [2]string
		var wg sync.WaitGroup
		for i := range saw {
			wg.Go(func() { saw[i] = a.ParallelGet(fmt.Sprint("sid=ada-", i)).Saw })
		}
		wg.Wait()
		assert.ElementsMatch(t, []string{"migrated ada", "legacy"}, saw)
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Migrate))
	}, apptest.PerSecond(1), func(c *stytchmigrate.Config) { c.Timeout = 20 * time.Second })
}

// PerSecond is 1. It counts exchanges, not requests, and each machine counts its own.
func TestPerSecondCountsExchangesOfOneMachine(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.On(m[0])
		tabs := a.Crowd(100, func(_ int, r *http.Request) (*http.Request, time.Duration) { return r, 0 })
		for _, v := range tabs {
			assert.Equal(t, stytchmigrate.OutcomeMigrated, v.Outcome, "all of one session")
		}
		assert.Equal(t, apptest.Legacy, a.Get("sid=bob-1").String())
		assert.EqualError(t, a.Requests[len(a.Requests)-1].Err, heldByPace)
		assert.Equal(t, "bob-1", string(a.LegacySeen.ID))
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | -", a.Get("sid=ada-1").String(), "a late tab")
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt | no-store | migrate", a.On(m[1]).Get("sid=bob-1").String(), "each machine has a pace of its own")
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt | no-store | -", a.On(m[0]).Get("sid=bob-1").String(), "of another machine")
		time.Sleep(time.Second - time.Nanosecond)
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-2").String())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-2").String())
	}, apptest.PerSecond(1))
}

// An exchange that finds no place in flight has not started, so it does not count.
func TestPerSecondIsNotSpentWithoutAPlaceInFlight(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(500*time.Millisecond))
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() { a.ParallelGet(fmt.Sprint("sid=ada-", i)) })
		}
		synctest.Wait()
		a.SetRollout(t, stytchmigrate.Rollout{PerSecond: 1})
		assert.Equal(t, "legacy", a.Get("sid=bob-1").Saw)
		wg.Wait()
		assert.EqualError(t, a.Requests[0].Err, apptest.TooManyInFlight)
		assert.Equal(t, apptest.Moved, a.Get("sid=bob-1").String(), "in the same second")
		assert.Equal(t, apptest.Legacy, a.Get("sid=bob-2").String())
	})
}

// 32 exchanges are in flight at most. One more is left alone, and its event says so.
func TestOneExchangeMoreThanMayBeInFlight(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(time.Second))
		a.Crowd(33, func(i int, r *http.Request) (*http.Request, time.Duration) {
			r.Header.Set("Cookie", fmt.Sprint("sid=ada-", i))
			return r, 0
		})
		causes := map[string]int{}
		for _, e := range a.Requests {
			causes[e.Outcome.String()+" "+e.Cause]++
		}
		assert.Equal(t, map[string]int{"migrated exchange": 32, "legacy in_flight": 1}, causes)
	})
}
