package stytchmigrate_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"

	"example.com/stytchmigrate"
)

// Two brands in one process, each with a Stytch project of its own. A Middleware is for one
// project, so there are two, and the host of a request picks one.
func Example_severalProjects() {
	authByHost := map[string]*stytchmigrate.Middleware{}
	for _, host := range []string{"app.example.com", "app.example.org"} {
		auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
		defer stytch.Close()
		authByHost[host] = auth
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, _ := stytchmigrate.SessionFromContext(r.Context())
		fmt.Fprintln(w, r.Host, session != nil)
	})
	byHost := map[string]http.Handler{}
	for host, auth := range authByHost {
		byHost[host] = auth.Handler(page)
	}
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := byHost[r.Host]
		if !ok {
			http.Error(w, "unknown host", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})

	for _, host := range []string{"app.example.com", "app.example.org", "app.example.net"} {
		r := httptest.NewRequest("GET", "https://"+host+"/", nil)
		r.AddCookie(&http.Cookie{Name: "sid", Value: "f0e1d2c3b4a59687"})
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		fmt.Print(w.Body)
	}
	// Output:
	// app.example.com true
	// app.example.org true
	// unknown host
}

// Clients that are no browsers send the old token in a header, and keep no cookies. The
// middleware reads cookies alone, so the old code goes on to serve these clients. Give them
// a login of their own before the old sessions end.
func Example_apiClients() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	whose := func(r *http.Request) string {
		if user, ok := stytchmigrate.UserFromContext(r.Context()); ok {
			return "a browser: " + user.Emails[0].Email
		}
		if s, err := resolvePeople(r, r.Header.Get("X-Session")); err == nil { // the old code
			return "a client: " + s.Identity.Email
		}
		return "nobody"
	}
	app := auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, whose(r)) }))

	r := httptest.NewRequest("GET", "https://app.example.com/api", nil)
	r.Header.Set("X-Session", "f0e1d2c3b4a59687")
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	fmt.Print(w.Body, "calls: ", len(stytch.Calls()), ", cookies: ", len(w.Result().Cookies()), "\n")
	fmt.Print(browse(app, "/api", map[string]string{"sid": "f0e1d2c3b4a59687"}).Body)
	// Output:
	// a client: ada@example.com
	// calls: 0, cookies: 0
	// a browser: ada@example.com
}

// A health check must not depend on Stytch: an outage would take every machine out of the
// load balancer, and with them the users whom a JWT in memory still serves. Leave the path
// out by Config.Skip, or mount it outside of Handler as here. Call Check after a deployment
// and not in a probe: it makes calls.
func Example_healthChecks() {
	auth, stytch := newExample(stytchmigrate.LegacyCookie{Name: "sid", Resolve: resolvePeople})
	defer stytch.Close()
	app := http.NewServeMux()
	app.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	app.Handle("/", auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, stytchmigrate.OutcomeFromContext(r.Context()))
	})))

	fmt.Print(browse(app, "/healthz", map[string]string{"sid": "f0e1d2c3b4a59687"}).Body)
	fmt.Println("calls:", len(stytch.Calls()))
	fmt.Print(browse(app, "/", map[string]string{"sid": "f0e1d2c3b4a59687"}).Body)
	// Output:
	// ok
	// calls: 0
	// migrated
}

// The old application can't be changed, so the middleware stands in a proxy before it. Its
// logout gets a handler of its own: Logout, then the old logout page. End deletes the old
// session where the application keeps it, because the browser may no longer have the cookie
// by which the page would.
func ExampleMiddleware_Logout_reverseProxy() {
	rows := map[string]bool{"f0e1d2c3b4a59687": true} // the application's table of sessions
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "page of the old application")
	}))
	defer old.Close()

	auth, stytch := newExample(stytchmigrate.LegacyCookie{
		Name: "sid",
		Resolve: func(r *http.Request, value string) (stytchmigrate.LegacySession, error) {
			if !rows[value] {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			return resolvePeople(r, value)
		},
		End: func(_ context.Context, s stytchmigrate.LegacySession) error {
			delete(rows, string(s.ID))
			return nil
		},
	})
	defer stytch.Close()

	application, _ := url.Parse(old.URL)
	proxy := httputil.NewSingleHostReverseProxy(application)
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) {
		if err := auth.Logout(w, r); err != nil {
			slog.Warn("logout", "error", err)
		}
		proxy.ServeHTTP(w, r)
	})
	app := auth.Handler(mux)

	browser := map[string]string{"sid": "f0e1d2c3b4a59687"}
	browse(app, "/", browser)
	browse(app, "/", browser) // replaces the old cookie
	_, kept := browser["sid"]
	fmt.Println("old cookie:", kept, "old session:", len(rows))
	fmt.Println(browse(app, "/logout", browser).Body)
	fmt.Println(len(browser), "cookies, old session:", len(rows))
	// Output:
	// old cookie: false old session: 1
	// page of the old application
	// 0 cookies, old session: 0
}
