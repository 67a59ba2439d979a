package apptest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"example.com/stytchmigrate"
)

// newGet is a GET of the page with a Cookie header, "" for no header.
func newGet(cookies string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	return r
}

// Get sends a GET with a Cookie header, "" for no header.
func (a *App) Get(cookies string, change ...func(*http.Request)) *Reply {
	r := newGet(cookies)
	for _, f := range change {
		f(r)
	}
	return a.Do(r)
}

// GetChecked is Get, and holds the reply against RequireValidCookies.
func (a *App) GetChecked(t *testing.T, cookies string, change ...func(*http.Request)) *Reply {
	t.Helper()
	out := a.Get(cookies, change...)
	RequireValidCookies(t, "app.example.com", out.Result().Header)
	return out
}

// Do sends a request to the application, and forgets the calls that Stytch got
// before it.
func (a *App) Do(r *http.Request) *Reply {
	a.Stytch.ResetCalls()
	return a.serve(r, a.page)
}

// LogOut sends a GET whose handler calls Logout.
func (a *App) LogOut(cookies string) *Reply {
	a.Handler = func(w http.ResponseWriter, r *http.Request) { _ = a.Middleware.Logout(w, r) }
	defer func() { a.Handler = nil }()
	return a.Get(cookies)
}

// GetRequiringUser sends a GET to a page behind RequireUser.
func (a *App) GetRequiringUser(cookies string) *Reply {
	a.Stytch.ResetCalls()
	return a.serve(newGet(cookies), func(out *Reply) http.Handler {
		return a.Middleware.RequireUser(a.observer(out))
	})
}

// ParallelGet sends a GET that may run at the same time as others. Handler does
// not run, and the calls of all of them are counted together.
func (a *App) ParallelGet(cookies string) *Reply { return a.serve(newGet(cookies), a.observer) }

// ParallelGets sends n requests at once. It returns what each handler saw, and
// the cookies of its response.
func (a *App) ParallelGets(n int, cookies string) []string {
	a.Stytch.ResetCalls()
	out := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			got := a.ParallelGet(cookies)
			out[i] = got.Saw + " | " + strings.Join(got.Cookies(), " ")
		})
	}
	wg.Wait()
	return out
}

// serve sends r through the middleware to the page that tells its reply what it saw.
func (a *App) serve(r *http.Request, page func(*Reply) http.Handler) *Reply {
	out := &Reply{ResponseRecorder: httptest.NewRecorder(), Saw: "handler not run", app: a}
	a.Middleware.Handler(page(out)).ServeHTTP(out, r)
	return out
}

// page notes all that a handler can see, and runs Handler.
func (a *App) page(out *Reply) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out.Saw = a.Who(r.Context())
		a.LegacySeen, _ = stytchmigrate.LegacyFromContext(r.Context())
		a.CookiesSeen = append(a.CookiesSeen, r.Header.Get("Cookie"))
		if a.Handler != nil {
			a.Handler(w, r)
		}
	})
}

// observer writes to its own reply alone, so that it may run beside others.
func (a *App) observer(out *Reply) http.Handler {
	return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { out.Saw = a.Who(r.Context()) })
}

// Header sets a header of a request.
func Header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// Method sets the method of a request.
func Method(name string) func(*http.Request) { return func(r *http.Request) { r.Method = name } }

// FetchMetadata sets Sec-Fetch-Site, -Mode and -Dest of a request, as in
// "same-origin no-cors image".
func FetchMetadata(metadata string) func(*http.Request) {
	return func(r *http.Request) {
		for i, v := range strings.Fields(metadata) {
			r.Header.Set([]string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"}[i], v)
		}
	}
}
