package frameworks

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

func newExample() (auth *stytchmigrate.Middleware, done func()) {
	stytch, err := stytchtest.Start(stytchtest.Config{InProcess: true})
	if err != nil {
		panic(err)
	}
	cfg := configOf(stytch)
	cfg.SessionClaims = func(s stytchmigrate.LegacySession) map[string]any {
		return map[string]any{"app_user_id": s.Identity.Subject}
	}
	if auth, err = stytchmigrate.New(cfg); err != nil {
		panic(err)
	}
	return auth, stytch.Close
}

func hello(r *http.Request) string {
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok && len(u.Emails) > 0 {
		return "Hello " + u.Emails[0].Email
	}
	return "Please sign in"
}

func goodbye(auth *stytchmigrate.Middleware, w http.ResponseWriter, r *http.Request) string {
	if err := auth.Logout(w, r); err != nil {
		return "Stytch may not know"
	}
	return "Goodbye"
}

func membersOnly(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "welcome back") }

// browse comes with an old session, comes again, logs out and comes once more. It
// prints what each page says, and which cookies it sets (+) and expires (-).
func browse(app http.Handler) {
	old := oldSession("ada")
	jar := map[string]string{old.Name: old.Value}
	for _, page := range []string{"GET /", "GET /", "POST /logout", "GET /"} {
		method, path, _ := strings.Cut(page, " ")
		r, w := httptest.NewRequest(method, path, nil), httptest.NewRecorder()
		for name, value := range jar {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		app.ServeHTTP(w, r)
		for _, c := range w.Result().Cookies() {
			if jar[c.Name] = c.Value; c.MaxAge < 0 {
				delete(jar, c.Name)
			}
		}
		fmt.Println(strings.TrimSpace(w.Body.String() + ": " + cookiesOf(w.Result().Header)))
	}
}

// otherMake is an application of another make, which knows its user by a header.
type otherMake struct{}

func (otherMake) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if user := r.Header.Get("X-User"); user != "" {
		fmt.Fprint(w, "Hello ", user)
	} else {
		fmt.Fprint(w, "Please sign in")
	}
	return w.Result(), nil
}
