package stytchmigrate_test

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
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

const heldByPace = "stytchmigrate: migrate: held back: Rollout.PerSecond"

// starts notes when each exchange reaches Stytch.
func starts(a *apptest.App, at *[]time.Time) func(*stytchmigrate.Config) {
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

// mostInASecond is the largest number of moments that lie within one second.
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

// insist sends requests with one old cookie, each a while after the other, until
// its user has moved. It returns what else they came to.
func insist(a *apptest.App, i int) (others []string) {
	sid := fmt.Sprint("sid=ada-", i)
	for pause := time.Duration(i%50) * 100 * time.Millisecond; ; pause = 5 * time.Second {
		saw := a.Parallel(sid).Saw
		if saw == "migrated ada" {
			return others
		}
		others = append(others, saw)
		time.Sleep(pause)
	}
}

// A thousand legacy sessions, or a fifth of that, come at once: as many move in
// each second as may, all others are left alone, and soon everybody has moved.
func TestPace(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Everybody
		var at []time.Time
		a.On(a.Machines(t, 1, starts(a, &at), apptest.PerSecond(50), apptest.Warnings(&a.Log))[0])
		copies := a.Copies(t)
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Handle(copies).WithDelay(300*time.Millisecond))
		n, began := apptest.Load(1000), time.Now()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				for _, saw := range insist(a, i) {
					assert.Equal(t, "legacy", saw)
				}
			})
		}
		wg.Wait()
		assert.Len(t, at, n+1, "an exchange for each, and that of copies")
		assert.LessOrEqual(t, mostInASecond(at), 50)
		assert.LessOrEqual(t, time.Since(began), max(time.Duration(n/50+10)*time.Second, time.Duration(n)*24*time.Millisecond), "half a minute for 1,000")
		assert.Empty(t, a.Log.String(), "it is what was asked for")
	})
}

// Two that come to their claim at the same moment: there is room for one.
func TestPaceOfTwoAtOnce(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		s.Fail(func(op, _ string) error { time.Sleep(100 * time.Millisecond); return nil })
		a.On(m[0])
		var saw [2]string
		var wg sync.WaitGroup
		for i := range saw {
			wg.Go(func() { saw[i] = a.Parallel(fmt.Sprint("sid=ada-", i)).Saw })
		}
		wg.Wait()
		assert.ElementsMatch(t, []string{"migrated ada", "legacy"}, saw)
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Migrate))
	}, apptest.PerSecond(1), func(c *stytchmigrate.Config) { c.Timeout = 20 * time.Second })
}

// One exchange a second: what takes the place of one, and what needs none.
func TestPaceIsOfExchanges(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.On(m[0])
		tabs := a.Crowd(100, func(_ int, r *http.Request) (*http.Request, time.Duration) { return r, 0 })
		for _, v := range tabs {
			assert.Equal(t, stytchmigrate.OutcomeMigrated, v.Outcome, "all of one session")
		}
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=bob-1").String())
		assert.EqualError(t, a.Requests[len(a.Requests)-1].Err, heldByPace)
		assert.Equal(t, "bob-1", string(a.LegacySeen.ID))
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | -", a.Get("sid=ada-1").String(), "a late tab")
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | migrate", a.On(m[1]).Get("sid=bob-1").String(), "each machine has a pace of its own")
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | -", a.On(m[0]).Get("sid=bob-1").String(), "of another machine")
		time.Sleep(time.Second - time.Nanosecond)
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-2").String())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-2").String())
	}, apptest.PerSecond(1))
}

// What finds no place in flight has not begun: it leaves the pace to the next.
func TestPaceWithoutAPlace(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Everybody
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(500*time.Millisecond))
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() { a.Parallel(fmt.Sprint("sid=ada-", i)) })
		}
		synctest.Wait()
		a.Roll(t, stytchmigrate.Rollout{PerSecond: 1})
		assert.Equal(t, "legacy", a.Get("sid=bob-1").Saw)
		wg.Wait()
		assert.EqualError(t, a.Requests[0].Err, apptest.TooManyInFlight)
		assert.Equal(t, apptest.Swapped, a.Get("sid=bob-1").String(), "in the same second")
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=bob-2").String())
	})
}

// A pace that is set again and again is no way around it.
func TestPaceSetAgain(t *testing.T) {
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
func TestPaceBesideStytch(t *testing.T) {
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
func TestUntil(t *testing.T) {
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
