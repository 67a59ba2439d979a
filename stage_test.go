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
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

const taken = "anonymous | -sid | no-store | -"

// Each row is a request in a stage in which nothing is exchanged, and what the
// handler is shown: S for the Stytch cookies of ada.
func TestStagesWithoutExchange(t *testing.T) {
	const retired, observe = stytchmigrate.StageRetired, stytchmigrate.StageObserve
	image, post := apptest.FetchMetadata("same-origin no-cors image"), apptest.Method(http.MethodPost)
	for name, row := range map[string]struct {
		stage    stytchmigrate.Stage
		cookies  string
		change   func(*http.Request)
		want     string
		passedOn string
	}{
		"observe, a legacy session":     {observe, "sid=ada", post, apptest.LeftAlone, "sid=ada"},
		"observe, no session":           {observe, "sid=nobody", post, apptest.Anonymous, "sid=nobody"},
		"observe, a Stytch session":     {observe, "S", post, apptest.StaysAlone, "S"},
		"observe, the same person":      {observe, "S; sid=ada", post, apptest.StaysAlone, "S sid=ada"},
		"observe, another, later":       {observe, "S; sid=bob+1h", post, apptest.LeftAlone, "S sid=bob+1h"},
		"observe, another, earlier":     {observe, "S; sid=bob-1h", post, staysAnd, "S"},
		"retired, a legacy session":     {retired, "theme=x; sid=ada", apptest.Method("GET"), taken, "theme=x"},
		"retired, a form":               {retired, "sid=ada", post, taken, ""},
		"retired, an image":             {retired, "sid=ada", image, apptest.Anonymous, ""},
		"retired, another site's frame": {retired, "sid=ada", apptest.FetchMetadata("cross-site navigate iframe"), apptest.Anonymous, ""},
		"retired, no session":           {retired, "sid=nobody", post, taken, ""},
		"retired, no cookie":            {retired, "sid=; theme=x", post, apptest.Anonymous, "sid= theme=x"},
		"retired, two cookies":          {retired, "sid=ada; older=bob", post, "anonymous | -sid -older | no-store | -", ""},
		"retired, a Stytch session":     {retired, "S", post, apptest.StaysAlone, "S"},
		"retired, the same person":      {retired, "S; sid=ada", post, staysAnd, "S"},
		"retired, another, later":       {retired, "S; sid=bob+1h", post, staysAnd, "S"},
		"retired, another, who knows":   {retired, "S; sid=bob; older=ada", image, apptest.StaysAlone, "S"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch, _ := a.SignedIn(a.Ada)
				a.Asks(t, stytch)
				a.Resolve = apptest.Accounts(time.Now(), nil)
				for range 2 {
					got := a.Get(strings.Replace(row.cookies, "S", stytch, 1), row.change)
					assert.Equal(t, row.want, got.Settled())
					assert.Equal(t, row.passedOn, a.Short(stytch, a.PassedOn[len(a.PassedOn)-1]))
				}
				assert.Empty(t, a.Events)
				assert.Len(t, a.Stytch.Sessions(), 1)
			}, apptest.Stage(row.stage), olderCookie)
		})
	}
}

// Where nothing is held back nobody asks whose a retired session was: what knew
// it may be gone. Who is held back is not retired.
func TestRetired(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		stytch, _ := a.SignedIn(a.Ada)
		a.Asks(t, stytch)
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { panic("it is no more") }
		assert.Equal(t, taken, a.Get("sid=ada-1").String())
		assert.Equal(t, staysAnd, a.Get(stytch+"; sid=ada-1").String())
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate", a.Get(stytch+"; sid=ada-1").String())

		time.Sleep(6 * time.Minute)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
		assert.Equal(t, apptest.UnavailableUntouched+"authenticate authenticate", a.Get(stytch+"; sid=ada-1").String(), "an outage deletes nothing")
		a.Stytch.Heal(stytchtest.Any)

		a.Resolve = nil
		a.Roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: 100})
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").String())
		a.Roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: 1e-9})
		assert.Equal(t, taken, a.Get("sid=ada-1").String())
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, errors.New("down")
		}
		assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String(), "who would be held back can't be told")
	}, apptest.Stage(stytchmigrate.StageRetired))
}

// Nor is anybody asked about a cookie of that name that a handler sets, as sites do
// that give one to every visitor. It signs nobody in any more.
func TestRetiredBesideAVisitorsCookie(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		stytch, _ := a.SignedIn(a.Ada)
		a.Asks(t, stytch)
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { panic("it is no more") }
		a.Handler = apptest.SetCookie("sid=visitor; Path=/")
		assert.Equal(t, "anonymous | +sid | no-store | -", a.Get("sid=ada-1").String())
		assert.Equal(t, "authenticated ada | +sid | no-store | -", a.Get(stytch+"; sid=ada-1").String())
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +sid +stytch_session +stytch_session_jwt | no-store | authenticate", a.Get(stytch+"; sid=ada-1").String())
	}, apptest.Stage(stytchmigrate.StageRetired))
}

// Who is held back is not retired, beside a Stytch session either: another person's
// is not shown to them, and their cookie stays.
func TestRetiredButHeldBack(t *testing.T) {
	for _, row := range []struct {
		sid  string
		held float64
		want string
	}{
		{"ada", 100, apptest.StaysAlone},
		{"bob+1h", 100, apptest.LeftAlone},
		{"bob-1h", 100, staysAnd},
		{"bob", 100, neither},
		{"nobody", 100, apptest.StaysAlone},
		{"ada", 1e-9, staysAnd},
		{"bob+1h", 1e-9, staysAnd},
		{"bob", 1e-9, staysAnd},
	} {
		t.Run(fmt.Sprint(row.sid, row.held), func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.SignedIn(a.Ada)
				a.Asks(t, cookies)
				a.Resolve = apptest.Accounts(time.Now(), nil)
				a.Roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: row.held})
				assert.Equal(t, row.want, a.Get(cookies+"; sid="+row.sid).Settled())
			})
		})
	}
}

// No date leads to a deletion, and none keeps what was retired in code.
func TestRetiredUntil(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		past := time.Now().Add(-time.Hour)
		for s, want := range map[stytchmigrate.Stage]string{
			stytchmigrate.StageReplace: apptest.LeftAlone, stytchmigrate.StageKeep: apptest.LeftAlone, stytchmigrate.StageShadow: apptest.LeftAlone,
			stytchmigrate.StageObserve: apptest.LeftAlone, stytchmigrate.StageRetired: taken,
		} {
			a.Roll(t, stytchmigrate.Rollout{Stage: s, Until: past})
			assert.Equal(t, want, a.Get("sid=ada-1").Settled(), s)
		}
	})
}

// The way of a migration: everybody moves, nobody is signed out, and in the end
// the legacy cookies are gone.
func TestStagesInOrder(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := "sid=ada-1"
		for _, step := range []struct {
			stage stytchmigrate.Stage
			want  string
		}{
			{stytchmigrate.StageObserve, apptest.LeftAlone},
			{stytchmigrate.StageKeep, movedKept},
			{stytchmigrate.StageObserve, apptest.StaysAlone},
			{stytchmigrate.StageKeep, apptest.StaysAlone},
			{stytchmigrate.StageReplace, staysAnd},
			{stytchmigrate.StageRetired, apptest.StaysAlone},
		} {
			a.Roll(t, stytchmigrate.Rollout{Stage: step.stage})
			got := a.Get(cookies)
			assert.Equal(t, step.want, got.Settled(), step.stage)
			cookies = got.Jar(cookies)
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
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			cookies := a.Get("sid=ada-1").Jar("sid=ada-1")
			a.Handler = apptest.SetCookie("sid=ada-1; Path=/; Expires=" + date)
			want := strings.Replace(want, "-sid -stytch", "+sid -stytch", 1) // as net/http reads it
			assert.Equal(t, want, a.Get(cookies).Settled(), date)
		}, apptest.Stage(stytchmigrate.StageKeep))
	}
}

// The exchange takes longer than the request that began it waits, and that logs
// out by itself: neither who waits for the same exchange nor a copy is signed in.
func TestOldLogoutBeforeTheAnswer(t *testing.T) {
	for _, s := range []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageReplace} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(10*time.Second))
			a.Handler = apptest.LegacyLogout
			assert.Equal(t, "unavailable | -sid -stytch_session -stytch_session_jwt -sid | no-store | migrate migrate", a.Get("sid=ada-1").String())
			a.Handler = nil
			assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
			time.Sleep(10 * time.Second)
			assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
			for _, made := range a.Stytch.Sessions() {
				assert.False(t, made.Live)
			}
		}, apptest.Stage(s))
	}
}

// Nor is the one who waits already, on the same machine or another.
func TestOldLogoutWhileAnotherWaits(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(6*time.Second))
		waiting := make(chan []*apptest.Visitor)
		go func() {
			time.Sleep(4900 * time.Millisecond)
			waiting <- apptest.Across(m, 6)
		}()
		a.Handler = apptest.LegacyLogout
		assert.Equal(t, "unavailable", a.On(m[0]).Get("sid=ada-1").Saw)
		for _, got := range <-waiting {
			assert.Empty(t, got.Result().Cookies())
		}
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// Nor where that machine has begun as many exchanges as it may, and another has not.
func TestOldLogoutForWantOfRoom(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		a.On(m[0]).Roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, PerSecond: 0.01})
		a.Get("sid=bob-1")
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(2*time.Second))
		waiting := make(chan []*apptest.Visitor)
		go func() { waiting <- apptest.Across(m[1:], 4) }()
		time.Sleep(time.Second)
		a.Handler = apptest.LegacyLogout
		assert.Equal(t, "legacy", a.Get("sid=ada-1").Saw)
		for _, got := range <-waiting {
			assert.Equal(t, stytchmigrate.OutcomeRefused, got.Outcome)
			assert.Empty(t, got.Result().Cookies())
		}
	}, apptest.Stage(stytchmigrate.StageKeep))
}

// The old code gives its cookie another name, and saves the session under it: nobody
// has left. Who logs out under every name has, whatever was saved before.
func TestOldCookieGetsAnotherName(t *testing.T) {
	const gone = "sid=; Path=/; Max-Age=0"
	renamed, left := apptest.SetCookie(gone, "older=ada-1; Path=/"), apptest.SetCookie("older=ada-1; Path=/", gone, "older=; Path=/; Max-Age=0")
	down := func(a *apptest.App) { a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down")) }
	for name, row := range map[string]struct {
		script  func(a *apptest.App)
		stage   stytchmigrate.Stage
		handler http.HandlerFunc
		want    string
	}{
		"as it moves":            {nil, stytchmigrate.StageKeep, renamed, "migrated ada | -sid +older +stytch_session +stytch_session_jwt | no-store | migrate"},
		"as it moves, in POST":   {nil, stytchmigrate.StageReplace, renamed, "migrated ada | -sid +older +stytch_session +stytch_session_jwt -sid | no-store | migrate"},
		"in an outage":           {down, stytchmigrate.StageReplace, renamed, "unavailable | -sid +older | no-store | migrate migrate"},
		"a logout in an outage":  {down, stytchmigrate.StageReplace, left, "unavailable | +older -sid -older -stytch_session -stytch_session_jwt -sid | no-store | migrate migrate"},
		"a logout, as it moves":  {nil, stytchmigrate.StageKeep, left, "migrated ada | +older -sid -older -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"},
		"a visitor's, under one": {nil, stytchmigrate.StageKeep, apptest.SetCookie(gone, "older=visitor; Path=/"), "migrated ada | -sid +older -stytch_session -stytch_session_jwt -sid | no-store | migrate revoke"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				if row.script != nil {
					row.script(a)
				}
				a.Handler = row.handler
				assert.Equal(t, row.want, a.Get("sid=ada-1", apptest.Method(http.MethodPost)).Settled())
			}, apptest.Stage(row.stage), olderCookie)
		})
	}
}
