package apptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// SessionNotFound is Stytch's error type for a session that it does not know.
const SessionNotFound = "session_not_found"

// TooManyInFlight is the error of an exchange that the module holds back because
// Stytch has 32 of them to do.
const TooManyInFlight = "stytchmigrate: migrate: held back: too many calls in flight"

// RetryPause is about how long the client waits before it tries a call again:
// the pause is random.
const RetryPause = 100 * time.Millisecond

// RequireTook holds the time since start against want, which is exact unless it
// is RetryPause.
func RequireTook(t *testing.T, want time.Duration, start time.Time) {
	t.Helper()
	if want == RetryPause {
		assert.InDelta(t, want, time.Since(start), float64(RetryPause/2))
		return
	}
	assert.Equal(t, want, time.Since(start))
}

// RoundTripper is a function in place of a transport.
type RoundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls f.
func (f RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Through sends the calls to Stytch through f.
func Through(f RoundTripper) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.HTTPClient = &http.Client{Transport: f} }
}

// Answering gives each call the same answer. Only the first one gets what body
// has.
func Answering(status int, body io.Reader) RoundTripper {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(body), Request: r}, nil
	}
}

// Copies answers exchanges, each with a session of ada's under a token of its
// own. The stand-in makes the first one, and the others are copies of it: in a
// test of many exchanges, signing a JWT for each would take longer than all else.
func (a *App) Copies(t *testing.T) http.HandlerFunc {
	t.Helper()
	var first []byte
	a.Stytch.Fail(stytchtest.Migrate, stytchtest.Mutate(func(body map[string]any) {
		body["session_token"] = copiedToken
		var err error
		first, err = json.Marshal(body)
		assert.NoError(t, err)
	}))
	require.Equal(t, Moved, a.Get("sid=ada-first").String())
	a.Requests = nil
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bytes.Replace(first, []byte(copiedToken), fmt.Appendf(nil, "%044d", n.Add(1)), 1))
	}
}

// copiedToken is the token of the first session of Copies.
const copiedToken = "00000000000000000000000000000000000000000000"
