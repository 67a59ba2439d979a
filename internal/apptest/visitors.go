package apptest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// Visitor is one of many requests at once: its response, and what the handler
// saw.
type Visitor struct {
	*httptest.ResponseRecorder
	Ran     bool // the handler ran
	Outcome stytchmigrate.Outcome
	User    string // the user's id at Stytch, "" for no user
	Took    time.Duration
}

// ServeHTTP is the handler that the visitor gets to.
func (v *Visitor) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	v.Ran, v.Outcome = true, stytchmigrate.OutcomeFromContext(r.Context())
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		v.User = u.UserID
	}
}

func (v *Visitor) visit(m *stytchmigrate.Middleware, r *http.Request) {
	start := time.Now()
	m.Handler(v).ServeHTTP(v, r)
	v.Took = time.Since(start)
}

// Crowd sends n requests with one legacy cookie at once, and returns when all
// are done. change may change a request, and make it wait before it is sent.
func (a *App) Crowd(n int, change func(i int, r *http.Request) (*http.Request, time.Duration)) []*Visitor {
	return crowd(n, func(i int, v *Visitor) {
		r, pause := change(i, newGet("sid=ada-1"))
		time.Sleep(pause)
		v.visit(a.Middleware, r)
	})
}

// CrowdAcross sends n requests with one legacy cookie at once, to all machines
// in turn, and returns when all are done.
func CrowdAcross(machines []*stytchmigrate.Middleware, n int) []*Visitor {
	return crowd(n, func(i int, v *Visitor) { v.visit(machines[i%len(machines)], newGet("sid=ada-1")) })
}

func crowd(n int, send func(i int, v *Visitor)) []*Visitor {
	out := make([]*Visitor, n)
	var wg sync.WaitGroup
	for i := range out {
		out[i] = &Visitor{ResponseRecorder: httptest.NewRecorder()}
		wg.Go(func() { send(i, out[i]) })
	}
	wg.Wait()
	return out
}

// Browser keeps the cookies that it gets, and drops them when they expire.
type Browser struct {
	App     *App
	Cookies string    // the Cookie header that it sends next
	Until   time.Time // when the cookies expire
}

// Browsers signs in n users, each with a browser of their own.
func (a *App) Browsers(n int) []*Browser {
	out := make([]*Browser, n)
	for i := range out {
		u := a.Stytch.AddUser(stytchtest.Person(fmt.Sprintf("user%d@example.com", i)))
		cookies, session := a.SignedIn(u)
		out[i] = &Browser{App: a, Cookies: cookies, Until: session.ExpiresAt}
	}
	return out
}

// Visit sends a GET with the cookies of the browser, and keeps those of the
// reply.
func (b *Browser) Visit(change ...func(*http.Request)) *Reply {
	if !time.Now().Before(b.Until) {
		b.Cookies = ""
	}
	r := b.App.Get(b.Cookies, change...)
	b.Cookies = r.Jar(b.Cookies)
	for _, c := range r.Result().Cookies() {
		if c.Name == "stytch_session" {
			b.Until = time.Now().Add(time.Duration(c.MaxAge) * time.Second)
		}
	}
	return r
}

// KeepOnly drops all cookies but the one that begins with prefix. It drops
// nothing if prefix is "".
func (b *Browser) KeepOnly(prefix string) {
	for pair := range strings.SplitSeq(b.Cookies, "; ") {
		if prefix != "" && strings.HasPrefix(pair, prefix) {
			b.Cookies = pair
		}
	}
}
