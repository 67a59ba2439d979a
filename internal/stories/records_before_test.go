package stories_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// storedBefore returns a store as commit 84c2936 left it, in a bubble at the first
// moment of 2000, with the project and the key of sharesRecords: Ada's legacy session
// ada-1 had moved, and Bob's bob-1 had moved and was logged out. Keys that end in lost are left out, unless
// it is empty.
func storedBefore(t *testing.T, lost string) *storetest.Memory {
	t.Helper()
	raw, err := os.ReadFile("testdata/records_84c2936.json")
	require.NoError(t, err)
	var values map[string][]byte
	require.NoError(t, json.Unmarshal(raw, &values))
	require.Len(t, values, 6, "two sessions, their sources, that Bob's legacy session ended, and that his Stytch session did")
	s := new(storetest.Memory)
	for key, value := range values {
		if lost != "" && strings.HasSuffix(key, lost) {
			continue
		}
		_, err := s.Put(t.Context(), key, "", value, 24*time.Hour)
		require.NoError(t, err)
	}
	return s
}

// sharesRecords has the record key of that store, and notes which legacy sessions are
// ended at their source.
func sharesRecords(s *storetest.Memory, ended *[]stytchmigrate.LegacySession) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		c.Store, c.RecordKey = s, "a record key that two versions share"
		c.Legacy[0].End = func(_ context.Context, l stytchmigrate.LegacySession) error {
			*ended = append(*ended, l)
			return nil
		}
	}
}

// While a new version is deployed, it reads what the version before has stored, and so
// it does after: records live for a month, and marks for 400 days. A change to a key, to
// the sealing or to what is sealed would sign users in twice, or let those in again who
// logged out.
func TestRecordsOfTheVersionBefore(t *testing.T) {
	for name, row := range map[string]struct {
		cookies, want string
		lost          string // keys with this suffix are not in the store
	}{
		"a session that moved is resumed without a call":               {"sid=ada-1", "migrated somebody else | +stytch_session +stytch_session_jwt | no-store | -", ""},
		"a legacy session that was logged out is refused":              {"sid=bob-1", apptest.RefusedUntouched + "-", ""},
		"a Stytch session that ended is not resumed, only by its mark": {"sid=bob-1", strings.Replace(apptest.Moved, "ada", "bob", 1), ".ended"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, _ *apptest.App) {
				a, _ := appOfBefore(t, row.lost)
				assert.Equal(t, row.want, a.Get(row.cookies).String())
				assert.Empty(t, a.SettledEvents(), "all of it can be read")
			})
		})
	}
}

// Ada logs out after her old cookie has gone: her browser has only the Stytch cookies, and her legacy
// session is known by the record of its source.
func TestSourceOfTheVersionBefore(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, _ *apptest.App) {
		a, ended := appOfBefore(t, "")
		a.LogOut(a.Get("sid=ada-1").Jar(""))
		assert.Equal(t, []stytchmigrate.LegacySession{apptest.LegacySession("ada", "ada-1")}, *ended)
		assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
	})
}

// appOfBefore returns an application with that store. Its Stytch knows none of the
// sessions in it, and must not be asked about them.
func appOfBefore(t *testing.T, lost string) (*apptest.App, *[]stytchmigrate.LegacySession) {
	t.Helper()
	s, ended := storedBefore(t, lost), new([]stytchmigrate.LegacySession)
	project := stytchtest.Config{InProcess: true, ProjectID: "project-test-11111111-2222-4333-8444-555555555555"}
	return apptest.New(t, project, sharesRecords(s, ended)), ended
}
