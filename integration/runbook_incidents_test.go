package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

func incidents() []goStep {
	const chapter = "Incidents"
	return []goStep{
		{chapter, `event breaker: under "Calls to Stytch" the breaker of exchanges is "open", and "(not asked: breaker or pause)" fails`, stytchIsDown},
		{chapter, `event brake: "(not believed: Stytch knew too few)", "not yet over"`, stytchKnowsNobody},
		{chapter, `those who have moved are "anonymous", without an event`, keysOfAnotherProject},
		{chapter, `event store: "Store failed, or held what can't be read", "not yet over"`, storeIsDown},
		{chapter, `ERROR in the log, with setting; under "Failures" its error type, such as unauthorized_credentials`, wrongSecret},
		{chapter, `event mismatch: "(Stytch's user is somebody else)"`, somebodyElse},
		{chapter, `event not_kept: "Browsers that do not keep the Stytch cookies"`, cookiesAreLost},
		{chapter, `event wrong_cookie: "Mistake: the old cookie's name or keys are wrong, or only visitors have it"`, wrongCodecs},
		{chapter, `event no_old_cookie: "Mistake: no old cookie comes, so its name is wrong"`, wrongName},
		{chapter, `event comes_again: "Mistake: the old cookie comes again after its deletion"`, oldCookieComesAgain},
		{chapter, `event plain_http: "Mistake: Secure cookies over plain HTTP"`, secureOverPlainHTTP},
		{chapter, `event still_set: "Old cookie still set: stage retired leaves all alone"`, oldLoginIsThere},
		{chapter, `event unheard_logout: "Logout by GET that ended no Stytch session, if it was one"`, logoutByLink},
		{chapter, `event revocation: "Session that nobody is to have could not be revoked"`, notRevoked},
		{chapter, "somebody reports a takeover", takeover},
		{chapter, "the record key has leaked", recordKeyLeaked},
	}
}

// failing reports whether the page says of a kind of events that it is not over.
func (w *walk) failing(kind string) bool {
	for _, e := range w.status().Events {
		if e.Kind == kind {
			return e.Count > 0 && e.Recovered == ""
		}
	}
	return false
}

func (w *walk) breaker(calls string) string {
	for _, l := range w.status().Lanes {
		if l.Calls == calls {
			return l.Breaker
		}
	}
	return ""
}

func stytchIsDown(w *walk) {
	replaced, _ := w.halfway(stytchmigrate.StageReplace)
	w.stytch.FailAll(stytchtest.Any, stytchtest.Error(500, "internal_server_error"))
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}))
	for range 3 {
		w.everybodyIsThere(0)
	}
	assert.Equal(w, "open", w.hears("breaker")[0].Cause)
	w.shows("Calls to Stytch", "open")
	w.fails("(not asked: breaker or pause)", 0)
	assert.Equal(w, "open", w.breaker("exchange"))

	w.set("Stage: stytchmigrate.StageKeep, HoldBack: 100")
	calls := w.stytch.Count(stytchtest.Migrate)
	time.Sleep(time.Minute)
	w.everybodyIsThere(0)
	assert.Equal(w, calls, w.stytch.Count(stytchtest.Migrate), "no more tries")
	time.Sleep(10 * time.Minute)
	assert.Equal(w, len(w.people)-len(replaced), w.visit(0, w.people...), "who has but a JWT that ran out waits")
	moved, _ := w.moved()
	assert.Equal(w, subjects(replaced), subjects(moved), "and keeps the cookies")

	w.stytch.Heal(stytchtest.Any)
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}))
	for range 3 { // one finds out, the others follow
		time.Sleep(6 * time.Second)
		w.visit(0, w.people...)
	}
	w.everybodyIsThere(0)
	w.shows("closed")
	assert.Equal(w, "closed", w.breaker("exchange"))
	_, others := w.moved()
	assert.Empty(w, others)
}

func stytchKnowsNobody(w *walk) {
	moved, _ := w.halfway(stytchmigrate.StageReplace)
	w.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(404, "session_not_found"))
	for range 10 {
		time.Sleep(time.Minute)
		w.visit(0, w.people...)
	}
	assert.Equal(w, "failed", w.hears("brake")[0].Cause)
	w.fails("(not believed: Stytch knew too few)", 0)
	w.shows("not yet over")
	assert.True(w, w.failing("brake"))
	now, _ := w.moved()
	assert.Equal(w, subjects(moved), subjects(now), "cookies stay")

	w.stytch.Heal(stytchtest.Any)
	time.Sleep(time.Minute)
	w.everybodyIsThere(0)
	w.shows("over")
	assert.False(w, w.failing("brake"))
}

func keysOfAnotherProject(w *walk) {
	moved, others := w.halfway(stytchmigrate.StageReplace)
	other := stytchtest.NewServer(w, stytchtest.Config{InProcess: true})
	w.says("ProjectID", "Secret")
	w.deploy(w.T, func(c *stytchmigrate.Config) {
		c.ProjectID, c.Secret, c.BaseURL, c.HTTPClient = other.ProjectID, stytchmigrate.Secret(other.Secret), other.URL, other.Client()
	})
	assert.Zero(w, w.visit(0, moved...))
	assert.Equal(w, len(others), w.visit(0, others...))
	w.shows("anonymous")
	assert.Equal(w, len(moved), w.status().Requests["anonymous"])
	for _, e := range w.status().Events {
		assert.Zero(w, e.Count, e.Kind)
	}
	w.says("setting")
	assert.Len(w, w.log.with(`"level":"WARN"`, `"setting":"Config.ProjectID"`), 1)
	w.deploy(w.T)
	w.everybodyIsThere(0)
	now, _ := w.moved()
	assert.Equal(w, subjects(moved), subjects(now))
}

// A second machine shares the store. Somebody has logged out there.
func storeIsDown(w *walk) {
	keep := func(c *stytchmigrate.Config) { c.Rollout = stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep} }
	w.deploy(w.T, keep)
	elsewhere := w.machines[0]
	before := browserWith("old-0.out")
	w.visit(0, before)
	require.NoError(w, w.logOut(before))
	w.deploy(w.T, keep)
	w.machines = append(w.machines, elsewhere)
	calls := w.stytch.Count(stytchtest.Migrate)

	w.store.Fail(func(string, string) error { return errStoreDown })
	w.everybodyIsThere(0)
	assert.Equal(w, "failed", w.hears("store")[0].Cause)
	w.shows("Store failed, or held what can't be read", "not yet over")
	assert.Equal(w, 1, w.visit(2, browserWith("old-1"))) // a late request with the old cookie alone
	assert.Equal(w, calls+41, w.stytch.Count(stytchtest.Migrate), "each process exchanges for itself")
	copied := browserWith("old-0.out")
	assert.Equal(w, 1, w.visit(0, copied), "that this was logged out elsewhere is not known")
	w.says("Logout")
	meanwhile := browserWith("old-2.out")
	w.visit(0, meanwhile)
	require.Error(w, w.logOut(meanwhile))
	assert.Zero(w, w.visit(0, browserWith("old-2.out")), "it holds in its process")
	assert.True(w, w.failing("store"))

	w.store.Fail(nil)
	time.Sleep(6 * time.Minute)
	w.everybodyIsThere(0)
	w.shows("over")
	assert.False(w, w.failing("store"))
	assert.Zero(w, w.visit(0, copied, browserWith("old-0.out")))
	w.visit(2, browserWith("old-6")) // that machine too hears that it is over
	w.visit(0, browserWith("old-5"))
	require.NoError(w, w.forge())
	assert.Equal(w, 1, w.visit(2, browserWith("old-5")))
	told := w.told("store")
	assert.ErrorContains(w, told[len(told)-1].Err, "can't be read")
	assert.False(w, w.failing("store"))
}

// oldLoginIsThere takes the step to StageRetired while the old login is there.
func oldLoginIsThere(w *walk) {
	login := w.auth.Handler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.SetCookie(rw, &http.Cookie{Name: "sid", Value: "old-9.new", Path: "/"})
	}))
	signIn := func() *person {
		p := browserWith("old-9.old")
		send(p.jar, http.MethodPost, login)
		assert.True(w, p.has("sid"))
		return p
	}
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired}))
	signIn()
	for range 3 {
		time.Sleep(time.Minute)
		assert.Equal(w, 1, w.visit(0, signIn()))
		w.everybodyIsThere(0)
	}
	w.hears("still_set")
	w.shows("Old cookie still set: stage retired leaves all alone")
	w.says("setting")
	assert.Len(w, w.log.with(`"level":"ERROR"`, `"setting":"Rollout.Stage"`), len(w.told("still_set")))
	assert.False(w, w.status().Removal.Safe)
	w.set("")
	assert.Equal(w, 1, w.visit(0, signIn()))
}

// logoutByLink sends users who have no old cookie any more to the old logout.
func logoutByLink(w *walk) {
	moved, _ := w.halfway(stytchmigrate.StageReplace)
	old := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		http.SetCookie(rw, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
	})
	for _, p := range moved[1:] {
		send(p.jar, http.MethodGet, w.auth.Handler(old))
	}
	assert.Len(w, w.hears("unheard_logout"), 1)
	w.shows("Logout by GET that ended no Stytch session, if it was one")
	assert.Len(w, w.log.with(`"level":"WARN"`, "Middleware.Logout"), 1)
	w.everybodyIsThere(0)

	w.says("Logout")
	leaves := func(p *person, method string, h http.Handler) {
		send(p.jar, method, h)
		assert.False(w, p.has("stytch_session"))
		w.people = slices.DeleteFunc(w.people, func(other *person) bool { return other == p })
	}
	leaves(moved[1], http.MethodPost, w.auth.Handler(old))
	leaves(moved[2], http.MethodGet, w.auth.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		assert.NoError(w, w.auth.Logout(rw, r))
		old(rw, r)
	})))
}

// forge writes to the store what nobody can read.
func (s *site) forge() (err error) {
	for key := range s.store.Values() {
		_, failed := s.store.Put(context.Background(), key, "", []byte("forged"), 24*time.Hour)
		err = errors.Join(err, failed)
	}
	return err
}

func wrongCodecs(w *walk) {
	w.deploy(w.T)
	for i := range 20 {
		b := browserWith(fmt.Sprint("sealed by other keys: ", i))
		assert.Zero(w, w.visit(0, b))
	}
	assert.Len(w, w.hears("wrong_cookie"), 1)
	w.shows("Mistake: the old cookie's name or keys are wrong, or only visitors have it")
	w.says("setting", "auth.Explain(r)")
	assert.Len(w, w.log.with(`"level":"WARN"`, `"setting":"Config.Legacy[0]"`), 1)
}

func wrongName(w *walk) {
	w.deploy(w.T)
	for range 1000 {
		b := browserWith("")
		b.jar.SetCookies(estateURL, []*http.Cookie{{Name: "sid", MaxAge: -1, Path: "/"}, {Name: "SESSIONID", Value: "1", Path: "/"}})
		w.visit(0, b)
	}
	assert.Len(w, w.hears("no_old_cookie"), 1)
	w.shows("Mistake: no old cookie comes, so its name is wrong")
	w.says("setting", "auth.Explain(r)")
	assert.Len(w, w.log.with(`"level":"WARN"`, `"setting":"Config.Legacy[0].Name"`), 1)
}

func oldCookieComesAgain(w *walk) {
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageReplace}))
	p := w.people[0]
	old := p.jar.Cookies(estateURL)
	for range 6 {
		w.everybodyIsThere(0)
		p.jar.SetCookies(estateURL, old)
	}
	assert.Len(w, w.hears("comes_again"), 1)
	w.shows("Mistake: the old cookie comes again after its deletion")
	w.says("Handler", "setting", "auth.Handler(sm.LoadAndSave(mux))", "Scopes")
	assert.Len(w, w.log.with(`"level":"WARN"`, `"setting":"Config.Legacy[0].Scopes"`), 1)
}

func secureOverPlainHTTP(w *walk) {
	page := func(header ...string) {
		for range 5 {
			r := httptest.NewRequest(http.MethodGet, "http://app.test/", nil)
			r.AddCookie(&http.Cookie{Name: "sid", Value: "old-0"})
			for i := 0; i < len(header); i += 2 {
				r.Header.Set(header[i], header[i+1])
			}
			w.auth.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	keep := func(c *stytchmigrate.Config) { c.Rollout = stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep} }
	w.says("X-Forwarded-Proto: https")
	w.deploy(w.T, keep)
	page("X-Forwarded-Proto", "https")
	assert.Empty(w, w.told("plain_http"))
	w.deploy(w.T, keep)
	page()
	assert.Len(w, w.hears("plain_http"), 1)
	w.hears("not_kept")
	w.shows("Mistake: Secure cookies over plain HTTP")
	w.says("setting", "Config.Cookies.Insecure")
	assert.Len(w, w.log.with(`"level":"WARN"`, `"setting":"Config.Cookies.Insecure"`), 1)
}

// lossy is a jar that the Stytch cookies do not get to.
type lossy struct{ http.CookieJar }

func (j lossy) SetCookies(u *url.URL, cookies []*http.Cookie) {
	j.CookieJar.SetCookies(u, slices.DeleteFunc(cookies, func(c *http.Cookie) bool { return strings.HasPrefix(c.Name, "stytch_session") }))
}

func cookiesAreLost(w *walk) {
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageReplace}))
	lost := w.people[:3]
	for _, p := range lost {
		p.jar = lossy{p.jar}
	}
	for range 10 {
		w.everybodyIsThere(0)
		time.Sleep(time.Minute)
	}
	assert.Len(w, w.hears("not_kept"), len(lost))
	w.shows("Browsers that do not keep the Stytch cookies")
	w.says("setting", "Config.Cookies")
	assert.Len(w, w.log.with(`"level":"WARN"`, `"setting":"Config.Cookies"`), 1)
	for _, p := range w.people {
		assert.Equal(w, slices.Contains(lost, p), p.has("sid"))
	}

	for _, p := range lost {
		p.jar = p.jar.(lossy).CookieJar
	}
	w.everybodyIsThere(0)
	w.everybodyIsThere(0)
	for _, p := range lost {
		assert.True(w, p.has("stytch_session") && !p.has("sid"))
	}
	assert.Len(w, w.told("not_kept"), len(lost), "no more")
}
