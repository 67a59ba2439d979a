package integration

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/userinfo"
)

var hashKey, blockKey = []byte("32 bytes that sign the old sids."), []byte("32 bytes that lock the old sids.")

func Example_cookieStore() {
	store := sessions.NewCookieStore(hashKey, blockKey)
	value, _ := securecookie.EncodeMulti("sid", map[any]any{"user": "17", "id": rand.Text()}, store.Codecs...)

	twoPages(cookieStoreCookie(store, new(table)), value, nil)
	// Output:
	// migrated ada@example.com, stytch_session set, stytch_session_jwt set
	// authenticated ada@example.com, sid expired
}

func Example_filesystemStore() {
	dir, _ := os.MkdirTemp("", "")
	defer os.RemoveAll(dir)
	store := sessions.NewFilesystemStore(dir, hashKey, blockKey)
	w := httptest.NewRecorder()
	session := sessions.NewSession(store, "sid")
	session.Options, session.Values = store.Options, map[any]any{"user": "17"}
	_ = session.Save(nil, w)

	twoPages(filesystemStoreCookie(store, dir, new(table)), w.Result().Cookies()[0].Value, nil)
	// Output:
	// migrated ada@example.com, stytch_session set, stytch_session_jwt set
	// authenticated ada@example.com, sid expired
}

// cookieStoreCookie is for a [sessions.CookieStore], whose cookie holds the
// values themselves.
func cookieStoreCookie(store *sessions.CookieStore, users *table) stytchmigrate.LegacyCookie {
	return stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, store.Codecs,
		func(r *http.Request, values map[any]any) (stytchmigrate.LegacySession, error) {
			s, err := sessionOfValues(r, values, users)
			s.UntilBrowserCloses = store.Options.MaxAge == 0 && values["remembered"] == nil // which the old login put there
			return s, err
		})
}

// filesystemStoreCookie is for a [sessions.FilesystemStore] of dir, whose cookie
// holds the name of a file.
func filesystemStoreCookie(store *sessions.FilesystemStore, dir string, users *table) stytchmigrate.LegacyCookie {
	file := func(id string) string { return filepath.Join(dir, "session_"+filepath.Base(id)) }
	return stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{
		Name: "sid",
		End: func(_ context.Context, s stytchmigrate.LegacySession) error {
			if err := os.Remove(file(string(s.ID))); !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil // the old logout was first
		},
	}, store.Codecs, func(r *http.Request, id string) (stytchmigrate.LegacySession, error) {
		content, err := os.ReadFile(file(id))
		if errors.Is(err, os.ErrNotExist) {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		if err != nil {
			return stytchmigrate.LegacySession{}, err // it can't be told now
		}
		values := map[any]any{}
		if err := securecookie.DecodeMulti("sid", string(content), &values, store.Codecs...); err != nil {
			return stytchmigrate.LegacySession{}, err
		}
		s, err := sessionOfValues(r, values, users)
		s.ID = stytchmigrate.Secret(id)
		return s, err
	})
}

// sessionOfValues tells whose the values of a gorilla session are. The old code
// put an id of the session among them: a CookieStore's cookie is another one each
// time it is saved.
func sessionOfValues(r *http.Request, values map[any]any, users *table) (stytchmigrate.LegacySession, error) {
	userID, _ := values["user"].(string)
	id, _ := values["id"].(string)
	u, err := users.Find(r.Context(), userID)
	if errors.Is(err, sql.ErrNoRows) || values["second factor"] != nil || values["impersonated by"] != nil {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{
		ID:       stytchmigrate.Secret(id),
		Identity: userinfo.Identity{Subject: u.ID, Email: u.Email, EmailVerified: u.EmailVerified},
	}, err
}
