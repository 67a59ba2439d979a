package outbound_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/outbound"
)

const breakerOpen = "held back: breaker is open for "

// What a call counts as: after four failures a fifth opens the breaker, and a
// success begins the count anew.
func TestWhatCounts(t *testing.T) {
	const failure, success, neither = "failure", "success", "neither"
	for _, tt := range []struct {
		name  string
		reply reply
		want  string
	}{
		{"an answer", ok, success},
		{"an answer with space before it", say(200, " \r\n{}\n"), success},
		{"an answer of the full length", say(200, `{"a":"`+strings.Repeat("a", maxBody-8)+`"}`), success},
		{"an answer a byte too long", say(200, `{"a":"`+strings.Repeat("a", maxBody-7)+`"}`), failure},
		{"HTML", say(200, "<html>"), failure},
		{"null", say(200, "null"), failure},
		{"a list", say(200, "[{}]"), failure},
		{"nothing", say(200, ""), failure},
		{"half an object", say(200, `{"a":`), failure},
		{"an object that breaks off", breakOff(200, `{"a":1}`, io.ErrUnexpectedEOF), failure},
		{"a body that falls silent", breakOff(200, `{}`, nil), failure},
		{"silence", silence, failure},
		{"a refused connection", refused, failure},
		{"a bad certificate", badCert, failure},
		{"500", say(500, "{}"), failure},
		{"503", down, failure},
		{"429", apiError(429, "too_many_requests"), failure},
		{"429 about the project", apiError(429, "too_few_tokens_authenticated"), failure},
		{"429 about one user", apiError(429, "user_lock_limit_reached"), success},
		{"400", say(400, ""), success},
		{"401 of our own credentials", apiError(401, "unauthorized_credentials"), success},
		{"404", apiError(404, "session_not_found"), success},
		{"404 in HTML", say(404, "<html>"), success},
		{"404 that breaks off", breakOff(404, "{", io.ErrUnexpectedEOF), failure},
		{"a redirect", say(307, ""), failure},
		{"a caller who leaves", func(r *http.Request) (*http.Response, error) { return silence(r) }, neither},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				for range 4 {
					s.call(authenticate, down)
				}
				ctx, cancel := context.WithTimeout(t.Context(), life)
				defer cancel()
				if tt.want == neither {
					time.AfterFunc(time.Second, cancel)
				}
				s.callWith(ctx, authenticate, tt.reply)
				got := success
				if s.isOpen() {
					got = failure
				} else if s.call(authenticate, down); s.isOpen() {
					got = neither
				}
				assert.Equal(t, tt.want, got)
			})
		})
	}
}

// An answer that came counts, though its caller has left, and is not asked for
// again.
func TestAnswerBeforeTheCallerLeft(t *testing.T) {
	leave := func(s *stytch, path string) {
		ctx, cancel := context.WithCancel(context.Background())
		s.callWith(ctx, path, func(r *http.Request) (*http.Response, error) { cancel(); return down(r) })
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		for range 5 {
			leave(s, authenticate)
		}
		assert.True(t, s.isOpen())
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		for range 50 {
			leave(s, vouched+revoke)
		}
		assert.Equal(t, "200", s.call(vouched+revoke, down, ok), "the budget for retries is as it was")
	})
}

// isOpen asks by a call that counts as neither.
func (s *stytch) isOpen() bool {
	ctx, cancel := context.WithCancel(context.Background())
	return strings.HasPrefix(s.callWith(ctx, authenticate, func(r *http.Request) (*http.Response, error) {
		cancel()
		return nil, r.Context().Err()
	}), breakerOpen)
}

func TestBreakerOpensAndCloses(t *testing.T) {
	for _, path := range []string{migrate, create, authenticate, vouched + authenticate} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				s.open(t, path)
				assert.Equal(t, 10, s.triesMade(), "a call counts once")
				opened := time.Now()
				assert.Equal(t, breakerOpen+"5s", s.call(path, ok))
				time.Sleep(1500 * time.Millisecond)
				assert.Equal(t, breakerOpen+"4s", s.call(path, ok))
				time.Sleep(3500*time.Millisecond - 1)
				assert.Equal(t, breakerOpen+"1s", s.call(path, ok))
				took(t, 5*time.Second-1, opened)
				time.Sleep(2 * time.Nanosecond)

				s.start(t, 1, path, after(time.Second, ok))
				assert.Equal(t, map[string]int{breakerOpen + "1s": 10}, s.many(10, path, ok), "while the one probe is out, and room for all")
				time.Sleep(time.Second + 1)
				assert.Equal(t, map[string]int{"200": 10}, s.many(10, path, ok))
			})
		})
	}
}

func TestProbeThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.open(t, migrate)
		time.Sleep(5*time.Second + 1)
		assert.Equal(t, "503", s.call(migrate, down))
		assert.Equal(t, breakerOpen+"5s", s.call(migrate, ok))
	})
}

// All others wait for a probe to end, so it does not have the whole of a call's
// time, and one that is given up gives its place back.
func TestProbeThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.open(t, migrate)
		time.Sleep(5*time.Second + 1)
		began := time.Now()
		assert.Equal(t, "error: context deadline exceeded", s.call(migrate, silence))
		took(t, timeout, began)
		assert.Equal(t, breakerOpen+"5s", s.call(migrate, ok))

		time.Sleep(5*time.Second + 1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		assert.Equal(t, "error: context canceled", s.callWith(ctx, migrate, silence))
		assert.Equal(t, "200", s.call(migrate, ok), "the next one is the probe")
	})
}

func TestLogoutHasNoBreaker(t *testing.T) {
	for _, path := range []string{revoke, vouched + revoke} {
		synctest.Test(t, func(t *testing.T) {
			s := newStytch()
			for range 20 {
				assert.Equal(t, "503", s.call(path, down))
			}
			assert.Equal(t, "200", s.call(path, ok))
		})
	}
}

// A transport of somebody else may do anything. The place in flight comes back,
// and so does that of the probe.
func TestTransportThatPanics(t *testing.T) {
	for _, tt := range []struct {
		name string
		act  reply
	}{
		{"panics", func(*http.Request) (*http.Response, error) { panic("boom") }},
		{"exits", func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				crash := func() (recovered any) {
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer func() { recovered = recover() }()
						s.call(migrate, tt.act)
					}()
					<-done
					return recovered
				}
				for range 5 {
					if got := crash(); tt.name == "panics" {
						assert.Equal(t, "boom", got)
					}
				}
				assert.Equal(t, breakerOpen+"5s", s.call(migrate, ok), "it counts as a failure")
				time.Sleep(5*time.Second + 1)
				crash()
				assert.Equal(t, breakerOpen+"5s", s.call(migrate, ok), "the probe too")
				time.Sleep(5*time.Second + 1)
				assert.Equal(t, "200", s.call(migrate, ok))
				assert.Equal(t, map[string]int{"200": 32}, s.many(32, migrate, after(time.Second, ok)), "every place is there")
			})
		})
	}
}

func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.open(t, migrate)
		opened := time.Now()
		time.Sleep(5*time.Second + 1)
		s.call(migrate, down)
		failed := time.Now()
		time.Sleep(5*time.Second + 1)
		s.call(migrate, after(time.Second, ok))
		assert.Equal(t, []outbound.Notice{
			{Lane: "exchange", What: "breaker open", Failures: 5, For: 5 * time.Second},
			{Lane: "exchange", What: "breaker half-open", Failures: 5, For: 5*time.Second + 1},
			{Lane: "exchange", What: "breaker open", Failures: 6, For: 5 * time.Second},
			{Lane: "exchange", What: "breaker half-open", Failures: 6, For: failed.Sub(opened) + 5*time.Second + 1},
			{Lane: "exchange", What: "breaker closed", Failures: 6, For: failed.Sub(opened) + 6*time.Second + 1},
		}, s.heard())
	})
}

// Notify is the application's: it may panic, exit, take its time and make calls
// of its own. It hears of everything in order, and no call waits for it.
func TestNotifyIsAnybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		var heard []string
		s.Transport = outbound.New(outbound.Config{Base: base{s}, Timeout: timeout, MaxBody: maxBody, Notify: func(n outbound.Notice) {
			time.Sleep(20 * time.Second)
			heard = append(heard, n.What+" "+s.call(revoke, ok))
			if len(heard) == 1 {
				panic("boom")
			}
			runtime.Goexit()
		}})
		began := time.Now()
		s.open(t, migrate)
		time.Sleep(5*time.Second + 1)
		assert.Equal(t, "200", s.call(migrate, ok))
		assert.Less(t, time.Since(began), 7*time.Second)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Equal(t, []string{"breaker open 200", "breaker half-open 200", "breaker closed 200"}, heard)
	})
}

func TestNotifyThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		release := make(chan struct{})
		told := 0
		s.Transport = outbound.New(outbound.Config{Base: base{s}, Timeout: timeout, MaxBody: maxBody, Notify: func(outbound.Notice) {
			<-release
			told++
		}})
		for range 1000 {
			s.call(migrate, apiError(429, "too_few_tokens_authenticated"))
			time.Sleep(time.Minute)
		}
		close(release)
		synctest.Wait()
		assert.Equal(t, 1001, told, "the one that hung, and a thousand that waited")
	})
}

func TestWithoutNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.Transport = outbound.New(outbound.Config{Base: base{s}, Timeout: timeout, MaxBody: maxBody})
		s.open(t, migrate)
		require.Empty(t, s.heard())
	})
}
