package tombstones_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/tombstones"
	"example.com/stytchmigrate/storetest"
)

// Machines add to what they tied to one Stytch session, and write only what is new.
func TestTied(t *testing.T) {
	var store storetest.Memory
	writes := 0
	store.Fail(func(op, _ string) error {
		if op == "put" {
			writes++
		}
		return nil
	})
	a, b := machine(&store), machine(&store)
	for range 3 {
		a.Tie(t.Context(), "s", []string{"1"})
	}
	assert.Equal(t, 1, writes)
	b.Tie(t.Context(), "s", []string{"2", "3"})
	a.Tie(t.Context(), "s", []string{"1", "4"})
	assert.ElementsMatch(t, []string{"1", "2", "3", "4"}, unique(a.Tied(t.Context(), "s")))
	assert.Equal(t, unique(a.Tied(t.Context(), "s")), unique(machine(&store).Tied(t.Context(), "s")))
	assert.ElementsMatch(t, []string{"1", "2", "3"}, b.TiedLocal("s"))
	assert.Empty(t, a.Tied(t.Context(), "another"))
	assert.Equal(t, []string{"1"}, func() []string {
		m := machine(nil)
		m.Tie(t.Context(), "s", []string{"1"})
		return m.Tied(t.Context(), "s")
	}())
}

// What is tied to a session ends with it, on all machines.
func TestMarkTied(t *testing.T) {
	var store storetest.Memory
	a, b := machine(&store), machine(&store)
	a.Tie(t.Context(), "s", []string{"1", "2"})
	assert.NoError(t, b.MarkTied(t.Context(), "another"))
	assert.False(t, machine(&store).LegacyEnded(t.Context(), "1"))
	assert.NoError(t, b.MarkTied(t.Context(), "s"))
	for _, m := range []*tombstones.Tombstones{a, b, machine(&store)} {
		assert.True(t, m.LegacyEnded(t.Context(), "1") && m.LegacyEnded(t.Context(), "2"))
	}
}

// Of many the latest ones stay.
func TestTiedIsBounded(t *testing.T) {
	m := machine(new(storetest.Memory))
	for i := range 20 {
		m.Tie(t.Context(), "s", []string{fmt.Sprint(i)})
	}
	assert.Equal(t, []string{"12", "13", "14", "15", "16", "17", "18", "19"}, m.TiedLocal("s"))
}

// What can't be read in the store does not hide what this process knows.
func TestTiedThatCannotBeRead(t *testing.T) {
	var store storetest.Memory
	m := machine(&store)
	m.Tie(t.Context(), "s", []string{"1"})
	for key := range store.Values() {
		_, err := store.Put(t.Context(), key, "", []byte("forged"), 1<<40)
		assert.NoError(t, err)
	}
	assert.Equal(t, []string{"1"}, m.Tied(t.Context(), "s"))
	store.Fail(func(string, string) error { return fmt.Errorf("down") })
	assert.Equal(t, []string{"1"}, m.Tied(t.Context(), "s"))
}

func unique(keys []string) (out []string) {
	seen := map[string]bool{}
	for _, key := range keys {
		if !seen[key] {
			out = append(out, key)
		}
		seen[key] = true
	}
	return out
}
