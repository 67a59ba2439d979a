package integration

import (
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/gorilla/sessions"
)

func cookieStore(*testing.T) oldApp {
	store, users := sessions.NewCookieStore(hashKey, blockKey), new(table)
	store.Options.Secure, store.Options.SameSite = false, http.SameSiteLaxMode
	old := gorillaSessions(store)
	old.cookie, old.outage, old.afterLogout = cookieStoreCookie(store, users), users.outage, "refused user "
	return old
}

func filesystemStore(t *testing.T) oldApp {
	dir := t.TempDir()
	store := sessions.NewFilesystemStore(dir, hashKey, blockKey)
	store.Options.Secure, store.Options.SameSite = false, http.SameSiteLaxMode
	old := gorillaSessions(store)
	old.cookie, old.afterLogout = filesystemStoreCookie(store, dir, new(table)), "anonymous"
	old.outage = func() (over func()) { // what can't be read, not even by root
		files, _ := filepath.Glob(filepath.Join(dir, "session_*"))
		_ = os.Rename(files[0], dir+".bak")
		_ = os.Mkdir(files[0], 0o700)
		return func() { _, _ = os.Remove(files[0]), os.Rename(dir+".bak", files[0]) }
	}
	return old
}

// gorillaSessions are the handlers that both have in common.
func gorillaSessions(store sessions.Store) oldApp {
	return oldApp{
		login: func(w http.ResponseWriter, r *http.Request, s signIn) error {
			session, _ := store.New(r, "sid") // an old one that can't be read is replaced
			session.ID, session.Values = "", map[any]any{"user": s.user, "id": rand.Text()}
			if s.pending {
				session.Values["second factor"] = "pending"
			}
			if s.impersonated {
				session.Values["impersonated by"] = "18"
			}
			return session.Save(r, w)
		},
		logout: func(w http.ResponseWriter, r *http.Request) error {
			session, _ := store.Get(r, "sid")
			session.Options.MaxAge = -1
			_ = session.Save(r, w) // a FilesystemStore has no file for a cookie that is gone
			return nil
		},
		user: func(r *http.Request) string {
			session, _ := store.Get(r, "sid")
			id, _ := session.Values["user"].(string)
			return id
		},
	}
}
