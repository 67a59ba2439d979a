package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/stytch"
)

// Each row is an error of Stytch. A plain no is everyday life. A no for an unknown
// reason may be a wrong setting. A wrong setting that is known is named.
func TestLevel(t *testing.T) {
	const (
		users       = "import of users, or Config.CreateUsers"
		userInfo    = "UserInfo endpoint: Check says what is wrong with it"
		dashboard   = "UserInfo URL in the Stytch dashboard"
		credentials = "Config.ProjectID or Config.Secret"
	)
	for _, tt := range []struct {
		name           string
		status         int
		errorType      string
		creates        bool
		level, setting string
	}{
		{"a no", 404, "session_not_found", false, "INFO", ""},
		{"a locked user", 404, "user_lock_limit_reached", false, "INFO", ""},
		{"no user", 404, "user_not_found", false, "WARN", users},
		{"no email", 404, "migrate_from_external_email_does_not_exist", false, "WARN", users},
		{"no user, but CreateUsers creates one", 404, "user_not_found", true, "INFO", ""},
		{"the UserInfo endpoint", 404, "migrate_from_external_unexpected_response", false, "WARN", userInfo},
		{"a no for an unknown reason", 404, "brand_new_error", false, "WARN", ""},
		{"a gateway's 404", 404, "", false, "WARN", ""},
		{"a firewall's 403", 403, "", false, "WARN", ""},
		{"a proxy's 401", 401, "", false, "WARN", ""},
		{"an outage", 503, "server_unavailable", false, "WARN", ""},
		{"an outage that says no", 503, "session_not_found", false, "WARN", ""},
		{"too many requests", 429, "too_many_requests", false, "WARN", ""},
		{"credentials", 401, "unauthorized_credentials", false, "ERROR", credentials},
		{"a 401 for an unknown reason", 401, "brand_new_error", false, "ERROR", credentials},
		{"a B2B project", 400, "invalid_consumer_endpoint", false, "ERROR", "Config.ProjectID: it is a B2B project, and must be one for consumers"},
		{"claims", 400, "custom_claims_too_large", false, "ERROR", "Config.SessionClaims"},
		{"a session that can't be changed", 403, "session_not_mutable_impersonated", false, "WARN", ""},
		{"a path that is not served", 404, "route_not_found", false, "ERROR", "Config.BaseURL"},
		{"no UserInfo URL", 400, "migrate_from_external_missing_userinfo", false, "ERROR", dashboard},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := over(apiError(tt.status, tt.errorType))
				c.CreatesUsers = tt.creates
				log := logOf(t, c)
				assert.Equal(t, 1, strings.Count(log, "\n"), log)
				assert.Contains(t, log, `"level":"`+tt.level+`"`)
				assert.Contains(t, log, `"error_type":"`+tt.errorType+`","request_id":"request-1"`)
				if tt.setting == "" {
					assert.NotContains(t, log, "setting")
				} else {
					assert.Contains(t, log, `"setting":"`+tt.setting+`"`)
				}
			})
		})
	}
}

// An answer that is not Stytch's names no setting. The log says where it comes from.
func TestLogOfAnAnswerFromBetween(t *testing.T) {
	for _, tt := range []struct {
		status       int
		body, reason string
	}{
		{403, "<html>Forbidden</html>", between},
		{401, "", between},
		{404, `{"message":"no Route matched with those values"}`, between},
		{302, "", between},
		{502, "<html>Bad Gateway</html>", between},
		{407, "", "a proxy between here and Stytch asks for credentials"},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := logOf(t, over(answer(tt.status, tt.body)))
			assert.Contains(t, log, `"level":"WARN"`)
			assert.Contains(t, log, fmt.Sprintf(`"status_code":%d,"error_type":"","request_id":"","reason":%q}`, tt.status, tt.reason))
		})
	}
	synctest.Test(t, func(t *testing.T) {
		assert.NotContains(t, logOf(t, over(apiError(503, "server_unavailable"))), "reason")
	})
}

const between = "the answer is not Stytch's: a proxy, a firewall or a gateway between here and Stytch sent it"

func TestLogLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logOf(t, over(func(r *http.Request) (*http.Response, error) {
			time.Sleep(time.Second)
			return apiError(404, "session_not_found")(r)
		}))
		assert.Contains(t, log, `"level":"INFO","msg":"stytchmigrate: call to Stytch failed","op":"migrate","duration":1000000000,`+
			`"status_code":404,"error_type":"session_not_found","request_id":"request-1"}`)
		assert.Empty(t, logOf(t, over(answer(200, `{"user_id":"user-1"}`))), "a call that succeeds is not logged")
		c := over(nil)
		c.LogError(t.Context(), stytch.Migrate, 0, errors.New("an error of the application"))
		assert.Contains(t, logOf(t, over(answer(200, "{}"))), `"level":"WARN","msg":"stytchmigrate: call to Stytch failed","op":"migrate","duration":0,`+
			`"reason":"answer 200 could not be used: user_id is missing"}`)
	})
}

// A wrong setting is reported once a minute. The lines between are for debugging. Once
// Stytch accepts the operation again, one line says so.
func TestWrongSettingIsLoggedOnceAMinute(t *testing.T) {
	const again = `"level":"INFO","msg":"stytchmigrate: Stytch accepts calls again","op":"migrate","setting":"Config.ProjectID or Config.Secret"}`
	synctest.Test(t, func(t *testing.T) {
		reply := apiError(401, "unauthorized_credentials")
		c := over(func(r *http.Request) (*http.Response, error) { return reply(r) })
		level := func() string {
			_, after, _ := strings.Cut(logOf(t, c), `"level":"`)
			level, _, _ := strings.Cut(after, `"`)
			return level
		}
		assert.Equal(t, "ERROR", level())
		assert.Equal(t, "DEBUG", level())
		time.Sleep(time.Minute - 1)
		assert.Equal(t, "DEBUG", level())
		reply = apiError(400, "custom_claims_too_large")
		assert.Equal(t, "ERROR", level(), "another setting")
		time.Sleep(time.Nanosecond)
		reply = apiError(401, "unauthorized_credentials")
		assert.Equal(t, "ERROR", level(), "a minute later")

		for _, unclear := range []stub{apiError(400, "custom_claims_too_large"), apiError(503, "unauthorized"), answer(403, "<html>"), fail(errors.New("down"))} {
			reply = unclear
			assert.NotContains(t, logOf(t, c), "accepts")
		}
		reply = apiError(404, "session_not_found")
		assert.Contains(t, logOf(t, c), again)
		reply = answer(200, `{"user_id":"user-1"}`)
		assert.Empty(t, logOf(t, c), "said once")
	})
}

// A call that is held back says so, and when to come again. Its line is for debugging
// only, because the cause was logged when it began.
func TestHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(fail(http.ErrSchemeMismatch)) // is not tried again
		for range 5 {
			_ = migrate(t, c)
		}
		err := migrate(t, c)
		assert.EqualError(t, err, "stytchmigrate: migrate: held back: breaker is open")
		call := stytch.AsCall(err)
		assert.Equal(t, 5*time.Second, call.RetryAfter)
		assert.True(t, call.HeldBack())
		assert.False(t, call.NoSlot)
		assert.Contains(t, logOf(t, c), `"level":"DEBUG"`)
	})
}
