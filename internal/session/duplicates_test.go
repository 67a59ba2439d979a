package session_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/stytch"
)

// A browser may send several session cookies: a change of CookieOptions.Domain leaves
// them, and a neighbouring host of the domain can plant them.
func TestSeveralSessionsInOneRequest(t *testing.T) {
	for name, row := range map[string]struct{ cookies, want string }{
		"two JWTs of one session, the newer last":   {"Ea Ja", "a asked | Ja"},
		"two JWTs of one session, the newer first":  {"Ja Ea", "a asked | Ja"},
		"two JWTs of two sessions of one user":      {"Ja Ja2", "a asked | Ja"},
		"valid JWTs of two users":                   {"Ja Jb", "none | -"},
		"expired JWTs of two users":                 {"Ea Eb", "none | -"},
		"a valid JWT and an expired one of another": {"Ja Eb", "none | -"},
		"valid JWTs of two users, and a token":      {"Ja Jb Ta", "a asked, write | Ta?"},
		"two tokens of one session's user":          {"Ta Ta2", "a asked, write | Ta? Ta2?"},
		"tokens of two users":                       {"Ta Tb", "ambiguous | Ta? Tb?"},
		"tokens of three users":                     {"Ta Tb Ta2", "ambiguous | Ta? Tb? Ta2?"},
		"a token of no session, then a good one":    {"X Ta", "a asked, write | X? Ta?"},
		"tokens of two users, an expired JWT of a":  {"Tb Ta Ea", "a asked, write | Ea"},
		"tokens of two users, an expired JWT of b":  {"Tb Ta Eb", "b asked, write | Eb"},
		"two tokens, an expired JWT of no session":  {"Ta Ta2 Egone", "a asked, write | Ta? Ta2?"},
		"three tokens: each is asked about":         {"X1 X2 Ta", "a asked, write | X1? X2? Ta?"},
		"four tokens: three are asked about":        {"X1 X2 X3 Ta", "none | X1? X2? X3?"},
		"four tokens, the first is good":            {"Ta X1 X2 X3", "ambiguous | Ta? X1? X2?"},
		"three tokens and the JWT that names one":   {"X1 X2 Ta Ea", "a asked, write | Ea"},
		"a token of b, a valid JWT of a":            {"Tb Ja", "a asked | Ja"},
		"a token of b, an expired JWT of a":         {"Tb Ea", "none, clear, mismatch | Tb?"},
		"a token of b, a JWT that is rubbish":       {"Tb J.b.c", "b asked, write | Tb?"},
		"a token of another of the user's sessions": {"Ta2 Ea", "a2 asked, write | Ta2?"},
		"another project's":                         {"Ta F", "none | -"},
		"another project's JWT alone":               {"F", "none | -"},
		"another project's, and a valid JWT of a":   {"F Ta Ja", "a asked | Ja"},
		"another project's, and an expired JWT":     {"F Ta Ea", "a asked, write | Ta?"},
		"another project's, and JWTs of two users":  {"F Ta Ja Jb", "none | -"},
		"a token of 4 KiB":                          {strings.Repeat("X", 4096), "none, clear | " + strings.Repeat("X", 4096) + "?"},
		"a token of 4 KiB and a byte":               {strings.Repeat("X", 4097), "none | -"},
		"a token that is no cookie value":           {"X\x7f Ta", "a asked, write | Ta?"},
		"five JWTs: each is verified":               {"J.1 J.2 J.3 J.4 Ja", "a asked | Ja"},
		"six JWTs: none is":                         {"J.1 J.2 J.3 J.4 J.5 Ja", "none | -"},
		"no cookies":                                {"", "none | -"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute) // the first JWTs have expired
				assert.Equal(t, row.want, m.get(row.cookies))
			})
		})
	}
}

// Planted cookies come first in the Cookie header, and the attacker has used the site,
// so that memory knows them. None of the requests is served as the attacker's.
func TestPlantedCookies(t *testing.T) {
	for name, row := range map[string]struct{ known, cookies, want string }{
		"a JWT among as many as are verified":        {"Ja", "Jb J.1 J.2 J.3 Ta Ja", "a memory, write | -"},
		"a JWT among more than are verified":         {"", "Jb J.1 J.2 J.3 J.4 Ta Ja", "a asked, write | Ta?"},
		"a token and a JWT among as many":            {"", "Tb Eb J.1 J.2 J.3 Ta Ea", "ambiguous | Tb? Ta?"},
		"a token and a JWT among more":               {"", "Tb Eb J.1 J.2 J.3 J.4 Ta Ea", "ambiguous | Tb? Ta?"},
		"a token among more than are asked about":    {"", "Tb X1 X2 Ta", "ambiguous | Tb? X1? X2?"},
		"tokens that memory knows, more than read":   {"Tb Tb Tb Tb Tb", "Tb Tb Tb Tb Tb Ta", "ambiguous | -"},
		"as many as are read, all of one user":       {"Tb", "Tb Tb Tb Tb Tb", "b memory | -"},
		"a token that memory knows, an expired JWT":  {"Tb", "Tb Ta Ea", "a asked, write | Ea"},
		"a session that memory knows, a valid JWT":   {"Jb", "Tb Jb Ta Ja", "ambiguous | Ta?"},
		"one of two tokens, which memory knows":      {"Tb", "Tb Ta", "ambiguous | Ta?"},
		"one of two tokens, which memory knows, too": {"Ta", "Tb Ta", "ambiguous | Tb?"},
		"a valid JWT, an expired one":                {"", "Jb Ta Ea", "a asked, write | Ta?"},
		"two tokens of one user that memory knows":   {"Ta Ta2", "Ta2 Ta", "a memory | -"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute)
				for known := range strings.FieldsSeq(row.known) {
					m.get(known)
				}
				assert.Equal(t, row.want, m.get(row.cookies))
			})
		})
	}
}

// Rubbish tokens beside an expired JWT delete nothing.
func TestPlantedRubbishSignsNobodyOut(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "a asked, write | Ea", m.get("X1 X2 X3 Ta Ea"))
		assert.Equal(t, "none | X1? X2? X3?", m.get("X1 X2 X3 X4"))
	})
}

// Stytch can't tell about one of two tokens. It may be another user's, so the other one
// neither counts nor is deleted.
func TestOutageDoesNotDecideBetweenPeople(t *testing.T) {
	for name, row := range map[string]struct{ down, cookies, want string }{
		"the first":                            {"Ta", "Ta Tb", "can't tell | Ta? Tb?"},
		"the second":                           {"Tb", "Ta Tb", "can't tell | Ta? Tb?"},
		"one, and the other is of no session":  {"Ta", "Ta X", "can't tell | Ta? X?"},
		"the JWT, and the token is another's":  {"Ea", "Tb X Ea", "can't tell of a | Ea Tb? X?"},
		"one, and the JWT names the other one": {"Tb", "Tb Ta Ea", "a asked, write | Ea"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute)
				m.stytch.before = func(_ context.Context, ref stytch.SessionRef) error {
					if call := string(ref.Token + ref.JWT); call[:2] == row.down {
						return errDown
					}
					return nil
				}
				assert.Equal(t, row.want, m.get(row.cookies))
			})
		})
	}
}

// Of two JWTs of one session the newer one counts, in what Stytch is asked too.
func TestNewestJWT(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		time.Sleep(time.Minute)
		older, newer := string(m.stytch.sessions["a"].JWT), m.stytch.sign("J", "a")
		require.Equal(t, "a asked | Ja", m.get(older+" "+newer))
		assert.Equal(t, "a verified | -", m.get(older+" "+newer))
		assert.Equal(t, "a verified | -", m.get(newer+" "+older))
	})
}

// A browser that got ahead of this process, or of another of its tabs, is never given an
// older JWT than the newest that is known.
func TestNoOldJWTIsHandedOut(t *testing.T) {
	for name, wait := range map[string]time.Duration{
		"a JWT that verifies though it has expired": 5*time.Minute + 10*time.Second,
		"a JWT that is about to expire":             4*time.Minute + 50*time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				old := string(m.stytch.sessions["a"].JWT)
				time.Sleep(wait)
				require.Equal(t, "a asked, write | Ta?", m.get("Ta"))
				jwts, _ := m.cookies(old)
				require.Equal(t, "a verified | -", m.get(old))
				assert.Regexp(t, "^Na-", string(m.Find(t.Context(), jwts, nil).Live.Session.JWT))
				time.Sleep(time.Minute)
				late := m.Find(t.Context(), jwts, []string{"Ta"})
				require.Equal(t, "a memory, write", describe(late))
				assert.Equal(t, "a memory | -", m.get(string(late.Live.Session.JWT)), "what it was given is current")
			})
		})
	}
}

// Stytch's answer is about another user than the JWT that was asked about, or about
// another of the user's sessions: the JWT's may have ended.
func TestAnswerAboutSomebodyElse(t *testing.T) {
	for name, row := range map[string]struct{ answer, cookies, want string }{
		"a token: nothing says whose it is": {"b", "Ta", "b asked, write | Ta?"},
		"an expired JWT":                    {"b", "Ea", "none, clear, mismatch | Ea"},
		"a token and an expired JWT":        {"b", "Ta Ea", "none, clear, mismatch | Ta?"},
		"a valid JWT":                       {"b", "Ja", "none, clear, mismatch | Ja"},
		"a valid JWT, another session":      {"a2", "Ja", "none, clear, mismatch | Ja"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute)
				m.stytch.after = func(_ context.Context, out *stytch.Session) {
					*out = *m.stytch.sessions[row.answer]
					out.JWT = secret(m.stytch.sign("N", row.answer))
				}
				assert.Equal(t, row.want, m.get(row.cookies))
			})
		})
	}
}

// Even if that answer has the session's own id.
func TestAnswerOfAnotherUserWithTheSameID(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.after = func(_ context.Context, out *stytch.Session) { out.UserID, out.JWT = "user-b", "unreadable" }
		assert.Equal(t, "none, clear, mismatch | Ja", m.get("Ja"))
	})
}

// Cookies of another project are left alone. The log says so, once: the project may be
// the wrong one.
func TestForeignCookies(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		assert.Equal(t, "a asked, write | Ta?", m.get("Ta"))
		assert.Empty(t, m.log.String())
		for range 2 {
			assert.Equal(t, "none | -", m.get("Ta F"))
			assert.Equal(t, 1, strings.Count(m.log.String(), "setting=Config.ProjectID"))
		}
	})
}
