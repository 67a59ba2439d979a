package stytchmigrate

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/safe"
	"example.com/stytchmigrate/userinfo"
)

const maxLegacyValue = 8 << 10 // larger values are refused before anything decodes them

// ErrNoSession is what [LegacyCookie.Resolve] returns for a value that is no
// session: absent, expired, forged, or of somebody who is not fully signed in.
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
	// handler sets: judge value, not the cookies of r, and don't read the body.
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

	wrong []string // what SecureCookie was given wrong; New reports it
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
// StartedAt, in whole seconds as in a JWT, is the earlier one of two that fall into
// one second.
type LegacySession struct {
	ID        Secret            // which session it is, see above
	Token     Secret            // sent to Stytch, which shows it to the UserInfo endpoint; empty: a ticket is minted from Identity
	Identity  userinfo.Identity // whose session it is
	StartedAt time.Time         // when the user signed in; zero: unknown
	ExpiresAt time.Time         // zero: unknown; past: no session; else the Stytch session lives at least that long
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
	c.wrong = wrongCodecs(codecs)
	if c.Resolve != nil {
		c.wrong = append(c.wrong, "SecureCookie: Resolve is set already")
	}
	if resolve == nil {
		c.wrong = append(c.wrong, "SecureCookie: no resolve function")
	}
	c.Resolve = func(r *http.Request, value string) (LegacySession, error) {
		payload, err := openSecureCookie[T](name, value, codecs)
		if err != nil {
			return LegacySession{}, err
		}
		return resolve(r, payload)
	}
	return c
}

// wrongCodecs finds codecs that will open nothing. One made from an empty hash
// key or a block key of a wrong length says so only when it is used.
func wrongCodecs(codecs []securecookie.Codec) (wrong []string) {
	if len(codecs) == 0 {
		return []string{"SecureCookie: no codec"}
	}
	for i, codec := range codecs {
		sc, ok := codec.(*securecookie.SecureCookie)
		var se securecookie.Error
		switch {
		case codec == nil || ok && sc == nil:
			wrong = append(wrong, fmt.Sprintf("SecureCookie: codec %d is nil", i))
		case ok && errors.As(sc.Decode("", "", nil), &se) && se.IsUsage():
			wrong = append(wrong, fmt.Sprintf("SecureCookie: codec %d has no hash key, or a block key that is not of 16, 24 or 32 bytes", i))
		}
	}
	return wrong
}

// openSecureCookie tries each codec with a payload of its own, so that what a
// failed one left behind never reaches resolve.
func openSecureCookie[T any](name, value string, codecs []securecookie.Codec) (T, error) {
	var zero T
	failed := error(ErrNoSession)
	for _, codec := range codecs {
		var payload T
		err := decodeSafely(codec, name, value, &payload)
		switch {
		case err == securecookie.ErrMacInvalid || !isAsWritten(codec, value):
			continue
		case err == nil:
			return payload, nil
		case isAuthentic(codec, name, value, err):
			failed = safe.Setting(fmt.Sprintf("cookie %q is authentic, but does not decode into %v", name, reflect.TypeFor[T]()))
		case !isNoSession(codec, err):
			failed = safe.Setting(fmt.Sprintf("codec %T of cookie %q failed (%T) without saying that the value is no session", codec, name, err))
		}
	}
	return zero, failed
}

// isAsWritten reports whether a value is what a SecureCookie writes. Its
// decoder ignores line breaks, and the last bits of base64 that stand for nothing:
// the same cookie would have several values, and be another session under each of
// them where LegacySession.ID is left out.
func isAsWritten(codec securecookie.Codec, value string) bool {
	if _, ok := codec.(*securecookie.SecureCookie); !ok {
		return true
	}
	_, err := base64.URLEncoding.Strict().DecodeString(value)
	return err == nil && !strings.ContainsAny(value, "\r\n")
}

// decodeSafely keeps a payload that makes its decoder panic from ending the
// request: it got past the MAC, so it is a wrong setting like any other.
func decodeSafely(codec securecookie.Codec, name, value string, dst any) (err error) {
	defer func() {
		if recover() != nil {
			err = errDecoderPanicked
		}
	}()
	return codec.Decode(name, value, dst)
}

var errDecoderPanicked = errors.New("stytchmigrate: decoder panicked")

// isAuthentic reports whether a codec's error came after the MAC was found
// right: from the payload's decoder, or from a codec that lacks its key.
// securecookie has no test for it, but gives a decoder's error as the cause of
// its own, as it does elsewhere only for the base64 around the MAC.
func isAuthentic(codec securecookie.Codec, name, value string, err error) bool {
	var several securecookie.MultiError
	if errors.As(err, &several) {
		return slices.ContainsFunc(several, func(err error) bool { return isAuthentic(codec, name, value, err) })
	}
	var se securecookie.Error
	switch {
	case !errors.As(err, &se):
		return errors.Is(err, errDecoderPanicked)
	case se.IsUsage() || se.IsInternal():
		return true
	}
	sc, ok := codec.(*securecookie.SecureCookie)
	if se.Cause() == nil {
		return ok && !errors.Is(err, securecookie.ErrMacInvalid) && isUndecryptable(*sc, name, value)
	}
	_, envelope := se.Cause().(base64.CorruptInputError)
	return ok || !envelope // of a SecureCookie's value, the envelope has been looked at
}

// isUndecryptable tells an authentic value that is too short to be encrypted,
// as where a block key was added later, from one that is merely too old: that
// of the two which stays when age is no matter.
func isUndecryptable(sc securecookie.SecureCookie, name, value string) bool {
	var ignored any
	var se securecookie.Error
	err := decodeSafely(sc.MaxAge(0).MinAge(0), name, value, &ignored)
	return errors.As(err, &se) && se.Cause() == nil
}

// isNoSession reports whether an error that does not come from the payload's
// decoder refuses the value. Of a SecureCookie each one does: it has one that is
// no securecookie.Error, for a value longer than MaxLength.
func isNoSession(codec securecookie.Codec, err error) bool {
	var se securecookie.Error
	_, ok := codec.(*securecookie.SecureCookie)
	return ok || errors.As(err, &se) || errors.Is(err, ErrNoSession)
}

// foundLegacy is the legacy session of a request.
type foundLegacy struct {
	entry   int // of Config.Legacy
	cookie  *LegacyCookie
	session LegacySession

	fingerprint string // "" where it is not in memory, see judge
}

// legacyCookies are Config.Legacy.
type legacyCookies []LegacyCookie

// first returns the legacy session that a request carries: the first of
// Config.Legacy that has one decides. nil and no error: none. An error means
// that it can't be told, and its text is fit for a log.
func (all legacyCookies) first(r *http.Request, c *browser.Cookies) (*foundLegacy, error) {
	if !c.HasOld {
		return nil, nil
	}
	for i := range all {
		f, several, err := all.find(i, r, c.Old[i])
		if f != nil || several || err != nil {
			return f, err
		}
	}
	return nil, nil
}

// every returns every legacy session that a request carries, for an end to
// all of them, and what could not be told.
func (all legacyCookies) every(r *http.Request, c *browser.Cookies) (found []*foundLegacy, err error) {
	for i, values := range c.Old {
		for _, v := range values {
			f, failed := all.resolve(i, r, v)
			if f != nil {
				found = append(found, f)
			}
			err = errors.Join(err, failed)
		}
	}
	return found, err
}

// find resolves the values of one cookie. Several that are one session or one
// person count as one. Several people: nobody can say who is at the browser.
func (all legacyCookies) find(entry int, r *http.Request, values []string) (found *foundLegacy, several bool, err error) {
	if len(values) > browser.MaxDuplicates {
		return nil, true, nil
	}
	for _, v := range values {
		f, err := all.resolve(entry, r, v)
		switch {
		case err != nil:
			return nil, false, err
		case f == nil:
		case found == nil:
			found = f
		case !sameSession(found.session, f.session):
			return nil, true, nil
		}
	}
	return found, false, nil
}

// resolve returns the session of one value, or nil if there is none in it.
func (all legacyCookies) resolve(entry int, r *http.Request, value string) (*foundLegacy, error) {
	l := &all[entry]
	if len(value) > maxLegacyValue {
		return nil, nil
	}
	value = strings.Clone(value) // what is remembered of it keeps no header alive
	s, err := l.Resolve(r, value)
	switch {
	case errors.Is(err, ErrNoSession) || err == nil && !s.ExpiresAt.IsZero() && !time.Now().Before(s.ExpiresAt):
		return nil, nil
	case err != nil:
		return nil, resolveError(l.Name, err)
	}
	if s.ID == "" {
		s.ID = s.Token
	}
	if s.ID == "" {
		s.ID = Secret(value)
	}
	return &foundLegacy{entry: entry, cookie: l, session: s}, nil
}

// sameSession goes by the person where both are known: some applications keep
// a session's id when another user signs in.
func sameSession(a, b LegacySession) bool {
	if a.Identity.Subject != "" && b.Identity.Subject != "" {
		return a.Identity.Subject == b.Identity.Subject
	}
	return a.ID == b.ID
}

// resolveError is safe to log: of an application's error only the type is
// kept, for its text may hold the cookie's value.
func resolveError(name string, err error) error {
	var setting safe.Setting
	if errors.As(err, &setting) {
		return setting
	}
	return fmt.Errorf("stytchmigrate: Resolve of cookie %q failed (%T)", name, err)
}
