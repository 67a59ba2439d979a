package integration

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/userinfo"
)

func Example_sql() {
	db := newDB()
	defer db.Close()
	addSession(db, "f0e1d2c3b4a59687", time.Now().Add(time.Hour))

	twoPages(sqlCookie(db), "f0e1d2c3b4a59687", nil)
	// Output:
	// migrated ada@example.com, stytch_session set, stytch_session_jwt set
	// authenticated ada@example.com, sid expired
}

func Example_sqlOwnUserInfo() {
	db := newDB()
	defer db.Close()
	addSession(db, "f0e1d2c3b4a59687", time.Now().Add(time.Hour))

	twoPages(sqlTokenCookie(db), "f0e1d2c3b4a59687", func(ctx context.Context, token string) (string, error) {
		s, err := findSession(ctx, db, token) // as Stytch learns it of sqlUserInfo(db)
		return s.Identity.Email, err
	})
	// Output:
	// migrated ada@example.com, stytch_session set, stytch_session_jwt set
	// authenticated ada@example.com, sid expired
}

// findSession is the query that the old code makes for each request. Where it
// keeps hashes of ids, hash id here as it does.
func findSession(ctx context.Context, db *sql.DB, id string) (s stytchmigrate.LegacySession, err error) {
	var started, expires int64
	err = db.QueryRowContext(ctx, `
		SELECT s.id, s.created_at, s.expires_at, u.id, u.email, u.email_verified
		FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.id = ? AND s.expires_at > ? AND NOT s.second_factor_pending AND s.impersonated_by IS NULL`,
		id, time.Now().Unix(),
	).Scan(&s.ID, &started, &expires, &s.Identity.Subject, &s.Identity.Email, &s.Identity.EmailVerified)
	s.StartedAt, s.ExpiresAt = time.Unix(started, 0), time.Unix(expires, 0)
	return s, err
}

// sqlCookie is for a cookie that is the key of a row. The session's ID is what
// the row says, for databases that find it by an id in other letters too.
func sqlCookie(db *sql.DB) stytchmigrate.LegacyCookie {
	return stytchmigrate.LegacyCookie{
		Name: "sid",
		Resolve: func(r *http.Request, id string) (stytchmigrate.LegacySession, error) {
			s, err := findSession(r.Context(), db, id)
			if errors.Is(err, sql.ErrNoRows) {
				return s, stytchmigrate.ErrNoSession
			}
			return s, err
		},
		End: func(ctx context.Context, s stytchmigrate.LegacySession) error {
			_, err := db.ExecContext(ctx, `DELETE FROM sessions WHERE id = ?`, string(s.ID))
			return err
		},
	}
}

// sqlTokenCookie makes the id itself the token that Stytch is given, and comes
// back with to sqlUserInfo. No tickets are needed; but Stytch sees the ids, which
// until the logout are as good as the cookie.
func sqlTokenCookie(db *sql.DB) stytchmigrate.LegacyCookie {
	c := sqlCookie(db)
	resolve := c.Resolve
	c.Resolve = func(r *http.Request, id string) (stytchmigrate.LegacySession, error) {
		s, err := resolve(r, id)
		s.Token = s.ID
		return s, err
	}
	return c
}

// sqlUserInfo is mounted at the UserInfo URL in the Stytch dashboard.
func sqlUserInfo(db *sql.DB) http.Handler {
	return userinfo.Handler(func(ctx context.Context, token string) (userinfo.Identity, error) {
		s, err := findSession(ctx, db, token)
		if errors.Is(err, sql.ErrNoRows) {
			return userinfo.Identity{}, userinfo.ErrInvalidToken
		}
		return s.Identity, err
	})
}
