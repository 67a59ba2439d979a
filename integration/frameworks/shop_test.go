package frameworks

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// shop is an application with old sessions behind the middleware, and a stand-in
// for Stytch. Frames serve its handlers, each in the style of its router.
type shop struct {
	t      *testing.T
	stytch *stytchtest.Server
	auth   *stytchmigrate.Middleware
	url    string // where browsers reach it
}

// newShop has no server yet.
func newShop(t *testing.T, change ...func(*stytchmigrate.Config)) *shop {
	t.Helper()
	s := &shop{t: t, stytch: stytchtest.NewServer(t, stytchtest.Config{})}
	cfg := configOf(s.stytch)
	for _, f := range change {
		f(&cfg)
	}
	var err error
	s.auth, err = stytchmigrate.New(cfg)
	require.NoError(t, err)
	return s
}

// configOf knows ada, bob, and eve, whose address nobody verified.
func configOf(stytch *stytchtest.Server) stytchmigrate.Config {
	for _, name := range []string{"ada", "bob", "eve"} {
		stytch.AddUser(stytchtest.Person(name + "@example.com"))
		stytch.Accept(name+"-token", name+"@example.com")
	}
	return stytchmigrate.Config{
		ProjectID: stytch.ProjectID, Secret: stytchmigrate.Secret(stytch.Secret),
		BaseURL: stytch.URL, HTTPClient: stytch.Client(),
		Cookies: stytchmigrate.CookieOptions{Insecure: true}, // httptest.NewServer speaks plain HTTP
		Legacy:  []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolve}},
		Logger:  slog.New(slog.DiscardHandler),
	}
}

// resolve reads an old session from its cookie: a name, when they signed in, and
// whatever else makes it long enough.
func resolve(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	parts := strings.Split(value, "_")
	if len(parts) < 3 {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	name := parts[0]
	startedAt, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{
		Token: stytchmigrate.Secret(name + "-token"), StartedAt: time.Unix(0, startedAt),
		Identity: userinfo.Identity{Subject: name, Email: name + "@example.com", EmailVerified: name != "eve"},
	}, nil
}

// oldSession is the cookie that the old login handler sets.
func oldSession(name string) *http.Cookie {
	return &http.Cookie{Name: "sid", Value: fmt.Sprintf("%s_%d_%s", name, time.Now().UnixNano(), rand.Text()), Path: "/"}
}

// who is what a handler finds in its request: the outcome, the user, and then the
// names of the cookies that it sees.
func who(r *http.Request) string { return person(r.Context()) + names(r) }

func person(ctx context.Context) string {
	out := stytchmigrate.OutcomeFromContext(ctx).String()
	if u, ok := stytchmigrate.UserFromContext(ctx); ok {
		name, _, _ := strings.Cut(u.Emails[0].Email, "@")
		return out + " " + name
	}
	if l, ok := stytchmigrate.LegacyFromContext(ctx); ok {
		return out + " old " + l.Identity.Subject
	}
	return out
}

func names(r *http.Request) (out string) {
	for _, c := range r.Cookies() {
		out += " " + c.Name
	}
	return out
}

var theme = &http.Cookie{Name: "theme", Value: "dark", Path: "/"} // of the application's own

func page(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, who(r)) }

func setTheme(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, theme)
	page(w, r)
}

func forbid(w http.ResponseWriter, _ *http.Request) { http.Error(w, "forbidden", http.StatusForbidden) }

func panics(http.ResponseWriter, *http.Request) { panic("of a handler") }

// login is the old login handler, with the one line that it needs now.
func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	if err := s.auth.Logout(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.SetCookie(w, oldSession(r.FormValue("user")))
	_, _ = io.WriteString(w, "hello")
}

// logout is the old logout handler, with the one line that it needs now.
func (s *shop) logout(w http.ResponseWriter, r *http.Request) {
	if err := s.auth.Logout(w, r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "bye")
}

// members are for those who have moved.
func (s *shop) members() http.Handler { return s.auth.RequireUser(http.HandlerFunc(page)) }

// newServer says nothing of handlers that panic.
func newServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	t.Cleanup(srv.Close)
	return srv
}

// calls are those that Stytch got since the last time, but for its keys.
func (s *shop) calls() string {
	var out []string
	for _, c := range s.stytch.Calls() {
		if c.Op != stytchtest.JWKS {
			out = append(out, string(c.Op))
		}
	}
	s.stytch.ResetCalls()
	slices.Sort(out)
	return strings.Join(out, " ")
}
