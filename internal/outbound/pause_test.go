package outbound_test

import (
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
