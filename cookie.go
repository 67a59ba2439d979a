package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/gorilla"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/userinfo"
)

// CookieOptions say how the Stytch cookies are written. The zero value writes
// what Stytch's browser SDK writes, but HttpOnly: host-only, Path=/,
// SameSite=Lax, Secure. Where the SDK runs on the pages too, names, Domain and
// Path must be those of its cookieOptions, or the browser holds two of each; its
// domain counts with availableToSubdomains only.
type CookieOptions struct {
	SessionName string // default "stytch_session"
	JWTName     string // default "stytch_session_jwt"

	Domain string // default none: host-only
	Path   string // default "/"; requests elsewhere, by the path that the middleware sees, keep the cookies they have

	SameSite http.SameSite // default Lax

	// ReadableByScripts leaves out HttpOnly. Stytch's browser SDK needs it: it
	// reads stytch_session from document.cookie, takes a user whose cookie it
	// can't see for signed out, and can't write the cookies of its own logins.
	// With a custom domain that keeps the cookies HttpOnly it needs Domain in place
	// of this.
	ReadableByScripts bool

	// Insecure leaves out Secure, for development over plain HTTP only.
	Insecure bool

	// OldScopes are where earlier settings, or the SDK, may have left cookies of
	// these names. They are cleared whenever the Stytch cookies are set, and at Logout.
	OldScopes []CookieScope
}

// CookieScope is the Domain and Path of a cookie, as they were set. Empty:
// host-only, and "/".
type CookieScope struct{ Domain, Path string }

func (s CookieScope) normal() cookies.Scope { return cookies.Scope(s).Normal() }

func scopesOf(list []CookieScope) (out []cookies.Scope) {
	for _, s := range list {
		out = append(out, cookies.Scope(s))
	}
	return out
}

const maxLegacyValue = 8 << 10 // larger values are refused before anything decodes them

// ErrNoSession is what [LegacyCookie.Resolve] returns for a value that is no
// session: absent, expired, forged, or of somebody who is not fully signed in. An error
// of [Middleware.SignIn] is one too, if the Stytch session that it was given is none.
var ErrNoSession = errors.New("stytchmigrate: no legacy session")

// LegacyCookie describes the cookie of the session that the application used
// before. [SecureCookie] makes one for cookies of gorilla/securecookie.
type LegacyCookie struct {
	Name   string
	Also   []string      // further cookies of that session, expired and hidden with it
	Scopes []CookieScope // where the old code set them; nil: host-only, Path=/. What was set Partitioned is not deleted

	// Resolve tells whose session a value is. It is required, and the
	// application vouches for what it returns: whatever signature, store or
	// expiry the old code checked must be checked here. It runs in the request's
	// own goroutine, for most requests that carry the cookie and for a value that a
	// handler sets: judge value, not the cookies of r, and don't read the body. It also
	// runs after a handler of another method than GET and HEAD that set no session
	// cookie. If there is no session any more, the handler has logged the user out.
	// Several requests may call it at once. The context of r may hold the session
	// that another middleware has loaded, at Logout even one of another value: look
	// up the value that is given.
	//
	// Return ErrNoSession where there is none: expired, forged, unknown, or not
	// fully signed in (second factor pending, an impersonation). Any other error
	// says that it can't be told now, and is answered with OutcomeUnavailable; its
	// text is not logged, for it may hold the value: log it in Resolve.
	Resolve func(r *http.Request, value string) (LegacySession, error)

	// End, if set, ends the session at its source. Logout calls it for the session
	// of the request's cookie, and for the one that the user's Stytch session came
	// from, which is kept for it, sealed, in Config.Store. As with Resolve, end s, and
	// not what ctx may hold.
	End func(ctx context.Context, s LegacySession) error

	wrong  []string                  // what SecureCookie was given wrong; New reports it
	whyNot func(value string) string // why no codec of SecureCookie opens a value; "": one does. For Explain
}

func (l *LegacyCookie) names() []string { return append([]string{l.Name}, l.Also...) }

// LegacySession is a session of the application's old kind.
//
// Give Identity, or give Token; with both, the Stytch user is also checked
// against Identity. Where Identity is given, it needs Subject and a verified,
// well-formed Email: Stytch matches users by email, so an email that nobody
// verified would be a way into the account of whoever owns it.
//
// ID tells one session from another: unguessable, 16 bytes or more, the same for
// as long as the session lives, and no other user's after it. By default it is
// Token, else the cookie's value. Give the id that the source itself has where one
// session's cookie may be written in several ways: the jti or sid of a JWT, whose
// last character has bits to spare, or the id of a row that a database found
// without regard to case. A copy written in another way would not be known as the
// session that was logged out. Where Identity is not given, whose session it is has
// to be part of it too, as a JWT's sub beside its sid: nothing else tells two
// people apart.
//
// StartedAt is when the user signed in, and never when the cookie was written: an
// application that writes its cookie again with each response would sign its user in
// again with each, also with a copy of a cookie that was logged out. Leave it zero if the
// cookie tells the time of its writing alone. In whole seconds, as in a JWT, the session
// is the earlier one of two that fall into one second.
type LegacySession struct {
	ID        Secret            // which session it is, see above
	Token     Secret            // sent to Stytch, which shows it to the UserInfo endpoint; empty: a ticket is minted from Identity
	Identity  userinfo.Identity // whose session it is
	StartedAt time.Time         // when the user signed in, not when the cookie was written; zero: unknown
	ExpiresAt time.Time         // zero: unknown; past: no session; else the Stytch session lives at least that long

	// UntilBrowserCloses is for a cookie that goes when the browser is closed: MaxAge 0 in
	// gorilla/sessions, Persist false in scs, no "remember me". The Stytch cookies then have
	// no Max-Age and no Expires either, on refreshes and on other machines too. The Stytch
	// session keeps it as the custom claim until_browser_closes. A session that the same
	// person makes later by the old login does not change it.
	UntilBrowserCloses bool
}

// SecureCookie completes c for a cookie that gorilla/securecookie wrote, as
// gorilla/sessions does: T is the payload, map[any]any for a CookieStore and
// string for the id of a store on the server. Types inside a gob payload must
// be registered as in the old code. The codecs are those of the old code, the
// current key pair first.
//
// The MAC is checked before anything else; a value that fails it, or is older
// than the codec's MaxAge, is no session. A value that is authentic but does not
// decode into T is a wrong setting and says so: OutcomeUnavailable, and a line
// in the log that names T. A codec of another make says that a value is no
// session by a [securecookie.Error] or by ErrNoSession; any other error of it
// can't be told from an outage.
func SecureCookie[T any](c LegacyCookie, codecs []securecookie.Codec, resolve func(*http.Request, T) (LegacySession, error)) LegacyCookie {
	name, codecs := c.Name, slices.Clone(codecs)
	c.wrong = gorilla.Problems(codecs)
	if c.Resolve != nil {
		c.wrong = append(c.wrong, "SecureCookie: Resolve is set already")
	}
	if resolve == nil {
		c.wrong = append(c.wrong, "SecureCookie: no resolve function")
	}
	c.Resolve = func(r *http.Request, value string) (LegacySession, error) {
		payload, err := gorilla.Open[T](name, value, codecs, ErrNoSession)
		if err != nil {
			return LegacySession{}, err
		}
		return resolve(r, payload)
	}
	c.whyNot = func(value string) string { return gorilla.WhyNot(name, value, codecs) }
	return c
}

func (o *CookieOptions) options() cookies.Options {
	return cookies.Options{
		SessionName: o.SessionName, JWTName: o.JWTName, Domain: o.Domain, Path: o.Path, SameSite: o.SameSite,
		ReadableByScripts: o.ReadableByScripts, Insecure: o.Insecure, OldScopes: scopesOf(o.OldScopes),
	}
}

func legacyCookies(list []LegacyCookie) []cookies.Legacy {
	old := make([]cookies.Legacy, len(list))
	for i, l := range list {
		old[i] = cookies.Legacy{Name: l.Name, Also: l.Also, Scopes: scopesOf(l.Scopes)}
	}
	return old
}

// resolvedSession is a legacy session of a request.
type resolvedSession struct {
	entry   int // of Config.Legacy
	cookie  *LegacyCookie
	session LegacySession
	key     string // of its record

	more        []string // keys of the other values of that cookie, of the same person
	byValue     bool     // its ID is the cookie's value
	mixed       bool     // another value of that cookie, in the same request, is a visitor's
	fingerprint string   // filled in only for a session that stays in memory, see decider.ruleOn
}

// legacyResolver finds the legacy sessions of requests.
type legacyResolver struct {
	cookies []LegacyCookie // Config.Legacy
	names   *names.Names
}

// first returns the legacy session that counts: the first entry of Config.Legacy that
// has one decides. It returns nil if there is none, or if there are those of several
// people. An error means that it can't be told; its text is fit for a log.
func (l *legacyResolver) first(r *http.Request, c *cookies.Received) (one *resolvedSession, several bool, err error) {
	if !c.HasLegacy {
		return nil, false, nil
	}
	for i := range l.cookies {
		s, several, err := l.find(i, r, c.Legacy[i])
		if s != nil || several || err != nil {
			return s, several, err
		}
	}
	return nil, false, nil
}

// full returns the entries of Config.Legacy whose values in a request are all sessions,
// and those sessions. An entry with a visitor's value beside a session is left out, and so
// is one with a value that can't be told: a deletion goes by name and scope, and a browser
// does not say which value is in which scope.
func (l *legacyResolver) full(r *http.Request, c *cookies.Received) (entries []int, all []*resolvedSession, err error) {
	for i, values := range c.Legacy {
		found, failed := 0, error(nil)
		visitors := len(values) > cookies.MaxDuplicates
		for _, v := range values {
			s, e := l.resolve(i, r, v)
			if failed = errors.Join(failed, e); s != nil {
				all, found = append(all, s), found+1
			} else {
				visitors = visitors || l.isVisitors(i, r, v)
			}
		}
		if err = errors.Join(err, failed); failed == nil && found > 0 && !visitors {
			entries = append(entries, i)
		}
	}
	return entries, all, err
}

// isVisitors reports whether a value that is no session by one entry is none by the
// others that read the same name either.
func (l *legacyResolver) isVisitors(entry int, r *http.Request, value string) bool {
	for i := range l.cookies {
		if i == entry || l.cookies[i].Name != l.cookies[entry].Name {
			continue
		}
		if s, err := l.resolve(i, r, value); s != nil || err != nil {
			return false
		}
	}
	return true
}

// every returns every legacy session that a request carries, and the errors of those
// that could not be resolved. Logout ends them all.
func (l *legacyResolver) every(r *http.Request, c *cookies.Received) (all []*resolvedSession, err error) {
	for i, values := range c.Legacy {
		for _, v := range values {
			s, failed := l.resolve(i, r, v)
			if s != nil {
				all = append(all, s)
			}
			err = errors.Join(err, failed)
		}
	}
	return all, err
}

// find resolves the values of one cookie. Several values of one session, or of one
// person, count as one. With several people none counts: it can't be told who is at
// the browser.
func (l *legacyResolver) find(entry int, r *http.Request, values []string) (one *resolvedSession, several bool, err error) {
	if len(values) > cookies.MaxDuplicates {
		return nil, true, nil
	}
	var none []string
	for _, v := range values {
		s, err := l.resolve(entry, r, v)
		switch {
		case err != nil:
			return nil, false, err
		case s == nil:
			none = append(none, v)
		case one == nil:
			one = s
		case !sameSession(one.session, s.session):
			return nil, true, nil
		default:
			one.more = append(one.more, s.key)
		}
	}
	mixed := slices.ContainsFunc(none, func(v string) bool { return one != nil && l.isVisitors(entry, r, v) })
	if one != nil {
		one.mixed = mixed
	}
	return one, false, nil
}

// resolve returns the session of one value, or nil if the value is no session.
func (l *legacyResolver) resolve(entry int, r *http.Request, value string) (*resolvedSession, error) {
	c := &l.cookies[entry]
	if len(value) > maxLegacyValue {
		return nil, nil
	}
	value = strings.Clone(value) // a part of it that is remembered must not keep the whole header in memory
	s, err := c.Resolve(r, value)
	switch {
	case errors.Is(err, ErrNoSession) || err == nil && !s.ExpiresAt.IsZero() && !time.Now().Before(s.ExpiresAt):
		return nil, nil
	case err != nil:
		return nil, resolveError(c.Name, err)
	}
	if s.ID == "" {
		s.ID = s.Token
	}
	if s.ID == "" {
		s.ID = Secret(value)
	}
	key := l.names.Record(c.Name, string(s.ID), s.Identity.Subject, s.StartedAt)
	return &resolvedSession{entry: entry, cookie: c, session: s, key: key, byValue: string(s.ID) == value}, nil
}

// sameSession compares the people if both are known: some applications keep a
// session's id when another user signs in.
func sameSession(a, b LegacySession) bool {
	if a.Identity.Subject != "" && b.Identity.Subject != "" {
		return a.Identity.Subject == b.Identity.Subject
	}
	return a.ID == b.ID
}

// resolveError returns an error that is safe to log. Of the application's error only
// the type is kept, because its text may hold the cookie's value.
func resolveError(name string, err error) error {
	var setting redact.Setting
	if errors.As(err, &setting) {
		return setting
	}
	return fmt.Errorf("stytchmigrate: Resolve of cookie %q failed (%T)", name, err)
}
