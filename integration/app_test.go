package integration

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// oldApp is how an application kept its sessions before: what the handlers of
// app need of it. Each kind has a file of its own, and is in the table kinds.
type oldApp struct {
	cookie stytchmigrate.LegacyCookie // named "sid"
	login  func(w http.ResponseWriter, r *http.Request, s signIn) error
	logout func(w http.ResponseWriter, r *http.Request) error
	user   func(r *http.Request) string    // whom it takes a request for
	outage func() (over func())            // of what Resolve asks
	wrap   func(http.Handler) http.Handler // a middleware of its own; nil: none

	outside bool // wrap goes around ours, not into it

	userInfo    http.Handler // of its own; nil: by Tickets
	userInfoURL string       // somebody else's, in place of either
	blind       bool         // Resolve gives a Token and no Identity

	afterLogout string // what a copy of the cookie that was made before a logout gets after it
}

// signIn is what the old login handler found out.
type signIn struct {
	user                  string // id
	pending, impersonated bool   // the second factor is; somebody of the support team signed in
}

// app is such an application behind the middleware on a server of its own, with
// a stand-in for Stytch on another.
type app struct {
	oldApp
	stytch *stytchtest.Server
	auth   *stytchmigrate.Middleware
	url    string
	log    strings.Builder // read when no request is under way
}

// user is a row of the old application's table.
type user struct {
	ID, Email     string
	EmailVerified bool
}

// everybody is who the old application knows.
var everybody = []user{
	{"17", "ada@example.com", true},
	{"18", "bob@example.com", true},
	{"19", "ada@example.com", false}, // nobody verified that
}

// table stands in for a table of a database.
type table struct{ down atomic.Bool }

func (t *table) Find(_ context.Context, id string) (user, error) {
	if t.down.Load() || id == "20" {
		return user{}, errors.New("users: connection refused")
	}
	if i := slices.IndexFunc(everybody, func(u user) bool { return u.ID == id }); i >= 0 {
		return everybody[i], nil
	}
	return user{}, fmt.Errorf("users: %w", sql.ErrNoRows)
}

// outage is an oldApp's.
func (t *table) outage() (over func()) {
	t.down.Store(true)
	return func() { t.down.Store(false) }
}

func newTickets() *userinfo.Tickets {
	tickets, err := userinfo.NewTickets([]byte("32 bytes that sign the tickets.."), []byte("32 bytes that lock the tickets.."))
	if err != nil {
		panic(err)
	}
	return tickets
}

// newApp serves an old application, with what is changed of the middleware's Config.
func newApp(t *testing.T, old oldApp, changes ...func(*stytchmigrate.Config)) *app {
	t.Helper()
	a := &app{stytch: stytchtest.NewServer(t, stytchtest.Config{}), oldApp: old}
	a.stytch.AddUser(stytchtest.Person("ada@example.com"))
	a.stytch.AddUser(stytchtest.Person("bob@example.com"))
	cfg := stytchmigrate.Config{
		ProjectID: a.stytch.ProjectID,
		Secret:    stytchmigrate.Secret(a.stytch.Secret),
		BaseURL:   a.stytch.URL,
		Cookies:   stytchmigrate.CookieOptions{Insecure: true}, // httptest.NewServer speaks plain HTTP
		Legacy:    []stytchmigrate.LegacyCookie{old.cookie},
		Logger:    slog.New(slog.NewTextHandler(&a.log, nil)),
	}
	if a.userInfo == nil && a.userInfoURL == "" {
		cfg.Tickets = newTickets()
		a.userInfo = userinfo.Handler(cfg.Tickets.Redeem)
	}
	for _, change := range changes {
		change(&cfg)
	}
	var err error
	a.auth, err = stytchmigrate.New(cfg)
	require.NoError(t, err)
	a.serve(t)
	return a
}

func (a *app) serve(t *testing.T) {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/login", a.signIn)
	mux.HandleFunc("/logout", a.signOut)
	mux.HandleFunc("/", a.page)
	outer := http.NewServeMux()
	if a.userInfo != nil {
		outer.Handle("/userinfo", a.userInfo)
	}
	outer.Handle("/", a.stacked(mux))
	srv := httptest.NewServer(outer)
	t.Cleanup(srv.Close)
	a.url = srv.URL
	a.stytch.SetUserInfoURL(cmp.Or(a.userInfoURL, a.url+"/userinfo"))
}

// stacked is the middleware, and the one that the old application has.
func (a *app) stacked(h http.Handler) http.Handler {
	switch {
	case a.wrap == nil:
		return a.auth.Handler(h)
	case a.outside:
		return a.wrap(a.auth.Handler(h))
	}
	return a.auth.Handler(a.wrap(h))
}

// signIn is the old login handler, with the one line that it needs now.
func (a *app) signIn(w http.ResponseWriter, r *http.Request) {
	err := a.auth.Logout(w, r)
	if err == nil {
		err = a.login(w, r, signIn{r.FormValue("user"), r.FormValue("pending") != "", r.FormValue("impersonated") != ""})
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// signOut is the old logout handler, with the one line that it needs now.
func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	if err := errors.Join(a.logout(w, r), a.auth.Logout(w, r)); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// page tells who is there, by Stytch or as it did before.
func (a *app) page(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		fmt.Fprint(w, " ", u.Emails[0].Email)
	} else if _, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
		fmt.Fprint(w, " user ", a.user(r))
	}
}

// browser is a client with a cookie jar.
type browser struct {
	t      *testing.T
	a      *app
	client *http.Client
}

func (a *app) newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t: t, a: a, client: &http.Client{Jar: jar}}
}

// get returns the body, then the names of the cookies that the browser has.
func (b *browser) get(path string) string {
	b.t.Helper()
	resp, err := b.client.Get(b.a.url + path)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	out := string(body) + " |"
	for _, c := range b.cookies() {
		out += " " + c.Name
	}
	return out
}

func (b *browser) cookies() []*http.Cookie {
	u, err := url.Parse(b.a.url)
	require.NoError(b.t, err)
	return b.client.Jar.Cookies(u)
}

func (b *browser) set(name, value string) {
	u, err := url.Parse(b.a.url)
	require.NoError(b.t, err)
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: name, Value: value, Path: "/"}})
}

// copy is another browser with the same cookies, as a thief has them.
func (b *browser) copy() *browser {
	other := b.a.newBrowser(b.t)
	u, err := url.Parse(b.a.url)
	require.NoError(b.t, err)
	other.client.Jar.SetCookies(u, b.cookies())
	return other
}
