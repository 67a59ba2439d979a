package stytchtest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"example.com/stytchmigrate/stytchtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// got is what a client of the key set sees.
type got struct {
	status int
	header http.Header
	body   []byte // as far as it came, and no more than a client would read
	err    error
}

const bound = 1 << 20

func (c client) fetch(t *testing.T, timeout time.Duration) got {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	own := *c.http
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := own.Do(c.request(t, "GET", "/v1/sessions/jwks/"+c.ProjectID, nil).WithContext(ctx))
	if err != nil {
		return got{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bound))
	return got{resp.StatusCode, resp.Header, body, err}
}

var faultRows = []struct {
	name  string
	fault stytchtest.Fault
	want  func(t *testing.T, got got)
	// the client waits for 100 ms and no longer
	timeout time.Duration // of the call; zero: none that matters
}{
	{name: "zero", fault: stytchtest.Fault{}, want: usual},
	{name: "HTML", fault: stytchtest.Respond(502, "<html>"), want: func(t *testing.T, got got) {
		assert.Equal(t, 502, got.status)
		assert.Equal(t, "text/html; charset=utf-8", got.header.Get("Content-Type"))
		assert.Equal(t, "<html>", string(got.body))
	}},
	{name: "empty", fault: stytchtest.Respond(503, ""), want: func(t *testing.T, got got) {
		assert.Equal(t, 503, got.status)
		assert.Empty(t, got.body)
		assert.NoError(t, got.err)
	}},
	{name: "empty object", fault: stytchtest.Respond(200, "{}"), want: func(t *testing.T, got got) {
		assert.Equal(t, 200, got.status)
		assert.Equal(t, "application/json", got.header.Get("Content-Type"))
	}},
	{name: "error with Retry-After", fault: stytchtest.Error(429, "too_many_requests").WithHeader("Retry-After", "3600"), want: func(t *testing.T, got got) {
		assert.Equal(t, 429, got.status)
		assert.Equal(t, "3600", got.header.Get("Retry-After"))
		var o object
		require.NoError(t, json.Unmarshal(got.body, &o))
		assertError(t, "too_many_requests", o)
		assert.EqualValues(t, 429, o["status_code"])
		assert.NotEmpty(t, o["request_id"])
	}},
	{name: "redirect", fault: stytchtest.Redirect("https://elsewhere.example/"), want: func(t *testing.T, got got) {
		assert.Equal(t, 307, got.status)
		assert.Equal(t, "https://elsewhere.example/", got.header.Get("Location"))
	}},
	{name: "handler", fault: stytchtest.Handle(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "null") }), want: func(t *testing.T, got got) {
		assert.Equal(t, 200, got.status)
		assert.Equal(t, "null", string(got.body))
	}},
	{name: "mutated", fault: stytchtest.Mutate(func(o map[string]any) { delete(o, "keys"); o["request_id"] = nil }), want: func(t *testing.T, got got) {
		assert.JSONEq(t, `{"request_id":null,"status_code":200}`, string(got.body))
	}},
	{name: "delay", fault: stytchtest.Delay(time.Millisecond), want: usual},
	{name: "delay of an error", fault: stytchtest.Respond(500, "").WithDelay(time.Millisecond), want: func(t *testing.T, got got) {
		assert.Equal(t, 500, got.status)
	}},
	{name: "reset", fault: stytchtest.Reset(), want: reset},
	{name: "reset after work", fault: stytchtest.Reset().AfterWork(), want: reset},
	{name: "silence", fault: stytchtest.Silence(), want: timedOut, timeout: 100 * time.Millisecond},
	{name: "delay too long", fault: stytchtest.Delay(time.Hour), want: timedOut, timeout: 100 * time.Millisecond},
	{name: "hold", fault: stytchtest.Fault{}.WithHold(new(stytchtest.Hold)), want: timedOut, timeout: 100 * time.Millisecond},
	{name: "drip", fault: stytchtest.Fault{}.WithDrip(50 * time.Millisecond), timeout: 500 * time.Millisecond, want: func(t *testing.T, got got) {
		assert.Equal(t, 200, got.status)
		assert.ErrorIs(t, got.err, context.DeadlineExceeded)
		assert.NotEmpty(t, got.body)
		assert.Less(t, len(got.body), 50)
	}},
	{name: "cut", fault: stytchtest.Fault{}.WithCut(9), want: func(t *testing.T, got got) {
		assert.Equal(t, 200, got.status)
		assert.ErrorIs(t, got.err, io.ErrUnexpectedEOF)
		assert.Len(t, got.body, 9)
	}},
	{name: "cut at once", fault: stytchtest.Fault{}.WithCut(0), want: func(t *testing.T, got got) {
		assert.Equal(t, 200, got.status)
		assert.ErrorIs(t, got.err, io.ErrUnexpectedEOF)
		assert.Empty(t, got.body)
	}},
	{name: "endless", fault: stytchtest.Endless(), want: overBound},
	{name: "huge", fault: stytchtest.Huge(10 << 20), want: overBound},
	{name: "gzip bomb", fault: stytchtest.GzipBomb(64 << 20), want: overBound},
	{name: "small gzip", fault: stytchtest.GzipBomb(3), want: func(t *testing.T, got got) {
		assert.Equal(t, `{"padding":"aaa"}`, string(got.body))
		assert.Empty(t, got.header.Get("Content-Encoding"), "the transport has unpacked it")
	}},
}

func TestFaults(t *testing.T) {
	for _, row := range faultRows {
		t.Run(row.name, func(t *testing.T) {
			for _, way := range ways {
				t.Run(way.name, func(t *testing.T) {
					c := start(t, stytchtest.Config{InProcess: way.inProcess})
					c.Fail(stytchtest.JWKS, row.fault)
					row.want(t, c.fetch(t, cmp.Or(row.timeout, 10*time.Second)))
					usual(t, c.fetch(t, 10*time.Second)) // the next call
				})
			}
		})
	}
}

func usual(t *testing.T, got got) {
	t.Helper()
	require.NoError(t, got.err)
	assert.Equal(t, 200, got.status)
	var o object
	require.NoError(t, json.Unmarshal(got.body, &o))
	assert.Len(t, o["keys"], 1)
}

func reset(t *testing.T, got got) {
	t.Helper()
	assert.ErrorIs(t, got.err, syscall.ECONNRESET)
}

func timedOut(t *testing.T, got got) {
	t.Helper()
	assert.ErrorIs(t, got.err, context.DeadlineExceeded)
}

func overBound(t *testing.T, got got) {
	t.Helper()
	require.NoError(t, got.err)
	assert.Equal(t, 200, got.status)
	assert.Len(t, got.body, bound)
}

func TestAfterWorkLosesTheAnswerOnly(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c := start(t, stytchtest.Config{InProcess: way.inProcess})
			c.AddUser(stytchtest.Person("jane@example.com"))
			c.Accept("legacy-jane", "jane@example.com")
			body := object{"session_token": "legacy-jane", "session_duration_minutes": 60}

			c.Fail(stytchtest.Migrate, stytchtest.Reset(), stytchtest.Reset().AfterWork(),
				stytchtest.Error(500, "internal_server_error").AfterWork())
			for want := range 2 {
				_, err := c.http.Do(c.request(t, "POST", "/v1/sessions/migrate", body))
				assert.ErrorIs(t, err, syscall.ECONNRESET)
				assert.Len(t, c.Sessions(), want)
			}
			status, _ := c.migrate(t, body)
			assert.Equal(t, 500, status)
			assert.Len(t, c.Sessions(), 2)
		})
	}
}

func TestHold(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c := start(t, stytchtest.Config{InProcess: way.inProcess})
			var hold stytchtest.Hold
			c.FailAll(stytchtest.JWKS, stytchtest.Fault{}.WithHold(&hold))
			answers := make(chan got)
			for range 3 {
				go func() { answers <- c.fetch(t, 10*time.Second) }()
			}
			<-hold.Arrived()
			require.Eventually(t, func() bool { return hold.Waiting() == 3 }, 5*time.Second, time.Millisecond)
			assert.Equal(t, 3, c.InFlight(stytchtest.JWKS))
			hold.Release()
			hold.Release()
			for range 3 {
				usual(t, <-answers)
			}
			assert.Equal(t, 0, c.InFlight(stytchtest.Any))
			assert.Equal(t, 3, c.MaxInFlight(stytchtest.JWKS))
			c.ResetCalls()
			assert.Equal(t, 0, c.MaxInFlight(stytchtest.JWKS))
			usual(t, c.fetch(t, 10*time.Second)) // a hold once released stays so
		})
	}
}

func TestFaultsComeInOrder(t *testing.T) {
	c := start(t, stytchtest.Config{InProcess: true})
	status := func() int { return c.fetch(t, time.Second).status }
	c.FailAll("*", stytchtest.Respond(504, ""))
	c.Fail("*", stytchtest.Respond(503, ""))
	c.FailAll("jwks", stytchtest.Respond(502, ""))
	c.Fail("jwks", stytchtest.Fault{}, stytchtest.Respond(501, ""))
	assert.Equal(t, []int{200, 501, 502, 502}, []int{status(), status(), status(), status()})
	c.Heal("jwks")
	assert.Equal(t, []int{503, 504, 504}, []int{status(), status(), status()})
	c.Heal("*")
	assert.Equal(t, 200, status())
	assert.Panics(t, func() { c.Fail("jwk", stytchtest.Reset()) })
}

// TestMutate shows that a test can make of an answer what it likes, and that the
// server goes on as if nothing had been.
func TestMutate(t *testing.T) {
	c := start(t, stytchtest.Config{InProcess: true})
	jane := c.AddUser(stytchtest.Person("jane@example.com"))
	x := c.NewSession(jane.ID, 0)
	c.Fail("authenticate", stytchtest.Mutate(func(body map[string]any) {
		body["session_token"] = "a;b"
		body["session"].(map[string]any)["expires_at"] = "2001-02-03T04:05:06Z"
		emails := body["user"].(map[string]any)["emails"].([]any)
		emails[0].(map[string]any)["verified"] = false
	}))
	_, got := c.authenticate(t, object{"session_token": x.Token})
	assert.Equal(t, "a;b", got["session_token"])
	assert.Equal(t, "2001-02-03T04:05:06Z", got["session"].(object)["expires_at"])
	assert.Equal(t, false, got["user"].(object)["emails"].([]any)[0].(object)["verified"])

	_, got = c.authenticate(t, object{"session_token": x.Token})
	assert.Equal(t, x.Token, got["session_token"])
	u, _ := c.User(jane.ID)
	assert.True(t, u.Emails[0].Verified)

	c.Fail("jwks", stytchtest.Mutate(func(body map[string]any) {
		keys := body["keys"].([]any)
		body["keys"] = append(keys, keys[0])
	}))
	_, got = c.call(t, "GET", "/v1/sessions/jwks/"+c.ProjectID, nil)
	assert.Len(t, got["keys"], 2, "a kid twice")
}

func TestChanceIsSeeded(t *testing.T) {
	run := func(seed uint64) (failed int, order []int) {
		c := start(t, stytchtest.Config{InProcess: true, Seed: seed})
		c.FailAll("jwks", stytchtest.Respond(500, "").WithChance(0.3))
		for range 200 {
			status := c.fetch(t, 10*time.Second).status
			order = append(order, status)
			if status == 500 {
				failed++
			}
		}
		return failed, order
	}
	failed, first := run(7)
	_, second := run(7)
	_, third := run(8)
	assert.InDelta(t, 60, failed, 30)
	assert.Equal(t, first, second)
	assert.NotEqual(t, first, third)
}
