package statuspage

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A clock that was ahead for a while takes no hour away for longer than that.
func TestClockSetBack(t *testing.T) {
	var h hours
	now := time.Date(2030, 1, 31, 18, 30, 0, 0, time.UTC)
	h.at(now.Add(24 * time.Hour)).requests.Add(1)
	h.at(now).requests.Add(2)
	h.at(now.Add(time.Minute)).requests.Add(3)
	from, list := h.last(now)
	assert.Equal(t, time.Date(2030, 1, 30, 19, 0, 0, 0, time.UTC), from)
	if assert.NotNil(t, list[shownHours-1], "the hour of now") {
		assert.EqualValues(t, 5, list[shownHours-1].requests.Load())
	}
}
