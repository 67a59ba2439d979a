package session_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

// Each row is a session whose cookies go with the browser, and what a machine that has
// just started learns it from.
func TestUntilBrowserCloses(t *testing.T) {
	for name, row := range map[string]struct {
		answerLacks bool
		down        bool
		cookies     string
		want        string
	}{
		"the answer":                   {false, false, "Ta", "a asked, write"},
		"the JWT of the answer":        {true, false, "Ta", "a asked, write"},
		"the JWT that the browser has": {false, true, "Ja", "a verified, partial"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.stytch.sessions["a"].UntilBrowserCloses = true
				if m.stytch.after = func(_ context.Context, out *stytch.Session) { out.UntilBrowserCloses = !row.answerLacks }; row.down {
					m.stytch.before = func(context.Context, stytch.SessionRef) error { return errDown }
				}
				jwts, tokens := m.cookies(row.cookies)
				st := m.Find(t.Context(), jwts, tokens)
				require.Equal(t, row.want, describe(st))
				assert.True(t, st.Live.Session.UntilBrowserCloses)
			})
		})
	}
}

// A newer JWT may say so of a session that is known, and an older one changes nothing.
func TestUntilBrowserClosesByANewerJWT(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		find := func(names string) session.State {
			jwts, tokens := m.cookies(names)
			return m.Find(t.Context(), jwts, tokens)
		}
		older, _ := m.cookies("Ja")
		require.False(t, find("Ta").Live.Session.UntilBrowserCloses)
		time.Sleep(time.Minute)
		m.stytch.sessions["a"].UntilBrowserCloses = true
		assert.True(t, find("Ja").Live.Session.UntilBrowserCloses)
		assert.True(t, m.Find(t.Context(), older, nil).Live.Session.UntilBrowserCloses)
	})
}
