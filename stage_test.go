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
	"example.com/stytchmigrate/stytchtest"
)

// A whole migration: each user moves, none is signed out, and in the end the legacy
// cookies are gone.
func TestStagesInOrderSignNoUserOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := "sid=ada-1"
		for _, step := range []struct {
			stage stytchmigrate.Stage
			want  string
		}{
			{stytchmigrate.StageObserve, apptest.Legacy},
			{stytchmigrate.StageKeep, apptest.Moved},
			{stytchmigrate.StageObserve, apptest.Authenticated},
			{stytchmigrate.StageKeep, apptest.Authenticated},
			{stytchmigrate.StageReplace, apptest.Replaced},
			{stytchmigrate.StageRetired, apptest.Authenticated},
		} {
			a.SetRollout(t, stytchmigrate.Rollout{Stage: step.stage})
			got := a.Get(cookies)
			assert.Equal(t, step.want, got.Settled(), step.stage)
			cookies = got.Jar(cookies)
		}
		assert.NotContains(t, cookies, "sid")
	})
}

// Each row is a request in a stage that exchanges nothing, and the cookies that the
// handler sees: S for ada's Stytch cookies.
func TestObserveAndRetiredExchangeNothing(t *testing.T) {
	const retired, observe = stytchmigrate.StageRetired, stytchmigrate.StageObserve
	image, post := apptest.FetchMetadata("same-origin no-cors image"), apptest.Method(http.MethodPost)
	for name, row := range map[string]struct {
		stage    stytchmigrate.Stage
		cookies  string
		change   func(*http.Request)
		want     string
		passedOn string
	}{
		"observe, a legacy session":      {observe, "sid=ada", post, apptest.Legacy, "sid=ada"},
		"observe, no session":            {observe, "sid=nobody", post, apptest.Anonymous, "sid=nobody"},
		"observe, a Stytch session":      {observe, "S", post, apptest.Authenticated, "S"},
		"observe, the same person":       {observe, "S; sid=ada", post, apptest.Authenticated, "S sid=ada"},
		"observe, another, later":        {observe, "S; sid=bob+1h", post, apptest.Legacy, "S sid=bob+1h"},
		"observe, another, earlier":      {observe, "S; sid=bob-1h", post, apptest.Replaced, "S"},
		"retired, a legacy session":      {retired, "theme=x; sid=ada", apptest.Method("GET"), taken, "theme=x"},
		"retired, a form":                {retired, "sid=ada", post, taken, ""},
		"retired, an image":              {retired, "sid=ada", image, apptest.Anonymous, ""},
		"retired, another site's frame":  {retired, "sid=ada", apptest.FetchMetadata("cross-site navigate iframe"), apptest.Anonymous, ""},
		"retired, no session":            {retired, "sid=nobody", post, apptest.Anonymous, "sid=nobody"},
		"retired, no cookie":             {retired, "sid=; theme=x", post, apptest.Anonymous, "sid= theme=x"},
		"retired, two cookies":           {retired, "sid=ada; older=bob", post, "anonymous | -sid -older | no-store | -", ""},
		"retired, a Stytch session":      {retired, "S", post, apptest.Authenticated, "S"},
		"retired, the same person":       {retired, "S; sid=ada", post, apptest.Replaced, "S"},
		"retired, another, later":        {retired, "S; sid=bob+1h", post, apptest.Replaced, "S"},
		"retired, another, unknown when": {retired, "S; sid=bob; older=ada", image, apptest.Authenticated, "S"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				stytch, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, stytch)
				a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
				for range 2 {
					got := a.Get(strings.Replace(row.cookies, "S", stytch, 1), row.change)
					assert.Equal(t, row.want, got.Settled())
					assert.Equal(t, row.passedOn, a.ShortenCookies(stytch, a.CookiesSeen[len(a.CookiesSeen)-1]))
				}
				assert.Empty(t, a.Events)
				assert.Len(t, a.Stytch.Sessions(), 1)
			}, apptest.Stage(row.stage), olderCookie)
		})
	}
}

const triedOut = "legacy" + apptest.CookiesUntouched + "migrate revoke"

// Each legacy session is exchanged once, and the session revoked at once. No request
// shows it, and the legacy session can move later.
func TestShadowTriesEachSessionOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-1").Settled())
		assert.Equal(t, triedOut, a.Get("sid=ada-2").Settled())
		for _, s := range a.Stytch.Sessions() {
			assert.False(t, s.Live)
		}
		assert.Equal(t, []string{"shadow migrated", "shadow migrated"}, heardOf(a))
		a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep})
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// A shadow exchange counts as an exchange. It asks for the shortest duration, in case
// its session can't be revoked.
func TestShadowCountsInPerSecond(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-2").Settled())
		s := a.Stytch.Sessions()[0]
		assert.Equal(t, 5*time.Minute, s.ExpiresAt.Sub(s.StartedAt))
		time.Sleep(time.Second)
		assert.Equal(t, triedOut, a.Get("sid=ada-2").Settled())
	}, apptest.Stage(stytchmigrate.StageShadow), apptest.PerSecond(1))
}

// If the Stytch user is another person, one event says so.
func TestShadowReportsAnotherPerson(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.UpdateUser(a.Ada.ID, func(u *stytchtest.User) { u.ExternalID = "eve" })
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-1").Settled())
		assert.Equal(t, []string{"shadow refused another_person", "mismatch legacy another_person"}, heardOf(a))
		if assert.Len(t, a.Events, 2) {
			e := a.Events[1]
			assert.Equal(t, []string{"mismatch", "legacy", a.Ada.ID, "ada"}, []string{e.Kind, e.Outcome.String(), e.UserID, e.Subject})
		}
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// No request waits, four exchanges are in flight at most, and no user is created.
func TestShadowDelaysNoRequestAndCreatesNoUser(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveAsAda
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(time.Second))
		for i := range 50 {
			began := time.Now()
			assert.Equal(t, "legacy", a.ParallelGet(fmt.Sprint("sid=ada-", i)).Saw)
			assert.Zero(t, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		assert.Equal(t, 4, a.Stytch.Count(stytchtest.Migrate))
		a.Stytch.Heal(stytchtest.Any)
		a.Stytch.RemoveUser(a.Ada.ID)
		assert.Equal(t, "legacy"+apptest.CookiesUntouched+"migrate", a.Get("sid=ada-99").Settled())
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-99").Settled(), "the refusal is remembered")
	}, apptest.Stage(stytchmigrate.StageShadow), func(c *stytchmigrate.Config) { c.CreateUsers = true })
}

// An exchange that could not be decided is tried again with the next request.
func TestShadowTriesAgainAfterAnOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(408, "request_timeout"))
		assert.Equal(t, "legacy"+apptest.CookiesUntouched+"migrate", a.Get("sid=ada-1").Settled())
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
		assert.Equal(t, []string{"shadow unavailable stytch", "shadow migrated"}, heardOf(a))
		assert.Equal(t, "request_timeout", a.Events[0].ErrorType)
		assert.NotEmpty(t, a.Events[0].RequestID)
		assert.NotEmpty(t, a.Events[0].Fingerprint)
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// A UserInfo endpoint that fails is not called for five seconds, as when sessions move.
func TestShadowSparesUserInfo(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(400, "migrate_from_external_unexpected_response"))
		assert.Equal(t, "legacy"+apptest.CookiesUntouched+"migrate", a.Get("sid=ada-1").Settled())
		for range 10 {
			assert.Equal(t, apptest.Legacy, a.Get("sid=ada-1").Settled())
		}
		assert.Equal(t, []string{"shadow unavailable stytch"}, heardOf(a))
		time.Sleep(5 * time.Second)
		a.Stytch.Heal(stytchtest.Any)
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// A session that could not move is reported, whether Stytch refuses it or a rule does.
func TestShadowReportsSessionsThatCouldNotMove(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.RemoveUser(a.Ada.ID)
		assert.Equal(t, "legacy"+apptest.CookiesUntouched+"migrate", a.Get("sid=ada-1").Settled())
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("bob", v)
			s.Identity.EmailVerified = false
			return s, nil
		}
		assert.Equal(t, apptest.Legacy, a.Get("sid=bob-1").Settled())
		assert.Equal(t, apptest.Legacy, a.Get("sid=bob-1").Settled())
		assert.Equal(t, []string{"shadow refused stytch", "shadow refused identity"}, heardOf(a))
		assert.Equal(t, []string{"ada", "bob"}, []string{a.Events[0].Subject, a.Events[1].Subject}, "the operator sees whose data to correct")
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// A wrong setting is logged at error level, as it is in the later stages.
func TestShadowLogsAWrongSetting(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", v)
			s.Token = ""
			return s, nil
		}
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-1").Settled())
		assert.Equal(t, []string{"shadow unavailable application"}, heardOf(a))
		assert.Contains(t, a.Log.String(), `"level":"ERROR"`)
		assert.Contains(t, a.Log.String(), "Config.Tickets is not set")
	}, apptest.Stage(stytchmigrate.StageShadow), func(c *stytchmigrate.Config) { c.Tickets = nil })
}

// heardOf returns kind, outcome and cause of the events, in order.
func heardOf(a *apptest.App) (out []string) {
	for _, e := range a.SettledEvents() {
		out = append(out, strings.TrimSpace(e.Kind+" "+e.Outcome.String()+" "+e.Cause))
	}
	return out
}

const taken = "anonymous | -sid | no-store | -"

// StageRetired asks Resolve, as the other stages do. What Resolve can't tell stays: the
// database may be down for a moment, or be gone for good.
func TestRetiredWithoutAnAnswerOfResolve(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		stytch, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, stytch)
		down := func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, errors.New("down")
		}
		for _, held := range []float64{0, 1e-9, 100} {
			a.Resolve = down
			a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: held})
			assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String())
			assert.Equal(t, apptest.Authenticated, a.Get(stytch+"; sid=ada-1").String())
			assert.Contains(t, a.CookiesSeen[len(a.CookiesSeen)-1], "sid=ada-1")
		}
		a.Resolve = nil
		assert.Equal(t, apptest.Legacy, a.Get("sid=ada-1").String(), "held back")
		for _, held := range []float64{0, 1e-9} {
			a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: held})
			assert.Equal(t, taken, a.Get("sid=ada-1").String())
			assert.Equal(t, apptest.Anonymous, a.Get("sid=ada-1", apptest.FetchMetadata("same-origin no-cors image")).String())
			assert.Empty(t, a.CookiesSeen[len(a.CookiesSeen)-1], "hidden, also where no cookie may change")
		}
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate", a.Get(stytch+"; sid=ada-1").String())
		time.Sleep(6 * time.Minute)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
		assert.Equal(t, apptest.UnavailableUntouched+"authenticate authenticate", a.Get(stytch+"; sid=ada-1").String(), "an outage expires no cookie")
	})
}

// A site may give a cookie of the same name to every visitor. What a handler sets is kept.
// The Stytch session is renewed also where Resolve can't tell what that is.
func TestRetiredKeepsAVisitorsCookie(t *testing.T) {
	for _, known := range []bool{true, false} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			stytch, _ := a.SignedIn(a.Ada)
			a.LearnSession(t, stytch)
			a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
				switch {
				case value == "ada-1":
					return apptest.LegacySession("ada", value), nil
				case known:
					return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
				}
				return stytchmigrate.LegacySession{}, errors.New("down")
			}
			a.Handler = apptest.SetCookie("sid=visitor; Path=/")
			assert.Equal(t, "anonymous | +sid | no-store | -", a.Get("sid=ada-1").String())
			if known {
				assert.Equal(t, "authenticated ada | +sid | no-store | -", a.Get(stytch+"; sid=ada-1").String())
			} else {
				assert.Equal(t, "legacy | +sid | - | -", a.Get("sid=ada-1").String(), "it may have been a sign-in")
				assert.Equal(t, "authenticated ada | +sid | no-store | -", a.Get(stytch+"; sid=ada-1").Settled(), "and is no logout")
			}
			time.Sleep(6 * time.Minute)
			assert.Equal(t, "authenticated ada | +sid +stytch_session +stytch_session_jwt | no-store | authenticate", a.Get(stytch+"; sid=visitor").String())
			for _, e := range a.SettledEvents() {
				assert.NotEqual(t, "still_set", e.Kind)
			}
		}, apptest.Stage(stytchmigrate.StageRetired))
	}
}

// Each row is a legacy cookie beside ada's Stytch session, in StageRetired with a
// HoldBack. A session that is held back keeps its cookie.
func TestHeldBackSessionIsNotRetired(t *testing.T) {
	for _, row := range []struct {
		sid  string
		held float64
		want string
	}{
		{"ada", 100, apptest.Authenticated},
		{"bob+1h", 100, apptest.Legacy},
		{"bob-1h", 100, apptest.Replaced},
		{"bob", 100, neither},
		{"nobody", 100, apptest.Authenticated},
		{"ada", 1e-9, apptest.Replaced},
		{"bob+1h", 1e-9, apptest.Replaced},
		{"bob", 1e-9, apptest.Replaced},
	} {
		t.Run(fmt.Sprint(row.sid, row.held), func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
				a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
				a.SetRollout(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired, HoldBack: row.held})
				assert.Equal(t, row.want, a.Get(cookies+"; sid="+row.sid).Settled())
			})
		})
	}
}

// Until stops exchanges in each stage, and expires no cookie. In StageRetired, which
// exchanges nothing, it changes nothing.
func TestNoDateLeadsToStageRetired(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		past := time.Now().Add(-time.Hour)
		for s, want := range map[stytchmigrate.Stage]string{
			stytchmigrate.StageReplace: apptest.Legacy, stytchmigrate.StageKeep: apptest.Legacy, stytchmigrate.StageShadow: apptest.Legacy,
			stytchmigrate.StageObserve: apptest.Legacy, stytchmigrate.StageRetired: taken,
		} {
			a.SetRollout(t, stytchmigrate.Rollout{Stage: s, Until: past})
			assert.Equal(t, want, a.Get("sid=ada-1").Settled(), s)
		}
	})
}
