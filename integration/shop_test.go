package integration

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// shop is an application whose sessions hold more than a user: a cart, and the token of
// its forms. Visitors have a session too.
type shop struct {
	*testing.T
	stytch    *stytchtest.Server
	auth      *stytchmigrate.Middleware
	sessions  shopSessions
	tickets   *userinfo.Tickets
	handler   http.Handler
	oldSignIn bool // the old sign-in is in the code
}

// shopSessions is how a shop keeps its sessions.
type shopSessions interface {
	wrap(http.Handler) http.Handler
	get(r *http.Request, key string) string
	put(r *http.Request, key, value string)
	renew(r *http.Request) // gives the session another id
	destroy(r *http.Request)
	legacy() stytchmigrate.LegacyCookie
}

// newShop has n users at Stytch.
func newShop(t *testing.T, n int, sessions shopSessions) *shop {
	s := &shop{T: t, stytch: stytchtest.NewServer(t, stytchtest.Config{InProcess: true}), sessions: sessions, tickets: newTickets(), oldSignIn: true}
	s.stytch.SetUserInfo((&site{tickets: s.tickets}).tellStytch)
	for i := range n {
		u := stytchtest.Person(fmt.Sprintf("user%d@example.com", i))
		u.ExternalID = fmt.Sprint("user-", i)
		s.stytch.AddUser(u)
	}
	s.deploy(sessions.legacy())
	return s
}

// deploy starts the application. Without legacy cookies the migration is over.
func (s *shop) deploy(legacy ...stytchmigrate.LegacyCookie) {
	was := stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}
	if s.auth != nil {
		was = s.auth.Rollout()
	}
	var err error
	s.auth, err = stytchmigrate.New(stytchmigrate.Config{
		ProjectID: s.stytch.ProjectID, Secret: stytchmigrate.Secret(s.stytch.Secret), BaseURL: s.stytch.URL, HTTPClient: s.stytch.Client(),
		Legacy: legacy, Tickets: s.tickets, Rollout: was, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(s, err)
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", s.page)
	pages.HandleFunc("POST /add", s.form(s.add))
	pages.HandleFunc("POST /login", s.form(s.login))
	pages.HandleFunc("POST /signin", s.form(s.signIn))
	pages.HandleFunc("POST /logout", s.form(s.logout))
	s.handler = s.auth.Handler(s.sessions.wrap(pages))
}

// user is whom the page is for: by Stytch, or by the old session.
func (s *shop) user(r *http.Request) string {
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		return u.ExternalID
	}
	if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
		return old.Identity.Subject
	}
	return ""
}

// page says who is there and what is in the cart, and has a form with a token.
func (s *shop) page(w http.ResponseWriter, r *http.Request) {
	if s.sessions.get(r, "csrf") == "" {
		s.sessions.put(r, "csrf", rand.Text())
	}
	fmt.Fprintf(w, "%s|%s|%s", s.user(r), s.sessions.get(r, "cart"), s.sessions.get(r, "csrf"))
}

// form refuses a form whose token is not the session's.
func (s *shop) form(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if token := s.sessions.get(r, "csrf"); token == "" || token != r.PostFormValue("csrf") {
			http.Error(w, "the form is not of this session", http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

func (s *shop) add(w http.ResponseWriter, r *http.Request) {
	s.sessions.put(r, "cart", strings.TrimSpace(s.sessions.get(r, "cart")+" "+r.PostFormValue("item")))
	fmt.Fprint(w, s.user(r))
}

// login is the old sign-in.
func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	if !s.oldSignIn {
		http.NotFound(w, r)
		return
	}
	require.NoError(s, s.auth.Logout(w, r))
	s.sessions.renew(r)
	s.sessions.put(r, "user", r.PostFormValue("user"))
	fmt.Fprint(w, "signed in")
}

// signIn is the last request of a sign-in by Stytch.
func (s *shop) signIn(w http.ResponseWriter, r *http.Request) {
	u, found := s.stytch.User(r.PostFormValue("user"))
	require.True(s, found)
	session := s.stytch.NewSession(u.ID, 24*time.Hour)
	require.NoError(s, s.auth.SignIn(w, r, stytchmigrate.Secret(session.Token), stytchmigrate.Secret(session.JWT)))
	fmt.Fprint(w, "signed in")
}

func (s *shop) logout(w http.ResponseWriter, r *http.Request) {
	require.NoError(s, s.auth.Logout(w, r))
	s.sessions.destroy(r)
	fmt.Fprint(w, "signed out")
}

// shopper is a browser. It knows who it is signed in as, and what is in its cart.
type shopper struct {
	*shop
	jar        http.CookieJar
	name, user string
	cart, csrf string
}

func (s *shop) shopper(name string) *shopper {
	jar, _ := cookiejar.New(nil)
	return &shopper{shop: s, jar: jar, name: name}
}

// visits opens the page, which must be this user's. It returns the cart.
func (b *shopper) visits() {
	b.Helper()
	got := strings.Split(b.send(http.MethodGet, "/", nil), "|")
	require.Len(b, got, 3, "%s: %q", b.name, got)
	require.Equal(b, b.user, got[0], "%s: who is there", b.name)
	b.cart, b.csrf = got[1], got[2]
}

// posts sends a form of the page that was opened last.
func (b *shopper) posts(path string, fields ...string) string {
	b.Helper()
	form := url.Values{"csrf": {b.csrf}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send(http.MethodPost, path, form)
}

func (b *shopper) send(method, path string, form url.Values) string {
	b.Helper()
	at := estateURL.JoinPath(path)
	r := httptest.NewRequest(method, at.String(), strings.NewReader(form.Encode()))
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range b.jar.Cookies(at) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	b.jar.SetCookies(at, w.Result().Cookies())
	require.Equal(b, http.StatusOK, w.Code, "%s: %s %s: %s", b.name, method, path, w.Body)
	return w.Body.String()
}

// scsShop keeps its sessions by scs.
type scsShop struct{ *scs.SessionManager }

func newSCSShop() shopSessions {
	sm := newSCS(memstore.NewWithCleanupInterval(0))
	sm.Lifetime = 400 * 24 * time.Hour
	return scsShop{sm}
}

func (s scsShop) wrap(next http.Handler) http.Handler    { return s.LoadAndSave(next) }
func (s scsShop) get(r *http.Request, key string) string { return s.GetString(r.Context(), key) }
func (s scsShop) put(r *http.Request, key, value string) { s.Put(r.Context(), key, value) }
func (s scsShop) renew(r *http.Request)                  { _ = s.RenewToken(r.Context()) }
func (s scsShop) destroy(r *http.Request)                { _ = s.Destroy(r.Context()) }

func (s scsShop) legacy() stytchmigrate.LegacyCookie {
	return stytchmigrate.LegacyCookie{Name: s.Cookie.Name, Resolve: func(r *http.Request, token string) (stytchmigrate.LegacySession, error) {
		ctx, err := s.Load(notLoaded{r.Context()}, token)
		if err != nil {
			return stytchmigrate.LegacySession{}, err
		}
		return shopSession(token, s.GetString(ctx, "user"), s.Deadline(ctx).Add(-s.Lifetime))
	}}
}

// shopSession is the session of a user, or of a visitor.
func shopSession(id, user string, started time.Time) (stytchmigrate.LegacySession, error) {
	if user == "" {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{
		ID: stytchmigrate.Secret(id), StartedAt: started,
		Identity: userinfo.Identity{Subject: user, Email: strings.Replace(user, "-", "", 1) + "@example.com", EmailVerified: true},
	}, nil
}

// tableShop keeps its sessions in a table of its own. Its tests send one request at a time.
type tableShop struct{ rows map[string]map[string]string }

func newTableShop() shopSessions { return &tableShop{rows: map[string]map[string]string{}} }

// row is the session of a request, and where its cookie is set.
type row struct {
	w  http.ResponseWriter
	id string // "": none yet
}

type rowKey struct{}

func (s *tableShop) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &row{w: w}
		if c, err := r.Cookie("shop"); err == nil && s.rows[c.Value] != nil {
			x.id = c.Value
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), rowKey{}, x)))
	})
}

func (s *tableShop) row(r *http.Request) *row { return r.Context().Value(rowKey{}).(*row) }

func (s *tableShop) get(r *http.Request, key string) string { return s.rows[s.row(r).id][key] }

func (s *tableShop) put(r *http.Request, key, value string) {
	if s.row(r).id == "" {
		s.move(s.row(r), map[string]string{})
	}
	s.rows[s.row(r).id][key] = value
}

func (s *tableShop) renew(r *http.Request) {
	x := s.row(r)
	values := s.rows[x.id]
	delete(s.rows, x.id)
	s.move(x, values)
}

// move gives a session another id.
func (s *tableShop) move(x *row, values map[string]string) {
	x.id = rand.Text()
	s.rows[x.id] = values
	values["since"] = time.Now().Format(time.RFC3339Nano)
	http.SetCookie(x.w, &http.Cookie{Name: "shop", Value: x.id, Path: "/", HttpOnly: true})
}

func (s *tableShop) destroy(r *http.Request) {
	x := s.row(r)
	delete(s.rows, x.id)
	http.SetCookie(x.w, &http.Cookie{Name: "shop", Path: "/", MaxAge: -1})
}

func (s *tableShop) legacy() stytchmigrate.LegacyCookie {
	return stytchmigrate.LegacyCookie{Name: "shop", Resolve: func(_ *http.Request, id string) (stytchmigrate.LegacySession, error) {
		since, _ := time.Parse(time.RFC3339Nano, s.rows[id]["since"])
		return shopSession(id, s.rows[id]["user"], since)
	}}
}
