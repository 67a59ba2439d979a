package stytchmigrate

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// keeper returns the records of one machine, and what it was loud about.
func keeper() (*records, *[]error) {
	loud := &[]error{}
	return &records{
		key: "a key of 32 bytes, or of even more", local: newMemory(3), ended: newLRU[string, struct{}](3),
		loud: func(_ string, err error) { *loud = append(*loud, err) },
	}, loud
}

// aRecord is one as it is written today, decoded.
func aRecord(t *testing.T) map[string]any {
	t.Helper()
	s := stytchtest.NewServer(t, stytchtest.Config{InProcess: true})
	s.AddUser(stytchtest.Person("ada@example.com"))
	s.Accept("token", "ada@example.com")
	old := foundLegacy{session: LegacySession{ID: "id", Token: "token"}}
	m, err := New(Config{
		ProjectID: s.ProjectID, Secret: Secret(s.Secret), BaseURL: s.URL, HTTPClient: s.Client(), Logger: slog.New(slog.DiscardHandler),
		Legacy: []LegacyCookie{{Name: "sid", Resolve: func(*http.Request, string) (LegacySession, error) { return old.session, nil }}},
	})
	require.NoError(t, err)
	old.cookie = &m.cfg.Legacy[0]
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "sid", Value: "1"})
	m.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)

	records, key := m.migrator.records, m.migrator.key(&old)
	plain, err := records.open(key, "id", records.local.get(key))
	require.NoError(t, err)
	out := map[string]any{}
	require.NoError(t, json.Unmarshal(plain, &out))
	return out
}

// While a new version is deployed, two of them read each other's records. What
// one does not know it leaves alone, and what it need not have it does without.
// What it must have it does not make up.
func TestRecordsOfTwoVersions(t *testing.T) {
	in := func(r map[string]any, name string) map[string]any {
		return r["answer"].(map[string]any)[name].(map[string]any)
	}
	for name, row := range map[string]struct {
		change func(r map[string]any)
		read   bool
	}{
		"as it is": {func(map[string]any) {}, true},
		"with members that are not known": {func(r map[string]any) {
			r["stage"], in(r, "session")["device"], in(r, "user")["locale"] = "later", map[string]any{"a": []int{1}}, nil
			r["answer"].(map[string]any)["warnings"] = []string{"x"}
		}, true},
		"without the members that need not be there": {func(r map[string]any) {
			for _, of := range []string{"session", "user"} {
				for _, member := range []string{
					"custom_claims", "attributes", "started_at", "last_accessed_at", "expires_at", "name", "password",
					"trusted_metadata", "untrusted_metadata", "external_id", "created_at", "lock_created_at", "lock_expires_at",
				} {
					delete(in(r, of), member)
				}
			}
			delete(r["answer"].(map[string]any), "verdict")
		}, true},
		"without a time":       {func(r map[string]any) { delete(r, "at") }, false},
		"without a user":       {func(r map[string]any) { delete(r["answer"].(map[string]any), "user") }, false},
		"without a session id": {func(r map[string]any) { delete(in(r, "session"), "session_id") }, false},
		"with a user of another type": {func(r map[string]any) {
			in(r, "user")["user_id"] = 1
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := aRecord(t)
				row.change(r)
				plain, err := json.Marshal(r)
				require.NoError(t, err)
				s, loud := keeper()
				got := s.read("key", "id", s.seal("key", "id", plain))
				assert.Equal(t, row.read, got != nil)
				assert.Equal(t, row.read, len(*loud) == 0, "what can't be read is worth a line in the log")
				if got != nil {
					assert.Equal(t, in(r, "user")["user_id"], got.Answer.User.UserID)
				}
			})
		})
	}
}

// A source may have more members too, and lack all of them but the cookie's name.
func TestSourcesOfTwoVersions(t *testing.T) {
	s, loud := keeper()
	for _, plain := range []string{`{"cookie":"sid","id":"1","later":{"a":[1]}}`, `{"cookie":"sid","id":"1"}`} {
		s.local.put("key.source", s.seal("key.source", "", []byte(plain)), time.Hour)
		src, found := s.source(t.Context(), "key")
		assert.True(t, found)
		assert.Equal(t, source{Cookie: "sid", ID: "1"}, src)
	}
	assert.Empty(t, *loud)
}

// What each value of a cookie became is remembered for no more of them than there
// is room for, and those that came last are.
func TestRecordsAreBounded(t *testing.T) {
	s, _ := keeper()
	for i := range 100 {
		key := fmt.Sprint(i)
		assert.True(t, s.put(t.Context(), key, "", "", &record{}))
		s.endHere(key)
	}
	assert.Equal(t, 3, s.local.values.Len())
	assert.Equal(t, 3, s.ended.Len())
	assert.NotNil(t, s.local.get("99"))
	assert.True(t, s.hasEnded(t.Context(), "99"))
}
