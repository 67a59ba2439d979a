package outbound_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/outbound"
)

const paused = "held back: paused, as Stytch asked for "

func TestPausedExchanges(t *testing.T) {
	throttled := func(header ...string) reply { return apiError(429, "too_few_tokens_authenticated", header...) }
	for _, tt := range []struct {
		name  string
		reply reply
		want  time.Duration
	}{
		{"for as long as Stytch says", throttled("Retry-After", "3"), 3 * time.Second},
		{"for a minute at most", throttled("Retry-After", "3600"), time.Minute},
		{"for 10 s where it does not say", throttled(), 10 * time.Second},
		{"for 10 s where it says rubbish", throttled("Retry-After", "-1"), 10 * time.Second},
		{"for 10 s where it says a date that is past", throttled("Retry-After", "Fri, 01 Jan 1999 00:00:00 GMT"), 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				assert.Equal(t, "429", s.call(exchange, tt.reply))
				assert.Equal(t, paused+tt.want.String(), s.call(exchange, ok))
				time.Sleep(500 * time.Millisecond)
				assert.Equal(t, paused+tt.want.String(), s.call(exchange, ok), "rounded up")
				time.Sleep(tt.want - 500*time.Millisecond - 1)
				assert.Equal(t, paused+"1s", s.call(exchange, ok))
				time.Sleep(time.Nanosecond)
				assert.Equal(t, "200", s.call(exchange, ok))
				assert.Equal(t, []outbound.Notice{{Lane: "exchange", What: "paused", For: tt.want}}, s.heard())
			})
		})
	}
}

// Stytch throttles each call in flight. That is one pause, for the longest time.
func TestOnePause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.start(t, 1, exchange, after(time.Second, apiError(429, "too_few_tokens_authenticated", "Retry-After", "20")))
		s.start(t, 1, exchange, after(1500*time.Millisecond, apiError(429, "too_few_tokens_authenticated", "Retry-After", "30")))
		s.start(t, 1, exchange, after(2*time.Second-1, apiError(429, "too_few_tokens_authenticated", "Retry-After", "1")))
		time.Sleep(2 * time.Second)
		assert.Equal(t, paused+"30s", s.call(exchange, ok))
		assert.Len(t, s.heard(), 1)
	})
}

func TestOnlyExchangesPause(t *testing.T) {
	for _, lane := range []outbound.Lane{anySession, session, anyLogout, logout} {
		synctest.Test(t, func(t *testing.T) {
			s := newStytch()
			assert.Equal(t, "429", s.call(lane, apiError(429, "too_few_tokens_authenticated")))
			assert.Equal(t, "200", s.call(lane, ok))
			assert.Equal(t, "200", s.call(exchange, ok))
			assert.Empty(t, s.heard())
		})
	}
}

// The error type means a pause only with status 429.
func TestOnly429Pauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		assert.Equal(t, "400", s.call(exchange, apiError(400, "too_few_tokens_authenticated")))
		assert.Equal(t, "200", s.call(exchange, ok))
	})
}

// refusing is a Stytch that refuses the credentials.
func refusing() *stytch {
	return newStytch(func(c *outbound.Config) {
		c.Refuses = func(_ outbound.Lane, status int, errorType string) bool {
			return status == 401 && errorType == "unauthorized_credentials"
		}
	})
}

var wrongSecret = apiError(401, "unauthorized_credentials")

const refusedPause = "held back: paused, as Stytch refuses all calls for "

// Stytch refuses the credentials. After each pause one call finds out whether it still
// does, while the others are held back.
func TestPauseWhileRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := refusing()
		s.start(t, 20, exchange, after(time.Second, wrongSecret)) // all in flight at once: one notice
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, refusedPause+"10s", s.call(exchange, ok))

		time.Sleep(10 * time.Second)
		assert.Equal(t, map[string]int{"401": 1, refusedPause + "10s": 29}, s.many(30, exchange, after(time.Second, wrongSecret)))
		assert.Equal(t, refusedPause+"10s", s.call(exchange, ok), "from the answer on")

		time.Sleep(10 * time.Second)
		assert.Equal(t, map[string]int{"200": 1, refusedPause + "10s": 29}, s.many(30, exchange, after(time.Second, ok)))
		assert.Equal(t, map[string]int{"200": 30}, s.many(30, exchange, ok), "it is over")
		assert.Equal(t, 20+1+1+30, s.triesMade())

		paused := outbound.Notice{Lane: "exchange", What: "paused", For: 10 * time.Second}
		again := paused
		again.Again = true
		assert.Equal(t, []outbound.Notice{paused, again}, s.heard())
		assert.Equal(t, []slog.Level{slog.LevelWarn, slog.LevelDebug}, []slog.Level{paused.Level(), again.Level()})
	})
}

// The call that finds out brings no answer. Another one has its turn 10 s later.
func TestNoAnswerWhileRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := refusing()
		s.call(exchange, wrongSecret)
		time.Sleep(10 * time.Second)
		assert.Equal(t, "403", s.call(exchange, say(403, "<html>")))
		assert.Equal(t, refusedPause+"10s", s.call(exchange, ok))
		time.Sleep(10 * time.Second)
		assert.Equal(t, "429", s.call(exchange, apiError(429, "too_few_tokens_authenticated", "Retry-After", "20")))
		assert.Equal(t, paused+"20s", s.call(exchange, ok), "Stytch accepts the credentials, and throttles")
		time.Sleep(20 * time.Second)
		assert.Equal(t, map[string]int{"200": 30}, s.many(30, exchange, ok))
	})
}

// A refresh has nothing else, so one refusal is a failure like another. A logout goes
// on: it must reach Stytch whenever it can.
func TestRefusedInOtherLanes(t *testing.T) {
	for _, lane := range []outbound.Lane{createUser, anySession, session} {
		synctest.Test(t, func(t *testing.T) {
			s := refusing()
			for range 5 {
				assert.Equal(t, "401", s.call(lane, wrongSecret))
			}
			assert.Equal(t, breakerOpen+"5s", s.call(lane, ok))
			time.Sleep(5*time.Second + 1)
			assert.Equal(t, "200", s.call(lane, ok))
			assert.Equal(t, "200", s.call(exchange, ok))
		})
	}
	for _, lane := range []outbound.Lane{anyLogout, logout} {
		synctest.Test(t, func(t *testing.T) {
			s := refusing()
			for range 50 {
				assert.Equal(t, "401", s.call(lane, wrongSecret))
			}
		})
	}
}

// Held says what a call would be told, and lets no call probe.
func TestHeldChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		assert.Nil(t, s.Held(exchange))
		assert.Nil(t, s.Held(outbound.NoLane))
		for range 5 {
			s.call(session, apiError(503, "down"))
		}
		held := s.Held(session)
		assert.Equal(t, "held back: breaker is open for "+held.RetryAfter.String(), s.call(session, ok))
		assert.Nil(t, s.Held(exchange), "lanes share nothing")
		time.Sleep(5*time.Second + 1)
		before := len(s.heard())
		assert.Nil(t, s.Held(session), "one call finds out")
		assert.Len(t, s.heard(), before)
		assert.Equal(t, "200", s.call(session, ok))
		assert.Nil(t, s.Held(session))
		assert.Equal(t, "429", s.call(exchange, apiError(429, "too_few_tokens_authenticated", "Retry-After", "3")))
		assert.Equal(t, 3*time.Second, s.Held(exchange).RetryAfter)
	})
}
