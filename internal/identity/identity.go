// Package identity tells whether a Stytch user is a legacy session's person.
package identity

import (
	"slices"

	"example.com/stytchmigrate/userinfo"
)

// Person is a Stytch user, in what the rules compare.
type User struct {
	HasDetails bool   // false: only the id is, from a JWT
	ExternalID string // the application's own id of the user
	Emails     []Email
	OwnFactor  bool // there is a way to sign in besides an email
}

// Email is an address of a Person.
type Email struct {
	Address  string
	Verified bool
}

// Is reports whether a Stytch user is the person of a legacy session.
// An external id, where one is set, decides. Else an email must be equal, and
// one that Stytch has not seen verified counts only on a user who can't sign in
// on their own: somebody may have signed up with an address that is not theirs,
// and would share the account from then on.
func (p *User) Matches(id userinfo.Identity) bool {
	if p.ExternalID != "" {
		return p.ExternalID == id.Subject
	}
	for _, e := range p.Emails {
		if id.Email != "" && equalFoldASCII(e.Address, id.Email) && (e.Verified || len(p.Emails) == 1 && !p.OwnFactor) {
			return true
		}
	}
	return false
}

// MayBe is Is for the identity of a legacy session. One that gives none vouches
// for whoever Stytch says its token belongs to.
func (p *User) Accepts(id userinfo.Identity) bool {
	return id == (userinfo.Identity{}) || p.Matches(id)
}

// Compare reports whether a user is a legacy session's person, and whether that
// can be known.
func (p *User) Compare(id userinfo.Identity) (same, known bool) {
	switch {
	case !p.HasDetails:
		return false, false
	case p.ExternalID != "" && id.Subject != "":
		return p.ExternalID == id.Subject, true
	case id.Email == "":
		return false, false
	}
	if !slices.ContainsFunc(p.Emails, func(e Email) bool { return equalFoldASCII(e.Address, id.Email) }) {
		return false, true
	}
	// The same email, but unverified on one side: anybody could have given it.
	same = id.EmailVerified && p.Matches(id)
	return same, same
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
