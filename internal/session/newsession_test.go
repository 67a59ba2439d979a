package session_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// The part of Stytch that answers may not know a session yet that began less than 30 s
// ago. Its "no" clears no cookie, is not remembered and ends no legacy session, wherever
// something tells the age: memory, a JWT, or a JWT that there is no key for. Nothing
// tells the age of a token that comes alone.
func TestNewSessionIsNotFound(t *testing.T) {
	const second = time.Second
	for name, row := range map[string]struct {
		after          time.Duration
		known, cookies string
		prepare        func(*machine)
		want, again    string // what is found, and what is found when Stytch knows the session
	}{
		"a JWT, at once":                  {second / 5, "", "Jd", nil, "d verified, partial | Jd", "d asked | Jd"},
		"a JWT and its token":             {second / 5, "", "Jd Td", nil, "d verified, partial | Jd", "d asked | Jd"},
		"a moment before 30 s":            {30*second - 1, "", "Jd", nil, "d verified, partial | Jd", "d asked | Jd"},
		"after 30 s":                      {30 * second, "", "Jd", nil, "none, clear, ended key | Jd", ""},
		"a JWT without started_at":        {second, "", "Jd", (*machine).withoutStart, "d verified, partial | Jd", "d asked | Jd"},
		"such a JWT, after 30 s":          {30 * second, "", "Ed", (*machine).withoutStart, "none, clear, ended key | Ed", ""},
		"a JWT that has expired":          {second, "", "Ed", (*machine).expireJWT, "can't tell of d | Ed", "d asked, write | Ed"},
		"a token beside it":               {second, "", "Td Ed", (*machine).expireJWT, "can't tell of d | Td? Ed", "d asked, write | Ed"},
		"rubbish beside it":               {second, "", "X1 X2 Ed", (*machine).expireJWT, "can't tell of d | Ed X1? X2?", "d asked, write | Ed"},
		"a token that memory knows":       {second, "Td", "Td", (*machine).askAgain, "can't tell | Td", "d asked, write | Td"},
		"no keys, a JWT":                  {second, "", "Ed", (*machine).loseKeys, "can't tell | Ed?", "d asked, write | Ed?"},
		"no keys, a token beside a JWT":   {second, "", "Td Ed", (*machine).loseKeys, "can't tell | Td?", "d asked, write | Td?"},
		"no keys, after 30 s":             {30 * second, "", "Td Ed", (*machine).loseKeys, "none, clear | Td?", ""},
		"a token alone says nothing":      {second, "", "Td", nil, "none, clear | Td?", ""},
		"a session that was logged out":   {second, "", "Jd", func(m *machine) { m.logoutElsewhere("d") }, "none, clear | Jd", ""},
		"a clock that is behind Stytch's": {-20 * second, "", "Jd", nil, "d verified, partial | Jd", "d asked | Jd"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine(newStytch(), new(storetest.Memory))
				m.stytch.openFrom("key", "d")
				if row.after < 0 {
					m.stytch.sessions["d"].StartedAt = time.Now().Add(-row.after)
				}
				m.get(row.known)
				if row.prepare != nil {
					row.prepare(m)
				}
				time.Sleep(max(row.after, 0))
				m.stytch.gone["d"] = true
				jwts, tokens := m.cookies(row.cookies)
				cookies := strings.Join(append(tokens, jwts...), " ")
				assert.Equal(t, row.want, m.get(cookies))
				assert.Empty(t, m.doubts)
				if row.again != "" {
					m.stytch.gone["d"] = false
					time.Sleep(10 * second)
					assert.Equal(t, row.again, m.get(cookies))
				}
				time.Sleep(m.Limit)
			})
		})
	}
}

// withoutStart makes the JWT of d one that does not say when its session began.
func (m *machine) withoutStart() {
	m.stytch.sessions["d"].StartedAt = time.Time{}
	m.stytch.jwts[string(m.stytch.sessions["d"].JWT)].SessionStartedAt = time.Time{}
}

func (m *machine) expireJWT() {
	m.stytch.jwts[string(m.stytch.sessions["d"].JWT)].ExpiresAt = time.Now().Add(-time.Minute)
}

func (m *machine) loseKeys() { m.stytch.keysDown = true }

// askAgain makes memory ask Stytch about the token of d.
func (m *machine) askAgain() {
	out := *m.stytch.sessions["d"]
	out.JWT = secret(m.stytch.sign("N", "d"))
	m.stytch.jwts[string(out.JWT)].ExpiresAt = time.Now()
	if _, err := m.Add(&out, time.Now()); err != nil {
		panic(err)
	}
}

func (m *machine) logoutElsewhere(id string) {
	if err := m.Tombstones.MarkSessionShared(context.Background(), id); err != nil {
		panic(err)
	}
}

// A request that brought the token alone does not make the machine refuse one that shows
// its age.
func TestTokenThatWasUnknownAMomentAgo(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.gone["a"], m.stytch.keysDown = true, true
		assert.Equal(t, "none, clear | Ta?", m.get("Ta"))
		assert.Equal(t, "can't tell | Ta?", m.get("Ta Ea"))
	})
}

// The time at which Stytch was asked counts, not that of its answer.
func TestSlowNo(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		time.Sleep(29 * time.Second)
		m.stytch.before = func(context.Context, stytch.SessionRef) error { time.Sleep(2 * time.Second); return errNotFound }
		_, err := m.Confirm(t.Context(), m.stytch.sessions["a"], time.Time{}, 0)
		assert.Equal(t, stytch.CantTell, stytch.AnswerOf(err))
	})
}

// Any number of new sessions that are not found pull no brake, and a new witness that is
// not found is no reason to doubt Stytch. The "no" about the other session is not believed
// either, until a witness speaks.
func TestNewSessionsPullNoBrake(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(2)
		for i := range 30 {
			m.stytch.open(fmt.Sprint("v", i), month)
			m.stytch.gone[fmt.Sprint("v", i)] = true
			assert.Contains(t, m.get(fmt.Sprint("Jv", i)), "partial")
		}
		assert.Empty(t, m.doubts)
		m.stytch.open("w", month)
		require.Contains(t, m.get("Jw"), "asked")
		m.stytch.gone["w"], m.stytch.gone["u0"] = true, true
		assert.Equal(t, "can't tell of u0 | Eu0 Tw", m.get("Eu0"))
		assert.Empty(t, m.doubts)
		m.stytch.gone["w"] = false
		assert.Equal(t, "none, clear | Eu0 Tw", m.get("Eu0"))
	})
}

// A session that has been known for longer is the better witness.
func TestWitnessIsAnOldSession(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.users(3)
		m.visit(1)
		m.stytch.open("w", month)
		m.get("Jw")
		m.loseAll()
		assert.Equal(t, "can't tell of u0 | Eu0 Tu1", m.get("Eu0"))
		assert.Equal(t, []string{doubt}, m.doubts)
	})
}
