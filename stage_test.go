package stytchmigrate_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

const taken = "anonymous | -sid | no-store | -"

// Each row is a request in a stage in which nothing is exchanged, and what the
// handler is shown: S for the Stytch cookies of ada.
func TestStagesWithoutExchange(t *testing.T) {
	const retired, observe = stytchmigrate.StageRetired, stytchmigrate.StageObserve
	image, post := fetch("same-origin no-cors image"), method(http.MethodPost)
	for name, row := range map[string]struct {
		stage    stytchmigrate.Stage
		cookies  string
		change   func(*http.Request)
		want     string
		passedOn string
	}{
		"observe, a legacy session":     {observe, "sid=ada", post, leftAlone, "sid=ada"},
		"observe, no session":           {observe, "sid=nobody", post, anonymous, "sid=nobody"},
		"observe, a Stytch session":     {observe, "S", post, staysAlone, "S"},
		"observe, the same person":      {observe, "S; sid=ada", post, staysAlone, "S sid=ada"},
		"observe, another, later":       {observe, "S; sid=bob+1h", post, leftAlone, "S sid=bob+1h"},
		"observe, another, earlier":     {observe, "S; sid=bob-1h", post, staysAnd, "S"},
		"retired, a legacy session":     {retired, "theme=x; sid=ada", method("GET"), taken, "theme=x"},
		"retired, a form":               {retired, "sid=ada", post, taken, ""},
		"retired, an image":             {retired, "sid=ada", image, anonymous, ""},
		"retired, another site's frame": {retired, "sid=ada", fetch("cross-site navigate iframe"), anonymous, ""},
		"retired, no session":           {retired, "sid=nobody", post, taken, ""},
		"retired, no cookie":            {retired, "sid=; theme=x", post, anonymous, "sid= theme=x"},
		"retired, two cookies":          {retired, "sid=ada; older=bob", post, "anonymous | -sid -older | no-store | -", ""},
		"retired, a Stytch session":     {retired, "S", post, staysAlone, "S"},
		"retired, the same person":      {retired, "S; sid=ada", post, staysAnd, "S"},
		"retired, another, later":       {retired, "S; sid=bob+1h", post, staysAnd, "S"},
		"retired, another, who knows":   {retired, "S; sid=bob; older=ada", image, staysAlone, "S"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				stytch, _ := a.signedIn(a.ada)
				a.asks(t, stytch)
				a.resolve = legacyOf(time.Now(), nil)
				for range 2 {
					got := a.get(strings.Replace(row.cookies, "S", stytch, 1), row.change)
					assert.Equal(t, row.want, got.settled())
					assert.Equal(t, row.passedOn, a.short(stytch, a.passedOn[len(a.passedOn)-1]))
				}
				assert.Empty(t, a.events)
				assert.Len(t, a.stytch.Sessions(), 1)
			}, stage(row.stage), olderCookie)
		})
	}
}

// Where nothing is held back nobody asks whose a retired session was: what knew
// it may be gone. Who is held back is not retired.
func TestRetired(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		stytch, _ := a.signedIn(a.ada)
		a.asks(t, stytch)
		a.resolve = func(string) (stytchmigrate.LegacySession, error) { panic("it is no more") }
		assert.Equal(t, taken, a.get("sid=ada-1").String())
		assert.Equal(t, staysAnd, a.get(stytch+"; sid=ada-1").String())
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate", a.get(stytch+"; sid=ada-1").String())

		time.Sleep(6 * time.Minute)
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
		assert.Equal(t, unavailableKeep+"authenticate authenticate", a.get(stytch+"; sid=ada-1").String(), "an outage deletes nothing")
		a.stytch.Heal(stytchtest.Any)

		a.resolve = nil
		a.roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: 100})
		assert.Equal(t, leftAlone, a.get("sid=ada-1").String())
		a.roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: 1e-9})
		assert.Equal(t, taken, a.get("sid=ada-1").String())
		a.resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, errors.New("down")
		}
		assert.Equal(t, unavailableKeep+"-", a.get("sid=ada-1").String(), "who would be held back can't be told")
	}, stage(stytchmigrate.StageRetired))
}

// Nor is anybody asked about a cookie of that name that a handler sets, as sites do
// that give one to every visitor. It signs nobody in any more.
func TestRetiredBesideAVisitorsCookie(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		stytch, _ := a.signedIn(a.ada)
		a.asks(t, stytch)
		a.resolve = func(string) (stytchmigrate.LegacySession, error) { panic("it is no more") }
		a.handler = setCookie("sid=visitor; Path=/")
		assert.Equal(t, "anonymous | +sid | no-store | -", a.get("sid=ada-1").String())
		assert.Equal(t, "authenticated ada | +sid | no-store | -", a.get(stytch+"; sid=ada-1").String())
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +sid +stytch_session +stytch_session_jwt | no-store | authenticate", a.get(stytch+"; sid=ada-1").String())
	}, stage(stytchmigrate.StageRetired))
}

// Who is held back is not retired, beside a Stytch session either: another person's
// is not shown to them, and their cookie stays.
func TestRetiredButHeldBack(t *testing.T) {
	for _, row := range []struct {
		sid  string
		held float64
		want string
	}{
		{"ada", 100, staysAlone},
		{"bob+1h", 100, leftAlone},
		{"bob-1h", 100, staysAnd},
		{"bob", 100, neither},
		{"nobody", 100, staysAlone},
		{"ada", 1e-9, staysAnd},
		{"bob+1h", 1e-9, staysAnd},
		{"bob", 1e-9, staysAnd},
	} {
		t.Run(fmt.Sprint(row.sid, row.held), func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				cookies, _ := a.signedIn(a.ada)
				a.asks(t, cookies)
				a.resolve = legacyOf(time.Now(), nil)
				a.roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: row.held})
				assert.Equal(t, row.want, a.get(cookies+"; sid="+row.sid).settled())
			})
		})
	}
}

// No date leads to a deletion, and none keeps what was retired in code.
func TestRetiredUntil(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		past := time.Now().Add(-time.Hour)
		for s, want := range map[stytchmigrate.Stage]string{
			stytchmigrate.StageReplace: leftAlone, stytchmigrate.StageKeep: leftAlone, stytchmigrate.StageShadow: leftAlone,
			stytchmigrate.StageObserve: leftAlone, stytchmigrate.StageRetired: taken,
		} {
			a.roll(t, stytchmigrate.Rollout{Stage: s, Until: past})
			assert.Equal(t, want, a.get("sid=ada-1").settled(), s)
		}
	})
}

// The way of a migration: everybody moves, nobody is signed out, and in the end
// the legacy cookies are gone.
func TestStagesInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies := "sid=ada-1"
		for _, step := range []struct {
			stage stytchmigrate.Stage
			want  string
		}{
			{stytchmigrate.StageObserve, leftAlone},
			{stytchmigrate.StageKeep, movedKept},
			{stytchmigrate.StageObserve, staysAlone},
			{stytchmigrate.StageKeep, staysAlone},
			{stytchmigrate.StageReplace, staysAnd},
			{stytchmigrate.StageRetired, staysAlone},
		} {
			a.roll(t, stytchmigrate.Rollout{Stage: step.stage})
			got := a.get(cookies)
			assert.Equal(t, step.want, got.settled(), step.stage)
			cookies = got.jar(cookies)
		}
		assert.NotContains(t, cookies, "sid")
	})
}

// Each row is a date of the past as old servers write it and browsers read it
// (RFC 6265 section 5.1.1): the value stays, and the cookie goes.
func TestKeepExpiredByAnOldDate(t *testing.T) {
	for date, want := range map[string]string{
		"Thu, 01-Jan-70 00:00:10 GMT":      leftLater,
		"Thursday, 01-Jan-70 00:00:10 GMT": leftLater,
		"Thu Jan  1 00:00:10 1970":         leftLater,
		"Thu, 1 Jan 1970 00:00:10 GMT":     leftLater,
		"Thu, 01-Jan-60 00:00:10 GMT":      "authenticated ada | +sid | no-store | -", // 2060
		"0":                                "authenticated ada | +sid | no-store | -", // no date
	} {
		inBubble(t, func(t *testing.T, a *app) {
			cookies := a.get("sid=ada-1").jar("sid=ada-1")
			a.handler = setCookie("sid=ada-1; Path=/; Expires=" + date)
			want := strings.Replace(want, "-sid -stytch", "+sid -stytch", 1) // as net/http reads it
			assert.Equal(t, want, a.get(cookies).settled(), date)
		}, stage(stytchmigrate.StageKeep))
	}
}

// The exchange takes longer than the request that began it waits, and that logs
// out by itself: neither who waits for the same exchange nor a copy is signed in.
func TestOldLogoutBeforeTheAnswer(t *testing.T) {
	for _, s := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
		inBubble(t, func(t *testing.T, a *app) {
			a.stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(10*time.Second))
			a.handler = oldLogout
			assert.Equal(t, "unavailable | -sid -stytch_session -stytch_session_jwt -sid | no-store | migrate migrate", a.get("sid=ada-1").String())
			a.handler = nil
			assert.Equal(t, refusedKeep+"-", a.get("sid=ada-1").String())
			time.Sleep(10 * time.Second)
			assert.Equal(t, refusedKeep+"-", a.get("sid=ada-1").String())
			for _, made := range a.stytch.Sessions() {
				assert.False(t, made.Live)
			}
		}, stage(s))
	}
}

// Nor is the one who waits already, on the same machine or another.
func TestOldLogoutWhileAnotherWaits(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(6*time.Second))
		waiting := make(chan []*visitor)
		go func() {
			time.Sleep(4900 * time.Millisecond)
			waiting <- across(m, 6)
		}()
		a.handler = oldLogout
		assert.Equal(t, "unavailable", a.on(m[0]).get("sid=ada-1").saw)
		for _, got := range <-waiting {
			assert.Empty(t, got.Result().Cookies())
		}
	}, stage(stytchmigrate.StageKeep))
}

// Nor where that machine has begun as many exchanges as it may, and another has not.
func TestOldLogoutForWantOfRoom(t *testing.T) {
	inCluster(t, func(t *testing.T, a *app, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.on(m[0]).roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, PerSecond: 0.01})
		a.get("sid=bob-1")
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(2*time.Second))
		waiting := make(chan []*visitor)
		go func() { waiting <- across(m[1:], 4) }()
		time.Sleep(time.Second)
		a.handler = oldLogout
		assert.Equal(t, "legacy", a.get("sid=ada-1").saw)
		for _, got := range <-waiting {
			assert.Equal(t, stytchmigrate.OutcomeRefused, got.outcome)
			assert.Empty(t, got.Result().Cookies())
		}
	}, stage(stytchmigrate.StageKeep))
}

// The old code gives its cookie another name, and saves the session under it: nobody
// has left. Who logs out under every name has, whatever was saved before.
func TestOldCookieGetsAnotherName(t *testing.T) {
	const gone = "sid=; Path=/; Max-Age=0"
	renamed, left := setCookie(gone, "older=ada-1; Path=/"), setCookie("older=ada-1; Path=/", gone, "older=; Path=/; Max-Age=0")
	down := func(a *app) { a.stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down")) }
	for name, row := range map[string]struct {
		script  func(a *app)
		stage   stytchmigrate.Stage
		handler http.HandlerFunc
		want    string
	}{
		"as it moves":            {nil, stytchmigrate.StageKeep, renamed, "migrated ada | -sid +older +stytch_session +stytch_session_jwt | no-store | migrate"},
		"as it moves, in POST":   {nil, stytchmigrate.StageReplace, renamed, "migrated ada | -sid +older +stytch_session +stytch_session_jwt -sid | no-store | migrate"},
		"in an outage":           {down, stytchmigrate.StageReplace, renamed, "unavailable | -sid +older | no-store | migrate migrate"},
		"a logout in an outage":  {down, stytchmigrate.StageReplace, left, "unavailable | +older -sid -older -stytch_session -stytch_session_jwt -sid | no-store | migrate migrate"},
		"a logout, as it moves":  {nil, stytchmigrate.StageKeep, left, "migrated ada | +older -sid -older -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"},
		"a visitor's, under one": {nil, stytchmigrate.StageKeep, setCookie(gone, "older=visitor; Path=/"), "migrated ada | -sid +older -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				if row.script != nil {
					row.script(a)
				}
				a.handler = row.handler
				assert.Equal(t, row.want, a.get("sid=ada-1", method(http.MethodPost)).settled())
			}, stage(row.stage), olderCookie)
		})
	}
}
