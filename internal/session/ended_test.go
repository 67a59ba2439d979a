package session_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// A session that somebody ended elsewhere, as in Stytch's dashboard, has ended for the
// legacy session that it came from too. One that ran out has not, nor one that is so new
// that Stytch may not know it everywhere.
func TestEndedElsewhere(t *testing.T) {
	const second, life = time.Second, month
	for name, row := range map[string]struct {
		after          time.Duration
		known, cookies string
		ended          bool
	}{
		"a token that memory knows":        {time.Hour, "Td", "Td", true},
		"a token that memory lacks":        {time.Hour, "", "Td", false},
		"a token beside its expired JWT":   {time.Hour, "", "Td Ed", true},
		"an expired JWT":                   {time.Hour, "", "Ed", true},
		"a valid JWT":                      {time.Hour, "", "Jd", true},
		"a known token, another's JWT":     {time.Hour, "Td", "Td Ea", true},
		"rubbish, and an expired JWT":      {time.Hour, "", "X1 X2 Ed", true},
		"rubbish, and a token":             {time.Hour, "Td", "X1 Td", true},
		"too much rubbish, and the token":  {time.Hour, "Td", "Td X1 X2 X3", true},
		"30 s after it began":              {30 * second, "", "Jd", true},
		"2 min before it runs out":         {life - 2*time.Minute, "", "Jd", true},
		"a moment later":                   {life - 2*time.Minute + 1, "", "Jd", false},
		"2 min before, an expired JWT":     {life - 2*time.Minute, "", "Ed", true},
		"a moment later, an expired JWT":   {life - 2*time.Minute + 1, "", "Ed", false},
		"when it had run out":              {life + day, "", "Ed", false},
		"a known token, it had run out":    {life + day, "Td", "Td", false},
		"a known token, 2 min before":      {life - 2*time.Minute, "Td", "Td", true},
		"a known token, a moment too late": {life - 2*time.Minute + 1, "Td", "Td", false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.ExtendBy = 0
				m.stytch.openFrom("key", "d")
				m.get(row.known)
				m.addUnreadable(row.known)
				time.Sleep(row.after)
				m.stytch.gone["d"], m.stytch.gone["a"] = true, true
				got := m.get(row.cookies)
				assert.Contains(t, got, "none")
				assert.Equal(t, row.ended, strings.Contains(got, "ended key"), got)
			})
		})
	}
}

// The session is forgotten: what is said of it once is not said again.
func TestEndedElsewhereIsForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.openFrom("key", "d")
		m.get("Td")
		time.Sleep(6 * time.Minute)
		m.stytch.gone["d"] = true
		assert.Equal(t, "none, clear, ended key | Td", m.get("Td"))
		time.Sleep(time.Minute)
		assert.Equal(t, "none, clear | Td?", m.get("Td"))
	})
}

// Of two requests at once the second learns of the origin too, though the first has made
// the session forgotten: by the expired JWT beside its token.
func TestTwoRequestsOfASessionThatEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.openFrom("key", "d")
		m.get("Td")
		time.Sleep(6 * time.Minute)
		m.stytch.gone["d"] = true
		m.stytch.before = func(ctx context.Context, _ stytch.SessionRef) error { background.Sleep(ctx, time.Second); return nil }
		other := make(chan string)
		jwts, tokens := m.cookies("Td Ed")
		go func() { other <- m.find(jwts, tokens) }()
		assert.Equal(t, "none, clear, ended key", m.find(jwts, tokens))
		assert.Equal(t, "none, clear, ended key", <-other)
		assert.Equal(t, []string{"Td"}, m.stytch.asked())
	})
}

// addUnreadable puts a session into memory with a JWT that can't be read. So Stytch is asked
// about its token as soon as a minute is over. known is the token, or "".
func (m *machine) addUnreadable(known string) {
	if known == "" {
		return
	}
	out := *m.stytch.sessions[known[1:]]
	out.JWT = "unreadable"
	_, err := m.Add(&out, time.Now())
	if err != nil {
		panic(err)
	}
}

// The half minute may be over when Stytch answers for the tokens beside the JWT of such
// a session. They say nothing of it: the JWT's own answer counts.
func TestEndedTooSoonBesideTokens(t *testing.T) {
	for after, want := range map[time.Duration]string{29 * time.Second: "can't tell of d | Ed X1? X2?", 31 * time.Second: "none, clear, ended key | Ed X1? X2?"} {
		inBubble(t, func(t *testing.T, m *machine) {
			m.stytch.openFrom("key", "d")
			c := m.stytch.jwts[string(m.stytch.sessions["d"].JWT)]
			c.ExpiresAt = time.Now().Add(-time.Minute)
			time.Sleep(after)
			m.stytch.gone["d"] = true
			m.stytch.before = func(_ context.Context, ref stytch.SessionRef) error {
				if ref.Token != "" {
					time.Sleep(2 * time.Second)
				}
				return nil
			}
			assert.Equal(t, want, m.get("X1 X2 Ed"))
		})
	}
}

// A logout on another machine ended what it had to: the legacy session stays as it is.
// And no call that is under way here brings the session back.
func TestLoggedOutOnAnotherMachine(t *testing.T) {
	for name, row := range map[string]struct {
		gone    bool // Stytch has heard of it
		cookies string
		want    string
	}{
		"Stytch knows, an expired JWT":    {true, "Ed", "none, clear | Ed"},
		"Stytch knows, a token":           {true, "Td", "none, clear | Td"},
		"Stytch knows, a valid JWT":       {true, "Jd", "none, clear | Jd"},
		"Stytch does not, a token":        {false, "Td", "none, clear | Td"},
		"Stytch does not, an expired JWT": {false, "Ed", "none, clear | Ed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, f := new(storetest.Memory), newStytch()
				m, other := newMachine(f, store), newMachine(f, store)
				f.openFrom("key", "d")
				m.get("Td")
				time.Sleep(6 * time.Minute)
				require.NoError(t, other.Tombstones.MarkSessionShared(t.Context(), "d"))
				f.gone["d"] = row.gone
				assert.Equal(t, row.want, m.get(row.cookies))
				assert.Empty(t, m.doubts, "and it is no reason to doubt Stytch")
				time.Sleep(m.Limit)
			})
		})
	}
}
