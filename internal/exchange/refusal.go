package exchange

import (
	"context"
	"errors"
	"time"

	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/userinfo"
)

// loggedOut refuses a legacy session that has ended.
func loggedOut() *sharedResult {
	return &sharedResult{Result: Result{Answer: stytch.No, Err: ErrLoggedOut}}
}

// anotherPerson refuses the user of a Stytch session, who is not the legacy session's
// person.
func anotherPerson(s *stytch.Session, id userinfo.Identity) *sharedResult {
	return &sharedResult{
		Result: Result{Answer: stytch.No, Event: Mismatch, UserID: s.UserID, Err: whyNot(s, id)},
		until:  time.Now().Add(keepRefusal),
	}
}

// refuseOtherPerson refuses a legacy session, and revokes the Stytch session k that it
// became. The application now gives another identity under the same ID and Subject
// than at the exchange. This is no logout: the person may move again. If several
// requests find this at the same time, the one that ends k reports it.
func (m *Exchanger) refuseOtherPerson(ctx context.Context, l *Legacy, k *session.Entry) Result {
	x := anotherPerson(k.Session, l.Identity)
	m.remember(l.Key, x) // before k ends, or the next request would exchange again
	if !m.RevokeLater(ctx, k.Session.ID) {
		x.reported.Store(true)
	}
	return x.forRequest()
}

// ErrAnotherPerson is why a session of Stytch's was not used.
var ErrAnotherPerson = &stytch.CallError{Op: stytch.Migrate, Reason: "Stytch's user is not the legacy session's person", Answer: stytch.No}

// ErrUnverified is why a session of Stytch's was not used, if Stytch's user has the email
// of the legacy session's person, has not verified it, and can sign in without it. Such a
// user may have been imported with a password, or may be someone else.
var ErrUnverified = &stytch.CallError{Op: stytch.Migrate, Reason: "Stytch has not verified this user's email, and its user can sign in without it", Answer: stytch.No}

// whyNot returns why the user of a session is not the person of an identity.
func whyNot(s *stytch.Session, id userinfo.Identity) error {
	if s.User.IsUnverified(id) {
		return ErrUnverified
	}
	return ErrAnotherPerson
}

// ErrLoggedOut is why a legacy session is refused that has ended: by a logout, or
// because Stytch no longer knows the session that it became.
var ErrLoggedOut = errors.New("stytchmigrate: this legacy session was logged out")
