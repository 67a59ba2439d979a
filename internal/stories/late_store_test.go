package stories_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
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

// A request that was sent before a logout on another machine, with the JWT
// of before, is answered from memory, and writes the ended session's cookies:
// into the jar of whoever has signed in since, in place of theirs.
func TestMemoryAfterALogoutElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		before := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		now := a.On(m[0]).Get(before).Jar(before) // m[0] has the newer JWT in memory
		require.NotEqual(t, before, now)
		a.On(m[2]).LogOut(now)
		time.Sleep(3 * time.Second)
		got := a.On(m[0]).Get(before).String() // of the other tab, slow on its way
		assert.NotContains(t, got, "+stytch_session", got)
	})
}

// Sessions that a logout on another machine ended are held against Stytch,
// as sessions that it should know. Who signs in again is kept waiting for as long
// as they are witnesses: ten minutes.
func TestBrakeOfLogoutsElsewhere(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		bob := a.On(m[0]).Get("sid=bob-1").Jar("")
		ada := a.On(m[0]).Get("sid=ada-1").Jar("")
		time.Sleep(time.Minute)
		a.On(m[1]).LogOut(bob)
		a.On(m[1]).LogOut(ada)
		time.Sleep(6 * time.Minute)
		got := a.On(m[0]).Get(bob + "; sid=bob-2").String() // signed in again at a form that knows no Logout
		assert.True(t, strings.HasPrefix(got, "migrated bob"), got)
	})
}

// Three sessions of one's own, logged out on one machine and sent
// to another again and again, keep that one from believing any "no".
func TestBrakePulledByOneUser(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		victim := a.On(m[0]).Get("sid=ada-1").Jar("")
		var own []string
		for _, sid := range []string{"sid=bob-1", "sid=bob-2", "sid=bob-3"} {
			own = append(own, a.On(m[1]).Get(sid).Jar(""))
		}
		time.Sleep(time.Minute)
		for _, c := range own {
			a.On(m[1]).LogOut(c)
		}
		time.Sleep(20 * time.Minute)
		a.Stytch.RevokeSession(a.Stytch.Sessions()[0].ID) // ada's, in the dashboard
		for range 10 {
			for _, c := range own {
				_, jwt, _ := strings.Cut(c, "; ") // not the token: that would be remembered as unknown
				a.On(m[2]).Get(jwt)
			}
			time.Sleep(30 * time.Second)
		}
		got := a.On(m[2]).Get(victim + "; sid=ada-2").String()
		assert.False(t, strings.HasPrefix(got, "unavailable"), got)
	})
}

// Where Stytch's answer has no session, as its schema allows, the record that
// is made of it can't be read again: each old cookie that comes is an exchange.
func TestRecordWithoutSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Mutate(func(b apptest.Object) { b["session"] = nil }))
		require.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
		assert.Equal(t, apptest.SwappedAfter+"-", a.Get("sid=ada-1").String())
		assert.NotContains(t, a.Log.String(), "can't be read")
	})
}

// forgetful grants claims and has lost them by the time of the Put, as a Redis
// that evicts what is volatile.
type forgetful struct {
	*storetest.Memory
	puts atomic.Int64
}

func (s *forgetful) Put(ctx context.Context, key, owner string, v []byte, ttl time.Duration) (bool, error) {
	if owner != "" {
		s.puts.Add(1)
		time.Sleep(time.Millisecond) // or time would never pass for who asks without a pause
		return false, nil
	}
	return s.Memory.Put(ctx, key, owner, v, ttl)
}

// A store that loses claims is asked again without a pause, until the call's
// time is over; and the session that was made is then revoked by a context that
// has ended, so that it stays alive.
func TestStoreThatLosesClaims(t *testing.T) {
	s := &forgetful{Memory: new(storetest.Memory)}
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		time.Sleep(time.Minute)
		assert.Positive(t, s.puts.Load())
		assert.Less(t, s.puts.Load(), int64(500))
		require.Len(t, a.Stytch.Sessions(), 1)
		// Where the time was over during a Put, the store counts as down: the session
		// is kept here then, and is in the hands of whoever comes next.
		kept := a.Get("sid=ada-1").Saw == "migrated ada" && len(a.Stytch.Sessions()) == 1
		assert.Equal(t, kept, a.Stytch.Sessions()[0].Live, "in nobody's hands, and alive")
	}, apptest.SharedStore(s))
}

// An old logout whose client leaves at once is not told to other machines:
// the mark is written with the context of the request.
func TestOldLogoutOfAClientThatLeft(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		ctx, leave := context.WithCancel(t.Context())
		a.Handler = func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
			leave()
		}
		a.On(m[0]).Get("sid=ada-1", apptest.Method(http.MethodPost), func(r *http.Request) { *r = *r.WithContext(ctx) })
		a.Handler = nil
		synctest.Wait()
		got := a.On(m[1]).Get("sid=ada-1").String()
		assert.NotContains(t, got, "migrated", got)
	})
}

// While one machine refreshes the record of an old cookie, another lets a
// later sign-in overtake it: the record comes back, and with it a session that is
// revoked. Ten seconds later its end counts as a logout, and who was overtaken,
// and may come again, is refused for good.
func TestRecordAfterOvertaken(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		started := time.Now()
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			name, _, _ := strings.Cut(v, "-")
			x := apptest.LegacySession(name, v)
			x.StartedAt = started
			if name == "bob" {
				x.StartedAt = started.Add(time.Minute)
			}
			return x, nil
		}
		cookies := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
		time.Sleep(2 * time.Minute)
		overtaken := false
		s.Fail(func(op, _ string) error {
			if op == "put" && !overtaken { // of m[1], which resumes
				overtaken = true
				a.On(m[2]).Get(cookies + "; sid=bob-1")
				time.Sleep(time.Millisecond) // for what is done later
			}
			return nil
		})
		a.On(m[1]).Get("sid=ada-1")
		time.Sleep(time.Minute)
		got := a.On(m[0]).Get("sid=ada-1").String()
		assert.True(t, strings.HasPrefix(got, "migrated ada"), got)
	})
}
