package redisstore_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// A thousand requests at once, with one old cookie, at three processes.
func TestOneSessionInThreeProcesses(t *testing.T) {
	stytch := stytchtest.NewServer(t, stytchtest.Config{})
	ids := people(stytch, "ada")
	processes := startProcesses(t, 3, stytch, startServer(t), patient)
	stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(300*time.Millisecond))

	const n = 1000
	sessions := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			p, set, err := visit(processes[i%3].url, "sid=ada-1")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				sessions[err.Error()]++
				return
			}
			sessions[p.Outcome+" "+p.User+" "+p.Session+" "+set["stytch_session"]]++
		})
	}
	wg.Wait()
	s := stytch.Sessions()
	require.Len(t, s, 1)
	assert.Equal(t, map[string]int{"migrated " + ids["ada"] + " " + s[0].ID + " " + s[0].Token: n}, sessions)
	assert.Equal(t, 1, stytch.Count(stytchtest.Migrate))
	t.Logf("%d answers, %d session, %d call of migrate", n, len(s), stytch.Count(stytchtest.Migrate))
}

// Logged out in one process while another exchanges.
func TestLogoutInAnotherProcess(t *testing.T) {
	stytch := stytchtest.NewServer(t, stytchtest.Config{})
	people(stytch, "ada")
	processes := startProcesses(t, 2, stytch, startServer(t), patient)
	hold := &stytchtest.Hold{}
	stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
	done := make(chan string)
	go func() {
		p, set, err := visit(processes[0].url, "sid=ada-1")
		done <- fmt.Sprint(p.Outcome, " ", p.User, set, err)
	}()
	<-hold.Arrived()
	r, err := http.NewRequest(http.MethodPost, processes[1].url+"/logout", nil)
	require.NoError(t, err)
	r.Header.Set("Cookie", "sid=ada-1")
	resp, err := visitor.Do(r)
	require.NoError(t, err)
	_ = resp.Body.Close()
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	hold.Release()
	assert.Equal(t, "refused map[] <nil>", <-done)
	require.Len(t, stytch.Sessions(), 1)
	assert.False(t, stytch.Sessions()[0].Live)
}

// Killed after the session was recorded, and before its answer: the user's next request,
// at another process, has that session.
func TestProcessKilledAfterItsPut(t *testing.T) {
	stytch := stytchtest.NewServer(t, stytchtest.Config{})
	ids := people(stytch, "ada")
	processes := startProcesses(t, 2, stytch, startServer(t), 0)
	killed := make(chan error)
	go func() {
		_, _, err := visit(processes[0].url+"/never", "sid=ada-1")
		killed <- err
	}()
	require.True(t, processes[0].lines.Scan())
	processes[0].kill()
	require.Error(t, <-killed)

	p, set, took := timed(t, processes[1].url)
	assert.Equal(t, "migrated "+ids["ada"], p.Outcome+" "+p.User)
	assert.NotEmpty(t, set["stytch_session"])
	assert.Less(t, took, time.Second)
	assert.Equal(t, 1, stytch.Count(stytchtest.Migrate))
}

// Killed in an exchange: its claim stays. The user's next request, at another process,
// waits for half of Config.Timeout, and the ones after it do not wait. The old code
// serves the user until the lease ends, which is four Timeouts long. Then the session
// moves.
func TestProcessKilled(t *testing.T) {
	stytch := stytchtest.NewServer(t, stytchtest.Config{})
	ids := people(stytch, "ada")
	redis := startServer(t)
	processes := startProcesses(t, 2, stytch, redis, 0)
	hold := &stytchtest.Hold{}
	stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
	killed := make(chan error)
	go func() {
		_, _, err := visit(processes[0].url, "sid=ada-1")
		killed <- err
	}()
	<-hold.Arrived()
	processes[0].kill()
	require.Error(t, <-killed)
	hold.Release()

	for _, within := range []time.Duration{4 * time.Second, time.Second, time.Second} {
		p, set, took := timed(t, processes[1].url)
		assert.Equal(t, "legacy ", p.Outcome+" "+p.User)
		assert.Empty(t, set)
		assert.Less(t, took, within)
		t.Logf("served by the old code after %v", took.Round(time.Millisecond))
	}
	left := endLease(t, redis)
	assert.Greater(t, left, 10*time.Second)
	assert.LessOrEqual(t, left, 20*time.Second)
	p, set, _ := timed(t, processes[1].url)
	assert.Equal(t, "migrated "+ids["ada"], p.Outcome+" "+p.User)
	assert.NotEmpty(t, set["stytch_session"])
	assert.Equal(t, 2, stytch.Count(stytchtest.Migrate))
}

// timed is visit with Ada's old cookie, and how long it took.
func timed(t *testing.T, url string) (page, map[string]string, time.Duration) {
	t.Helper()
	start := time.Now()
	p, set, err := visit(url, "sid=ada-1")
	require.NoError(t, err)
	return p, set, time.Since(start)
}

// endLease ends the lease of the one claim that there is, as time would, and returns
// how much was left of it.
func endLease(t *testing.T, s *server) time.Duration {
	t.Helper()
	c := s.client(redis.Options{})
	keys, err := c.Keys(t.Context(), "*:claim").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	left, err := c.PTTL(t.Context(), keys[0]).Result()
	require.NoError(t, err)
	require.NoError(t, c.PExpire(t.Context(), keys[0], time.Millisecond).Err())
	require.Eventually(t, func() bool { return c.Exists(t.Context(), keys[0]).Val() == 0 }, time.Second, time.Millisecond)
	return left
}

// Redis is killed while sixty people click. Nobody loses a session, and when it
// is back, processes share again.
func TestRedisKilledUnderLoad(t *testing.T) {
	stytch := stytchtest.NewServer(t, stytchtest.Config{})
	names := make([]string, 60)
	for i := range names {
		names[i] = fmt.Sprintf("user%d", i)
	}
	ids := people(stytch, append(names, "late")...)
	redis := startServer(t)
	processes := startProcesses(t, 3, stytch, redis, 0)

	over := make(chan struct{})
	var mu sync.Mutex
	got := map[string]int{}
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			time.Sleep(time.Duration(i) * 50 * time.Millisecond) // the last come when Redis is down
			b := &browser{name: name, cookies: map[string]string{"sid": name + "-1"}}
			for {
				select {
				case <-over:
					return
				default:
				}
				outcome := b.click(processes[rand.N(len(processes))].url, ids[name])
				mu.Lock()
				got[outcome]++
				mu.Unlock()
			}
		})
	}
	time.Sleep(1500 * time.Millisecond)
	redis.kill()
	time.Sleep(2 * time.Second)
	redis.start()
	time.Sleep(6 * time.Second) // the processes leave it alone for five
	close(over)
	wg.Wait()
	t.Log(got)
	delete(got, "migrated")
	delete(got, "authenticated")
	assert.Empty(t, got, "each click has its user")

	first, _, err := visit(processes[0].url, "sid=late-1")
	require.NoError(t, err)
	for _, p := range processes {
		again, _, err := visit(p.url, "sid=late-1")
		require.NoError(t, err)
		assert.Equal(t, first.Session, again.Session, "shared again")
	}
}

// browser is a cookie jar of one site.
type browser struct {
	name    string
	cookies map[string]string
}

// click asks for a page, and returns the outcome, or what is wrong with it.
func (b *browser) click(url, user string) string {
	var pairs []string
	for name, value := range b.cookies {
		pairs = append(pairs, name+"="+value)
	}
	p, set, err := visit(url, strings.Join(pairs, "; "))
	if err != nil {
		return err.Error()
	}
	for name, value := range set {
		if b.cookies[name] = value; value == "" {
			delete(b.cookies, name)
		}
	}
	if p.User != user {
		return p.Outcome + " without the user"
	}
	return p.Outcome
}
