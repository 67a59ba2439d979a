package outbound_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/apptest/bubble"
	"example.com/stytchmigrate/internal/outbound"
)

// Each row is what a transport does with a call that no lane guards.
func TestIsolate(t *testing.T) {
	for _, tt := range []struct {
		name string
		does reply
		want string
		took time.Duration
	}{
		{"answers", ok, `200 {"user_id":"u"}`, 0},
		{"answers without a body", func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 204}, nil }, "204 ", 0},
		{"answers at length", say(200, strings.Repeat("a", 2*maxBody)), "200 " + strings.Repeat("a", maxBody+1), 0},
		{"breaks off", breakOff(200, "{", io.ErrUnexpectedEOF), "200 {, then unexpected EOF", 0},
		{"falls silent", breakOff(200, "{", nil), "context deadline exceeded", timeout},
		{"fails", refused, "dial: connection refused", 0},
		{"returns nothing", fail(nil), "transport returned neither an answer nor an error", 0},
		{"panics", func(*http.Request) (*http.Response, error) { panic("canary") }, "panicked (string)", 0},
		{"exits", func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, "left by runtime.Goexit", 0},
		{"knows no context", func(*http.Request) (*http.Response, error) { time.Sleep(time.Hour); return nil, nil }, "context deadline exceeded", timeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				began := time.Now()
				assert.Equal(t, tt.want, roundTrip(outbound.Isolate(roundTripper(tt.does), maxBody), newRequest(ctx, outbound.NoLane)))
				took(t, tt.took, began)
				time.Sleep(time.Hour)
			})
		})
	}
}

// roundTrip returns the status and the body, and the error of either.
func roundTrip(rt http.RoundTripper, r *http.Request) string {
	resp, err := rt.RoundTrip(r)
	if err != nil {
		return err.Error()
	}
	got := fmt.Sprint(resp.StatusCode)
	body, err := io.ReadAll(resp.Body)
	if got += " " + string(body); err != nil {
		got += ", then " + err.Error()
	}
	return got
}

// One call costs one goroutine, beside that of its caller.
func TestOneGoroutineForEachCall(t *testing.T) {
	const calls = 20
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		before := bubble.Goroutines()
		s.start(t, calls, exchange, after(time.Second, ok))
		assert.Equal(t, 2*calls, bubble.Goroutines()-before, "the callers, and a goroutine for each call")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, before, bubble.Goroutines())
	})
}
