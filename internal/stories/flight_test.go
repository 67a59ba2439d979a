package stories_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// Requests with one legacy session share one exchange. Clients may leave, the application's
// own code may be slow or panic, and the transport may do anything: no request waits for
// what concerns another, and none is lost.

// tally counts the visitors by what they got: of cookies, names and values.
func tally(visitors []*apptest.Visitor) map[string]int {
	out := map[string]int{}
	for _, v := range visitors {
		out[fmt.Sprint(v.Ran, " ", v.Outcome, " ", v.User, " ", v.Result().Header["Set-Cookie"])]++
	}
	return out
}

// A thousand requests with one legacy session, and some that come late.
func TestOneExchangeForAll(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(300*time.Millisecond))
		all := a.Crowd(1000, func(i int, r *http.Request) (*http.Request, time.Duration) {
			return r, time.Duration(i%3) * 100 * time.Millisecond
		})
		first := all[0].Result().Cookies()
		require.Len(t, first, 2)
		for _, v := range all {
			got := v.Result().Cookies()
			require.Len(t, got, 2)
			assert.Equal(t, first[0].Value+first[1].Value, got[0].Value+got[1].Value)
			assert.Equal(t, stytchmigrate.OutcomeMigrated, v.Outcome)
			assert.Equal(t, a.Ada.ID, v.User)
			assert.LessOrEqual(t, v.Took, 300*time.Millisecond)
		}
		time.Sleep(50 * time.Second)
		for _, v := range a.Crowd(10, func(_ int, r *http.Request) (*http.Request, time.Duration) { return r, 0 }) {
			assert.Equal(t, first[0].Value, v.Result().Cookies()[0].Value, "late, with the old cookie")
		}
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Migrate))
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Authenticate), "whether it is still alive")
		assert.Len(t, a.Stytch.Sessions(), 1)
	})
}

// Two people's legacy sessions come at once: that is two exchanges.
func TestExchangesOfTwoPeople(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(time.Second))
		names := []string{"ada", "bob"}
		all := a.Crowd(100, func(i int, r *http.Request) (*http.Request, time.Duration) {
			r.Header.Set("Cookie", "sid="+names[i%2]+"-1")
			return r, 0
		})
		for i, v := range all {
			assert.Equal(t, []string{a.Ada.ID, a.Bob.ID}[i%2], v.User)
		}
		assert.Equal(t, 2, a.Stytch.Count(stytchtest.Migrate))
	})
}

// The client leaves while Stytch is asked. The exchange goes on, and the
// next request has its session.
func TestClientGone(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(2*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		gone := a.Get("sid=ada-1", func(r *http.Request) { *r = *r.WithContext(ctx) })
		assert.Equal(t, "handler not run | - | - | migrate", gone.String())
		time.Sleep(time.Second + time.Nanosecond)
		assert.Equal(t, strings.TrimSuffix(apptest.Moved, "migrate")+"-", a.Get("sid=ada-1").String())
	})
}

// The first of a hundred requests with one legacy session leaves. The others have the
// session.
func TestFirstOfManyGone(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(2*time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		all := a.Crowd(100, func(i int, r *http.Request) (*http.Request, time.Duration) {
			if i == 0 {
				return r.WithContext(ctx), 0
			}
			return r, time.Millisecond
		})
		got := tally(all)
		assert.Equal(t, 1, got["false anonymous  []"], "the one that left")
		assert.Len(t, got, 2, "and the others have one session")
		assert.Equal(t, a.Ada.ID, all[99].User)
		assert.Equal(t, 1, a.Stytch.Count(stytchtest.Migrate))
	})
}

// An answer that comes after the request has given up is not lost.
func TestAnswerAfterTimeout(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(10*time.Second))
		assert.Equal(t, apptest.UnavailableUntouched+"migrate migrate", a.Get("sid=ada-1").String())
		assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String(), "waits for the same call")
		time.Sleep(3 * time.Second)
		assert.Equal(t, strings.TrimSuffix(apptest.Moved, "migrate")+"-", a.Get("sid=ada-1").String())
	})
}

// What the application's Resolve does concerns its own request alone: an error, a panic, a
// slow answer.
func TestResolve(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			switch v {
			case "error":
				return stytchmigrate.LegacySession{}, errors.New("database is away")
			case "panic":
				panic("database is gone")
			case "slow":
				time.Sleep(3 * time.Second)
			case "past":
				return stytchmigrate.LegacySession{Token: "ada-token", ExpiresAt: time.Now()}, nil
			case "none":
				return stytchmigrate.LegacySession{}, fmt.Errorf("of the old kind: %w", stytchmigrate.ErrNoSession)
			}
			return apptest.LegacySession("ada", v), nil
		}
		assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=error").String())
		assert.Contains(t, a.Log.String(), `Resolve of cookie \"sid\" failed (*errors.errorString)`)
		assert.PanicsWithValue(t, "database is gone", func() { a.Get("sid=panic") })
		assert.Equal(t, "anonymous"+apptest.CookiesUntouched+"-", a.Get("sid=past").String())
		assert.Equal(t, "anonymous"+apptest.CookiesUntouched+"-", a.Get("sid=none").String())

		all := a.Crowd(10, func(i int, r *http.Request) (*http.Request, time.Duration) {
			if i == 0 {
				r.Header.Set("Cookie", "sid=slow")
			}
			return r, 0
		})
		for i, v := range all {
			assert.Equal(t, i == 0, v.Took >= 3*time.Second)
			assert.Equal(t, a.Ada.ID, v.User)
		}
	})
}

// spy is a claim that notes where it was encoded.
type spy struct{ stacks *sync.Map }

func (s spy) MarshalJSON() ([]byte, error) {
	s.stacks.Store(string(debug.Stack()), true)
	return []byte(`"seen"`), nil
}

// Code of the application runs in the goroutine of its own request, never in
// that of an exchange that other requests wait for.
func TestNoUserCodeInExchange(t *testing.T) {
	var stacks sync.Map
	see := func() { stacks.Store(string(debug.Stack()), true) }
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		require.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
		assert.Equal(t, "seen", a.Stytch.Sessions()[0].CustomClaims["spy"])
		n := 0
		stacks.Range(func(stack, _ any) bool {
			n++
			assert.Contains(t, stack, "Middleware).Handler", "in a request")
			assert.NotContains(t, stack, "background.Start", "not in a shared call")
			return true
		})
		assert.GreaterOrEqual(t, n, 3)
	}, func(c *stytchmigrate.Config) {
		c.TelemetryID = func(*http.Request) string { see(); return "t" }
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			see()
			return map[string]any{"spy": spy{&stacks}}
		}
	})
}

// badClaim panics when it is encoded.
type badClaim struct{}

func (badClaim) MarshalJSON() ([]byte, error) { panic("claim") }

// A panic of the application's own code reaches the request that it ran for,
// while others that wait for the same exchange go on.
func TestPanicOfUserCode(t *testing.T) {
	for _, where := range []string{"claims", "claim", "telemetry"} {
		t.Run(where, func(t *testing.T) {
			calls := 0
			hold := &stytchtest.Hold{}
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				hold = &stytchtest.Hold{}
				a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold))
				done := make(chan []*apptest.Visitor)
				go func() {
					done <- a.Crowd(1, func(_ int, r *http.Request) (*http.Request, time.Duration) { return r, 0 })
				}()
				synctest.Wait()
				assert.PanicsWithValue(t, where, func() { a.Get("sid=ada-1") })
				hold.Release()
				assert.Equal(t, a.Ada.ID, (<-done)[0].User)
			}, func(c *stytchmigrate.Config) {
				c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
					calls++
					switch {
					case calls == 2 && where == "claims":
						panic(where)
					case calls == 2 && where == "claim":
						return map[string]any{"a": badClaim{}}
					}
					return nil
				}
				c.TelemetryID = func(*http.Request) string {
					if calls == 2 {
						panic(where)
					}
					return ""
				}
			})
		})
	}
}

// stubborn is a body that takes longer than any request waits.
type stubborn struct{}

func (stubborn) Read([]byte) (int, error) { time.Sleep(time.Minute); return 0, errors.New("late") }

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("body") }

// Whatever a transport does, the request is answered in time, and the next
// one finds the middleware in order.
func TestTransportMisbehaves(t *testing.T) {
	for name, row := range map[string]struct {
		does  apptest.RoundTripper
		takes time.Duration
		why   string
	}{
		"panics":          {func(*http.Request) (*http.Response, error) { panic("x") }, 0, "migrate: transport panicked (string)"},
		"panics with nil": {func(*http.Request) (*http.Response, error) { panic(nil) }, 0, "migrate: transport panicked (*runtime.PanicNilError)"},
		"exits":           {func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, 0, "migrate: transport left by runtime.Goexit"},
		"nothing at all":  {func(*http.Request) (*http.Response, error) { return nil, nil }, apptest.RetryPause, "migrate: transport failed (*errors.errorString)"},
		"panics later":    {apptest.Answering(200, panicking{}), 0, "migrate: transport panicked (string)"},
		"knows no context": {apptest.Answering(200, stubborn{}), 5 * time.Second,
			"call: no answer within the time of the request"},
	} {
		t.Run(name, func(t *testing.T) {
			var works atomic.Bool
			var healthy apptest.RoundTripper
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				healthy = a.Stytch.RoundTripper().RoundTrip
				start := time.Now()
				assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String())
				apptest.RequireTook(t, row.takes, start)
				assert.EqualError(t, a.Requests[0].Err, "stytchmigrate: "+row.why)
				time.Sleep(10*time.Second + time.Nanosecond)
				works.Store(true)
				out := a.Get("sid=ada-1")
				assert.Equal(t, apptest.Moved, out.String())

				works.Store(false)
				a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.Error(t, a.Middleware.Logout(w, r)) }
				out = a.Get(out.Jar("sid=ada-1"))
				assert.Equal(t, "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | -", out.String())
				time.Sleep(time.Minute) // the body's
			}, apptest.Through(func(r *http.Request) (*http.Response, error) {
				if works.Load() {
					return healthy(r)
				}
				return row.does(r)
			}))
		})
	}
}

// A request looks for a record before another request's exchange, and asks for its own
// after it. It gets the session of the other one.
func TestExchangeThatEndsBetweenTwoLooks(t *testing.T) {
	var between func()
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		between = func() { assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String()) }
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String(), "the one call is of the request in between")
		assert.Len(t, a.Stytch.Sessions(), 1)
	}, func(c *stytchmigrate.Config) {
		c.TelemetryID = func(*http.Request) string { // runs after the look, before the call
			if f := between; f != nil {
				between = nil
				f()
			}
			return ""
		}
	})
}
