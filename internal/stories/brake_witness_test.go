package stories_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
)

// The witness of the brake has logged out here since it was heard of.
func TestBrakeWhereTheWitnessLoggedOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		tabs := a.Browsers(2)
		time.Sleep(6 * time.Minute)
		require.Contains(t, tabs[0].Visit().String(), "authenticated")
		a.LogOut(tabs[0].Cookies)
		a.Stytch.RevokeSession(a.Stytch.Sessions()[1].ID)
		assert.Equal(t, apptest.SignedOutAfter+"authenticate authenticate", tabs[1].Visit().String())
		assert.NotContains(t, a.Log.String(), "too few")
	})
}

// Two people who were signed out, and poll, have their "no" after ten minutes.
func TestBrakeForever(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		tabs := a.Browsers(4)
		time.Sleep(6 * time.Minute)
		a.Stytch.RevokeAll()
		tabs[0].Visit()
		tabs[1].Visit()
		var last string
		for range 16 {
			tabs[2].Visit()
			time.Sleep(20 * time.Second)
			last = tabs[3].Visit().Saw
			time.Sleep(20 * time.Second)
		}
		assert.Equal(t, "anonymous", last)
		assert.Equal(t, "anonymous", tabs[2].Visit().Saw)
	})
}

// A session that ran out is no witness for the brake.
func TestBrakeWhereTheWitnessRanOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		u := a.Stytch.NewSession(a.Ada.ID, 9*time.Minute)
		tabs := a.Browsers(1)
		time.Sleep(6 * time.Minute)
		require.Contains(t, a.Get("stytch_session="+u.Token+"; stytch_session_jwt="+u.JWT).String(), "authenticated ada")
		time.Sleep(4 * time.Minute)
		a.Stytch.RevokeSession(a.Stytch.Sessions()[1].ID)
		assert.Equal(t, apptest.SignedOutAfter+"authenticate authenticate", tabs[0].Visit().String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}
