package integration

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

const (
	oldCookie   = "sid"
	tokenCookie = "stytch_session"
	jwtCookie   = "stytch_session_jwt"
)

// world is two people with a few browsers, and the machines of one application,
// which share a store. What happens in it is drawn from dice.
type world struct {
	dice     *rand.Rand // of the goroutine that draws
	stytch   *stytchtest.Server
	store    *storetest.Memory
	machines []*stytchmigrate.Middleware
	browsers []*browserOf
	ids      map[string]string // of the people, at Stytch
	holds    []*stytchtest.Hold
	logins   int
	gone     map[string]bool // old cookies that were logged out

	plants      bool // tokens are planted; else the key set fails at times
	blind       bool // Resolve gives a token and no identity
	lossy       bool // somebody may rightly lose a session: Stytch says no, or it runs out soon
	storeFailed bool // the store fails at times

	mu      sync.Mutex // guards all below; taken after a browser's
	trace   []func() string
	wrong   []string
	first   map[string]time.Time          // when a machine first served a session
	seen    map[string]stytchtest.Session // by cookie
	endings []ending
}

// browserOf is a browser and what is in its jar. Empty: no such cookie.
type browserOf struct {
	name    string
	pending sync.WaitGroup

	mu    sync.Mutex // guards all below
	jar   jar
	last  jar // the old cookie of the last sign-in, as a request that comes late has it
	turn  int // grows with each sign-in and logout
	since time.Time
	void  int  // of what was sent before this turn the answers are not waited for
	extra bool // of two old sessions of one person one was not exchanged
	lucky bool // nothing happened to whoever is signed in that may lose their session
}

type jar struct {
	owner           string // who sits there; empty: nobody
	sid, token, jwt string
	mixed           bool // the Stytch cookies are of who sat there before
	planted         bool // the token is somebody else's, of whom the JWT is not
}

// visit is a request and what came of it.
type visit struct {
	machine int
	path    string // "page", "logout", "login" (calls Logout first), "plain login"
	by      *browserOf
	sent    jar
	turn    int // of the browser when it was sent
	newSID  string
	thinks  time.Duration // the handler, before it writes
	decided time.Time     // when the handler was called
	rec     *httptest.ResponseRecorder
	user    *stytchmigrate.User
	session *stytchmigrate.Session
	legacy  *stytchmigrate.LegacySession
	outcome stytchmigrate.Outcome
	err     error // of Logout
}

func (v *visit) String() string {
	s := v.sent
	return fmt.Sprintf("%s %s of %q at machine %d (sid %s, token %.4s, JWT of %s): %v %s (err %v)",
		v.by.name, v.path, s.owner, v.machine, s.sid, s.token, short(idInJWT(s.jwt)), v.outcome, names(v.rec), v.err)
}

func names(rec *httptest.ResponseRecorder) string {
	var out []string
	for _, c := range rec.Result().Cookies() {
		out = append(out, fmt.Sprintf("%s=%.14s(%d)", c.Name, c.Value, c.MaxAge))
	}
	return strings.Join(out, " ")
}

// newWorld draws what kind of world it is, its machines and its browsers.
func newWorld(t *testing.T, dice *rand.Rand) *world {
	w := &world{dice: dice, gone: map[string]bool{}, seen: map[string]stytchtest.Session{}, first: map[string]time.Time{}, stytch: stytchtest.NewServer(t, stytchtest.Config{InProcess: true}), store: new(storetest.Memory)}
	w.ids = map[string]string{"": "", "ada": "", "bob": ""}
	for _, name := range []string{"ada", "bob"} {
		w.ids[name] = w.stytch.AddUser(stytchtest.Person(name + "@example.com")).ID
		w.stytch.Accept(name+"-token", name+"@example.com")
	}
	w.plants = dice.IntN(2) == 0
	w.blind, w.lossy, w.storeFailed = dice.IntN(4) == 0, dice.IntN(5) == 0, dice.IntN(5) == 0
	duration := 30 * 24 * time.Hour
	if w.lossy && dice.IntN(2) == 0 {
		duration = time.Hour
	}
	for range 2 + dice.IntN(2) {
		m, err := stytchmigrate.New(w.config(duration))
		require.NoError(t, err)
		w.machines = append(w.machines, m)
	}
	for i := range 2 + dice.IntN(3) {
		w.browsers = append(w.browsers, &browserOf{name: fmt.Sprint("browser ", i), lucky: true})
		w.signIn(w.browsers[i], people[i%2], "plain login")
	}
	return w
}

func (w *world) config(duration time.Duration) stytchmigrate.Config {
	return stytchmigrate.Config{
		ProjectID: w.stytch.ProjectID, Secret: stytchmigrate.Secret(w.stytch.Secret), BaseURL: w.stytch.URL,
		HTTPClient: w.stytch.Client(), Store: w.store, SessionDuration: duration,
		Legacy: []stytchmigrate.LegacyCookie{{Name: oldCookie, Resolve: w.resolve}},
		SessionClaims: func(s stytchmigrate.LegacySession) map[string]any {
			name, _, _ := strings.Cut(string(s.Token), "-")
			start := "-"
			if !s.StartedAt.IsZero() {
				start = strconv.FormatInt(s.StartedAt.Sub(began).Milliseconds(), 10)
			}
			return map[string]any{"of": name + "." + string(s.ID) + "." + start}
		},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// serve is the old application behind the middleware.
func (v *visit) serve(m *stytchmigrate.Middleware, w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	v.decided = time.Now()
	v.outcome = stytchmigrate.OutcomeFromContext(ctx)
	v.user, _ = stytchmigrate.UserFromContext(ctx)
	v.session, _ = stytchmigrate.SessionFromContext(ctx)
	if s, ok := stytchmigrate.LegacyFromContext(ctx); ok {
		v.legacy = &s
	}
	time.Sleep(v.thinks)
	if v.path == "logout" || v.path == "login" {
		v.err = m.Logout(w, r)
	}
	if v.newSID != "" {
		http.SetCookie(w, &http.Cookie{Name: oldCookie, Value: v.newSID, Path: "/"})
	}
}

// visit prepares a request with what is in a browser's jar now.
func (b *browserOf) visit(path string, machine int) *visit {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending.Add(1)
	return &visit{machine: machine, path: path, by: b, sent: b.jar, turn: b.turn, rec: httptest.NewRecorder()}
}

// send delivers a request after a delay, checks what came of it, and puts its
// cookies into the jar, unless the client left meanwhile.
func (w *world) send(ctx context.Context, v *visit, delay time.Duration, behind bool) {
	defer v.by.pending.Done()
	time.Sleep(delay)
	method := http.MethodGet
	if v.path != "page" {
		method = http.MethodPost
	}
	r := httptest.NewRequest(method, "https://app.example.com/"+v.path[:4], nil).WithContext(ctx)
	for _, c := range [][2]string{{oldCookie, v.sent.sid}, {tokenCookie, v.sent.token}, {jwtCookie, v.sent.jwt}} {
		if c[1] != "" {
			r.AddCookie(&http.Cookie{Name: c[0], Value: c[1]})
		}
	}
	m := w.machines[v.machine]
	app := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { v.serve(m, rw, r) })
	if behind {
		m.Handler(app).ServeHTTP(v.rec, r)
	} else {
		app(v.rec, r)
	}
	w.note(v.String)
	w.check(v)
	if ctx.Err() == nil {
		w.take(v)
	}
}

// take puts the cookies of a response into the jar.
func (w *world) take(v *visit) {
	b, cookies := v.by, v.rec.Result().Cookies()
	b.mu.Lock()
	defer b.mu.Unlock()
	if v.turn < b.void {
		return
	}
	if v.turn < b.turn && len(cookies) > 0 {
		b.lucky = false // it may have deleted what came after it
	}
	if v.turn < b.turn && (!v.decided.After(b.since) || w.isOver(cookies)) {
		return
	}
	for _, c := range cookies {
		if c.MaxAge < 0 {
			c.Value = ""
		}
		switch c.Name {
		case oldCookie:
			b.jar.sid = c.Value
		case tokenCookie:
			b.jar.token, b.jar.mixed, b.jar.planted = c.Value, false, false
			w.checkJar(v, b.jar.owner, c)
		case jwtCookie:
			b.jar.jwt = c.Value
		}
	}
}

// note is put into words where a world fails, for most don't.
func (w *world) note(what func() string) {
	at := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, func() string { return stamp(at) + ": " + what() })
}
