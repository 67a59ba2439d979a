// Package codec opens what gorilla/securecookie wrote, and tells apart what is no
// session and what can't be told for a wrong setting.
package codec

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

// Wrong finds codecs that will open nothing. One made from an empty hash
// key or a block key of a wrong length says so only when it is used.
func Problems(codecs []securecookie.Codec) (wrong []string) {
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

// Open tries each codec with a payload of its own, so that what a
// failed one left behind never reaches resolve.
func Open[T any](name, value string, codecs []securecookie.Codec, noSession error) (T, error) {
	var zero T
	failed := noSession
	for _, codec := range codecs {
		var payload T
		err := decodeSafely(codec, name, value, &payload)
		switch {
		case err == securecookie.ErrMacInvalid || !isAsWritten(codec, value):
			continue
		case err == nil:
			return payload, nil
		case isAuthentic(codec, name, value, err):
			failed = redact.Setting(fmt.Sprintf("cookie %q is authentic, but does not decode into %v", name, reflect.TypeFor[T]()))
		case !isNoSession(codec, err, noSession):
			failed = redact.Setting(fmt.Sprintf("codec %T of cookie %q failed (%T) without saying that the value is no session", codec, name, err))
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
func isNoSession(codec securecookie.Codec, err, noSession error) bool {
	var se securecookie.Error
	_, ok := codec.(*securecookie.SecureCookie)
	return ok || errors.As(err, &se) || errors.Is(err, noSession)
}
