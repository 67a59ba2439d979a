package stytch

import "strings"

// The settings that an error of Stytch's may be about, as logs name them.
const (
	credentials  = "Config.ProjectID or Config.Secret"
	baseURL      = "Config.BaseURL"
	environment  = "Config.ProjectID or Config.BaseURL: they are of another environment, live or test"
	projectKind  = "Config.ProjectID: it is a B2B project, and must be one for consumers"
	projectPlan  = "billing of the project in the Stytch dashboard"
	userInfoURL  = "UserInfo URL in the Stytch dashboard"
	claims       = "Config.SessionClaims"
	jwtTemplate  = "JWT template in the Stytch dashboard"
	tokenProfile = "trusted auth token profile in the Stytch dashboard"
	duration     = "Config.SessionDuration"
	telemetryID  = "Config.TelemetryID"
)

// UnknownTelemetryID is the type of the error that Stytch does not know the telemetry
// id of an exchange.
const UnknownTelemetryID = "telemetry_id_not_found"

// Setting names the setting that the error is about. It returns "" if the error is
// not about a setting. An answer that is not in Stytch's form is about none: a
// firewall's 403 says nothing about our credentials.
func (e *APIError) Setting() string {
	const unauthorized, forbidden = 401, 403 // RFC 9110 section 15.5
	if e.Type == "" {
		return ""
	}
	if s := projectSetting(e.Type); s != "" {
		return s
	}
	if s := callSetting(e.Type); s != "" {
		return s
	}
	if isAboutSession := strings.HasPrefix(e.Type, "session_"); !isAboutSession && (e.Status == unauthorized || e.Status == forbidden) {
		return credentials
	}
	return ""
}

// RefusesProject reports that Stytch refuses the application's calls, whichever user
// they are about. The next call gets the same answer.
func (e *APIError) RefusesProject() bool { return projectSetting(e.Type) != "" }

// RefusesCredentials reports that Stytch refuses the application's own credentials.
func (e *APIError) RefusesCredentials() bool { return e.Setting() == credentials }

// projectSetting lists the error types that are about the project as a whole. No user
// can bring them about.
//
// Error types: https://stytch.com/docs/api/errors
func projectSetting(errorType string) string {
	switch errorType {
	case "unauthorized_credentials", "unauthorized_credentials_homepage", "invalid_authorization_header",
		"invalid_secret_authentication", "secret_not_found", "invalid_secret_id",
		"invalid_project_id_authentication", "invalid_project_id", "project_not_found",
		"unauthorized_project_id_live", "unauthorized_project_id_test":
		return credentials
	case "wrong_stack_live", "wrong_stack_test", "route_not_supported_in_test":
		return environment
	case "invalid_consumer_endpoint", "bad_vertical_for_stytch_sdk":
		return projectKind
	case "billing_not_verified", "billing_info_not_found", "unauthorized_billing_permissions", "enterprise_endpoint":
		return projectPlan
	case "route_not_found", "method_not_allowed", "use_https", "invalid_b2b_endpoint", "deprecated_endpoint", "endpoint_not_authorized_for_sdk":
		return baseURL
	}
	return ""
}

// callSetting lists the error types that are about a setting, and may be about one
// user or one call only.
func callSetting(errorType string) string {
	switch errorType {
	case "migrate_from_external_missing_userinfo", "invalid_userinfo_url":
		return userInfoURL
	case "live_id_used_in_test_environment", "test_id_used_in_live_environment":
		return environment
	case "billing_not_verified_for_email":
		return projectPlan
	case "custom_claims_too_large", "reserved_claims_in_custom_claims", "stytch_claims_in_custom_claims", "unable_to_represent_custom_claims_json":
		return claims
	case "invalid_session_duration", "invalid_session_duration_minutes":
		return duration
	case UnknownTelemetryID:
		return telemetryID
	}
	switch {
	case strings.HasPrefix(errorType, "jwt_template_"):
		return jwtTemplate
	case strings.HasPrefix(errorType, "trusted_token_profile_"):
		return tokenProfile
	case strings.HasPrefix(errorType, "unauthorized_"):
		return credentials
	}
	return ""
}
