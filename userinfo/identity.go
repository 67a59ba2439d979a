package userinfo

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxSubject = 255 // OpenID Connect Core §2
	maxEmail   = 254 // RFC 5321 §4.5.3.1.3, less the angle brackets
)

// Identity says who the user of a legacy session is, in the claims of OpenID
// Connect Core §5.1 that Stytch has a use for. It is personal data, and prints
// like any other struct: keep it out of logs.
//
// Subject and a verified Email are needed to migrate a session; the names are
// optional. The zero value identifies nobody.
type Identity struct {
	// Subject is the application's own id for the user: stable, never given to
	// another user, and not the email.
	Subject string `json:"sub"`

	// Email is the address that Stytch knows the user by. EmailVerified must be
	// true only if the application made sure that the user receives mail there:
	// whoever has a verified address gets the account of that address.
	Email         string `json:"email,omitzero"`
	EmailVerified bool   `json:"email_verified,omitzero"`

	Name       string `json:"name,omitzero"` // in full, as the user writes it
	GivenName  string `json:"given_name,omitzero"`
	MiddleName string `json:"middle_name,omitzero"`
	FamilyName string `json:"family_name,omitzero"`
}

// Validate returns nil if a session of this identity can be migrated, else an
// error that names each field that is wrong and why, but never its value.
//
// Subject must be 1 to 255 bytes of printable UTF-8, and not blank. It must not be
// the text of a missing value either, null in any case or what fmt prints of nil:
// two users whose id is missing would be one person.
//
// Email must be verified, and be one plain address of at most 254 bytes: a local
// part of letters, digits, dots and the other characters that need no quoting,
// one @, and a domain name. Lists, display names, quoted local parts and address
// literals are refused, because two programs may not read them as the same address.
//
// For that reason the email must be ASCII too. How Stytch compares addresses is
// not documented, and one that folds case or normalizes by Unicode takes an
// address with a dotless i (U+0131) or a Kelvin sign (U+212A) for the one with an
// i or k, whose owner would lose the account to whoever has the look-alike.
// Internationalized domain names pass in their xn-- form. A user whose address is
// refused keeps the legacy session.
//
// The names are not looked at, as no account is matched by them.
func (id Identity) Validate() error {
	return errors.Join(id.checkSubject(), id.checkEmail())
}

func (id Identity) checkSubject() error {
	switch s := id.Subject; {
	case strings.TrimSpace(s) == "":
		return errors.New("userinfo: subject is empty")
	case len(s) > maxSubject:
		return errors.New("userinfo: subject is longer than 255 bytes")
	case !utf8.ValidString(s):
		return errors.New("userinfo: subject is not valid UTF-8")
	case strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) }):
		return errors.New("userinfo: subject has characters that are not printable")
	case isNothing(s), strings.Contains(s, "<nil>"): // the latter is fmt's
		return errors.New("userinfo: subject is a missing value, made text")
	}
	return nil
}

// isNothing reports whether s says no more than an absent value does: there is
// nothing in it to see, or it is a null that some program made text.
func isNothing(s string) bool {
	s = strings.TrimFunc(s, func(c rune) bool { return c == ' ' || !unicode.IsPrint(c) })
	return s == "" || strings.EqualFold(s, "null")
}

func (id Identity) checkEmail() error {
	local, domain, _ := strings.Cut(id.Email, "@")
	switch s := id.Email; {
	case s == "":
		return errors.New("userinfo: email is empty")
	case !id.EmailVerified:
		return errors.New("userinfo: email is not verified")
	case len(s) > maxEmail:
		return errors.New("userinfo: email is longer than 254 bytes")
	case !utf8.ValidString(s):
		return errors.New("userinfo: email is not valid UTF-8")
	case strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII }):
		return errors.New("userinfo: email has non-ASCII characters")
	case strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		return errors.New("userinfo: email has spaces or control characters")
	case strings.Count(s, "@") != 1:
		return errors.New("userinfo: email does not have exactly one @")
	case local == "" || domain == "":
		return errors.New("userinfo: email has nothing on one side of the @")
	case !isLocalPart(local):
		return errors.New("userinfo: email has characters before the @ that a plain address has not")
	case !isDomain(domain):
		return errors.New("userinfo: email has no domain name after the @")
	}
	return nil
}

// isLocalPart reports whether s is made of dots and atext of RFC 5322 §3.2.3.
// Where the dots stand is not checked: some Japanese carriers gave out addresses
// with two in a row or one at the end.
func isLocalPart(s string) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && strings.IndexByte(".!#$%&'*+-/=?^_`{|}~", c) < 0 {
			return false
		}
	}
	return true
}

// isDomain reports whether s is made of letter-digit-hyphen labels. A dot at the
// end is refused, because the same domain without it is another string.
func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		for _, c := range []byte(label) {
			if !isAlphanumeric(c) && c != '-' {
				return false
			}
		}
		if label == "" {
			return false
		}
	}
	return true
}

// claims returns what of id may leave the application: no email but one that is
// verified and well-formed, and no names that are blank or null, which OpenID
// Connect Core §5.3.2 wants left out. The conformance suite of the OpenID
// Foundation takes the text "null" in any case for a null.
func (id Identity) claims() Identity {
	if id.checkEmail() != nil {
		id.Email, id.EmailVerified = "", false
	}
	for _, name := range []*string{&id.Name, &id.GivenName, &id.MiddleName, &id.FamilyName} {
		if isNothing(*name) {
			*name = ""
		}
	}
	return id
}
