package stories_test

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// longPolicy is a page with a Content-Security-Policy of n bytes.
func longPolicy(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", strings.Repeat("x", n))
	}
}

// A handler's own header leaves no room for the JWT, or for any cookie. The exchange is
// made once all the same, and a later page has room for what it brought.
func TestLongHeaderPostponesTheCookies(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Handler = longPolicy(3800)
		assert.Equal(t, "migrated ada | - | - | migrate", a.Get("sid=ada-1").String())
		assert.Equal(t, "migrated ada | - | - | -", a.Get("sid=ada-1").String())
		assert.Equal(t, 1, strings.Count(a.Log.String(), "a response has no room for the session cookies"), "said once")
		a.Handler = longPolicy(2600)
		assert.Equal(t, "migrated ada | +stytch_session | no-store | -", a.Get("sid=ada-1").String())
		a.Handler = nil
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt | no-store | -", a.Get("sid=ada-1").String())
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// A refresh waits for a response that has room, and the user stays signed in.
func TestLongHeaderPostponesARefresh(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("")
		time.Sleep(6 * time.Minute)
		a.Handler = longPolicy(3800)
		assert.Equal(t, "authenticated ada | - | - | authenticate", a.Get(cookies).String())
		assert.Equal(t, "authenticated ada | - | - | -", a.Get(cookies).String())
		a.Handler = nil
		assert.Contains(t, a.Get(cookies).String(), "authenticated ada | ")
	})
}

// Old code logs out by Clear-Site-Data. Browsers drop every cookie then, and the
// sessions behind them end too.
func TestOldLogoutByClearSiteData(t *testing.T) {
	for _, value := range []string{`"cookies"`, `"cache", "*"`} {
		for _, moved := range []bool{false, true} {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, want := "sid=ada-1", "migrated ada | -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"
				if moved {
					cookies, want = a.Get(cookies).Jar(cookies), "authenticated ada | -stytch_session -stytch_session_jwt -sid | no-store | revoke"
				}
				a.Handler = func(w http.ResponseWriter, _ *http.Request) { w.Header()["clear-site-data"] = []string{value} }
				assert.Equal(t, want, a.Get(cookies).Settled())
				a.Handler = nil
				assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
			}, apptest.Stage(stytchmigrate.StageKeep))
		}
	}
}

// The client leaves while Resolve waits for its database, which then fails. That is no
// error of the application: nothing is logged, and no event says that somebody could not
// be told, by which the status page would go on waiting.
func TestClientGoneWhileResolveWaits(t *testing.T) {
	known, err := "authenticated ada | - | - | -", errors.New("database: context canceled")
	for name, row := range map[string]struct {
		before func(a *apptest.App) string
		want   string
		events []string
	}{
		"a legacy cookie":   {func(*apptest.App) string { return "sid=ada-2" }, "handler not run | - | - | -", nil},
		"beside a live one": {func(a *apptest.App) string { return a.Get("sid=ada-1").Jar("sid=ada-2") }, known, []string{"authenticated memory"}},
		"beside an old one": {func(*apptest.App) string { return "stytch_session=unknown; sid=ada-2" }, "handler not run | - | - | authenticate", nil},
		"while Stytch is down": {func(a *apptest.App) string {
			cookies := a.Get("sid=ada-1").Jar("sid=ada-2")
			time.Sleep(6 * time.Minute)
			a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(500, "internal_server_error"))
			return cookies
		}, "handler not run | - | - | authenticate authenticate", []string{"unavailable stytch"}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := row.before(a)
				a.Requests = nil
				a.Log.Reset()
				ctx, leave := context.WithCancel(t.Context())
				a.Resolve = func(string) (stytchmigrate.LegacySession, error) { leave(); return stytchmigrate.LegacySession{}, err }
				got := a.Get(cookies, func(r *http.Request) { *r = *r.WithContext(ctx) })
				assert.Equal(t, row.want, got.String())
				var events []string
				for _, e := range a.Requests {
					events = append(events, e.Outcome.String()+" "+e.Cause)
				}
				assert.Equal(t, row.events, events)
				assert.NotContains(t, a.Log.String(), `"ERROR"`)
				assert.NotContains(t, a.Log.String(), "Resolve")
			}, apptest.Stage(stytchmigrate.StageKeep))
		})
	}
}

// deletesItsRow is an application whose sessions are rows, and which sends no Set-Cookie
// when it logs out: its row is deleted by a POST, before the page is written or after.
func deletesItsRow(a *apptest.App, late bool) {
	deleted := false
	a.Handler = func(w http.ResponseWriter, r *http.Request) {
		deleted = deleted || r.Method == http.MethodPost && !late
		_, _ = w.Write([]byte("Good-bye."))
		deleted = deleted || r.Method == http.MethodPost
	}
	a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
		if deleted {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		return apptest.LegacySession("ada", value), nil
	}
}

// A logout that sends no Set-Cookie ends the Stytch session too: the next page has no
// user, and a copy of the cookies has none, whether the old cookie moves or stays.
func TestOldLogoutWithoutASetCookie(t *testing.T) {
	for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
		for _, late := range []bool{false, true} {
			for visits, saw := range []string{"migrated ada", "authenticated ada"} {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					deletesItsRow(a, late)
					cookies := "sid=ada-1"
					if visits == 1 {
						cookies = a.Get(cookies).Jar(cookies)
					}
					got := a.Get(cookies, apptest.Method(http.MethodPost))
					assert.Equal(t, saw, got.Saw)
					synctest.Wait()
					assert.False(t, a.Stytch.Sessions()[0].Live)
					assert.NotContains(t, a.Get(got.Jar(cookies)).Saw, "ada")
					assert.NotContains(t, a.Get(cookies).Saw, "ada")
				}, apptest.Stage(stage))
			}
		}
	}
}

// renews is a session middleware outside of Handler. Its sessions get another id in each
// POST, and their cookie goes out with the header, after that of Handler.
type renews struct {
	http.ResponseWriter
	value string
}

func (w renews) Write(b []byte) (int, error) {
	w.Header().Add("Set-Cookie", "sid="+w.value+"; Path=/")
	return w.ResponseWriter.Write(b)
}

// A session that gets another id in a middleware outside is not gone.
func TestRenewedOutside(t *testing.T) {
	for value, live := range map[string]bool{"ada-2": true, "visitor": false} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			current := "ada-1"
			a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
				if v != current || v == "visitor" {
					return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
				}
				return apptest.LegacySession("ada", v), nil
			}
			cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
			r := httptest.NewRequest(http.MethodPost, "/renew", nil)
			r.Header.Set("Cookie", cookies)
			a.Middleware.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				current = value
				_, _ = w.Write([]byte("renewed"))
			})).ServeHTTP(renews{httptest.NewRecorder(), value}, r)
			synctest.Wait()
			assert.Equal(t, live, a.Stytch.Sessions()[0].Live, value)
		}, apptest.Stage(stytchmigrate.StageKeep))
	}
}

// Each row is a request after which Resolve is not asked, or after which its answer is no
// logout.
func TestNoOldLogoutWithoutASetCookie(t *testing.T) {
	for name, row := range map[string]struct {
		method string
		err    error
		ends   time.Duration
	}{
		"a page":              {http.MethodGet, stytchmigrate.ErrNoSession, 0},
		"its header":          {http.MethodHead, stytchmigrate.ErrNoSession, 0},
		"the database fails":  {http.MethodPost, errors.New("database"), 0},
		"the session goes on": {http.MethodPost, nil, 0},
		"it runs out by now":  {http.MethodPost, nil, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
				session := apptest.LegacySession("ada", "ada-1")
				if row.ends > 0 {
					session.ExpiresAt = time.Now().Add(row.ends)
				}
				var err error
				a.Resolve = func(string) (stytchmigrate.LegacySession, error) { return session, err }
				a.Handler = func(http.ResponseWriter, *http.Request) { err = row.err; time.Sleep(row.ends) }
				time.Sleep(time.Minute) // Resolve is asked again
				session.ExpiresAt = map[bool]time.Time{true: time.Now().Add(row.ends)}[row.ends > 0]
				assert.Equal(t, "authenticated ada | - | - | -", a.Get(cookies, apptest.Method(row.method)).Settled())
				assert.True(t, a.Stytch.Sessions()[0].Live)
			}, apptest.Stage(stytchmigrate.StageKeep))
		})
	}
}

// The client leaves before the handler is done. Resolve, which goes by the context of the
// request, can tell all the same that the session was deleted.
func TestDeletedRowOfAClientThatLeft(t *testing.T) {
	deleted := false
	resolve := apptest.LegacyCookie(func(l *stytchmigrate.LegacyCookie) {
		l.Resolve = func(r *http.Request, value string) (stytchmigrate.LegacySession, error) {
			if deleted {
				return stytchmigrate.LegacySession{}, cmp.Or(r.Context().Err(), stytchmigrate.ErrNoSession)
			}
			return apptest.LegacySession("ada", value), nil
		}
	})
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
		ctx, leave := context.WithCancel(t.Context())
		a.Handler = func(http.ResponseWriter, *http.Request) { deleted = true; leave() }
		a.Get(cookies, apptest.Method(http.MethodPost), func(r *http.Request) { *r = *r.WithContext(ctx) })
		synctest.Wait()
		assert.False(t, a.Stytch.Sessions()[0].Live)
	}, apptest.Stage(stytchmigrate.StageKeep), resolve)
}

// A token alone tells no age, but the record of the legacy cookie beside it does. The
// part of Stytch that answers another machine does not know the session yet.
func TestNewSessionByItsRecord(t *testing.T) {
	for _, age := range []time.Duration{time.Second, 9 * time.Second, 11 * time.Second, 29 * time.Second} {
		apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
			cookies := a.On(m[0]).Get("sid=ada-1").Jar("sid=ada-1")
			token, _, _ := strings.Cut(cookies[strings.Index(cookies, "stytch_session="):], ";")
			time.Sleep(age)
			a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(404, "session_not_found"))
			got := a.On(m[1]).Get("sid=ada-1; " + token)
			assert.NotContains(t, strings.Join(got.Cookies(), " "), "-stytch_session", "%v: %s", age, got)
		}, apptest.Stage(stytchmigrate.StageKeep))
	}
}
