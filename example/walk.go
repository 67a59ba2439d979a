package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"example.com/stytchmigrate/stytchtest"
)

// walk follows a few users from the old session to Stytch, over real sockets, up to the
// day when the old sign-in is taken out. It explains each step to out. It returns an error at the
// first thing that is not as it must be.
func walk(ctx context.Context, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	// The calls are in the journal; the middleware's log would say them twice.
	a, err := newApp(urlOf(l), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer a.close()
	base, err := url.Parse(urlOf(l))
	if err != nil {
		return err
	}
	serving, end := context.WithCancel(ctx)
	defer end()
	served := make(chan error, 1)
	go func() { served <- a.serve(serving, l) }()

	w := &walker{app: a, out: out, base: base}
	w.ada, w.grace, w.katherine, w.barbara, w.operator = w.browser(), w.browser(), w.browser(), w.browser(), w.browser()
	fmt.Fprintln(out, a.check(ctx))
	err = w.walk(ctx)
	end()
	return errors.Join(err, <-served)
}

// walker is on the road. The browsers keep their cookies from step to step.
type walker struct {
	app  *app
	out  io.Writer
	base *url.URL

	ada, grace, katherine, barbara, operator *browser

	oldCookie    *http.Cookie // of Ada's first login
	firstSession string       // id of the Stytch session that it became
}

func (w *walker) browser(cookies ...*http.Cookie) *browser {
	return newBrowser(w.base, w.app.journal, cookies...)
}

func (w *walker) walk(ctx context.Context) error {
	steps := []struct {
		title string
		do    func(context.Context) error
	}{
		{"Ada logs in the old way. Her cookie is the application's own; Stytch knows nothing of it.", w.logIn},
		{"Her next request moves her: the session is exchanged in it. The old cookie stays for now.", w.move},
		{"The browser brings the new cookies, so it keeps them. Only now the old cookie goes.", w.replace},
		{"From now on her JWT says who she is. It is checked here, and Stytch is not called.", w.stay},
		{"Grace has an old cookie too, and ten tabs. One exchange serves all ten, with one session.", w.tenTabs},
		{"The operators have a page for the migration. It counts sessions and requests.", w.count},
		{"They choose the stage \"observe\" on it: no more sessions are exchanged until they choose another.", w.turn},
		{"Stytch goes down. Nobody is signed out, and no cookie is touched.", w.outage},
		{"Ada logs out: all cookies go, and Stytch revokes the session. The old cookie is dead too.", w.logOut},
		{"Ada logs in the old way again. That is a new session, and moves as the first one did.", w.logInAgain},
		{"Six minutes later her JWT has expired. One call refreshes it; the session stays the same.", w.refresh},
		{"Barbara's email was never verified, so she may not move. The old session goes on.", w.refusal},
		{"Sign-in moves to Stytch: Barbara signs in by a code. Her old session ends with that.", w.newSignIn},
		{"Ada signs out everywhere. Her sessions end on all devices, as after a change of password.", w.everywhere},
		{"The operators retire the old sessions too early. The middleware notices, and locks nobody out.", w.retireTooEarly},
		{"The old sign-in is taken out of the code. Stytch sessions go on.", w.finish},
	}
	for i, s := range steps {
		fmt.Fprintf(w.out, "%d. %s\n", i+1, s.title)
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("step %d is not as it must be: %w", i+1, err)
		}
		fmt.Fprintln(w.out)
	}
	fmt.Fprintf(w.out, "All %d steps were as they must be.\n", len(steps))
	return nil
}

func (w *walker) logIn(ctx context.Context) error {
	v, err := w.ada.login(ctx, "ada")
	if err != nil {
		return err
	}
	w.tell(v)
	w.oldCookie = &http.Cookie{Name: oldCookie, Value: value(v.after, oldCookie)}
	return expect(
		fact{"status", http.StatusSeeOther, v.status},
		fact{"cookies", oldCookie, names(v.after)},
		fact{"calls", "none", callList(v.calls)},
	)
}

func (w *walker) move(ctx context.Context) error {
	v, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(v)
	w.firstSession = v.account.StytchSession
	return cmp.Or(isMove(v, "ada"), expect(
		fact{"Stytch's user", w.app.standInUser("ada").ID, v.account.StytchUserID},
		fact{"email", "ada@example.com", v.account.StytchEmail},
	))
}

// The browser's cookies while somebody moves, and from the next page on.
const (
	newCookies  = "stytch_session stytch_session_jwt"
	bothCookies = oldCookie + " " + newCookies
)

// isMove is what holds of every request in which somebody moves.
func isMove(v visit, user string) error {
	return expect(
		fact{"status", http.StatusOK, v.status},
		fact{"outcome", "migrated", v.account.Outcome},
		fact{"user", user, v.account.UserID},
		fact{"signed in by", byStytch, v.account.SignedInBy},
		fact{"cookies before", oldCookie, names(v.before)},
		fact{"cookies after", bothCookies, names(v.after)},
		fact{"calls", "POST /v1/sessions/migrate → 200\nasked back: GET /userinfo → it is " + user, asked(v.calls)},
	)
}

func (w *walker) replace(ctx context.Context) error {
	v, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(v)
	return expect(
		fact{"outcome", "authenticated", v.account.Outcome},
		fact{"session", w.firstSession, v.account.StytchSession},
		fact{"cookies before", bothCookies, names(v.before)},
		fact{"cookies after", newCookies, names(v.after)},
		fact{"calls", "none", callList(v.calls)},
	)
}

func (w *walker) stay(ctx context.Context) error {
	v, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(v)
	return isStay(v, w.firstSession)
}

// isStay is what holds of a moved user's requests: no call, whatever the state
// of Stytch is, and the same cookies.
func isStay(v visit, session string) error {
	return expect(
		fact{"outcome", "authenticated", v.account.Outcome},
		fact{"session", session, v.account.StytchSession},
		fact{"cookies", shown(v.before), shown(v.after)},
		fact{"calls", "none", callList(v.calls)},
	)
}

func (w *walker) tenTabs(ctx context.Context) error {
	if _, err := w.grace.login(ctx, "grace"); err != nil {
		return err
	}
	// Long enough for all ten to come while the exchange is under way.
	w.app.standIn.Fail(stytchtest.Migrate, stytchtest.Delay(100*time.Millisecond))
	visits, calls, err := w.grace.tabs(ctx, 10)
	if err != nil {
		return err
	}
	v := visits[0]
	v.request, v.calls = "10 × GET /me", calls
	w.tell(v)
	for i, other := range visits {
		other.calls = calls
		err := cmp.Or(isMove(other, "grace"), expect(
			fact{"session", v.account.StytchSession, other.account.StytchSession},
			fact{"token", value(v.after, "stytch_session"), value(other.after, "stytch_session")},
		))
		if err != nil {
			return fmt.Errorf("tab %d: %w", i+1, err)
		}
	}
	return expect(fact{"Grace's sessions at Stytch", 1, w.app.standInSessions("grace")})
}

func (w *walker) outage(ctx context.Context) error {
	w.app.setOutage(true)
	w.say("Katherine, who has not moved yet, is served by the old session:")
	k, err := w.katherine.me(ctx)
	if err != nil {
		return err
	}
	w.tell(k)
	w.say("Ada, who has moved, is served by her JWT:")
	a, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(a)
	w.app.setOutage(false)
	w.say("Stytch is back, and Katherine's next request moves her:")
	back, err := w.katherine.me(ctx)
	if err != nil {
		return err
	}
	w.tell(back)
	return cmp.Or(isLeftAlone(k, "unavailable", "katherine"),
		expect(fact{"calls were made, and failed", true, len(k.calls) > 0 && count(k.calls, "→ 503") == len(k.calls)}),
		isStay(a, w.firstSession), isMove(back, "katherine"))
}

// isLeftAlone is what holds where the old session goes on.
func isLeftAlone(v visit, outcome, user string) error {
	return expect(
		fact{"status", http.StatusOK, v.status},
		fact{"outcome", outcome, v.account.Outcome},
		fact{"user", user, v.account.UserID},
		fact{"signed in by", byOldSession, v.account.SignedInBy},
		fact{"cookie names", oldCookie, names(v.after)},
		fact{"the cookie is untouched", true, value(v.before, oldCookie) == value(v.after, oldCookie)},
	)
}

func (w *walker) logOut(ctx context.Context) error {
	v, err := w.ada.logout(ctx)
	if err != nil {
		return err
	}
	w.tell(v)
	session, found := w.app.standIn.Session(w.firstSession)
	w.say("Somebody kept a copy of her old cookie, and comes with it. It was ended at its source too:")
	again, err := w.browser(w.oldCookie).me(ctx)
	if err != nil {
		return err
	}
	w.tell(again)
	return expect(
		fact{"cookies", "none", names(v.after)},
		fact{"calls", "POST /v1/sessions/revoke → 200", asked(v.calls)},
		fact{"revoked at Stytch", true, found && session.Revoked},
		fact{"outcome with the old cookie", "anonymous", again.account.Outcome},
		fact{"signed in with the old cookie", "nobody", again.who()},
		fact{"calls with the old cookie", "none", callList(again.calls)},
		fact{"sessions of Ada at Stytch", 1, w.app.standInSessions("ada")},
	)
}

func (w *walker) logInAgain(ctx context.Context) error {
	if _, err := w.ada.login(ctx, "ada"); err != nil {
		return err
	}
	// So that nobody has to wait in the next step: the JWT that Stytch gives out
	// now is six minutes old.
	w.app.standIn.SetClock(func() time.Time { return time.Now().Add(-6 * time.Minute) })
	v, err := w.ada.me(ctx)
	w.app.standIn.SetClock(nil)
	if err != nil {
		return err
	}
	w.tell(v)
	return cmp.Or(isMove(v, "ada"), expect(
		fact{"it is a new Stytch session", true, v.account.StytchSession != w.firstSession},
	))
}

func (w *walker) refresh(ctx context.Context) error {
	w.say("(Nobody waits for it: in step 10 the clock of the stand-in was six minutes slow.)")
	v, err := w.ada.me(ctx)
	if err != nil {
		return err
	}
	w.tell(v)
	const token, jwt = "stytch_session", "stytch_session_jwt"
	return expect(
		fact{"outcome", "authenticated", v.account.Outcome},
		fact{"user", "ada", v.account.UserID},
		fact{"calls to refresh", 1, count(v.calls, "POST /v1/sessions/authenticate → 200")},
		fact{"the token is the same", true, value(v.before, token) == value(v.after, token)},
		fact{"the JWT is a new one", true, value(v.before, jwt) != value(v.after, jwt)},
		fact{"the JWT is good", true, jwtExpiry(value(v.after, jwt)).After(time.Now())},
		fact{"sessions of Ada at Stytch", 2, w.app.standInSessions("ada")},
	)
}

func (w *walker) refusal(ctx context.Context) error {
	if _, err := w.barbara.login(ctx, "barbara"); err != nil {
		return err
	}
	v, err := w.barbara.me(ctx)
	if err != nil {
		return err
	}
	w.tell(v)
	return cmp.Or(isLeftAlone(v, "refused", "barbara"),
		expect(fact{"calls", "none", callList(v.calls)}))
}

// tell prints a visit.
func (w *walker) tell(v visit) {
	w.line("request", fmt.Sprintf("%s → %d", v.request, v.status))
	if v.account.Outcome != "" {
		w.line("outcome", v.account.Outcome)
		w.line("signed in", v.who())
	}
	if before, after := shown(v.before), shown(v.after); before == after {
		w.line("cookies", after+" (as before)")
	} else {
		w.line("cookies before", before)
		w.line("cookies after", after)
	}
	w.line("calls to Stytch", strings.ReplaceAll(callList(v.calls), "\n", "\n"+strings.Repeat(" ", 20)))
}

func (w *walker) line(label, text string) { fmt.Fprintf(w.out, "   %-17s%s\n", label, text) }

func (w *walker) say(text string) { fmt.Fprintf(w.out, "   - %s\n", text) }
