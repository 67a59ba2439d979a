package stytchmigrate

import (
	"context"
	"net/http"

	"example.com/stytchmigrate/internal/browser"
)

// found is what a request turned out to be. It is the one value that the
// middleware puts into a context.
type found struct {
	by      *browser.Browser // of the Middleware that found it; nil in NewContext
	outcome Outcome
	cause   string // see Event; "" where err tells it
	user    *User
	session *Session
	legacy  *foundLegacy  // whatever the outcome is; Logout ends it
	swap    *browser.Swap // nil where nothing is written
	hidden  bool          // legacy is for Logout alone: it ended, or an expired JWT is of another session
	err     error         // why it is Refused or Unavailable, or Legacy for want of room

	original *http.Request // with the cookies that were taken out for the handler; nil: none were
}

type contextKey struct{}

func foundIn(ctx context.Context) *found {
	f, _ := ctx.Value(contextKey{}).(*found)
	return f
}

// UserFromContext returns the Stytch user of the request that ctx belongs to:
// outcomes Authenticated and Migrated. The user is shared with other requests
// and must not be changed. Where User.Partial is true only UserID is known.
func UserFromContext(ctx context.Context) (*User, bool) {
	f := foundIn(ctx)
	if f == nil || f.user == nil {
		return nil, false
	}
	return f.user, true
}

// SessionFromContext returns the Stytch session of the request that ctx belongs
// to, shared and not to be changed, as the user is.
func SessionFromContext(ctx context.Context) (*Session, bool) {
	f := foundIn(ctx)
	if f == nil || f.session == nil {
		return nil, false
	}
	return f.session, true
}

// LegacyFromContext returns whose the legacy session is, where the outcome is
// Legacy, Refused or Unavailable and there is one: until every user has moved,
// handlers serve such a user as the old code did.
//
// It returns none for a session that Logout ended, if its StartedAt is known.
// Without that it may be a new sign-in under the id of the old one. Nor does it
// where an expired JWT beside it, about which Stytch can't be asked, came from
// another session.
func LegacyFromContext(ctx context.Context) (LegacySession, bool) {
	f := foundIn(ctx)
	if f == nil || f.legacy == nil || f.hidden {
		return LegacySession{}, false
	}
	switch f.outcome {
	case OutcomeLegacy, OutcomeRefused, OutcomeUnavailable:
		return f.legacy.session, true
	}
	return LegacySession{}, false
}

// OutcomeFromContext returns what the middleware found out about the request,
// and OutcomeAnonymous where it did not run.
func OutcomeFromContext(ctx context.Context) Outcome {
	if f := foundIn(ctx); f != nil {
		return f.outcome
	}
	return OutcomeAnonymous
}

// NewContext returns a context that holds a signed-in user, for tests of
// handlers. s may be nil; a nil u is an anonymous request.
func NewContext(ctx context.Context, u *User, s *Session) context.Context {
	f := &found{user: u, session: s}
	if u != nil {
		f.outcome = OutcomeAuthenticated
	}
	return context.WithValue(ctx, contextKey{}, f)
}
