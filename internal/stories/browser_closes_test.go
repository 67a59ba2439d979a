package stories_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// livesOf says of each Stytch cookie that a response sets how long the browser keeps it:
// Max-Age, and Expires if the cookie has one.
func livesOf(r *apptest.Reply) (out []string) {
	for _, c := range r.Result().Cookies() {
		if c.MaxAge >= 0 {
			out = append(out, fmt.Sprint(c.Name, " ", c.MaxAge, c.RawExpires))
		}
	}
	return out
}

// until is the lives of both Stytch cookies; 0 is until the browser is closed.
func until(life time.Duration) []string {
	return []string{fmt.Sprint("stytch_session ", int(life.Seconds())), fmt.Sprint("stytch_session_jwt ", int(life.Seconds()))}
}

// forgetful is an App.Resolve of sessions whose cookie goes when the browser is closed,
// but for those of bob, who wants to be remembered.
func forgetful(value string) (stytchmigrate.LegacySession, error) {
	s := apptest.LegacySession(value[:3], value)
	s.UntilBrowserCloses = value[:3] == "ada"
	return s, nil
}

const days = 24 * time.Hour

// A session for as long as the browser is open stays one: when it moves, when it is
// handed out again, when it is refreshed or extended, and on machines that know only
// what the browser brings.
func TestUntilBrowserCloses(t *testing.T) {
	for name, row := range map[string]struct {
		user string
		want func(left time.Duration) []string
	}{
		"until the browser closes": {"ada", func(time.Duration) []string { return until(0) }},
		"remembered":               {"bob", until},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				a.Resolve = forgetful
				sid := "sid=" + row.user + "-1"
				moved := a.On(m[0]).Get(sid)
				assert.Equal(t, row.want(30*days), livesOf(moved), "it moves")
				assert.Equal(t, row.want(30*days), livesOf(a.On(m[1]).Get(sid)), "a tab that is late, on another machine")
				cookies, s := moved.Jar(""), a.Stytch.Sessions()[0]

				refreshed := func(m *stytchmigrate.Middleware, cookies string, left time.Duration, why string) {
					t.Helper()
					got := a.On(m).Get(cookies)
					assert.Equal(t, "authenticated "+row.user, got.Saw, why)
					assert.Equal(t, row.want(left), livesOf(got), why)
				}
				time.Sleep(6 * time.Minute)
				left := 30*days - 6*time.Minute
				refreshed(m[0], cookies, left, "refreshed")
				refreshed(m[2], cookies, left, "refreshed on another machine")
				for _, alone := range []string{"stytch_session=" + s.Token, "stytch_session_jwt=" + s.JWT} {
					refreshed(a.Machines(t, 1)[0], alone, left, "on a machine that knows nothing, by "+alone)
				}
				time.Sleep(20 * days)
				refreshed(m[0], cookies, 30*days, "extended")
				refreshed(a.Machines(t, 1)[0], cookies, 30*days, "extended, on a machine that knows nothing")
			})
		})
	}
}

// Each row is an answer of Stytch's that lacks one of the two places where the claim is.
// The other one is enough, also for the machine that reads the record.
func TestUntilBrowserClosesByOnePlace(t *testing.T) {
	for name, fault := range map[string]stytchtest.Fault{
		"the JWT":    change("session.custom_claims", remove),
		"the answer": change("session_jwt", "unreadable"),
		"no session": change("session", remove),
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
				a.Resolve = forgetful
				a.Stytch.FailAll(stytchtest.Migrate, fault)
				moved := a.On(m[0]).Get("sid=ada-1")
				assert.Equal(t, until(0), livesOf(moved))
				assert.Equal(t, until(0), livesOf(a.On(m[1]).Get("sid=ada-1")))
				if name != "no session" { // Stytch's schema wants one of an authenticate call
					a.Stytch.FailAll(stytchtest.Authenticate, fault)
				}
				assert.Equal(t, until(0), livesOf(a.On(m[2]).Get("stytch_session="+a.Stytch.Sessions()[0].Token)))
			})
		})
	}
}

// The same person signs in again by the old login, and is remembered this time. The
// Stytch session keeps what it was made with.
func TestUntilBrowserClosesBesideAnotherSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = forgetful
		cookies := a.Get("sid=ada-1").Jar("")
		a.Resolve = apptest.ResolveAsAda
		assert.Equal(t, apptest.Authenticated, a.Get(cookies+"; sid=ada-2").String())
		time.Sleep(6 * time.Minute)
		assert.Equal(t, until(0), livesOf(a.Get(cookies+"; sid=ada-2")))
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// End gets the session as Resolve gave it, also after the old cookie has gone.
func TestUntilBrowserClosesAtItsEnd(t *testing.T) {
	var ended []bool
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = forgetful
		a.LogOut(a.Get("sid=ada-1").Jar(""))
		a.LogOut(a.Get("sid=bob-1").Jar(""))
		assert.Equal(t, []bool{true, false}, ended)
	}, apptest.LegacyCookie(func(c *stytchmigrate.LegacyCookie) {
		c.End = func(_ context.Context, s stytchmigrate.LegacySession) error {
			ended = append(ended, s.UntilBrowserCloses)
			return nil
		}
	}))
}
