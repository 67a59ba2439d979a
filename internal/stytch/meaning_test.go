package stytch_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/stytch"
)

// Each row is an error that Stytch may answer, and what it means for each operation.
// Error types: https://stytch.com/docs/api/errors
func TestInterpret(t *testing.T) {
	const (
		unclear, refused = stytch.Unclear, stytch.UnlistedNo
		noSession        = stytch.NoSession
	)
	for _, tt := range []struct {
		status                                    int
		errorType                                 string
		migrate, authenticate, revoke, createUser stytch.Meaning
	}{
		{404, "session_not_found", noSession, noSession, noSession, noSession},
		{400, "invalid_session_token", noSession, noSession, noSession, noSession},
		{400, "unable_to_parse_session_jwt", noSession, noSession, noSession, noSession},
		{400, "jwt_invalid_audience", noSession, noSession, noSession, noSession},
		{400, "jwt_invalid_claims", noSession, noSession, noSession, noSession},
		{400, "jwt_invalid_issuer", noSession, noSession, noSession, noSession},

		{404, "migrate_from_external_email_does_not_exist", stytch.NoUser, unclear, unclear, refused},
		{401, "migrate_from_external_email_does_not_exist", stytch.NoUser, unclear, unclear, unclear},
		{404, "user_not_found", stytch.NoUser, unclear, unclear, refused},
		{403, "user_not_found", stytch.NoUser, unclear, unclear, unclear},
		{400, "email_not_found", stytch.NoUser, unclear, unclear, refused},
		{429, "user_lock_limit_reached", stytch.UserLocked, unclear, unclear, unclear},
		{400, "duplicate_email", refused, unclear, unclear, stytch.UserExists},
		{400, "duplicate_external_id", refused, unclear, unclear, stytch.UserExists},

		{400, "invalid_email", refused, unclear, unclear, refused},
		{400, "brand_new_error", refused, unclear, unclear, refused},
		{422, "brand_new_error", refused, unclear, unclear, refused},
		{499, "brand_new_error", refused, unclear, unclear, refused},

		// The application's settings, and its UserInfo endpoint.
		{400, "migrate_from_external_missing_userinfo", unclear, unclear, unclear, unclear},
		{400, "invalid_userinfo_url", unclear, unclear, unclear, unclear},
		{400, "migrate_from_external_unexpected_response", unclear, unclear, unclear, unclear},
		{401, "unauthorized_credentials", unclear, unclear, unclear, unclear},
		{400, "invalid_secret_authentication", unclear, unclear, unclear, unclear},
		{400, "invalid_project_id_authentication", unclear, unclear, unclear, unclear},
		{400, "unauthorized_project_id_live", unclear, unclear, unclear, unclear},
		{400, "unauthorized_project_id_test", unclear, unclear, unclear, unclear},
		{404, "project_not_found", unclear, unclear, unclear, unclear},
		{404, "route_not_found", unclear, unclear, unclear, unclear},
		{401, "brand_new_error", unclear, unclear, unclear, unclear},
		{403, "brand_new_error", unclear, unclear, unclear, unclear},

		// Stytch itself, though it says 4xx.
		{400, "unknown_error", unclear, unclear, unclear, unclear},
		{499, "client_closed_request", unclear, unclear, unclear, unclear},
		{400, "server_unavailable", unclear, unclear, unclear, unclear},
		{404, "unavailable_endpoint", unclear, unclear, unclear, unclear},

		// Load.
		{429, "too_many_requests", unclear, unclear, unclear, unclear},
		{400, "too_many_requests", unclear, unclear, unclear, unclear},
		{429, "too_few_tokens_authenticated", unclear, unclear, unclear, unclear},
		{400, "too_few_tokens_authenticated", unclear, unclear, unclear, unclear},
		{429, "brand_new_error", unclear, unclear, unclear, unclear},
		{408, "brand_new_error", unclear, unclear, unclear, unclear},

		// What is no 4xx, or not in Stytch's form, says nothing about a session.
		{500, "internal_server_error", unclear, unclear, unclear, unclear},
		{502, "duplicate_email", unclear, unclear, unclear, unclear},
		{503, "server_unavailable", unclear, unclear, unclear, unclear},
		{404, "", unclear, unclear, unclear, unclear},
		{204, "", unclear, unclear, unclear, unclear},
		{201, "session_not_found", unclear, unclear, unclear, unclear},
		{302, "session_not_found", unclear, unclear, unclear, unclear},
		{399, "session_not_found", unclear, unclear, unclear, unclear},
		{400, "session_not_found", noSession, noSession, noSession, noSession},
		{499, "session_not_found", noSession, noSession, noSession, noSession},
		{500, "session_not_found", unclear, unclear, unclear, unclear},
	} {
		t.Run(fmt.Sprint(tt.status, " ", tt.errorType), func(t *testing.T) {
			e := &stytch.APIError{Status: tt.status, Type: tt.errorType}
			assert.Equal(t, tt.migrate, stytch.Interpret(stytch.Migrate, e), "migrate")
			assert.Equal(t, tt.authenticate, stytch.Interpret(stytch.Authenticate, e), "authenticate")
			assert.Equal(t, tt.revoke, stytch.Interpret(stytch.Revoke, e), "revoke")
			assert.Equal(t, tt.createUser, stytch.Interpret(stytch.CreateUser, e), "create_user")
			assert.Equal(t, tt.migrate == stytch.NoUser, e.IsUnknownUser())
		})
	}
}

func TestMeaningAnswer(t *testing.T) {
	assert.Equal(t, stytch.CantTell, stytch.Unclear.Answer())
	for _, m := range []stytch.Meaning{stytch.NoSession, stytch.NoUser, stytch.UserLocked, stytch.UserExists, stytch.UnlistedNo} {
		assert.Equal(t, stytch.No, m.Answer(), m)
	}
	assert.Zero(t, stytch.CantTell, "an Answer that the code forgets to set")
	assert.Zero(t, stytch.Unclear)
}

func TestSetting(t *testing.T) {
	const (
		dashboard, credentials, baseURL = "UserInfo URL in the Stytch dashboard", "Config.ProjectID or Config.Secret", "Config.BaseURL"
		environment                     = "Config.ProjectID or Config.BaseURL: they are of another environment, live or test"
		b2b                             = "Config.ProjectID: it is a B2B project, and must be one for consumers"
		billing                         = "billing of the project in the Stytch dashboard"
	)
	for _, tt := range []struct {
		status          int
		errorType, want string
	}{
		{400, "migrate_from_external_missing_userinfo", dashboard},
		{400, "invalid_userinfo_url", dashboard},
		{404, "route_not_found", "Config.BaseURL"},
		{401, "unauthorized_credentials", credentials},
		{400, "invalid_secret_authentication", credentials},
		{400, "invalid_project_id_authentication", credentials},
		{400, "unauthorized_project_id_live", credentials},
		{400, "unauthorized_project_id_test", credentials},
		{404, "project_not_found", credentials},
		{401, "brand_new_error", credentials},
		{403, "brand_new_error", credentials},
		{400, "brand_new_error", ""},
		{402, "brand_new_error", ""},
		{404, "session_not_found", ""},
		{503, "", ""},
		{401, "", ""},
		{403, "", ""},
		{407, "", ""},

		{400, "secret_not_found", credentials},
		{400, "invalid_authorization_header", credentials},
		{400, "unauthorized_action", credentials},
		{400, "invalid_consumer_endpoint", b2b},
		{400, "bad_vertical_for_stytch_sdk", b2b},
		{403, "wrong_stack_live", environment},
		{403, "wrong_stack_test", environment},
		{400, "live_id_used_in_test_environment", environment},
		{400, "test_id_used_in_live_environment", environment},
		{400, "route_not_supported_in_test", environment},
		{403, "billing_not_verified", billing},
		{400, "billing_not_verified_for_email", billing},
		{401, "enterprise_endpoint", billing},
		{400, "invalid_b2b_endpoint", baseURL},
		{400, "deprecated_endpoint", baseURL},
		{400, "use_https", baseURL},
		{400, "custom_claims_too_large", "Config.SessionClaims"},
		{400, "reserved_claims_in_custom_claims", "Config.SessionClaims"},
		{400, "stytch_claims_in_custom_claims", "Config.SessionClaims"},
		{400, "unable_to_represent_custom_claims_json", "Config.SessionClaims"},
		{400, "invalid_session_duration", "Config.SessionDuration"},
		{400, "invalid_session_duration_minutes", "Config.SessionDuration"},
		{404, "telemetry_id_not_found", "Config.TelemetryID"},
		{400, "jwt_template_invalid_json", "JWT template in the Stytch dashboard"},
		{400, "trusted_token_profile_not_found", "trusted auth token profile in the Stytch dashboard"},
		{401, "session_not_mutable", ""},
		{403, "session_not_mutable_impersonated", ""},
	} {
		e := &stytch.APIError{Status: tt.status, Type: tt.errorType}
		assert.Equal(t, tt.want, e.Setting(), "%d %s", tt.status, tt.errorType)
		if tt.want != "" {
			for _, op := range []stytch.Op{stytch.Migrate, stytch.Authenticate, stytch.Revoke, stytch.CreateUser} {
				assert.Equal(t, stytch.Unclear, stytch.Interpret(op, e), "%s %s", op, tt.errorType)
			}
		}
	}
}

// What Stytch says of the project holds for the next call too. What it says of one call
// may be about one user, who must not stop the calls of all others.
func TestRefusesProject(t *testing.T) {
	for errorType, want := range map[string]bool{
		"unauthorized_credentials": true, "project_not_found": true, "invalid_consumer_endpoint": true, "wrong_stack_test": true,
		"billing_not_verified": true, "route_not_found": true,

		"": false, "brand_new_error": false, "unauthorized_action": false, "custom_claims_too_large": false, "telemetry_id_not_found": false,
		"live_id_used_in_test_environment": false, "billing_not_verified_for_email": false, "session_not_found": false, "too_many_requests": false,
		"migrate_from_external_missing_userinfo": false,
	} {
		e := &stytch.APIError{Status: 401, Type: errorType}
		assert.Equal(t, want, e.RefusesProject(), errorType)
	}
}
