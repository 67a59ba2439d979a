// Package gorilla opens legacy cookies that gorilla/securecookie wrote.
//
// A value that does not open is one of two things, and [Open] keeps them apart. A value
// that is forged, expired or of another application is no session. A value that is
// authentic and does not decode means that a setting is wrong: the user behind it is
// signed in, and must not be taken for signed out.
package gorilla

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/gorilla/securecookie"

	"example.com/stytchmigrate/internal/redact"
)

// Problems describes codecs that can open nothing. securecookie itself reports an empty
// hash key, or a block key of a wrong length, only when the codec is used.
func Problems(codecs []securecookie.Codec) (problems []string) {
	if len(codecs) == 0 {
		return []string{"SecureCookie: no codec"}
	}
	for i, codec := range codecs {
		sc, ok := codec.(*securecookie.SecureCookie)
		var se securecookie.Error
		switch {
		case codec == nil || ok && sc == nil:
			problems = append(problems, fmt.Sprintf("SecureCookie: codec %d is nil", i))
		case ok && errors.As(sc.Decode("", "", nil), &se) && se.IsUsage():
			problems = append(problems, fmt.Sprintf("SecureCookie: codec %d has no hash key, or a block key that is not of 16, 24 or 32 bytes", i))
		}
	}
	return problems
}

// Open returns the payload of a cookie's value. It tries the codecs in order, and the
// first that opens the value decides. The error is
//
//   - noSession: no codec vouches for the value,
//   - a [redact.Setting]: the value is authentic and does not decode into T, or a codec
//     that is not securecookie's failed without saying that the value is no session.
//
// Each codec decodes into a payload of its own, so that a decoder that fails halfway
// leaves nothing in the result of the next.
func Open[T any](name, value string, codecs []securecookie.Codec, noSession error) (T, error) {
	var none T
	failure := noSession
	for _, codec := range codecs {
		var payload T
		err := decode(codec, name, value, &payload)
		switch {
		case err == securecookie.ErrMacInvalid, !isCanonical(codec, value):
			continue
		case err == nil:
			return payload, nil
		case isAuthentic(codec, name, value, err):
			failure = redact.Setting(fmt.Sprintf("cookie %q is authentic, but does not decode into %v", name, reflect.TypeFor[T]()))
		case !isRefusal(codec, err, noSession):
			failure = redact.Setting(fmt.Sprintf("codec %T of cookie %q failed (%T) without saying that the value is no session", codec, name, err))
		}
	}
	return none, failure
}

// isCanonical reports whether a SecureCookie writes this form of the value. Its decoder
// ignores line breaks and the spare bits at the end of base64. One cookie would then
// have several values. Where LegacySession.ID is left out, the value is the session's
// id, and a copy in another form would not be known as the session that was logged out.
func isCanonical(codec securecookie.Codec, value string) bool {
	if _, ok := codec.(*securecookie.SecureCookie); !ok {
		return true
	}
	_, err := base64.URLEncoding.Strict().DecodeString(value)
	return err == nil && !strings.ContainsAny(value, "\r\n")
}

var errPanicked = errors.New("stytchmigrate: decoder panicked")

// decode turns a panic into an error. A payload that makes its decoder panic got past
// the MAC, so that a setting is wrong, as with any other payload that does not decode.
func decode(codec securecookie.Codec, name, value string, dst any) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanicked
		}
	}()
	return codec.Decode(name, value, dst)
}

// isAuthentic reports whether a codec failed after it found the MAC right: in the
// payload's decoder, or because it lacks a key. securecookie does not say so, but the
// causes of its errors do:
//
//   - A usage error or an internal error is about the codec, not about the value.
//   - An error without a cause is about the MAC, the timestamp, or a value that is too
//     short to be encrypted.
//   - An error with a cause comes from the payload's decoder, or from base64 around
//     the MAC. Open has checked the base64 of a SecureCookie's value before.
func isAuthentic(codec securecookie.Codec, name, value string, err error) bool {
	var several securecookie.MultiError
	if errors.As(err, &several) {
		return slices.ContainsFunc(several, func(err error) bool { return isAuthentic(codec, name, value, err) })
	}
	var se securecookie.Error
	switch {
	case !errors.As(err, &se):
		return errors.Is(err, errPanicked)
	case se.IsUsage() || se.IsInternal():
		return true
	}
	sc, ok := codec.(*securecookie.SecureCookie)
	if se.Cause() == nil {
		return ok && !errors.Is(err, securecookie.ErrMacInvalid) && isUndecryptable(*sc, name, value)
	}
	_, isBase64 := se.Cause().(base64.CorruptInputError)
	return ok || !isBase64
}

// isUndecryptable tells an authentic value that is too short to be encrypted from one
// that has expired. Such values remain where a block key was added later. Without
// limits on age, the first still fails without a cause.
func isUndecryptable(sc securecookie.SecureCookie, name, value string) bool {
	var ignored any
	var se securecookie.Error
	err := decode(sc.MaxAge(0).MinAge(0), name, value, &ignored)
	return errors.As(err, &se) && se.Cause() == nil
}

// isRefusal reports whether an error that is not about an authentic value says that the
// value is no session. Every error of a SecureCookie does. For a value beyond MaxLength
// that error is no securecookie.Error.
func isRefusal(codec securecookie.Codec, err, noSession error) bool {
	var se securecookie.Error
	_, ok := codec.(*securecookie.SecureCookie)
	return ok || errors.As(err, &se) || errors.Is(err, noSession)
}
