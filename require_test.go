package stytchmigrate_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

func sorted(s []string) []string { slices.Sort(s); return s }

// Each row is a request for a page that needs a user.
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
				got := a.Ask(t, row.cookies)
				assert.Equal(t, row.status, got.Code)
				assert.Equal(t, row.authenticate, got.Header().Get("WWW-Authenticate"))
				assert.Equal(t, row.retry, got.Header().Get("Retry-After"))
				assert.Equal(t, "no-store", got.Header().Get("Cache-Control"))
				assert.Equal(t, row.status == 200, len(got.Cookies()) > 0)
			})
		})
	}
}

func TestDeny(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = a.Middleware.RequireUser(http.NotFoundHandler()).ServeHTTP
		got := a.Ask(t, "")
		assert.Equal(t, http.StatusTeapot, got.Code)
		assert.Empty(t, got.Header(), "the answer is the application's alone")
	}, func(c *stytchmigrate.Config) {
		c.Deny = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, stytchmigrate.OutcomeAnonymous, stytchmigrate.OutcomeFromContext(r.Context()))
			w.WriteHeader(http.StatusTeapot)
		})
	})
}

// NewContext is how tests of handlers sign somebody in.
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
