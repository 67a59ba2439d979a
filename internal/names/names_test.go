package names_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/names"
)

func ours() *names.Names {
	return &names.Names{Key: "a key of 32 bytes, or of even more", Project: "project-test-1"}
}

// Places are evenly distributed, and the same on every machine and after a restart.
func TestPlaces(t *testing.T) {
	t.Parallel()
	const n = 20_000
	for kind, place := range map[string]func(on *names.Names, i int) float64{
		"by subject": func(on *names.Names, i int) float64 { return on.Place(fmt.Sprint("user-", i), "the same") },
		"by id":      func(on *names.Names, i int) float64 { return on.Place("", fmt.Sprint("session-", i)) },
	} {
		one, other := ours(), ours()
		below := map[float64]int{}
		for i := range n {
			at := place(one, i)
			if i%100 == 0 {
				assert.Equal(t, at, place(other, i), "%s: session %d", kind, i)
			}
			for _, p := range []float64{1, 0.999, 0.9, 0.8, 0} {
				if at < p {
					below[p]++
				}
			}
		}
		assert.Equal(t, n, below[1], kind)
		assert.Zero(t, below[0], kind)
		for _, p := range []float64{0.9, 0.8} {
			assert.InDelta(t, p*n, below[p], 0.015*n, "%s: below %v", kind, p)
		}
		assert.InDelta(t, 20, n-below[0.999], 18, "%s: a tenth of a percent is exact enough", kind)
	}
}

// A user's place can't be computed without the key, and differs between projects.
func TestPlaceIsKeyed(t *testing.T) {
	t.Parallel()
	one, key, project := ours(), ours(), ours()
	key.Key += "?"
	project.Project = "project-test-2"
	for name, other := range map[string]*names.Names{"another key": key, "another project": project} {
		same := 0
		for i := range 1000 {
			id := fmt.Sprint(i)
			if one.Place("", id) < 0.5 == (other.Place("", id) < 0.5) {
				same++
			}
		}
		assert.InDelta(t, 500, same, 100, name)
	}
}

// Each thing that tells one session from another changes its name, and no name has two
// meanings.
func TestRecordNames(t *testing.T) {
	t.Parallel()
	n := ours()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	seen := map[string]string{}
	for what, name := range map[string]string{
		"as it is":           n.Record("sid", "id", "ada", at),
		"another cookie":     n.Record("old", "id", "ada", at),
		"another id":         n.Record("sid", "i", "dada", at),
		"another subject":    n.Record("sid", "id", "bob", at),
		"another start":      n.Record("sid", "id", "ada", at.Add(1)),
		"an unknown start":   n.Record("sid", "id", "ada", time.Time{}),
		"a Stytch session":   n.Session("id"),
		"a fingerprint":      n.Fingerprint("sid", "id"),
		"parts run together": n.Record("sidi", "d", "ada", at),
	} {
		assert.Empty(t, seen[name], what)
		assert.LessOrEqual(t, len(name), 43, what)
		seen[name] = what
	}
	assert.Equal(t, n.Record("sid", "id", "ada", at), n.Record("sid", "id", "ada", at.UTC()), "the zone does not matter")
	other := ours()
	other.Project = "project-test-2"
	assert.NotEqual(t, n.Record("sid", "id", "ada", at), other.Record("sid", "id", "ada", at), "another project")
	assert.NotEqual(t, n.Fingerprint("sid", "id"), n.Fingerprint("old", "id"), "another cookie")
	assert.NotEqual(t, n.Session("id"), n.Session("id2"))
}

// The names are those of earlier versions: records, claims and ended sessions are found by
// them after an update.
func TestNamesStay(t *testing.T) {
	t.Parallel()
	n, at := ours(), time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	assert.Equal(t, "xZdX-BuvWgRtltZ5q_s269OZ1HZAW_4uebxfgTNdfS0", n.Record("sid", "id", "ada", at))
	assert.Equal(t, "KRGzqDrhBjfRySGUepzbHs1SKqfAJEGdOyJRgYiAPdo", n.Session("session-test-1"))
	assert.Equal(t, "84f300ce0975f5a6", n.Fingerprint("sid", "id"))
	assert.InDelta(t, 0.6078448610156626, n.Place("ada", "id"), 1e-12)
}
