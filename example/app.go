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
	project *project
	old     *oldLogin
	codes   *codeLogin // the new sign-in
	tickets *userinfo.Tickets
	ready   atomic.Pointer[deployment] // what serves now
	ops     *statuspage.Page
	journal *journal
	standIn *stytchtest.Server // nil where the real API is used
	down    atomic.Bool        // the stand-in was taken down
	log     *slog.Logger
}

// deployment is the application as it was deployed last: with the old sign-in in its code,
// or without.
type deployment struct {
	auth   *stytchmigrate.Middleware
	hasOld bool
}

func (a *app) auth() *stytchmigrate.Middleware { return a.ready.Load().auth }

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
	a.project, a.ops = p, a.newOps()
	a.codes = newCodeLogin(p, a.journal)
	// Random keys are enough for one process. Several machines need the same keys.
	var err error
	a.tickets, err = userinfo.NewTickets(securecookie.GenerateRandomKey(32), securecookie.GenerateRandomKey(32))
	if err == nil {
		err = a.deploy([]stytchmigrate.LegacyCookie{a.old.cookie()}, stytchmigrate.Rollout{})
	}
	if err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

// deploy makes the middleware, which serves from now on. This is the part to copy. legacy
// is nil when the migration is over.
func (a *app) deploy(legacy []stytchmigrate.LegacyCookie, rollout stytchmigrate.Rollout) error {
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: a.project.id,
		Secret:    a.project.secret,
		BaseURL:   a.project.baseURL,
		Legacy:    legacy,
		Rollout:   rollout,
		Tickets:   a.tickets,
		// The URL that is set in the Stytch dashboard. Only Check calls it.
		UserInfoURL:   a.project.userInfoURL,
		SessionClaims: func(s stytchmigrate.LegacySession) map[string]any { return claimsOf(s.Identity.Subject) },
		Cookies:       stytchmigrate.CookieOptions{Insecure: true}, // plain HTTP on loopback only
		// Looking at the cookies must not change them. An application has no such
		// page, but it may have health checks and static files to leave out.
		Skip:       func(r *http.Request) bool { return r.URL.Path == "/cookies" },
		HTTPClient: &http.Client{Transport: a.journal},
		OnEvent:    a.ops.Observe,
		Logger:     a.log,
	})
	if err != nil {
		return err
	}
	a.ready.Store(&deployment{auth, legacy != nil})
	return nil
}

// claimsOf are the custom claims of a user's Stytch sessions.
func claimsOf(userID string) map[string]any { return map[string]any{userIDClaim: userID} }

// check tries the settings out, and tells what it found, a line each. UserInfo has
// to be served meanwhile. A deployment would stop where Check returns an error.
func (a *app) check(ctx context.Context) string {
	err := a.auth().Check(ctx)
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
	pages.HandleFunc("POST /code", a.sendCode)
	pages.HandleFunc("POST /signin", a.signIn)
	pages.HandleFunc("POST /logout", a.logout)
	pages.HandleFunc("POST /everywhere", a.logoutEverywhere)
	pages.HandleFunc("POST /deploy", a.redeploy)
	if a.standIn != nil {
		pages.HandleFunc("POST /outage", a.outage)
	}
	// An application that is deployed once calls auth.Handler(pages) here.
	current := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.auth().Handler(pages).ServeHTTP(w, r)
	})
	// Other sites' forms are turned away before they cost a call to Stytch. The
	// cookies are SameSite=Lax besides; but one guard may be taken off some day.
	guarded := http.NewCrossOriginProtection().Handler(current)

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

// whose returns the user of a request. It is the bridge between the two kinds of session,
// and the only code that knows of both.
func (a *app) whose(r *http.Request) (person, kind) {
	ctx := r.Context()
	if user, ok := stytchmigrate.UserFromContext(ctx); ok {
		session, _ := stytchmigrate.SessionFromContext(ctx)
		p, _ := find(userID(user, session))
		return p, byStytch
	}
	if old, ok := stytchmigrate.LegacyFromContext(ctx); ok {
		p, _ := find(old.Identity.Subject)
		return p, byOldSession
	}
	if a.oldAnswerCounts(ctx) {
		if p, ok := a.old.whose(r); ok {
			return p, byOldSession
		}
	}
	return person{}, nobody
}

// oldAnswerCounts reports whether the old code's own answer counts where the middleware
// found no session. It does while the old cookies stay, so a wrong setting of the
// middleware signs nobody out.
func (a *app) oldAnswerCounts(ctx context.Context) bool {
	now := a.ready.Load()
	stage := now.auth.Rollout().Stage
	stays := stage == stytchmigrate.StageObserve || stage == stytchmigrate.StageShadow || stage == stytchmigrate.StageKeep
	return now.hasOld && stays && stytchmigrate.OutcomeFromContext(ctx) == stytchmigrate.OutcomeAnonymous
}

// userID returns the application's id of a Stytch user. The claim is in the session's JWT.
// The external id is not known if user.Partial, and a test may give no session.
func userID(user *stytchmigrate.User, session *stytchmigrate.Session) string {
	if session != nil {
		if id, ok := session.CustomClaims[userIDClaim].(string); ok {
			return id
		}
	}
	return user.ExternalID
}

// login is the old sign-in. It asks for no password, because this is an example on
// loopback. The call of Logout is new. The rest is as it was.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	p, ok := find(r.PostFormValue("user"))
	if !ok {
		http.Error(w, "There is no such user.", http.StatusBadRequest)
		return
	}
	// Only now: a sign-in that fails must not sign out the user who is here. Without this
	// call, a Stytch session from before would stand beside the new cookie.
	a.signOut(w, r)
	if err := a.old.start(w, p); err != nil {
		a.log.ErrorContext(r.Context(), "sign-in failed", "error", err)
		http.Error(w, "Signing in failed.", http.StatusInternalServerError)
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

// logoutEverywhere signs the user out on all their devices. An application calls the same
// when a password changes, or an account is disabled.
func (a *app) logoutEverywhere(w http.ResponseWriter, r *http.Request) {
	if p, by := a.whose(r); by != nobody {
		a.old.endAll(p.ID) // the sessions that have not moved
		if err := a.auth().EndSessions(r.Context(), p.ID); err != nil {
			a.log.WarnContext(r.Context(), "some sessions may not have ended", "error", err)
			http.Error(w, "Some devices may still be signed in. Please try again.", http.StatusServiceUnavailable)
			return
		}
	}
	a.logout(w, r)
}

// signOut ends the sessions of a request, whatever their kind. An error is for the log:
// the browser's cookies have expired all the same.
func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	if err := a.auth().Logout(w, r); err != nil {
		a.log.WarnContext(r.Context(), "signed out here, but Stytch may not know", "error", err)
	}
}

// redeploy plays a deployment without the old sign-in, or with it again.
func (a *app) redeploy(w http.ResponseWriter, r *http.Request) {
	if err := a.setOld(r.PostFormValue("old") != "gone"); err != nil {
		a.fail(w, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) setOld(there bool) error {
	var legacy []stytchmigrate.LegacyCookie
	if there {
		legacy = append(legacy, a.old.cookie())
	}
	return a.deploy(legacy, a.auth().Rollout())
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
