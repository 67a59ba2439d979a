package stytchmigrate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

const triedOut = "legacy" + keep + "migrate revoke"

// Each legacy session is tried out once. Nobody sees anything of it, and it moves
// later as if it had not been.
func TestShadow(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		assert.Equal(t, triedOut, a.get("sid=ada-1").settled())
		assert.Equal(t, leftAlone, a.get("sid=ada-1").settled())
		assert.Equal(t, triedOut, a.get("sid=ada-2").settled())
		for _, s := range a.stytch.Sessions() {
			assert.False(t, s.Live)
		}
		assert.Equal(t, []string{"shadow migrated", "shadow migrated"}, a.triedOut())
		a.roll(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep})
		assert.Equal(t, movedKept, a.get("sid=ada-1").String())
	}, stage(stytchmigrate.StageShadow))
}

// What is tried out counts as an exchange, and its session would not live long if
// it could not be revoked.
func TestShadowPace(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		assert.Equal(t, triedOut, a.get("sid=ada-1").settled())
		assert.Equal(t, leftAlone, a.get("sid=ada-2").settled())
		s := a.stytch.Sessions()[0]
		assert.Equal(t, 5*time.Minute, s.ExpiresAt.Sub(s.StartedAt))
		time.Sleep(time.Second)
		assert.Equal(t, triedOut, a.get("sid=ada-2").settled())
	}, stage(stytchmigrate.StageShadow), perSecond(1))
}

// A user who is another person at Stytch is told of, once.
func TestShadowMismatch(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.UpdateUser(a.ada.ID, func(u *stytchtest.User) { u.ExternalID = "eve" })
		assert.Equal(t, triedOut, a.get("sid=ada-1").settled())
		assert.Equal(t, leftAlone, a.get("sid=ada-1").settled())
		assert.Equal(t, []string{"shadow refused another_person", "mismatch legacy another_person"}, a.triedOut())
		if assert.Len(t, a.events, 2) {
			e := a.events[1]
			assert.Equal(t, []string{"mismatch", "legacy", a.ada.ID, "ada"}, []string{e.Kind, e.Outcome.String(), e.UserID, e.Subject})
		}
	}, stage(stytchmigrate.StageShadow))
}

// No request waits, no more than a few exchanges are under way, and no user is made.
func TestShadowIsNoBurden(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = everybody
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Delay(time.Second))
		for i := range 50 {
			began := time.Now()
			assert.Equal(t, "legacy", a.parallel(fmt.Sprint("sid=ada-", i)).saw)
			assert.Zero(t, time.Since(began))
		}
		time.Sleep(2 * time.Second)
		assert.Equal(t, 4, a.stytch.Count(stytchtest.Migrate))
		a.stytch.Heal(stytchtest.Any)
		a.stytch.RemoveUser(a.ada.ID)
		assert.Equal(t, "legacy"+keep+"migrate", a.get("sid=ada-99").settled())
		assert.Equal(t, leftAlone, a.get("sid=ada-99").settled(), "a no is remembered")
	}, stage(stytchmigrate.StageShadow), func(c *stytchmigrate.Config) { c.CreateUsers = true })
}

// What could not be told is tried again.
func TestShadowInAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.Fail(stytchtest.Migrate, stytchtest.Error(401, "unauthorized_credentials"))
		assert.Equal(t, "legacy"+keep+"migrate", a.get("sid=ada-1").settled())
		assert.Equal(t, triedOut, a.get("sid=ada-1").settled())
		assert.Equal(t, []string{"shadow unavailable stytch", "shadow migrated"}, a.triedOut())
		assert.Equal(t, "unauthorized_credentials", a.events[0].ErrorType)
		assert.NotEmpty(t, a.events[0].RequestID)
		assert.NotEmpty(t, a.events[0].Fingerprint)
	}, stage(stytchmigrate.StageShadow))
}

// A UserInfo endpoint that does not answer is left in peace for a moment, as it is
// when sessions move.
func TestShadowSparesUserInfo(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.FailAll(stytchtest.Migrate, stytchtest.Error(400, "migrate_from_external_unexpected_response"))
		assert.Equal(t, "legacy"+keep+"migrate", a.get("sid=ada-1").settled())
		for range 10 {
			assert.Equal(t, leftAlone, a.get("sid=ada-1").settled())
		}
		assert.Equal(t, []string{"shadow unavailable stytch"}, a.triedOut())
		time.Sleep(5 * time.Second)
		a.stytch.Heal(stytchtest.Any)
		assert.Equal(t, triedOut, a.get("sid=ada-1").settled())
	}, stage(stytchmigrate.StageShadow))
}

// Who could not move is told of, whether Stytch says so or is not even asked.
func TestShadowRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.stytch.RemoveUser(a.ada.ID)
		assert.Equal(t, "legacy"+keep+"migrate", a.get("sid=ada-1").settled())
		a.resolve = func(v string) (stytchmigrate.LegacySession, error) {
			s := legacySession("bob", v)
			s.Identity.EmailVerified = false
			return s, nil
		}
		assert.Equal(t, leftAlone, a.get("sid=bob-1").settled())
		assert.Equal(t, leftAlone, a.get("sid=bob-1").settled())
		assert.Equal(t, []string{"shadow refused stytch", "shadow refused identity"}, a.triedOut())
		assert.Equal(t, []string{"ada", "bob"}, []string{a.events[0].Subject, a.events[1].Subject}, "the operator is told whom to mend")
	}, stage(stytchmigrate.StageShadow))
}

// A wrong setting is as loud in the shadow as it is later: that is what the shadow is for.
func TestShadowOfWrongSetting(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = func(v string) (stytchmigrate.LegacySession, error) {
			s := legacySession("ada", v)
			s.Token = ""
			return s, nil
		}
		assert.Equal(t, leftAlone, a.get("sid=ada-1").settled())
		assert.Equal(t, []string{"shadow unavailable application"}, a.triedOut())
		assert.Contains(t, a.log.String(), `"level":"ERROR"`)
		assert.Contains(t, a.log.String(), "Config.Tickets is not set")
	}, stage(stytchmigrate.StageShadow), func(c *stytchmigrate.Config) { c.Tickets = nil })
}

// triedOut is what came of the exchanges in the shadow.
func (a *app) triedOut() (out []string) {
	for _, e := range a.heard() {
		out = append(out, strings.TrimSpace(e.Kind+" "+e.Outcome.String()+" "+e.Cause))
	}
	return out
}
