package stories_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/internal/apptest/bubble"
	"example.com/stytchmigrate/internal/apptest/scale"
	"example.com/stytchmigrate/stytchtest"
)

// The story of more users than Stytch can serve: it is slow, it throttles the
// project, or it is down. Stytch gets a bounded number of calls. A user whom
// Stytch can't serve in time has an answer at once, from the old code, and moves
// later. flood_test.go is about requests that no user sends.

// served is what the handler saw of one of many requests, and how soon.
type served struct {
	saw  string
	took time.Duration
}

// stream sends n requests, one after each pause, without waiting for their
// replies. It returns when all are done.
func stream(a *apptest.App, n int, pause time.Duration, cookies func(i int) string) []served {
	out := make([]served, n)
	var wg sync.WaitGroup
	for i := range out {
		sent, start := cookies(i), time.Now()
		wg.Go(func() { out[i] = served{a.ParallelGet(sent).Saw, time.Since(start)} })
		time.Sleep(pause)
	}
	wg.Wait()
	return out
}

// A thousand users come at once. Stytch never has more than 32 exchanges to do
// at a time. The old code serves the users that are held back, and after two
// more rounds all have moved.
func TestAllUsersMoveThoughTheyComeAtOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Handle(a.Copies(t)).WithDelay(300*time.Millisecond))
		a.Stytch.ResetCalls()
		n := scale.Down(1000)
		left, tokens := make([]string, n), map[string]bool{}
		for i := range left {
			left[i] = fmt.Sprint("sid=ada-", i)
		}
		for round := 0; len(left) > 0; round++ { // all at once, and then a hundred a second
			require.Less(t, round, 3)
			left = moveAll(t, a, left, time.Duration(min(round, 1))*10*time.Millisecond, tokens)
		}
		assert.Len(t, tokens, n, "a session for each")
		assert.Equal(t, n, a.Stytch.Count(stytchtest.Migrate))
		assert.Equal(t, 32, a.Stytch.MaxInFlight(stytchtest.Migrate))
	}, apptest.LogWarnings(io.Discard))
}

// moveAll sends each legacy cookie, one after each pause. It collects the tokens
// of the sessions that were made, and returns the cookies that were held back.
func moveAll(t *testing.T, a *apptest.App, cookies []string, pause time.Duration, tokens map[string]bool) (left []string) {
	t.Helper()
	for i, v := range a.Crowd(len(cookies), func(i int, r *http.Request) (*http.Request, time.Duration) {
		r.Header.Set("Cookie", cookies[i])
		return r, time.Duration(i) * pause
	}) {
		if v.Outcome == stytchmigrate.OutcomeMigrated {
			tokens[v.Result().Cookies()[0].Value] = true
			continue
		}
		require.Equal(t, stytchmigrate.OutcomeLegacy, v.Outcome)
		require.Empty(t, v.Result().Header)
		require.Zero(t, v.Took)
		left = append(left, cookies[i])
	}
	return left
}

// Stytch takes ever longer, from 50 ms to 5 s, with thirty users a second. No
// more than 32 users wait for it, no longer than Timeout. The others don't wait.
func TestNoUserWaitsLongWhileStytchGetsSlower(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		works := stytchtest.Handle(a.Copies(t))
		a.Stytch.ResetCalls()
		goroutines, most := bubble.Goroutines(), 0
		const n = 300
		stream(a, n, time.Second/30, func(i int) string {
			a.Stytch.FailAll(stytchtest.Migrate, works.WithDelay(50*time.Millisecond+time.Duration(i)*4950*time.Millisecond/n))
			if i%10 == 0 { // to count them takes long
				most = max(most, bubble.Goroutines()-goroutines)
			}
			return fmt.Sprint("sid=ada-", i)
		})
		got := map[string]int{}
		for _, e := range a.Requests {
			switch {
			case e.Outcome == stytchmigrate.OutcomeMigrated:
				assert.LessOrEqual(t, e.Duration, 5*time.Second)
				got["migrated"]++
			case e.Err.Error() == "stytchmigrate: call: no answer within the time of the request":
				assert.Equal(t, 5*time.Second, e.Duration)
				got["in vain"]++
			default:
				assert.EqualError(t, e.Err, apptest.TooManyInFlight)
				assert.Zero(t, e.Duration)
				got["held back"]++
			}
		}
		assert.Equal(t, n, got["migrated"]+got["in vain"]+got["held back"])
		assert.Greater(t, got["migrated"], 75, "of %v", got)
		assert.Greater(t, got["held back"], 100, "of %v", got)
		assert.Equal(t, 32, a.Stytch.MaxInFlight(stytchtest.Migrate))
		assert.LessOrEqual(t, most, 32*8)
	}, apptest.LogWarnings(io.Discard))
}

// Stytch throttles the whole project, and says for how long. Exchanges pause
// until then, and RequireUser says so to clients. Sessions are refreshed as ever.
func TestExchangesPauseAsLongAsStytchSays(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.Expired(a.Ada, "both")
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(429, "too_few_tokens_authenticated").WithHeader("Retry-After", "20"))
		out := a.GetRequiringUser("sid=ada-1")
		assert.Equal(t, "handler not run | - | no-store | migrate", out.String())
		assert.Equal(t, "20", out.Header().Get("Retry-After"))

		time.Sleep(5*time.Second + 1)
		for _, sid := range []string{"ada-1", "ada-2"} {
			out = a.GetRequiringUser("sid=" + sid)
			assert.Equal(t, "handler not run | - | no-store | -", out.String())
			assert.Equal(t, "15", out.Header().Get("Retry-After"), "what is left of it")
		}
		assert.Equal(t, apptest.Refreshed, a.Get(cookies).String())
		require.Len(t, a.SettledEvents(), 1)
		e := a.SettledEvents()[0]
		assert.Equal(t, "paused", e.Kind)
		assert.Equal(t, 20*time.Second, e.Duration)
		assert.EqualError(t, e.Err, "stytchmigrate: exchange: paused")
		assert.Contains(t, a.Log.String(), `"level":"WARN","msg":"stytchmigrate: paused","calls":"exchange"`)

		time.Sleep(15 * time.Second)
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
	})
}

// Stytch is down. After five calls that fail the breaker opens: exchanges fail
// without a call. The log and the events say so once, not for each user.
func TestBreakerOpensOnceForAllUsers(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable"))
		for i := range 5 {
			assert.Equal(t, apptest.UnavailableUntouched+"migrate migrate", a.Get(fmt.Sprint("sid=", i)).String())
		}
		synctest.Wait()
		assert.Contains(t, a.Log.String(), `"level":"WARN","msg":"stytchmigrate: breaker open","calls":"exchange"`)
		a.Log.Reset()
		start := time.Now()
		n := scale.Down(2000)
		for i := range n {
			require.Equal(t, apptest.UnavailableUntouched+"-", a.Get(fmt.Sprint("sid=", i)).String())
			assert.EqualValues(t, fmt.Sprint(i), a.LegacySeen.ID, "the old code can still serve the user")
		}
		apptest.RequireTook(t, 0, start)
		assert.EqualError(t, a.Requests[len(a.Requests)-1].Err, "stytchmigrate: migrate: held back: breaker is open")
		assert.Equal(t, n, strings.Count(a.Log.String(), `"level":"DEBUG"`))
		assert.Equal(t, n, strings.Count(a.Log.String(), "\n"), "and at no higher level")
		assert.Equal(t, "5", a.GetRequiringUser("sid=0").Header().Get("Retry-After"))

		a.Stytch.Heal(stytchtest.Any)
		time.Sleep(5*time.Second + 1)
		assert.Equal(t, apptest.Moved, a.Get("sid=0").String())
		requireBreakerEvents(t, a)
	})
}

// requireBreakerEvents holds all events against those of a breaker that opened
// and closed once.
func requireBreakerEvents(t *testing.T, a *apptest.App) {
	t.Helper()
	var got []string
	for _, e := range a.SettledEvents() {
		got = append(got, e.Kind+" "+e.Err.Error())
	}
	assert.Equal(t, []string{
		"breaker stytchmigrate: exchange: breaker open",
		"breaker stytchmigrate: exchange: breaker half-open",
		"breaker stytchmigrate: exchange: breaker closed",
	}, got)
	assert.Contains(t, a.Log.String(), `"level":"INFO","msg":"stytchmigrate: breaker closed","calls":"exchange","failures":5`)
}

// Stytch is down, and 2000 users a second come. A user with a valid JWT is
// authenticated. The others have "unavailable", nearly all of them without a
// call. Nothing piles up: neither calls, nor goroutines, nor log lines.
func TestOutageUnderLoad(t *testing.T) {
	var log bytes.Buffer
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		kinds, cookiesOf := usersInAnOutage(t, a)
		a.Stytch.ResetCalls()
		a.Stytch.FailAll(stytchtest.Any, stytchtest.Error(503, "server_unavailable"))
		goroutines, later := bubble.Goroutines(), 0
		n, pause := scale.Down(2_500), time.Second/time.Duration(scale.Down(2_000))
		open := scale.Down(1_000) // the breakers, after half a second at most
		cookies := func(i int) string {
			if i > open && i%50 == 0 { // to count them takes long
				later = max(later, bubble.Goroutines()-goroutines)
			}
			return cookiesOf(i)
		}
		start := time.Now()
		all := stream(a, n, pause, cookies)
		time.Sleep(time.Until(start.Add(6 * time.Second))) // when probes are due
		all = append(all, stream(a, n, pause, func(i int) string { return cookies(i + n) })...)
		got, slow := map[string]int{}, 0
		for i, v := range all {
			got[kinds[i%4]+" "+v.saw]++
			assert.LessOrEqual(t, v.took, 500*time.Millisecond)
			if i > open && v.took > 0 {
				slow++
			}
		}
		assert.Equal(t, map[string]int{"known authenticated ada": n / 2, "verified authenticated partial ada": n / 2,
			"expired unavailable": n / 2, "legacy unavailable": n / 2}, got)
		assert.LessOrEqual(t, slow, 2+2, "two probes, and the users who share them")
		assert.LessOrEqual(t, later, 32)
		assert.GreaterOrEqual(t, countProbes(a), 2, "a probe of exchanges, and one of sessions")
		assert.Less(t, strings.Count(log.String(), "\n"), 150, "lines in the log")
		assert.Less(t, a.Stytch.Count(stytchtest.Any), 200)
	}, apptest.LogWarnings(&log))
}

// usersInAnOutage are four kinds of users, and the cookies of the i-th user.
func usersInAnOutage(t *testing.T, a *apptest.App) (kinds []string, cookies func(i int) string) {
	t.Helper()
	expired := make([]string, 64) // as many as come during a probe, or some would share its call
	for i := range expired {
		expired[i] = "stytch_session_jwt=" + a.Stytch.NewSession(a.Bob.ID, 30*24*time.Hour).JWT
	}
	time.Sleep(6 * time.Minute)
	known, _ := a.SignedIn(a.Ada)
	verified, _ := a.SignedIn(a.Ada)
	a.LearnSession(t, known)
	return []string{"known", "verified", "expired", "legacy"}, func(i int) string {
		return []string{known, verified, expired[i/4%64], fmt.Sprint("sid=ada-", i)}[i%4]
	}
}

// countProbes counts how often a breaker let a call through to see whether
// Stytch is back.
func countProbes(a *apptest.App) (n int) {
	for _, e := range a.SettledEvents() {
		if strings.HasSuffix(e.Err.Error(), "half-open") {
			n++
		}
	}
	return n
}
