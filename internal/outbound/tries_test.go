package outbound_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/outbound"
)

func TestTries(t *testing.T) {
	rate := func(header ...string) reply { return apiError(429, "too_many_requests", header...) }
	long := say(200, strings.Repeat("a", maxBody+1))
	for _, tt := range []struct {
		name  string
		first reply
		tries int
		want  string
	}{
		{"an answer is taken", ok, 1, "200"},
		{"a refused connection is tried again", refused, 2, "200"},
		{"a reset connection is tried again", reset, 2, "200"},
		{"a host that can't be looked up is tried again", noHost, 2, "200"},
		{"a connection that is closed is tried again", fail(io.EOF), 2, "200"},
		{"no answer and no error is tried again", fail(nil), 2, "200"},
		{"silence is tried again", silence, 2, "200"},
		{"a body that breaks off is tried again", breakOff(200, `{"us`, io.ErrUnexpectedEOF), 2, "200"},
		{"a body that falls silent is tried again", breakOff(200, `{"us`, nil), 2, "200"},
		{"500 is tried again", say(500, ""), 2, "200"},
		{"502 in HTML is tried again", say(502, "<html>"), 2, "200"},
		{"503 is tried again", down, 2, "200"},
		{"504 is tried again", say(504, ""), 2, "200"},
		{"429 is tried again", rate(), 2, "200"},
		{"429 of no form is tried again", say(429, "slow down"), 2, "200"},
		{"429 about one user is taken", apiError(429, "user_lock_limit_reached"), 1, "429"},
		{"429 about the project is taken", apiError(429, "too_few_tokens_authenticated"), 1, "429"},
		{"a bad certificate is taken", badCert, 1, "error: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
		{"an alert of TLS is taken", tlsAlert, 1, "error: remote error: tls: handshake failure"},
		{"an answer without TLS is taken", fail(http.ErrSchemeMismatch), 1, "error: http: server gave HTTP response to HTTPS client"},
		{"400 is taken", say(400, ""), 1, "400"},
		{"401 is taken", say(401, ""), 1, "401"},
		{"404 is taken", say(404, ""), 1, "404"},
		{"404 that breaks off is tried again", breakOff(404, "{", io.ErrUnexpectedEOF), 2, "200"},
		{"408 is taken", apiError(408, "brand_new_error"), 1, "408"},
		{"a redirect is taken", say(307, ""), 1, "307"},
		{"201 is taken", apiError(201, "session_not_found"), 1, "201"},
		{"204 is taken", say(204, ""), 1, "204"},
		{"504 that breaks off is tried again", breakOff(504, "<", io.ErrUnexpectedEOF), 2, "200"},
		{"200 that is no JSON is taken", say(200, "<html>"), 1, "200"},
		{"200 that is too long is taken", long, 1, "200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				assert.Equal(t, tt.want, s.call(exchange, tt.first, ok))
				assert.Len(t, s.tries, tt.tries)
			})
		})
	}
}

func TestAtMostTwoTries(t *testing.T) {
	for _, tt := range []struct {
		name string
		try  reply
		want string
	}{
		{"of refused connections the last is told", refused, "error: dial: connection refused"},
		{"of statuses the last is told", down, "503"},
		{"a body that breaks off keeps its status", breakOff(500, "so", io.ErrUnexpectedEOF), "500 so, then unexpected EOF"},
		{"a body that falls silent keeps its status", breakOff(200, "{", nil), "200 {, then context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				assert.Equal(t, tt.want, s.call(exchange, tt.try))
				assert.Len(t, s.tries, 2)
			})
		})
	}
}

// Each row is when the second try begins, after the start of the call.
func TestPause(t *testing.T) {
	busy := func(retryAfter string) reply { return say(503, "", "Retry-After", retryAfter) }
	date := func(d time.Duration) reply {
		return func(r *http.Request) (*http.Response, error) {
			return busy(time.Now().Add(d).UTC().Format(http.TimeFormat))(r)
		}
	}
	short := [2]time.Duration{50 * time.Millisecond, 150 * time.Millisecond}
	exactly := func(d time.Duration) [2]time.Duration { return [2]time.Duration{d, d} }
	none := [2]time.Duration{}
	for _, tt := range []struct {
		name    string
		first   reply
		between [2]time.Duration
	}{
		{"without Retry-After a moment later", down, short},
		{"after 1 s", busy("1"), exactly(time.Second)},
		{"after 3 s", busy("3"), exactly(3 * time.Second)},
		{"after 2 s by date", date(2 * time.Second), exactly(2 * time.Second)},
		{"after 1 s of 429", apiError(429, "too_many_requests", "Retry-After", "1"), exactly(time.Second)},
		{"not after 4 s, when the request has given up", busy("4"), none},
		{"not after an hour", busy("3600"), none},
		{"not after an hour by date", date(time.Hour), none},
		{"not after more than fits a number", busy(strings.Repeat("9", 30)), none},
		{"not after 3 s where 2 s have passed", after(1500*time.Millisecond, busy("3")), none},
		{"rubbish is no time", busy("soon"), short},
		{"a negative number is no time", busy("-5"), short},
		{"zero is no time", busy("0"), short},
		{"a date that is past is no time", date(-time.Hour), short},
		{"silence, and then a moment later", silence, [2]time.Duration{2050 * time.Millisecond, 2150 * time.Millisecond}},
		{"a body's silence counts alike", breakOff(200, "{", nil), [2]time.Duration{2050 * time.Millisecond, 2150 * time.Millisecond}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				s.call(anySession, tt.first, ok)
				if tt.between == none {
					require.Len(t, s.tries, 1)
					return
				}
				require.Len(t, s.tries, 2)
				assert.GreaterOrEqual(t, s.tries[1], tt.between[0])
				assert.LessOrEqual(t, s.tries[1], tt.between[1])
			})
		})
	}
}

func TestPauseIsRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 10 {
			s := newStytch()
			s.call(exchange, down, ok)
			seen[s.tries[1]] = true
		}
		assert.Len(t, seen, 10)
	})
}

func TestSlowAnswers(t *testing.T) {
	for _, tt := range []struct {
		name string
		slow time.Duration
		want string
	}{
		{"half of the time is enough", 2*time.Second - 1, "200"},
		{"the second try brings it", 5 * time.Second, "200"},
		{"the second try has what is left of the call", 9800 * time.Millisecond, "200"},
		{"no try outlives the call", 11 * time.Second, "error: context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				assert.Equal(t, tt.want, s.call(exchange, after(tt.slow, ok)))
				assert.LessOrEqual(t, time.Since(s.began), life)
			})
		})
	}
}

// A slow try is not cancelled if there is no budget for a second one.
func TestSlowAnswersWithoutBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		got := s.many(32, exchange, after(3*time.Second, ok))
		assert.Equal(t, map[string]int{"200": 32}, got)
		assert.Equal(t, 32+26, s.triesMade(), "10 retries to begin with, and half of one for each call")
	})
	synctest.Test(t, func(t *testing.T) { // nor for one that can't be made
		s := newStytch()
		r := newRequest(t.Context(), exchange, after(3*time.Second, ok))
		r.GetBody = nil
		resp, err := s.RoundTrip(r)
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
	})
}

func TestCallerLeaves(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after time.Duration
		first reply
		want  string
	}{
		{"before the call", 0, ok, "error: context canceled"},
		{"while Stytch is silent", time.Second, silence, "error: context canceled"},
		{"while the body is read", time.Second, breakOff(200, "{", nil), "200 {, then context canceled"},
		{"after silence", 2*time.Second + 1, silence, "error: context deadline exceeded"},
		{"while the second try waits", time.Second, say(503, "", "Retry-After", "3"), "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				ctx, cancel := context.WithCancel(t.Context())
				if tt.after == 0 {
					cancel()
				}
				defer time.AfterFunc(tt.after, cancel).Stop()
				assert.Equal(t, tt.want, s.callWith(ctx, exchange, tt.first))
				took(t, tt.after, s.began)
				assert.LessOrEqual(t, s.triesMade(), 1)
			})
		})
	}
}

// closer counts how often it was closed.
type closer struct {
	io.Reader
	closed int
}

func (c *closer) Close() error { c.closed++; return nil }

func TestRequestIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		take := func(then reply) reply {
			return func(r *http.Request) (*http.Response, error) {
				b, _ := io.ReadAll(r.Body)
				r.Body.Close()
				sent = append(sent, string(b)+r.Header.Get("X-Trace"))
				r.Header.Set("X-Trace", "changed")
				return then(r)
			}
		}
		s := newStytch()
		r := newRequest(t.Context(), exchange, take(down), take(ok))
		body := &closer{Reader: strings.NewReader("body")}
		r.Body = body
		_, err := s.RoundTrip(r)
		require.NoError(t, err)
		assert.Equal(t, []string{"body", "body"}, sent, "each try has the body, and no other's headers")
		assert.Empty(t, r.Header)
		assert.Equal(t, 1, body.closed)
	})
}

func TestRequestBodyIsClosed(t *testing.T) {
	brings := func(r *http.Request) (*http.Response, error) { r.Body.Close(); return down(r) }
	for _, tt := range []struct {
		name    string
		getBody bool
		held    bool
		tries   int
	}{
		{"where it can be sent again", true, false, 2},
		{"where it can't", false, false, 1},
		{"where the call is held back", true, true, 0},
		{"where the call is held back and it can't be sent again", false, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				if tt.held {
					s.open(t, exchange)
				}
				before := s.triesMade()
				r := newRequest(t.Context(), exchange, brings)
				body := &closer{Reader: strings.NewReader("body")}
				r.Body = body
				if !tt.getBody {
					r.GetBody = nil
				}
				_, _ = s.RoundTrip(r)
				assert.Equal(t, 1, body.closed)
				assert.Equal(t, tt.tries, s.triesMade()-before)
			})
		})
	}
}

func TestGetBodyThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		r := newRequest(t.Context(), exchange, ok)
		r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
		_, err := s.RoundTrip(r)
		require.EqualError(t, err, "gone")
	})
}

func TestResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var original closer
		s := newStytch()
		endless := func(r *http.Request) (*http.Response, error) {
			original.Reader = readFunc(func(p []byte) (int, error) { return copy(p, "a"), nil })
			return &http.Response{StatusCode: 404, Header: http.Header{"X-Id": {"1"}}, Body: &original}, nil
		}
		r := newRequest(t.Context(), exchange, endless)
		resp, err := s.RoundTrip(r)
		require.NoError(t, err)
		assert.Equal(t, 1, original.closed)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Len(t, body, maxBody+1, "enough to tell that it is too long")
		assert.Equal(t, 404, resp.StatusCode)
		assert.Equal(t, "1", resp.Header.Get("X-Id"))
		assert.Same(t, r, resp.Request)
	})
}

// Calls in no lane have no limit, no retry and no breaker.
func TestNoLane(t *testing.T) {
	tries := 0
	tr := outbound.New(outbound.Config{Timeout: timeout, Base: outbound.Isolate(roundTripper(func(r *http.Request) (*http.Response, error) {
		tries++
		return down(r)
	}), maxBody)})
	for range 20 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://test.stytch.com/v1/sessions/jwks/project-test-1", nil)
		require.NoError(t, err)
		resp, err := tr.RoundTrip(r)
		require.NoError(t, err)
		assert.Equal(t, 503, resp.StatusCode)
	}
	assert.Equal(t, 20, tries)
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
