package stytchmigrate_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// Each row is a request, and the outcome and the cause in its event. S stands for ada's
// Stytch cookies.
func TestCauseOfEachOutcome(t *testing.T) {
	const observe, shadow, retired = stytchmigrate.StageObserve, stytchmigrate.StageShadow, stytchmigrate.StageRetired
	stages := func(s stytchmigrate.Stage, percent float64) func(*testing.T, *apptest.App) {
		return func(t *testing.T, a *apptest.App) {
			a.SetRollout(t, stytchmigrate.Rollout{Stage: s, HoldBack: percent})
		}
	}
	failing := func(op stytchtest.Op, f stytchtest.Fault) func(*testing.T, *apptest.App) {
		return func(_ *testing.T, a *apptest.App) { a.Stytch.FailAll(op, f) }
	}
	resolved := func(f func(string) (stytchmigrate.LegacySession, error)) func(*testing.T, *apptest.App) {
		return func(_ *testing.T, a *apptest.App) { a.Resolve = f }
	}
	for name, row := range map[string]struct {
		cookies string
		before  func(*testing.T, *apptest.App)
		wait    time.Duration // if set, the same request is sent again after it
		want    string
	}{
		"no cookie":              {"", nil, 0, "anonymous "},
		"no session":             {"sid=nobody", nil, 0, "anonymous "},
		"retired":                {"sid=ada-1", stages(retired, 0), 0, "anonymous "},
		"a JWT for the first":    {"S", nil, 0, "authenticated asked"},
		"a JWT without an ask":   {"S", failing(stytchtest.Authenticate, stytchtest.Error(503, "down")), 0, "authenticated verified"},
		"a JWT that is known":    {"S", nil, time.Second, "authenticated memory"},
		"a JWT that has run out": {"S", nil, 6 * time.Minute, "authenticated asked"},
		"an exchange":            {"sid=ada-1", nil, 0, "migrated exchange"},
		"a late tab":             {"sid=ada-1", nil, time.Second, "migrated record"},
		"observed":               {"sid=ada-1", stages(observe, 0), 0, "legacy observe"},
		"in the shadow":          {"sid=ada-1", stages(shadow, 0), 0, "legacy shadow"},
		"held back":              {"sid=ada-1", stages(stytchmigrate.StageKeep, 100), 0, "legacy held_back"},
		"held back, observed":    {"sid=ada-1", stages(observe, 100), 0, "legacy held_back"},
		"too late": {"sid=ada-1", func(t *testing.T, a *apptest.App) {
			a.SetRollout(t, stytchmigrate.Rollout{Until: time.Now()})
		}, 0, "legacy until"},
		"too many at once": {"sid=ada-1", func(t *testing.T, a *apptest.App) {
			a.SetRollout(t, stytchmigrate.Rollout{PerSecond: 1})
			a.Get("sid=bob-1")
		}, 0, "legacy per_second"},
		"logged out": {"sid=ada-1", func(t *testing.T, a *apptest.App) { a.LogOut("sid=ada-1") }, 0, "refused logged_out"},
		"logged out, and observed": {"sid=ada-1", func(t *testing.T, a *apptest.App) {
			a.LogOut("sid=ada-1")
			a.SetRollout(t, stytchmigrate.Rollout{Stage: observe})
		}, 0, "refused logged_out"},
		"an email that nobody verified": {"sid=ada-1", resolved(func(v string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", v)
			s.Identity.EmailVerified = false
			return s, nil
		}), 0, "refused identity"},
		"somebody else": {"sid=ada-1", resolved(func(v string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", v)
			s.Token = "bob-token"
			return s, nil
		}), 0, "refused another_person"},
		"an email that Stytch has not verified": {"sid=eve-1", func(_ *testing.T, a *apptest.App) {
			a.Stytch.AddUser(stytchtest.User{Emails: []stytchtest.Email{{Email: "eve@example.com"}, {Email: "eve@example.net"}}})
			a.Stytch.Accept("eve-token", "eve@example.com")
			a.Resolve = func(v string) (stytchmigrate.LegacySession, error) { return apptest.LegacySession("eve", v), nil }
		}, 0, "refused unverified"},
		"an unknown user": {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Error(404, "user_not_found")), 0, "refused stytch"},
		"an answer":       {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Error(503, "down")), 0, "unavailable stytch"},
		"no answer":       {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Reset()), 0, "unavailable no_answer"},
		"silence":         {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Silence()), 0, "unavailable timed_out"},
		"silence, before": {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Silence()), 12 * time.Second, "unavailable timed_out"},
		"half an answer":  {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Respond(200, "{}")), 0, "unavailable no_answer"},
		"an open breaker": {"sid=ada-1", func(t *testing.T, a *apptest.App) {
			a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down"))
			for range 5 {
				a.Get("sid=bob-1")
			}
		}, 0, "unavailable held_back"},
		"an error of Resolve": {"sid=ada-1", resolved(func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, errors.New("database")
		}), 0, "unavailable application"},
		"an error of Resolve in an outage": {"stytch_session=madeup; sid=ada-1", func(_ *testing.T, a *apptest.App) {
			a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
			a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
				return stytchmigrate.LegacySession{}, errors.New("database")
			}
		}, 0, "unavailable application"},
		"an outage": {"stytch_session=madeup", failing(stytchtest.Authenticate, stytchtest.Error(503, "down")), 0, "unavailable stytch"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch, _ := a.SignedIn(a.Ada)
				cookies := map[bool]string{true: stytch, false: row.cookies}[row.cookies == "S"]
				if row.before != nil {
					row.before(t, a)
				}
				a.Get(cookies)
				if row.wait > 0 {
					time.Sleep(row.wait)
					a.Get(cookies)
				}
				require.NotEmpty(t, a.Requests)
				last := a.Requests[len(a.Requests)-1]
				assert.Equal(t, row.want, last.Outcome.String()+" "+last.Cause)
			})
		})
	}
}

// It is the stage of the moment of the request, also on the fast path.
func TestEventHasTheStageInForce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		for _, s := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageShadow} {
			a.SetRollout(t, stytchmigrate.Rollout{Stage: s})
			a.Requests = nil
			for _, sent := range []string{"", "sid=ada-1", cookies, cookies} {
				a.Get(sent)
			}
			for _, e := range a.Requests {
				assert.Equal(t, s, e.Stage, e.Outcome)
			}
			assert.Contains(t, a.Requests[0].LogValue().String(), "stage="+s.String())
		}
	})
}

// The fast path waits for nothing.
func TestDurationIsZeroOnTheFastPath(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, cookies)
		a.Requests = nil
		a.Get(cookies)
		a.Get("")
		require.Len(t, a.Requests, 2)
		for _, e := range a.Requests {
			assert.Zero(t, e.Duration, e.Outcome)
		}
	})
}

// One event says that the key set could not be fetched, and one that it could again.
func TestKeySetFailureAndRecoveryAreReported(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Error(503, "down"))
		a.Get(cookies)
		time.Sleep(2 * time.Minute)
		a.Stytch.Heal(stytchtest.Any)
		other, _ := a.SignedIn(a.Bob)
		a.Get(other)
		time.Sleep(2 * time.Minute)
		third, _ := a.SignedIn(a.Bob)
		a.Get(third)
		assert.Equal(t, []string{"jwks failed", "jwks recovered"}, a.EventsOf("jwks"))
		assert.Contains(t, a.Log.String(), `"level":"INFO","msg":"stytchmigrate: jwks: recovered"`)
	})
}

// Each failed call is an event. The recovery is one.
func TestStoreFailureAndRecoveryAreReported(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		store := new(storetest.Memory)
		a.On(a.Machines(t, 1, apptest.SharedStore(store))[0])
		store.Fail(apptest.StoreDown)
		a.Get("sid=ada-1")
		store.Fail(nil)
		time.Sleep(6 * time.Second)
		a.Get("sid=ada-2")
		a.Get("sid=ada-3")
		assert.Equal(t, []string{"store failed", "store failed", "store failed", "store recovered"}, a.EventsOf("store"))
	})
}

// Event.Calls names the calls that are held back. Cause is the breaker's state.
func TestBreakerEventsNameTheCalls(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down"))
		for range 5 {
			a.Get("sid=ada-1")
		}
		time.Sleep(6 * time.Second)
		a.Stytch.Heal(stytchtest.Any)
		a.Get("sid=ada-1")
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(429, "too_few_tokens_authenticated").WithHeader("Retry-After", "20"))
		a.Get("sid=bob-1")
		var got []string
		for _, e := range a.SettledEvents() {
			got = append(got, e.Kind+" "+e.Calls+" "+e.Cause)
		}
		assert.Equal(t, []string{"breaker exchange open", "breaker exchange half_open", "breaker exchange closed", "paused exchange paused"}, got)
	})
}

// A slow OnEvent does not delay the next fetch of the key set. It still gets the events
// in order.
func TestEventsOfTheKeySetComeInOrder(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var order []string
		a.On(a.Machines(t, 1, func(c *stytchmigrate.Config) {
			c.OnEvent = func(_ context.Context, e stytchmigrate.Event) {
				if e.Cause == "failed" {
					time.Sleep(5 * time.Minute)
				}
				if e.Kind == "jwks" {
					order = append(order, e.Cause)
				}
			}
		})[0])
		for _, fail := range []bool{true, false} {
			if a.Stytch.Heal(stytchtest.JWKS); fail {
				a.Stytch.FailAll(stytchtest.JWKS, stytchtest.Error(503, "down"))
			}
			cookies, _ := a.SignedIn(a.Ada)
			a.Get(cookies)
			time.Sleep(2 * time.Minute)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.Equal(t, []string{"failed", "recovered"}, order)
	})
}

// OnEvent is slow, panics or ends its goroutine. It still gets the events in order. A
// dashboard would show the store as failed for ever if "failed" came last.
func TestEventsOffRequestsComeInOrder(t *testing.T) {
	for name, misbehave := range map[string]func(){
		"slow":     func() { time.Sleep(time.Minute) },
		"panics":   func() { time.Sleep(time.Second); panic("log is full") },
		"is ended": func() { time.Sleep(time.Second); runtime.Goexit() },
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var order []string
				store := new(storetest.Memory)
				a.On(a.Machines(t, 1, apptest.SharedStore(store), apptest.Stage(stytchmigrate.StageObserve), func(c *stytchmigrate.Config) {
					c.OnEvent = func(_ context.Context, e stytchmigrate.Event) {
						switch {
						case e.Kind != "store":
						case e.Cause == "failed":
							defer func() { order = append(order, e.Cause) }()
							misbehave()
						default:
							order = append(order, e.Cause)
						}
					}
				})[0])
				store.Fail(apptest.StoreDown)
				a.Get("sid=ada-1")
				store.Fail(nil)
				a.Get("sid=ada-1")
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				assert.Equal(t, []string{"failed", "recovered"}, order)
			})
		})
	}
}

// errorOf returns the *Error in the event of a request whose exchange is answered with
// the given status and body.
func errorOf(t *testing.T, status int, body []byte) (out *stytchmigrate.Error) {
	t.Helper()
	cfg := liveConfig()
	cfg.HTTPClient, cfg.Logger = &http.Client{Transport: apptest.Answering(status, bytes.NewReader(body))}, apptest.DiscardLog
	cfg.Legacy = []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: func(*http.Request, string) (stytchmigrate.LegacySession, error) {
		return apptest.LegacySession("ada", "ada-1"), nil
	}}}
	cfg.OnEvent = func(_ context.Context, e stytchmigrate.Event) { require.ErrorAs(t, e.Err, &out) }
	m, err := stytchmigrate.New(cfg)
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "sid=ada-1")
	m.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	return out
}

// Each row is the body of a 404. What may be a secret or an email is left out.
func TestErrorInAnEventIsStytchsAnswer(t *testing.T) {
	id := strings.Repeat("r", 100)
	rows := []struct{ name, body, want string }{
		{"a body of Stytch's", `{"status_code":404,"request_id":"req-1","error_type":"session_not_found","error_message":"no such","error_url":"https://stytch.com/docs/a#b"}`,
			"404 session_not_found (request_id req-1) no such https://stytch.com/docs/a#b"},
		{"another status in the body", `{"status_code":200,"error_type":"t"}`, "404 t"},
		{"HTML", `<h1>404</h1>`, "404"},
		{"nothing", ``, "404"},
		{"null", `null`, "404"},
		{"cut off", `{"error_type":"session_not_found"`, "404"},
		{"wrong types, one by one", `{"request_id":{},"error_type":"a.b-c_D1","error_message":7,"error_url":null}`, "404 a.b-c_D1"},
		{"names in other case", `{"Error_Type":"x","REQUEST_ID":"y"}`, "404"},
		{"an address in place of ids", `{"request_id":"` + canary + `","error_type":"` + canary + `","error_url":"https://h/?e=` + canary + `"}`, "404"},
		{"words in place of a type", `{"error_type":"Jane Doe","request_id":"J\u00f6rg"}`, "404"},
		{"a type too long", `{"request_id":"` + id + `","error_type":"t` + id + `"}`, "404 (request_id " + id + ")"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := errorOf(t, 404, []byte(row.body))
			assert.Equal(t, "stytchmigrate: stytch answered "+row.want, strings.TrimSpace(got.Error()+" "+got.Message+" "+got.URL))
		})
	}
}

func TestOnEventIsCalledOnceForARequestBeforeItsHandler(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		known := a.Get("sid=ada-1").Jar("")
		a.Handler = func(http.ResponseWriter, *http.Request) { assert.Len(t, a.Requests, 1) }
		for _, cookies := range []string{"", "theme=dark", known, "sid=ada-1", "sid=nobody", "stytch_session=madeup"} {
			a.Requests = nil
			a.Get(cookies)
			assert.Len(t, a.Requests, 1, cookies)
		}
	})
}

func TestAnonymousAndSignedInRequestsLogNothing(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("")
		for range 2 {
			for _, sent := range []string{"", "theme=dark", "sid=nobody", "sid=ada-1", cookies, cookies + "; sid=ada-1"} {
				a.Get(sent)
			}
			time.Sleep(6 * time.Minute)
		}
		assert.Empty(t, a.Log.String())
	})
}

// Each request to such a host would migrate its user again, and no cookie would be kept.
func TestHostOutsideOfCookiesDomainIsLoggedOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		assert.Empty(t, a.Log.String(), "a host in the domain")
		a.Get("sid=nobody", func(r *http.Request) { r.Host = "app.example.net" })
		assert.Empty(t, a.Log.String(), "no cookie to write")
		for _, host := range []string{"app.example.net", "www.example.net"} {
			assert.Equal(t, "migrated ada"+apptest.CookiesUntouched+"-", a.Get("sid=ada-1", func(r *http.Request) { r.Host = host }).String())
		}
		assert.NotContains(t, a.Log.String(), "example.net")
		assert.Equal(t, 1, strings.Count(a.Log.String(), `"level":"WARN","msg":"stytchmigrate: no cookies are written in answer to hosts outside of Cookies.Domain"`))
	}, apptest.CookieOptions(func(o *stytchmigrate.CookieOptions) { o.Domain = "example.com" }))
}
