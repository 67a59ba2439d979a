package stories_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// Several machines share a store. A user's requests go to all of them, so they have to
// agree on one Stytch session for each legacy session: at the same time, later, while one
// machine is slow, and after one was killed. How they agree is tested in
// internal/exchange.

// A thousand requests with one old cookie come to all machines at once.
func TestOneExchangeOfAllMachines(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(300*time.Millisecond))
		all := apptest.CrowdAcross(m, 1000)
		token := all[0].Result().Cookies()[0].Value
		for _, v := range all {
			assert.Equal(t, a.Ada.ID, v.User)
			assert.Equal(t, token, v.Result().Cookies()[0].Value)
			assert.LessOrEqual(t, v.Took, 400*time.Millisecond)
		}
		assert.Equal(t, 1, len(a.Stytch.Calls()))
		assert.Len(t, a.Stytch.Sessions(), 1)
	})
}

// An exchange takes 4 s: Stytch fails after two, and the second try takes two more.
// The machine that has the claim gives all its users the session. On other machines a
// request waits for 2.5 s. Then the old code serves the user, and the next request has
// the session.
func TestSlowExchangeElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(500, "internal_server_error").WithDelay(2*time.Second), stytchtest.Delay(2*time.Second))
		got := map[string]int{}
		for _, v := range apptest.CrowdAcross(m, 9) {
			got[fmt.Sprint(v.Outcome, " after ", v.Took.Round(time.Second/2), ", cookies set: ", len(v.Result().Cookies()))]++
		}
		assert.Equal(t, map[string]int{"migrated after 4s, cookies set: 2": 3, "legacy after 2.5s, cookies set: 0": 6}, got)
		assert.Equal(t, 2, a.Stytch.Count(stytchtest.Migrate), "two tries of one exchange")
		for i := range m {
			assert.Equal(t, apptest.MovedAfter+"-", a.On(m[i]).Get("sid=ada-1").String())
		}
	})
}

// A machine was killed in an exchange, 20 s before its claim ends. A request on another
// machine waits for 2.5 s, and those after it do not wait. The old code serves the user
// until then, and nothing is cleared. Then the session moves.
func TestClaimOfADeadMachine(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		s.Fail(func(op, _ string) error { // what the first machine says after its claim is lost with it
			if op == "put" || op == "release" {
				return apptest.ErrStoreDown
			}
			return nil
		})
		require.Equal(t, apptest.Moved, a.On(m[0]).Get("sid=ada-1").String())
		s.Fail(nil)
		claimed := time.Now()
		for _, took := range []time.Duration{2500 * time.Millisecond, 0, 0} {
			start := time.Now()
			assert.Equal(t, "legacy"+apptest.CookiesUntouched+"-", a.On(m[1]).Get("sid=ada-1").String())
			assert.Equal(t, took, time.Since(start))
			last := a.Requests[len(a.Requests)-1]
			assert.Equal(t, "in_flight", last.Cause)
			assert.EqualError(t, last.Err, "stytchmigrate: migrate: another machine exchanges this legacy session")
		}
		time.Sleep(20*time.Second - time.Since(claimed))
		assert.Equal(t, apptest.Moved, a.On(m[1]).Get("sid=ada-1").String())
	})
}

// A machine that is asked later hands out the same session. It asks Stytch first, unless
// the session was made in the last ten seconds.
func TestLaterOnAnotherMachine(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		first := a.On(m[0]).Get("sid=ada-1")
		require.Equal(t, apptest.Moved, first.String())
		second := a.On(m[1]).Get("sid=ada-1")
		assert.Equal(t, apptest.MovedAfter+"-", second.String())
		time.Sleep(11 * time.Second)
		third := a.On(m[2]).Get("sid=ada-1")
		assert.Equal(t, apptest.MovedAfter+"authenticate", third.String())
		for _, r := range []*apptest.Reply{second, third} {
			assert.Equal(t, first.Result().Cookies()[0].Value, r.Result().Cookies()[0].Value)
		}
	})
}

// A later sign-in of another person replaces a session. That is no logout: the first user
// may come again, on any machine.
func TestOvertakenMayComeAgainElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		started := time.Now()
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			name, _, _ := strings.Cut(v, "-")
			s := apptest.LegacySession(name, v)
			s.StartedAt = started
			if name == "bob" {
				s.StartedAt = started.Add(time.Minute)
			}
			return s, nil
		}
		cookies := a.On(m[0]).Get("sid=ada-1").Jar("")
		time.Sleep(2 * time.Minute)
		require.Contains(t, a.On(m[1]).Get(cookies+"; sid=bob-1").String(), "migrated bob |")
		synctest.Wait()
		time.Sleep(2 * time.Minute)
		assert.Equal(t, apptest.Moved, a.On(m[0]).Get("sid=ada-1").String())
		assert.Equal(t, apptest.MovedAfter+"-", a.On(m[2]).Get("sid=ada-1").String())
	})
}
