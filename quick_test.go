package stytchmigrate_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// Each row is what nearly all requests carry, and how many allocations the
// middleware adds: the context and the copy of the request that has it.
func TestAllocations(t *testing.T) { // not in parallel: it counts those of the process
	a := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) { c.OnEvent = nil })
	cookies, _ := a.SignedIn(a.Ada)
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

// Each row is what a request carries in stage Keep, and how many allocations it
// adds that somebody hears of it. Where no cookie matters those are the context and
// the copy of the request, by which a Handler within knows that it was told.
func TestAllocationsOfAnEvent(t *testing.T) { // not in parallel: it counts those of the process
	quiet := apptest.New(t, stytchtest.Config{InProcess: true}, apptest.Stage(stytchmigrate.StageKeep), func(c *stytchmigrate.Config) { c.OnEvent = nil })
	heard := apptest.New(t, stytchtest.Config{InProcess: true}, apptest.Stage(stytchmigrate.StageKeep), func(c *stytchmigrate.Config) {
		c.OnEvent = func(context.Context, stytchmigrate.Event) {}
	})
	for name, row := range map[string]struct {
		cookies func(a *apptest.App) string
		want    float64
	}{
		"no cookie":                           {func(*apptest.App) string { return "" }, 2},
		"a known session":                     {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c }, 0},
		"a known session, and the old cookie": {func(a *apptest.App) string { c, _ := a.SignedIn(a.Ada); return c + "; sid=ada-1" }, 0},
	} {
		assert.Equal(t, row.want, allocations(heard, row.cookies(heard))-allocations(quiet, row.cookies(quiet)), name)
	}
}

// allocations are those of a request that is like the one before. Whatever else the
// process does can only add to them.
func allocations(a *apptest.App, cookies string) float64 {
	h := a.Middleware.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	r, w := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil), httptest.NewRecorder()
	r.Header.Set("Cookie", cookies)
	h.ServeHTTP(w, r)
	count := func() float64 { return testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }) }
	return min(count(), count(), count())
}

// A middleware inside another one, of another project, finds for itself.
func TestNestedMiddlewares(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		inner := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
			c.OnEvent, c.Cookies.SessionName, c.Cookies.JWTName = nil, "other_session", "other_jwt"
		})
		a.Handler = func(w http.ResponseWriter, r *http.Request) {
			inner.Middleware.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "anonymous", a.Who(r.Context()), "the inner one found nobody")
			})).ServeHTTP(w, r)
		}
		assert.Equal(t, "authenticated ada", a.Get(cookies).Saw)
		assert.Equal(t, "authenticated ada", a.Get(cookies).Saw, "known")
	})
}

// What is served at a glance takes no time, and says so.
func TestDurationOfAGlance(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
		a.Requests = nil
		a.Get(cookies)
		a.Get("")
		require.Len(t, a.Requests, 2)
		for _, e := range a.Requests {
			assert.Zero(t, e.Duration, e.Outcome)
		}
	})
}
