package browser

import (
	"context"
	"crypto/rand"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const (
	oldCookie   = "sid"
	tokenCookie = "stytch_session"
	jwtCookie   = "stytch_session_jwt"
)

// What a page says.
const (
	nobody   = "anonymous"
	movedAda = "migrated ada@example.com"
	knownAda = "authenticated ada@example.com"
)

// app is an application behind the middleware, with a stand-in for Stytch. It
// answers to every host that the browser finds it by.
type app struct {
	stytch *stytchtest.Server
	auth   *stytchmigrate.Middleware
	pages  *http.ServeMux // behind the middleware; a test may add some
	url    string         // of 127.0.0.1

	mu     sync.Mutex // guards all below
	front  http.Handler
	visits []*visit
}

// visit is a request as it came, and what was answered.
type visit struct {
	host, method, path, dest string
	carried                  []string // name=value, in alphabetical order
	outcome                  stytchmigrate.Outcome
	user                     string         // email; empty: nobody by Stytch
	set                      []*http.Cookie // by whoever had to say something
	cacheControl             string
	answered                 time.Time // zero: not yet
}

type visitKey struct{}

// serve is newApp, or newSecureApp.
type serve func(*testing.T, ...func(*stytchmigrate.Config)) *app

// newApp serves an application over plain HTTP, where its cookies are Insecure.
func newApp(t *testing.T, change ...func(*stytchmigrate.Config)) *app {
	t.Helper()
	insecure := func(c *stytchmigrate.Config) { c.Cookies.Insecure = true }
	return wire(t, httptest.NewUnstartedServer(nil), (*httptest.Server).Start, append([]func(*stytchmigrate.Config){insecure}, change...))
}

// newSecureApp serves it over TLS and HTTP/2, by a certificate that the browser
// was told to trust.
func newSecureApp(t *testing.T, change ...func(*stytchmigrate.Config)) *app {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	srv.EnableHTTP2 = true
	return wire(t, srv, (*httptest.Server).StartTLS, change)
}

func wire(t *testing.T, srv *httptest.Server, start func(*httptest.Server), change []func(*stytchmigrate.Config)) *app {
	t.Helper()
	a := &app{stytch: stytchtest.NewServer(t, stytchtest.Config{}), pages: http.NewServeMux()}
	a.stytch.AddUser(stytchtest.Person("ada@example.com"))
	a.use(t, change...)
	a.pages.HandleFunc("/", a.page)
	a.pages.HandleFunc("/logout", a.logout)
	a.pages.HandleFunc("/app/logout", a.logout) // where cookies of Path=/app come
	srv.Config.Handler = a
	start(srv)
	t.Cleanup(srv.Close)
	a.url = srv.URL
	return a
}

// use makes a middleware, in place of the one that there was.
func (a *app) use(t *testing.T, change ...func(*stytchmigrate.Config)) {
	t.Helper()
	cfg := a.config(t)
	for _, f := range change {
		f(&cfg)
	}
	var err error
	a.auth, err = stytchmigrate.New(cfg)
	require.NoError(t, err)
	outer := http.NewServeMux()
	outer.HandleFunc("/before", setLines) // of before the switch: no middleware
	outer.Handle("/", a.auth.Handler(a.tell(a.pages)))
	a.note(func() { a.front = outer })
}

func (a *app) config(t *testing.T) stytchmigrate.Config {
	t.Helper()
	tickets, err := userinfo.NewTickets([]byte("32 bytes that sign the tickets.."), []byte("32 bytes that lock the tickets.."))
	require.NoError(t, err)
	a.stytch.SetUserInfo(func(ctx context.Context, ticket string) (string, error) {
		id, err := tickets.Redeem(ctx, ticket)
		return id.Email, err
	})
	return stytchmigrate.Config{
		ProjectID: a.stytch.ProjectID, Secret: stytchmigrate.Secret(a.stytch.Secret), BaseURL: a.stytch.URL, Tickets: tickets,
		Legacy: []stytchmigrate.LegacyCookie{{Name: oldCookie, Resolve: resolve}},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// resolve takes an old cookie for Ada's if it says so.
func resolve(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	if !strings.HasPrefix(value, "ada.") {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{ID: stytchmigrate.Secret(value), Identity: userinfo.Identity{Subject: "17", Email: "ada@example.com", EmailVerified: true}}, nil
}

// oldValue is an old session of Ada's.
func oldValue() string { return "ada." + rand.Text() }

// newOld is the Set-Cookie line of a new old session.
func newOld(attributes string) string { return oldCookie + "=" + oldValue() + "; " + attributes }

// setLines is the old application: it sets what it is asked to.
func setLines(w http.ResponseWriter, r *http.Request) {
	for _, line := range r.URL.Query()["line"] {
		w.Header().Add("Set-Cookie", line)
	}
	if clear := r.URL.Query().Get("clear"); clear != "" {
		w.Header().Set("Clear-Site-Data", clear)
	}
	write(w, "before the switch", r.URL.Query().Get("body"))
}

// page tells who is there.
func (a *app) page(w http.ResponseWriter, r *http.Request) {
	write(w, r.Context().Value(visitKey{}).(*visit).who(), "")
}

func (v visit) who() string { return strings.TrimSpace(v.outcome.String() + " " + v.user) }

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.auth.Logout(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	write(w, "logged out", "")
}

func write(w http.ResponseWriter, who, body string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><title>app</title><link rel="icon" href="data:,"><h1>%s</h1>%s`, html.EscapeString(who), body)
}

// ServeHTTP notes what comes and what goes.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := url.URL{Host: r.Host}
	v := &visit{host: host.Hostname(), method: r.Method, path: r.URL.RequestURI(), dest: r.Header.Get("Sec-Fetch-Dest"), carried: carried(r.Cookies())}
	var front http.Handler
	a.note(func() { a.visits, front = append(a.visits, v), a.front })
	front.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitKey{}, v)))
	a.note(func() { // no answer is so long that it is on its way already
		v.answered, v.cacheControl = time.Now(), w.Header().Get("Cache-Control")
		v.set = (&http.Response{Header: w.Header()}).Cookies()
	})
}

func carried(cookies []*http.Cookie) (out []string) {
	for _, c := range cookies {
		out = append(out, c.Name+"="+c.Value)
	}
	slices.Sort(out)
	return out
}

// tell notes whom the handlers see.
func (a *app) tell(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, ctx := r.Context().Value(visitKey{}).(*visit), r.Context()
		u, _ := stytchmigrate.UserFromContext(ctx)
		a.note(func() {
			v.outcome = stytchmigrate.OutcomeFromContext(ctx)
			if u != nil {
				v.user = u.Emails[0].Email
			}
		})
		next.ServeHTTP(w, r)
	})
}

func (a *app) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// seen are copies of the requests so far whose path begins so.
func (a *app) seen(path string) (out []visit) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, v := range a.visits {
		if strings.HasPrefix(v.path, path) {
			out = append(out, *v)
		}
	}
	return out
}

// at is a page's address by the name of a host.
func (a *app) at(host, path string) string {
	u, err := url.Parse(a.url)
	if err != nil {
		panic(err)
	}
	u.Host = host + ":" + u.Port()
	return u.String() + path
}
