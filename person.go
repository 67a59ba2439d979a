package stytchmigrate

import (
	"slices"
	"strings"

	"example.com/stytchmigrate/userinfo"
)

const maxExternalID = 128 // as Stytch's API reference has it

const maxName = 512 // bytes, as in a ticket: a long name must keep nobody from moving

// isPerson reports whether a Stytch user is the person of a legacy session.
// An external id, where one is set, decides. Else an email must be equal, and
// one that Stytch has not seen verified counts only on a user who can't sign in
// on their own: somebody may have signed up with an address that is not theirs,
// and would share the account from then on.
func isPerson(u *User, id userinfo.Identity) bool {
	if u.ExternalID != "" {
		return u.ExternalID == id.Subject
	}
	for _, e := range u.Emails {
		if id.Email != "" && equalFoldASCII(e.Email, id.Email) && (e.Verified || len(u.Emails) == 1 && !hasOwnFactor(u)) {
			return true
		}
	}
	return false
}

// isPersonOf is isPerson for the identity of a legacy session. One that gives
// none vouches for whoever Stytch says its token belongs to.
func isPersonOf(u *User, id userinfo.Identity) bool {
	return id == (userinfo.Identity{}) || isPerson(u, id)
}

// hasOwnFactor reports whether a user has a way to sign in besides an email.
func hasOwnFactor(u *User) bool {
	return u.Password != nil || len(u.WebAuthnRegistrations) > 0 || len(u.Providers) > 0 || len(u.PhoneNumbers) > 0 ||
		len(u.TOTPs) > 0 || len(u.CryptoWallets) > 0 || len(u.BiometricRegistrations) > 0
}

// equalFoldASCII compares without regard to the case of ASCII letters only:
// strings.EqualFold holds the Kelvin sign for a k.
func equalFoldASCII(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lowerASCII(a[i]) != lowerASCII(b[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// isSamePerson reports whether a user is a legacy session's person, and
// whether that can be known.
func isSamePerson(u *User, s LegacySession) (same, known bool) {
	id := s.Identity
	switch {
	case u.Partial:
		return false, false
	case u.ExternalID != "" && id.Subject != "":
		return u.ExternalID == id.Subject, true
	case id.Email == "":
		return false, false
	}
	if !slices.ContainsFunc(u.Emails, func(e Email) bool { return equalFoldASCII(e.Email, id.Email) }) {
		return false, true
	}
	// The same email, but unverified on one side: anybody could have given it.
	same = id.EmailVerified && isPerson(u, id)
	return same, same
}

// isUnknownUser reports the answer of an exchange that Stytch has no user with
// the email which the UserInfo endpoint told.
func (e *Error) isUnknownUser() bool {
	switch e.Type {
	case "migrate_from_external_email_does_not_exist", "user_not_found", "email_not_found":
		return e.StatusCode >= 400 && e.StatusCode <= 499
	}
	return false
}

// newUser is the Stytch user of an identity. Stytch has a name in parts only:
// where just the whole is known it is the first part, for nobody can tell how to
// split it, and one that Stytch may find too long is left out. An external id that Stytch has no form for is left out.
func newUser(id userinfo.Identity) createUserRequest {
	given := func(s string) string {
		if s = strings.TrimSpace(s); strings.EqualFold(s, "null") { // made text by some program
			return ""
		}
		return s
	}
	name := userName{given(id.GivenName), given(id.MiddleName), given(id.FamilyName)}
	if name == (userName{}) {
		name.FirstName = given(id.Name)
	}
	if len(name.FirstName)+len(name.MiddleName)+len(name.LastName) > maxName {
		name = userName{}
	}
	in := createUserRequest{Email: id.Email, ExternalID: only(id.Subject, "._-|", maxExternalID)}
	if name != (userName{}) {
		in.Name = &name
	}
	return in
}
