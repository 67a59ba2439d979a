package stytchmigrate_test

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
	"example.com/stytchmigrate/stytchtest"
)

// tab is a browser that forgets a cookie when its time has come.
type tab struct {
	a       *app
	cookies string
	until   time.Time
}

// visit asks for a page, and returns the reply.
func (b *tab) visit(change ...func(*http.Request)) *reply {
	if !time.Now().Before(b.until) {
		b.cookies = ""
	}
	r := b.a.get(b.cookies, change...)
	b.cookies = r.jar(b.cookies)
	for _, c := range r.Result().Cookies() {
		if c.Name == "stytch_session" {
			b.until = time.Now().Add(time.Duration(c.MaxAge) * time.Second)
		}
	}
	return r
}

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
			inBubble(t, func(t *testing.T, a *app) {
				s := a.stytch.NewSession(a.ada.ID, row.duration)
				b := &tab{a: a, cookies: "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT, until: s.ExpiresAt}
				for start := time.Now(); time.Since(start) < 3*row.duration; time.Sleep(row.every) {
					b.keep(row.only)
					require.Contains(t, b.visit().String(), "authenticated ada |", "after %v", time.Since(start))
				}
				s, _ = a.stytch.Session(s.ID)
				// Nobody asks before the next visit, or while a JWT is valid.
				assert.Greater(t, time.Until(s.ExpiresAt), row.duration/2-row.every-6*time.Minute)
			}, func(c *stytchmigrate.Config) { c.SessionDuration = row.duration })
		})
	}
}

// keep drops the cookies but the one whose pair begins like that.
func (b *tab) keep(only string) {
	for pair := range strings.SplitSeq(b.cookies, "; ") {
		if only != "" && strings.HasPrefix(pair, only) {
			b.cookies = pair
		}
	}
}

// Processes that come and go, and so remember nothing, extend a session too.
func TestActiveUserAcrossRestarts(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		s := a.stytch.NewSession(a.ada.ID, 30*24*time.Hour)
		b := &tab{a: a, cookies: "stytch_session=" + s.Token, until: s.ExpiresAt}
		for range 90 {
			time.Sleep(24 * time.Hour)
			a.restart(t)
			b.keep("stytch_session=")
			require.Contains(t, b.visit().String(), "authenticated ada |")
			b.keep("stytch_session=")
			require.Contains(t, b.visit().String(), "authenticated ada |") // the page's second request
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
			inBubble(t, func(t *testing.T, a *app) {
				a.stytch.Fail(stytchtest.Authenticate, row.faults...)
				out := a.get("stytch_session=" + a.stytch.NewSession(a.ada.ID, 10*day).Token)
				assert.Equal(t, strings.TrimSuffix(refreshed, "authenticate")+row.calls, out.String())
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
			inBubble(t, func(t *testing.T, a *app) {
				cookies := "stytch_session=" + a.stytch.NewSession(a.ada.ID, day).Token
				require.Equal(t, refreshed, a.get(cookies).String(), "and known")
				time.Sleep(day - left)
				a.get(cookies)
				require.Equal(t, 1, a.stytch.Count(stytchtest.Authenticate))
				assert.Equal(t, want, a.stytch.Calls()[0].DurationMinutes)
			}, func(c *stytchmigrate.Config) { c.SessionDuration = day })
		})
	}
}

// restart gives the application a middleware that remembers nothing.
func (a *app) restart(t *testing.T) {
	t.Helper()
	m, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: a.stytch.ProjectID, Secret: stytchmigrate.Secret(a.stytch.Secret),
		BaseURL: a.stytch.URL, HTTPClient: a.stytch.Client(),
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: a.resolveName}},
	})
	require.NoError(t, err)
	a.m = m
}

// A refresh never takes anything from a session.
func TestSessionsAreNeverShortened(t *testing.T) {
	for name, d := range map[string]time.Duration{
		"a month": 30 * 24 * time.Hour, "a month and a day": 31 * 24 * time.Hour, "a year": 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				s := a.stytch.NewSession(a.ada.ID, d)
				b := &tab{a: a, cookies: "stytch_session=" + s.Token, until: s.ExpiresAt}
				for range 20 {
					time.Sleep(d / 21)
					require.Contains(t, b.visit().String(), "authenticated ada |")
					now, _ := a.stytch.Session(s.ID)
					require.False(t, now.ExpiresAt.Before(s.ExpiresAt))
					require.WithinDuration(t, now.ExpiresAt, b.until, time.Second, "the cookie lives as long")
					s = now
				}
			})
		})
	}
}

func TestFixedExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies, s := a.signedIn(a.ada)
		b := &tab{a: a, cookies: cookies, until: s.ExpiresAt}
		for range 29 {
			time.Sleep(24 * time.Hour)
			require.Contains(t, b.visit().String(), "authenticated ada |")
		}
		now, _ := a.stytch.Session(s.ID)
		assert.Equal(t, s.ExpiresAt, now.ExpiresAt)
		time.Sleep(24 * time.Hour)
		assert.Equal(t, "anonymous | - | - | -", b.visit().String(), "the browser has forgotten it")
		assert.Equal(t, signedOut, a.get(cookies).String(), "and so has Stytch")
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// each sends n requests at the same time, and returns what their handlers saw
// and which cookies they set.
func (a *app) each(n int, cookies string) []string {
	a.stytch.ResetCalls()
	saw := make([]string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
			r.Header.Set("Cookie", cookies)
			w := &reply{ResponseRecorder: httptest.NewRecorder(), a: a}
			a.m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { w.saw = a.who(r.Context()) })).ServeHTTP(w, r)
			saw[i] = w.saw + " | " + strings.Join(w.cookies(), " ")
		})
	}
	wg.Wait()
	return saw
}

// A page's requests come together, with one JWT that has expired. One of them
// asks, for all; those that come later, with the old cookies, ask no more.
func TestOneCallForParallelRequests(t *testing.T) {
	const both = "+stytch_session +stytch_session_jwt"
	for cookies, late := range map[string]string{"jwt": both, "both": both, "session": ""} {
		t.Run(cookies, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				sent, _ := a.expired(a.ada, cookies)
				a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Delay(300*time.Millisecond))
				for _, got := range a.each(100, sent) {
					assert.Equal(t, "authenticated ada | "+both, got)
				}
				assert.Equal(t, 1, a.stytch.Count(stytchtest.Authenticate))
				time.Sleep(4 * time.Minute)
				for _, got := range a.each(10, sent) {
					assert.Equal(t, "authenticated ada | "+late, got)
				}
				assert.Zero(t, a.stytch.Count(stytchtest.Authenticate))
			})
		})
	}
}

// Requests that arrive in the moment in which the answer does ask no more.
func TestOneCallForStragglers(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		for range load(50) {
			sent, _ := a.expired(a.ada, "both")
			a.stytch.ResetCalls()
			a.each(30, sent)
			require.Equal(t, 1, a.stytch.Count(stytchtest.Authenticate))
		}
	})
}

// The first to ask may leave; the others get the answer.
func TestFirstClientLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		var hold stytchtest.Hold
		sent, _ := a.expired(a.ada, "both")
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(&hold))
		var wg sync.WaitGroup
		wg.Go(func() { a.getUntil(hold.Arrived(), sent) })
		<-hold.Arrived()
		synctest.Wait()
		wg.Go(func() {
			time.Sleep(time.Second)
			hold.Release()
		})
		assert.Equal(t, []string{"authenticated ada | +stytch_session +stytch_session_jwt"}, a.each(1, sent))
		wg.Wait()
	})
}

// getUntil sends a request whose client leaves once done is closed.
func (a *app) getUntil(done <-chan struct{}, cookies string) {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
	r.Header.Set("Cookie", cookies)
	ctx, leave := context.WithCancel(r.Context())
	go func() { <-done; leave() }()
	a.m.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
}

// A session whose JWT is too long for a cookie is known by its token, until
// that JWT expires: it costs a call every five minutes, not every request.
func TestTokenStaysKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = func(string) (stytchmigrate.LegacySession, error) { return legacySession("ada", "ada-1"), nil }
		first := a.get("sid=ada-1")
		require.Equal(t, "migrated ada | +stytch_session -sid | no-store | migrate", first.String())
		cookies := first.jar("sid=ada-1")
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session | no-store | authenticate", a.get(cookies).String())
		for range 4 {
			time.Sleep(time.Minute)
			assert.Equal(t, fromJWT+"-", a.get(cookies).String())
		}
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session | no-store | authenticate", a.get(cookies).String())
	}, func(c *stytchmigrate.Config) {
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"long": strings.Repeat("x", 3500)}
		}
	})
}
