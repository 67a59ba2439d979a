package session_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// The witness. Stytch has lost all sessions: it does not know the one either that was
// alive a moment ago, and nothing is believed from the first user on.
func TestWitness(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(3)
		m.visit(2)
		m.loseAll()
		assert.Equal(t, "can't tell of u0 | Eu0 Tu2", m.get("Eu0"))
		assert.Equal(t, []string{doubt}, m.doubts)
		assert.Equal(t, "can't tell of u1 | Eu1", m.get("Eu1"), "the witness is asked about once")
		time.Sleep(9 * time.Minute)
		assert.Equal(t, held, m.visit(0), "that lasts longer than a run")
		time.Sleep(time.Minute - time.Nanosecond)
		assert.Equal(t, held, m.visit(0))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, ended, m.visit(0))
		assert.Equal(t, []string{doubt, doubt}, m.doubts)
	})
}

// Once Stytch knows a session again, it is believed again.
func TestWitnessIsFoundAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(3)
		m.visit(2)
		m.loseAll()
		assert.Equal(t, held, m.visit(0))
		m.stytch.gone["u1"] = false
		assert.Contains(t, m.visit(1), "asked")
		assert.Equal(t, []string{doubt, "over"}, m.doubts)
		assert.Equal(t, "none, clear | Eu0 Tu1", m.get("Eu0"))
	})
}

// Which session is no witness: one that may have ended for a reason, or was heard of too
// long ago. And a witness about which Stytch can't tell says nothing.
func TestWhoIsNoWitness(t *testing.T) {
	at := func(left time.Duration) func(*machine) {
		return func(m *machine) {
			m.stytch.open("w", 0).ExpiresAt = time.Now().Add(left)
			_, err := m.Add(m.stytch.sessions["w"], time.Now())
			if err != nil {
				panic(err)
			}
			m.ReportAlive(m.Lookup([]string{m.current("w")}))
		}
	}
	alive := at(month)
	for name, row := range map[string]struct {
		prepare func(*machine)
		after   time.Duration
		calls   string
		want    string
	}{
		"it is one":                   {alive, 0, "Eu0 Tw", held},
		"nobody":                      {func(*machine) {}, 0, "Eu0", ended},
		"it expires in 2 minutes":     {at(2 * time.Minute), 0, "Eu0 Tw", held},
		"it expires sooner":           {at(2*time.Minute - 1), 0, "Eu0", ended},
		"heard of ten minutes ago":    {alive, 10 * time.Minute, "Eu0", ended},
		"a moment less":               {alive, 10*time.Minute - 1, "Eu0 Tw", held},
		"it logged out here":          {func(m *machine) { alive(m); m.End("w") }, 0, "Eu0", ended},
		"its token logged out here":   {func(m *machine) { alive(m); m.logOut("Tw") }, 0, "Eu0", ended},
		"Stytch can't tell about it":  {func(m *machine) { alive(m); m.failFor("Tw") }, 0, "Eu0 Tw", ended},
		"it is the session itself":    {func(m *machine) { m.get("Eu0"); m.addUnreadable("Tu0") }, 5 * time.Minute, "Tu0", ended},
		"another after that asks it,": {func(m *machine) { m.get("Eu1"); m.addUnreadable("Tu0") }, 5 * time.Minute, "Tu0 Tu1", held},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.users(2)
				row.prepare(m)
				time.Sleep(row.after)
				m.loseAll()
				cookies := "Eu0"
				if strings.HasPrefix(row.calls, "Tu0") {
					cookies = "Tu0"
				}
				assert.Regexp(t, "^"+row.want+".* \\| "+row.calls+"$", m.get(cookies))
			})
		})
	}
}

// failFor makes calls about one token fail.
func (m *machine) failFor(token string) {
	m.stytch.before = func(_ context.Context, ref stytch.SessionRef) error {
		if string(ref.Token) == token {
			return errDown
		}
		return nil
	}
}

// A witness that was logged out on another machine is no reason to doubt Stytch.
func TestWitnessLoggedOutElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, f := new(storetest.Memory), newStytch()
		m, other := newMachine(f, store), newMachine(f, store)
		m.users(2)
		m.visit(1)
		require.NoError(t, other.Tombstones.MarkSessionShared(t.Context(), "u1"))
		m.loseAll()
		assert.Equal(t, "none, clear | Eu0", m.get("Eu0"))
		assert.Empty(t, m.doubts)
	})
}
