package integration

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// asItWas serves the application in stage Keep with the logout of its old code,
// which has never heard of Stytch.
func (a *app) asItWas(t *testing.T) {
	t.Helper()
	require.NoError(t, a.auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}))
	mux := http.NewServeMux()
	mux.HandleFunc("/login", a.signIn)
	mux.HandleFunc("/logout", func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.logout(w, r)) })
	mux.HandleFunc("/", a.page)
	srv := httptest.NewServer(a.stacked(mux))
	t.Cleanup(srv.Close)
	a.url = srv.URL
}

// TestLogoutsAsTheyWere: each row is a logout of an old application in stage Keep.
// Whoever comes next at that browser is nobody, and so is who has a copy of all its
// cookies.
func TestLogoutsAsTheyWere(t *testing.T) {
	for name, kind := range map[string]func(*testing.T) oldApp{
		"scs, destroyed": func(*testing.T) oldApp { return scsLogout((*scs.SessionManager).Destroy) },
		"scs, destroyed, and a message in a new one": func(*testing.T) oldApp {
			return scsLogout(func(sm *scs.SessionManager, ctx context.Context) error {
				defer sm.Put(ctx, "message", "Good bye!")
				return sm.Destroy(ctx)
			})
		},
		"scs, renewed": func(*testing.T) oldApp {
			return scsLogout(func(sm *scs.SessionManager, ctx context.Context) error {
				sm.Remove(ctx, "user")
				return sm.RenewToken(ctx)
			})
		},
		"scs, only emptied":         func(*testing.T) oldApp { return scsLogout((*scs.SessionManager).Clear) },
		"scs over Redis, destroyed": scsOverRedis,
		"gorilla, its file removed": filesystemStore,
		"gorilla, expired":          func(*testing.T) oldApp { return cookieLogout(nil) },
		"gorilla, emptied, and a message": func(*testing.T) oldApp {
			return cookieLogout(func(session *sessions.Session) {
				clear(session.Values)
				session.AddFlash("Good bye!")
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, kind(t))
			a.asItWas(t)
			b := a.newBrowser(t)
			b.get("/login?user=17")
			require.Contains(t, b.get("/"), "migrated ada@example.com")
			thief := b.copy()
			b.get("/logout")
			assert.NotContains(t, b.get("/"), "stytch")
			for _, who := range []*browser{b, thief} {
				assert.NotContains(t, who.get("/"), "ada@example.com")
			}
			assert.Eventually(t, func() bool { return !a.stytch.Sessions()[0].Live }, 5*time.Second, 10*time.Millisecond)
		})
	}
}

// scsLogout is an application whose logout is f.
func scsLogout(f func(*scs.SessionManager, context.Context) error) oldApp {
	sm, old := newSCSApp(func(*scs.SessionManager) {})
	old.logout = func(_ http.ResponseWriter, r *http.Request) error { return f(sm, r.Context()) }
	return old
}

// cookieLogout is one that keeps sessions in the cookie, and whose logout saves
// what f makes of them; nil: expires them.
func cookieLogout(f func(*sessions.Session)) oldApp {
	store := sessions.NewCookieStore(hashKey, blockKey)
	store.Options.Secure = false
	old := gorillaSessions(store)
	old.cookie = cookieStoreCookie(store, new(table))
	if f != nil {
		old.logout = func(w http.ResponseWriter, r *http.Request) error {
			session, _ := store.Get(r, "sid")
			f(session)
			return session.Save(r, w)
		}
	}
	return old
}
