package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

// Outcome is what the middleware found out about a request.
type Outcome int

const (
	OutcomeAnonymous     Outcome = iota // no session; also where Handler never ran
	OutcomeAuthenticated                // a Stytch session
	OutcomeMigrated                     // a legacy session that became a Stytch session in this request
	OutcomeLegacy                       // a legacy session that is left alone for now, see Rollout
	OutcomeRefused                      // a legacy session that Stytch, or a rule, says no to
	OutcomeUnavailable                  // it can't be told whose session it is, if anybody's
)

// String returns the name that logs and metrics use: anonymous, authenticated,
// migrated, legacy, refused or unavailable.
func (o Outcome) String() string {
	names := [...]string{"anonymous", "authenticated", "migrated", "legacy", "refused", "unavailable"}
	if o < 0 || int(o) >= len(names) {
		return "unknown"
	}
	return names[o]
}

// found is what a request turned out to be. It is the one value that the
// middleware puts into a context.
type requestInfo struct {
	by      *cookies.Policy // of the Middleware that found it; nil in NewContext
	outcome Outcome
	cause   string // see Event; "" where err tells it
	user    *User
	session *Session
	legacy  *resolvedSession // whatever the outcome is; Logout ends it
	pending *cookies.Pending // nil where nothing is written
	hidden  bool             // legacy is for Logout alone: it ended, or an expired JWT is of another session
	err     error            // why it is Refused or Unavailable, or Legacy for want of room

	original *http.Request // with the cookies that were taken out for the handler; nil: none were
}

// oddity is what deserves an event of its own, beside a request's.
type notable struct {
	kind   string // "": nothing does
	userID string // that it is about, where it is not the request's
}

// verdict is what decide says of a request: what the handler is told, and
// what becomes of the browser's cookies.
type decision struct {
	requestInfo
	change  cookies.Change
	notable notable
	gone    bool // the client went away while the request waited
}

// nothing reports a request that carried no session, and of which there is
// nothing to say or to change.
func (v *decision) isNothing() bool {
	return v.outcome == OutcomeAnonymous && v.err == nil && v.notable.kind == "" && !v.gone && v.legacy == nil && v.change.None() && !v.change.Hide
}

// ruling says which of two sessions in one request counts.
type ruling int

const (
	unrelated  ruling = iota // the Stytch session stays, and so does the legacy cookie
	superseded               // the same person: the legacy cookie has done its work
	outdated                 // another person, who signed in earlier: that cookie must go
	overtaken                // another person, who signed in later: the legacy session wins
	conflict                 // another person, and nobody knows when: neither counts
)

// judgement is a ruling and the legacy cookies that it is about. It stays with
// the known session, so that a repeat costs one comparison, and an event nothing.
type cachedRuling struct {
	values [sha256.Size]byte // of the legacy cookies, see valuesOf
	legacy *resolvedSession
	ruling ruling
	until  time.Time
}

// kept is what stays beside a session in memory.
type attachment struct {
	info   *requestInfo                 // what a request is told that is served from memory
	ruling atomic.Pointer[cachedRuling] // of the legacy cookies that came with it last
}

func newAttachment(b *cookies.Policy, s *stytch.Session) any {
	user, its := publicTypes(s)
	return &attachment{info: &requestInfo{by: b, outcome: OutcomeAuthenticated, cause: session.CauseMemory, user: user, session: its}}
}

func attachmentOf(k *session.Entry) *attachment { return k.Attached.(*attachment) }

func tokensOf(k *session.Entry) *cookies.Tokens {
	return &cookies.Tokens{Session: k.Session.Token, JWT: k.Session.JWT, Expires: k.Session.ExpiresAt}
}

type contextKey struct{}

func infoFrom(ctx context.Context) *requestInfo {
	f, _ := ctx.Value(contextKey{}).(*requestInfo)
	return f
}

// UserFromContext returns the Stytch user of the request that ctx belongs to:
// outcomes Authenticated and Migrated. The user is shared with other requests
// and must not be changed. Where User.Partial is true only UserID is known.
func UserFromContext(ctx context.Context) (*User, bool) {
	f := infoFrom(ctx)
	if f == nil || f.user == nil {
		return nil, false
	}
	return f.user, true
}

// SessionFromContext returns the Stytch session of the request that ctx belongs
// to, shared and not to be changed, as the user is.
func SessionFromContext(ctx context.Context) (*Session, bool) {
	f := infoFrom(ctx)
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
	f := infoFrom(ctx)
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
	if f := infoFrom(ctx); f != nil {
		return f.outcome
	}
	return OutcomeAnonymous
}

// NewContext returns a context that holds a signed-in user, for tests of
// handlers. s may be nil; a nil u is an anonymous request.
func NewContext(ctx context.Context, u *User, s *Session) context.Context {
	f := &requestInfo{user: u, session: s}
	if u != nil {
		f.outcome = OutcomeAuthenticated
	}
	return context.WithValue(ctx, contextKey{}, f)
}
