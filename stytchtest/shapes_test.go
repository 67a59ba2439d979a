package stytchtest_test

import (
	"slices"
	"strings"
	"testing"

	"example.com/stytchmigrate/stytchtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// required are the members that an answer must have, and must not have as null.
var required = map[string]string{
	"migrate":      "request_id status_code user_id session_token session_jwt user",
	"authenticate": "request_id status_code session_token session_jwt user session",
	"revoke":       "request_id status_code",
	"jwks":         "request_id status_code keys",
	"create_user":  "request_id status_code user_id email_id phone_id status user",
	"get_user":     "request_id status_code " + requiredUser,
	"error":        "request_id status_code error_type error_message error_url",
	"session":      "session_id user_id authentication_factors roles",
	"user":         requiredUser,
	"key":          "kty use key_ops alg kid x5c x5tS256 n e",
	"factor":       "type delivery_method",

	"emails":                  "email_id email verified",
	"phone_numbers":           "phone_id phone_number verified",
	"webauthn_registrations":  "webauthn_registration_id domain user_agent verified authenticator_type name",
	"providers":               "provider_type provider_subject profile_picture_url locale oauth_user_registration_id",
	"totps":                   "totp_id verified",
	"crypto_wallets":          "crypto_wallet_id crypto_wallet_address crypto_wallet_type verified",
	"biometric_registrations": "biometric_registration_id verified",
}

const requiredUser = "user_id emails status phone_numbers webauthn_registrations providers totps crypto_wallets biometric_registrations is_locked roles"

func assertShape(t *testing.T, name string, got any) {
	t.Helper()
	o, ok := got.(object)
	require.True(t, ok, "%s is no object", name)
	require.Contains(t, required, name)
	for _, member := range strings.Fields(required[name]) {
		assert.NotNil(t, o[member], "%s.%s", name, member)
	}
	if user, ok := o["user"].(object); ok {
		assertShape(t, "user", user)
	}
	if session, ok := o["session"].(object); ok {
		assertShape(t, "session", session)
		for _, f := range session["authentication_factors"].([]any) {
			assertShape(t, "factor", f)
		}
	}
	for member := range o {
		if list, ok := o[member].([]any); ok && required[member] != "" {
			for _, x := range list {
				assertShape(t, member, x)
			}
		}
	}
}

func TestShapes(t *testing.T) {
	full := stytchtest.User{
		ExternalID: "people|7", Emails: []stytchtest.Email{{Email: "full@example.com", Verified: true}, {Email: "second@example.com"}},
		FirstName: "Fu", LastName: "Ll", PhoneNumber: "+15550001111", OAuth: "Google",
		HasPassword: true, HasPasskey: true, HasTOTP: true, HasBiometric: true, HasWallet: true,
		Roles: []string{"a", "b"}, Locked: true, TrustedMetadata: object{"k": "v"},
	}
	for name, user := range map[string]stytchtest.User{
		"bare": {Emails: []stytchtest.Email{{Email: "bare@example.com"}}},
		"full": full,
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, stytchtest.Config{})
			u := c.AddUser(user)
			require.Regexp(t, `^user-test-`+uuid+`$`, u.ID)
			require.Regexp(t, `^email-test-`+uuid+`$`, u.Emails[0].ID)
			c.Accept("legacy", u.Emails[0].Email)
			x := c.NewSession(u.ID, 0)
			require.Regexp(t, `^session-test-`+uuid+`$`, x.ID)

			if !u.Locked {
				_, got := c.migrate(t, object{"session_token": "legacy"})
				assertShape(t, "migrate", got)
				_, got = c.migrate(t, object{"session_token": "legacy", "session_duration_minutes": 5})
				assertShape(t, "migrate", got)
				assertShape(t, "session", got["session"])
			}
			_, got := c.authenticate(t, object{"session_token": x.Token})
			assertShape(t, "authenticate", got)
			_, got = c.call(t, "POST", "/v1/sessions/revoke", object{"session_id": x.ID})
			assertShape(t, "revoke", got)
			_, got = c.call(t, "GET", "/v1/sessions/jwks/"+c.ProjectID, nil)
			assertShape(t, "jwks", got)
			assertShape(t, "key", got["keys"].([]any)[0])
			_, got = c.call(t, "GET", "/v1/users/"+u.ID, nil)
			assertShape(t, "get_user", got)
			_, got = c.call(t, "POST", "/v1/users", object{"email": "new@example.com"})
			assertShape(t, "create_user", got)
			status, got := c.call(t, "GET", "/v1/users/user-test-other", nil)
			assert.Equal(t, 404, status)
			assertShape(t, "error", got)
		})
	}
}

func TestRequestIDsAreFresh(t *testing.T) {
	c := start(t, stytchtest.Config{})
	var ids []string
	for range 5 {
		_, got := c.authenticate(t, object{"session_token": "a"})
		ids = append(ids, got["request_id"].(string))
	}
	for i, call := range c.Calls() {
		assert.Equal(t, ids[i], call.RequestID)
	}
	slices.Sort(ids)
	assert.Len(t, slices.Compact(ids), 5)
}
