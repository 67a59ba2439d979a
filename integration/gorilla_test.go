package integration

import (
	"database/sql"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

var hashKey, blockKey = []byte("32 bytes that sign the old sids."), []byte("32 bytes that lock the old sids.")

// resolveValues tells whose the values of a gorilla session are.
func resolveValues(r *http.Request, values map[any]any) (stytchmigrate.LegacySession, error) {
	id, _ := values["user"].(string)
	session, _ := values["id"].(string)
	u, err := findUser(r.Context(), id)
	if errors.Is(err, sql.ErrNoRows) || values["second factor"] != nil {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{
		ID:       stytchmigrate.Secret(session),
		Identity: userinfo.Identity{Subject: u.ID, Email: u.Email, EmailVerified: u.EmailVerified},
	}, err
}

// cookieStore is an application whose cookie holds the session itself.
func cookieStore(t *testing.T) *app {
	store := sessions.NewCookieStore(hashKey, blockKey)
	store.Options.Secure, store.Options.SameSite = false, http.SameSiteLaxMode
	return newApp(t, store, stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, store.Codecs, resolveValues))
}

// filesystemStore is one whose cookie holds the id of a file.
func filesystemStore(t *testing.T) *app {
	dir := t.TempDir()
	store := sessions.NewFilesystemStore(dir, hashKey, blockKey)
	store.Options.Secure, store.Options.SameSite = false, http.SameSiteLaxMode
	legacy := stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, store.Codecs,
		func(r *http.Request, id string) (stytchmigrate.LegacySession, error) {
			file, err := os.ReadFile(filepath.Join(dir, "session_"+filepath.Base(id)))
			if errors.Is(err, os.ErrNotExist) {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			if err != nil {
				return stytchmigrate.LegacySession{}, err
			}
			values := map[any]any{}
			if err := securecookie.DecodeMulti("sid", string(file), &values, store.Codecs...); err != nil {
				return stytchmigrate.LegacySession{}, err
			}
			s, err := resolveValues(r, values)
			s.ID = stytchmigrate.Secret(id)
			return s, err
		})
	return newApp(t, store, legacy)
}

var stores = map[string]func(*testing.T) *app{"CookieStore": cookieStore, "FilesystemStore": filesystemStore}

// Signed in by the old handler, moved by the next page, signed out by the old
// handler, signed in as somebody else.
func TestGorillaRoad(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			a := newStore(t)
			b := a.newBrowser(t)
			assert.Equal(t, "anonymous |", b.get("/"))
			assert.Equal(t, " | sid", b.get("/login?user=17"))
			old := b.copy()

			const moved = " ada@example.com | stytch_session stytch_session_jwt"
			assert.Equal(t, "migrated"+moved, b.get("/"))
			assert.Equal(t, "authenticated"+moved, b.get("/"))
			assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
			assert.Equal(t, "migrated"+moved, old.get("/"), "a tab that was late")
			assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))

			assert.Equal(t, " |", b.get("/logout"))
			assert.Equal(t, "anonymous |", b.get("/"))
			assert.False(t, a.stytch.Sessions()[0].Live)
			assert.Equal(t, "anonymous |", old.get("/"), "the other tab is signed out with it")

			assert.Equal(t, " | sid", b.get("/login?user=18"))
			assert.Equal(t, "migrated bob@example.com | stytch_session stytch_session_jwt", b.get("/"))
			assert.Equal(t, " | sid", b.get("/login?user=18"), "again, without signing out first")
			assert.False(t, a.stytch.Sessions()[1].Live)
			assert.Empty(t, a.log.String())
		})
	}
}

// Each row is a user of the old application, and what comes of the first page.
func TestGorillaOutcomes(t *testing.T) {
	for name, row := range map[string]struct{ login, want string }{
		"an email that nobody verified": {"user=19", "refused user 19 | sid"},
		"a database that is down":       {"user=20", "unavailable | sid"},
		"a user who was removed":        {"user=21", "anonymous | sid"},
		"a second factor pending":       {"user=17&pending=1", "anonymous | sid"},
	} {
		for store, newStore := range stores {
			t.Run(name+", "+store, func(t *testing.T) {
				a := newStore(t)
				b := a.newBrowser(t)
				require.Equal(t, " | sid", b.get("/login?"+row.login))
				assert.Equal(t, row.want, b.get("/"))
				assert.Empty(t, a.stytch.Calls())
				assert.NotContains(t, a.log.String(), "connection refused", "the text of an error of the application's own")
			})
		}
	}
}

// A cookie that came before a logout is worth nothing after it, also where the
// old code keeps nothing on the server that could be deleted.
func TestGorillaCookieKeptByAThief(t *testing.T) {
	a := cookieStore(t)
	b := a.newBrowser(t)
	b.get("/login?user=17")
	thief := b.copy()
	b.get("/")
	b.get("/logout")
	assert.Equal(t, "refused user 17 | sid", thief.get("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
}

// The old code reads what the middleware passes on, while Stytch is down.
func TestGorillaOutage(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			a := newStore(t)
			b := a.newBrowser(t)
			b.get("/login?user=17")
			a.stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "server_unavailable"))
			assert.Equal(t, "unavailable user 17 | sid", b.get("/"))
			a.stytch.Heal(stytchtest.Any)
			assert.Equal(t, "migrated ada@example.com | stytch_session stytch_session_jwt", b.get("/"))
		})
	}
}

// A page loads many things at once.
func TestGorillaParallel(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			a := newStore(t)
			b := a.newBrowser(t)
			b.get("/login?user=17")
			a.stytch.FailAll(stytchtest.Migrate, stytchtest.Fault{})
			var wg sync.WaitGroup
			for range 20 {
				tab := b.copy()
				wg.Go(func() { assert.Equal(t, "migrated ada@example.com | stytch_session stytch_session_jwt", tab.get("/")) })
			}
			wg.Wait()
			assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
		})
	}
}
