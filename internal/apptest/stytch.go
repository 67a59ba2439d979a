package apptest

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
)

// APause is the time before a second try, which is random.
const RetryPause = 100 * time.Millisecond

// RequireTook asserts how long what came before took.
func RequireTook(t *testing.T, want time.Duration, start time.Time) {
	t.Helper()
	if want == RetryPause {
		assert.InDelta(t, want, time.Since(start), float64(RetryPause/2))
		return
	}
	assert.Equal(t, want, time.Since(start))
}

const TooManyInFlight = "stytchmigrate: migrate: held back: too many calls in flight"

const SessionNotFound = "session_not_found"

// RoundTripper is a transport of the test's own.
type RoundTripper func(*http.Request) (*http.Response, error)

func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Through makes the calls to Stytch go through f.
func Through(f RoundTripper) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.HTTPClient = &http.Client{Transport: f} }
}

// Answering answers every call in the same way.
func Answering(status int, body io.Reader) RoundTripper {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body), Request: r}, nil
	}
}
