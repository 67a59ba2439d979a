package soak

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"example.com/stytchmigrate"
)

// visit is a request and what came of it.
type visit struct {
	by      *browser
	path    string   // "page", "logout", "login" (calls Logout first), "plain login"
	owner   string   // whose the cookies are; empty: nobody's
	past    []string // see browser
	cookies []*http.Cookie
	machine int
	newSID  string // of a sign-in
	ended   *visit // the logout of the cookies, which was before; nil: they are good

	sent, decided, done time.Time     // decided: the handler was called
	waited, ending      time.Duration // until the handler was called, and in Logout; by a clock that stands still while this machine does
	rec                 *httptest.ResponseRecorder
	outcome             stytchmigrate.Outcome
	user                *stytchmigrate.User
	session             *stytchmigrate.Session
	legacy              *stytchmigrate.LegacySession
	err                 error // of Logout
}

func (v *visit) String() string {
	var sent, set []string
	for _, c := range v.cookies {
		sent = append(sent, c.Name)
	}
	for _, c := range v.rec.Result().Cookies() {
		set = append(set, fmt.Sprintf("%s(%d)", c.Name, c.MaxAge))
	}
	return fmt.Sprintf("%s of %q with %v at machine %d: %v %v after %v (logged out %t, err %v)",
		v.path, v.owner, sent, v.machine, v.outcome, set, v.decided.Sub(v.sent), v.ended != nil, v.err)
}

// send delivers a request, and checks what came of it.
func (s *soak) send(v *visit) {
	method := http.MethodGet
	if v.path != "page" {
		method = http.MethodPost
	}
	r := httptest.NewRequestWithContext(context.Background(), method, origin.String(), nil)
	for _, c := range v.cookies {
		r.AddCookie(c)
	}
	m := s.machines[v.machine]
	v.rec, v.sent = httptest.NewRecorder(), time.Now()
	began := s.kept.Load()
	m.auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.waited = time.Duration(s.kept.Load() - began)
		v.serve(m.auth, w, r)
		v.ending = time.Duration(s.kept.Load()-began) - v.waited
	})).ServeHTTP(v.rec, r)
	v.done = time.Now()
	s.check(v)
}

// serve is the old application behind the middleware.
func (v *visit) serve(auth *stytchmigrate.Middleware, w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	v.decided = time.Now()
	v.outcome = stytchmigrate.OutcomeFromContext(ctx)
	v.user, _ = stytchmigrate.UserFromContext(ctx)
	v.session, _ = stytchmigrate.SessionFromContext(ctx)
	if l, ok := stytchmigrate.LegacyFromContext(ctx); ok {
		v.legacy = &l
	}
	if v.path == "logout" || v.path == "login" {
		v.err = auth.Logout(w, r)
	}
	if v.newSID != "" {
		v.newSID += fmt.Sprint(".", time.Now().UnixNano()) // when they signed in
		http.SetCookie(w, &http.Cookie{Name: oldCookie, Value: v.newSID, Path: "/", Secure: true})
	}
}

// has says whether a cookie was sent.
func (v *visit) has(name string) bool {
	for _, c := range v.cookies {
		if c.Name == name {
			return true
		}
	}
	return false
}

// without leaves a cookie out.
func (v *visit) without(name string) *visit {
	var rest []*http.Cookie
	for _, c := range v.cookies {
		if c.Name != name {
			rest = append(rest, c)
		}
	}
	v.cookies = rest
	return v
}

func isStytch(name string) bool { return strings.HasPrefix(name, tokenCookie) }
