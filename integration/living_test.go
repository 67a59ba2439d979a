package integration

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// A cart that a visitor has filled is there after the sign-in, which gives the
// session another id, after the move, and for who writes to it then.
func aCart(t *testing.T, _ stall, a, _ *app) {
	b := a.newBrowser(t)
	assert.Equal(t, "anonymous  [pen]", b.post("/add?item=pen"))
	assert.Equal(t, "anonymous 17 [pen]", b.post("/login?user=17"))
	assert.Equal(t, "migrated ada@example.com [pen]", b.sees("/"))
	assert.Equal(t, "authenticated ada@example.com [pen ink]", b.sees("/add?item=ink"))
	assert.Equal(t, "authenticated ada@example.com [pen ink cap]", b.post("/add?item=cap"))
	assert.Equal(t, "authenticated ada@example.com [pen ink cap]", b.sees("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	assert.Empty(t, a.log.String())
}

// What one page leaves for the next is shown once, also by the page that moves.
func aMessage(t *testing.T, _ stall, a, without *app) {
	b := a.newBrowser(t)
	b.sees("/login?user=17")
	b.at(without).sees("/say")
	assert.Equal(t, "migrated ada@example.com [] Hello!", b.sees("/"))
	assert.Equal(t, "authenticated ada@example.com []", b.sees("/"))
	b.post("/say")
	assert.Equal(t, "authenticated ada@example.com [] Hello!", b.sees("/"))
	assert.Equal(t, "authenticated ada@example.com []", b.sees("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
}

// The old code gives the session of who has moved another id, as before a payment.
// A logout then is one of whoever has the first id too.
func anotherID(t *testing.T, _ stall, a, _ *app) {
	b := a.newBrowser(t)
	b.sees("/login?user=17")
	thief := b.copy()
	b.post("/add?item=pen")
	before := b.cookies()
	assert.Equal(t, "authenticated ada@example.com [pen]", b.post("/renew"))
	assert.NotEqual(t, before, b.cookies())
	assert.Equal(t, "authenticated ada@example.com [pen]", b.sees("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	leave(t, a, b, thief)
}

// leave is the logout of the old code by a browser, and what it is worth to that and
// to a copy: nothing, where the old code's middleware goes around ours, and expires
// the cookie when ours has heard everything already.
func leave(t *testing.T, a *app, b, thief *browser) {
	t.Helper()
	b.sees("/logout")
	if a.outside {
		assert.Equal(t, "authenticated ada@example.com []", b.sees("/"))
		return
	}
	assert.Equal(t, "anonymous  []  |", b.get("/"))
	assert.NotContains(t, thief.sees("/"), "ada@example.com")
	assert.Eventually(t, func() bool { return !a.stytch.Sessions()[0].Live }, 5*time.Second, 10*time.Millisecond)
}

// Each request saves the session, and so writes its cookie.
func eachTime(t *testing.T, _ stall, a, _ *app) {
	b := a.newBrowser(t)
	b.sees("/login?user=17")
	thief := b.copy()
	assert.Equal(t, "migrated ada@example.com [pen]", b.sees("/add?item=pen"))
	for range 10 {
		assert.Contains(t, b.sees("/add?item=ink"), "authenticated ada@example.com [pen ink")
		assert.Contains(t, b.post("/add?item=cap"), "authenticated ada@example.com [pen ink cap")
	}
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	leave(t, a, b, thief)
}

// A browser is closed and opened again. Where the old session's cookie was not to stay,
// Resolve tells so, and the Stytch session is gone too, also after a refresh.
func aClosedBrowser(t *testing.T, s stall, a, without *app) {
	for _, remember := range []string{"", "&remember=1"} {
		for _, refreshed := range []bool{false, true} {
			b, jar := a.newBrowser(t), new(disk)
			jar.restart(t)
			b.client.Jar = jar
			b.sees("/login?user=17" + remember)
			b.sees("/add?item=pen")
			if refreshed { // without its JWT the browser gets both cookies again
				jar.forget("stytch_session_jwt")
				assert.Equal(t, "authenticated ada@example.com [pen]", b.sees("/"))
			}
			jar.restart(t)
			old, moved := "anonymous 17 [pen]", "authenticated ada@example.com [pen]"
			if remember == "" && !s.persists {
				old, moved = "anonymous  []", "anonymous  []"
			}
			assert.Equal(t, old, b.at(without).sees("/"))
			assert.Equal(t, moved, b.sees("/"))
		}
	}
	assert.Equal(t, 4, a.stytch.Count(stytchtest.Migrate))
}

// The same, where Resolve does not tell. The Stytch session stays, because a request
// does not say how long the browser keeps a cookie.
func aClosedBrowserUntold(t *testing.T, s stall, _, _ *app) {
	tells := s.cookie.Resolve
	s.cookie.Resolve = func(r *http.Request, value string) (stytchmigrate.LegacySession, error) {
		out, err := tells(r, value)
		out.UntilBrowserCloses = false
		return out, err
	}
	a, without := s.open(t)
	b, jar := a.newBrowser(t), new(disk)
	jar.restart(t)
	b.client.Jar = jar
	b.sees("/login?user=17")
	b.sees("/")
	jar.restart(t)
	old := "anonymous  []"
	if s.persists {
		old = "anonymous 17 []"
	}
	assert.Equal(t, old, b.at(without).sees("/"))
	assert.Equal(t, "authenticated ada@example.com []", b.sees("/"))
}

// Whoever has moved stays signed in through all stages, and whoever has not is served
// as before. In Replace what the old session held goes with its cookie.
func thereAndBack(t *testing.T, _ stall, a, without *app) {
	ada, bob := a.newBrowser(t), a.newBrowser(t)
	ada.sees("/login?user=17")
	bob.sees("/login?user=18")
	ada.post("/add?item=pen")
	replaced := "authenticated ada@example.com []"
	if a.outside { // which finds the cookie in the request that ours is yet to see
		replaced = "authenticated ada@example.com [pen ink]"
	}
	for _, step := range []struct {
		stage stytchmigrate.Stage
		who   *browser
		path  string
		want  string
	}{
		{stytchmigrate.StageObserve, ada, "/", "authenticated ada@example.com [pen]"},
		{stytchmigrate.StageObserve, bob, "/", "legacy 18 []"},
		{stytchmigrate.StageKeep, ada, "/add?item=ink", "authenticated ada@example.com [pen ink]"},
		{stytchmigrate.StageReplace, ada, "/", replaced},
		{stytchmigrate.StageReplace, ada, "/say", "authenticated ada@example.com []"}, // in a visitor's session
		{stytchmigrate.StageReplace, ada, "/", "authenticated ada@example.com [] Hello!"},
		{stytchmigrate.StageKeep, ada, "/add?item=cap", "authenticated ada@example.com [cap]"},
		{stytchmigrate.StageKeep, bob, "/", "migrated bob@example.com []"},
		{stytchmigrate.StageObserve, ada, "/", "authenticated ada@example.com [cap]"},
		{stytchmigrate.StageObserve, bob, "/", "authenticated bob@example.com []"},
		{stytchmigrate.StageObserve, ada.at(without), "/", "anonymous  [cap]"},
		{stytchmigrate.StageObserve, bob.at(without), "/", "anonymous 18 []"},
	} {
		require.NoError(t, a.auth.SetRollout(stytchmigrate.Rollout{Stage: step.stage}))
		assert.Equal(t, step.want, step.who.sees(step.path), "%v %s", step.stage, step.path)
	}
	assert.Equal(t, 2, a.stytch.Count(stytchtest.Migrate))
}

// Every other request goes to a machine without the middleware, which serves the
// same person and the same cart. Its logout is of the old session alone: nobody is
// there who could hear it.
func anotherMachine(t *testing.T, _ stall, a, without *app) {
	b := a.newBrowser(t)
	other := b.at(without)
	other.sees("/login?user=17")
	assert.Equal(t, "migrated ada@example.com []", b.sees("/"))
	for range 2 {
		other.post("/add?item=pen")
		b.post("/add?item=ink")
	}
	assert.Equal(t, "authenticated ada@example.com [pen ink pen ink]", b.sees("/"))
	assert.Equal(t, "anonymous 17 [pen ink pen ink]", other.sees("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	other.sees("/logout")
	assert.Equal(t, "anonymous  []", other.sees("/"))
	assert.Equal(t, "authenticated ada@example.com []", b.sees("/"))
}

// TestLivingOn: each row is what old code does with its sessions in stage Keep,
// beside the Stytch ones. Nobody is signed out by it, or moved twice.
func TestLivingOn(t *testing.T) {
	libraries := slices.Sorted(maps.Keys(stalls))
	table := fmt.Sprintf("\n%-16s %s", "", strings.Join(libraries, " | "))
	for _, row := range []struct {
		name string
		road func(t *testing.T, s stall, a, without *app)
	}{
		{"a cart", aCart},
		{"a message", aMessage},
		{"another id", anotherID},
		{"each time", eachTime},
		{"a closed browser", aClosedBrowser},
		{"closed, untold", aClosedBrowserUntold},
		{"there and back", thereAndBack},
		{"another machine", anotherMachine},
	} {
		table += fmt.Sprintf("\n%-16s", row.name)
		for _, name := range libraries {
			good := t.Run(row.name+"/"+name, func(t *testing.T) {
				s := stalls[name](t)
				a, without := s.open(t)
				row.road(t, s, a, without)
			})
			table += fmt.Sprintf(" %-*t", len(name)+2, good)
		}
	}
	t.Log(table)
}

// disk is a jar of which a part is left when the browser is closed.
type disk struct {
	http.CookieJar
	kept []*http.Cookie
	of   *url.URL
}

func (d *disk) SetCookies(u *url.URL, cookies []*http.Cookie) {
	d.CookieJar.SetCookies(u, cookies)
	d.of = u
	for _, c := range cookies {
		d.kept = slices.DeleteFunc(d.kept, func(k *http.Cookie) bool { return k.Name == c.Name })
		if c.MaxAge > 0 {
			d.kept = append(d.kept, c)
		}
	}
}

// forget is the loss of a cookie while the browser is open.
func (d *disk) forget(name string) {
	d.CookieJar.SetCookies(d.of, []*http.Cookie{{Name: name, MaxAge: -1}})
	d.kept = slices.DeleteFunc(d.kept, func(k *http.Cookie) bool { return k.Name == name })
}

func (d *disk) restart(t *testing.T) {
	t.Helper()
	var err error
	d.CookieJar, err = cookiejar.New(nil)
	require.NoError(t, err)
	d.CookieJar.SetCookies(d.of, d.kept)
}
