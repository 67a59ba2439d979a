package redisstore_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

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

// Killed after the exchange, and before its answer: the user's next request, at
// another process, has a session all the same. Where it was remembered it is that
// session, else another one, for which the lease is waited out.
func TestProcessKilled(t *testing.T) {
	for name, remembered := range map[string]bool{"before the session was remembered": false, "after that": true} {
		t.Run(name, func(t *testing.T) {
			stytch := stytchtest.NewServer(t, stytchtest.Config{})
			ids := people(stytch, "ada")
			processes := startProcesses(t, 2, stytch, startServer(t), 0)
			hold := &stytchtest.Hold{}
			if !remembered {
				stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold).AfterWork())
			}
			failed := make(chan error)
			go func() {
				_, _, err := visit(processes[0].url+"/never", "sid=ada-1")
				failed <- err
			}()
			if remembered {
				require.True(t, processes[0].lines.Scan())
			} else {
				<-hold.Arrived()
			}
			processes[0].kill()
			require.Error(t, <-failed)
			hold.Release()

			start := time.Now()
			p, set, err := visit(processes[1].url, "sid=ada-1")
			require.NoError(t, err)
			assert.Equal(t, "migrated "+ids["ada"], p.Outcome+" "+p.User)
			assert.NotEmpty(t, set["stytch_session"])
			took := time.Since(start)
			assert.Less(t, took, 4*time.Second)
			calls := stytch.Count(stytchtest.Migrate)
			assert.Equal(t, map[bool]int{true: 1, false: 2}[remembered], calls)
			t.Logf("signed in after %v, %d calls of migrate", took.Round(time.Millisecond), calls)
		})
	}
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
