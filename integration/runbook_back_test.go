package integration

import (
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// halfway lets some half of the people move by a stage. Each comes twice, so that in
// stage Replace the old cookies of that half are gone.
func (w *walk) halfway(stage stytchmigrate.Stage) (moved, others []*person) {
	w.Helper()
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stage, HoldBack: 50}))
	w.everybodyIsThere(0)
	w.everybodyIsThere(0)
	moved, others = w.moved()
	require.True(w, len(moved) > 5 && len(others) > 5)
	w.stytch.ResetCalls()
	return moved, others
}

// goesOn sees that those who have moved go on by their Stytch session, also when
// its JWT has run out, and that nobody else moves.
func (w *walk) goesOn(moved, others []*person) {
	w.Helper()
	for range 3 {
		time.Sleep(6 * time.Minute)
		before := w.status().Requests["authenticated"]
		w.everybodyIsThere(0)
		assert.Equal(w, before+len(moved), w.status().Requests["authenticated"])
	}
	now, stay := w.moved()
	assert.Equal(w, subjects(moved), subjects(now))
	assert.Equal(w, subjects(others), subjects(stay))
	assert.Zero(w, w.stytch.Count(stytchtest.Migrate))
	assert.Zero(w, w.stytch.Count(stytchtest.Revoke))
	assert.Equal(w, len(moved), w.live(), "nothing is deleted")
}

// forward sees that the stage that was left is as good as before.
func (w *walk) forward(stage stytchmigrate.Stage) {
	w.Helper()
	require.NoError(w, w.auth.SetRollout(stytchmigrate.Rollout{Stage: stage}))
	w.everybodyIsThere(0)
	_, others := w.moved()
	assert.Empty(w, others)
}

func backFromKeep(w *walk) {
	moved, others := w.halfway(stytchmigrate.StageKeep)
	w.set("Stage: stytchmigrate.StageKeep, HoldBack: 100")
	w.goesOn(moved, others)
	w.everybodyIsThere(1)
	w.shows("left alone")
	w.about(len(others), w.stage("keep").Left, "left alone")
	w.about(len(moved), w.stage("keep").Migrated, "migrated")
	w.forward(stytchmigrate.StageKeep)
}

func backFromKeepToObserve(w *walk) {
	moved, others := w.halfway(stytchmigrate.StageKeep)
	w.set("Stage: stytchmigrate.StageObserve")
	w.goesOn(moved, others)
	w.everybodyIsThere(1)
	w.shows("observe")
	w.about(len(others), w.stage("observe").Left, "left alone")
	w.forward(stytchmigrate.StageKeep)
}

func takenOutInKeep(w *walk) {
	w.halfway(stytchmigrate.StageKeep)
	w.everybodyIsThere(1)
	time.Sleep(24 * time.Hour)
	w.everybodyIsThere(1)
	for _, p := range w.people {
		assert.True(w, p.has("sid"))
	}
	w.forward(stytchmigrate.StageKeep)
}

func backFromReplace(w *walk) {
	moved, others := w.halfway(stytchmigrate.StageReplace)
	w.set("Stage: stytchmigrate.StageObserve")
	w.goesOn(moved, others)
	w.shows("left alone")
	w.about(len(others), w.stage("observe").Left, "left alone")
	for _, p := range w.people {
		assert.NotEqual(w, p.has("sid"), p.has("stytch_session"))
	}
	w.forward(stytchmigrate.StageReplace)
}

func takenOutInReplace(w *walk) {
	moved, others := w.halfway(stytchmigrate.StageReplace)
	w.set("Stage: stytchmigrate.StageKeep")
	w.everybodyIsThere(0)
	_, left := w.moved()
	assert.Empty(w, left)
	assert.Zero(w, w.visit(1, moved...), "their old cookie is gone")
	assert.Equal(w, len(others), w.visit(1, others...), "who moved after the call is not signed out")
}
