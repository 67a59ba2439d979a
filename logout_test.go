package stytchmigrate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

const cleared = " | -stytch_session -stytch_session_jwt -sid | no-store | "

// logout is the handler of a logout page.
func (a *app) logout(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { assert.NoError(t, a.m.Logout(w, r)) }
}

// Each row is a logout of a browser in some state.
func TestLogoutOnEachOutcome(t *testing.T) {
	for name, row := range map[string]struct {
		cookies func(a *app) string
		want    string
		change  func(*http.Request)
	}{
		"nobody":                      {func(*app) string { return "" }, "anonymous" + cleared + "-", nil},
		"no session":                  {func(*app) string { return "sid=nobody" }, "anonymous" + cleared + "-", nil},
		"a legacy session":            {func(*app) string { return "sid=ada-1" }, "migrated ada" + cleared + "migrate revoke", nil},
		"a legacy session, by POST":   {func(*app) string { return "sid=ada-1" }, "migrated ada" + cleared + "migrate revoke", method(http.MethodPost)},
		"where no cookies may change": {func(*app) string { return "sid=ada-1" }, "migrated ada" + cleared + "migrate revoke", fetch("cross-site cors empty")},
		"a Stytch session":            {func(a *app) string { c, _ := a.signedIn(a.ada); return c }, "authenticated ada" + cleared + "authenticate revoke", nil},
		"both":                        {func(a *app) string { c, _ := a.signedIn(a.ada); return c + "; sid=ada-1" }, "authenticated ada" + cleared + "authenticate revoke", nil},
		"two people":                  {func(a *app) string { c, _ := a.signedIn(a.ada); return c + "; sid=bob-1" }, "anonymous" + cleared + "authenticate revoke", nil},
		"a session Stytch has ended":  {func(a *app) string { c, s := a.signedIn(a.ada); a.stytch.RevokeSession(s.ID); return c }, "anonymous" + cleared + "authenticate revoke revoke", nil},
		"Stytch down for a moment": {func(a *app) string {
			a.stytch.Fail(stytchtest.Migrate, stytchtest.Error(500, "internal_server_error"), stytchtest.Error(500, "internal_server_error"))
			return "sid=ada-1"
		}, "unavailable" + cleared + "migrate migrate", nil},
		"a user that Stytch doesn't know": {func(a *app) string { a.stytch.RemoveUser(a.ada.ID); return "sid=ada-1" }, "refused" + cleared + "migrate", nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				a.handler = a.logout(t)
				cookies := row.cookies(a)
				change := row.change
				if change == nil {
					change = func(*http.Request) {}
				}
				got := a.ask(t, cookies, change)
				assert.Equal(t, row.want, got.String())
				for _, s := range a.stytch.Sessions() {
					assert.False(t, s.Live, "revoked")
				}
				a.handler = nil
				assert.Equal(t, "anonymous"+keep+"-", a.ask(t, got.jar(cookies)).String())
				for _, c := range []string{cookies, "sid=ada-1"} {
					if strings.Contains(cookies, "sid=ada-1") || c == cookies {
						assert.NotContains(t, a.get(c).saw, "ada", "the old cookies bring nobody back")
					}
				}
			})
		})
	}
}

// Outside Handler too, where nothing is known of the request but its cookies.
func TestLogoutOutsideHandler(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		native, _ := a.signedIn(a.ada)
		first := a.ask(t, "sid=ada-1")
		for _, cookies := range []string{native, first.jar("sid=ada-1"), "sid=ada-1"} {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "https://app.example.com/", nil)
			r.Header.Set("Cookie", cookies)
			require.NoError(t, a.m.Logout(w, r))
			assert.Len(t, w.Result().Cookies(), 3)
			obeys(t, "app.example.com", w.Result().Header)
		}
		for _, s := range a.stytch.Sessions() {
			assert.False(t, s.Live)
		}
		assert.Equal(t, "refused"+keep+"-", a.ask(t, "sid=ada-1").String())
	})
}

// Each row is what a handler does around Logout, and the cookies of the reply.
func TestLogoutAndTheHandlersCookies(t *testing.T) {
	const all = "-stytch_session -stytch_session_jwt -sid"
	const kept = "-stytch_session -stytch_session_jwt"
	for name, row := range map[string]struct {
		before, after string // lines set before and after Logout
		moving, known string // cookies of a reply with a swap pending, and of one with none
	}{
		"nothing else":                {"", "", all, all},
		"deletes it before":           {"sid=; Max-Age=0", "", "-sid " + all, "-sid " + all},
		"deletes it after":            {"", "sid=; Max-Age=0", "-sid " + all, all + " -sid"},
		"signs bob in after":          {"", "sid=bob-1", "+sid " + kept, all + " +sid"},
		"signs bob in before":         {"sid=bob-1", "", "+sid " + kept, "+sid " + kept},
		"saved it again before":       {"sid=ada-1", "", all, "+sid " + kept},
		"set a Stytch cookie before":  {"stytch_session=own; Secure", "", all, all},
		"sets a Stytch cookie after":  {"", "stytch_session=own; Secure", "+stytch_session -stytch_session_jwt -sid", all + " +stytch_session"},
		"a cookie of another purpose": {"theme=dark", "", "+theme " + all, "+theme " + all},
	} {
		for state, want := range map[string]string{"moving": row.moving, "known": row.known} {
			t.Run(name+", "+state, func(t *testing.T) {
				inBubble(t, func(t *testing.T, a *app) {
					cookies := "theme=dark; sid=ada-1"
					if state == "known" {
						cookies = a.ask(t, cookies).jar(cookies)
					}
					a.handler = func(w http.ResponseWriter, r *http.Request) {
						if row.before != "" {
							setCookie(row.before)(w, r)
						}
						assert.NoError(t, a.m.Logout(w, r))
						if row.after != "" {
							setCookie(row.after)(w, r)
						}
					}
					got := a.ask(t, cookies, method(http.MethodPost))
					assert.Equal(t, want, strings.Join(got.cookies(), " "))
					assert.False(t, a.stytch.Sessions()[0].Live, "the session before is revoked")
				})
			})
		}
	}
}

func TestLogoutTwice(t *testing.T) {
	for _, cookies := range []string{"", "sid=ada-1"} {
		inBubble(t, func(t *testing.T, a *app) {
			a.handler = func(w http.ResponseWriter, r *http.Request) { a.logout(t)(w, r); a.logout(t)(w, r) }
			assert.Equal(t, []string{"-sid", "-stytch_session", "-stytch_session_jwt"}, sorted(a.ask(t, cookies).cookies()))
		})
	}
}

// Too late for the cookies of this response, but not for the session.
func TestLogoutAfterTheResponseBegan(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.handler = func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "page")
			assert.ErrorContains(t, a.m.Logout(w, r), "after the response began")
		}
		assert.Equal(t, swapped+" revoke", a.ask(t, "sid=ada-1").String())
		a.handler = nil
		assert.Equal(t, "refused"+keep+"-", a.ask(t, "sid=ada-1").String())
	})
}

// Each row is what Stytch does about revoke. The cookies go in any case, and
// the old session is ended at its source.
func TestLogoutWhenStytchFails(t *testing.T) {
	for name, row := range map[string]struct {
		fault stytchtest.Fault
		fails bool
	}{
		"unknown there":  {stytchtest.Error(404, "session_not_found"), false},
		"an error":       {stytchtest.Error(500, "internal_server_error"), true},
		"our credential": {stytchtest.Error(401, "unauthorized_credentials"), true},
		"a reset":        {stytchtest.Reset(), true},
		"silence":        {stytchtest.Silence(), true},
	} {
		t.Run(name, func(t *testing.T) {
			var ended []string
			inBubble(t, func(t *testing.T, a *app) {
				a.stytch.FailAll(stytchtest.Revoke, row.fault)
				start := time.Now()
				a.handler = func(w http.ResponseWriter, r *http.Request) {
					assert.Equal(t, row.fails, a.m.Logout(w, r) != nil)
				}
				got := a.ask(t, "sid=ada-1")
				assert.Equal(t, "-stytch_session -stytch_session_jwt -sid", strings.Join(got.cookies(), " "))
				assert.LessOrEqual(t, time.Since(start), 5*time.Second)
				assert.Equal(t, []string{"ada-1"}, ended)
				a.handler = nil
				assert.Equal(t, "refused"+keep+"-", a.ask(t, "sid=ada-1").String())
			}, oldCookie(func(l *stytchmigrate.LegacyCookie) {
				l.End = func(ctx context.Context, s stytchmigrate.LegacySession) error {
					if ctx.Err() == nil {
						ended = append(ended, string(s.ID))
					}
					return nil
				}
			}))
		})
	}
}

type traceKey struct{}

func TestLogoutReturnsTheErrorOfEnd(t *testing.T) {
	broken := errors.New("database at 192.0.2.1 is down")
	inBubble(t, func(t *testing.T, a *app) {
		a.handler = func(w http.ResponseWriter, r *http.Request) {
			assert.ErrorIs(t, a.m.Logout(w, r.WithContext(context.WithValue(r.Context(), traceKey{}, "trace"))), broken)
		}
		assert.Equal(t, "migrated ada"+cleared+"migrate revoke", a.ask(t, "sid=ada-1").String())
		require.Len(t, a.events, 1)
		assert.Equal(t, "logout", a.events[0].Kind)
		assert.NotContains(t, a.events[0].Err.Error(), "192.0.2.1", "the error's text is the application's alone")
	}, oldCookie(func(l *stytchmigrate.LegacyCookie) {
		l.End = func(ctx context.Context, _ stytchmigrate.LegacySession) error {
			assert.Equal(t, "trace", ctx.Value(traceKey{}), "the context is the handler's")
			return broken
		}
	}))
}

func TestLogoutGoesOnWhenTheClientLeaves(t *testing.T) {
	ended := errors.New("End was not called")
	inBubble(t, func(t *testing.T, a *app) {
		ctx, leave := context.WithCancel(t.Context())
		a.stytch.Fail(stytchtest.Revoke, stytchtest.Delay(time.Second))
		a.handler = func(w http.ResponseWriter, r *http.Request) { leave(); assert.NoError(t, a.m.Logout(w, r)) }
		a.ask(t, "sid=ada-1", func(r *http.Request) { *r = *r.WithContext(ctx) })
		assert.False(t, a.stytch.Sessions()[0].Live)
		assert.NoError(t, ended)
	}, oldCookie(func(l *stytchmigrate.LegacyCookie) {
		l.End = func(ctx context.Context, _ stytchmigrate.LegacySession) error { ended = ctx.Err(); return nil }
	}))
}

// Each token that a browser holds is revoked, whoever's it is.
func TestLogoutRevokesDuplicates(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		one, _ := a.signedIn(a.ada)
		_, two := a.signedIn(a.ada)
		_, three := a.signedIn(a.bob)
		a.handler = a.logout(t)
		a.ask(t, one+"; stytch_session="+two.Token+"; stytch_session="+three.Token)
		for _, s := range a.stytch.Sessions() {
			assert.False(t, s.Live)
		}
	})
}

// A logout comes while the exchange that would sign in again is under way.
func TestLogoutDuringAnExchange(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		var hold stytchtest.Hold
		a.stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(&hold).AfterWork())
		replies := make([]*reply, 5)
		var wg sync.WaitGroup
		for i := range replies {
			wg.Go(func() { replies[i] = a.parallel("sid=ada-1") })
		}
		<-hold.Arrived()
		synctest.Wait()
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", "sid=ada-1")
		assert.NoError(t, a.m.Logout(httptest.NewRecorder(), r))
		hold.Release()
		wg.Wait()
		for _, got := range replies {
			assert.Equal(t, "refused", got.saw)
			assert.Empty(t, got.cookies())
		}
		assert.False(t, a.stytch.Sessions()[0].Live)
		assert.Equal(t, "refused"+keep+"-", a.ask(t, "sid=ada-1").String())
	})
}

// A logout comes while Stytch is asked whether the session is still alive.
func TestLogoutDuringARefreshOfOneBrowser(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies, _ := a.signedIn(a.ada)
		time.Sleep(10 * time.Minute)
		var hold stytchtest.Hold
		a.stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(&hold).AfterWork())
		var got *reply
		var wg sync.WaitGroup
		wg.Go(func() { got = a.parallel(cookies) })
		<-hold.Arrived()
		r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
		r.Header.Set("Cookie", cookies)
		assert.NoError(t, a.m.Logout(httptest.NewRecorder(), r))
		hold.Release()
		wg.Wait()
		assert.Equal(t, "anonymous", got.saw)
		assert.Equal(t, "-stytch_session -stytch_session_jwt", strings.Join(got.cookies(), " "))
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate", a.ask(t, cookies).String())
	})
}

// A handler that serves whoever has not moved by the old session must not serve
// a user who logged out, unless it may be a new sign-in under the old id.
func TestLegacySessionAfterLogout(t *testing.T) {
	for name, row := range map[string]struct {
		startedAt time.Time
		want      string
	}{
		"known when it started":     {time.Unix(1, 0), ""},
		"not known when it started": {time.Time{}, "ada"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
					s := legacySession("ada", value)
					s.StartedAt = row.startedAt
					return s, nil
				}
				a.logOut(a.get("sid=ada-1").jar("sid=ada-1"))
				assert.Equal(t, "refused"+keep+"-", a.get("sid=ada-1").String())
				assert.Equal(t, row.want, a.legacySeen.Identity.Subject)
			})
		})
	}
}

// The session in memory is revoked without a look at its JWT, and so without
// the key set.
func TestLogoutFetchesNoKeys(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.logOut(a.get("sid=ada-1").jar("sid=ada-1"))
		assert.Zero(t, a.stytch.Count(stytchtest.JWKS))
	})
}
