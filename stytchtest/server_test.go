package stytchtest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/stytchmigrate/stytchtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCloseLeavesNothing(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			c := start(t, stytchtest.Config{InProcess: way.inProcess})
			c.Fail("jwks", stytchtest.Silence(), stytchtest.Fault{}.WithHold(new(stytchtest.Hold)),
				stytchtest.Delay(time.Hour), stytchtest.Endless(), stytchtest.Fault{}.WithDrip(time.Hour))
			var done sync.WaitGroup
			for range 5 {
				done.Go(func() {
					resp, err := c.http.Do(c.request(t, "GET", "/v1/sessions/jwks/x", nil))
					if err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
					assert.Error(t, err)
				})
			}
			require.Eventually(t, func() bool { return c.Count("jwks") == 5 }, 5*time.Second, time.Millisecond)
			c.Close()
			c.Close()
			done.Wait()
			_, err := c.http.Do(c.request(t, "GET", "/v1/sessions/jwks/x", nil))
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
			c.http.CloseIdleConnections()
			require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+1 }, 5*time.Second, time.Millisecond)
		})
	}
}

func TestCloseClientConnections(t *testing.T) {
	c := start(t, stytchtest.Config{})
	c.fetch(t, 10*time.Second)
	c.CloseClientConnections()
	usual(t, c.fetch(t, 10*time.Second))
	start(t, stytchtest.Config{InProcess: true}).CloseClientConnections()
}

func TestAsHandlerOverTLS(t *testing.T) {
	s := stytchtest.NewServer(t, stytchtest.Config{InProcess: true})
	front := httptest.NewTLSServer(s)
	defer front.Close()
	s.Fail("jwks", stytchtest.Reset(), stytchtest.Fault{})
	_, err := front.Client().Get(front.URL + "/v1/sessions/jwks/" + s.ProjectID)
	assert.ErrorIs(t, err, syscall.ECONNRESET)
	resp, err := front.Client().Get(front.URL + "/v1/sessions/jwks/" + s.ProjectID)
	require.NoError(t, err)
	resp.Body.Close()
	assert.Equal(t, 200, resp.StatusCode)
}

func TestManyAtOnce(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c := start(t, stytchtest.Config{InProcess: way.inProcess})
			jane := c.AddUser(stytchtest.Person("jane@example.com"))
			x := c.NewSession(jane.ID, 0)
			c.Accept("legacy", "jane@example.com")
			c.FailAll("*", stytchtest.Error(500, "internal_server_error").WithChance(0.1))
			var done sync.WaitGroup
			for range 10 {
				done.Go(func() {
					c.migrate(t, object{"session_token": "legacy", "session_duration_minutes": 5})
					c.authenticate(t, object{"session_token": x.Token, "session_custom_claims": object{"n": 1}})
					c.authenticate(t, object{"session_jwt": x.JWT})
					c.fetch(t, 10*time.Second)
					c.Calls()
					c.Sessions()
					c.UpdateUser(jane.ID, func(u *stytchtest.User) { u.FirstName += "x" })
				})
			}
			done.Wait()
			assert.Equal(t, 40, c.Count("*"))
			assert.Equal(t, 0, c.InFlight("*"))
		})
	}
}

// TestInABubble ends by the bubble's own check that no goroutine is left.
func TestInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, stytchtest.Config{InProcess: true})
		began := time.Now()
		c.Fail("jwks", stytchtest.Delay(time.Hour), stytchtest.Silence(), stytchtest.Fault{}.WithDrip(time.Second))
		usual(t, c.fetch(t, 2*time.Hour))
		assert.Equal(t, time.Hour, time.Since(began))
		timedOut(t, c.fetch(t, 5*time.Second))
		assert.Equal(t, time.Hour+5*time.Second, time.Since(began))
		dripped := c.fetch(t, 10*time.Second+time.Millisecond)
		assert.Len(t, dripped.body, 10)
		assert.ErrorIs(t, dripped.err, context.DeadlineExceeded)

		x := c.NewSession(c.AddUser(stytchtest.User{}).ID, 0)
		assert.Equal(t, time.Now().UTC(), x.StartedAt)
		time.Sleep(time.Hour)
		x, _ = c.Session(x.ID)
		assert.False(t, x.Live)
	})
}

// TestClientLeaves shows that a client that has left is not served any more,
// unless its work is scripted to be done.
func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, stytchtest.Config{InProcess: true})
		c.AddUser(stytchtest.Person("jane@example.com"))
		c.Accept("legacy", "jane@example.com")
		c.Fail("migrate", stytchtest.Delay(7*time.Second), stytchtest.Delay(7*time.Second).AfterWork())
		own := *c.http
		own.Timeout = 5 * time.Second
		for want := range 2 {
			r := c.request(t, "POST", "/v1/sessions/migrate", object{"session_token": "legacy", "session_duration_minutes": 5})
			_, err := own.Do(r)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Len(t, c.Sessions(), want)
			synctest.Wait()
			assert.Equal(t, 0, c.InFlight("*"))
		}
	})
}

func TestUserInfoHasFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}
		c := start(t, stytchtest.Config{InProcess: true, UserInfoURL: "https://app.invalid/userinfo", UserInfoClient: silent})
		began := time.Now()
		status, got := c.migrate(t, object{"session_token": "legacy"})
		assert.Equal(t, 400, status)
		assertError(t, "migrate_from_external_unexpected_response", got)
		assert.Equal(t, 5*time.Second, time.Since(began))
	})
}

func TestInProcessIsLikeASocket(t *testing.T) {
	c := start(t, stytchtest.Config{InProcess: true})
	assert.Equal(t, "https://stytch.invalid", c.URL)
	c.FailAll("jwks", stytchtest.GzipBomb(3))
	r := c.request(t, "GET", "/v1/sessions/jwks/x?a=b", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	resp, err := c.http.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, "200 OK", resp.Status)
	assert.Equal(t, "gzip", resp.Header.Get("Content-Encoding"), "unpacked only if the client did not ask")
	assert.EqualValues(t, -1, resp.ContentLength)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.http.Do(c.request(t, "GET", "/", nil).WithContext(ctx))
	assert.ErrorIs(t, err, context.Canceled)

	_, err = c.http.Post(c.URL+"/v1/users", "application/json", io.MultiReader(strings.NewReader("{"), broken{}))
	assert.ErrorIs(t, err, io.ErrNoProgress)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrNoProgress }

// Clients that compare clocks find the server's own in its answers.
func TestDateFollowsTheClock(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c := start(t, stytchtest.Config{InProcess: way.inProcess})
			c.SetClock(func() time.Time { return time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC) })
			resp, err := c.http.Do(c.request(t, "GET", "/v1/users/nobody", nil))
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, []string{"Mon, 03 Feb 2031 04:05:06 GMT"}, resp.Header["Date"])
		})
	}
}
