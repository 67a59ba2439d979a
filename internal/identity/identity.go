// Package identity tells whether a Stytch user is the person of a legacy session.
//
// Stytch finds the user of an exchange by email alone. An email is not enough: someone
// may have signed up at Stytch with an address that is not theirs, and would share the
// account of its owner from then on. So [User.Matches] goes by these rules, and the
// first that applies decides:
//
//  1. A user with an external id is the person with that Subject, and no other.
//  2. A user with the identity's email, verified by Stytch, is that person.
//  3. A user with the identity's email, not verified, is that person if it is their only
//     address and they have no other factor. Only the owner of the mailbox can sign in
//     as such a user. An import makes users like this.
//  4. Any other user is another person.
//
// Emails are equal if they differ in nothing but the case of ASCII letters.
package identity

import (
	"slices"

	"example.com/stytchmigrate/userinfo"
)

// User is what the rules need to know of a Stytch user.
type User struct {
	HasDetails bool   // false: only a JWT is known, and it has only the user's id
	ExternalID string // the application's id of the user, or ""
	Emails     []Email
	OwnFactor  bool // the user can sign in by something other than an email
}

// Email is an address of a user.
type Email struct {
	Address  string
	Verified bool // by Stytch
}

// Matches reports whether the user is the person of an identity, by the rules of this
// package.
func (u *User) Matches(id userinfo.Identity) bool {
	if u.ExternalID != "" {
		return u.ExternalID == id.Subject
	}
	if id.Email == "" {
		return false
	}
	onlyMail := len(u.Emails) == 1 && !u.OwnFactor
	return slices.ContainsFunc(u.Emails, func(e Email) bool {
		return equalFoldASCII(e.Address, id.Email) && (e.Verified || onlyMail)
	})
}

// IsUnverified reports why the user does not match: they have the identity's email, and
// Stytch has not verified it. By rule 3 they would match without another address and
// another way to sign in, and by rule 2 once the email is verified. It may still be
// someone who signed up with an address that is not theirs.
func (u *User) IsUnverified(id userinfo.Identity) bool {
	return u.ExternalID == "" && id.Email != "" && !u.Matches(id) &&
		slices.ContainsFunc(u.Emails, func(e Email) bool { return equalFoldASCII(e.Address, id.Email) })
}

// Accepts is Matches for the identity of a legacy session, which may be empty. The
// application then gave a token in its place, and vouches for the user that Stytch finds
// by that token.
func (u *User) Accepts(id userinfo.Identity) bool {
	return id == (userinfo.Identity{}) || u.Matches(id)
}

// Compare compares a user with the identity of a legacy session in the same request.
// It keeps three answers apart:
//
//   - The same person: the external id is the Subject; or, without one of the two, the
//     user matches and the application has verified the email.
//   - Another person (known, not same): the external id is not the Subject; or, without
//     one of the two, no email is equal.
//   - Not known: the user has no details, the identity has no email to compare, or an
//     equal email is unverified on one side, where anyone may have entered it.
func (u *User) Compare(id userinfo.Identity) (same, known bool) {
	switch {
	case !u.HasDetails:
		return false, false
	case u.ExternalID != "" && id.Subject != "":
		return u.ExternalID == id.Subject, true
	case id.Email == "":
		return false, false
	case !slices.ContainsFunc(u.Emails, func(e Email) bool { return equalFoldASCII(e.Address, id.Email) }):
		return false, true
	}
	same = id.EmailVerified && u.Matches(id)
	return same, same
}

// equalFoldASCII ignores the case of ASCII letters only. strings.EqualFold takes the
// Kelvin sign for a k, and to a mail server that is another address.
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
