package stytchmigrate

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/userinfo"
)

// holder is what decides who is held back, on one machine since it started.
func holder() *migrator {
	r, _ := keeper()
	return &migrator{cfg: &Config{ProjectID: "project-test-1"}, records: r}
}

// Of 100,000 legacy sessions as many move as should, the same ones on every
// machine and after a restart, and none of them is held back again at a lower
// percentage.
func TestWhoIsHeldBack(t *testing.T) {
	t.Parallel()
	const n = 100_000
	for kind, session := range map[string]func(i int) LegacySession{
		"by subject": func(i int) LegacySession {
			return LegacySession{ID: "the same", Identity: userinfo.Identity{Subject: fmt.Sprint("user-", i)}}
		},
		"by id": func(i int) LegacySession { return LegacySession{ID: Secret(fmt.Sprint("session-", i))} },
	} {
		one, other := holder(), holder()
		moved := map[float64]int{}
		for i := range n {
			f := &foundLegacy{session: session(i)}
			before := true
			for _, percent := range []float64{100, 99.9, 90, 80, 0} {
				held := one.isHeldBack(percent, f)
				if percent == 90 && held != other.isHeldBack(percent, f) || held && !before {
					t.Fatalf("%s: session %d at %v %%: held back %v", kind, i, percent, held)
				}
				if before = held; !held {
					moved[percent]++
				}
			}
		}
		for percent, moves := range moved {
			assert.InDelta(t, 100-percent, float64(moves)*100/n, 0.5, "%s: percent that move at %v", kind, percent)
		}
		assert.Equal(t, n, moved[0])
		assert.Zero(t, moved[100])
		assert.InDelta(t, 100, moved[99.9], 50, "%s: a tenth of a percent is no rough figure", kind)
	}
}

// Nobody's place is to be known from outside, or the same in two projects.
func TestPlaceIsKeyed(t *testing.T) {
	t.Parallel()
	one, key, project := holder(), holder(), holder()
	key.records.key += "?"
	project.cfg = &Config{ProjectID: "project-test-2"}
	for name, other := range map[string]*migrator{"another key": key, "another project": project} {
		same := 0
		for i := range 1000 {
			f := &foundLegacy{session: LegacySession{ID: Secret(fmt.Sprint(i))}}
			if one.isHeldBack(50, f) == other.isHeldBack(50, f) {
				same++
			}
		}
		assert.InDelta(t, 500, same, 100, name)
	}
}
