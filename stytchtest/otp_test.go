package stytchtest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

const (
	sendOTP         = "/v1/otps/email/login_or_create"
	authenticateOTP = "/v1/otps/authenticate"
)

func TestSignInByCode(t *testing.T) {
	c := start(t, stytchtest.Config{})
	jane := c.AddUser(stytchtest.User{Emails: []stytchtest.Email{{Email: "Jane@example.com"}}})
	assert.Empty(t, c.LastCode("jane@example.com"))
	status, sent := c.call(t, "POST", sendOTP, object{"email": "jane@example.com"})
	require.Equal(t, 200, status)
	assert.Equal(t, jane.ID, sent["user_id"])
	assert.Equal(t, false, sent["user_created"])
	code := c.LastCode("JANE@example.com")
	assert.Regexp(t, `^[0-9]{6}$`, code)

	body := object{"method_id": sent["email_id"], "code": code, "session_duration_minutes": 60, "session_custom_claims": object{"a": "b"}}
	status, got := c.call(t, "POST", authenticateOTP, body)
	require.Equal(t, 200, status)
	require.Len(t, c.Sessions(), 1)
	session := c.Sessions()[0]
	assert.Equal(t, []any{jane.ID, sent["email_id"], session.Token, session.JWT}, []any{got["user_id"], got["method_id"], got["session_token"], got["session_jwt"]})
	assert.False(t, session.Imported)
	assert.Equal(t, map[string]any{"a": "b"}, session.CustomClaims)
	wire := got["session"].(object)
	assert.Equal(t, "otp", wire["authentication_factors"].([]any)[0].(object)["type"])
	assert.Equal(t, true, got["user"].(object)["emails"].([]any)[0].(object)["verified"])

	status, _ = c.call(t, "POST", "/v1/sessions/authenticate", object{"session_token": session.Token})
	assert.Equal(t, 200, status)
	status, got = c.call(t, "POST", authenticateOTP, body)
	assert.Equal(t, 404, status, "a code is good once")
	assertError(t, "otp_code_not_found", got)
	assert.Empty(t, c.LastCode("jane@example.com"))
}

// The first sign-in makes the user.
func TestSignUpByCode(t *testing.T) {
	c := start(t, stytchtest.Config{})
	status, sent := c.call(t, "POST", sendOTP, object{"email": "new@example.com"})
	require.Equal(t, 200, status)
	assert.Equal(t, true, sent["user_created"])
	u, found := c.User(sent["user_id"].(string))
	require.True(t, found)
	assert.False(t, u.Emails[0].Verified)
	status, got := c.call(t, "POST", authenticateOTP, object{"method_id": sent["email_id"], "code": c.LastCode("new@example.com")})
	require.Equal(t, 200, status)
	assert.Nil(t, got["session"], "no duration, no session")
	assert.Empty(t, c.Sessions())
	u, _ = c.User(u.ID)
	assert.True(t, u.Emails[0].Verified)
}

func TestCodesThatAreNotGood(t *testing.T) {
	c := start(t, stytchtest.Config{})
	locked := stytchtest.Person("locked@example.com")
	locked.Locked = true
	c.AddUser(locked)
	for _, row := range []struct {
		name, path string
		body       any
		status     int
		kind       string
	}{
		{"no email", sendOTP, object{}, 400, "bad_request"},
		{"an email that is none", sendOTP, object{"email": "jane"}, 400, "invalid_email"},
		{"of another type", sendOTP, object{"email": 7}, 400, "bad_request"},
		{"a locked user", sendOTP, object{"email": "locked@example.com"}, 429, "user_lock_limit_reached"},
		{"no code", authenticateOTP, object{"method_id": "sent"}, 401, "unable_to_auth_otp_code"},
		{"a wrong code", authenticateOTP, object{"method_id": "sent", "code": "x"}, 401, "unable_to_auth_otp_code"},
		{"another email's", authenticateOTP, object{"method_id": "email-test-1", "code": "right"}, 404, "otp_code_not_found"},
		{"a wrong duration", authenticateOTP, object{"method_id": "sent", "code": "right", "session_duration_minutes": 4}, 400, "invalid_session_duration_minutes"},
		{"the right one after all", authenticateOTP, object{"method_id": "sent", "code": "right"}, 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, sent := c.call(t, "POST", sendOTP, object{"email": "jane@example.com"})
			if body := row.body.(object); row.path == authenticateOTP {
				if body["method_id"] == "sent" {
					body["method_id"] = sent["email_id"]
				}
				if body["code"] == "right" {
					body["code"] = c.LastCode("jane@example.com")
				}
			}
			status, got := c.call(t, "POST", row.path, row.body)
			assert.Equal(t, row.status, status)
			if row.kind != "" {
				assertError(t, row.kind, got)
			}
		})
	}
}

func TestCodeExpires(t *testing.T) {
	c := start(t, stytchtest.Config{})
	now := time.Now()
	for after, want := range map[time.Duration]int{10*time.Minute - time.Second: 200, 10 * time.Minute: 404} {
		c.SetClock(func() time.Time { return now })
		_, sent := c.call(t, "POST", sendOTP, object{"email": "jane@example.com"})
		c.SetClock(func() time.Time { return now.Add(after) })
		status, _ := c.call(t, "POST", authenticateOTP, object{"method_id": sent["email_id"], "code": c.LastCode("jane@example.com")})
		assert.Equal(t, want, status, after)
	}
}
