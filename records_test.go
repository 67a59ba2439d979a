package stytchmigrate_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// A store that is down costs one exchange on each machine. Nobody is lost, pages
// don't wait long, and when it is back its sessions are shared again.
func TestStoreIsDown(t *testing.T) {
	for name, fault := range map[string]func(string, string) error{
		"errors": down,
		"panics": func(string, string) error { panic("canary-secret") },
		"hangs":  func(string, string) error { time.Sleep(time.Minute); return errStoreDown },
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory) {
				s.Fail(fault)
				start := time.Now()
				first := a.on(m[0]).get("sid=ada-1")
				assert.Equal(t, swapped, first.String())
				assert.LessOrEqual(t, time.Since(start), 2*time.Second)
				assert.Equal(t, handedOut+"-", a.on(m[0]).get("sid=ada-1").String(), "each machine remembers for itself")
				assert.Equal(t, swapped, a.on(m[1]).get("sid=ada-1").String())
				start = time.Now()
				for i := range 20 {
					assert.Equal(t, swapped, a.on(m[0]).get(fmt.Sprintf("sid=ada-%d", i+2)).String())
				}
				assert.LessOrEqual(t, time.Since(start), 2*time.Second, "it is left alone")
				assert.Contains(t, a.log.String(), "stytchmigrate: store: ")
				assert.NotContains(t, a.log.String(), "canary-secret")
				require.NotEmpty(t, a.events)
				for _, e := range a.events {
					assert.Equal(t, "store", e.Kind)
					assert.NotContains(t, e.Err.Error(), "canary-secret")
				}

				s.Fail(nil)
				time.Sleep(6 * time.Second)
				back := a.on(m[0]).get("sid=ada-1")
				assert.Equal(t, first.Result().Cookies()[0].Value, back.Result().Cookies()[0].Value)
				time.Sleep(time.Minute)
				shared := a.on(m[2]).get("sid=ada-1")
				assert.Equal(t, first.Result().Cookies()[0].Value, shared.Result().Cookies()[0].Value)
				time.Sleep(time.Minute) // of those that hang
			})
		})
	}
}

// Who logs out while the store is down is told, and is logged out here.
func TestLogoutWhileStoreIsDown(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		jar := a.on(m[0]).get("sid=ada-1").jar("sid=ada-1")
		time.Sleep(time.Minute)
		s.Fail(down)
		var err error
		a.handler = func(w http.ResponseWriter, r *http.Request) { err = a.m.Logout(w, r) }
		a.on(m[0]).get(jar)
		a.handler = nil
		assert.ErrorContains(t, err, "stytchmigrate: store: put: ")
		assert.False(t, a.stytch.Sessions()[0].Live)
		assert.Equal(t, refusedKeep+"-", a.on(m[0]).get("sid=ada-1").String())
		s.Fail(nil)
		time.Sleep(6 * time.Second)
		assert.Equal(t, refusedKeep+"authenticate", a.on(m[1]).get("sid=ada-1").String(), "Stytch knows")
		assert.Equal(t, refusedKeep+"-", a.on(m[2]).get("sid=ada-1").String())
	})
}

// What the store holds tells nothing, whoever reads it.
func TestRecordsAreSealed(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		out := a.on(m[0]).get("sid=ada-1")
		a.on(m[0]).logOut(out.jar(""))
		require.Len(t, s.Values(), 4, "the session, its source, that both ended")
		for key, v := range s.Values() {
			assert.LessOrEqual(t, len(key), 100)
			for _, secret := range []string{"ada", "session", out.Result().Cookies()[0].Value, out.Result().Cookies()[1].Value} {
				assert.NotContains(t, key, secret)
				assert.False(t, bytes.Contains(v, []byte(secret)))
				assert.False(t, bytes.Contains(v, []byte(base64.StdEncoding.EncodeToString([]byte(secret)))))
			}
		}
	}, oldCookie(func(l *stytchmigrate.LegacyCookie) { l.End = endNothing }))
}

// Whoever writes the store makes nobody anybody: what was not sealed here, and
// for this key, is none.
func TestForgedRecords(t *testing.T) {
	for name, forge := range map[string]func(values map[string][]byte, key string) []byte{
		"one bit of each byte": func(v map[string][]byte, k string) []byte {
			for i := range v[k] {
				v[k][i] ^= 1
			}
			return v[k]
		},
		"the last bit": func(v map[string][]byte, k string) []byte { v[k][len(v[k])-1] ^= 1; return v[k] },
		"truncated":    func(v map[string][]byte, k string) []byte { return v[k][:20] },
		"one byte":     func(v map[string][]byte, k string) []byte { return v[k][:1] },
		"rubbish":      func(map[string][]byte, string) []byte { return []byte("rubbish") },
		"JSON":         func(map[string][]byte, string) []byte { return []byte(`{"answer":{}}`) },
		"of version 0": func(v map[string][]byte, k string) []byte { v[k][0] = 0; return v[k] },
		"of version 2": func(v map[string][]byte, k string) []byte { v[k][0] = 2; return v[k] },
		"another's": func(v map[string][]byte, k string) []byte {
			for other := range v {
				if other != k && !strings.Contains(other, ".") {
					return v[other]
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory) {
				a.on(m[0]).get("sid=bob-1")
				known := len(s.Values())
				a.on(m[0]).get("sid=ada-1")
				require.Len(t, s.Values(), known+1)
				key := a.originOf(t)
				overwrite(t, s, key, forge(s.Values(), key))
				assert.Equal(t, swapped, a.on(m[1]).get("sid=ada-1").String(), "as if there were none")
				synctest.Wait()
				require.NotEmpty(t, a.events)
				assert.Equal(t, "store", a.events[0].Kind)
				assert.Equal(t, "unreadable", a.events[0].Cause, "nothing fails that could recover")
				assert.ErrorContains(t, a.events[0].Err, "a record can't be read")
				assert.Equal(t, handedOut+"-", a.on(m[2]).get("sid=ada-1").String())
			})
		})
	}
}

// overwrite is what somebody does who can write the store.
func overwrite(t *testing.T, s *storetest.Memory, key string, value []byte) {
	t.Helper()
	_, err := s.Put(t.Context(), key, "", value, time.Hour)
	require.NoError(t, err)
}

// originOf is the key of the record that the latest session came from.
func (a *app) originOf(t *testing.T) string {
	t.Helper()
	all := a.stytch.Sessions()
	key, _ := all[len(all)-1].CustomClaims["legacy_session"].(string)
	require.NotEmpty(t, key)
	return key
}

// A mark that somebody logged out can't be made up, nor moved.
func TestForgedMarks(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		bob := a.on(m[0]).get("sid=bob-1").jar("")
		keyOfBob := a.originOf(t)
		a.on(m[0]).logOut(bob)
		a.on(m[0]).get("sid=ada-1")
		ofBob := s.Values()[keyOfBob+".ended"]
		require.NotEmpty(t, ofBob)
		overwrite(t, s, a.originOf(t)+".ended", ofBob)
		assert.Equal(t, handedOut+"-", a.on(m[1]).get("sid=ada-1").String())
	})
}

// One id under two users, two cookies or two projects is as many sessions, in
// one store and under one key.
func TestRecordsAreKeptApart(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		s := new(storetest.Memory)
		one := func(c *stytchmigrate.Config) {
			c.Store, c.RecordKey = s, "a key that two projects should not share"
		}
		user := "ada"
		a.resolve = func(string) (stytchmigrate.LegacySession, error) { return legacySession(user, "1"), nil }
		a.on(a.machines(t, 1, one)[0])
		assert.Equal(t, swapped, a.get("sid=1").String())
		user = "bob"
		assert.Equal(t, strings.Replace(swapped, "ada", "bob", 1), a.get("sid=1").String(), "another user's")
		user = "ada"
		a.on(a.machines(t, 1, one, oldCookie(func(l *stytchmigrate.LegacyCookie) { l.Name = "old" }))[0])
		assert.Equal(t, strings.Replace(swapped, "sid", "old", 1), a.get("old=1").String(), "of another cookie")
		other := newApp(t, stytchtest.Config{InProcess: true}, one)
		other.resolve = a.resolve
		assert.Equal(t, swapped, other.get("sid=1").String(), "of another project")
		assert.Len(t, s.Values(), 4)
	})
}

// An old cookie that comes again is given the session that it became, of which
// Stytch is asked unless it spoke of it within ten seconds.
func TestRecordIsResumed(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		handedOut := strings.TrimSuffix(swapped, "migrate")
		first := a.get("sid=ada-1")
		require.Equal(t, swapped, first.String())
		for _, row := range []struct {
			after time.Duration
			calls string
		}{
			{10*time.Second - 1, "-"},
			{1, "authenticate"},
			{10*time.Second - 1, "-"},
			{29 * 24 * time.Hour, "authenticate"}, // it is extended
			{29 * 24 * time.Hour, "authenticate"},
		} {
			time.Sleep(row.after)
			out := a.get("sid=ada-1")
			assert.Equal(t, handedOut+row.calls, out.String())
			assert.Equal(t, first.Result().Cookies()[0].Value, out.Result().Cookies()[0].Value)
		}
		assert.Equal(t, swapped, a.get("sid=ada-2").String(), "of that session alone")
	})
}
