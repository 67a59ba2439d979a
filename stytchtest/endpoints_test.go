package stytchtest_test

import (
	"strings"
	"testing"
	"time"

	"example.com/stytchmigrate/stytchtest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var migrateRows = []struct {
	name   string
	body   any
	status int
	kind   string // error_type
}{
	{"a session is made", object{"session_token": "legacy-jane", "session_duration_minutes": 60}, 200, ""},
	{"shortest session", object{"session_token": "legacy-jane", "session_duration_minutes": 5}, 200, ""},
	{"longest session", object{"session_token": "legacy-jane", "session_duration_minutes": 527040}, 200, ""},
	{"no duration", object{"session_token": "legacy-jane"}, 200, ""},
	{"null duration", object{"session_token": "legacy-jane", "session_duration_minutes": nil}, 200, ""},
	{"duration too short", object{"session_token": "legacy-jane", "session_duration_minutes": 4}, 400, "invalid_session_duration_minutes"},
	{"zero duration", object{"session_token": "legacy-jane", "session_duration_minutes": 0}, 400, "invalid_session_duration_minutes"},
	{"duration too long", object{"session_token": "legacy-jane", "session_duration_minutes": 527041}, 400, "invalid_session_duration_minutes"},
	{"duration with a fraction", object{"session_token": "legacy-jane", "session_duration_minutes": 5.5}, 400, "invalid_session_duration_minutes"},
	{"duration as a string", object{"session_token": "legacy-jane", "session_duration_minutes": "60"}, 400, "invalid_session_duration_minutes"},
	{"no token", object{"session_duration_minutes": 60}, 400, "missing_session_token"},
	{"empty token", object{"session_token": ""}, 400, "missing_session_token"},
	{"token of another type", object{"session_token": 7}, 400, "bad_request"},
	{"telemetry id of another type", object{"session_token": "legacy-jane", "telemetry_id": 7}, 400, "bad_request"},
	{"claims that are no object", object{"session_token": "legacy-jane", "session_custom_claims": []int{1}}, 400, "bad_request"},
	{"claims too large", object{"session_token": "legacy-jane", "session_custom_claims": object{"a": strings.Repeat("x", 4096)}}, 400, "custom_claims_too_large"},
	{"reserved claim", object{"session_token": "legacy-jane", "session_custom_claims": object{"jti": "a"}}, 400, "invalid_session_custom_claims"},
	{"unknown token", object{"session_token": "legacy-other"}, 400, "migrate_from_external_unexpected_response"},
	{"unknown email", object{"session_token": "legacy-nobody"}, 404, "migrate_from_external_email_does_not_exist"},
	{"email that only Unicode folds", object{"session_token": "legacy-kelvin"}, 404, "migrate_from_external_email_does_not_exist"},
	{"locked user", object{"session_token": "legacy-locked"}, 429, "user_lock_limit_reached"},
	{"no object", `[]`, 400, "bad_request"},
	{"two objects", `{} {}`, 400, "bad_request"},
	{"no JSON", `session_token=a`, 400, "bad_request"},
	{"no body", nil, 400, "bad_request"},
}

func TestMigrate(t *testing.T) {
	c := start(t, stytchtest.Config{})
	jane := c.AddUser(stytchtest.Person("Jane@Example.com"))
	locked := stytchtest.Person("locked@example.com")
	locked.Locked = true
	c.AddUser(locked)
	c.Accept("legacy-jane", "jANE@example.com")
	c.Accept("legacy-kelvin", "jane@e\u212Aample.com")
	c.Accept("legacy-nobody", "nobody@example.com")
	c.Accept("legacy-locked", "locked@example.com")
	for _, row := range migrateRows {
		t.Run(row.name, func(t *testing.T) {
			status, got := c.call(t, "POST", "/v1/sessions/migrate", row.body)
			assert.Equal(t, row.status, status)
			if row.kind != "" {
				assertError(t, row.kind, got)
				return
			}
			assert.Equal(t, jane.ID, got["user_id"])
		})
	}
	assert.Len(t, c.Sessions(), 3, "only calls with a duration make sessions")
}

func assertError(t *testing.T, kind string, got object) {
	t.Helper()
	assert.Equal(t, kind, got["error_type"])
	assert.NotEmpty(t, got["error_message"])
	assert.Contains(t, got["error_url"], "#"+kind)
}

func TestMigrateMakesASession(t *testing.T) {
	c := start(t, stytchtest.Config{})
	jane := c.AddUser(stytchtest.Person("jane@example.com"))
	c.Accept("legacy-jane", "jane@example.com")

	_, got := c.migrate(t, object{"session_token": "legacy-jane", "session_duration_minutes": 60,
		"session_custom_claims": object{"plan": "gold", "gone": nil}})
	sessions := c.Sessions()
	require.Len(t, sessions, 1)
	x := sessions[0]
	assert.Equal(t, object{"plan": "gold"}, x.CustomClaims)
	assert.True(t, x.Imported)
	assert.True(t, x.Live)
	assert.Equal(t, jane.ID, x.UserID)
	assert.Equal(t, time.Hour, x.ExpiresAt.Sub(x.StartedAt))
	assert.Equal(t, x.Token, got["session_token"])
	assert.Equal(t, x.JWT, got["session_jwt"])
	wire := got["session"].(object)
	assert.Equal(t, x.ID, wire["session_id"])
	assert.Equal(t, object{"plan": "gold"}, wire["custom_claims"])
	factor := wire["authentication_factors"].([]any)[0].(object)
	assert.Equal(t, "imported", factor["type"])
	assert.Equal(t, "imported_auth0", factor["delivery_method"])

	_, got = c.migrate(t, object{"session_token": "legacy-jane"})
	assert.Equal(t, "", got["session_token"], "without a duration")
	assert.Equal(t, "", got["session_jwt"])
	assert.Nil(t, got["session"])
	assert.Len(t, c.Sessions(), 1)
}

func TestAuthenticate(t *testing.T) {
	c := start(t, stytchtest.Config{})
	jane := c.AddUser(stytchtest.Person("jane@example.com"))
	live := c.NewSession(jane.ID, 0)
	revoked := c.NewSession(jane.ID, 0)
	c.RevokeSession(revoked.ID)
	ended := c.NewSession(jane.ID, -time.Second)

	for _, row := range []struct {
		name   string
		body   object
		status int
		kind   string
	}{
		{"token", object{"session_token": live.Token}, 200, ""},
		{"JWT", object{"session_jwt": live.JWT}, 200, ""},
		{"neither", object{}, 400, "no_session_arguments"},
		{"both", object{"session_token": live.Token, "session_jwt": live.JWT}, 400, "too_many_session_arguments"},
		{"id alone", object{"session_id": live.ID}, 400, "no_session_arguments"},
		{"revoked", object{"session_token": revoked.Token}, 404, "session_not_found"},
		{"JWT of a revoked session", object{"session_jwt": revoked.JWT}, 404, "session_not_found"},
		{"expired session", object{"session_token": ended.Token}, 404, "session_not_found"},
		{"unknown token", object{"session_token": strings.Repeat("A", 44)}, 404, "session_not_found"},
		{"malformed token", object{"session_token": live.Token + "="}, 400, "invalid_session_token"},
		{"token of another type", object{"session_token": 7}, 400, "bad_request"},
		{"duration too short", object{"session_token": live.Token, "session_duration_minutes": 1}, 400, "invalid_session_duration_minutes"},
		{"reserved claim", object{"session_token": live.Token, "session_custom_claims": object{"sub": "a"}}, 400, "invalid_session_custom_claims"},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, got := c.authenticate(t, row.body)
			assert.Equal(t, row.status, status)
			if row.kind != "" {
				assertError(t, row.kind, got)
				return
			}
			assert.Equal(t, live.Token, got["session_token"])
			assert.Equal(t, jane.ID, got["user"].(object)["user_id"])
		})
	}
}

func TestAuthenticateJWT(t *testing.T) {
	c := start(t, stytchtest.Config{})
	live := c.NewSession(c.AddUser(stytchtest.Person("jane@example.com")).ID, 0)
	changed := func(change func(object)) string {
		claims := c.Claims(live.ID)
		change(claims)
		return c.SignJWT(claims, nil)
	}
	for _, row := range []struct {
		name   string
		jwt    string
		status int
		kind   string
	}{
		{"expired JWT", changed(func(o object) { o["exp"] = 1 }), 200, ""},
		{"no JWT", "a.b.c", 400, "unable_to_parse_session_jwt"},
		{"signature cut", live.JWT[:len(live.JWT)-8], 400, "unable_to_parse_session_jwt"},
		{"unknown kid", c.SignJWT(c.Claims(live.ID), object{"kid": "jwk-test-other"}), 400, "unable_to_parse_session_jwt"},
		{"other issuer", changed(func(o object) { o["iss"] = "other" }), 400, "jwt_invalid_issuer"},
		{"other audience", changed(func(o object) { o["aud"] = "other" }), 400, "jwt_invalid_audience"},
		{"no session claim", changed(func(o object) { delete(o, "https://stytch.com/session") }), 400, "jwt_invalid_claims"},
		{"another user's", changed(func(o object) { o["sub"] = "user-test-other" }), 404, "session_not_found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, got := c.authenticate(t, object{"session_jwt": row.jwt})
			assert.Equal(t, row.status, status)
			if row.kind != "" {
				assertError(t, row.kind, got)
				return
			}
			assert.Equal(t, live.Token, got["session_token"])
		})
	}
}

func TestAuthenticateExtends(t *testing.T) {
	c := start(t, stytchtest.Config{})
	jane := c.AddUser(stytchtest.Person("jane@example.com"))
	x := c.NewSession(jane.ID, time.Hour)
	c.SetClock(func() time.Time { return x.StartedAt.Add(30 * time.Minute) })

	_, got := c.authenticate(t, object{"session_token": x.Token})
	after, _ := c.Session(x.ID)
	assert.Equal(t, x.ExpiresAt, after.ExpiresAt, "without a duration")
	assert.Equal(t, 30*time.Minute, after.LastAccessedAt.Sub(x.StartedAt))
	assert.NotEqual(t, x.JWT, got["session_jwt"], "the JWT is fresh")

	c.authenticate(t, object{"session_token": x.Token, "session_duration_minutes": 90,
		"session_custom_claims": object{"a": 1, "b": object{"c": 2, "d": 3}}})
	c.authenticate(t, object{"session_jwt": after.JWT,
		"session_custom_claims": object{"a": nil, "b": object{"c": nil}}})
	after, _ = c.Session(x.ID)
	assert.Equal(t, 2*time.Hour, after.ExpiresAt.Sub(x.StartedAt))
	assert.Equal(t, object{"b": object{"d": 3.0}}, after.CustomClaims)

	c.RemoveUser(jane.ID)
	status, _ := c.authenticate(t, object{"session_token": x.Token})
	assert.Equal(t, 404, status)
	assert.Empty(t, c.Sessions())
}

func TestRevoke(t *testing.T) {
	c := start(t, stytchtest.Config{})
	jane := c.AddUser(stytchtest.Person("jane@example.com"))
	for _, row := range []struct {
		name   string
		body   func(stytchtest.Session) object
		status int
		kind   string
	}{
		{"id", func(x stytchtest.Session) object { return object{"session_id": x.ID} }, 200, ""},
		{"token", func(x stytchtest.Session) object { return object{"session_token": x.Token} }, 200, ""},
		{"JWT", func(x stytchtest.Session) object { return object{"session_jwt": x.JWT} }, 200, ""},
		{"unknown", func(stytchtest.Session) object { return object{"session_id": "session-test-other"} }, 404, "session_not_found"},
		{"two", func(x stytchtest.Session) object { return object{"session_id": x.ID, "session_token": x.Token} }, 400, "too_many_session_revoke_arguments"},
		{"none", func(stytchtest.Session) object { return object{} }, 400, "no_session_arguments"},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := c.NewSession(jane.ID, 0)
			status, got := c.call(t, "POST", "/v1/sessions/revoke", row.body(x))
			assert.Equal(t, row.status, status)
			after, ok := c.Session(x.ID)
			require.True(t, ok)
			assert.Equal(t, status == 200, after.Revoked)
			assert.Equal(t, status != 200, after.Live)
			if row.kind != "" {
				assertError(t, row.kind, got)
				return
			}
			status, _ = c.call(t, "POST", "/v1/sessions/revoke", row.body(x))
			assert.Equal(t, 404, status, "the second time")
		})
	}
	c.RevokeAll()
	for _, x := range c.Sessions() {
		assert.False(t, x.Live)
	}
}
