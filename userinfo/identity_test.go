package userinfo_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/userinfo"
)

func TestValidateEmail(t *testing.T) {
	tests := []struct {
		name  string
		email string
	}{
		{"a plain address", "ada@example.org"},
		{"capitals", "Ada@Example.ORG"},
		{"a tag", "ada+stytch@example.org"},
		{"every character that needs no quoting", "a.!#$%&'*+-/=?^_`{|}~9@example.org"},
		{"a domain of one label", "ada@localhost"},
		{"two dots in a row, as carriers gave out", "ada..king.@example.org"},
		{"an internationalized domain in ASCII form", "ada@xn--bcher-kva.example"},
		{"254 bytes", strings.Repeat("a", 64) + "@" + strings.Repeat("b.", 94) + "c"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			assert.NoError(t, userinfo.Identity{Subject: "user-17", Email: tc.email, EmailVerified: true}.Validate())
		})
	}
}

func TestValidateEmailRefuses(t *testing.T) {
	tests := []struct {
		name  string
		email string
		want  string
	}{
		{"255 bytes", strings.Repeat("a", 64) + "@" + strings.Repeat("b.", 94) + "cc", "email is longer than 254 bytes"},
		{"nothing", "", "email is empty"},
		{"no @", "ada.example.org", "email does not have exactly one @"},
		{"two @", "ada@evil.example@example.org", "email does not have exactly one @"},
		{"two addresses", "ada@example.org,bob@example.org", "email does not have exactly one @"},
		{"nothing before the @", "@example.org", "email has nothing on one side of the @"},
		{"nothing after the @", "ada@", "email has nothing on one side of the @"},
		{"a space inside", "ada king@example.org", "email has spaces or control characters"},
		{"a space at the end", "ada@example.org ", "email has spaces or control characters"},
		{"a line break", "ada@example.org\r\nBcc: eve", "email has spaces or control characters"},
		{"a NUL", "ada\x00@example.org", "email has spaces or control characters"},
		{"a DEL", "ada\x7f@example.org", "email has spaces or control characters"},
		{"broken UTF-8", "ada\xff@example.org", "email is not valid UTF-8"},
		{"a dotless i for an i", "m\u0131ke@example.org", "email has non-ASCII characters"},
		{"a Kelvin sign for a k", "mi\u212ae@example.org", "email has non-ASCII characters"},
		{"a Cyrillic a for an a", "ad\u0430@example.org", "email has non-ASCII characters"},
		{"a full-width domain", "ada@\uff45xample.org", "email has non-ASCII characters"},
		{"a zero-width space", "ada\u200b@example.org", "email has non-ASCII characters"},
		{"a display name without a space", "Ada<ada@example.org>", "email has characters before the @ that a plain address has not"},
		{"angle brackets", "<ada@example.org>", "email has characters before the @ that a plain address has not"},
		{"a quoted local part", `"ada"@example.org`, "email has characters before the @ that a plain address has not"},
		{"a comment", "ada(king)@example.org", "email has characters before the @ that a plain address has not"},
		{"a list before the @", "bob,ada@example.org", "email has characters before the @ that a plain address has not"},
		{"a list after the @", "ada@example.org;bob", "email has no domain name after the @"},
		{"a closing bracket at the end", "ada@example.org>", "email has no domain name after the @"},
		{"an address literal", "ada@[127.0.0.1]", "email has no domain name after the @"},
		{"a domain that ends in a dot", "ada@example.org.", "email has no domain name after the @"},
		{"a domain that starts with a dot", "ada@.example.org", "email has no domain name after the @"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			err := userinfo.Identity{Subject: "user-17", Email: tc.email, EmailVerified: true}.Validate()
			assertError(t, err, tc.want, tc.email)
		})
	}
}

func TestValidateSubject(t *testing.T) {
	tests := []struct {
		name    string
		subject string
		want    string
	}{
		{"a number", "17", ""},
		{"a UUID", "3f1c2f0e-8a33-4d0a-a1f8-0a4f9a1f0e11", ""},
		{"a DN with spaces", "cn=Ada King,o=Example", ""},
		{"printable characters beyond ASCII", "björn", ""},
		{"255 bytes", strings.Repeat("a", 255), ""},
		{"256 bytes", strings.Repeat("a", 256), "subject is longer than 255 bytes"},
		{"nothing", "", "subject is empty"},
		{"blanks", " \t ", "subject is empty"},
		{"a null that was made text", "null", "subject is a missing value, made text"},
		{"in capitals", "NULL", "subject is a missing value, made text"},
		{"between spaces", " Null ", "subject is a missing value, made text"},
		{"what fmt prints of nil", "<nil>", "subject is a missing value, made text"},
		{"what fmt prints of nil for a string", "%!s(<nil>)", "subject is a missing value, made text"},
		{"a name that begins so", "nullarbor", ""},
		{"broken UTF-8", "user\xff17", "subject is not valid UTF-8"},
		{"a control character", "user\x0017", "subject has characters that are not printable"},
		{"a line break", "user\n17", "subject has characters that are not printable"},
		{"a zero-width space", "user\u200b17", "subject has characters that are not printable"},
		{"a right-to-left override", "user\u202e17", "subject has characters that are not printable"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			err := userinfo.Identity{Subject: tc.subject, Email: "ada@example.org", EmailVerified: true}.Validate()
			assertError(t, err, tc.want, tc.subject)
		})
	}
}

func TestValidateTogether(t *testing.T) {
	assert.NoError(t, ada.Validate())
	assert.EqualError(t, userinfo.Identity{}.Validate(), "userinfo: subject is empty\nuserinfo: email is empty")

	id := ada
	id.EmailVerified = false
	assert.EqualError(t, id.Validate(), "userinfo: email is not verified")

	id = ada
	id.Name = "\x00" // no account is matched by a name
	assert.NoError(t, id.Validate())
}

// assertError also checks that the error does not quote the value.
func assertError(t *testing.T, err error, want, value string) {
	t.Helper()
	if want == "" {
		assert.NoError(t, err)
		return
	}
	assert.EqualError(t, err, "userinfo: "+want)
	if v := strings.TrimSpace(value); v != "" {
		assert.NotContains(t, err.Error(), v)
	}
}
