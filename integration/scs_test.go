package integration

import (
	"context"
	"database/sql"
	"errors"
	"net/http"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/userinfo"
)

func Example_scs() {
	sm := newSCS(memstore.NewWithCleanupInterval(0))

	twoPages(scsCookie(sm, new(table)), signedIn(sm, "17"), nil)
	// Output:
	// migrated ada@example.com, stytch_session set, stytch_session_jwt set
	// authenticated ada@example.com, sid expired
}

// scsCookie is for sessions of alexedwards/scs. Mount its middleware inside ours,
//
//	auth.Handler(sm.LoadAndSave(mux))
//
// or with an IdleTimeout it writes the old cookie again after ours has expired it.
// A session has begun its Lifetime before its deadline, for the login calls
// RenewToken; where something calls SetDeadline, leave StartedAt out.
func scsCookie(sm *scs.SessionManager, users *table) stytchmigrate.LegacyCookie {
	return stytchmigrate.LegacyCookie{
		Name:   sm.Cookie.Name,
		Scopes: []stytchmigrate.CookieScope{{Domain: sm.Cookie.Domain, Path: sm.Cookie.Path}},
		Resolve: func(r *http.Request, token string) (stytchmigrate.LegacySession, error) {
			ctx, err := sm.Load(notLoaded{r.Context()}, token)
			if err != nil {
				return stytchmigrate.LegacySession{}, err // it can't be told now
			}
			// Of a token that the store does not know Load makes a new session.
			if sm.Token(ctx) == "" || sm.GetBool(ctx, "second factor pending") || sm.Exists(ctx, "impersonated by") {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			u, err := users.Find(ctx, sm.GetString(ctx, "user"))
			if errors.Is(err, sql.ErrNoRows) {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			return stytchmigrate.LegacySession{
				ID:        stytchmigrate.Secret(token),
				StartedAt: sm.Deadline(ctx).Add(-sm.Lifetime),
				ExpiresAt: sm.Deadline(ctx),
				Identity:  userinfo.Identity{Subject: u.ID, Email: u.Email, EmailVerified: u.EmailVerified},

				UntilBrowserCloses: !sm.Cookie.Persist && !sm.GetBool(ctx, "__rememberMe"), // where RememberMe puts it
			}, err
		},
		End: func(ctx context.Context, s stytchmigrate.LegacySession) error {
			ctx, err := sm.Load(notLoaded{ctx}, string(s.ID))
			if err != nil {
				return err
			}
			return sm.Destroy(ctx)
		},
	}
}

// notLoaded hides the session that LoadAndSave put into a context. Load would
// return that one for any token, and a logout would destroy it in place of the
// one it is about.
type notLoaded struct{ context.Context }

func (notLoaded) Value(any) any { return nil }
