package outbound_test

import (
	"context"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/apptest/bubble"
	"example.com/stytchmigrate/internal/outbound"
)

const (
	full    = "held back: too many calls in flight for 1s"
	limited = "held back: too many calls a second for 1s"
)

func TestInFlight(t *testing.T) {
	slow, quick := after(1900*time.Millisecond, ok), after(400*time.Millisecond, ok)
	for _, tt := range []struct {
		name  string
		lane  outbound.Lane
		reply reply
		calls int
		want  map[string]int
		most  int
	}{
		{"exchanges", exchange, quick, 100, map[string]int{"200": 32, full: 68}, 32},
		{"sessions that are vouched for wait", session, quick, 150, map[string]int{"200": 150}, 64},
		{"but not long", session, slow, 150, map[string]int{"200": 64, full: 86}, 64},
		{"unvouched sessions", anySession, quick, 100, map[string]int{"200": 16, full: 84}, 16},
		{"logouts that are vouched for wait", logout, quick, 80, map[string]int{"200": 80}, 32},
		{"but not long", logout, slow, 80, map[string]int{"200": 32, full: 48}, 32},
		{"unvouched logouts", anyLogout, quick, 80, map[string]int{"200": 8, full: 72}, 8},
		{"users to be created wait", createUser, quick, 80, map[string]int{"200": 80}, 32},
		{"but not long", createUser, slow, 80, map[string]int{"200": 32, full: 48}, 32},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				assert.Equal(t, tt.want, s.many(tt.calls, tt.lane, tt.reply))
				assert.Equal(t, tt.most, s.most)
			})
		})
	}
}

func TestWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.start(t, 64, session, after(1900*time.Millisecond, ok))
		began := time.Now()
		assert.Equal(t, full, s.call(session, ok))
		took(t, time.Second, began)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second/2, cancel)
		assert.Equal(t, "error: context canceled", s.callWith(ctx, session, ok))
		took(t, 1500*time.Millisecond, began)
		assert.Equal(t, "200", s.call(session, ok))
		took(t, 1900*time.Millisecond, began)
	})
}

// When the breaker opens, the calls that wait for a place end at once.
func TestWaitEndsWithTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.start(t, 59, session, after(time.Second, ok))
		s.start(t, 5, session, after(time.Second/10, badCert))
		got := s.many(200, session, after(time.Second, ok))
		assert.GreaterOrEqual(t, got[breakerOpen+"5s"], 196, "all but the calls that took the places of the first to fail: %v", got)
	})
}

func TestLimit(t *testing.T) {
	no := apiError(404, "session_not_found")
	for _, lane := range []outbound.Lane{anySession, anyLogout} {
		t.Run(lane.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				inRow := func(n int) (sent int) {
					for range n {
						if s.call(lane, no) == "404" {
							sent++
						}
					}
					return sent
				}
				assert.Equal(t, 100, inRow(200), "a burst")
				assert.Equal(t, limited, s.call(lane, no))
				time.Sleep(time.Second)
				assert.Equal(t, 25, inRow(200), "a second's worth")
				time.Sleep(time.Hour)
				assert.Equal(t, 100, inRow(200), "and no more than a burst")
			})
		})
	}
}

func TestNoLimitForWhatIsVouchedFor(t *testing.T) {
	for _, lane := range []outbound.Lane{exchange, session, logout} {
		synctest.Test(t, func(t *testing.T) {
			s := newStytch()
			for range 1000 {
				assert.Equal(t, "200", s.call(lane, ok))
			}
		})
	}
}

// Only a "no" costs of the limit on what may be made up. A yes to a logout costs too:
// it can be had for the same token again and again.
func TestWhatCostsOfTheLimit(t *testing.T) {
	gone := func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
	for _, tt := range []struct {
		name  string
		lane  outbound.Lane
		reply reply
		costs bool
	}{
		{"a no", anySession, apiError(404, "session_not_found"), true},
		{"a locked user", anySession, apiError(429, "user_lock_limit_reached"), true},
		{"a yes", anySession, ok, false},
		{"an outage", anySession, down, false},
		{"a firewall", anySession, say(403, "<html>"), false},
		{"a caller that cancels", anySession, gone, true},
		{"a logout, and a no", anyLogout, apiError(404, "session_not_found"), true},
		{"a logout", anyLogout, ok, true},
		{"a logout in an outage", anyLogout, down, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				for range 99 {
					s.call(tt.lane, apiError(404, "session_not_found"))
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Millisecond, cancel)
				s.callWith(ctx, tt.lane, tt.reply)
				cancel()
				assert.Equal(t, tt.costs, s.call(tt.lane, ok) == limited)
			})
		})
	}
}

// A call that an open breaker holds back does not count for the rate limit.
func TestBreakerBeforeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.open(t, anySession)
		s.many(1000, anySession, ok)
		time.Sleep(5*time.Second + 1)
		for range 95 {
			assert.Equal(t, "200", s.call(anySession, ok))
		}
	})
}

// A flood of one lane, or an outage of its calls, does not affect another lane.
func TestLanesShareNothing(t *testing.T) {
	all := []outbound.Lane{exchange, createUser, anySession, session, anyLogout, logout}
	for _, flooded := range all {
		t.Run(flooded.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				s.start(t, 300, flooded, after(10*time.Second, down)) // fills its places
				for _, lane := range all {
					if lane != flooded {
						assert.Equal(t, "200", s.call(lane, down, ok), lane)
					}
				}
				time.Sleep(time.Minute)
				for range 300 { // empties its budgets, and opens its breaker
					s.call(flooded, down)
				}
				for _, lane := range all {
					if lane != flooded {
						assert.Equal(t, map[string]int{"200": 8}, s.many(8, lane, down, ok), lane)
					}
				}
			})
		})
	}
}

func TestRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		for range 100 {
			s.call(anyLogout, down) // no breaker, but a limit
		}
		assert.Equal(t, 100+10+50, s.triesMade(), "10 to begin with, and half of one for each call")
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		for range 1000 {
			s.call(logout, ok)
		}
		for range 1000 {
			s.call(logout, down)
		}
		assert.InDelta(t, 2000+100+500, s.triesMade(), 2, "what is saved up is 100 at most")
	})
}

func TestThirtyPercentFail(t *testing.T) {
	for _, lane := range []outbound.Lane{exchange, session} {
		synctest.Test(t, func(t *testing.T) {
			s := newStytch()
			dice := rand.New(rand.NewPCG(1, 2))
			flaky := func(r *http.Request) (*http.Response, error) {
				switch p := dice.Float64(); {
				case p < 0.15:
					return down(r)
				case p < 0.3:
					return reset(r)
				}
				return ok(r)
			}
			got := map[string]int{}
			for range 5000 {
				got[s.call(lane, flaky)]++
			}
			assert.GreaterOrEqual(t, got["200"], 4500, "of %v", got)
			assert.Less(t, s.triesMade(), 7500)
		})
	}
}

// outage is a Stytch that is down from one moment to another.
type outage struct {
	from, to time.Time
	bad      reply
}

func (o *outage) reply(r *http.Request) (*http.Response, error) {
	if now := time.Now(); now.Before(o.from) || now.After(o.to) {
		return after(20*time.Millisecond, ok)(r)
	}
	return o.bad(r)
}

func TestOutage(t *testing.T) {
	for _, tt := range []struct {
		name    string
		bad     reply
		recover time.Duration
	}{
		{"of errors", down, 6 * time.Second},
		{"of refused connections", refused, 6 * time.Second},
		{"of silence", silence, 8 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				o := &outage{from: time.Now(), to: time.Now().Add(30 * time.Second), bad: tt.bad}
				s.many(5, exchange, o.reply)
				assert.Equal(t, breakerOpen+"5s", s.call(exchange, o.reply), "within 5 calls")

				var wg sync.WaitGroup
				var mu sync.Mutex
				var lastLoss time.Time
				for range 1200 { // 20 a second for a minute
					wg.Go(func() {
						began := time.Now()
						if s.call(exchange, o.reply) != "200" {
							mu.Lock()
							defer mu.Unlock()
							lastLoss = began
						}
					})
					time.Sleep(50 * time.Millisecond)
				}
				wg.Wait()
				assert.Less(t, lastLoss.Sub(o.to), tt.recover, "from the recovery to full traffic")
				assert.Less(t, s.triesMade()-1200, 100)
			})
		})
	}
}

// Answers that take longer and longer fill the places. All other calls are held back
// at once.
func TestLatencyRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := map[string]int{}
		for i := range 3000 { // 100 a second
			latency := 50*time.Millisecond + time.Duration(i)*5*time.Second/3000
			wg.Go(func() {
				began := time.Now()
				said := s.call(exchange, after(latency, ok))
				mu.Lock()
				defer mu.Unlock()
				if got[said]++; said != "200" {
					assert.Equal(t, began, time.Now(), said)
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		assert.Equal(t, 32, s.most)
		assert.Equal(t, 3000, got["200"]+got[full], "of %v", got)
		assert.Greater(t, got["200"], 600)
	})
}

// 2000 calls a second for 20 s, with the breaker open most of the time.
func TestFloodWhileOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.open(t, session)
		var before, now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		goroutines := bubble.Goroutines()
		for i := range 40_000 {
			began := time.Now()
			if s.call(session, badCert)[0] == 'h' {
				assert.Equal(t, began, time.Now())
			}
			if i%2 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&now)
		assert.Less(t, s.triesMade(), 30, "a probe in five seconds")
		assert.Less(t, int64(now.HeapAlloc)-int64(before.HeapAlloc), int64(1<<20))
		synctest.Wait()
		assert.LessOrEqual(t, bubble.Goroutines(), goroutines)
	})
}
