package stytchmigrate_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// Each row is what nearly all requests carry, and how many allocations the
// middleware adds: the context and the copy of the request that has it.
func TestAllocations(t *testing.T) { // not in parallel: it counts those of the process
	a := newApp(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) { c.OnEvent = nil })
	cookies, _ := a.signedIn(a.ada)
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
		h := a.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, found = stytchmigrate.UserFromContext(r.Context())
		}))
		h.ServeHTTP(w, r)
		assert.Equal(t, row.want, testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) }), name)
		assert.Equal(t, row.want > 0, found, name)
	}
}

// A middleware inside another one, of another project, finds for itself.
func TestNestedMiddlewares(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies, _ := a.signedIn(a.ada)
		inner := newApp(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) {
			c.OnEvent, c.Cookies.SessionName, c.Cookies.JWTName = nil, "other_session", "other_jwt"
		})
		a.handler = func(w http.ResponseWriter, r *http.Request) {
			inner.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				assert.Equal(t, "anonymous", a.who(r.Context()), "the inner one found nobody")
			})).ServeHTTP(w, r)
		}
		assert.Equal(t, "authenticated ada", a.get(cookies).saw)
		assert.Equal(t, "authenticated ada", a.get(cookies).saw, "known")
	})
}
