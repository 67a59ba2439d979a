package client_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/outbound"
)

// A listed type stops the calls of each lane. A 401 of a type that is not listed stops
// exchanges only.
func TestRefuses(t *testing.T) {
	for _, tt := range []struct {
		status            int
		errorType         string
		exchange, session bool
	}{
		{401, "unauthorized_credentials", true, true},
		{400, "invalid_secret_authentication", true, true},
		{400, "invalid_consumer_endpoint", true, true},
		{401, "brand_new_error", true, false},
		{403, "brand_new_error", false, false},
		{401, "migrate_from_external_email_does_not_exist", false, false},
		{401, "session_not_found", false, false},
		{400, "custom_claims_too_large", false, false},
		{404, "telemetry_id_not_found", false, false},
	} {
		assert.Equal(t, tt.exchange, client.Refuses(outbound.Exchange, tt.status, tt.errorType), "exchange: %d %s", tt.status, tt.errorType)
		for _, lane := range []outbound.Lane{outbound.Session, outbound.UnvouchedSession, outbound.CreateUser} {
			assert.Equal(t, tt.session, client.Refuses(lane, tt.status, tt.errorType), "%s: %d %s", lane, tt.status, tt.errorType)
		}
	}
}
