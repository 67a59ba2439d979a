package mistakes_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/mistakes"
)

// others notes n requests, as the middleware does, and returns how many were enough.
func others(a *mistakes.Absence, n int) (absent int) {
	for range n {
		if a.Counts() && a.Other() {
			absent++
		}
	}
	return absent
}

func TestAbsence(t *testing.T) {
	a := mistakes.NewAbsence(true)
	assert.Zero(t, others(a, 999))
	assert.Equal(t, 1, others(a, 1), "the thousandth")
	assert.Zero(t, others(a, 2000), "once")
	assert.False(t, a.Counts())

	a = mistakes.NewAbsence(true)
	assert.Zero(t, others(a, 999))
	a.End()
	assert.Zero(t, others(a, 2000), "a cookie came")
	assert.Zero(t, others(mistakes.NewAbsence(false), 2000), "none is expected")
}
