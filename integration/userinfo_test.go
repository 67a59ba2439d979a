package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// Three kinds of application, by what Stytch is given for a legacy session: a
// ticket, the session's own opaque id, or the access token of a provider.

const (
	moved = "migrated ada@example.com | sid stytch_session stytch_session_jwt"
	kept  = "unavailable user 17 | sid"

	ours   = "project-test-11111111-1111-4111-8111-111111111111"
	theirs = "project-test-22222222-2222-4222-8222-222222222222"
)

var (
	adaIs          = userinfo.Identity{Subject: "17", Email: "ada@example.com", EmailVerified: true}
	errDown        = errors.New("table: connection refused")
	signs, locks   = []byte("32 bytes that sign, for the test"), []byte("32 bytes that lock, for the test")
	signs2, locks2 = []byte("32 others that sign for the test"), []byte("32 others that lock for the test")
)

// lookup finds whose a token is, as userinfo.Handler wants it.
type lookup func(ctx context.Context, token string) (userinfo.Identity, error)

// tokenApp is an application whose machines are started one by one: each has
// forgotten what Stytch said to another.
type tokenApp struct {
	stytch *stytchtest.Server
	cfg    stytchmigrate.Config
	mux    *http.ServeMux
	url    string // of the latest machine

	mu     sync.Mutex
	lookup lookup // of the endpoint; guarded by mu
}

func newTokenApp(t *testing.T, resolve func(*http.Request, string) (stytchmigrate.LegacySession, error)) *tokenApp {
	t.Helper()
	a := &tokenApp{stytch: stytchtest.NewServer(t, stytchtest.Config{ProjectID: ours}), mux: http.NewServeMux()}
	a.stytch.AddUser(stytchtest.Person("ada@example.com"))
	a.cfg = stytchmigrate.Config{
		ProjectID: a.stytch.ProjectID, Secret: stytchmigrate.Secret(a.stytch.Secret), BaseURL: a.stytch.URL,
		Cookies: stytchmigrate.CookieOptions{Insecure: true}, Logger: slog.New(slog.DiscardHandler),
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolve}},
	}
	a.mux.HandleFunc("/", tellWho)
	return a
}

// machine starts a machine, which the browsers talk to from now on.
func (a *tokenApp) machine(t *testing.T) {
	t.Helper()
	auth, err := stytchmigrate.New(a.cfg)
	require.NoError(t, err)
	srv := httptest.NewServer(auth.Handler(a.mux))
	t.Cleanup(srv.Close)
	a.url = srv.URL
}

// endpoint mounts the UserInfo endpoint, and tells Stytch where it is.
func (a *tokenApp) endpoint(t *testing.T, l lookup) {
	t.Helper()
	a.set(l)
	a.mux.Handle("/userinfo", userinfo.Handler(func(ctx context.Context, token string) (userinfo.Identity, error) {
		a.mu.Lock()
		l := a.lookup
		a.mu.Unlock()
		return l(ctx, token)
	}))
	a.machine(t)
	a.stytch.SetUserInfoURL(a.url + "/userinfo")
}

func (a *tokenApp) set(l lookup) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lookup = l
}

// tellWho is the only page.
func tellWho(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		fmt.Fprint(w, " ", u.Emails[0].Email)
	} else if old, ok := stytchmigrate.LegacyFromContext(r.Context()); ok {
		fmt.Fprint(w, " user ", old.Identity.Subject)
	}
}

// visitor is a browser with an old cookie, to begin with.
type visitor struct {
	a      *tokenApp
	client *http.Client
}

func (a *tokenApp) signedIn(t *testing.T, sid string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	u, err := url.Parse(a.url)
	require.NoError(t, err)
	jar.SetCookies(u, []*http.Cookie{{Name: "sid", Value: sid, Path: "/"}})
	return &visitor{a, &http.Client{Jar: jar}}
}

// look returns the page, then the names of the cookies that the browser has. A
// goroutine that is not the test's may call it.
func (v *visitor) look() string {
	resp, err := v.client.Get(v.a.url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	out := string(body) + " |"
	for _, c := range v.client.Jar.Cookies(resp.Request.URL) {
		out += " " + c.Name
	}
	return out
}

func (a *tokenApp) migrates() int { return a.stytch.Count(stytchtest.Migrate) }

func ticketsOf(t *testing.T, keyPairs ...[]byte) *userinfo.Tickets {
	t.Helper()
	tickets, err := userinfo.NewTickets(keyPairs...)
	require.NoError(t, err)
	return tickets
}

// ticketOf is a ticket of Ada's for a project.
func ticketOf(t *testing.T, tickets *userinfo.Tickets, project string) string {
	t.Helper()
	ticket, err := tickets.Minter(project)(adaIs)
	require.NoError(t, err)
	return ticket
}

// An application without tokens: they are minted, and redeemed by any machine with
// the keys. Where the endpoint refuses them the user stays as before, and moves
// once that is mended.
func TestApplicationWithTickets(t *testing.T) {
	var expired string
	synctest.Test(t, func(t *testing.T) { // in a bubble it is the year 2000
		expired = ticketOf(t, ticketsOf(t, signs, locks), ours)
	})
	elsewhere := ticketsOf(t, signs, locks)
	elsewhere.Minter(theirs)
	for name, row := range map[string]struct {
		token    string // in place of a ticket that is minted
		endpoint lookup // nil: another machine with the same keys
		want     string
	}{
		"a good session":                 {"", nil, moved},
		"an endpoint with other keys":    {"", ticketsOf(t, signs2, locks2).Redeem, kept},
		"an endpoint of another project": {"", elsewhere.Redeem, kept},
		"an endpoint without Tickets":    {"", new(userinfo.Tickets).Redeem, kept},
		"a ticket of other keys":         {ticketOf(t, ticketsOf(t, signs2, locks2), ours), nil, kept},
		"a ticket of another project":    {ticketOf(t, ticketsOf(t, signs, locks), theirs), nil, kept},
		"a ticket that has expired":      {expired, nil, kept},
		"no ticket":                      {"made up", nil, kept},
	} {
		t.Run(name, func(t *testing.T) {
			token := stytchmigrate.Secret(row.token) // the test writes it between requests only
			a := newTokenApp(t, func(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
				return stytchmigrate.LegacySession{ID: stytchmigrate.Secret(value), Token: token, Identity: adaIs}, nil
			})
			a.cfg.Tickets = ticketsOf(t, signs, locks)
			there := ticketsOf(t, signs, locks)
			there.Minter(ours)
			a.endpoint(t, there.Redeem)
			if row.endpoint != nil {
				a.set(row.endpoint)
			}
			b := a.signedIn(t, "f0e1d2c3b4a59687")
			assert.Equal(t, row.want, b.look())
			assert.Equal(t, 1, a.migrates())
			if row.want == moved {
				return
			}
			token = ""
			a.set(there.Redeem)
			a.machine(t)
			assert.Equal(t, moved, b.look(), "mended")
		})
	}
}

// sessionTable is where an application keeps its sessions, under opaque ids.
type sessionTable struct {
	mu       sync.Mutex
	sessions map[string]userinfo.Identity // guarded by mu
}

func newSessionTable(ids ...string) *sessionTable {
	s := &sessionTable{sessions: map[string]userinfo.Identity{}}
	for _, id := range ids {
		s.sessions[id] = adaIs
	}
	return s
}

func (s *sessionTable) find(_ context.Context, id string) (userinfo.Identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	who, found := s.sessions[id]
	if !found {
		return userinfo.Identity{}, userinfo.ErrInvalidToken
	}
	return who, nil
}

// resolve says what the table does, of a session whose id is its token.
func (s *sessionTable) resolve(r *http.Request, id string) (stytchmigrate.LegacySession, error) {
	who, err := s.find(r.Context(), id)
	if err != nil {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{ID: stytchmigrate.Secret(id), Token: stytchmigrate.Secret(id), Identity: who}, nil
}

// An application with opaque ids in a table: the id is the token, and the endpoint
// looks it up. The pages read a replica of the table, which may lag behind.
func TestApplicationWithOpaqueIDs(t *testing.T) {
	const id = "3q2-7wAAAAGf0e1d2c3b4a5"
	down := func(context.Context, string) (userinfo.Identity, error) { return userinfo.Identity{}, errDown }
	for name, row := range map[string]struct {
		sid        string
		replica    *sessionTable
		endpoint   lookup
		want       string
		calls      int
		mended     lookup
		wantMended string
	}{
		"a good session": {id, newSessionTable(id), newSessionTable(id).find, moved, 1, nil, ""},
		"an id that nobody has": {"guessed", newSessionTable(id), newSessionTable(id).find, "anonymous | sid", 0,
			newSessionTable(id).find, "anonymous | sid"},
		"one that was revoked": {id, newSessionTable(), newSessionTable().find, "anonymous | sid", 0, newSessionTable().find, "anonymous | sid"},
		"one that was revoked a moment ago": {id, newSessionTable(id), newSessionTable().find, kept, 1,
			newSessionTable().find, kept},
		"one of another application's table": {id, newSessionTable(id), newSessionTable("theirs").find, kept, 1,
			newSessionTable(id).find, moved},
		"a table that is down": {id, newSessionTable(id), down, kept, 1, newSessionTable(id).find, moved},
	} {
		t.Run(name, func(t *testing.T) {
			a := newTokenApp(t, row.replica.resolve)
			a.endpoint(t, row.endpoint)
			b := a.signedIn(t, row.sid)
			assert.Equal(t, row.want, b.look())
			assert.Equal(t, row.calls, a.migrates())
			if row.mended == nil {
				assert.Equal(t, id, a.stytch.Calls()[0].SessionToken)
				return
			}
			a.set(row.mended)
			a.machine(t)
			assert.Equal(t, row.wantMended, b.look(), "mended")
		})
	}
}

// The endpoint answers while every place for a call to Stytch is taken by an
// exchange that waits for just that answer, though it is served by the same server
// and behind the same middleware.
func TestUserInfoWhileEveryPlaceIsTaken(t *testing.T) {
	const places = 32
	a := newTokenApp(t, func(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
		return stytchmigrate.LegacySession{ID: stytchmigrate.Secret(value), Identity: adaIs}, nil
	})
	a.cfg.Tickets = ticketsOf(t, signs, locks)
	asked, all := make(chan struct{}, places), make(chan struct{})
	a.endpoint(t, func(ctx context.Context, token string) (userinfo.Identity, error) {
		select {
		case asked <- struct{}{}:
			select {
			case <-all:
			case <-ctx.Done():
			}
		case <-ctx.Done(): // more than there are places for
		}
		return a.cfg.Tickets.Redeem(ctx, token)
	})
	got := make(chan string, places)
	for i := range places {
		b := a.signedIn(t, "session-"+strconv.Itoa(i))
		go func() { got <- b.look() }()
	}
	for range places {
		select {
		case <-asked: // by Stytch, so the exchange has a place
		case page := <-got:
			require.Fail(t, "an exchange is over before all were asked about", page)
		}
	}
	assert.Equal(t, places, a.stytch.MaxInFlight(stytchtest.Migrate))
	assert.Equal(t, "legacy user 17 | sid", a.signedIn(t, "session-of-one-more").look(), "no place is left")
	a.set(a.cfg.Tickets.Redeem)
	assert.Equal(t, "200", a.askUserInfo(t, ticketOf(t, a.cfg.Tickets, ours)))
	assert.Equal(t, "401", a.askUserInfo(t, "made-up"))
	close(all)
	for range places {
		assert.Equal(t, moved, <-got)
	}
}

// askUserInfo asks the endpoint as Stytch does, and returns the status.
func (a *tokenApp) askUserInfo(t *testing.T, token string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.url+"/userinfo", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, err)
	return strconv.Itoa(resp.StatusCode)
}
