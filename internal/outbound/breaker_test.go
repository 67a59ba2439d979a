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

// Each row is what a call counts as. After four failures a fifth opens the breaker,
// and a success starts the count again.
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
		{"400", apiError(400, "brand_new_error"), success},
		{"400 without a body", say(400, ""), failure},
		{"403 of a firewall", say(403, "<html>Forbidden</html>"), failure},
		{"403 of a gateway that answers JSON", say(403, `{"message":"Forbidden"}`), failure},
		{"401 of a proxy", say(401, "", "WWW-Authenticate", "Basic"), failure},
		{"407 of a proxy", say(407, ""), failure},
		{"404 of a list", say(404, `["error_type"]`), failure},
		{"404 with an empty type", apiError(404, ""), failure},
		{"404 with a type that is no text", say(404, `{"error_type":404}`), failure},
		{"401 of our own credentials", apiError(401, "unauthorized_credentials"), success},
		{"404", apiError(404, "session_not_found"), success},
		{"404 in HTML", say(404, "<html>"), failure},
		{"404 that breaks off", breakOff(404, "{", io.ErrUnexpectedEOF), failure},
		{"a redirect", say(307, ""), failure},
		{"a caller that cancels", func(r *http.Request) (*http.Response, error) { return silence(r) }, neither},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				for range 4 {
					s.call(anySession, down)
				}
				ctx, cancel := context.WithTimeout(t.Context(), life)
				defer cancel()
				if tt.want == neither {
					time.AfterFunc(time.Second, cancel)
				}
				s.callWith(ctx, anySession, tt.reply)
				got := success
				if s.isOpen() {
					got = failure
				} else if s.call(anySession, down); s.isOpen() {
					got = neither
				}
				assert.Equal(t, tt.want, got)
			})
		})
	}
}

// An answer that comes just as its caller cancels counts, and the call is not tried
// again.
func TestAnswerBeforeTheCallerLeft(t *testing.T) {
	leave := func(s *stytch, lane outbound.Lane) {
		ctx, cancel := context.WithCancel(context.Background())
		s.callWith(ctx, lane, func(r *http.Request) (*http.Response, error) { cancel(); return down(r) })
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		for range 5 {
			leave(s, anySession)
		}
		assert.True(t, s.isOpen())
	})
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		for range 50 {
			leave(s, logout)
		}
		assert.Equal(t, "200", s.call(logout, down, ok), "the budget for retries is as it was")
	})
}

// isOpen makes a call that counts as neither.
func (s *stytch) isOpen() bool {
	ctx, cancel := context.WithCancel(context.Background())
	return strings.HasPrefix(s.callWith(ctx, anySession, func(r *http.Request) (*http.Response, error) {
		cancel()
		return nil, r.Context().Err()
	}), breakerOpen)
}

func TestBreakerOpensAndCloses(t *testing.T) {
	for _, lane := range []outbound.Lane{exchange, createUser, anySession, session} {
		t.Run(lane.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				s.open(t, lane)
				assert.Equal(t, 10, s.triesMade(), "a call counts once")
				opened := time.Now()
				assert.Equal(t, breakerOpen+"5s", s.call(lane, ok))
				time.Sleep(1500 * time.Millisecond)
				assert.Equal(t, breakerOpen+"4s", s.call(lane, ok))
				time.Sleep(3500*time.Millisecond - 1)
				assert.Equal(t, breakerOpen+"1s", s.call(lane, ok))
				took(t, 5*time.Second-1, opened)
				time.Sleep(2 * time.Nanosecond)

				s.start(t, 1, lane, after(time.Second, ok))
				assert.Equal(t, map[string]int{breakerOpen + "1s": 10}, s.many(10, lane, ok), "while the one probe is out, and room for all")
				time.Sleep(time.Second + 1)
				assert.Equal(t, map[string]int{"200": 10}, s.many(10, lane, ok))
			})
		})
	}
}

func TestProbeThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.open(t, exchange)
		time.Sleep(5*time.Second + 1)
		assert.Equal(t, "503", s.call(exchange, down))
		assert.Equal(t, breakerOpen+"5s", s.call(exchange, ok))
	})
}

// All other calls are held back until a probe ends, so a probe has Timeout only. A
// probe that its caller cancels makes room for the next one.
func TestProbeThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.open(t, exchange)
		time.Sleep(5*time.Second + 1)
		began := time.Now()
		assert.Equal(t, "error: context deadline exceeded", s.call(exchange, silence))
		took(t, timeout, began)
		assert.Equal(t, breakerOpen+"5s", s.call(exchange, ok))

		time.Sleep(5*time.Second + 1)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		assert.Equal(t, "error: context canceled", s.callWith(ctx, exchange, silence))
		assert.Equal(t, "200", s.call(exchange, ok), "the next one is the probe")
	})
}

func TestLogoutHasNoBreaker(t *testing.T) {
	for _, lane := range []outbound.Lane{anyLogout, logout} {
		synctest.Test(t, func(t *testing.T) {
			s := newStytch()
			for range 20 {
				assert.Equal(t, "503", s.call(lane, down))
			}
			assert.Equal(t, "200", s.call(lane, ok))
		})
	}
}

// A transport may do anything. It is called once, the breaker counts a failure, and
// the place in flight and the place of the probe come back.
func TestTransportCrashesOrHangs(t *testing.T) {
	const late = timeout + 100*time.Millisecond
	for _, tt := range []struct {
		name string
		act  reply
		want string
		took time.Duration
	}{
		{"panics", func(*http.Request) (*http.Response, error) { panic("boom") }, "error: panicked (string)", 0},
		{"exits", func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, "error: left by runtime.Goexit", 0},
		{"has a body that panics", breakOffWith(func([]byte) (int, error) { panic("boom") }), "error: panicked (string)", 0},
		{"knows no context", func(*http.Request) (*http.Response, error) { time.Sleep(time.Hour); return nil, nil }, "error: context deadline exceeded", late},
		{"has a body that knows no context", breakOffWith(func([]byte) (int, error) { time.Sleep(time.Hour); return 0, io.EOF }), "error: context deadline exceeded", late},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStytch()
				call := func() string {
					ctx, cancel := context.WithTimeout(t.Context(), timeout)
					defer cancel()
					began, tries := time.Now(), s.triesMade()
					defer func() {
						took(t, tt.took, began)
						if tt.took == 0 {
							assert.Equal(t, tries+1, s.triesMade())
						}
					}()
					return s.callWith(ctx, exchange, tt.act)
				}
				for range 5 {
					assert.Equal(t, tt.want, call())
				}
				assert.Equal(t, breakerOpen+"5s", s.call(exchange, ok))
				time.Sleep(5*time.Second + 1)
				assert.Equal(t, tt.want, call(), "the probe")
				assert.Equal(t, breakerOpen+"5s", s.call(exchange, ok))
				time.Sleep(5*time.Second + 1)
				assert.Equal(t, "200", s.call(exchange, ok))
				assert.Equal(t, map[string]int{"200": 32}, s.many(32, exchange, after(time.Second, ok)), "every place is there")
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

func breakOffWith(read readFunc) reply {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(read)}, nil
	}
}

func TestNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		s.open(t, exchange)
		opened := time.Now()
		time.Sleep(5*time.Second + 1)
		s.call(exchange, down)
		failed := time.Now()
		time.Sleep(5*time.Second + 1)
		s.call(exchange, after(time.Second, ok))
		assert.Equal(t, []outbound.Notice{
			{Lane: "exchange", What: "breaker open", Failures: 5, For: 5 * time.Second},
			{Lane: "exchange", What: "breaker half-open", Failures: 5, For: 5*time.Second + 1},
			{Lane: "exchange", What: "breaker open", Failures: 6, For: 5 * time.Second},
			{Lane: "exchange", What: "breaker half-open", Failures: 6, For: failed.Sub(opened) + 5*time.Second + 1},
			{Lane: "exchange", What: "breaker closed", Failures: 6, For: failed.Sub(opened) + 6*time.Second + 1},
		}, s.heard())
	})
}

// Notify is the application's code. It may panic, exit, block or make calls of its
// own. It gets all notices in order, and no call waits for it.
func TestNotifyMisbehaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStytch()
		var heard []string
		s.Transport = outbound.New(outbound.Config{Base: outbound.Isolate(base{s}, maxBody), Timeout: timeout, Notify: func(n outbound.Notice) {
			time.Sleep(20 * time.Second)
			heard = append(heard, n.What+" "+s.call(anyLogout, ok))
			if len(heard) == 1 {
				panic("boom")
			}
			runtime.Goexit()
		}})
		began := time.Now()
		s.open(t, exchange)
		time.Sleep(5*time.Second + 1)
		assert.Equal(t, "200", s.call(exchange, ok))
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
		s.Transport = outbound.New(outbound.Config{Base: outbound.Isolate(base{s}, maxBody), Timeout: timeout, Notify: func(outbound.Notice) {
			<-release
			told++
		}})
		for range 1000 {
			s.call(exchange, apiError(429, "too_few_tokens_authenticated"))
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
		s.Transport = outbound.New(outbound.Config{Base: outbound.Isolate(base{s}, maxBody), Timeout: timeout})
		s.open(t, exchange)
		require.Empty(t, s.heard())
	})
}
