package integration

import (
	"net/http"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

// Ada had an old session at this browser, and signs in by Stytch. Then a login fails.
func signInByStytch(w *walk) {
	w.says("SignIn", "err := auth.SignIn(w, r, token, jwt)")
	b := w.comes("old-3.laptop")
	w.visit(0, b)
	u, _ := w.stytch.User("user-3")
	session := w.stytch.NewSession(u.ID, 30*24*time.Hour)
	require.NoError(w, w.signIn(b, session.Token, session.JWT))
	assert.False(w, b.has("sid"))
	assert.True(w, b.has("stytch_session"))
	calls := len(w.stytch.Calls())
	assert.Equal(w, 1, w.visit(0, b))
	assert.Len(w, w.stytch.Calls(), calls, "the session is known")
	assert.Zero(w, w.visit(0, browserWith("old-3.laptop")), "the old session has ended")

	assert.ErrorIs(w, w.signIn(b, "made up", ""), stytchmigrate.ErrNoSession)
	assert.Equal(w, 1, w.visit(0, b), "a login that fails signs nobody out")
	assert.Len(w, w.hears("signin"), 2)
	w.shows("Calls of SignIn, refused ones too")

	old := w.comes("old-4.still by the old login")
	assert.Equal(w, 1, w.visit(0, old))
	assert.True(w, old.has("stytch_session"))
}

// signIn is a request of the login's handler.
func (s *site) signIn(p *person, token, jwt string) (err error) {
	send(p.jar, http.MethodPost, s.auth.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err = s.auth.SignIn(w, r, stytchmigrate.Secret(token), stytchmigrate.Secret(jwt))
	})))
	return err
}

// User 5 has three browsers, and changes their password at one of them.
func signOutOnAllDevices(w *walk) {
	w.says("EndSessions", "err := auth.EndSessions(ctx, userID)")
	var devices []*person
	for _, name := range []string{"old-5.laptop", "old-5.phone", "old-5.tablet"} {
		p := browserWith(name)
		require.Equal(w, 1, w.visit(0, p))
		devices = append(devices, p)
	}
	for i, p := range w.people {
		if p.subject == "user-5" { // signed out, as they wanted
			w.people = append(w.people[:i:i], w.people[i+1:]...)
			devices = append(devices, p)
			break
		}
	}
	require.NoError(w, w.auth.EndSessions(w.Context(), "user-5"))
	assert.Zero(w, w.visit(0, devices...))
	again := w.comes("old-5.again")
	assert.Equal(w, 1, w.visit(0, again), "they may sign in again")
}

func takeTheOldLoginOut(w *walk) {
	w.says("Logout")
	w.everybodyIsThere(0)
	w.shows("still to move")
	before := w.status().Sessions.ToMove
	time.Sleep(24 * time.Hour)
	w.everybodyIsThere(0)
	assert.LessOrEqual(w, w.status().Sessions.ToMove, before)
	out := browserWith("old-6.out")
	w.visit(0, out)
	require.NoError(w, w.logOut(out))
	assert.False(w, out.has("stytch_session") || out.has("sid"))
}
