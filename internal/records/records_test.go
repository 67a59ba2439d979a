package records_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/userinfo"
)

const day = 24 * time.Hour

// codec writes the id of a session, and nothing else of it.
var codec = records.Codec{
	Encode: func(s *stytch.Session) (json.RawMessage, error) {
		if s.ID == "" {
			return nil, errors.New("of no use")
		}
		if s.ID == "broken" {
			return json.RawMessage("{"), nil
		}
		return json.Marshal(s.ID)
	},
	Decode: func(raw json.RawMessage) (*stytch.Session, error) {
		s := new(stytch.Session)
		if err := json.Unmarshal(raw, &s.ID); err != nil || s.ID == "" {
			return nil, errors.New("of no use")
		}
		return s, nil
	},
}

// machine holds the records of one machine, and what it reported.
type machine struct {
	*records.Records
	sealed  *sealedstore.Store
	reports []error
}

// newMachine returns the records of one machine; store may be nil.
func newMachine(store sealedstore.Backend) *machine {
	m := &machine{}
	m.sealed = sealedstore.New("a key of 32 bytes, or of even more", store, time.Second, func(err error) { m.reports = append(m.reports, err) })
	m.Records = records.New(m.sealed, codec)
	return m
}

// put records a session that lives for a time.
func (m *machine) put(t *testing.T, key, owner, sessionID string, life time.Duration) (stored bool) {
	t.Helper()
	return m.Put(t.Context(), key, "id", owner, &records.Record{VouchedAt: time.Now(), Session: &stytch.Session{ID: sessionID, ExpiresAt: time.Now().Add(life)}})
}

// has is the id of the recorded session, "" if there is no record.
func (m *machine) has(t *testing.T, key string) string {
	t.Helper()
	if r := m.Load(t.Context(), key, "id"); r != nil {
		return r.Session.ID
	}
	return ""
}

func inBubble(t *testing.T, f func(t *testing.T, store *storetest.Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, new(storetest.Memory)) })
}

// A record is found on every machine, with the time of the answer that it is of. The id
// of the legacy session opens it, and no other does.
func TestRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, store *storetest.Memory) {
		m, other := newMachine(store), newMachine(store)
		assert.Empty(t, m.has(t, "key"))
		at := time.Now()
		require.True(t, m.put(t, "key", "", "session-1", time.Hour))
		time.Sleep(time.Minute)
		r := other.Load(t.Context(), "key", "id")
		require.NotNil(t, r)
		assert.Equal(t, "session-1", r.Session.ID)
		assert.True(t, at.Equal(r.VouchedAt))
		assert.Empty(t, m.reports)
		assert.Nil(t, m.Load(t.Context(), "key", "another session's id"))
		assert.Equal(t, []error{sealedstore.ErrUnreadable}, m.reports)
	})
}

// A record is kept for 30 days, in the store and in the process, and longer if its
// session lives longer.
func TestRecordIsKept(t *testing.T) {
	for name, row := range map[string]struct{ life, kept time.Duration }{
		"a session of an hour": {time.Hour, 30 * day},
		"a session of a month": {30 * day, 30 * day},
		"a session of a year":  {366 * day, 366 * day},
	} {
		for where, shared := range map[string]bool{"the store": true, "the process": false} {
			t.Run(name+", in "+where, func(t *testing.T) {
				inBubble(t, func(t *testing.T, store *storetest.Memory) {
					m := newMachine(nil)
					if shared {
						newMachine(store).put(t, "key", "", "session-1", row.life)
						m = newMachine(store)
					} else {
						m.put(t, "key", "", "session-1", row.life)
					}
					time.Sleep(row.kept - 1)
					assert.Equal(t, "session-1", m.has(t, "key"))
					time.Sleep(time.Nanosecond)
					assert.Empty(t, m.has(t, "key"))
				})
			})
		}
	}
}

// What each value of a cookie became is remembered for no more of them than there
// is room for. Those that came last are remembered.
func TestRecordsAreBounded(t *testing.T) {
	m := newMachine(nil)
	const n = 20_000
	for i := range n + 100 {
		assert.True(t, m.put(t, fmt.Sprint(i), "", fmt.Sprint("s", i), time.Hour))
	}
	assert.Empty(t, m.has(t, "99"))
	assert.Equal(t, "s100", m.has(t, "100"))
	assert.Equal(t, fmt.Sprint("s", n+99), m.has(t, fmt.Sprint(n+99)))
	assert.Empty(t, m.reports)
}

// A Put with an owner needs that owner's claim, for as long as the lease is. Without the
// claim it leaves another machine's record alone, and this process remembers nothing.
func TestPutNeedsItsClaim(t *testing.T) {
	for name, row := range map[string]struct {
		meanwhile func(t *testing.T, m, other *machine)
		stored    bool
		want      string
	}{
		"in time":             {func(*testing.T, *machine, *machine) { time.Sleep(time.Minute - 1) }, true, "mine"},
		"after the lease":     {func(*testing.T, *machine, *machine) { time.Sleep(time.Minute) }, false, ""},
		"after a Release":     {func(t *testing.T, m, _ *machine) { m.Release(t.Context(), "key", "owner") }, false, ""},
		"after another's Put": {func(t *testing.T, _, other *machine) { other.put(t, "key", "", "another's", time.Hour) }, false, "another's"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, store *storetest.Memory) {
				m, other := newMachine(store), newMachine(store)
				claimed, err := m.Claim(t.Context(), "key", "owner", time.Minute)
				require.NoError(t, err)
				require.True(t, claimed)
				claimed, err = other.Claim(t.Context(), "key", "another owner", time.Minute)
				require.NoError(t, err)
				assert.False(t, claimed)
				row.meanwhile(t, m, other)
				assert.Equal(t, row.stored, m.put(t, "key", "owner", "mine", time.Hour))
				assert.Equal(t, row.want, m.has(t, "key"))
			})
		})
	}
}

// While the store is down, each process remembers for itself. When it is back, the next
// Load puts the record there, for the other machines. So it does if the store has lost it.
func TestStoreIsDown(t *testing.T) {
	for name, kept := range map[string]time.Duration{"for a month": time.Hour, "for as long as the session lives": 40 * day} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, store *storetest.Memory) {
				m := newMachine(store)
				store.Fail(func(string, string) error { return errors.New("down") })
				assert.True(t, m.put(t, "key", "owner", "session-1", kept), "no other machine's record is known")
				assert.Equal(t, "session-1", m.has(t, "key"))
				_, err := m.Claim(t.Context(), "key", "owner", time.Minute)
				assert.Error(t, err)
				store.Fail(nil)
				time.Sleep(6 * time.Second) // for five the store is left alone
				assert.Empty(t, newMachine(store).has(t, "key"))
				assert.Equal(t, "session-1", m.has(t, "key"))
				assert.Equal(t, "session-1", newMachine(store).has(t, "key"))
				time.Sleep(29 * day)
				assert.Equal(t, "session-1", newMachine(store).has(t, "key"))
			})
		})
	}
}

// A store that is down is not written to: what it has may be newer.
func TestNothingIsPutAfterAFailedGet(t *testing.T) {
	inBubble(t, func(t *testing.T, store *storetest.Memory) {
		m := newMachine(store)
		m.put(t, "key", "", "session-1", time.Hour)
		newMachine(store).put(t, "key", "", "session-2", time.Hour)
		store.Fail(func(op, _ string) error {
			if op == "get" {
				return errors.New("down")
			}
			return nil
		})
		assert.Equal(t, "session-1", m.has(t, "key"))
		store.Fail(nil)
		assert.Equal(t, "session-2", m.has(t, "key"))
	})
}

// A session that has no form as a record is not remembered. It is no other machine's
// either, so it may be handed out.
func TestSessionWithoutAForm(t *testing.T) {
	inBubble(t, func(t *testing.T, store *storetest.Memory) {
		m := newMachine(store)
		for _, sessionID := range []string{"", "broken"} {
			assert.True(t, m.put(t, "key", "", sessionID, time.Hour))
		}
		assert.Empty(t, store.Values())
		assert.Empty(t, m.has(t, "key"))
		assert.Empty(t, m.reports)
	})
}

// Each row is a record that opens and can't be used: as if there were none, and reported.
func TestUnreadable(t *testing.T) {
	for name, plain := range map[string]string{
		"no JSON":                  `{`,
		"without a time":           `{"answer":"session-1"}`,
		"without an answer":        `{"at":"2000-01-01T00:00:00Z"}`,
		"an answer that is no use": `{"at":"2000-01-01T00:00:00Z","answer":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, store *storetest.Memory) {
				m := newMachine(store)
				for _, key := range []string{"key", "key.source"} {
					_, err := store.Put(t.Context(), key, "", m.sealed.Seal(key, "id", []byte(plain)), time.Hour)
					require.NoError(t, err)
				}
				assert.Empty(t, m.has(t, "key"))
				_, found, err := m.Source(t.Context(), "key")
				assert.False(t, found, "it is sealed with an id")
				assert.ErrorIs(t, err, sealedstore.ErrUnreadable)
				assert.Equal(t, []error{sealedstore.ErrUnreadable}, m.reports, "once a minute")
			})
		})
	}
}

// Each row is what a writer of the store puts in the place of a record. It counts as none,
// and is reported; the record of another legacy session is no better.
func TestForgedRecords(t *testing.T) {
	for name, forge := range map[string]func(sealed, another []byte) []byte{
		"one bit of each byte": func(v, _ []byte) []byte {
			for i := range v {
				v[i] ^= 1
			}
			return v
		},
		"the last bit": func(v, _ []byte) []byte { v[len(v)-1] ^= 1; return v },
		"truncated":    func(v, _ []byte) []byte { return v[:20] },
		"one byte":     func(v, _ []byte) []byte { return v[:1] },
		"rubbish":      func(_, _ []byte) []byte { return []byte("rubbish") },
		"JSON":         func(_, _ []byte) []byte { return []byte(`{"answer":{}}`) },
		"of version 0": func(v, _ []byte) []byte { v[0] = 0; return v },
		"of version 2": func(v, _ []byte) []byte { v[0] = 2; return v },
		"another's":    func(_, another []byte) []byte { return another },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, store *storetest.Memory) {
				m := newMachine(store)
				m.put(t, "key", "", "session-1", time.Hour)
				m.put(t, "another", "", "session-2", time.Hour)
				forged := forge(store.Values()["key"], store.Values()["another"])
				_, err := store.Put(t.Context(), "key", "", forged, time.Hour)
				require.NoError(t, err)
				other := newMachine(store)
				assert.Empty(t, other.has(t, "key"))
				assert.Equal(t, []error{sealedstore.ErrUnreadable}, other.reports)
				assert.Equal(t, "session-1", m.has(t, "key"), "this process remembers its own")
			})
		})
	}
}

var source = records.Source{
	Cookie: "sid", Entry: 1, ID: "id-1", Token: "token-1", Identity: userinfo.Identity{Subject: "ada", Email: "ada@example.com", EmailVerified: true},
	StartedAt: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), ExpiresAt: time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC),
	UntilBrowserCloses: true,
}

// A source is found on every machine for its time, with all of it. On the machine that
// put it, it is also while the store is down.
func TestSource(t *testing.T) {
	inBubble(t, func(t *testing.T, store *storetest.Memory) {
		m, other := newMachine(store), newMachine(store)
		m.PutSource(t.Context(), "key", source, day)
		store.Fail(func(string, string) error { return errors.New("down") })
		assert.Equal(t, "found", sourceAt(t, m, "key"))
		assert.Equal(t, "can't tell", sourceAt(t, other, "key"))
		other.reports = nil
		store.Fail(nil)
		assert.Equal(t, "none", sourceAt(t, m, "another key"))
		time.Sleep(day - 1)
		assert.Equal(t, "found", sourceAt(t, other, "key"))
		time.Sleep(time.Nanosecond)
		for _, x := range []*machine{m, other} {
			assert.Equal(t, "none", sourceAt(t, x, "key"))
		}
	})
}

// sourceAt says what a machine finds.
func sourceAt(t *testing.T, m *machine, key string) string {
	t.Helper()
	src, found, err := m.Source(t.Context(), key)
	switch {
	case err != nil:
		assert.False(t, found)
		return "can't tell"
	case !found:
		return "none"
	}
	assert.Equal(t, source, src)
	return "found"
}

// A source may have more members than are known, and lack all of them but the cookie's
// name: two versions read each other's while one is deployed.
func TestSourcesOfTwoVersions(t *testing.T) {
	for name, row := range map[string]struct {
		plain string
		want  records.Source
		found bool
	}{
		"more":    {`{"cookie":"sid","id":"1","device":{"a":[1]}}`, records.Source{Cookie: "sid", ID: "1"}, true},
		"less":    {`{"cookie":"sid"}`, records.Source{Cookie: "sid"}, true},
		"no JSON": {`{`, records.Source{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, store *storetest.Memory) {
				m := newMachine(store)
				_, err := store.Put(t.Context(), "key.source", "", m.sealed.Seal("key.source", "", []byte(row.plain)), time.Hour)
				require.NoError(t, err)
				src, found, err := m.Source(t.Context(), "key")
				assert.Equal(t, row.found, found)
				assert.Equal(t, row.found, err == nil)
				assert.Equal(t, row.want, src)
				assert.Equal(t, !row.found, len(m.reports) == 1)
			})
		})
	}
}

// A source holds secrets. They are sealed with it, and never printed.
func TestSourceIsNotPrinted(t *testing.T) {
	assert.NotContains(t, fmt.Sprintf("%v %+v %#v", source, source, source), "token-1")
}
