package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// newSCS is scs.New, which starts a goroutine that a test can't end.
func newSCS(store scs.Store) *scs.SessionManager {
	return &scs.SessionManager{
		Lifetime: 24 * time.Hour, Store: store, Codec: scs.GobCodec{},
		Cookie: scs.SessionCookie{Name: "sid", Path: "/", HttpOnly: true, Persist: true},
		ErrorFunc: func(w http.ResponseWriter, r *http.Request, _ error) {
			fmt.Fprint(w, stytchmigrate.OutcomeFromContext(r.Context()))
		},
	}
}

// shakyStore is a store that can be down.
type shakyStore struct {
	scs.Store
	down atomic.Bool
}

func (s *shakyStore) Find(token string) ([]byte, bool, error) {
	if s.down.Load() {
		return nil, false, errors.New("store: connection refused")
	}
	return s.Store.Find(token)
}

func newSCSApp(change func(*scs.SessionManager)) (*scs.SessionManager, oldApp) {
	store := &shakyStore{Store: memstore.NewWithCleanupInterval(0)}
	sm := newSCS(store)
	change(sm)
	old := scsHandlers(sm)
	old.outage = func() (over func()) {
		store.down.Store(true)
		return func() { store.down.Store(false) }
	}
	return sm, old
}

// scsHandlers are those of an application with scs, whatever its store is.
func scsHandlers(sm *scs.SessionManager) oldApp {
	return oldApp{
		cookie: scsCookie(sm, new(table)),
		wrap:   sm.LoadAndSave,
		login: func(_ http.ResponseWriter, r *http.Request, s signIn) error {
			sm.Put(r.Context(), "user", s.user)
			if s.pending {
				sm.Put(r.Context(), "second factor pending", true)
			}
			if s.impersonated {
				sm.Put(r.Context(), "impersonated by", "18")
			}
			return sm.RenewToken(r.Context())
		},
		logout: func(_ http.ResponseWriter, r *http.Request) error { return sm.Destroy(r.Context()) },
		user:   func(r *http.Request) string { return sm.GetString(r.Context(), "user") },

		afterLogout: "anonymous",
	}
}

func scsSessions(*testing.T) oldApp {
	_, old := newSCSApp(func(*scs.SessionManager) {})
	return old
}

// scsHashedAndIdle has a cookie that is written with each response.
func scsHashedAndIdle(*testing.T) oldApp {
	_, old := newSCSApp(func(sm *scs.SessionManager) { sm.HashTokenInStore, sm.IdleTimeout = true, time.Hour })
	return old
}

// scsOverRedis has its sessions in a Redis, which keeps them through a crash.
func scsOverRedis(t *testing.T) oldApp {
	s := startRedis(t)
	old := scsHandlers(newSCS(goredisstore.New(s.Client)))
	old.outage = func() (over func()) {
		s.kill()
		return s.start
	}
	return old
}

// scsOutside has its middleware around ours, where it finds the old cookie also
// in a request from which ours hides it.
func scsOutside(*testing.T) oldApp {
	_, old := newSCSApp(func(sm *scs.SessionManager) {
		sm.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, _ error) { fmt.Fprint(w, "unavailable") } // ours was not asked
	})
	old.outside = true
	return old
}

// What a Logout ends is the session that it is about, not what LoadAndSave made
// of a request without the old cookie.
func TestSCSEndsAtTheSource(t *testing.T) {
	sm, old := newSCSApp(func(*scs.SessionManager) {})
	old.logout = func(http.ResponseWriter, *http.Request) error { return nil } // End is all there is
	a := newApp(t, old)
	b := a.newBrowser(t)
	b.get("/login?user=17")
	token := b.cookies()[0].Value
	_, found, _ := sm.Store.Find(token)
	assert.True(t, found)
	assert.Equal(t, "migrated"+adaMoves, b.get("/"))
	assert.Equal(t, " |", b.get("/logout"))
	_, found, _ = sm.Store.Find(token)
	assert.False(t, found)
}

// With an idle timeout scs writes its cookie with each response, and outside
// ours it does so after the one that expires it: the old cookie stays, beside the
// Stytch session that counts.
func TestSCSOutsideWithAnIdleTimeout(t *testing.T) {
	_, old := newSCSApp(func(sm *scs.SessionManager) { sm.IdleTimeout = time.Hour })
	old.outside = true
	a := newApp(t, old)
	b := a.newBrowser(t)
	b.get("/login?user=17")
	assert.Equal(t, "migrated"+adaMoves, b.get("/"))
	assert.Equal(t, "authenticated"+ada+" sid", b.get("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	assert.Equal(t, " |", b.get("/logout"))
	assert.Equal(t, "anonymous |", b.get("/"))
}

// A session of scs that nobody signed in to, here for a cart, is none: it may
// come with a page that moves its user, and stay.
func TestSCSWithACart(t *testing.T) {
	sm, old := newSCSApp(func(*scs.SessionManager) {})
	old.wrap = func(next http.Handler) http.Handler {
		return sm.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sm.Put(r.Context(), "cart", "a book")
			next.ServeHTTP(w, r)
		}))
	}
	a := newApp(t, old)
	b := a.newBrowser(t)
	assert.Equal(t, "anonymous | sid", b.get("/"))
	assert.Equal(t, " | sid", b.get("/login?user=17"))
	assert.Equal(t, "migrated ada@example.com | sid stytch_session stytch_session_jwt", b.get("/"))
	assert.Equal(t, "authenticated ada@example.com | sid stytch_session stytch_session_jwt", b.get("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
}

// What moves a user is not kept by caches, whatever scs says of its own cookie, nor
// is what saves the old cookie beside a Stytch session.
func TestSCSCacheControl(t *testing.T) {
	theirs := `no-cache="Set-Cookie"`
	for _, row := range []struct {
		outside bool
		stage   stytchmigrate.Stage
		want    [2][]string // of the request that moves, and of the next
	}{
		{false, stytchmigrate.StageReplace, [2][]string{{"no-store"}, {"no-store"}}},
		{true, stytchmigrate.StageReplace, [2][]string{{"no-store", theirs}, {"no-store", theirs}}},
		{false, stytchmigrate.StageKeep, [2][]string{{"no-store"}, {"no-store"}}},
		{true, stytchmigrate.StageKeep, [2][]string{{"no-store", theirs}, {theirs}}},
	} {
		sm, old := newSCSApp(func(sm *scs.SessionManager) { sm.IdleTimeout = time.Hour })
		old.outside = row.outside
		a := newApp(t, old, func(cfg *stytchmigrate.Config) { cfg.Rollout.Stage = row.stage })
		cookies := "sid=" + signedIn(sm, "17")
		for i, want := range []string{"migrated ada@example.com", "authenticated ada@example.com"} {
			r, w := httptest.NewRequest("POST", "/", nil), httptest.NewRecorder()
			r.Header.Set("Cookie", cookies)
			a.stacked(http.HandlerFunc(a.page)).ServeHTTP(w, r)
			assert.Equal(t, want, w.Body.String())
			assert.Equal(t, row.want[i], w.Header()["Cache-Control"], "%v %v %d", row.outside, row.stage, i)
			assert.Equal(t, "Cookie", w.Header().Get("Vary"))
			for _, c := range w.Result().Cookies() {
				if c.Name != "sid" && c.MaxAge >= 0 {
					cookies += "; " + c.Name + "=" + c.Value
				}
			}
		}
	}
}

// signedIn is the token of a session that began now.
func signedIn(sm *scs.SessionManager, user string) string {
	ctx, _ := sm.Load(context.Background(), "")
	sm.Put(ctx, "user", user)
	token, _, err := sm.Commit(ctx)
	if err != nil {
		panic(err)
	}
	return token
}

// Nobody can say who sits at a browser with the cookies of two people. LoadAndSave
// takes the first of them.
func TestSCSTwoPeople(t *testing.T) {
	for _, outside := range []bool{false, true} {
		sm, old := newSCSApp(func(*scs.SessionManager) {})
		old.outside = outside
		a := newApp(t, old)
		r, w := httptest.NewRequest("GET", "/", nil), httptest.NewRecorder()
		r.Header.Set("Cookie", "sid="+signedIn(sm, "17")+"; sid="+signedIn(sm, "18"))
		a.stacked(http.HandlerFunc(a.page)).ServeHTTP(w, r)
		assert.Equal(t, "anonymous", w.Body.String())
		assert.Empty(t, a.stytch.Calls())
	}
}

// Of two people the one who signed in later counts.
func TestSCSLaterSignInWins(t *testing.T) {
	sm, old := newSCSApp(func(*scs.SessionManager) {})
	a := newApp(t, old)
	b := a.newBrowser(t)
	earlier := signedIn(sm, "18")
	b.get("/login?user=17")
	b.get("/")
	b.set("sid", earlier)
	assert.Equal(t, "authenticated"+ada, b.get("/"))
	b.set("sid", signedIn(sm, "18"))
	assert.Equal(t, "migrated"+bob+" sid", b.get("/"))
}

// Anybody can make up a token: no user is looked up for it.
func TestSCSUnknownToken(t *testing.T) {
	sm, old := newSCSApp(func(*scs.SessionManager) {})
	users := new(table)
	users.outage()
	old.cookie = scsCookie(sm, users)
	a := newApp(t, old)
	b := a.newBrowser(t)
	b.set("sid", "unknown")
	assert.Equal(t, "anonymous | sid", b.get("/"))
	b.set("sid", signedIn(sm, "17"))
	assert.Equal(t, "unavailable | sid", b.get("/"))
}
