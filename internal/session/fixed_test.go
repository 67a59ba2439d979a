package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/stytch"
)

// refusal is an error that Stytch answers to a call about a session.
func refusal(kind string) error {
	e := &stytch.APIError{Status: 400, Type: kind, Err: errors.New(kind)}
	return &stytch.CallError{Op: stytch.Authenticate, API: e, Answer: stytch.Interpret(stytch.Authenticate, e).Answer()}
}

// refuseExtensions makes the next calls fail that would make a session live longer.
func (m *machine) refuseExtensions(kind string) {
	m.stytch.before = func(context.Context, stytch.SessionRef) error {
		last := m.stytch.calls[len(m.stytch.calls)-1]
		if last[len(last)-1] == '0' { // for so many minutes
			return refusal(kind)
		}
		return nil
	}
}

// Stytch refuses to make a session live longer. It is asked once more, without a
// duration: the session may be alive. Any other refusal is can't tell, as ever.
func TestRefusedExtension(t *testing.T) {
	for kind, want := range map[string]string{
		"session_not_mutable":              "a asked, write | Ta+43200 Ta",
		"session_not_mutable_impersonated": "a asked, write | Ta+43200 Ta",
		"invalid_session_duration":         "a asked, write | Ta+43200 Ta",
		"invalid_session_duration_minutes": "a asked, write | Ta+43200 Ta",
		"something_else":                   "can't tell | Ta+43200",
	} {
		t.Run(kind, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.get("Ta")
				time.Sleep(20 * day)
				m.refuseExtensions(kind)
				assert.Equal(t, want, m.get("Ta"))
				m.stytch.gone["a"] = true
				time.Sleep(6 * time.Minute)
				if kind != "something_else" {
					assert.Equal(t, "none, clear | Ta", m.get("Ta"), "a no is a no, and no extension is tried")
				}
			})
		})
	}
}

// Where only the answer tells the expiry, a refused extension is no harm.
func TestRefusedExtensionOfAnUnknownToken(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		time.Sleep(20 * day)
		m.refuseExtensions("session_not_mutable")
		assert.Equal(t, "a asked, write | Ta? Ta?+43200", m.get("Ta"))
		assert.Equal(t, "a memory | -", m.get("Ta"))
	})
}

// The session of someone who acts as the user is never extended: by the claims of the
// JWT, by memory, and by the answer.
func TestImpersonatedSessionIsNotExtended(t *testing.T) {
	for name, row := range map[string]struct {
		factors        string
		known, cookies string
		want           string
	}{
		"a JWT, by its type":          {`[{"type":"password"},{"type":"impersonated"}]`, "", "Ea", "a asked, write | Ea"},
		"a JWT, by how it came":       {`[{"delivery_method":"impersonation"}]`, "", "Ea", "a asked, write | Ea"},
		"a valid JWT":                 {`[{"type":"impersonated"}]`, "", "Ja", "a asked | Ja"},
		"a known token":               {`[{"type":"impersonated"}]`, "Ta", "Ta", "a asked, write | Ta"},
		"an unknown token":            {`[{"type":"impersonated"}]`, "", "Ta", "a asked, write | Ta?"},
		"a token and its expired JWT": {`[{"type":"impersonated"}]`, "", "Ta Ea", "a asked, write | Ta?"},
		"a session of the user":       {`[{"type":"password"}]`, "", "Ea", "a asked, write | Ea+43200"},
		"no factors":                  {``, "", "Ea", "a asked, write | Ea+43200"},
		"factors of another form":     {`{"type":"impersonated"}`, "", "Ea", "a asked, write | Ea+43200"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.stytch.factors = json.RawMessage(row.factors)
				m.stytch.jwts[string(m.stytch.sessions["a"].JWT)].Session.AuthenticationFactors = m.stytch.factors
				m.stytch.after = func(_ context.Context, out *stytch.Session) {
					c, _ := m.stytch.Read(string(out.JWT))
					out.Fixed = c.Session.IsImpersonated() // as the API says it
				}
				m.get(row.known)
				time.Sleep(20 * day)
				assert.Equal(t, row.want, m.get(row.cookies))
			})
		})
	}
}

// A newer JWT says that someone acts as the user now. Memory knows it from then on.
func TestImpersonationThatBegins(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.get("Ta")
		time.Sleep(time.Minute)
		m.stytch.factors = json.RawMessage(`[{"type":"impersonated"}]`)
		require.Equal(t, "a verified | -", m.get("Ja"))
		m.stytch.factors = nil
		time.Sleep(20 * day)
		assert.Equal(t, "a asked, write | Ta Ta+43200", m.get("Ta"), "without a duration, until the answer says that it may be extended")
	})
}
