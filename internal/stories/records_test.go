package stories_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// What legacy sessions became is kept in the store that machines share, and in each
// machine. The store may be down, its values may be read or forged by others, and an old
// cookie may come again at any time.

// A store that is down costs one exchange on each machine. No user is lost, and pages
// don't wait long. When the store is back, its sessions are shared again.
func TestStoreIsDown(t *testing.T) {
	for name, fault := range map[string]func(string, string) error{
		"errors": apptest.StoreDown,
		"panics": func(string, string) error { panic("canary-secret") },
		"hangs":  func(string, string) error { time.Sleep(time.Minute); return apptest.ErrStoreDown },
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
				s.Fail(fault)
				start := time.Now()
				first := a.On(m[0]).Get("sid=ada-1")
				assert.Equal(t, apptest.Moved, first.String())
				assert.LessOrEqual(t, time.Since(start), 2*time.Second)
				assert.Equal(t, apptest.MovedAfter+"-", a.On(m[0]).Get("sid=ada-1").String(), "each machine remembers for itself")
				assert.Equal(t, apptest.Moved, a.On(m[1]).Get("sid=ada-1").String())
				start = time.Now()
				for i := range 20 {
					assert.Equal(t, apptest.Moved, a.On(m[0]).Get(fmt.Sprintf("sid=ada-%d", i+2)).String())
				}
				assert.LessOrEqual(t, time.Since(start), 2*time.Second, "it is left alone")
				assert.Contains(t, a.Log.String(), "stytchmigrate: store: ")
				assert.NotContains(t, a.Log.String(), "canary-secret")
				require.NotEmpty(t, a.Events)
				for _, e := range a.Events {
					assert.Equal(t, "store", e.Kind)
					assert.NotContains(t, e.Err.Error(), "canary-secret")
				}

				s.Fail(nil)
				time.Sleep(6 * time.Second)
				back := a.On(m[0]).Get("sid=ada-1")
				assert.Equal(t, first.Result().Cookies()[0].Value, back.Result().Cookies()[0].Value)
				time.Sleep(time.Minute)
				shared := a.On(m[2]).Get("sid=ada-1")
				assert.Equal(t, first.Result().Cookies()[0].Value, shared.Result().Cookies()[0].Value)
				time.Sleep(time.Minute) // of those that hang
			})
		})
	}
}

// A user logs out while the store is down. That is an error for the application, and the
// user is logged out on this machine, and at Stytch.
func TestLogoutWhileStoreIsDown(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		jar := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(time.Minute)
		s.Fail(apptest.StoreDown)
		var err error
		a.Handler = func(w http.ResponseWriter, r *http.Request) { err = a.Middleware.Logout(w, r) }
		a.On(m[0]).Get(jar)
		a.Handler = nil
		assert.ErrorContains(t, err, "stytchmigrate: store: put: ")
		assert.False(t, a.Stytch.Sessions()[0].Live)
		assert.Equal(t, apptest.RefusedUntouched+"-", a.On(m[0]).Get("sid=ada-1").String())
		s.Fail(nil)
		time.Sleep(6 * time.Second)
		assert.Equal(t, apptest.RefusedUntouched+"authenticate", a.On(m[1]).Get("sid=ada-1").String(), "Stytch knows")
		assert.Equal(t, apptest.RefusedUntouched+"-", a.On(m[2]).Get("sid=ada-1").String())
	})
}

// Another machine logs the user out, and can't read which legacy session has to be
// ended at its source. End is not called, and Logout says why.
func TestLogoutSaysThatASourceCouldNotBeRead(t *testing.T) {
	var ended int
	for name, want := range map[string]string{"the store fails": "store: get: ", "its value is forged": "a record can't be read"} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
				jar := a.On(m[0]).Get("sid=ada-1").Jar("")
				source := a.OriginOf(t) + ".source"
				if want == "a record can't be read" {
					overwrite(t, s, source, []byte("forged"))
				} else {
					s.Fail(func(op, key string) error {
						if op == "get" && key == source {
							return apptest.ErrStoreDown
						}
						return nil
					})
				}
				var err error
				a.Handler = func(w http.ResponseWriter, r *http.Request) { err = a.Middleware.Logout(w, r) }
				a.On(m[1]).Get(jar)
				assert.ErrorContains(t, err, want)
				assert.Zero(t, ended)
			}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
				l.End = func(context.Context, stytchmigrate.LegacySession) error { ended++; return nil }
			}))
		})
	}
}

// A reader of the store learns nothing: no session, no user, no secret.
func TestRecordsAreSealed(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		out := a.On(m[0]).Get("sid=ada-1")
		a.On(m[0]).LogOut(out.Jar(""))
		require.Len(t, s.Values(), 4, "the session, its source, that both ended")
		for key, v := range s.Values() {
			assert.LessOrEqual(t, len(key), 100)
			for _, secret := range []string{"ada", "session", out.Result().Cookies()[0].Value, out.Result().Cookies()[1].Value} {
				assert.NotContains(t, key, secret)
				assert.False(t, bytes.Contains(v, []byte(secret)))
				assert.False(t, bytes.Contains(v, []byte(base64.StdEncoding.EncodeToString([]byte(secret)))))
			}
		}
	}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) { l.End = apptest.EndNothing }))
}

// A writer of the store can't make anyone another user. A value that was not sealed here,
// for this key, counts as none, and is reported.
func TestForgedRecord(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		a.On(m[0]).Get("sid=bob-1")
		bobs := a.OriginOf(t)
		a.On(m[0]).Get("sid=ada-1")
		overwrite(t, s, a.OriginOf(t), s.Values()[bobs])
		assert.Equal(t, apptest.Moved, a.On(m[1]).Get("sid=ada-1").String(), "as if there were none")
		synctest.Wait()
		require.NotEmpty(t, a.Events)
		assert.Equal(t, "store", a.Events[0].Kind)
		assert.Equal(t, "unreadable", a.Events[0].Cause, "nothing fails that could recover")
		assert.ErrorContains(t, a.Events[0].Err, "a record can't be read")
		assert.Equal(t, apptest.MovedAfter+"-", a.On(m[2]).Get("sid=ada-1").String())
	})
}

// overwrite is what an attacker does who can write the store.
func overwrite(t *testing.T, s *storetest.Memory, key string, value []byte) {
	t.Helper()
	_, err := s.Put(t.Context(), key, "", value, time.Hour)
	require.NoError(t, err)
}

// A mark of a logout can't be moved to another legacy session.
func TestForgedMarks(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		bob := a.On(m[0]).Get("sid=bob-1").Jar("")
		keyOfBob := a.OriginOf(t)
		a.On(m[0]).LogOut(bob)
		a.On(m[0]).Get("sid=ada-1")
		ofBob := s.Values()[keyOfBob+".ended"]
		require.NotEmpty(t, ofBob)
		overwrite(t, s, a.OriginOf(t)+".ended", ofBob)
		assert.Equal(t, apptest.MovedAfter+"-", a.On(m[1]).Get("sid=ada-1").String())
	})
}

// One id under two users, two cookies or two projects is two sessions, also in one store
// and with one Config.RecordKey.
func TestRecordsAreKeptApart(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := new(storetest.Memory)
		one := func(c *stytchmigrate.Config) {
			c.Store, c.RecordKey = s, "a key that two projects should not share"
		}
		user := "ada"
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { return apptest.LegacySession(user, "1"), nil }
		a.On(a.Machines(t, 1, one)[0])
		assert.Equal(t, apptest.Moved, a.Get("sid=1").String())
		user = "bob"
		assert.Equal(t, strings.Replace(apptest.Moved, "ada", "bob", 1), a.Get("sid=1").String(), "another user's")
		user = "ada"
		a.On(a.Machines(t, 1, one, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) { l.Name = "old" }))[0])
		assert.Equal(t, strings.Replace(apptest.Moved, "sid", "old", 1), a.Get("old=1").String(), "of another cookie")
		other := apptest.New(t, stytchtest.Config{InProcess: true}, one)
		other.Resolve = a.Resolve
		assert.Equal(t, apptest.Moved, other.Get("sid=1").String(), "of another project")
		assert.Len(t, s.Values(), 4)
	})
}

// An old cookie that comes again gets the session that it became. Stytch is asked about
// that, unless it vouched for it in the last ten seconds.
func TestRecordIsResumed(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		handedOut := strings.TrimSuffix(apptest.Moved, "migrate")
		first := a.Get("sid=ada-1")
		require.Equal(t, apptest.Moved, first.String())
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
			out := a.Get("sid=ada-1")
			assert.Equal(t, handedOut+row.calls, out.String())
			assert.Equal(t, first.Result().Cookies()[0].Value, out.Result().Cookies()[0].Value)
		}
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-2").String(), "of that session alone")
	})
}

// Without the key of the records, no fingerprint or claim shows whose session it is.
func TestFingerprintsAreKeyed(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []string{"k", "l"} {
		a := apptest.New(t, stytchtest.Config{InProcess: true, ProjectID: "project-test-1", Secret: "secret-test-1"}, func(c *stytchmigrate.Config) {
			c.RecordKey = stytchmigrate.Secret(strings.Repeat(key, 32))
		})
		a.Get("sid=ada-1")
		seen[a.Requests[0].Fingerprint] = true
		seen[a.Stytch.Sessions()[0].CustomClaims["legacy_session"].(string)] = true
	}
	assert.Len(t, seen, 4)
}

// The same id under another user, start, cookie or project is another legacy session.
func TestWhatMakesARecord(t *testing.T) {
	seen := map[any]string{}
	for name, row := range map[string]struct {
		id, subject, cookie, project string
		startedAt                    time.Time
	}{
		"one":             {id: "1", subject: "ada"},
		"another id":      {id: "2", subject: "ada"},
		"another user":    {id: "1", subject: "eve"},
		"another border":  {id: "1a", subject: "da"},
		"another cookie":  {id: "1", subject: "ada", cookie: "old"},
		"another start":   {id: "1", subject: "ada", startedAt: time.Unix(1, 0)},
		"another project": {id: "1", subject: "ada", project: "project-test-2"},
	} {
		a := apptest.New(t, stytchtest.Config{InProcess: true, ProjectID: cmp.Or(row.project, "project-test-1")}, func(c *stytchmigrate.Config) {
			c.RecordKey = stytchmigrate.Secret(strings.Repeat("k", 32))
			c.Legacy[0].Name = cmp.Or(row.cookie, "sid")
			c.Legacy[0].Resolve = func(*http.Request, string) (stytchmigrate.LegacySession, error) {
				s := apptest.LegacySession("ada", row.id)
				s.Identity.Subject, s.StartedAt = row.subject, row.startedAt
				return s, nil
			}
		})
		require.Equal(t, "migrated ada", a.Get("sid=v; old=v").Saw)
		record := a.Stytch.Sessions()[0].CustomClaims["legacy_session"]
		assert.Empty(t, seen[record], name)
		seen[record] = name
	}
}

// Stytch's answer may have no session, as its schema allows. The record that is made of
// such an answer can be read all the same.
func TestRecordWithoutSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Mutate(func(b apptest.Object) { b["session"] = nil }))
		require.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
		assert.Equal(t, apptest.MovedAfter+"-", a.Get("sid=ada-1").String())
		assert.NotContains(t, a.Log.String(), "can't be read")
	})
}

// An event says what is wrong with the store, without the store's own words:
// they may hold a secret.
func TestEventSaysWhatIsWrongWithTheStore(t *testing.T) {
	for want, fault := range map[string]func(op, key string) error{
		"panicked (string)":            func(string, string) error { panic("canary") },
		"failed (*errors.errorString)": func(string, string) error { return errors.New("NOPERM canary") },
	} {
		t.Run(want, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
				s.Fail(fault)
				a.On(m[0]).Get("sid=ada-1")
				require.NotEmpty(t, a.SettledEvents())
				for _, e := range a.Events {
					assert.Regexp(t, "^stytchmigrate: store: [a-z]+: "+regexp.QuoteMeta(want)+"$", e.Err.Error())
				}
			})
		})
	}
}

// A session that is extended for weeks outlives the TTL that its records first
// had. A logout still calls End of the legacy session that it came from.
func TestLogoutCallsEndAfterManyExtensions(t *testing.T) {
	var ended int
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		jar := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		for range 12 {
			time.Sleep(4 * 24 * time.Hour)
			r := a.On(m[0]).Get(jar)
			require.Contains(t, r.String(), "authenticated ada")
			jar = r.Jar(jar)
		}
		a.On(m[0]).LogOut(jar)
		assert.Equal(t, 1, ended)
	}, apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
		l.End = func(context.Context, stytchmigrate.LegacySession) error { ended++; return nil }
	}))
}
