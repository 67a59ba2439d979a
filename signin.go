package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

// SignIn signs a user in by a Stytch session that the application's own login has just
// got from Stytch: by a magic link, a one-time code, OAuth or a password. Call it in the
// login's handler with the session_token and the session_jwt of Stytch's answer, before
// the response's first write:
//
//   - It sets both Stytch cookies by Config.Cookies, whatever kind of request it is, and
//     expires the legacy cookies. A legacy cookie without a session in it, of a visitor, stays.
//   - It ends every other session that this browser had, as [Middleware.Logout] does: the
//     legacy sessions, with LegacyCookie.End, and the Stytch sessions of other users.
//     Stytch sessions of the same user are not revoked. The legacy session that the new
//     session itself came from is not ended either.
//   - It keeps the session in memory, with the user. The browser's next request needs no
//     call. The context of r does not change.
//
// Pass both token and jwt if you have both. One may be empty: Stytch's answer has the
// other. SignIn verifies the JWT, and asks Stytch once whether both are of one live
// session. That takes Config.Timeout at most. To end the other sessions takes up to
// 3×Config.Timeout more, and each LegacyCookie.End up to Config.Timeout. A session with
// less than half of Config.SessionDuration left is extended, unless Config.FixedExpiry is
// set.
// See https://stytch.com/docs/api/session-auth.
//
// An error means that nothing was set, and that no session has ended:
//
//   - errors.Is(err, [ErrNoSession]): the token or the JWT is made up, of another project
//     or of another session than the other one, or the session has ended. The error
//     names the argument.
//   - Otherwise it can't be told now, because Stytch can't be reached: answer 503. Or no
//     cookie can be set: the response has begun, or sends Clear-Site-Data, or the request
//     is for a host outside of Cookies.Domain or a path outside of Cookies.Path.
//
// If another session could not be ended, the user is signed in all the same, and
// OnEvent is told of it: the event of kind "signin" has an Err then.
//
// If a handler calls both Logout and SignIn, the last call counts. What the handler sets for a legacy cookie is kept. SignIn works outside of Handler too. There,
// and if no session cookie of the request changes, it can't find out that the response has
// begun. Do not set a cacheable Cache-Control after it.
//
// A login by a link must belong to the browser that asked for it: compare the state
// parameter of OAuth (RFC 6749 section 10.12), or a cookie. SignIn can't tell, and a link
// of somebody else would sign this user out.
func (m *Middleware) SignIn(w http.ResponseWriter, r *http.Request, token, jwt Secret) error {
	s := signIn{Middleware: m, header: w.Header(), r: r}
	s.info = infoFrom(r.Context())
	if s.info != nil && s.info.by != m.cookies {
		s.info = nil // of another Middleware, or of NewContext
	}
	if s.info != nil {
		s.pending = s.info.pending
		if s.info.original != nil {
			s.r = s.info.original.WithContext(r.Context())
		}
	}
	live, err := s.prove(redact.Secret(token), redact.Secret(jwt))
	var failed error
	if err == nil {
		failed, err = s.signIn(live)
	}
	m.report.signIn(r.Context(), live, err, failed)
	return err
}

// EndSessions signs a user out everywhere: it ends every Stytch session of the user. Call
// it when the password has changed, for "sign out everywhere", and when an account is
// disabled or banned. Without it the user's other devices stay signed in. userID is
// Stytch's user_id, or the application's own id where Stytch has it as external_id.
//
// Each session is marked as ended on all machines that share Config.Store, so that it is
// refused although its JWT is still good, and then revoked at Stytch. A machine that has
// the JWT in memory may still serve it until it expires, five minutes at most. The
// legacy sessions that the sessions came from are ended too: they are not exchanged
// again, and LegacyCookie.End is called for those that Logout would call it for. A legacy
// session that never became a Stytch session is the application's own to end: end it
// before you call EndSessions. So is an account that may not sign in again.
//
// The session of the request's own browser ends too, and so does one that began just
// before the call: let Stytch begin a new one after it, and call SignIn with that. An
// exchange that is under way meanwhile comes to nothing, and for 3×Config.Timeout the
// user's legacy sessions do not move.
//
// Stytch lists all sessions at once, with up to 16 MiB (see
// https://stytch.com/docs/api/session-get), and revokes one with each call, four calls at
// a time. EndSessions takes 6×Config.Timeout at most, and goes on if ctx ends before. If
// a part fails, the rest is ended all the same. The error says how many sessions may not
// have ended, and why the first did not. Call EndSessions again if Stytch failed. A userID that is empty, or that has other
// characters than letters, digits and ._-|, is an error. So is one that Stytch does not
// know: an *[Error] of type user_not_found, and there was nothing to end. A user without
// sessions is no error. It is safe for concurrent use.
//
// While the old login is still there, pass your own id, and then sign this browser in as
// the old login does: Logout, and a new session with a new ID and a later StartedAt.
func (m *Middleware) EndSessions(ctx context.Context, userID string) error {
	return m.logouts.everywhere(ctx, userID)
}

// signIn is one call of SignIn.
type signIn struct {
	*Middleware
	header  http.Header
	r       *http.Request    // with the cookies that the browser sent
	info    *requestInfo     // nil outside of Handler
	pending *cookies.Pending // nil where the lines are written at once
}

var (
	errOutsideDomain = errors.New("stytchmigrate: SignIn on a host outside of Config.Cookies.Domain: the browser would drop the cookies")
	errOutsidePath   = errors.New("stytchmigrate: SignIn on a path outside of Config.Cookies.Path: the browser would not send the cookies there")
)

// refusedSignIn is the error of a sign-in by what is no session.
type refusedSignIn struct{ why error }

func (e *refusedSignIn) Error() string   { return "stytchmigrate: SignIn: " + e.why.Error() }
func (e *refusedSignIn) Unwrap() []error { return []error{ErrNoSession, e.why} }

// prove returns the session that was handed in. It changes nothing but memory.
func (s *signIn) prove(token, jwt redact.Secret) (*session.Entry, error) {
	switch {
	case !s.cookies.CoversHost(s.r):
		return nil, errOutsideDomain
	case !s.cookies.CoversPath(s.r):
		return nil, errOutsidePath
	case token == "" && jwt == "":
		return nil, &refusedSignIn{errors.New("token and jwt are empty")}
	}
	if err := s.cookies.CanSignIn(s.header, s.pending); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.r.Context(), s.cfg.Timeout)
	defer cancel()
	live, err := s.sessions.Prove(ctx, token, jwt)
	var unproven *session.Unproven
	switch {
	case errors.As(err, &unproven):
		return nil, &refusedSignIn{unproven}
	case err != nil:
		return nil, fmt.Errorf("stytchmigrate: SignIn: it can't be told now whether token and jwt are a session: %w", err)
	}
	return live, nil
}

// signIn changes the cookies, and then ends the other sessions. failed says which of
// those could not be ended.
func (s *signIn) signIn(live *session.Entry) (failed, err error) {
	received := s.cookies.Read(s.r)
	planned := slices.DeleteFunc(s.cookies.Planned(s.header, s.pending), func(t string) bool { return !s.sessions.IsKnown(t) })
	legacy, expire, unresolved := s.legacySessions(&received)
	unlimited := context.WithoutCancel(s.r.Context())
	err = s.cookies.SignIn(s.header, s.r, s.pending, cookies.SignIn{
		Set: *tokensOf(live), Expire: expire,
		Ended: func() bool { return s.sessions.EndedMeanwhile(unlimited, live.Session.ID) },
	})
	if err != nil {
		return nil, err
	}
	received.Tokens = append(received.Tokens, planned...)
	ctx, cancel := context.WithTimeout(unlimited, s.cfg.Timeout)
	defer cancel()
	if received.TooMany(s.r) {
		unresolved = errors.Join(unresolved, errTooMany)
	}
	failed = errors.Join(unresolved, s.sessions.Replace(ctx, live, received.Tokens, received.JWTs))
	legacy = slices.DeleteFunc(legacy, func(old *resolvedSession) bool { return old.key == live.Session.Origin })
	received.Tokens, received.JWTs = s.sessions.OfOthers(ctx, live, received.Tokens, received.JWTs)
	_, ended := s.logouts.end(s.r.Context(), s.info, legacy, &received, live)
	return errors.Join(failed, ended), nil
}

// legacySessions returns the legacy sessions of the request, and which legacy cookies
// are to be expired. A cookie that holds no session stays: it is a visitor's.
func (s *signIn) legacySessions(c *cookies.Received) (all []*resolvedSession, expire []int, err error) {
	for i := range s.cfg.Legacy {
		var values []string
		if c.Legacy != nil {
			values = c.Legacy[i]
		}
		holds := len(values) == 0
		for _, v := range values {
			one, failed := s.decider.legacy.resolve(i, s.r, v)
			holds = holds || one != nil || failed != nil
			if one != nil {
				all = append(all, one)
			}
			err = errors.Join(err, failed)
		}
		if holds {
			expire = append(expire, i)
		}
	}
	if s.info != nil && s.info.legacy != nil {
		all = append(all, s.info.legacy)
	}
	return distinct(all), expire, err
}

var errNoUserID = errors.New("stytchmigrate: EndSessions: userID is empty, or has other characters than letters, digits and ._-|")

// everywhere is Middleware.EndSessions. The user is marked first, and the sessions are
// listed twice: an exchange that is under way finds the mark, or its session is listed.
func (e *logouts) everywhere(ctx context.Context, userID string) error {
	if redact.Only(userID, "._-|", maxExternalID) == "" {
		return errNoUserID
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 6*e.timeout)
	defer cancel()
	all := &logoutSet{stytch: map[string]bool{}, records: map[string]bool{}}
	errs := []error{e.tombstones.MarkUser(ctx, userID, 3*e.timeout)}
	errs = append(errs, e.endEach(ctx, all, e.sessions.OfUser(userID)))
	var failed error
	for i := 0; i < 2 && failed == nil; i++ {
		var listed []stytch.Session
		listed, failed = e.list(ctx, userID)
		errs = append(errs, failed, e.endEach(ctx, all, listed))
	}
	sources, err := e.sources(ctx, all)
	errs = append(errs, err)
	for i, s := range sources {
		if ctx.Err() != nil {
			return errors.Join(append(errs, fmt.Errorf("stytchmigrate: EndSessions: no time was left to call End for %d sessions", len(sources)-i))...)
		}
		if err := e.endAtSource(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("stytchmigrate: End of cookie %q: %w", s.cookie.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (e *logouts) list(ctx context.Context, userID string) ([]stytch.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	listed, err := e.api.List(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("stytchmigrate: EndSessions: the sessions of userID could not be listed: %w", err)
	}
	return listed, nil
}

// endEach ends those of the sessions that are not in all yet: first in this process, then
// on the other machines, then at Stytch.
func (e *logouts) endEach(ctx context.Context, all *logoutSet, sessions []stytch.Session) error {
	sessions = slices.DeleteFunc(slices.Clone(sessions), func(s stytch.Session) bool { return all.stytch[s.ID] })
	for _, s := range sessions {
		all.addStytch(s.ID)
		if all.addRecord(s.Origin); s.Origin != "" {
			e.tombstones.MarkLegacyLocal(s.Origin)
		}
		e.sessions.End(s.ID)
	}
	marked := forEach(sessions, func(s stytch.Session) error {
		err := errors.Join(e.tombstones.MarkSessionShared(ctx, s.ID), e.tombstones.MarkTied(ctx, s.ID))
		if s.Origin != "" {
			err = errors.Join(err, e.tombstones.MarkLegacy(ctx, s.Origin))
		}
		return err
	})
	return errors.Join(marked, forEach(sessions, func(s stytch.Session) error {
		ctx, cancel := context.WithTimeout(ctx, e.timeout)
		defer cancel()
		return e.api.Revoke(ctx, stytch.SessionRef{ID: s.ID})
	}))
}

var errPanicked = errors.New("stytchmigrate: a function of the application panicked")

// forEach calls end for each session, four at a time. Its error has the first of theirs.
func forEach(sessions []stytch.Session, end func(stytch.Session) error) error {
	errs := make([]error, len(sessions))
	slots := make(chan struct{}, 4) // of the 32 calls that may end sessions at a time
	var running sync.WaitGroup
	for i, s := range sessions {
		slots <- struct{}{}
		running.Add(1)
		background.Go(func() {
			defer func() { <-slots; running.Done() }()
			errs[i] = errPanicked // unless end returns
			errs[i] = end(s)
		})
	}
	running.Wait()
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("stytchmigrate: EndSessions: %d of %d sessions may not have ended: %w", len(errs), len(sessions), errs[0])
}
