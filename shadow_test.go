package stytchmigrate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

const triedOut = "legacy" + apptest.Untouched + "migrate revoke"

// Each legacy session is tried out once. Nobody sees anything of it, and it moves
// later as if it had not been.
func TestShadowTriesEachSessionOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").Settled())
		assert.Equal(t, triedOut, a.Get("sid=ada-2").Settled())
		for _, s := range a.Stytch.Sessions() {
			assert.False(t, s.Live)
		}
		assert.Equal(t, []string{"shadow migrated", "shadow migrated"}, heardOf(a))
		a.Roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep})
		assert.Equal(t, movedKept, a.Get("sid=ada-1").String())
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// What is tried out counts as an exchange, and its session would not live long if
// it could not be revoked.
func TestShadowCountsInPerSecond(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-2").Settled())
		s := a.Stytch.Sessions()[0]
		assert.Equal(t, 5*time.Minute, s.ExpiresAt.Sub(s.StartedAt))
		time.Sleep(time.Second)
		assert.Equal(t, triedOut, a.Get("sid=ada-2").Settled())
	}, apptest.Stage(stytchmigrate.StageShadow), apptest.PerSecond(1))
}

// A user who is another person at Stytch is told of, once.
func TestShadowReportsAnotherPerson(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.UpdateUser(a.Ada.ID, func(u *stytchtest.User) { u.ExternalID = "eve" })
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").Settled())
		assert.Equal(t, []string{"shadow refused another_person", "mismatch legacy another_person"}, heardOf(a))
		if assert.Len(t, a.Events, 2) {
			e := a.Events[1]
			assert.Equal(t, []string{"mismatch", "legacy", a.Ada.ID, "ada"}, []string{e.Kind, e.Outcome.String(), e.UserID, e.Subject})
		}
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// No request waits, no more than a few exchanges are under way, and no user is made.
func TestShadowDelaysNoRequestAndCreatesNoUser(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Everybody
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(time.Second))
		for i := range 50 {
			began := time.Now()
			assert.Equal(t, "legacy", a.Parallel(fmt.Sprint("sid=ada-", i)).Saw)
			assert.Zero(t, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		assert.Equal(t, 4, a.Stytch.Count(stytchtest.Migrate))
		a.Stytch.Heal(stytchtest.Any)
		a.Stytch.RemoveUser(a.Ada.ID)
		assert.Equal(t, "legacy"+apptest.Untouched+"migrate", a.Get("sid=ada-99").Settled())
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-99").Settled(), "a no is remembered")
	}, apptest.Stage(stytchmigrate.StageShadow), func(c *stytchmigrate.Config) { c.CreateUsers = true })
}

// What could not be told is tried again.
func TestShadowTriesAgainAfterAnOutage(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Error(401, "unauthorized_credentials"))
		assert.Equal(t, "legacy"+apptest.Untouched+"migrate", a.Get("sid=ada-1").Settled())
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
		assert.Equal(t, []string{"shadow unavailable stytch", "shadow migrated"}, heardOf(a))
		assert.Equal(t, "unauthorized_credentials", a.Events[0].ErrorType)
		assert.NotEmpty(t, a.Events[0].RequestID)
		assert.NotEmpty(t, a.Events[0].Fingerprint)
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// A UserInfo endpoint that does not answer is left in peace for a moment, as it is
// when sessions move.
func TestShadowSparesUserInfo(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(400, "migrate_from_external_unexpected_response"))
		assert.Equal(t, "legacy"+apptest.Untouched+"migrate", a.Get("sid=ada-1").Settled())
		for range 10 {
			assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").Settled())
		}
		assert.Equal(t, []string{"shadow unavailable stytch"}, heardOf(a))
		time.Sleep(5 * time.Second)
		a.Stytch.Heal(stytchtest.Any)
		assert.Equal(t, triedOut, a.Get("sid=ada-1").Settled())
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// Who could not move is told of, whether Stytch says so or is not even asked.
func TestShadowReportsWhoCouldNotMove(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.RemoveUser(a.Ada.ID)
		assert.Equal(t, "legacy"+apptest.Untouched+"migrate", a.Get("sid=ada-1").Settled())
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("bob", v)
			s.Identity.EmailVerified = false
			return s, nil
		}
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=bob-1").Settled())
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=bob-1").Settled())
		assert.Equal(t, []string{"shadow refused stytch", "shadow refused identity"}, heardOf(a))
		assert.Equal(t, []string{"ada", "bob"}, []string{a.Events[0].Subject, a.Events[1].Subject}, "the operator is told whom to mend")
	}, apptest.Stage(stytchmigrate.StageShadow))
}

// A wrong setting is as loud in the shadow as it is later: that is what the shadow is for.
func TestShadowLogsAWrongSetting(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", v)
			s.Token = ""
			return s, nil
		}
		assert.Equal(t, apptest.LeftAlone, a.Get("sid=ada-1").Settled())
		assert.Equal(t, []string{"shadow unavailable application"}, heardOf(a))
		assert.Contains(t, a.Log.String(), `"level":"ERROR"`)
		assert.Contains(t, a.Log.String(), "Config.Tickets is not set")
	}, apptest.Stage(stytchmigrate.StageShadow), func(c *stytchmigrate.Config) { c.Tickets = nil })
}

// heardOf is what came of the exchanges in the shadow.
func heardOf(a *apptest.App) (out []string) {
	for _, e := range a.Heard() {
		out = append(out, strings.TrimSpace(e.Kind+" "+e.Outcome.String()+" "+e.Cause))
	}
	return out
}
