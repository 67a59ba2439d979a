package stytchmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const (
	unavailable = "unavailable" + apptest.CookiesUntouched + "-"
)

// Each row is a request with several cookies of one name.
func TestDuplicateLegacyCookies(t *testing.T) {
	for name, row := range map[string]struct{ cookies, want string }{
		"the same value":               {"sid=ada-1; sid=ada-1", apptest.Moved},
		"one resolves, the last":       {"sid=nobody; sid=ada-1", apptest.Moved},
		"one resolves, the first":      {"sid=ada-1; sid=nobody", apptest.Moved},
		"two sessions of one person":   {"sid=ada-1; sid=ada-2", apptest.Moved},
		"two values of one session":    {"sid=same-1; sid=same-2", apptest.Moved},
		"two values of one token":      {"sid=token-1; sid=token-2", apptest.Moved},
		"two people":                   {"sid=ada-1; sid=bob-1", apptest.Anonymous},
		"two people, others between":   {"sid=ada-1; sid=nobody; sid=ada-2; sid=bob-1", apptest.Anonymous},
		"two people under one id":      {"sid=taken-ada; sid=taken-bob", apptest.Anonymous},
		"one id, and whose just once":  {"sid=taken-ada; sid=taken-", apptest.Moved},
		"none resolves":                {"sid=nobody; sid=none", apptest.Anonymous},
		"as many as are looked at":     {"sid=n; sid=o; sid=p; sid=q; sid=ada-1", apptest.Moved},
		"more than are looked at":      {"sid=n; sid=o; sid=p; sid=q; sid=r; sid=ada-1", apptest.Anonymous},
		"one value a hundred times":    {strings.Repeat("sid=ada-1; ", 100) + "sid=ada-1", apptest.Moved},
		"one can't be told":            {"sid=ada-1; sid=error", unavailable},
		"one can't be told, the first": {"sid=error; sid=ada-1", unavailable},
		"an empty one":                 {"sid=; sid=ada-1", apptest.Moved},
		"one that is too long":         {"sid=" + strings.Repeat("a", 8193) + "; sid=ada-1", "migrated ada | +stytch_session | no-store | migrate"}, // no room for the JWT
		"another cookie's case":        {"SID=bob-1; sid=ada-1", apptest.Moved},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.ResolveDuplicates
				assert.Equal(t, row.want, a.Get(row.cookies).String())
			})
		})
	}
}

// Each row is two requests to an application with three entries in Config.Legacy: "new",
// with "cart" in Also, and "sid" in two formats. The first moves the session, and the
// second brings its Stytch cookies too.
func TestSeveralLegacyCookies(t *testing.T) {
	only := func(prefix string) func(*http.Request, string) (stytchmigrate.LegacySession, error) {
		return func(_ *http.Request, v string) (stytchmigrate.LegacySession, error) {
			if rest, found := strings.CutPrefix(v, prefix); found {
				return apptest.ResolveDuplicates(rest)
			}
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
	}
	setting := func(c *stytchmigrate.Config) {
		c.Legacy = []stytchmigrate.LegacyCookie{
			{Name: "new", Also: []string{"cart"}, Resolve: only("")},
			{Name: "sid", Resolve: only("v2:")},
			{Name: "sid", Resolve: only("v1:"), Scopes: []stytchmigrate.CookieScope{{Domain: "example.com"}, {Path: "/app"}}},
		}
	}
	const stytchCookies = "stytch_session stytch_session_jwt"
	goes := func(cookies string) string { return "authenticated ada | " + cookies + " | no-store | -" }
	for name, row := range map[string]struct{ cookies, first, second, passedOn string }{
		"the first":                          {"new=ada-1", apptest.Moved, goes("-new -cart"), ""},
		"what belongs to it goes with it":    {"cart=7; new=ada-1; theme=x", apptest.Moved, goes("-new -cart"), "theme=x"},
		"what belongs to it is no session":   {"cart=ada-1", apptest.Anonymous, apptest.Anonymous, "cart=ada-1"},
		"the second format of a name":        {"sid=v2:ada-1", apptest.Moved, goes("-sid"), ""},
		"the third, in the scopes it had":    {"sid=v1:ada-1", apptest.Moved, goes("-sid -sid"), ""},
		"the first with a session decides":   {"sid=v2:bob-1; new=ada-1", apptest.Moved, goes("-new -cart"), "sid=v2:bob-1"},
		"one without a session decides not":  {"new=nobody; sid=v1:ada-1", apptest.Moved, goes("-sid -sid"), "new=nobody"},
		"two people in the first: no second": {"new=ada-1; new=bob-1; sid=v1:ada-1", apptest.Anonymous, apptest.Anonymous, "new=ada-1; new=bob-1; sid=v1:ada-1"},
		"an outage of the first: no second":  {"new=error; sid=v1:ada-1", unavailable, unavailable, "new=error; sid=v1:ada-1"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				first := a.Get(row.cookies)
				assert.Equal(t, row.first, first.String())
				assert.Equal(t, row.cookies, withoutCookies(a.CookiesSeen[0], stytchCookies))
				assert.Equal(t, row.second, a.Get(first.Jar(row.cookies)).String())
				assert.Equal(t, row.passedOn, withoutCookies(a.CookiesSeen[1], stytchCookies))
			}, setting)
		})
	}
}

// Each row is a Cookie header, and the values that Resolve is called with.
func TestResolveIsGivenTheValueAsSent(t *testing.T) {
	for name, row := range map[string]struct {
		cookie string
		want   []string
	}{
		"base64":                        {"sid=a+b/c=d==", []string{"a+b/c=d=="}},
		"escapes stay escapes":          {"sid=a%20b%3B%00", []string{"a%20b%3B%00"}},
		"bars, commas and spaces":       {"sid=a|b,c d", []string{"a|b,c d"}},
		"quotes around it are no part":  {`sid="a b"`, []string{"a b"}},
		"quotes inside are no cookie":   {`sid=a"b`, nil},
		"a backslash is no cookie":      {`sid=a\b`, nil},
		"non-ASCII is no cookie":        {"sid=\u00e4", nil},
		"NUL is no cookie":              {"sid=a\x00b", nil},
		"a line break is no cookie":     {"sid=a\r\nb", nil},
		"8 KB":                          {"sid=" + strings.Repeat("a", 8192), []string{strings.Repeat("a", 8192)}},
		"more than 8 KB is not decoded": {"sid=" + strings.Repeat("a", 8193), nil},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var got []string
				a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
					got = append(got, v)
					return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
				}
				assert.Equal(t, apptest.Anonymous, a.Get(row.cookie).String())
				assert.Equal(t, row.want, got)
			})
		})
	}
}

// Each row is what Resolve returns, and what becomes of the request.
func TestWhatResolveReturns(t *testing.T) {
	ada := func(change func(*stytchmigrate.LegacySession)) stytchmigrate.LegacySession {
		s := apptest.LegacySession("ada", "ada-1")
		change(&s)
		return s
	}
	identity := func(change func(*userinfo.Identity)) stytchmigrate.LegacySession {
		return ada(func(s *stytchmigrate.LegacySession) { change(&s.Identity) })
	}
	for name, row := range map[string]struct {
		session stytchmigrate.LegacySession
		err     error
		want    string
		log     string // part of the error line, "" for none
	}{
		"a session":                  {ada(func(s *stytchmigrate.LegacySession) {}), nil, apptest.Moved, ""},
		"a token alone":              {stytchmigrate.LegacySession{Token: "ada-token"}, nil, apptest.Moved, ""},
		"no session":                 {stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession, apptest.Anonymous, ""},
		"no session, wrapped":        {stytchmigrate.LegacySession{}, fmt.Errorf("canary: %w", stytchmigrate.ErrNoSession), apptest.Anonymous, ""},
		"an expired one":             {ada(func(s *stytchmigrate.LegacySession) { s.ExpiresAt = time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC) }), nil, apptest.Anonymous, ""},
		"one that expired long ago":  {ada(func(s *stytchmigrate.LegacySession) { s.ExpiresAt = time.Unix(0, 0) }), nil, apptest.Anonymous, ""},
		"an outage":                  {stytchmigrate.LegacySession{}, errors.New("no row for canary"), unavailable, `Resolve of cookie \"sid\" failed (*errors.errorString)`},
		"an outage beside one":       {ada(func(s *stytchmigrate.LegacySession) {}), context.DeadlineExceeded, unavailable, `failed (context.deadlineExceededError)`},
		"neither identity nor token": {stytchmigrate.LegacySession{ID: "canary"}, nil, unavailable, `wrong setting: Resolve of cookie \"sid\" returned neither Identity nor Token`},
		"no token, and no Tickets":   {ada(func(s *stytchmigrate.LegacySession) { s.Token = "" }), nil, unavailable, `returned no Token, and Config.Tickets is not set`},

		"no subject":              {identity(func(id *userinfo.Identity) { id.Subject = "" }), nil, apptest.Refused, ""},
		"a subject of 256 bytes":  {identity(func(id *userinfo.Identity) { id.Subject = strings.Repeat("a", 256) }), nil, apptest.Refused, ""},
		"a subject with a break":  {identity(func(id *userinfo.Identity) { id.Subject = "ada\n" }), nil, apptest.Refused, ""},
		"no email":                {identity(func(id *userinfo.Identity) { id.Email = "" }), nil, apptest.Refused, ""},
		"an unverified email":     {identity(func(id *userinfo.Identity) { id.EmailVerified = false }), nil, apptest.Refused, ""},
		"an email with two @":     {identity(func(id *userinfo.Identity) { id.Email = "ada@example.com@evil.example" }), nil, apptest.Refused, ""},
		"an email with a break":   {identity(func(id *userinfo.Identity) { id.Email = "ada@example.com\r\nX: y" }), nil, apptest.Refused, ""},
		"an email with a NUL":     {identity(func(id *userinfo.Identity) { id.Email = "ada\x00@example.com" }), nil, apptest.Refused, ""},
		"two emails":              {identity(func(id *userinfo.Identity) { id.Email = "ada@example.com,bob@example.com" }), nil, apptest.Refused, ""},
		"an email with a name":    {identity(func(id *userinfo.Identity) { id.Email = "Ada <ada@example.com>" }), nil, apptest.Refused, ""},
		"an email in look-alikes": {identity(func(id *userinfo.Identity) { id.Email = "ad\u0430@example.com" }), nil, apptest.Refused, ""},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = func(string) (stytchmigrate.LegacySession, error) { return row.session, row.err }
				assert.Equal(t, row.want, a.Get("sid=the-canary").String())
				assert.Contains(t, a.Log.String(), row.log)
				assert.Equal(t, row.log != "", strings.Contains(a.Log.String(), `"level":"ERROR"`), a.Log.String())
				assert.Equal(t, row.want == apptest.Refused, strings.Contains(a.Log.String(), "legacy session refused"), "the log says why")
				assert.NotContains(t, a.Log.String()+fmt.Sprintf("%+v", a.Requests), "canary")
				assert.NotContains(t, a.Log.String()+fmt.Sprintf("%+v", a.Requests), "@example")
			})
		})
	}
}

// Stytch is down and Resolve fails too. The log names Resolve, or the operator would wait
// for Stytch alone.
func TestResolveThatFailsDuringAnOutageIsLogged(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveDuplicates
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
		assert.Equal(t, "unavailable", a.Get("stytch_session=madeup; sid=error").Saw)
		assert.Contains(t, a.Log.String(), `"level":"ERROR","msg":"stytchmigrate: Resolve of cookie \"sid\" failed`)
	})
}

// Only the request whose Resolve panics has the panic.
func TestPanicOfResolveReachesItsOwnRequest(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { panic("mine") }
		assert.PanicsWithValue(t, "mine", func() { a.Get("sid=ada-1") })
		a.Resolve = nil
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
	})
}

// Beside a live Stytch session Resolve is called once a minute for the same cookies. Each
// row is a further request, and how often Resolve has been called after it.
func TestResolveIsNotCalledAgainForTheSameCookies(t *testing.T) {
	const minute = time.Minute
	for name, row := range map[string]struct {
		after time.Duration
		sid   string
		calls int32
	}{
		"the same cookie":                     {0, "sid=nobody", 1},
		"the same cookie, with others beside": {0, "theme=x; sid=nobody", 1},
		"another value":                       {0, "sid=none", 2},
		"the same value twice":                {0, "sid=nobody; sid=nobody", 1},
		"one value more":                      {0, "sid=nobody; sid=none", 3},
		"the same letters in two values":      {0, "sid=no; sid=body", 3},
		"the value under another name":        {0, "older=nobody", 2},
		"the same cookie in a minute":         {minute, "sid=nobody", 2},
		"the same cookie just before":         {minute - 1, "sid=nobody", 1},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var calls atomic.Int32
				a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
					calls.Add(1)
					return apptest.ResolveWithStart(time.Now(), nil)(v)
				}
				cookies, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
				for range 10 {
					require.Equal(t, apptest.Authenticated, a.Get(cookies+"; sid=nobody").String())
				}
				require.Equal(t, int32(1), calls.Load())
				time.Sleep(row.after)
				assert.Equal(t, apptest.Authenticated, a.Get(cookies+"; "+row.sid).String())
				assert.Equal(t, row.calls, calls.Load())
			}, olderCookie)
		})
	}
}

// While Stytch can't be asked, the old code serves the user by the legacy session. Each
// row is the Stytch cookies beside it. An expired JWT that came from another session may
// be another person's.
func TestLegacyFromContextBesideAnExpiredJWT(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(token, jwt string) string
		sid     string
		want    stytchmigrate.Secret // ID that LegacyFromContext returns
	}{
		"the JWT came from it":           {func(_, jwt string) string { return jwt }, "ada-1", "ada-1"},
		"the JWT came from another":      {func(_, jwt string) string { return jwt }, "bob-1", ""},
		"a token, which names no origin": {func(token, _ string) string { return token }, "bob-1", "bob-1"},
		"no legacy session":              {func(_, jwt string) string { return jwt }, "nobody", ""},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				token, jwt, _ := strings.Cut(a.Get("sid=ada-1").Jar(""), "; ")
				time.Sleep(6 * time.Minute)
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
				assert.Equal(t, "unavailable", a.Get(row.cookies(token, jwt)+"; sid="+row.sid).Saw)
				assert.Equal(t, row.want, a.LegacySeen.ID)
			})
		})
	}
}

// A handler serves a user who has not moved by the old session. It must not serve one
// who logged out. Without StartedAt it may be a new sign-in under the old id.
func TestLegacyFromContextAfterLogout(t *testing.T) {
	const asked = "stytch_session=madeup; " // Stytch is asked about it, and can't tell
	for name, row := range map[string]struct {
		startedAt time.Time
		cookies   string
		outcome   string
		want      string
	}{
		"known when it started":            {time.Unix(1, 0), "", "refused", ""},
		"not known when it started":        {time.Time{}, "", "refused", "ada"},
		"known, Stytch can't be asked":     {time.Unix(1, 0), asked, "unavailable", ""},
		"not known, Stytch can't be asked": {time.Time{}, asked, "unavailable", "ada"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
					s := apptest.LegacySession("ada", value)
					s.StartedAt = row.startedAt
					return s, nil
				}
				a.LogOut(a.Get("sid=ada-1").Jar("sid=ada-1"))
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
				assert.Equal(t, row.outcome, a.Get(row.cookies+"sid=ada-1").Saw)
				assert.Equal(t, row.want, a.LegacySeen.Identity.Subject)
			})
		})
	}
}

// Two values are one session if they have the same ID: by default the Token, else the
// value. The second one gets the Stytch session of the first, without a call.
func TestIDDefaultsToTheTokenAndThenToTheValue(t *testing.T) {
	for name, row := range map[string]struct{ id, token, want string }{
		"an ID":     {"1", "ada-token", apptest.MovedAfter + "-"},
		"a token":   {"", "ada-token", apptest.MovedAfter + "-"},
		"the value": {"", "", apptest.Moved},
	} {
		t.Run(name, func(t *testing.T) {
			_, tickets := apptest.WithTickets(t)
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.SetUserInfo(func(context.Context, string) (string, error) { return "ada@example.com", nil })
				assert.Equal(t, apptest.Moved, a.Get("sid=a").String())
				assert.Equal(t, row.want, a.Get("sid=b").String())
				assert.Equal(t, apptest.MovedAfter+"-", a.Get("sid=a").String())
			}, tickets, apptest.ResolveAlways(stytchmigrate.LegacySession{
				ID: stytchmigrate.Secret(row.id), Token: stytchmigrate.Secret(row.token), Identity: apptest.LegacySession("ada", "").Identity,
			}))
		})
	}
}

// NewLegacyContext is a user who has not moved, for the test of a handler: also of one
// that asks for a Stytch user, or calls Logout.
func TestNewLegacyContext(t *testing.T) {
	a := apptest.New(t, stytchtest.Config{InProcess: true}, apptest.LegacyCookie(func(c *stytchmigrate.LegacyCookie) {
		c.End = func(context.Context, stytchmigrate.LegacySession) error { panic("the session is of no cookie") }
	}))
	s := apptest.LegacySession("ada", "id-1")
	ctx := stytchmigrate.NewLegacyContext(stytchmigrate.NewContext(t.Context(), &stytchmigrate.User{UserID: "user-1"}, new(stytchmigrate.Session)), s)
	_, hasUser := stytchmigrate.UserFromContext(ctx)
	_, hasSession := stytchmigrate.SessionFromContext(ctx)
	got, ok := stytchmigrate.LegacyFromContext(ctx)
	assert.Equal(t, []any{stytchmigrate.OutcomeLegacy, false, false, s, true}, []any{stytchmigrate.OutcomeFromContext(ctx), hasUser, hasSession, got, ok})

	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil)
	a.Middleware.RequireUser(http.NotFoundHandler()).ServeHTTP(w, r)
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	assert.NoError(t, a.Middleware.Logout(httptest.NewRecorder(), r))
	require.Len(t, a.Events, 1)
	assert.Equal(t, "logout", a.Events[0].Kind)
	_, ok = stytchmigrate.LegacyFromContext(stytchmigrate.NewContext(ctx, nil, nil))
	assert.False(t, ok, "an anonymous one afterwards")
}
