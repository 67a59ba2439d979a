package cookies_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/stytchmigrate/internal/cookies"
)

// defaults are the options of an application that sets none.
func defaults() cookies.Options {
	return cookies.Options{SessionName: "token", JWTName: "jwt", Path: "/", SameSite: http.SameSiteLaxMode}
}

// options are the defaults with one change.
func options(change func(*cookies.Options)) cookies.Options {
	o := defaults()
	change(&o)
	return o
}

// sid is the legacy cookie of most tests. Its companion is csrf.
var sid = []cookies.Legacy{{Name: "sid", Also: []string{"csrf"}}}

// request asks for https://app.example.com/ with a Cookie header.
func request(cookieHeader string, changes ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
	r.Header.Set("Cookie", cookieHeader)
	for _, change := range changes {
		change(r)
	}
	return r
}

func method(name string) func(*http.Request) { return func(r *http.Request) { r.Method = name } }

// session is a Stytch session that lives for 30 days.
func session() *cookies.Tokens {
	return &cookies.Tokens{Session: "TOKEN", JWT: "JWT", Expires: time.Now().Add(30 * 24 * time.Hour)}
}

// swap is the change of a request whose legacy session moves to Stytch.
func swap() *cookies.Change { return &cookies.Change{Set: session(), Expire: []int{0}} }

// deaf is a handler that sets no session cookie.
var deaf = cookies.Handler{Shown: -1}

// commit returns the header of a response with that change, and the Cookie header that
// its handler got.
func commit(p *cookies.Policy, r *http.Request, ch *cookies.Change) (header http.Header, passedOn string) {
	pending, next := p.Prepare(r, ch, deaf)
	w := httptest.NewRecorder()
	pending.Commit(w)
	return w.Header(), next.Header.Get("Cookie")
}

// names tells what the lines of a response set (+) and expire (-), in order.
func names(h http.Header) string {
	var out []string
	for _, c := range (&http.Response{Header: h}).Cookies() {
		sign := "+"
		if c.MaxAge < 0 {
			sign = "-"
		}
		out = append(out, sign+c.Name)
	}
	return strings.Join(out, " ")
}

// inBubble runs a row in a time that stands still.
func inBubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}
