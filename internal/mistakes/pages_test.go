package mistakes_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/mistakes"
)

// Each row is what happens, in order: "page" and "fetch" give the session again, "kept"
// is a request that brings it, "other" is a page of another legacy session, and a duration
// passes. The page that is enough is counted from 1; 0: there is none.
func TestPagesInARow(t *testing.T) {
	for name, row := range map[string]struct {
		events string
		enough int
	}{
		"two pages":                         {"page page", 0},
		"three pages":                       {"page page page", 3},
		"more pages are said once":          {"page page page page page page", 3},
		"days lie between":                  {"page 72h page 72h page", 3},
		"the session came between":          {"page page kept page page", 0},
		"and then did not":                  {"page kept page page page", 4},
		"pages of two sessions":             {"page other page other", 0},
		"what one page fetches":             {"fetch fetch fetch fetch", 0},
		"what one page fetches, in time":    {"fetch 500ms fetch 499ms fetch 500ms fetch", 0},
		"what three pages fetch":            {"fetch 1s fetch fetch 1s fetch", 4},
		"a page and what it fetches":        {"page fetch fetch page fetch", 0},
		"three pages and what they fetched": {"page fetch page fetch page fetch", 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, given, enough := mistakes.NewPages(3), 0, 0
				for e := range strings.FieldsSeq(row.events) {
					switch e {
					case "kept":
						p.Kept("a")
					case "other":
						assert.False(t, p.Given("b", p.Of("b"), false))
					case "page", "fetch":
						given++
						if p.Given("a", p.Of("a"), e == "fetch") {
							assert.Zero(t, enough, "said twice")
							enough = given
						}
					default:
						d, err := time.ParseDuration(e)
						assert.NoError(t, err)
						time.Sleep(d)
					}
				}
				assert.Equal(t, row.enough, enough)
			})
		})
	}
}

// Requests that are under way at the same time are one page.
func TestPagesAtTheSameTime(t *testing.T) {
	t.Parallel()
	p := mistakes.NewPages(3)
	for page := range 2 {
		before := p.Of("a")
		for range 10 {
			assert.False(t, p.Given("a", before, false), page)
		}
	}
	assert.True(t, p.Given("a", p.Of("a"), false))
}

// What was not seen for longest makes room.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	p := mistakes.NewPages(3)
	for i := range 5000 {
		p.Given(fmt.Sprint(i), 0, false)
	}
	assert.Zero(t, p.Of("0"))
	assert.Equal(t, 1, p.Of("4999"))
}
