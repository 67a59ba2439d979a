package gorilla

import (
	"errors"
	"fmt"

	"github.com/gorilla/securecookie"
)

// WhyNot returns why no codec opens a value, in words that hold nothing of the value, or
// "" if one does.
func WhyNot(name, value string, codecs []securecookie.Codec) string {
	noMAC, expired, refused := 0, -1, -1
	for i, codec := range codecs {
		var ignored any
		err := decode(codec, name, value, &ignored)
		sc, isSecureCookie := codec.(*securecookie.SecureCookie)
		switch {
		case errors.Is(err, securecookie.ErrMacInvalid):
			noMAC++
		case !isCanonical(codec, value):
			return "it is no base64 as securecookie writes it: another library wrote it"
		case err == nil, isAuthentic(codec, name, value, err):
			return "" // what does not decode is an error of Open
		case isSecureCookie && isTooOld(*sc, name, value):
			expired = i
		default:
			refused = i
		}
	}
	switch {
	case expired >= 0:
		return fmt.Sprintf("codec %d has its MAC, but the value is older than the codec's MaxAge", expired)
	case noMAC == len(codecs):
		return fmt.Sprintf("none of %d codec%s has its MAC: wrong keys or another cookie's name", noMAC, plural(noMAC))
	}
	return fmt.Sprintf("codec %d refuses it, as too long for example", refused)
}

// isTooOld reports a value whose MAC is right and whose time is not.
func isTooOld(sc securecookie.SecureCookie, name, value string) bool {
	var ignored any
	err := decode(sc.MaxAge(0).MinAge(0), name, value, &ignored)
	var se securecookie.Error
	return err == nil || errors.As(err, &se) && se.Cause() != nil
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}
