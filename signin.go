package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
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
// Both token and jwt are best. One of them may be empty: Stytch's answer has the other
// one. The JWT is verified, and Stytch is asked once whether the two are of one session
// and whether that lives, for Config.Timeout at most. To end other sessions may take as long twice more,
// and End as long as it takes. If it is in use and has less than
// half of Config.SessionDuration left, it is extended, unless Config.FixedExpiry is set.
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
// After Logout in the same response SignIn wins, and Logout wins after SignIn. What the
// handler sets for a legacy cookie is kept. SignIn works outside of Handler too. There,
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
		Ended: func() bool { return s.applier.hasEnded(unlimited, live.Session.ID) },
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
