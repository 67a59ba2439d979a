package integration

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/gorilla/sessions"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// stall is an application that keeps a cart and messages in its old sessions, and
// whose handlers have never heard of Stytch.
type stall struct {
	oldApp
	store    stytchmigrate.Store // of the middleware; nil: in memory
	put      func(w http.ResponseWriter, r *http.Request, key, value string) error
	get      func(r *http.Request, key string) string
	say      func(w http.ResponseWriter, r *http.Request, message string) error
	heard    func(w http.ResponseWriter, r *http.Request) string // and said no more
	renew    func(r *http.Request) error                         // the same session under another id, once something is put
	remember func(r *http.Request)                               // also when the browser is closed

	persists bool // it always does
}

// stalls are the libraries with sessions that hold more than who signed in.
var stalls = map[string]func(*testing.T) stall{
	"CookieStore": func(*testing.T) stall {
		store := sessions.NewCookieStore(hashKey, blockKey)
		store.Options.Secure, store.Options.MaxAge = false, 0
		return gorillaStall(store, cookieStoreCookie(store, new(table)))
	},
	"FilesystemStore": func(t *testing.T) stall {
		dir := t.TempDir()
		store := sessions.NewFilesystemStore(dir, hashKey, blockKey)
		s := gorillaStall(store, filesystemStoreCookie(store, dir, new(table)))
		s.persists = true // a MaxAge of 0 deletes the file
		return s
	},
	"scs": func(*testing.T) stall { return scsStall(newSCSApp(forgetful)) },
	"scs, idle": func(*testing.T) stall {
		return scsStall(newSCSApp(func(sm *scs.SessionManager) { forgetful(sm); sm.IdleTimeout = time.Hour }))
	},
	"scs, outside": func(*testing.T) stall {
		s := scsStall(newSCSApp(forgetful))
		s.outside = true
		return s
	},
	"scs, Redis": func(t *testing.T) stall { return stallOnRedis(startRedis(t)) },
}

// forgetful has the cookie go with the browser, unless the session is remembered.
func forgetful(sm *scs.SessionManager) { sm.Cookie.Persist = false }

func scsStall(sm *scs.SessionManager, old oldApp) stall {
	return stall{
		oldApp: old,
		put: func(_ http.ResponseWriter, r *http.Request, key, value string) error {
			sm.Put(r.Context(), key, value)
			return nil
		},
		get: func(r *http.Request, key string) string { return sm.GetString(r.Context(), key) },
		say: func(_ http.ResponseWriter, r *http.Request, message string) error {
			sm.Put(r.Context(), "message", message)
			return nil
		},
		heard:    func(_ http.ResponseWriter, r *http.Request) string { return sm.PopString(r.Context(), "message") },
		renew:    func(r *http.Request) error { return sm.RenewToken(r.Context()) },
		remember: func(r *http.Request) { sm.RememberMe(r.Context(), true) },
	}
}

func gorillaStall(store sessions.Store, cookie stytchmigrate.LegacyCookie) stall {
	of := func(r *http.Request) *sessions.Session {
		session, _ := store.Get(r, "sid")
		if session.Values["remembered"] != nil {
			session.Options.MaxAge = 3600
		}
		return session
	}
	old := gorillaSessions(store)
	old.cookie = cookie
	return stall{
		oldApp: old,
		put: func(w http.ResponseWriter, r *http.Request, key, value string) error {
			of(r).Values[key] = value
			return of(r).Save(r, w)
		},
		get: func(r *http.Request, key string) string {
			value, _ := of(r).Values[key].(string)
			return value
		},
		say: func(w http.ResponseWriter, r *http.Request, message string) error {
			of(r).AddFlash(message)
			return of(r).Save(r, w)
		},
		heard: func(w http.ResponseWriter, r *http.Request) string {
			said := of(r).Flashes()
			if said == nil {
				return ""
			}
			_ = of(r).Save(r, w)
			return fmt.Sprint(said...)
		},
		renew: func(r *http.Request) error {
			of(r).ID, of(r).Values["id"] = "", rand.Text()
			return nil
		},
		remember: func(r *http.Request) { of(r).Values["remembered"] = true },
	}
}

// open serves a stall in stage Keep, on a machine with the middleware and on one
// without it.
func (s stall) open(t *testing.T) (a, without *app) {
	t.Helper()
	a = newApp(t, s.oldApp, func(cfg *stytchmigrate.Config) {
		cfg.Store, cfg.Rollout.Stage = s.store, stytchmigrate.StageKeep
	})
	bare := s.handler()
	if s.wrap != nil {
		bare = s.wrap(bare)
	}
	without = &app{}
	for url, h := range map[*string]http.Handler{&a.url: a.stacked(s.handler()), &without.url: bare} {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		*url = srv.URL
	}
	return a, without
}

func (s stall) handler() http.Handler {
	mux := http.NewServeMux()
	page := func(path string, f func(w http.ResponseWriter, r *http.Request) error) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := f(w, r); err != nil {
				fmt.Fprint(w, err)
			}
			s.page(w, r)
		})
	}
	page("/", func(http.ResponseWriter, *http.Request) error { return nil })
	page("/login", func(w http.ResponseWriter, r *http.Request) error {
		if r.FormValue("remember") != "" {
			s.remember(r)
		}
		return cmp.Or(s.renew(r), s.put(w, r, "user", r.FormValue("user")))
	})
	page("/logout", s.logout)
	page("/renew", func(w http.ResponseWriter, r *http.Request) error {
		return cmp.Or(s.renew(r), s.put(w, r, "renewed", "yes"))
	})
	page("/say", func(w http.ResponseWriter, r *http.Request) error { return s.say(w, r, "Hello!") })
	page("/add", func(w http.ResponseWriter, r *http.Request) error {
		return s.put(w, r, "cart", strings.TrimSpace(s.get(r, "cart")+" "+r.FormValue("item")))
	})
	return mux
}

// page tells who is there, by Stytch or as it did before, what is in the cart, and
// what was said before.
func (s stall) page(w http.ResponseWriter, r *http.Request) {
	who, said := s.user(r), ""
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		who = u.Emails[0].Email
	}
	if r.URL.Path == "/" {
		said = s.heard(w, r)
	}
	fmt.Fprintf(w, "%v %s [%s] %s", stytchmigrate.OutcomeFromContext(r.Context()), who, s.get(r, "cart"), said)
}

// at is the same browser, as another machine answers it.
func (b *browser) at(a *app) *browser { return &browser{b.t, a, b.client} }

// sees is what get returns of the body, and post of the answer to a form.
func (b *browser) sees(path string) string { return b.sends(http.MethodGet, path) }
func (b *browser) post(path string) string { return b.sends(http.MethodPost, path) }

func (b *browser) sends(method, path string) string {
	b.t.Helper()
	r, err := http.NewRequest(method, b.a.url+path, nil)
	require.NoError(b.t, err)
	resp, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return strings.TrimSpace(string(body))
}
