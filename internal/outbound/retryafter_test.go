package outbound_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/outbound"
)

// Each row is a header at half a second past midnight, on January 1, 2000.
func TestRetryAfter(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		header string
		want   time.Duration
	}{
		{"", 0},
		{"0", 0},
		{"1", time.Second},
		{"86399", day - time.Second},
		{"86401", day},
		{"9223372036854775807", day},
		{"9223372036854775808", outbound.Never},
		{"99999999999999999999", outbound.Never},
		{"-1", 0},
		{"+1", 0},
		{"1.5", 0},
		{"1 ", 0},
		{"soon", 0},
		{"Sat, 01 Jan 2000 00:00:20 GMT", 19500 * time.Millisecond},
		{"Saturday, 01-Jan-00 00:00:20 GMT", 19500 * time.Millisecond},
		{"Sat Jan  1 00:00:20 2000", 19500 * time.Millisecond},
		{"Sat, 01 Jan 2000 00:00:00 GMT", 0},
		{"Fri, 31 Dec 9999 23:59:59 GMT", day},
	} {
		t.Run(tt.header, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(500 * time.Millisecond)
				assert.Equal(t, tt.want, outbound.RetryAfter(http.Header{"Retry-After": {tt.header}}))
			})
		})
	}
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		0: 0, 1: time.Second, time.Second - 1: time.Second, time.Second: time.Second, time.Second + 1: 2 * time.Second,
	} {
		assert.Equal(t, want, outbound.WholeSeconds(d), d)
	}
}
