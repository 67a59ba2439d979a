package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/rawjson"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/sessionjwt"
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

// requestInfo is what the middleware found out about a request. It is the one value
// that the middleware puts into a context.
type requestInfo struct {
	by             *cookies.Policy // identifies the Middleware; nil in NewContext and NewLegacyContext
	outcome        Outcome
	cause          string // see Event.Cause; "" if err tells it
	user           *User
	session        *Session
	legacy         *resolvedSession // with any outcome: Logout ends it
	notForHandlers bool             // legacy is not for handlers: it was logged out, or an expired JWT is of another session
	err            error            // why the outcome is Refused or Unavailable, or Legacy because there was no room

	pending  *cookies.Pending // the Set-Cookie lines of the response; nil if there are none
	original *http.Request    // with the cookies that are hidden from the handler; nil if none are
}

// decision is what the middleware does with a request: what it tells the handler,
// and what becomes of the browser's cookies. The zero value is an anonymous request.
type decision struct {
	requestInfo
	change  cookies.Change
	notable notable

	samePerson bool // legacy is a session of the Stytch session's user
	given      int  // what mistakes.Pages.Of said when the request came: of the cookies that it gets, or of those that it loses
	gone       bool // the client left while the request waited; with OutcomeAnonymous nothing was found out
}

// notable is a second event of a request, besides the one of Kind "request".
type notable struct {
	kind   string // "": there is no second event
	userID string // of the Stytch user that the event is about, if it is not the request's
}

// isNothing reports an anonymous request about which there is nothing to report and
// nothing to change.
func (d *decision) isNothing() bool {
	return d.outcome == OutcomeAnonymous && d.err == nil && d.notable.kind == "" && !d.gone && d.legacy == nil && d.change.None() && !d.change.Hide
}

// changeLegacy sets what becomes of the legacy cookies, and leaves the change of the
// Stytch cookies as it is.
func (d *decision) changeLegacy(ch cookies.Change) {
	ch.Set, ch.Clear = d.change.Set, d.change.Clear
	d.change = ch
}

// ruling says which of two sessions in one request counts.
type ruling int

const (
	unrelated   ruling = iota // it can't be told whether it is one person: the Stytch session counts, and the legacy cookie stays
	samePerson                // the Stytch session counts, and the legacy cookie is no longer needed
	legacyOlder               // another person, who signed in earlier or has logged out: the Stytch session counts, and the legacy cookie must go
	legacyNewer               // another person, who signed in later: the legacy session counts
	conflict                  // another person, and it can't be told who signed in later: neither counts
)

// overStytch reports whether the Stytch session does not count.
func (k ruling) overStytch() bool { return k == legacyNewer || k == conflict }

// cachedRuling is a ruling on the legacy cookies of a request. It stays in memory
// beside the Stytch session, so that the next request costs one comparison and no
// call of Resolve.
type cachedRuling struct {
	values  [sha256.Size]byte // see hashLegacy
	legacy  *resolvedSession  // nil if the cookies hold no session, or those of several people
	ruling  ruling
	several bool // the cookies hold sessions of several people
	until   time.Time
}

// isRenewed reports whether the session that a handler set is the current one. If the
// current cookie stays, a session of the same person counts too, whatever its ID:
// without an ID of its own, each cookie that is saved again has another one.
func isRenewed(set, current *resolvedSession, stays bool) bool {
	x, y := set.session, current.session
	if stays && x.Identity.Subject != "" && x.Identity.Subject == y.Identity.Subject {
		return true
	}
	return x.ID == y.ID && x.Identity.Subject == y.Identity.Subject && x.StartedAt.Equal(y.StartedAt)
}

// isCopy reports whether a session that a handler set is one that was logged out, and no
// sign-in after it. A sign-in is another person's, so far as is known, or has a later
// StartedAt. If that is not known, what a page saves is a copy if its ID is only the value,
// or if the page saw the cookie: else the page has signed the user in by itself, as a proxy
// with single sign-on does. What a form or a redirect sets may be a sign-in.
func isCopy(set, ended *resolvedSession, page, saw bool) bool {
	x, y := set.session, ended.session
	known := !x.StartedAt.IsZero() && !y.StartedAt.IsZero()
	switch {
	case x.Identity.Subject == "", x.Identity.Subject != y.Identity.Subject, known && x.StartedAt.After(y.StartedAt):
		return false
	}
	return page && (saw || known || set.byValue) || known && set.byValue && x.StartedAt.Equal(y.StartedAt)
}

// attachment is what the middleware keeps beside a Stytch session in memory.
type attachment struct {
	info    *requestInfo                 // of a request that is served from memory
	expired atomic.Bool                  // a response has expired a legacy cookie; the next request shows what the browser did
	ruling  atomic.Pointer[cachedRuling] // on the legacy cookies that came with the session last
}

// newAttachment returns the *attachment of a session: see session.Config.Attach.
func newAttachment(p *cookies.Policy, s *stytch.Session) any {
	user, its := publicTypes(s)
	return &attachment{info: &requestInfo{by: p, outcome: OutcomeAuthenticated, cause: session.CauseMemory, user: user, session: its}}
}

// publicTypes returns a session in the types that handlers get. They hold Stytch's
// answer, or only what the JWT says. A later JWT may have moved the expiry, and tells
// what has changed in the session since that answer.
func publicTypes(s *stytch.Session) (*User, *Session) {
	if c, ok := s.Raw.(*sessionjwt.Claims); ok {
		return &User{UserID: c.UserID, Partial: true}, sessionOf(c)
	}
	a := s.Raw.(*AuthenticateResponse)
	newer, _ := s.Newer.(*sessionjwt.Claims)
	if newer == nil && a.Session.ExpiresAt.Equal(s.ExpiresAt) {
		return &a.User, &a.Session
	}
	session := a.Session
	session.ExpiresAt = s.ExpiresAt
	if newer != nil {
		session.take(sessionOf(newer))
	}
	return &a.User, &session
}

func sessionOf(c *sessionjwt.Claims) *Session {
	session := &Session{
		SessionID: c.SessionID, UserID: c.UserID, Roles: c.Session.Roles, CustomClaims: c.Custom,
		StartedAt: c.SessionStartedAt, LastAccessedAt: c.Session.LastAccessedAt, ExpiresAt: c.SessionExpiresAt,
		Attributes: &Attributes{IPAddress: c.Session.IPAddress, UserAgent: c.Session.UserAgent},
	}
	ignore := func(string, string) {} // in a JWT, a factor may lack members that an answer has
	if err := rawjson.DecodeNeeded(c.Session.AuthenticationFactors, &session.AuthenticationFactors, ignore); err != nil {
		session.AuthenticationFactors = nil
	}
	return session
}

func attachmentOf(e *session.Entry) *attachment { return e.Attached.(*attachment) }

func tokensOf(e *session.Entry) *cookies.Tokens {
	s := e.Session
	return &cookies.Tokens{Session: s.Token, JWT: s.JWT, Expires: s.ExpiresAt, UntilBrowserCloses: s.UntilBrowserCloses}
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
// It returns false for a session that Logout ended, if StartedAt is known. If StartedAt is
// unknown, the session may be a new sign-in under the old id, so it is returned. It also
// returns false if an expired JWT came from another legacy session, and Stytch can't be
// asked about that JWT.
func LegacyFromContext(ctx context.Context) (LegacySession, bool) {
	f := infoFrom(ctx)
	if f == nil || f.legacy == nil || f.notForHandlers {
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

// NewLegacyContext returns a context that holds a user who has not moved, for tests of
// handlers: the outcome is Legacy, [LegacyFromContext] returns s, and [UserFromContext]
// returns no user.
func NewLegacyContext(ctx context.Context, s LegacySession) context.Context {
	return context.WithValue(ctx, contextKey{}, &requestInfo{outcome: OutcomeLegacy, legacy: &resolvedSession{session: s}})
}

// shareTrailer makes the copies of r have the trailer of a chunked request that
// announces none: net/http sets it on the request that it made, unless there is a map.
func shareTrailer(r *http.Request) {
	if r.Trailer == nil && r.ContentLength < 0 {
		r.Trailer = http.Header{}
	}
}

// giveBack gives the request that came what the handler has left in its copy. net/http
// removes the files of a MultipartForm from the request that it made, and middlewares
// outside of this one name traces by Pattern, and log forms.
func giveBack(came, passedOn *http.Request) {
	came.MultipartForm, came.Form, came.PostForm = passedOn.MultipartForm, passedOn.Form, passedOn.PostForm
	came.Pattern = passedOn.Pattern
}
