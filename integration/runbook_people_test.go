package integration

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

func wrongSecret(w *walk) {
	w.halfway(stytchmigrate.StageKeep)
	w.deploy(w.T, func(c *stytchmigrate.Config) {
		c.Secret, c.Rollout = "secret-test-of-another-project", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}
	})
	w.everybodyIsThere(0)
	w.says("setting")
	assert.NotEmpty(w, w.log.with(`"level":"ERROR"`, `"setting":"Config.ProjectID or Config.Secret"`))
	w.shows("Failures")
	w.fails("unauthorized_credentials", 1) // exchanges pause then
	assert.Positive(w, w.status().Sessions.Unavailable)
	w.says("auth.Check(ctx)")
	assert.ErrorContains(w, w.auth.Check(w.Context()), "Secret: Stytch refuses it for this ProjectID")

	w.deploy(w.T)
	require.NoError(w, w.auth.Check(w.Context()))
	w.forward(stytchmigrate.StageKeep)
}

// somebodyElse is at Stytch by the email of user 3.
func somebodyElse(w *walk) {
	id := w.mismatched("old-3")
	mismatch := w.hears("mismatch")
	require.Len(w, mismatch, 1)
	w.fails(another, 0)
	w.says("UserID", "Subject")
	assert.Equal(w, id, mismatch[0].UserID)
	assert.Equal(w, "user-3", mismatch[0].Subject)
	assert.Equal(w, 39, w.live(), "all but this one's, which was revoked")

	w.stytch.UpdateUser(id, func(u *stytchtest.User) { u.ExternalID = mismatch[0].Subject })
	time.Sleep(time.Minute)
	w.everybodyIsThere(0)
	assert.Equal(w, 40, w.live())
}

// mismatched lets everybody move but one, who has another external id at Stytch.
// It returns their id there.
func (w *walk) mismatched(sid string) string {
	u, _ := w.stytch.User(browserWith(sid).subject)
	w.stytch.UpdateUser(u.ID, func(u *stytchtest.User) { u.ExternalID = "somebody-else" })
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{}))
	w.everybodyIsThere(0)
	_, others := w.moved()
	assert.Equal(w, []string{browserWith(sid).subject}, subjects(others))
	return u.ID
}

func notRevoked(w *walk) {
	w.stytch.FailAll(stytchtest.Revoke, stytchtest.Error(500, "internal_server_error"))
	id := w.mismatched("old-3")
	assert.Error(w, w.hears("revocation")[0].Err)
	w.shows("Session that nobody is to have could not be revoked")
	assert.Equal(w, 40, w.live())
	w.revokeAllOf(id)
	assert.Equal(w, 39, w.live())
}

// revokeAllOf is what the dashboard can do.
func (s *site) revokeAllOf(userID string) {
	for _, session := range s.stytch.Sessions() {
		if session.UserID == userID && session.Live {
			s.stytch.RevokeSession(session.ID)
		}
	}
}

// User 3 has no external id at Stytch, so that the email alone decides, and user 7
// is given user 3's address in the application.
func takeover(w *walk) {
	victim, _ := w.stytch.User("user-3")
	w.stytch.UpdateUser(victim.ID, func(u *stytchtest.User) { u.ExternalID = "" })
	var given atomic.Bool
	w.deploy(w.T, func(c *stytchmigrate.Config) {
		c.Rollout = stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}
		c.Legacy[0].Resolve = func(r *http.Request, id string) (stytchmigrate.LegacySession, error) {
			old, err := w.resolve(r, id)
			if given.Load() && strings.HasPrefix(id, "old-7.") {
				old.Identity.Email = "user3@example.com"
			}
			old.StartedAt = time.Time{}
			return old, err
		}
	})
	w.people = append(w.people[:3:3], w.people[4:]...)
	w.everybodyIsThere(0)
	w.steal(browserWith("old-7.thief"), victim.ID)
	given.Store(true)
	thief := browserWith("old-7.thief")
	w.visit(0, thief)
	require.True(w, thief.has("stytch_session"))
	before := w.live()

	w.set("Stage: stytchmigrate.StageKeep, HoldBack: 100")
	second := browserWith("old-7.again")
	w.visit(0, second)
	assert.False(w, second.has("stytch_session"))
	w.revokeAllOf(victim.ID)
	assert.Equal(w, before-2, w.live())
	time.Sleep(6 * time.Minute)
	w.visit(0, thief)
	assert.False(w, thief.has("stytch_session"))
	w.stytch.UpdateUser(victim.ID, func(u *stytchtest.User) { u.ExternalID = "user-3" })
	w.forward(stytchmigrate.StageKeep)
	w.visit(0, thief, second)
	assert.False(w, thief.has("stytch_session") || second.has("stytch_session"), "their old sessions get no other")
	w.isFound(victim.ID, thief)
}

// steal puts a Stytch session of somebody's into a browser, which comes with it.
func (w *walk) steal(by *person, from string) {
	session := w.stytch.NewSession(from, time.Hour)
	by.jar.SetCookies(estateURL, []*http.Cookie{{Name: "stytch_session", Value: session.Token, Path: "/"}})
	w.visit(0, by)
	assert.False(w, by.has("stytch_session"))
}

// isFound finds a thief by the events about a user.
func (w *walk) isFound(userID string, thief *person) {
	w.says("UserID", "Fingerprint")
	by := map[string]bool{}
	for _, e := range w.hears("request") {
		if e.UserID == userID && e.Fingerprint != "" {
			by[e.Fingerprint] = true
		}
	}
	require.Len(w, by, 1)
	assert.True(w, by[w.hears("conflict")[0].Fingerprint])
	for _, e := range w.hears("mismatch") {
		assert.Equal(w, userID, e.UserID)
	}
}

func recordKeyLeaked(w *walk) {
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}))
	out := browserWith("old-3.out")
	w.visit(0, out)
	require.NoError(w, w.logOut(out))
	assert.Zero(w, w.visit(0, browserWith("old-3.out")))

	w.says("RecordKey")
	ended := false
	w.deploy(w.T, func(c *stytchmigrate.Config) {
		c.RecordKey = "another 32 bytes that nobody else knows"
		c.Legacy[0].Resolve = func(r *http.Request, id string) (stytchmigrate.LegacySession, error) {
			if ended && id == "old-3.out" {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			return w.resolve(r, id)
		}
	})
	assert.Equal(w, 1, w.visit(0, browserWith("old-3.out")), "what was logged out is forgotten")
	ended = true
	assert.Zero(w, w.visit(0, browserWith("old-3.out")))
	assert.Empty(w, w.told("store"), "records of the other key are not even found")

	moves := func(key stytchmigrate.Secret) []string {
		w.site = newSite(w.T, 40, func(c *stytchmigrate.Config) {
			c.RecordKey, c.Rollout = key, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 50}
		})
		w.everybodyIsThere(0)
		moved, _ := w.moved()
		return subjects(moved)
	}
	assert.NotEqual(w, moves("32 bytes by which users are held back"), moves("another 32 bytes that nobody else knows"))
}
