package stytchmigrate_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
)

// The road: a legacy cookie goes in, a Stytch user comes out, and stays.
func TestRoad(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("theme=dark; sid=ada-1")
		assert.Equal(t, apptest.Swapped, first.String())
		session := a.Stytch.Sessions()[0]
		assert.Equal(t, "theme=dark; stytch_session="+session.Token+"; stytch_session_jwt="+session.JWT, a.PassedOn[0])

		cookies := first.Jar("theme=dark; sid=ada-1")
		assert.Equal(t, a.PassedOn[0], cookies, "the handler sees what the browser will send")
		assert.Equal(t, "authenticated ada"+apptest.Untouched+"-", a.Get(cookies).String(), "known from the exchange")

		time.Sleep(6 * time.Minute) // the JWT has expired
		refreshed := a.Get(cookies)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", refreshed.String())
		cookies = refreshed.Jar(cookies)
		assert.Equal(t, "authenticated ada"+apptest.Untouched+"-", a.Get(cookies).String())

		a.Handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.Middleware.Logout(w, r)) }
		out := a.Get(cookies)
		assert.Equal(t, "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
		a.Handler = nil
		assert.False(t, a.Stytch.Sessions()[0].Live)
		assert.Equal(t, "refused | - | - | -", a.Get("sid=ada-1").String(), "the old cookie does not bring the user back")
		assert.Equal(t, "refused | -stytch_session -stytch_session_jwt | no-store | -", a.Get(cookies+"; sid=ada-1").String())
	})
}

// Each row is a request on an application that nobody has visited yet.
func TestDecision(t *testing.T) {
	for name, row := range map[string]struct {
		cookies string
		change  func(*http.Request)
		want    string
	}{
		"no cookie":                   {"", nil, "anonymous" + apptest.Untouched + "-"},
		"a legacy cookie":             {"sid=ada-1", nil, apptest.Swapped},
		"a legacy cookie, no session": {"sid=nobody", nil, "anonymous" + apptest.Untouched + "-"},
		"cors preflight": {"sid=ada-1", func(r *http.Request) {
			r.Method = "OPTIONS"
			r.Header.Set("Access-Control-Request-Method", "PUT")
		}, "anonymous" + apptest.Untouched + "-"},
		"a token that is in no cookie": {"", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer ada-1")
			r.URL.RawQuery = "sid=ada-1&stytch_session=ada-1"
		}, "anonymous" + apptest.Untouched + "-"},
		"skipped": {"sid=ada-1", func(r *http.Request) { r.URL.Path = "/skip" }, "anonymous" + apptest.Untouched + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var change []func(*http.Request)
				if row.change != nil {
					change = append(change, row.change)
				}
				assert.Equal(t, row.want, a.Get(row.cookies, change...).String())
			}, func(c *stytchmigrate.Config) {
				c.Skip = func(r *http.Request) bool { return r.URL.Path == "/skip" }
			})
		})
	}
}

// A browser comes with a JWT that is good for a while: asking for the user gives
// a newer one. That must be what it gets when its own has expired.
func TestOlderJWTIsReplacedByTheNewest(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "authenticated ada"+apptest.Untouched+"authenticate", a.Get(cookies).String())
		assert.Equal(t, "authenticated ada"+apptest.Untouched+"-", a.Get(cookies).String(), "known")

		time.Sleep(3*time.Minute + 31*time.Second)
		refreshed := a.Get(cookies)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | -", refreshed.String())
		newest, _ := a.Stytch.Session(s.ID)
		assert.Equal(t, "stytch_session="+s.Token+"; stytch_session_jwt="+newest.JWT, refreshed.Jar(cookies))
		assert.NotEqual(t, s.JWT, newest.JWT)
	})
}

func TestHandlerWrappedTwice(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for _, cookies := range []string{"", "sid=nobody", "sid=ada-1"} {
			a.Requests = nil
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Cookie", cookies)
			w := httptest.NewRecorder()
			a.Middleware.Handler(a.Middleware.Handler(http.NotFoundHandler())).ServeHTTP(w, r)
			assert.Len(t, a.Requests, 1)
			assert.Equal(t, cookies == "sid=ada-1", len(w.Header()["Set-Cookie"]) == 3)
		}
	})
}

// A request of which there is nothing to tell is passed on as it came, and not as
// a copy: what is at the edge of a site is asked for by more robots than users.
func TestPassedOnAsItCame(t *testing.T) {
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
		"retired, a legacy cookie":       {retired, "sid=nobody", false},
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
