package identity_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/identity"
	"example.com/stytchmigrate/userinfo"
)

var (
	ada     = userinfo.Identity{Subject: "ada", Email: "ada@example.com", EmailVerified: true}
	empty   userinfo.Identity
	subject = userinfo.Identity{Subject: "ada"}
)

func withEmail(email string) userinfo.Identity {
	return userinfo.Identity{Subject: "ada", Email: email, EmailVerified: true}
}

func verified(address string) identity.Email   { return identity.Email{Address: address, Verified: true} }
func unverified(address string) identity.Email { return identity.Email{Address: address} }

// user has these emails, and nothing else.
func user(emails ...identity.Email) identity.User {
	return identity.User{HasDetails: true, Emails: emails}
}

// known has an external id, and these emails.
func known(externalID string, emails ...identity.Email) identity.User {
	return identity.User{HasDetails: true, ExternalID: externalID, Emails: emails}
}

// signsIn has these emails, and a factor that needs none of them.
func signsIn(emails ...identity.Email) identity.User {
	return identity.User{HasDetails: true, OwnFactor: true, Emails: emails}
}

// Each row is a Stytch user, the identity of a legacy session, and whether they are one
// person.
func TestMatches(t *testing.T) {
	for name, row := range map[string]struct {
		user identity.User
		id   userinfo.Identity
		want bool
	}{
		"the same email":                       {user(verified("ada@example.com")), ada, true},
		"in capitals at Stytch":                {user(verified("ADA@Example.COM")), ada, true},
		"in capitals here":                     {user(verified("ada@example.com")), withEmail("ADA@EXAMPLE.COM"), true},
		"from a to z in capitals":              {user(verified("AZ@[`{.example")), withEmail("az@[`{.example"), true},
		"another character than a letter":      {user(verified("a[z@example.com")), withEmail("a{z@example.com"), false},
		"a character before the letters":       {user(verified("a@z@example.com")), withEmail("a`z@example.com"), false},
		"the first of two":                     {user(verified("ada@example.com"), unverified("a@b.example")), ada, true},
		"the second of two":                    {user(unverified("a@b.example"), verified("ada@example.com")), ada, true},
		"another email":                        {user(verified("eve@example.com")), ada, false},
		"the beginning of the email":           {user(verified("ada@example.co")), ada, false},
		"no email at Stytch":                   {user(), ada, false},
		"no email here":                        {user(verified("ada@example.com")), subject, false},
		"no email on either side":              {user(verified("")), subject, false},
		"a Kelvin sign for a k":                {user(verified("ada@example.\u212aom")), withEmail("ada@example.kom"), false},
		"a long s for an s":                    {user(verified("ma\u017fk@example.com")), withEmail("mask@example.com"), false},
		"the external id":                      {known("ada", verified("another@example.com")), ada, true},
		"the external id, no email here":       {known("ada"), subject, true},
		"the external id, a factor":            {identity.User{HasDetails: true, ExternalID: "ada", OwnFactor: true, Emails: []identity.Email{unverified("ada@example.com")}}, ada, true},
		"another external id":                  {known("eve", verified("ada@example.com")), ada, false},
		"an external id in capitals":           {known("ADA", verified("ada@example.com")), ada, false},
		"an external id, no subject":           {known("ada", verified("ada@example.com")), userinfo.Identity{Email: "ada@example.com"}, false},
		"verified, with a factor":              {signsIn(verified("ada@example.com")), ada, true},
		"an import: unverified":                {user(unverified("ada@example.com")), ada, true},
		"signed up: unverified, with a factor": {signsIn(unverified("ada@example.com")), ada, false},
		"unverified beside their own":          {user(verified("eve@evil.example"), unverified("ada@example.com")), ada, false},
		"unverified before their own":          {user(unverified("ada@example.com"), verified("eve@evil.example")), ada, false},
		"unverified beside an unverified one":  {user(unverified("ada@example.com"), unverified("eve@evil.example")), ada, false},
	} {
		assert.Equal(t, row.want, row.user.Matches(row.id), name)
		assert.Equal(t, row.want, row.user.Accepts(row.id), name)
	}
}

// Without an identity, the application vouches for the user of its token.
func TestAccepts(t *testing.T) {
	for _, u := range []identity.User{user(), known("eve"), signsIn(unverified("ada@example.com"))} {
		assert.True(t, u.Accepts(empty))
	}
	u := user(verified("ada@example.com"))
	assert.False(t, u.Accepts(subject), "an identity that has a subject is one")
	assert.False(t, u.Accepts(userinfo.Identity{EmailVerified: true}))
}

// Each row is a Stytch user, the identity of a legacy session beside it, and what is
// known of the two.
func TestCompare(t *testing.T) {
	const same, another, unknown = "the same", "another", "unknown"
	unvouched := userinfo.Identity{Subject: "ada", Email: "ada@example.com"}
	for name, row := range map[string]struct {
		user identity.User
		id   userinfo.Identity
		want string
	}{
		"only a JWT":                        {identity.User{ExternalID: "ada", Emails: []identity.Email{verified("ada@example.com")}}, ada, unknown},
		"the external id":                   {known("ada", verified("eve@example.com")), ada, same},
		"the external id, no email here":    {known("ada"), subject, same},
		"another external id":               {known("eve", verified("ada@example.com")), ada, another},
		"no email here":                     {user(verified("ada@example.com")), subject, unknown},
		"no identity":                       {user(verified("ada@example.com")), empty, unknown},
		"an external id, no subject":        {known("ada", verified("ada@example.com")), userinfo.Identity{Email: "ada@example.com", EmailVerified: true}, unknown},
		"the same, and another email":       {known("ada", verified("eve@example.com")), userinfo.Identity{Email: "ada@example.com", EmailVerified: true}, another},
		"the same email":                    {user(verified("ada@example.com")), ada, same},
		"in capitals":                       {user(verified("ADA@example.com")), ada, same},
		"another email":                     {user(verified("eve@example.com")), ada, another},
		"another email, unverified":         {user(unverified("eve@example.com")), unvouched, another},
		"no email at Stytch":                {user(), ada, another},
		"a Kelvin sign for a k":             {user(verified("ada@example.\u212aom")), withEmail("ada@example.kom"), another},
		"unverified here":                   {user(verified("ada@example.com")), unvouched, unknown},
		"unverified at Stytch, imported":    {user(unverified("ada@example.com")), ada, same},
		"unverified at Stytch, with factor": {signsIn(unverified("ada@example.com")), ada, unknown},
		"one of two, unverified":            {user(verified("eve@evil.example"), unverified("ada@example.com")), ada, unknown},
	} {
		isSame, isKnown := row.user.Compare(row.id)
		got := unknown
		switch {
		case isSame && isKnown:
			got = same
		case isKnown:
			got = another
		}
		assert.Equal(t, row.want, got, name)
		assert.False(t, isSame && !isKnown, name)
	}
}

// Each row is a user who does not match, and whether that is because Stytch has not
// verified their email.
func TestIsUnverified(t *testing.T) {
	for name, row := range map[string]struct {
		user identity.User
		id   userinfo.Identity
		want bool
	}{
		"a factor of their own": {signsIn(unverified("ADA@example.com")), ada, true},
		"another address":       {user(unverified("ada@example.com"), verified("a@b.example")), ada, true},
		"they match":            {user(unverified("ada@example.com")), ada, false},
		"it is verified":        {signsIn(verified("ada@example.com")), ada, false},
		"another email":         {signsIn(unverified("eve@example.com")), ada, false},
		"another external id":   {known("eve", unverified("ada@example.com")), ada, false},
		"no email here":         {signsIn(unverified("")), subject, false},
		"no email at Stytch":    {signsIn(), ada, false},
	} {
		assert.Equal(t, row.want, row.user.IsUnverified(row.id), name)
	}
}
