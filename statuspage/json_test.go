package statuspage_test

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// What programs read, in full but for the hours: names do not change by the way.
const wholeJSON = `{
	"scope": "this process, since it started", "at": "2000-01-01T01:00:30Z", "since": "2000-01-01T00:00:00Z",
	"removal": {"safe": false, "quiet": "14 days", "reasons": [
		{"holds": false, "text": "This process has watched for 1 hour; it takes 14 days to tell."},
		{"holds": true, "text": "Last request of any kind: 30 seconds ago. Without requests nothing can be told."},
		{"holds": false, "text": "Last legacy session: 30 seconds ago. None may have come for 14 days."},
		{"holds": false, "text": "Last one that did not move (left alone, refused or unavailable): 30 seconds ago."},
		{"holds": true, "text": "Last request whose old cookie the application could not read: never. Its user has a day to come again."},
		{"holds": true, "text": "Last time that a handler set the old cookie in stage retired: never. The old login must be gone."}]},
	"legacy_sessions": {"seen": 4, "migrated": 1, "left_alone": 1, "refused": 1, "unavailable": 1, "to_move": 3, "moved_percent": 25, "error_percent": 1.6},
	"stages": [{"stage": "replace", "seen": 4, "migrated": 1, "left_alone": 1, "refused": 1, "unavailable": 1}],
	"last_legacy_session": "2000-01-01T01:00:00Z",
	"requests": {"anonymous": 0, "authenticated": 0, "migrated": 1, "legacy": 1, "refused": 1, "unavailable": 1},
	"failures": [
		{"error_type": "(of a later version)", "count": 1, "last": "2000-01-01T01:00:00Z", "request_ids": []},
		{"error_type": "session_not_found", "count": 1, "last": "2000-01-01T01:00:00Z", "request_ids": ["request-id-test-1"]}],
	"held_back": [{"calls": "exchange", "breaker": "open", "since": "2000-01-01T01:00:00Z", "paused_until": "2000-01-01T01:01:00Z"}],
	"events": [
		{"kind": "created", "count": 1, "last": "2000-01-01T01:00:00Z"}, {"kind": "mismatch", "count": 0}, {"kind": "conflict", "count": 0},
		{"kind": "not_kept", "count": 0}, {"kind": "wrong_cookie", "count": 0}, {"kind": "no_old_cookie", "count": 0}, {"kind": "comes_again", "count": 0}, {"kind": "plain_http", "count": 0},
		{"kind": "still_set", "count": 0}, {"kind": "unheard_logout", "count": 0}, {"kind": "logout", "count": 0}, {"kind": "signin", "count": 0}, {"kind": "revocation", "count": 0}, {"kind": "jwks", "count": 0}, {"kind": "store", "count": 0},
		{"kind": "brake", "count": 0}, {"kind": "other", "count": 1, "last": "2000-01-01T01:00:00Z"}],
	"dial": {"stage": "keep", "hold_back": 12.5, "per_second": 3}}`

func TestWholeJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 12.5, PerSecond: 3}
		page := statuspage.NewApart(statuspage.Options{Dial: turnable(&now, nil)})
		time.Sleep(time.Hour)
		occupy(page)
		time.Sleep(30 * time.Second)
		got := whole(t, page)
		hours, ok := got["hours"].([]any)
		require.True(t, ok)
		delete(got, "hours")
		rest, err := json.Marshal(got)
		require.NoError(t, err)
		assert.JSONEq(t, wholeJSON, string(rest))
		require.Len(t, hours, 24)
		assert.Equal(t, map[string]any{"from": "2000-01-01T01:00:00Z", "seen": 4.0, "migrated": 1.0, "left_alone": 1.0, "refused": 1.0, "unavailable": 1.0, "requests": 4.0}, hours[23])
		assert.Equal(t, "1999-12-31T02:00:00Z", hours[0].(map[string]any)["from"])

		now.Until = time.Date(2030, 1, 31, 19, 0, 0, 0, time.FixedZone("", 3600))
		assert.Equal(t, "2030-01-31T18:00:00Z", whole(t, page)["dial"].(map[string]any)["until"])
	})
}

// What was never heard of is left out, or an empty list, and no zero time.
func TestJSONOfNothing(t *testing.T) {
	got := whole(t, statuspage.New(statuspage.Options{}))
	assert.NotContains(t, got, "dial")
	assert.NotContains(t, got, "last_legacy_session")
	for _, list := range []string{"failures", "held_back", "stages"} {
		assert.Equal(t, []any{}, got[list], list)
	}
	for _, kind := range got["events"].([]any) {
		assert.Len(t, kind, 2, "a kind and 0")
		assert.NotEqual(t, "other", kind.(map[string]any)["kind"])
	}
	page := statuspage.New(statuspage.Options{})
	observe(page, stytchmigrate.Event{Kind: "paused", Calls: "exchange"})
	assert.Equal(t, []any{map[string]any{"calls": "exchange", "breaker": "closed"}}, whole(t, page)["held_back"])
}

func whole(t *testing.T, page *statuspage.Page) (out map[string]any) {
	t.Helper()
	require.NoError(t, json.Unmarshal(get(page, "/?format=json").Body.Bytes(), &out))
	return out
}
