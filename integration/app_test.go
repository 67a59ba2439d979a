package integration

import (
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
	"strings"
	"testing"

	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// app is an old application whose sessions are gorilla's, behind the middleware
// on a server of its own, with a stand-in for Stytch on another.
type app struct {
	stytch *stytchtest.Server
	auth   *stytchmigrate.Middleware
	store  sessions.Store
	url    string
	log    strings.Builder // read when no request is under way
}

// user is a row of the old application's table.
type user struct {
	ID, Email     string
	EmailVerified bool
}

var errNoRow = fmt.Errorf("users: %w", sql.ErrNoRows)

func findUser(_ context.Context, id string) (user, error) {
	switch id {
	case "17":
		return user{"17", "ada@example.com", true}, nil
	case "18":
		return user{"18", "bob@example.com", true}, nil
	case "19":
		return user{"19", "ada@example.com", false}, nil // nobody verified that
	case "20":
		return user{}, errors.New("users: connection refused")
	}
	return user{}, errNoRow
}

// newApp serves the old application. Its cookie "sid" is set by store, and
// legacy is what the middleware is told of it.
func newApp(t *testing.T, store sessions.Store, legacy stytchmigrate.LegacyCookie) *app {
	t.Helper()
	a := &app{stytch: stytchtest.NewServer(t, stytchtest.Config{}), store: store}
	a.stytch.AddUser(stytchtest.Person("ada@example.com"))
	a.stytch.AddUser(stytchtest.Person("bob@example.com"))
	tickets, err := userinfo.NewTickets([]byte("32 bytes that sign the tickets.."), []byte("32 bytes that lock the tickets.."))
	require.NoError(t, err)
	a.auth, err = stytchmigrate.New(stytchmigrate.Config{
		ProjectID: a.stytch.ProjectID,
		Secret:    stytchmigrate.Secret(a.stytch.Secret),
		BaseURL:   a.stytch.URL,
		Tickets:   tickets,
		Cookies:   stytchmigrate.CookieOptions{Insecure: true}, // httptest.NewServer speaks plain HTTP
		Legacy:    []stytchmigrate.LegacyCookie{legacy},
		Logger:    slog.New(slog.NewTextHandler(&a.log, nil)),
	})
	require.NoError(t, err)

	mux := http.NewServeMux()
	mux.Handle("/userinfo", userinfo.Handler(tickets.Redeem))
	mux.HandleFunc("/login", a.login)
	mux.HandleFunc("/logout", a.logout)
	mux.HandleFunc("/", a.page)
	srv := httptest.NewServer(a.auth.Handler(mux))
	t.Cleanup(srv.Close)
	a.url = srv.URL
	a.stytch.SetUserInfoURL(a.url + "/userinfo")
	return a
}

// login is the old handler, with the one line that it needs now.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	if err := a.auth.Logout(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	session, _ := a.store.New(r, "sid") // an old one that can't be read is replaced
	session.ID, session.Values = "", map[any]any{"user": r.FormValue("user"), "id": "session of " + r.FormValue("user")}
	if r.FormValue("pending") != "" {
		session.Values["second factor"] = "pending"
	}
	if err := session.Save(r, w); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// logout is the old handler, with the one line that it needs now.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	session, _ := a.store.Get(r, "sid")
	session.Options.MaxAge = -1
	_ = session.Save(r, w) // a FilesystemStore has no file for a cookie that is gone
	if err := a.auth.Logout(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// page tells who is there, by Stytch or as it did before.
func (a *app) page(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		fmt.Fprint(w, " ", u.Emails[0].Email)
	} else if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
		fmt.Fprint(w, " user ", old.Identity.Subject)
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

// copy is another browser with the same cookies, as a thief has them.
func (b *browser) copy() *browser {
	other := b.a.newBrowser(b.t)
	u, err := url.Parse(b.a.url)
	require.NoError(b.t, err)
	other.client.Jar.SetCookies(u, b.cookies())
	return other
}
