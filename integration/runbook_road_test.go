package integration

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

const (
	notImported = "migrate_from_external_email_does_not_exist"
	noUserInfo  = "migrate_from_external_unexpected_response"
	another     = "(Stytch's user is somebody else)"
)

// Two people are imported, one is not.
func importTheUsers(w *walk) {
	w.site = newSite(w.T, 2, func(c *stytchmigrate.Config) {
		c.CreateUsers, c.Rollout = true, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}
	})
	w.says("CreateUsers", "external_id")
	w.comes("old-2")
	w.everybodyIsThere(0)
	assert.Len(w, w.hears("created"), 1)
	w.shows("Users created")
	for _, p := range w.people {
		u, ok := w.stytch.User(p.subject) // by external id
		require.True(w, ok)
		assert.Equal(w, p.subject, u.ExternalID)
	}
}

// From here on there are 120 people whom Stytch knows, one whom it does not, and
// one whom it knows by another external id.
func deployAndCheck(w *walk) {
	w.site = newSite(w.T, 121)
	w.stytch.UpdateUser(w.stytch.Users()[120].ID, func(u *stytchtest.User) { u.ExternalID = "somebody-else" })
	w.comes("old-121")
	w.set("Stage: stytchmigrate.StageObserve")
	w.says("err := auth.Check(ctx)")

	w.stytch.SetUserInfo(nil)
	assert.ErrorContains(w, w.auth.Check(w.Context()), "UserInfo URL in the Stytch dashboard: ")
	w.stytch.SetUserInfo(w.tellStytch)
	require.NoError(w, w.auth.Check(w.Context()))
	assert.Empty(w, w.stytch.Sessions())
	w.everybodyIsThere(0)
	w.everybodyIsThere(1) // taken out again
}

func observeForADay(w *walk) {
	w.stytch.ResetCalls()
	for range 3 {
		time.Sleep(8 * time.Hour)
		w.everybodyIsThere(0)
	}
	assert.Empty(w, w.stytch.Calls())
	w.shows("seen", "left alone", "Legacy sessions")
	s := w.status().Sessions
	w.about(122, s.Seen, "seen")
	w.about(122, s.Left, "left alone")
	w.about(122, s.ToMove, "still to move")
	assert.Zero(w, s.Migrated)
	assert.Empty(w, w.status().Failures)

	w.shows("anonymous", "All requests")
	assert.Zero(w, w.status().Requests["anonymous"])
	wrong := w.comes("old-0.wrong")
	wrong.jar.SetCookies(estateURL, []*http.Cookie{{Name: "sid", Value: "not what the codecs know"}})
	w.people = w.people[:122]
	assert.Zero(w, w.visit(0, wrong))
	assert.Equal(w, 1, w.status().Requests["anonymous"])
	assert.Equal(w, s, w.status().Sessions)
	w.says("auth.Explain(r)")
	r := httptest.NewRequest(http.MethodGet, estateURL.String(), nil)
	r.AddCookie(&http.Cookie{Name: "sid", Value: "not what the codecs know"})
	assert.Contains(w, w.auth.Explain(r), "cookie sid: 26 bytes, ")
	assert.Contains(w, w.auth.Explain(r), "is no session\n")
}

func tryOutInTheShadow(w *walk) {
	w.set("Stage: stytchmigrate.StageShadow, PerSecond: 5")
	before := w.stytch.Count(stytchtest.Migrate)
	w.everybodyIsThere(0)
	for range 40 {
		calls := w.stytch.Count(stytchtest.Migrate)
		time.Sleep(time.Second)
		w.everybodyIsThere(0)
		assert.LessOrEqual(w, w.stytch.Count(stytchtest.Migrate), calls+5)
	}
	assert.Equal(w, before+122, w.stytch.Count(stytchtest.Migrate), "each once")
	assert.Zero(w, w.live())
	moved, _ := w.moved()
	assert.Empty(w, moved)

	w.shows("shadow", "Failures")
	w.about(120, w.stage("shadow").Migrated, "would migrate")
	w.about(2, w.stage("shadow").Refused, "would be refused")
	w.fails(notImported, 1)
	w.says("request_id", "Subject", "UserID")
	assert.Len(w, w.log.with(`"error_type":"`+notImported+`"`, `"request_id":"request-id-test-`, "import of users"), 1)
	var refused []string
	for _, e := range w.hears("shadow") {
		if e.ErrorType == notImported {
			refused = append(refused, e.Subject)
		}
	}
	assert.Equal(w, []string{"user-121"}, refused)
	mismatch := w.hears("mismatch")
	require.Len(w, mismatch, 1)
	assert.Equal(w, "user-120", mismatch[0].Subject)
	assert.Equal(w, w.stytch.Users()[120].ID, mismatch[0].UserID)

	w.set("Stage: stytchmigrate.StageObserve")
	w.everybodyIsThere(0)
	assert.Equal(w, before+122, w.stytch.Count(stytchtest.Migrate))
}

func moveOnePercent(w *walk) {
	w.set("Stage: stytchmigrate.StageKeep, HoldBack: 99, PerSecond: 10")
	w.everybodyIsThere(0)
	w.everybodyIsThere(0)
	moved, others := w.moved()
	assert.True(w, len(moved) >= 1 && len(moved) <= 5, "%d of 122", len(moved))
	w.shows("keep")
	w.about(len(moved), w.stage("keep").Migrated, "migrated")
	w.about(len(others), w.stage("keep").Left, "left alone")
	for _, p := range w.people {
		assert.True(w, p.has("sid"))
	}
	w.everybodyIsThere(1)

	site := w.site
	w.site = newSite(w.T, 122, func(c *stytchmigrate.Config) { c.Rollout = site.auth.Rollout() }) // another machine
	w.everybodyIsThere(0)
	same, _ := w.moved()
	assert.Equal(w, subjects(moved), subjects(same))
	w.site = site
}

func subjects(people []*person) (out []string) {
	for _, p := range people {
		out = append(out, p.subject)
	}
	return out
}

// Those who move at one percent come with a second browser, and each time
// something else is wrong.
func readTheFailures(w *walk) {
	moved, _ := w.moved()
	u, _ := w.stytch.User(moved[0].subject)
	again := func(browser string) *person {
		p := w.comes(strings.Replace(moved[0].subject, "user-", "old-", 1) + "." + browser)
		assert.Equal(w, 1, w.visit(0, p), browser)
		assert.False(w, p.has("stytch_session"), browser)
		return p
	}
	w.stytch.UpdateUser(u.ID, func(u *stytchtest.User) { u.ExternalID = "mistyped" })
	phone := again("phone")
	w.fails(another, 0)
	assert.Len(w, w.hears("mismatch"), 1)

	w.stytch.UpdateUser(u.ID, func(u *stytchtest.User) { u.Emails[0].Email = "old@example.com" })
	tablet := again("tablet")
	w.fails(notImported, 2) // one is the shadow's

	w.stytch.SetUserInfo(nil)
	w.says("auth.Check(ctx)")
	watch := again("watch")
	assert.Equal(w, 1, w.stage("keep").Unavailable)
	assert.ErrorContains(w, w.auth.Check(w.Context()), "UserInfo URL in the Stytch dashboard: ")

	w.stytch.SetUserInfo(w.tellStytch)
	w.stytch.UpdateUser(u.ID, func(was *stytchtest.User) { *was = u })
	time.Sleep(time.Minute)
	assert.Equal(w, 3, w.visit(0, phone, tablet, watch))
	for _, p := range []*person{phone, tablet, watch} {
		assert.True(w, p.has("stytch_session"))
	}
	w.fails(noUserInfo, 1)
}

func moveTenPercentAndHalf(w *walk) {
	before, _ := w.moved()
	for _, turn := range []struct {
		call     string
		from, to int // of the people
	}{
		{"Stage: stytchmigrate.StageKeep, HoldBack: 90, PerSecond: 10", 6, 22},
		{"Stage: stytchmigrate.StageKeep, HoldBack: 50, PerSecond: 10", 45, 80},
	} {
		w.set(turn.call)
		for range 8 {
			calls := w.stytch.Count(stytchtest.Migrate)
			w.everybodyIsThere(0)
			assert.LessOrEqual(w, w.stytch.Count(stytchtest.Migrate), calls+10)
			time.Sleep(time.Second)
		}
		moved, _ := w.moved()
		assert.Subset(w, subjects(moved), subjects(before), "who has moved stays moved")
		assert.True(w, len(moved) >= turn.from && len(moved) <= turn.to, "%s: %d", turn.call, len(moved))
		before = moved
	}
	w.says("PerSecond")
	w.fails("(left alone: exchanges a second)", 0)
	w.everybodyIsThere(1)
}

func moveEverybody(w *walk) {
	before := w.status().Sessions.ToMove
	w.set("Stage: stytchmigrate.StageKeep")
	w.everybodyIsThere(0)
	w.everybodyIsThere(1)
	_, others := w.moved()
	assert.ElementsMatch(w, []string{"user-120", "user-121"}, subjects(others))
	for _, p := range w.people {
		assert.True(w, p.has("sid"))
	}
	w.everybodyIsThere(0)
	w.shows("still to move")
	assert.Greater(w, before, 20)
	assert.LessOrEqual(w, w.status().Sessions.ToMove, 7, "about two")

	w.stytch.UpdateUser(w.stytch.Users()[120].ID, func(u *stytchtest.User) { u.ExternalID = "user-120" })
	u := stytchtest.Person("user121@example.com")
	u.ExternalID = "user-121"
	w.stytch.AddUser(u)
	time.Sleep(time.Minute)
	w.everybodyIsThere(0)
	_, others = w.moved()
	assert.Empty(w, others, "what could not move was mended")

	then := w.status().Requests
	time.Sleep(time.Hour)
	w.everybodyIsThere(0)
	w.shows("All requests", "authenticated", "migrated", "Browsers that do not keep the Stytch cookies")
	w.says("not_kept")
	assert.Empty(w, w.told("not_kept"))
	assert.Equal(w, then["authenticated"]+len(w.people), w.status().Requests["authenticated"], "each browser kept its cookies")
	assert.Equal(w, then["migrated"], w.status().Requests["migrated"])
}

func replace(w *walk) {
	w.set("Stage: stytchmigrate.StageReplace")
	w.everybodyIsThere(0)
	for _, p := range w.people {
		assert.False(w, p.has("sid"))
	}
	w.shows("replace")
	before := w.stage("replace")
	w.about(len(w.people), before.Seen, "seen")
	time.Sleep(time.Hour)
	w.everybodyIsThere(0)
	assert.Equal(w, before, w.stage("replace"))
}

const (
	notYetSafe = "The old cookie is not yet safe to remove"
	safe       = "The old cookie is safe to remove, as far as this process saw"
)

func waitTwoWeeks(w *walk) {
	w.deploy(w.T) // each deployment starts the days anew
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{}))
	w.everybodyIsThere(0)
	assert.False(w, w.status().Removal.Safe, "though no old session came")
	late := w.comes("old-0.late")
	w.everybodyIsThere(0)
	w.everybodyIsThere(0)
	assert.False(w, late.has("sid"))
	w.shows(notYetSafe)
	for range 13 {
		time.Sleep(24 * time.Hour)
		w.visit(0, late)
		assert.False(w, w.status().Removal.Safe)
	}
	w.shows(notYetSafe)
	time.Sleep(24 * time.Hour)
	w.everybodyIsThere(0)
	w.shows(safe)
	assert.True(w, w.status().Removal.Safe)
	for _, r := range w.status().Removal.Reasons {
		assert.True(w, r.Holds, r.Text)
	}

	still := w.comes("old-1.later still")
	w.visit(0, still)
	assert.True(w, still.has("sid"), "until the Stytch cookies have come back")
	w.visit(0, still)
	assert.False(w, still.has("sid"))
	assert.False(w, w.status().Removal.Safe)
	assert.NotContains(w, w.read("/").Body.String(), safe)
	for range 14 {
		time.Sleep(24 * time.Hour)
		w.everybodyIsThere(0)
	}
	assert.True(w, w.status().Removal.Safe)
}

func retire(w *walk) {
	away, asWell := w.comes("old-2.away"), w.comes("old-3.away")
	w.people = slices.DeleteFunc(w.people, func(p *person) bool { return p == away || p == asWell })
	w.set("Stage: stytchmigrate.StageRetired")
	w.says("Resolve")
	assert.Empty(w, w.told("still_set"))
	w.says("still_set")
	w.everybodyIsThere(0)
	anonymous := w.status().Requests["anonymous"]
	assert.Zero(w, w.visit(0, away), "signs in anew")
	assert.False(w, away.has("sid"))
	w.shows("anonymous")
	assert.Equal(w, anonymous+1, w.status().Requests["anonymous"])
	assert.True(w, w.status().Removal.Safe)

	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}))
	assert.Equal(w, 1, w.visit(0, asWell))
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{}))
	assert.Equal(w, 1, w.visit(0, asWell))
	assert.True(w, asWell.has("stytch_session"))
}

func takeItOut(w *walk) {
	w.says("Legacy", "RequireUser", "Tickets")
	w.deploy(w.T, func(c *stytchmigrate.Config) { c.Legacy, c.Tickets = nil, nil })
	w.stytch.SetUserInfo(nil)
	w.machines[0] = w.auth.Handler(w.auth.RequireUser(http.HandlerFunc(whoIsThere)))
	require.NoError(w, w.auth.Check(w.Context()))
	w.everybodyIsThere(0)

	nobody := func(cookie string) int {
		r := httptest.NewRequest(http.MethodGet, estateURL.String(), nil)
		r.Header.Set("Cookie", cookie)
		rec := httptest.NewRecorder()
		w.machines[0].ServeHTTP(rec, r)
		return rec.Code
	}
	assert.Equal(w, http.StatusUnauthorized, nobody("sid=old-0"))
	w.stytch.FailAll(stytchtest.Any, stytchtest.Error(500, "internal_server_error"))
	assert.Equal(w, http.StatusServiceUnavailable, nobody("stytch_session="+w.stytch.Sessions()[0].Token))
	w.stytch.Heal(stytchtest.Any)
}
