package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// prove tells what is proved of a token and a JWT, in the names of get.
func (m *machine) prove(cookies string) string {
	jwts, tokens := m.cookies(cookies)
	var token, jwt redact.Secret
	if len(tokens) > 0 {
		token = redact.Secret(tokens[0])
	}
	if len(jwts) > 0 {
		jwt = redact.Secret(jwts[0])
	}
	m.stytch.asked()
	k, err := m.Prove(context.Background(), token, jwt)
	out := ""
	switch unproven := new(session.Unproven); {
	case err == nil:
		out = k.Session.ID
	case errors.As(err, &unproven):
		out = "no, " + unproven.Argument
	default:
		out = "can't tell"
	}
	for _, call := range m.stytch.asked() {
		out += " | " + call
	}
	return out
}

// Each row is a token, a JWT, and what memory knows.
func TestProve(t *testing.T) {
	for name, row := range map[string]struct {
		known, pair, want string
		change            func(m *machine)
	}{
		"a token":                            {"", "Ta", "a | Ta?", nil},
		"a JWT":                              {"", "Ja", "a | Ja", nil},
		"both":                               {"", "Ta Ja", "a | Ja", nil},
		"an expired JWT":                     {"", "Ta Ea", "a | Ea", nil},
		"both, in memory":                    {"Ta", "Ta Ja", "a", nil},
		"a token in memory":                  {"Ta", "Ta", "a", nil},
		"both, of one user's two sessions":   {"", "Ta Ja2", "no, token | Ja2", nil},
		"both of memory, of two sessions":    {"Ta Ta2", "Ta Ja2", "no, token", nil},
		"both, of two users":                 {"", "Ta Jb", "no, token | Jb", nil},
		"both, of two users, without keys":   {"", "Ta Jb", "no, token | Ta?", keysDown},
		"both, without keys":                 {"", "Ta Ja", "a | Ta?", keysDown},
		"a JWT, without keys":                {"", "Ja", "a | Ja?", keysDown},
		"a made-up token":                    {"", "Tmade-up", "no, token | Tmade-up?", nil},
		"a made-up token, a good JWT":        {"", "Tmade-up Ja", "no, token | Ja", nil},
		"a made-up token, a JWT of memory":   {"Ta", "Tmade-up Ja", "no, token", nil},
		"a token that is no cookie value":    {"", "T\x7f", "no, token", nil},
		"another project's JWT":              {"", "Ta F", "no, jwt", nil},
		"a JWT that is rubbish":              {"", "Ta J.b.c", "no, jwt", nil},
		"a session that was revoked":         {"", "Ta Ja", "no, jwt | Ja", func(m *machine) { m.stytch.gone["a"] = true }},
		"a session that was logged out":      {"", "Ta Ja", "no, jwt", func(m *machine) { m.End("a") }},
		"one that was logged out, in memory": {"Ta", "Ta Ja", "no, jwt", func(m *machine) { m.End("a") }},
		"a JWT that was logged out":          {"", "Ja-", "no, jwt", func(m *machine) { keysDown(m); m.logOut("Ja-") }},
		"Stytch is down":                     {"", "Ta Ja", "can't tell | Ja", down},
		"Stytch is down, a token":            {"", "Ta", "can't tell | Ta?", down},
		"Stytch is down, memory knows":       {"Ta", "Ta Ja", "a", down},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute)
				m.stytch.jwts["Ja-"] = m.stytch.jwts[m.stytch.sign("J", "a")]
				for _, c := range []string{"Ta", "Ta2"} {
					if row.known == c || row.known == "Ta Ta2" {
						m.get(c)
					}
				}
				if row.change != nil {
					row.change(m)
				}
				assert.Equal(t, row.want, m.prove(row.pair))
			})
		})
	}
}

func keysDown(m *machine) { m.stytch.keysDown = true }

func down(m *machine) {
	m.stytch.before = func(context.Context, stytch.SessionRef) error { return errDown }
}

// A new session that a part of Stytch does not know yet is no "no".
func TestProveANewSession(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.gone["a"] = true
		assert.Equal(t, "can't tell | Ea", m.prove("Ta Ea"))
		m.stytch.gone["a"] = false
		assert.Equal(t, "a | Ea", m.prove("Ta Ea"), "it can be tried again at once")
	})
}

// Each row is the cookies of a request in which a user signs in by session a, and those
// that may be of another user's session.
func TestOfOthers(t *testing.T) {
	for name, row := range map[string]struct {
		cookies        string
		tokens, jwts   int
		asked          []string
		stytchHasEnded bool
	}{
		"nothing":                       {"", 0, 0, nil, false},
		"her own":                       {"Ta Ea", 0, 0, nil, false},
		"another one of hers":           {"Ta2 Ea2", 0, 0, []string{"Ta2?"}, false},
		"another user's":                {"Tb Eb", 1, 1, []string{"Tb?"}, false},
		"two users'":                    {"Tb Ta2 Tc", 2, 0, []string{"Tb?", "Ta2?", "Tc?"}, false},
		"what Stytch does not know":     {"Tmade-up", 0, 0, []string{"Tmade-up?"}, false},
		"what Stytch can't be asked of": {"T\x7f", 1, 0, nil, false},
		"Stytch is down":                {"Ta2 Ea2", 1, 0, []string{"Ta2?"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				live, err := m.Prove(context.Background(), "Ta", "")
				require.NoError(t, err)
				if row.stytchHasEnded {
					down(m)
				}
				jwts, tokens := m.cookies(row.cookies)
				m.stytch.asked()
				tokens, jwts = m.OfOthers(context.Background(), live, tokens, jwts)
				assert.Len(t, tokens, row.tokens)
				assert.Len(t, jwts, row.jwts)
				assert.Equal(t, row.asked, m.stytch.asked())
			})
		})
	}
}

// What a sign-in replaced is known on all machines, for a time, but not the cookies of the
// session itself.
func TestReplace(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		store := new(storetest.Memory)
		one, two := newMachine(m.stytch, store), newMachine(m.stytch, store)
		live, err := one.Prove(t.Context(), "Ta", "")
		require.NoError(t, err)
		jwts, tokens := one.cookies("Ta Ja Tb Jb")
		require.NoError(t, one.Replace(t.Context(), live, tokens, jwts))
		for range 2 {
			for _, at := range []*machine{one, two} {
				assert.True(t, at.IsReplaced(t.Context(), tokens, nil))
				assert.False(t, at.IsReplaced(t.Context(), tokens[:1], jwts), "the token of the session")
				assert.False(t, at.IsReplaced(t.Context(), nil, jwts[:1]), "a JWT of the session")
				assert.True(t, at.IsReplaced(t.Context(), nil, jwts[1:]))
			}
			time.Sleep(4 * time.Minute)
		}
		for _, at := range []*machine{one, two} {
			assert.False(t, at.IsReplaced(t.Context(), tokens, nil), "for five minutes")
		}
	})
}
