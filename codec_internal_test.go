package stytchmigrate

import (
	"encoding/json"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/stytchtest"
)

// While a new version is deployed, two of them read each other's records. A version ignores
// members that it does not know, and does without those that may be absent. Without a
// member that has to be there, the record is of no use.
func TestRecordsOfTwoVersions(t *testing.T) {
	s := stytchtest.NewServer(t, stytchtest.Config{InProcess: true})
	session := s.NewSession(s.AddUser(stytchtest.Person("ada@example.com")).ID, time.Hour)
	m, err := New(Config{ProjectID: s.ProjectID, Secret: Secret(s.Secret), BaseURL: s.URL, HTTPClient: s.Client()})
	require.NoError(t, err)
	k, err := m.logouts.api.Authenticate(t.Context(), stytch.SessionRef{Token: redact.Secret(session.Token)}, 0)
	require.NoError(t, err)
	written, err := recordCodec.Encode(k)
	require.NoError(t, err)
	again, err := recordCodec.Decode(written)
	require.NoError(t, err)
	assert.Equal(t, k.ID, again.ID)
	assert.Equal(t, k.User, again.User)
	assert.True(t, k.ExpiresAt.Equal(again.ExpiresAt))

	in := func(r map[string]any, name string) map[string]any { return r[name].(map[string]any) }
	for name, row := range map[string]struct {
		change func(r map[string]any)
		read   bool
	}{
		"with members that are not known": {func(r map[string]any) {
			r["warnings"], in(r, "session")["device"], in(r, "user")["locale"] = []string{"x"}, map[string]any{"a": []int{1}}, nil
		}, true},
		"without the members that need not be there": {func(r map[string]any) {
			for _, of := range []string{"session", "user"} {
				maps.DeleteFunc(in(r, of), func(member string, _ any) bool {
					switch member {
					case "session_id", "user_id", "emails":
						return false
					}
					return true
				})
			}
			delete(r, "verdict")
		}, true},
		"without a user":              {func(r map[string]any) { delete(r, "user") }, false},
		"without a session id":        {func(r map[string]any) { delete(in(r, "session"), "session_id") }, false},
		"with a user of another type": {func(r map[string]any) { in(r, "user")["user_id"] = 1 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := map[string]any{}
			require.NoError(t, json.Unmarshal(written, &r))
			row.change(r)
			raw, err := json.Marshal(r)
			require.NoError(t, err)
			got, err := recordCodec.Decode(raw)
			assert.Equal(t, row.read, err == nil)
			if row.read {
				assert.Equal(t, k.UserID, got.UserID)
			}
		})
	}
}
