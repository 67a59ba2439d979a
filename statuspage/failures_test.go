package statuspage_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// What fails at once shares calls: each of their ids is kept once. The newest is
// the first.
func TestRequestIDsOfFailures(t *testing.T) {
	page := statuspage.New(statuspage.Options{})
	for _, id := range []string{"a", "b", "a", "b", "c", "", "c", strings.Repeat("d", 64), strings.Repeat("e", 65), "f@example.com"} {
		observe(page, stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeUnavailable, ErrorType: "down", RequestID: id})
	}
	if got := read(t, page).Failures; assert.Len(t, got, 1) {
		assert.Equal(t, []string{strings.Repeat("d", 64), "c", "b", "a"}, got[0].IDs)
		assert.EqualValues(t, 10, got[0].Count)
	}
}

// The latest is the first, and of those of one moment they are in order. What
// makes room is what was not seen for longest, and its time is told.
func TestOrderOfFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page, began := statuspage.New(statuspage.Options{}), time.Now().UTC()
		fail := func(errorType string) {
			observe(page, stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeRefused, ErrorType: errorType})
		}
		types := func() (out []string) {
			for _, f := range read(t, page).Failures {
				out = append(out, fmt.Sprintf("%d %s %v", f.Count, f.Type, f.Last.Sub(began)))
			}
			return out
		}
		fail("b")
		fail("a")
		time.Sleep(time.Second)
		fail("c")
		fail("b")
		assert.Equal(t, []string{"2 b 1s", "1 c 1s", "1 a 0s"}, types())
		for i := range 29 {
			fail(fmt.Sprint("more_", i))
		}
		require.Len(t, types(), 32, "all of them")
		time.Sleep(time.Second)
		fail("last")
		assert.Equal(t, "1 (others, longer ago) 0s", types()[32])
		assert.Equal(t, "1 last 2s", types()[0])
		assert.NotContains(t, strings.Join(types(), " "), " a ")
		fail("b")
		fail("very_last")
		assert.Equal(t, "2 (others, longer ago) 1s", types()[32])
	})
}
