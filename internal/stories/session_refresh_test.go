package stories_test

import (
	"context"
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
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// Whoever keeps coming stays signed in, whatever the rhythm, and whichever of
// the two cookies the browser has.
func TestActiveUsersStaySignedIn(t *testing.T) {
	for name, row := range map[string]struct {
		every, duration time.Duration
		only            string // the cookie that the browser keeps
	}{
		"a visit each day":                    {24 * time.Hour, 15 * 24 * time.Hour, ""},
		"a visit each week":                   {7 * 24 * time.Hour, 30 * 24 * time.Hour, ""},
		"a page a minute":                     {time.Minute, 30 * time.Minute, ""},
		"a poll every 40 s":                   {40 * time.Second, 20 * time.Minute, ""},
		"a visit each day, the token alone":   {24 * time.Hour, 15 * 24 * time.Hour, "stytch_session="},
		"a visit each day, the JWT alone":     {24 * time.Hour, 15 * 24 * time.Hour, "stytch_session_jwt="},
		"a poll every 40 s, the JWT alone":    {40 * time.Second, 20 * time.Minute, "stytch_session_jwt="},
		"a page each minute, the token alone": {time.Minute, 30 * time.Minute, "stytch_session="},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				s := a.Stytch.NewSession(a.Ada.ID, row.duration)
				b := &apptest.Tab{App: a, Cookies: "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT, Until: s.ExpiresAt}
				for start := time.Now(); time.Since(start) < 3*row.duration; time.Sleep(row.every) {
					b.Keep(row.only)
					require.Contains(t, b.Visit().String(), "authenticated ada |", "after %v", time.Since(start))
				}
				s, _ = a.Stytch.Session(s.ID)
				// Nobody asks before the next visit, or while a JWT is valid.
				assert.Greater(t, time.Until(s.ExpiresAt), row.duration/2-row.every-6*time.Minute)
			}, func(c *stytchmigrate.Config) { c.SessionDuration = row.duration })
		})
	}
}

// Processes that come and go, and so remember nothing, extend a session too.
func TestActiveUserAcrossRestarts(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := a.Stytch.NewSession(a.Ada.ID, 30*24*time.Hour)
		b := &apptest.Tab{App: a, Cookies: "stytch_session=" + s.Token, Until: s.ExpiresAt}
		for range 90 {
			time.Sleep(24 * time.Hour)
			a.Restart(t)
			b.Keep("stytch_session=")
			require.Contains(t, b.Visit().String(), "authenticated ada |")
			b.Keep("stytch_session=")
			require.Contains(t, b.Visit().String(), "authenticated ada |") // the page's second request
		}
	})
}

// Of a token alone only the answer tells that it is time to extend its session. The
// browser is told of what the second call came to; where that fails, the first will do.
func TestExtendedOnceTheAnswerTells(t *testing.T) {
	const day = 24 * time.Hour
	failed := stytchtest.Error(http.StatusInternalServerError, "internal_server_error")
	for name, row := range map[string]struct {
		faults []stytchtest.Fault
		lasts  time.Duration
		calls  string
	}{
		"extended":     {nil, 30 * day, "authenticate authenticate"},
		"not extended": {[]stytchtest.Fault{{}, failed, failed}, 10 * day, "authenticate authenticate authenticate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.Fail(stytchtest.Authenticate, row.faults...)
				out := a.Get("stytch_session=" + a.Stytch.NewSession(a.Ada.ID, 10*day).Token)
				assert.Equal(t, strings.TrimSuffix(apptest.Refreshed, "authenticate")+row.calls, out.String())
				assert.InDelta(t, row.lasts.Seconds(), out.Result().Cookies()[0].MaxAge, 2)
			})
		})
	}
}

// A session is extended where less than half of its time is left, until it ends.
func TestWhenASessionIsExtended(t *testing.T) {
	const day = 24 * time.Hour
	for left, want := range map[time.Duration]int{
		day/2 + time.Second: 0, day / 2: 0, day/2 - time.Second: 24 * 60, time.Second: 24 * 60, 0: 0,
	} {
		t.Run(left.String(), func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := "stytch_session=" + a.Stytch.NewSession(a.Ada.ID, day).Token
				require.Equal(t, apptest.Refreshed, a.Get(cookies).String(), "and known")
				time.Sleep(day - left)
				a.Get(cookies)
				require.Equal(t, 1, a.Stytch.Count(stytchtest.Authenticate))
				assert.Equal(t, want, a.Stytch.Calls()[0].DurationMinutes)
			}, func(c *stytchmigrate.Config) { c.SessionDuration = day })
		})
	}
}

// A refresh never takes anything from a session.
func TestSessionsAreNeverShortened(t *testing.T) {
	for name, d := range map[string]time.Duration{
		"a month": 30 * 24 * time.Hour, "a month and a day": 31 * 24 * time.Hour, "a year": 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				s := a.Stytch.NewSession(a.Ada.ID, d)
				b := &apptest.Tab{App: a, Cookies: "stytch_session=" + s.Token, Until: s.ExpiresAt}
				for range 20 {
					time.Sleep(d / 21)
					require.Contains(t, b.Visit().String(), "authenticated ada |")
					now, _ := a.Stytch.Session(s.ID)
					require.False(t, now.ExpiresAt.Before(s.ExpiresAt))
					require.WithinDuration(t, now.ExpiresAt, b.Until, time.Second, "the cookie lives as long")
					s = now
				}
			})
		})
	}
}

func TestFixedExpiry(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		b := &apptest.Tab{App: a, Cookies: cookies, Until: s.ExpiresAt}
		for range 29 {
			time.Sleep(24 * time.Hour)
			require.Contains(t, b.Visit().String(), "authenticated ada |")
		}
		now, _ := a.Stytch.Session(s.ID)
		assert.Equal(t, s.ExpiresAt, now.ExpiresAt)
		time.Sleep(24 * time.Hour)
		assert.Equal(t, "anonymous | - | - | -", b.Visit().String(), "the browser has forgotten it")
		assert.Equal(t, apptest.SignedOut, a.Get(cookies).String(), "and so has Stytch")
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// A page's requests come together, with one JWT that has expired. One of them
// asks, for all; those that come later, with the old cookies, ask no more.
func TestOneCallForParallelRequests(t *testing.T) {
	const both = "+stytch_session +stytch_session_jwt"
	for cookies, late := range map[string]string{"jwt": both, "both": both, "session": ""} {
		t.Run(cookies, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				sent, _ := a.Expired(a.Ada, cookies)
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Delay(300*time.Millisecond))
				for _, got := range a.Each(100, sent) {
					assert.Equal(t, "authenticated ada | "+both, got)
				}
				assert.Equal(t, 1, a.Stytch.Count(stytchtest.Authenticate))
				time.Sleep(4 * time.Minute)
				for _, got := range a.Each(10, sent) {
					assert.Equal(t, "authenticated ada | "+late, got)
				}
				assert.Zero(t, a.Stytch.Count(stytchtest.Authenticate))
			})
		})
	}
}

// Requests that arrive in the moment in which the answer does ask no more.
func TestOneCallForStragglers(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		for range apptest.Load(50) {
			sent, _ := a.Expired(a.Ada, "both")
			a.Stytch.ResetCalls()
			a.Each(30, sent)
			require.Equal(t, 1, a.Stytch.Count(stytchtest.Authenticate))
		}
	})
}

// The first to ask may leave; the others get the answer.
func TestFirstClientLeaves(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var hold stytchtest.Hold
		sent, _ := a.Expired(a.Ada, "both")
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(&hold))
		var wg sync.WaitGroup
		wg.Go(func() { getUntil(a, hold.Arrived(), sent) })
		<-hold.Arrived()
		synctest.Wait()
		wg.Go(func() {
			time.Sleep(time.Second)
			hold.Release()
		})
		assert.Equal(t, []string{"authenticated ada | +stytch_session +stytch_session_jwt"}, a.Each(1, sent))
		wg.Wait()
	})
}

// getUntil sends a request whose client leaves once done is closed.
func getUntil(a *apptest.App, done <-chan struct{}, cookies string) {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
	r.Header.Set("Cookie", cookies)
	ctx, leave := context.WithCancel(r.Context())
	go func() { <-done; leave() }()
	a.Middleware.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
}

// A session whose JWT is too long for a cookie is known by its token, until
// that JWT expires: it costs a call every five minutes, not every request.
func TestTokenStaysKnown(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { return apptest.LegacySession("ada", "ada-1"), nil }
		first := a.Get("sid=ada-1")
		require.Equal(t, "migrated ada | +stytch_session -sid | no-store | migrate", first.String())
		cookies := first.Jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session | no-store | authenticate", a.Get(cookies).String())
		for range 4 {
			time.Sleep(time.Minute)
			assert.Equal(t, apptest.FromJWT+"-", a.Get(cookies).String())
		}
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session | no-store | authenticate", a.Get(cookies).String())
	}, func(c *stytchmigrate.Config) {
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"long": strings.Repeat("x", 3500)}
		}
	})
}
