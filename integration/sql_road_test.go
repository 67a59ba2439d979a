package integration

import (
	"crypto/rand"
	"database/sql"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"example.com/stytchmigrate/stytchtest"
)

const insertSession = `INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?)`

// newDB is a database in memory, which is gone with its only connection. Like
// MySQL in its usual settings it takes letters of either case for the same.
func newDB() *sql.DB {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	db.SetMaxOpenConns(1)
	exec := func(query string, args ...any) {
		if _, err := db.Exec(query, args...); err != nil {
			panic(err)
		}
	}
	exec(`CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT, email_verified BOOLEAN)`)
	exec(`CREATE TABLE sessions (id TEXT PRIMARY KEY COLLATE NOCASE, user_id TEXT, created_at INTEGER, expires_at INTEGER,
		second_factor_pending BOOLEAN, impersonated_by TEXT)`)
	for _, u := range everybody {
		exec(`INSERT INTO users VALUES (?, ?, ?)`, u.ID, u.Email, u.EmailVerified)
	}
	return db
}

// addSession adds one of Ada's.
func addSession(db *sql.DB, id string, expires time.Time) {
	if _, err := db.Exec(insertSession, id, "17", time.Now().Unix(), expires.Unix(), false, nil); err != nil {
		panic(err)
	}
}

func sqlSessions(t *testing.T) oldApp {
	_, old := newSQLApp(t)
	return old
}

func sqlTokens(t *testing.T) oldApp {
	db, old := newSQLApp(t)
	old.cookie, old.userInfo = sqlTokenCookie(db), sqlUserInfo(db)
	return old
}

func newSQLApp(t *testing.T) (*sql.DB, oldApp) {
	db := newDB()
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	return db, oldApp{
		cookie: sqlCookie(db),
		login: func(w http.ResponseWriter, r *http.Request, s signIn) error {
			id, now := strings.ToLower(rand.Text()), time.Now()
			by := sql.NullString{String: "18", Valid: s.impersonated}
			_, err := db.ExecContext(r.Context(), insertSession, id, s.user, now.Unix(), now.Add(time.Hour).Unix(), s.pending, by)
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: id, Path: "/"})
			return err
		},
		logout: func(w http.ResponseWriter, r *http.Request) error {
			_, err := db.ExecContext(r.Context(), `DELETE FROM sessions WHERE id = ?`, cookieValue(r))
			http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
			return err
		},
		user: func(r *http.Request) (id string) {
			_ = db.QueryRow(`SELECT user_id FROM sessions WHERE id = ?`, cookieValue(r)).Scan(&id)
			return id
		},
		outage: func() (over func()) {
			_, _ = db.Exec(`ALTER TABLE sessions RENAME TO elsewhere`)
			return func() { _, _ = db.Exec(`ALTER TABLE elsewhere RENAME TO sessions`) }
		},
		afterLogout: "anonymous",
	}
}

// cookieValue is the old cookie of a request that the old code is given.
func cookieValue(r *http.Request) string {
	c, err := r.Cookie("sid")
	if err != nil {
		return ""
	}
	return c.Value
}

// Each row is a session id that the old code would not accept.
func TestSQLRowsThatAreNoSession(t *testing.T) {
	for name, value := range map[string]string{"expired": "expired", "unknown": "unknown", "an injection": "' OR 1=1 --", "a pattern": "%"} {
		t.Run(name, func(t *testing.T) {
			db, old := newSQLApp(t)
			a := newApp(t, old)
			addSession(db, "expired", time.Now())
			b := a.newBrowser(t)
			b.set("sid", value)
			assert.Equal(t, "anonymous | sid", b.get("/"))
			assert.Empty(t, a.stytch.Calls())
		})
	}
}

// Stytch is told nothing of a session that the old code would not accept, and a
// database that is down is not a no.
func TestSQLUserInfo(t *testing.T) {
	db, old := newSQLApp(t)
	for id, row := range map[string][3]any{
		"alive": {time.Now().Unix() + 60, false, nil}, "expired": {time.Now().Unix(), false, nil},
		"pending": {time.Now().Unix() + 60, true, nil}, "impersonated": {time.Now().Unix() + 60, false, "18"},
	} {
		_, err := db.Exec(insertSession, id, "17", 1, row[0], row[1], row[2])
		require.NoError(t, err)
	}
	status := func(id string) int {
		r, w := httptest.NewRequest("GET", "/userinfo", nil), httptest.NewRecorder()
		r.Header.Set("Authorization", "Bearer "+id)
		sqlUserInfo(db).ServeHTTP(w, r)
		return w.Code
	}
	assert.Equal(t, 200, status("alive"))
	for _, id := range []string{"expired", "pending", "impersonated", "unknown"} {
		assert.Equal(t, 401, status(id), id)
	}
	old.outage()
	assert.Equal(t, 503, status("alive"))
}

// A database that compares without regard to case has several values for one
// session.
func TestSQLIDInCapitals(t *testing.T) {
	_, old := newSQLApp(t)
	a := newApp(t, old)
	b, other := a.newBrowser(t), a.newBrowser(t)
	b.get("/login?user=17")
	other.set("sid", strings.ToUpper(b.cookies()[0].Value))
	assert.Equal(t, "migrated"+adaMoves, b.get("/"))
	assert.Equal(t, "migrated"+adaMoves, other.get("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
}
