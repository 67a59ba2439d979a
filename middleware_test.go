package stytchmigrate_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

const (
	swapped = "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | migrate"
	keep    = " | - | - | "
)

// The road: a legacy cookie goes in, a Stytch user comes out, and stays.
func TestRoad(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		first := a.get("theme=dark; sid=ada-1")
		assert.Equal(t, swapped, first.String())
		session := a.stytch.Sessions()[0]
		assert.Equal(t, "theme=dark; stytch_session="+session.Token+"; stytch_session_jwt="+session.JWT, a.passedOn[0])

		cookies := first.jar("theme=dark; sid=ada-1")
		assert.Equal(t, a.passedOn[0], cookies, "the handler sees what the browser will send")
		assert.Equal(t, "authenticated ada"+keep+"-", a.get(cookies).String(), "known from the exchange")

		time.Sleep(6 * time.Minute) // the JWT has expired
		refreshed := a.get(cookies)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate", refreshed.String())
		cookies = refreshed.jar(cookies)
		assert.Equal(t, "authenticated ada"+keep+"-", a.get(cookies).String())

		a.handler = func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.m.Logout(w, r)) }
		out := a.get(cookies)
		assert.Equal(t, "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | revoke", out.String())
		a.handler = nil
		assert.False(t, a.stytch.Sessions()[0].Live)
		assert.Equal(t, "refused | - | - | -", a.get("sid=ada-1").String(), "the old cookie does not bring the user back")
		assert.Equal(t, "refused | -stytch_session -stytch_session_jwt | no-store | -", a.get(cookies+"; sid=ada-1").String())
	})
}

// Each row is a request on an application that nobody has visited yet.
func TestDecision(t *testing.T) {
	for name, row := range map[string]struct {
		cookies string
		change  func(*http.Request)
		want    string
	}{
		"no cookie":                   {"", nil, "anonymous" + keep + "-"},
		"a legacy cookie":             {"sid=ada-1", nil, swapped},
		"a legacy cookie, no session": {"sid=nobody", nil, "anonymous" + keep + "-"},
		"cors preflight": {"sid=ada-1", func(r *http.Request) {
			r.Method = "OPTIONS"
			r.Header.Set("Access-Control-Request-Method", "PUT")
		}, "anonymous" + keep + "-"},
		"a token that is in no cookie": {"", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer ada-1")
			r.URL.RawQuery = "sid=ada-1&stytch_session=ada-1"
		}, "anonymous" + keep + "-"},
		"skipped": {"sid=ada-1", func(r *http.Request) { r.URL.Path = "/skip" }, "anonymous" + keep + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				var change []func(*http.Request)
				if row.change != nil {
					change = append(change, row.change)
				}
				assert.Equal(t, row.want, a.get(row.cookies, change...).String())
			}, func(c *stytchmigrate.Config) {
				c.Skip = func(r *http.Request) bool { return r.URL.Path == "/skip" }
			})
		})
	}
}

// A browser comes with a JWT that is good for a while: asking for the user gives
// a newer one. That must be what it gets when its own has expired.
func TestOlderJWTIsReplacedByTheNewest(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies, s := a.signedIn(a.ada)
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "authenticated ada"+keep+"authenticate", a.get(cookies).String())
		assert.Equal(t, "authenticated ada"+keep+"-", a.get(cookies).String(), "known")

		time.Sleep(3*time.Minute + 31*time.Second)
		refreshed := a.get(cookies)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt | no-store | -", refreshed.String())
		newest, _ := a.stytch.Session(s.ID)
		assert.Equal(t, "stytch_session="+s.Token+"; stytch_session_jwt="+newest.JWT, refreshed.jar(cookies))
		assert.NotEqual(t, s.JWT, newest.JWT)
	})
}

func TestHandlerWrappedTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		for _, cookies := range []string{"", "sid=nobody", "sid=ada-1"} {
			a.requests = nil
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Header.Set("Cookie", cookies)
			w := httptest.NewRecorder()
			a.m.Handler(a.m.Handler(http.NotFoundHandler())).ServeHTTP(w, r)
			assert.Len(t, a.requests, 1)
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
			inBubble(t, func(t *testing.T, a *app) {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("Cookie", row.cookies)
				var got *http.Request
				next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r })
				a.m.Handler(next).ServeHTTP(httptest.NewRecorder(), r)
				require.NotNil(t, got)
				assert.Equal(t, row.same, got == r)
			}, stage(row.stage), func(c *stytchmigrate.Config) { c.OnEvent = nil })
		})
	}
}
