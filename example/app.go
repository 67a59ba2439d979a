package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// userIDClaim is where the application finds its own id of the user in a Stytch
// session again. Such claims are in the session's JWT, so they are known even while
// Stytch can't be asked for the user (User.Partial). Users can read them, but not
// change them.
const userIDClaim = "app_user_id"

// app is the application.
type app struct {
	old     *oldLogin
	auth    *stytchmigrate.Middleware
	tickets *userinfo.Tickets
	ops     *statuspage.Page
	journal *journal
	standIn *stytchtest.Server // nil where the real API is used
	down    atomic.Bool        // the stand-in was taken down
	log     *slog.Logger
}

// newApp returns the application that is served at base, for a project or, if
// that is nil, for a stand-in of its own.
func newApp(base string, p *project, log *slog.Logger) (*app, error) {
	a := &app{old: newOldLogin(), journal: new(journal), log: log}
	if p == nil {
		var err error
		userInfoURL := base + "/userinfo"
		if a.standIn, err = startStandIn(userInfoURL); err != nil {
			return nil, err
		}
		p = &project{a.standIn.ProjectID, stytchmigrate.Secret(a.standIn.Secret), a.standIn.URL, userInfoURL}
	}
	if err := a.wire(p); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// wire makes the middleware. This is the part to copy.
func (a *app) wire(p *project) error {
	// Random keys will do for one process. On several machines, all need the same.
	tickets, err := userinfo.NewTickets(securecookie.GenerateRandomKey(32), securecookie.GenerateRandomKey(32))
	if err != nil {
		return err
	}
	a.tickets, a.ops = tickets, a.newOps()
	a.auth, err = stytchmigrate.New(stytchmigrate.Config{
		ProjectID: p.id,
		Secret:    p.secret,
		BaseURL:   p.baseURL,
		Legacy:    []stytchmigrate.LegacyCookie{a.old.cookie()},
		Tickets:   tickets,
		// As in the Stytch dashboard. Only Check asks there.
		UserInfoURL: p.userInfoURL,
		SessionClaims: func(s stytchmigrate.LegacySession) map[string]any {
			return map[string]any{userIDClaim: s.Identity.Subject}
		},
		Cookies: stytchmigrate.CookieOptions{Insecure: true}, // plain HTTP on loopback only
		// Looking at the cookies must not change them. An application has no such
		// page, but it may have health checks and static files to leave out.
		Skip:       func(r *http.Request) bool { return r.URL.Path == "/cookies" },
		HTTPClient: &http.Client{Transport: a.journal},
		OnEvent:    a.ops.Observe,
		Logger:     a.log,
	})
	return err
}

// check tries the settings out, and tells what it found, a line each. UserInfo has
// to be served meanwhile. A deployment would stop where Check returns an error.
func (a *app) check(ctx context.Context) string {
	err := a.auth.Check(ctx)
	if err == nil {
		return "Check: everything is as it must be.\n"
	}
	return "Check: " + strings.ReplaceAll(err.Error(), "\n", "\nCheck: ") + "\n"
}

func (a *app) close() {
	if a.standIn != nil {
		a.standIn.Close()
	}
}

// handler is everything that is served.
func (a *app) handler() http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /{$}", a.home)
	pages.HandleFunc("GET /cookies", a.cookies)
	pages.HandleFunc("GET /me", a.me)
	pages.HandleFunc("POST /login", a.login)
	pages.HandleFunc("POST /logout", a.logout)
	if a.standIn != nil {
		pages.HandleFunc("POST /outage", a.outage)
	}
	// Other sites' forms are turned away before they cost a call to Stytch. The
	// cookies are SameSite=Lax besides; but one guard may be taken off some day.
	guarded := http.NewCrossOriginProtection().Handler(a.auth.Handler(pages))

	// UserInfo is outside: it is Stytch that asks, with a ticket and no cookie,
	// while the request that is being moved waits inside.
	outer := http.NewServeMux()
	outer.Handle("/userinfo", userinfo.Handler(a.redeem))
	outer.Handle("/ops", operatorsOnly(a.ops)) // outside too: the operators' own requests are none of the migration's
	outer.Handle("/", a.observe(guarded))
	return outer
}

// redeem is tickets.Redeem, and a line in the journal for those who watch.
func (a *app) redeem(ctx context.Context, ticket string) (userinfo.Identity, error) {
	id, err := a.tickets.Redeem(ctx, ticket)
	if err != nil {
		a.journal.add("asked back: GET /userinfo", "a ticket that is not good")
	} else {
		a.journal.add("asked back: GET /userinfo", "it is "+id.Subject)
	}
	return id, err
}

// kind is by which session somebody is signed in.
type kind string

const (
	nobody       kind = ""
	byStytch     kind = "stytch"
	byOldSession kind = "legacy"
)

// whose is the bridge between the two logins, and the one place that knows of
// both. All other code asks it who is there.
func whose(ctx context.Context) (person, kind) {
	if _, ok := stytchmigrate.UserFromContext(ctx); ok {
		session, _ := stytchmigrate.SessionFromContext(ctx)
		id, _ := session.CustomClaims[userIDClaim].(string)
		p, _ := find(id)
		return p, byStytch
	}
	if old, ok := stytchmigrate.LegacyFromContext(ctx); ok {
		p, _ := find(old.Identity.Subject)
		return p, byOldSession
	}
	return person{}, nobody
}

// login is the old login. It asks for no password, since this is an example
// and on loopback; all else is as it was, but for the call of Logout.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	p, ok := find(r.PostFormValue("user"))
	if !ok {
		http.Error(w, "Nobody of that name.", http.StatusBadRequest)
		return
	}
	// Whoever was signed in at this browser is not any more. Without this, a
	// Stytch session from before would stand beside the new cookie.
	a.signOut(w, r)
	if err := a.old.start(w, p); err != nil {
		a.log.ErrorContext(r.Context(), "login failed", "error", err)
		http.Error(w, "Logging in failed.", http.StatusInternalServerError)
		return
	}
	// To the page that the middleware skips, so that the old cookie can be seen.
	http.Redirect(w, r, "/cookies", http.StatusSeeOther)
}

// logout is the old logout.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.signOut(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// signOut ends the sessions of a request, whatever their kind. An error is for
// the log: the cookies are gone all the same, and the user who wanted to leave
// has left.
func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	if err := a.auth.Logout(w, r); err != nil {
		a.log.WarnContext(r.Context(), "logged out here, but Stytch may not know", "error", err)
	}
}

// outage takes the stand-in down, and brings it back.
func (a *app) outage(w http.ResponseWriter, r *http.Request) {
	a.setOutage(r.PostFormValue("stytch") == "down")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) setOutage(down bool) {
	a.standIn.Heal(stytchtest.Any)
	if down {
		a.standIn.FailAll(stytchtest.Any, stytchtest.Error(http.StatusServiceUnavailable, "service_unavailable"))
	}
	a.down.Store(down)
}

// startStandIn starts a Stytch that knows the people and asks at userInfoURL
// whose a ticket is. In a real project the users are imported beforehand.
func startStandIn(userInfoURL string) (*stytchtest.Server, error) {
	s, err := stytchtest.Start(stytchtest.Config{UserInfoURL: userInfoURL})
	if err != nil {
		return nil, fmt.Errorf("the stand-in for Stytch: %w", err)
	}
	for _, p := range people {
		u := stytchtest.Person(p.Email)
		u.ExternalID = p.ID
		s.AddUser(u)
	}
	return s, nil
}
