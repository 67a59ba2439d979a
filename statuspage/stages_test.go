package statuspage_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// What failed is told to be over, and is not counted once more for that.
func TestWhatIsOver(t *testing.T) {
	for _, kind := range []string{"jwks", "store", "brake"} {
		whatIsOver(t, kind)
	}
}

func whatIsOver(t *testing.T, kind string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.New(statuspage.Options{})
		shown := func(sentence string) bool { return strings.Contains(get(page, "/").Body.String(), sentence) }
		assert.False(t, shown("not yet over"))
		observe(page, stytchmigrate.Event{Kind: kind, Cause: "failed"}, stytchmigrate.Event{Kind: "logout"})
		assert.True(t, shown("not yet over"))
		time.Sleep(time.Minute)
		observe(page, stytchmigrate.Event{Kind: kind, Cause: "recovered"})
		assert.False(t, shown("not yet over"))
		assert.True(t, shown(`<span class="good">over</span>`))
		for _, k := range read(t, page).Kinds {
			if k.Kind == kind {
				assert.EqualValues(t, 1, k.Count)
				assert.Equal(t, time.Now().UTC(), k.Recovered)
			}
		}
		time.Sleep(time.Minute)
		observe(page, stytchmigrate.Event{Kind: kind, Cause: "failed"})
		assert.True(t, shown("not yet over"))
	})
}

// A record that can't be read stays so: nothing will say that it is over. Nor is a
// store that is down well again for it.
func TestUnreadableRecordIsNoOutage(t *testing.T) {
	page := statuspage.New(statuspage.Options{})
	failing := func() bool {
		for _, k := range read(t, page).Kinds {
			if k.Kind == "store" {
				return k.Failing
			}
		}
		return false
	}
	observe(page, stytchmigrate.Event{Kind: "store", Cause: "unreadable"})
	assert.False(t, failing())
	assert.False(t, strings.Contains(get(page, "/").Body.String(), "not yet over"))
	observe(page, stytchmigrate.Event{Kind: "store", Cause: "failed"}, stytchmigrate.Event{Kind: "store", Cause: "unreadable"})
	assert.True(t, failing())
}

// What the shadow finds out counts in its row, and among the failures, and moves
// nobody.
func TestShadow(t *testing.T) {
	page := statuspage.New(statuspage.Options{})
	for id, o := range map[string]stytchmigrate.Outcome{"a": stytchmigrate.OutcomeMigrated, "b": stytchmigrate.OutcomeRefused} {
		e := request(stytchmigrate.OutcomeLegacy, id)
		e.Stage, e.Cause = stytchmigrate.StageShadow, "shadow"
		tried := stytchmigrate.Event{Kind: "shadow", Outcome: o, Fingerprint: id}
		if o == stytchmigrate.OutcomeRefused {
			tried.ErrorType, tried.RequestID, tried.Err = "user_not_found", "request-id-test-1", errors.New("x")
		}
		observe(page, e, tried)
	}
	observe(page, stytchmigrate.Event{Kind: "shadow", Outcome: 77, Fingerprint: "c"})
	got := read(t, page)
	assert.Equal(t, []stage{{"shadow", 2, 1, 2, 1}}, got.Stages)
	assert.EqualValues(t, 0, got.Sessions.Migrated)
	assert.EqualValues(t, 2, got.Sessions.ToMove)
	if assert.Len(t, got.Failures, 1) {
		assert.Equal(t, "user_not_found", got.Failures[0].Type)
	}
	assert.EqualValues(t, 2, got.Requests["legacy"])
	for _, k := range got.Kinds {
		assert.Zero(t, k.Count, k.Kind)
	}
}

// A session counts in each stage in which it came, and is still to move until it
// has come with a Stytch session.
func TestByStage(t *testing.T) {
	page := statuspage.NewApart(statuspage.Options{})
	in := func(s stytchmigrate.Stage, o stytchmigrate.Outcome, sessions ...string) {
		for _, id := range sessions {
			e := request(o, id)
			e.Stage = s
			observe(page, e)
		}
	}
	in(stytchmigrate.StageObserve, stytchmigrate.OutcomeLegacy, "a", "b", "c", "d")
	assert.EqualValues(t, 4, read(t, page).Sessions.ToMove)
	in(stytchmigrate.StageKeep, stytchmigrate.OutcomeMigrated, "a")
	in(stytchmigrate.StageKeep, stytchmigrate.OutcomeAuthenticated, "a", "b")
	in(stytchmigrate.StageKeep, stytchmigrate.OutcomeRefused, "c")
	in(stytchmigrate.StageRetired, stytchmigrate.OutcomeLegacy, "d") // held back
	in(stytchmigrate.Stage(77), stytchmigrate.OutcomeLegacy, "d")
	in(stytchmigrate.Stage(-1), stytchmigrate.OutcomeLegacy, "d")
	got := read(t, page)
	assert.EqualValues(t, 2, got.Sessions.ToMove)
	assert.Equal(t, []stage{{"observe", 4, 0, 4, 0}, {"keep", 3, 1, 0, 1}, {"retired", 1, 0, 1, 0}}, got.Stages)
	assert.Contains(t, get(page, "/").Body.String(), `<th scope="row">keep</th><td class="n" data-label="Seen">3</td><td class="n" data-label="Migrated">1</td>`)
}
