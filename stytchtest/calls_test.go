package stytchtest_test

import (
	"testing"

	"example.com/stytchmigrate/stytchtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCalls(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c := start(t, stytchtest.Config{InProcess: way.inProcess})
			c.migrate(t, object{"session_token": "legacy", "session_duration_minutes": 60, "telemetry_id": "tele",
				"session_custom_claims": object{"plan": "gold"}})
			c.authenticate(t, object{"session_jwt": "a.b.c"})
			c.call(t, "POST", "/v1/sessions/revoke", object{"session_id": "x"})
			c.call(t, "GET", "/v1/other", nil)

			calls := c.Calls()
			require.Len(t, calls, 4)
			first := calls[0]
			assert.Equal(t, stytchtest.Migrate, first.Op)
			assert.Equal(t, "POST", first.Method)
			assert.Equal(t, "/v1/sessions/migrate", first.Path)
			assert.True(t, first.BasicAuth)
			assert.Empty(t, first.Header.Values("Authorization"))
			assert.Equal(t, "Go-http-client/1.1", first.Header.Get("User-Agent"))
			assert.Contains(t, c.URL, first.Host)
			assert.Equal(t, "legacy", first.SessionToken)
			assert.Equal(t, 60, first.DurationMinutes)
			assert.Equal(t, "tele", first.TelemetryID)
			assert.Equal(t, object{"plan": "gold"}, first.CustomClaims)
			assert.Equal(t, 60.0, first.Body["session_duration_minutes"])
			assert.Equal(t, 400, first.Status)
			assert.False(t, first.End.Before(first.Start))
			assert.Equal(t, "a.b.c", calls[1].SessionJWT)
			assert.Equal(t, "x", calls[2].SessionID)
			assert.Equal(t, stytchtest.Op(""), calls[3].Op)

			assert.Equal(t, 1, c.Count("migrate"))
			assert.Equal(t, 0, c.Count("jwks"))
			assert.Equal(t, 4, c.Count("*"))
			assert.Panics(t, func() { c.Count("migration") })
			c.ResetCalls()
			assert.Empty(t, c.Calls())
		})
	}
}

func TestCallsWithoutAnAnswer(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			c := start(t, stytchtest.Config{InProcess: way.inProcess})
			c.Fail("jwks", stytchtest.Reset())
			_, err := c.http.Do(c.request(t, "GET", "/v1/sessions/jwks/x", nil))
			require.Error(t, err)
			calls := c.Calls()
			require.Len(t, calls, 1)
			assert.Zero(t, calls[0].Status)
			assert.False(t, calls[0].End.IsZero())
		})
	}
}
