package client_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/stytch"
)

// Each row is a Retry-After of Stytch's, and the one that users get then. The
// second try is made if it is in time.
func TestRetryAfter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		given  string
		want   time.Duration
		tries  int
	}{
		{"a second", 503, "1", time.Second, 2},
		{"throttled", 429, "7", 7 * time.Second, 1},
		{"a minute", 503, "60", time.Minute, 1},
		{"an hour", 503, "3600", time.Minute, 1},
		{"more than an int holds", 503, "99999999999999999999", 0, 1},
		{"almost that much", 503, "9223372036854775807", time.Minute, 1},
		{"rubbish", 503, "soon", 0, 2},
		{"a fraction", 503, "1.5", 0, 2},
		{"zero", 503, "0", 0, 2},
		{"negative", 503, "-1", 0, 2},
		{"none", 503, "", 0, 2},
		{"a date to come", 503, "Sat, 01 Jan 2000 00:00:20 GMT", 20 * time.Second, 1},
		{"a date far away", 503, "Fri, 31 Dec 9999 23:59:59 GMT", time.Minute, 1},
		{"a date in the past", 503, "Fri, 31 Dec 1999 23:59:59 GMT", 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(500 * time.Millisecond) // a date is in whole seconds, the clock is not
				tries := 0
				err := migrate(t, over(func(r *http.Request) (*http.Response, error) {
					tries++
					return apiError(tt.status, "x", "Retry-After", tt.given)(r)
				}))
				assert.Equal(t, tt.want, stytch.AsCall(err).RetryAfter)
				assert.False(t, stytch.AsCall(err).HeldBack())
				assert.Equal(t, tt.tries, tries)
			})
		})
	}
}

// Each operation has a lane of its own. A session that was verified here has another
// lane than one that a browser may have made up.
func TestLanes(t *testing.T) {
	for _, tt := range []struct {
		op      stytch.Op
		vouched bool
		want    outbound.Lane
	}{
		{stytch.Migrate, false, outbound.Exchange},
		{stytch.Migrate, true, outbound.Exchange},
		{stytch.CreateUser, false, outbound.CreateUser},
		{stytch.Authenticate, false, outbound.UnvouchedSession},
		{stytch.Authenticate, true, outbound.Session},
		{stytch.Revoke, false, outbound.UnvouchedRevoke},
		{stytch.Revoke, true, outbound.Revoke},
		{stytch.JWKS, false, outbound.NoLane},
	} {
		got := outbound.Lane(-1)
		c := over(nil)
		c.HTTP = client.NewHTTPClient(stub(func(r *http.Request) (*http.Response, error) {
			got = outbound.LaneOf(r.Context())
			return answer(200, "{}")(r)
		}))
		var out struct{}
		assert.NoError(t, c.Post(t.Context(), client.Call{Op: tt.op, Vouched: tt.vouched, Path: "/", Out: &out}))
		assert.Equal(t, tt.want, got, "%s %v", tt.op, tt.vouched)
	}
}

// A call for which there is no place says so: a later request may try again.
func TestNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return answer(200, `{"user_id":"user-1"}`)(r)
		})
		var full, made atomic.Int32
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				switch call := stytch.AsCall(migrate(t, c)); {
				case call == nil:
					made.Add(1)
				case call.NoSlot && call.HeldBack() && call.RetryAfter == time.Second:
					full.Add(1)
				}
			})
		}
		wg.Wait()
		assert.EqualValues(t, 32, made.Load())
		assert.EqualValues(t, 8, full.Load())
	})
}
