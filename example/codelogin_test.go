package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

func TestSignInByCode(t *testing.T) {
	a, b := newTestApp(t)
	_, err := b.login(t.Context(), "grace")
	require.NoError(t, err)
	_, err = b.signInByCode(t.Context(), a, "ada")
	require.NoError(t, err)
	page := read(t, b, "/")
	assert.Contains(t, page, "You are Ada Lovelace")
	assert.Contains(t, page, "<strong>authenticated</strong>")
	assert.Equal(t, newCookies, names(b.cookies()), "Grace's old cookie is gone")
}

// A wrong code signs nobody in, and does not sign out the user who is there.
func TestWrongCode(t *testing.T) {
	a, b := newTestApp(t)
	_, err := b.login(t.Context(), "grace")
	require.NoError(t, err)
	_, err = b.do(t.Context(), http.MethodPost, "/code", url.Values{"user": {"ada"}})
	require.NoError(t, err)
	methodID := a.standInUser("ada").Emails[0].ID
	v, err := b.do(t.Context(), http.MethodPost, "/signin", url.Values{"method_id": {methodID}, "code": {"wrong"}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusUnprocessableEntity, v.status)
	assert.Contains(t, read(t, b, "/"), "You are Grace Hopper")

	// The form names the email that the code went to, and no user.
	v, err = b.do(t.Context(), http.MethodPost, "/signin", url.Values{"method_id": {"email-test-1"}, "code": {"wrong"}, "user": {"ada"}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, v.status)
	v, err = b.do(t.Context(), http.MethodPost, "/code", url.Values{"user": {"mallory"}})
	require.NoError(t, err)
	assert.Equal(t, http.StatusBadRequest, v.status)
}

// Each row is a stage, and whether the old code's own answer counts in it if the middleware
// can't read the old cookie, because its keys are wrong, for example.
func TestTheOldAnswerCountsWhileOldCookiesStay(t *testing.T) {
	for stage, want := range map[stytchmigrate.Stage]kind{
		stytchmigrate.StageObserve: byOldSession, stytchmigrate.StageShadow: byOldSession, stytchmigrate.StageKeep: byOldSession,
		stytchmigrate.StageReplace: nobody, stytchmigrate.StageRetired: nobody,
	} {
		a, _ := newTestApp(t)
		require.NoError(t, a.auth().SetRollout(stytchmigrate.Rollout{Stage: stage}))
		rec := httptest.NewRecorder()
		require.NoError(t, a.old.start(rec, people[0]))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(rec.Result().Cookies()[0])
		p, by := a.whose(r) // without Handler around: the middleware says nothing
		assert.Equal(t, want, by, stage)
		if want != nobody {
			assert.Equal(t, "ada", p.ID)
		}
	}
}

// A handler's test may pass a user without a session, or a Partial user.
func TestUsersOfTests(t *testing.T) {
	a, _ := newTestApp(t)
	for _, row := range []struct {
		user    *stytchmigrate.User
		session *stytchmigrate.Session
		want    string
	}{
		{&stytchmigrate.User{ExternalID: "ada"}, nil, "ada"},
		{&stytchmigrate.User{Partial: true}, &stytchmigrate.Session{CustomClaims: map[string]any{userIDClaim: "ada"}}, "ada"},
		{&stytchmigrate.User{Partial: true}, nil, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		p, by := a.whose(r.WithContext(stytchmigrate.NewContext(r.Context(), row.user, row.session)))
		assert.Equal(t, row.want, p.ID)
		assert.Equal(t, byStytch, by)
	}
}

func TestSignOutEverywhere(t *testing.T) {
	a, b := newTestApp(t)
	var others []*browser
	for range 2 {
		other := newBrowser(b.base, a.journal)
		_, err := other.signInByCode(t.Context(), a, "ada")
		require.NoError(t, err)
		others = append(others, other)
	}
	old := newBrowser(b.base, a.journal) // it has not moved
	_, err := old.login(t.Context(), "ada")
	require.NoError(t, err)
	_, err = others[0].do(t.Context(), http.MethodPost, "/everywhere", nil)
	require.NoError(t, err)
	for _, x := range append(others, old) {
		assert.Contains(t, read(t, x, "/"), "Nobody is signed in")
	}
}

func TestDeployWithoutTheOldSignIn(t *testing.T) {
	a, b := newTestApp(t)
	_, err := b.login(t.Context(), "ada")
	require.NoError(t, err)
	read(t, b, "/")
	_, err = b.do(t.Context(), http.MethodPost, "/deploy", url.Values{"old": {"gone"}})
	require.NoError(t, err)
	page := read(t, b, "/")
	assert.Contains(t, page, "You are Ada Lovelace")
	assert.NotContains(t, page, "The old way")
	_, err = b.do(t.Context(), http.MethodPost, "/deploy", url.Values{"old": {"back"}})
	require.NoError(t, err)
	assert.Contains(t, read(t, b, "/"), "The old way")
	assert.True(t, a.ready.Load().hasOld)
}
