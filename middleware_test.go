package stytchmigrate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// The whole life of a session: a legacy cookie comes in, a Stytch user comes out and
// stays signed in, and a logout ends both.
func TestLegacyCookieBecomesAStytchSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("theme=dark; sid=ada-1")
		assert.Equal(t, apptest.Moved, first.String())
		session := a.Stytch.Sessions()[0]
		stytch := "stytch_session=" + session.Token + "; stytch_session_jwt=" + session.JWT
		assert.Equal(t, "theme=dark; sid=ada-1; "+stytch, a.CookiesSeen[0])

		cookies := first.Jar("theme=dark; sid=ada-1")
		assert.Equal(t, a.CookiesSeen[0], cookies, "the handler sees what the browser will send")
		second := a.Get(cookies)
		assert.Equal(t, apptest.Replaced, second.String(), "the old cookie goes when the new ones have come back")
		assert.Equal(t, "theme=dark; "+stytch, a.CookiesSeen[1])
		cookies = second.Jar(cookies)
		assert.Equal(t, a.CookiesSeen[1], cookies, "the handler sees what the browser will send")
		assert.Equal(t, apptest.Authenticated, a.Get(cookies).String(), "known from the exchange")

		time.Sleep(6 * time.Minute) // the JWT has expired
		refreshed := a.Get(cookies)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", refreshed.String())
		cookies = refreshed.Jar(cookies)
		assert.Equal(t, "authenticated ada"+apptest.CookiesUntouched+"-", a.Get(cookies).String())

		a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
		out := a.Get(cookies)
		assert.Equal(t, "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
		a.Handler = nil
		assert.False(t, a.Stytch.Sessions()[0].Live)
		assert.Equal(t, "refused | - | - | -", a.Get("sid=ada-1").String(), "the old cookie does not sign the user in again")
		assert.Equal(t, "refused | -stytch_session -stytch_session_jwt | no-store | -", a.Get(cookies+"; sid=ada-1").String())
	})
}

// Stytch answers the first request with a newer JWT than the browser's. Once the
// browser's own has expired, it gets that newer one, without another call.
func TestOlderJWTIsReplacedByTheNewest(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "authenticated ada"+apptest.CookiesUntouched+"authenticate", a.Get(cookies).String())
		assert.Equal(t, "authenticated ada"+apptest.CookiesUntouched+"-", a.Get(cookies).String(), "known")

		time.Sleep(3*time.Minute + 31*time.Second)
		refreshed := a.Get(cookies)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | -", refreshed.String())
		newest, _ := a.Stytch.Session(s.ID)
		assert.Equal(t, "stytch_session="+s.Token+"; stytch_session_jwt="+newest.JWT, refreshed.Jar(cookies))
		assert.NotEqual(t, s.JWT, newest.JWT)
	})
}

// Neither a skipped request nor a preflight is changed or reported.
func TestSkippedRequestsAndPreflightsArePassedOnUntouched(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"skipped": func(r *http.Request) { r.URL.Path = "/skip" },
		"a CORS preflight": func(r *http.Request) {
			r.Method = http.MethodOptions
			r.Header.Set("Access-Control-Request-Method", "PUT")
		},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				assert.Equal(t, apptest.Anonymous, a.Get("sid=ada-1", change).String())
				assert.Equal(t, []string{"sid=ada-1"}, a.CookiesSeen)
				assert.Empty(t, a.Requests)
			}, func(c *stytchmigrate.Config) {
				c.Skip = func(r *http.Request) bool { return r.URL.Path == "/skip" }
			})
		})
	}
}

// OPTIONS alone is no preflight.
func TestOptionsRequestIsAuthenticated(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, "migrated ada", a.Get("sid=ada-1", apptest.Method(http.MethodOptions)).Saw)
		assert.Equal(t, "migrated ada", a.Get("sid=ada-1", apptest.Header("Access-Control-Request-Method", "PUT")).Saw)
	})
}

func TestHandlerWrappedTwiceActsOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for _, cookies := range []string{"", "sid=nobody", "sid=ada-1"} {
			a.Requests = nil
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Cookie", cookies)
			w := httptest.NewRecorder()
			a.Middleware.Handler(a.Middleware.Handler(http.NotFoundHandler())).ServeHTTP(w, r)
			assert.Len(t, a.Requests, 1)
			assert.Equal(t, cookies == "sid=ada-1", len(w.Header()["Set-Cookie"]) == 2)
		}
	})
}

// Two projects, one Handler inside the other. Each finds its own user.
func TestInnerMiddlewareOfAnotherProjectDecidesForItself(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		inner := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
			c.OnEvent, c.Cookies.SessionName, c.Cookies.JWTName = nil, "other_session", "other_jwt"
		})
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			inner.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "anonymous", a.Who(r.Context()), "the inner one's project has no user here")
			})).ServeHTTP(w, r)
		}
		assert.Equal(t, "authenticated ada", a.Get(cookies).Saw)
		assert.Equal(t, "authenticated ada", a.Get(cookies).Saw, "known")
	})
}

// Most requests of a public site come from robots. A request without a session is
// passed on as it came: no copy, no context value.
func TestAnonymousRequestIsPassedOnAsItCame(t *testing.T) {
	const replace, retired = stytchmigrate.StageReplace, stytchmigrate.StageRetired
	for name, row := range map[string]struct {
		stage   stytchmigrate.Stage
		cookies string
		same    bool
	}{
		"no cookie":                      {replace, "", true},
		"a legacy cookie, no session":    {replace, "sid=nobody", true},
		"a JWT that is rubbish":          {replace, "stytch_session_jwt=a.b.c", true},
		"retired, a JWT that is rubbish": {retired, "stytch_session_jwt=a.b.c", true},
		"retired, a legacy cookie":       {retired, "sid=ada-1", false},
		"retired, a visitor's cookie":    {retired, "sid=nobody", true},
		"a legacy session":               {replace, "sid=ada-1", false},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("Cookie", row.cookies)
				var got *http.Request
				next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r })
				a.Middleware.Handler(next).ServeHTTP(httptest.NewRecorder(), r)
				require.NotNil(t, got)
				assert.Equal(t, row.same, got == r)
			}, apptest.Stage(row.stage), func(c *stytchmigrate.Config) { c.OnEvent = nil })
		})
	}
}

// Each row is a kind of request that is very frequent, and how many allocations the
// middleware adds: the context value and the copy of the request that has it.
func TestAllocationsOfTheFastPath(t *testing.T) { // not parallel: it counts the allocations of the process
	a := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) { c.OnEvent = nil })
	cookies := moved(a)
	for name, row := range map[string]struct {
		cookies string
		want    float64
	}{
		"no cookie":                   {"", 0},
		"other cookies":               {"theme=dark; consent=1", 0},
		"a known session":             {cookies, 2},
		"a known session, and others": {"theme=dark; " + cookies + "; consent=1", 2},
	} {
		r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
		if row.cookies != "" {
			r.Header.Set("Cookie", row.cookies)
		}
		w := httptest.NewRecorder()
		var found bool
		h := a.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, found = stytchmigrate.UserFromContext(r.Context())
		}))
		h.ServeHTTP(w, r)
		assert.Equal(t, row.want, testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }), name)
		assert.Equal(t, row.want > 0, found, name)
	}
}

// Each row is a request in StageKeep, and how many allocations OnEvent adds. A request
// without a session gets a context value and a copy for it: an inner Handler then
// knows that the event was sent.
func TestAllocationsOfAnEvent(t *testing.T) { // not parallel: it counts the allocations of the process
	quiet := apptest.New(t, stytchtest.Config{InProcess: true}, apptest.Stage(stytchmigrate.StageKeep), func(c *stytchmigrate.Config) { c.OnEvent = nil })
	heard := apptest.New(t, stytchtest.Config{InProcess: true}, apptest.Stage(stytchmigrate.StageKeep), func(c *stytchmigrate.Config) {
		c.OnEvent = func(context.Context, stytchmigrate.Event) {}
	})
	for name, row := range map[string]struct {
		cookies func(a *apptest.App) string
		want    float64
	}{
		"no cookie":                           {func(*apptest.App) string { return "" }, 2},
		"a known session":                     {moved, 0},
		"a known session, and the old cookie": {func(a *apptest.App) string { return moved(a) + "; sid=ada-1" }, 0},
	} {
		assert.Equal(t, row.want, allocations(heard, row.cookies(heard))-allocations(quiet, row.cookies(quiet)), name)
	}
}

// allocations counts the allocations of a request that is like the one before. The
// rest of the process can only add to them, so the least of three counts is taken.
// moved is the Cookie header of a user who has moved, with the newest JWT of the
// session: an older one would be verified with each request.
func moved(a *apptest.App) string { return a.Get("sid=ada-1").Jar("") }

func allocations(a *apptest.App, cookies string) float64 {
	h := a.Middleware.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r, w := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil), httptest.NewRecorder()
	r.Header.Set("Cookie", cookies)
	h.ServeHTTP(w, r)
	count := func() float64 { return testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }) }
	return min(count(), count(), count())
}

// Each row is a request for a page that RequireUser guards.
func TestRequireUser(t *testing.T) {
	down := func(header ...string) func(*apptest.App) {
		f := stytchtest.Error(503, "service_unavailable")
		if header != nil {
			f = f.WithHeader("Retry-After", header[0])
		}
		return func(a *apptest.App) { a.Stytch.FailAll(stytchtest.Migrate, f) }
	}
	none := func(*apptest.App) {}
	for name, row := range map[string]struct {
		prepare      func(*apptest.App)
		cookies      string
		status       int
		authenticate string
		retry        string
	}{
		"a user":                        {none, "sid=ada-1", 200, "", ""},
		"nobody":                        {none, "", 401, `Cookie cookie-name="stytch_session"`, ""},
		"no session":                    {none, "sid=nobody", 401, `Cookie cookie-name="stytch_session"`, ""},
		"refused":                       {func(a *apptest.App) { a.Stytch.RemoveUser(a.Ada.ID) }, "sid=ada-1", 401, `Cookie cookie-name="stytch_session"`, ""},
		"can't tell":                    {down(), "sid=ada-1", 503, "", "5"},
		"can't tell, and Stytch says":   {down("30"), "sid=ada-1", 503, "", "30"},
		"can't tell, for an hour":       {down("3600"), "sid=ada-1", 503, "", "60"},
		"can't tell, for who knows":     {down("soon"), "sid=ada-1", 503, "", "5"},
		"can't tell, for less than now": {down("-1"), "sid=ada-1", 503, "", "5"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				row.prepare(a)
				a.Handler = a.Middleware.RequireUser(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP
				got := a.GetChecked(t, row.cookies)
				assert.Equal(t, row.status, got.Code)
				assert.Equal(t, row.authenticate, got.Header().Get("WWW-Authenticate"))
				assert.Equal(t, row.retry, got.Header().Get("Retry-After"))
				assert.Equal(t, "no-store", got.Header().Get("Cache-Control"))
				assert.Equal(t, row.status == 200, len(got.Cookies()) > 0)
			})
		})
	}
}

func TestDenyAnswersForRequireUser(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = a.Middleware.RequireUser(http.NotFoundHandler()).ServeHTTP
		got := a.GetChecked(t, "")
		assert.Equal(t, http.StatusTeapot, got.Code)
		assert.Empty(t, got.Header(), "the answer is the application's alone")
	}, func(c *stytchmigrate.Config) {
		c.Deny = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, stytchmigrate.OutcomeAnonymous, stytchmigrate.OutcomeFromContext(r.Context()))
			w.WriteHeader(http.StatusTeapot)
		})
	})
}

// NewContext signs a user in for the test of a handler.
func TestNewContext(t *testing.T) {
	a := apptest.New(t, stytchtest.Config{InProcess: true})
	user, session := &stytchmigrate.User{UserID: "user-1"}, &stytchmigrate.Session{SessionID: "session-1"}
	for name, row := range map[string]struct {
		ctx    context.Context
		status int
	}{
		"empty":              {t.Context(), 401},
		"a user":             {stytchmigrate.NewContext(t.Context(), user, nil), 200},
		"user and session":   {stytchmigrate.NewContext(t.Context(), user, session), 200},
		"nobody":             {stytchmigrate.NewContext(t.Context(), nil, nil), 401},
		"nobody, afterwards": {stytchmigrate.NewContext(stytchmigrate.NewContext(t.Context(), user, session), nil, nil), 401},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(row.ctx)
			a.Middleware.RequireUser(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got, _ := stytchmigrate.UserFromContext(r.Context())
				assert.Same(t, user, got)
			})).ServeHTTP(w, r)
			assert.Equal(t, row.status, w.Code)
			assert.NoError(t, a.Middleware.Logout(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(stytchmigrate.NewContext(t.Context(), user, nil))))
		})
	}
}

// Package fmt prints no secret of a Middleware or a Config.
func TestMiddlewarePrintsNoSecret(t *testing.T) {
	cfg := liveConfig()
	cfg.RecordKey = "canary-of-not-fewer-than-32-bytes"
	m, err := stytchmigrate.New(cfg)
	require.NoError(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v"} { // go vet reports the others
		assert.NotContains(t, fmt.Sprintf(verb, cfg), "canary", verb)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%t"} { // %s and the others follow pointers
		assert.NotContains(t, fmt.Sprintf(verb, m), "canary", verb)
	}
}

// Each row is a request, and what the accessors return for it.
func TestContextOfEachOutcome(t *testing.T) {
	down := func(a *apptest.App) { a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down")) }
	for outcome, row := range map[stytchmigrate.Outcome]struct {
		before                func(*apptest.App)
		cookies               string // S for ada's Stytch cookies
		user, session, legacy bool
	}{
		stytchmigrate.OutcomeAnonymous:     {func(*apptest.App) {}, "sid=nobody", false, false, false},
		stytchmigrate.OutcomeAuthenticated: {func(*apptest.App) {}, "S; sid=ada-1", true, true, false},
		stytchmigrate.OutcomeMigrated:      {func(*apptest.App) {}, "sid=ada-1", true, true, false},
		stytchmigrate.OutcomeLegacy:        {func(a *apptest.App) { a.SetRollout(t, stytchmigrate.Rollout{HoldBack: 100}) }, "sid=ada-1", false, false, true},
		stytchmigrate.OutcomeRefused:       {func(a *apptest.App) { a.Stytch.RemoveUser(a.Ada.ID) }, "sid=ada-1", false, false, true},
		stytchmigrate.OutcomeUnavailable:   {down, "sid=ada-1", false, false, true},
	} {
		t.Run(outcome.String(), func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch, _ := a.SignedIn(a.Ada)
				row.before(a)
				a.Handler = func(_ http.ResponseWriter, r *http.Request) {
					assert.Equal(t, outcome, stytchmigrate.OutcomeFromContext(r.Context()))
					_, user := stytchmigrate.UserFromContext(r.Context())
					_, session := stytchmigrate.SessionFromContext(r.Context())
					_, legacy := stytchmigrate.LegacyFromContext(r.Context())
					assert.Equal(t, []bool{row.user, row.session, row.legacy}, []bool{user, session, legacy})
				}
				a.Get(strings.Replace(row.cookies, "S", stytch, 1))
				assert.Len(t, a.CookiesSeen, 1)
			})
		})
	}
}

func TestHandlerDoesNotRunOnceTheClientHasLeft(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(2*time.Second))
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		assert.Equal(t, "unavailable", a.Get("sid=ada-1", func(r *http.Request) { *r = *r.WithContext(ctx) }).Saw, "a deadline is the application's own")
		ctx, leave = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		assert.Equal(t, "handler not run", a.Get("sid=bob-1", func(r *http.Request) { *r = *r.WithContext(ctx) }).Saw)
	})
}
