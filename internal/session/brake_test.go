package session_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/stytch"
)

const (
	doubt = "stytchmigrate: authenticate: Stytch suddenly knows too few of the sessions that it made: is this its project?"

	ended = "none, clear" // a "no" that is believed
	held  = "can't tell"  // one that is not
)

// users opens n sessions u0, u1, …, and waits until their JWTs have expired.
func (m *machine) users(n int) {
	for i := range n {
		m.stytch.open(fmt.Sprint("u", i), month)
	}
	time.Sleep(6 * time.Minute)
}

// visit sends the expired JWT of a session, and returns what becomes of it in a word.
func (m *machine) visit(i int) string {
	got := describe(m.Find(context.Background(), m.expired(i), nil))
	got, _, _ = strings.Cut(got, " of ")
	return got
}

func (m *machine) expired(i int) []string {
	jwts, _ := m.cookies(fmt.Sprint("Eu", i))
	return jwts
}

func (m *machine) loseAll() {
	for id := range m.stytch.sessions {
		m.stytch.gone[id] = true
	}
}

// One session among others that are well has ended: Stytch is asked about it, and about
// a session that was alive a moment ago, and is believed.
func TestOneOfManyHasEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(3)
		m.visit(1)
		m.visit(2)
		m.stytch.gone["u0"] = true
		assert.Equal(t, "none, clear | Eu0 Tu2", m.get("Eu0"))
		assert.Equal(t, "none, clear | -", m.get("Eu0"))
		assert.Empty(t, m.doubts)
	})
}

// Rule 1. The third in a row is not believed, for a minute, where no other user comes.
// The same session counts once, however often it comes.
func TestThreeInARowHaveEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(4)
		m.loseAll()
		assert.Equal(t, ended, m.visit(0))
		time.Sleep(59 * time.Second)
		assert.Equal(t, ended, m.visit(1))
		time.Sleep(time.Minute - time.Nanosecond)
		assert.Equal(t, held, m.visit(2))
		assert.Equal(t, []string{doubt}, m.doubts)
		for range 5 {
			time.Sleep(10 * time.Second)
			assert.Equal(t, held, m.visit(2))
		}
		assert.Len(t, m.doubts, 1, "reported once a minute")
		time.Sleep(10*time.Second - time.Nanosecond)
		assert.Equal(t, held, m.visit(2))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, ended, m.visit(2), "a minute after a new one came")
	})
}

// A run ends after ten minutes, though ever new sessions join it.
func TestARunLastsTenMinutesAtMost(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(25)
		m.loseAll()
		var got []string
		for i := range 24 {
			got = append(got, m.visit(i))
			time.Sleep(30 * time.Second)
		}
		assert.Equal(t, slices.Concat([]string{ended, ended}, slices.Repeat([]string{held}, 18), []string{ended, ended, held, held}), got)
	})
}

// A session that Stytch knows ends the run, and the doubt. It is the witness of what
// follows: as long as Stytch knows it, there is no run.
func TestAKnownSessionEndsARun(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(7)
		for i := range 6 {
			m.stytch.gone[fmt.Sprint("u", i)] = true
		}
		assert.Equal(t, []string{ended, ended, held, held}, []string{m.visit(0), m.visit(1), m.visit(2), m.visit(3)})
		assert.Equal(t, []string{doubt}, m.doubts)
		assert.Equal(t, "u6 asked, write", m.visit(6))
		assert.Equal(t, []string{doubt, "over"}, m.doubts)
		assert.Equal(t, []string{ended, ended, ended, ended}, []string{m.visit(2), m.visit(3), m.visit(4), m.visit(5)})
	})
}

// Rule 2. More than half of at least twenty in a minute are not believed, in any order.
func TestMoreThanHalfHaveEnded(t *testing.T) {
	for name, row := range map[string]struct {
		alive, gone int
		want        string
	}{
		"half":                    {10, 10, ended},
		"more than half":          {10, 11, held},
		"more than half of fewer": {8, 11, ended},
		"of twenty":               {9, 11, held},
		"nearly all of nineteen":  {6, 12, ended},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.users(40)
				for i := range row.gone {
					m.stytch.gone[fmt.Sprint("u", i)] = true
				}
				for i := range row.alive { // all but one of them before, so that witnesses are alive
					require.Contains(t, m.visit(39-i), "asked")
				}
				got := ""
				for i := range row.gone {
					m.ReportAlive(m.Lookup([]string{m.current("u39")})) // no run of three
					got = m.visit(i)
				}
				assert.Equal(t, row.want, got)
				assert.Equal(t, row.want == held, len(m.doubts) > 0)
			})
		})
	}
}

// What is older than a minute does not count in rule 2, and the doubt is over only when
// most are known again.
func TestHalfOfAMinute(t *testing.T) {
	for wait, want := range map[time.Duration]string{time.Minute - time.Nanosecond: held, time.Minute: ended} {
		inBubble(t, func(t *testing.T, m *machine) {
			m.users(40)
			for i := range 12 {
				m.stytch.gone[fmt.Sprint("u", i)] = true
			}
			for i := range 9 {
				m.visit(39 - i)
			}
			for i := range 11 {
				m.ReportAlive(m.Lookup([]string{m.current("u39")}))
				m.visit(i)
			}
			require.Equal(t, []string{doubt}, m.doubts)
			m.ReportAlive(m.Lookup([]string{m.current("u39")}))
			assert.Len(t, m.doubts, 1, "one known session is not enough")
			time.Sleep(wait)
			m.ReportAlive(m.Lookup([]string{m.current("u39")}))
			assert.Equal(t, want == ended, len(m.doubts) == 2)
			assert.Equal(t, want, m.visit(11))
		})
	}
}

// In rule 2 a session that Stytch knew and then does not know counts as one that it does
// not know.
func TestASessionIsCountedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(14)
		for i := range 12 {
			m.visit(i)
		}
		m.loseAll()
		m.stytch.gone["u11"] = false
		for i := range 11 {
			assert.Equal(t, ended, m.confirm(i), i)
		}
		assert.Equal(t, ended, m.visit(12))
		assert.Equal(t, ended, m.visit(13), "13 are not known and 1 is, which is not 20; it is not 13 and 12")
		assert.Empty(t, m.doubts)
	})
}

// confirm asks Stytch about a session though memory knows it.
func (m *machine) confirm(i int) string {
	_, err := m.Confirm(context.Background(), m.stytch.sessions[fmt.Sprint("u", i)], time.Time{}, 0)
	if stytch.AnswerOf(err) == stytch.No {
		return ended
	}
	return held
}

// Made-up cookies do not pull the brake, and neither do sessions that ran out, or that
// their users logged out.
func TestWhatPullsNoBrake(t *testing.T) {
	for name, row := range map[string]struct {
		cookies string // of user %d
		prepare func(*machine)
	}{
		"made-up tokens":             {"X%d", func(*machine) {}},
		"tokens that are not known":  {"Tu%d", (*machine).loseAll},
		"sessions that ran out":      {"Eu%d", func(m *machine) { time.Sleep(month); m.loseAll() }},
		"just before they do":        {"Eu%d", func(m *machine) { time.Sleep(month - 8*time.Minute); m.loseAll() }},
		"JWTs that nothing verifies": {"Eu%d", func(m *machine) { m.stytch.keysDown = true; m.loseAll() }},
		"logged out here": {"Eu%d", func(m *machine) {
			m.loseAll()
			for i := range 30 {
				m.End(fmt.Sprint("u", i))
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.users(30)
				row.prepare(m)
				for i := range 30 {
					assert.Contains(t, m.get(fmt.Sprintf(row.cookies, i)), ended)
				}
				assert.Empty(t, m.doubts)
			})
		})
	}
}

// How close to its expiry a session has to be.
func TestNearExpiry(t *testing.T) {
	for left, want := range map[time.Duration]string{2 * time.Minute: ended, 2*time.Minute + 1: held} {
		inBubble(t, func(t *testing.T, m *machine) {
			m.users(4)
			time.Sleep(month - 6*time.Minute - left)
			m.loseAll()
			m.visit(0)
			m.visit(1)
			assert.Equal(t, want, m.visit(2))
		})
	}
}

// What is not believed of a session is not believed for a request that says less: a no to
// its token, which nothing vouches for, is remembered for that token alone.
func TestUnknownTokenBesideTheBrake(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(5)
		m.loseAll()
		for i := range 4 {
			m.visit(i)
		}
		assert.Equal(t, held, m.visit(4), "the brake is pulled")
		assert.Equal(t, "none, clear | Tu4?", m.get("Tu4"), "a request that lacks the JWT is not vouched for")
		assert.Contains(t, m.get("Tu4 Eu4"), held, "still")
	})
}
