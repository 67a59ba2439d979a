package integration

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// kinds are the sessions that applications have, each of a file named after it.
// All go the roads below.
var kinds = map[string]func(*testing.T) oldApp{
	"CookieStore":        cookieStore,
	"FilesystemStore":    filesystemStore,
	"scs":                scsSessions,
	"scs, hashed, idle":  scsHashedAndIdle,
	"scs, outside":       scsOutside,
	"scs, Redis":         scsOverRedis,
	"JWT":                jwtSessions,
	"access token":       accessTokens,
	"SQL":                sqlSessions,
	"SQL, own user info": sqlTokens,
}

// alongAll runs a test with an application of each kind.
func alongAll(t *testing.T, road func(t *testing.T, a *app)) {
	t.Helper()
	for name, newOld := range kinds {
		t.Run(name, func(t *testing.T) { road(t, newApp(t, newOld(t))) })
	}
}

// The end of a page and the cookies after it: of a user who moves in this request, and
// whose old cookie stays for now, and of a user who has moved.
const (
	adaMoves = " ada@example.com | sid stytch_session stytch_session_jwt"
	bobMoves = " bob@example.com | sid stytch_session stytch_session_jwt"

	ada = " ada@example.com | stytch_session stytch_session_jwt"
	bob = " bob@example.com | stytch_session stytch_session_jwt"
)

// Signed in by the old handler, moved by the next page, signed out by the old
// handler, signed in again and as somebody else.
func TestRoad(t *testing.T) {
	alongAll(t, func(t *testing.T, a *app) {
		b := a.newBrowser(t)
		assert.Equal(t, "anonymous |", b.get("/"))
		assert.Equal(t, " | sid", b.get("/login?user=17"))
		old := b.copy()

		assert.Equal(t, "migrated"+adaMoves, b.get("/"))
		assert.Equal(t, "authenticated"+ada, b.get("/"))
		assert.Equal(t, "migrated"+adaMoves, old.get("/"), "a request that was late")
		assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))

		assert.Equal(t, " |", b.get("/logout"))
		assert.Equal(t, "anonymous |", b.get("/"))
		assert.False(t, a.stytch.Sessions()[0].Live)
		assert.Equal(t, a.afterLogout+" | sid", old.get("/"), "a copy of all cookies is signed out with it")

		assert.Equal(t, " | sid", b.get("/login?user=17"))
		assert.Equal(t, "migrated"+adaMoves, b.get("/"), "another session of the same person")
		assert.Equal(t, " | sid", b.get("/login?user=18"), "without signing out first")
		assert.False(t, a.stytch.Sessions()[1].Live)
		assert.Equal(t, "migrated"+bobMoves, b.get("/"))
		assert.Len(t, a.stytch.Sessions(), 3)
		assert.Empty(t, a.log.String())
	})
}

// A cookie that came before a logout is worth nothing after it, also where the
// old code keeps nothing on the server that could be deleted, and where the
// logout came without it.
func TestRoadOfAThief(t *testing.T) {
	alongAll(t, func(t *testing.T, a *app) {
		b := a.newBrowser(t)
		b.get("/login?user=17")
		thief := b.copy()
		require.Equal(t, "migrated"+adaMoves, b.get("/"))
		require.Equal(t, " |", b.get("/logout"))
		assert.Equal(t, a.afterLogout+" | sid", thief.get("/"))
		assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	})
}

// A page loads many things at once.
func TestRoadInParallel(t *testing.T) {
	alongAll(t, func(t *testing.T, a *app) {
		b := a.newBrowser(t)
		b.get("/login?user=17")
		var wg sync.WaitGroup
		for range 20 {
			tab := b.copy()
			wg.Go(func() { assert.Equal(t, "migrated"+adaMoves, tab.get("/")) })
		}
		wg.Wait()
		assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	})
}

// The old code reads what the middleware passes on, while Stytch is down.
func TestRoadWithoutStytch(t *testing.T) {
	alongAll(t, func(t *testing.T, a *app) {
		b := a.newBrowser(t)
		b.get("/login?user=17")
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable"))
		assert.Equal(t, "unavailable user 17 | sid", b.get("/"))
		a.stytch.Heal(stytchtest.Any)
		assert.Equal(t, "migrated"+adaMoves, b.get("/"))
	})
}

// Whatever the application asks to know a session is down: nobody is signed
// out, and Stytch is not asked.
func TestRoadWithoutTheOldStore(t *testing.T) {
	alongAll(t, func(t *testing.T, a *app) {
		b := a.newBrowser(t)
		b.get("/login?user=17")
		before := b.cookies()
		over := a.outage()
		assert.Equal(t, "unavailable | sid", b.get("/"))
		assert.Equal(t, before, b.cookies())
		assert.Empty(t, a.stytch.Calls())
		assert.NotContains(t, a.log.String(), "refused", "the text of an error of the application's own")
		over()
		assert.Equal(t, "migrated"+adaMoves, b.get("/"))
	})
}

// Each row is a user of the old application, and what comes of the first page.
// Where Resolve is blind, Stytch is the first to learn of an email.
func TestRoadsThatEnd(t *testing.T) {
	for name, row := range map[string]struct {
		login, want, blind string
		asked              int // where Resolve is blind
	}{
		"an email that nobody verified": {"user=19", "refused user 19 | sid", "unavailable user 19 | sid", 1},
		"a user who was removed":        {"user=21", "anonymous | sid", "unavailable user 21 | sid", 1},
		"a second factor pending":       {"user=17&pending=1", "anonymous | sid", "anonymous | sid", 0},
		"an impersonation":              {"user=17&impersonated=1", "anonymous | sid", "anonymous | sid", 0},
	} {
		t.Run(name, func(t *testing.T) {
			alongAll(t, func(t *testing.T, a *app) {
				want, asked := row.want, 0
				if a.blind {
					want, asked = row.blind, row.asked
				}
				b := a.newBrowser(t)
				require.Equal(t, " | sid", b.get("/login?"+row.login))
				assert.Equal(t, want, b.get("/"))
				assert.Len(t, a.stytch.Calls(), asked)
				assert.Empty(t, a.stytch.Sessions())
			})
		})
	}
}
