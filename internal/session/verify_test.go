package session_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
)

// A JWT that verifies says who the user is. The full user is asked for once.
func TestValidJWT(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		jwt := m.stytch.sign("J", "a")
		assert.Equal(t, "a asked | Ja", m.get(jwt))
		assert.Equal(t, "a verified | -", m.get(jwt), "Stytch's answer had a newer one")
		assert.Equal(t, "a verified | -", m.get("Ja"), "memory has the user")
		time.Sleep(time.Minute)
		jwt = m.stytch.sign("J", "a")
		assert.Equal(t, "a verified | -", m.get(jwt))
		assert.Equal(t, "a memory | -", m.get(jwt), "the newest is known by itself")
	})
}

// A JWT that verifies says who it is while Stytch says nothing, after half a second. The
// rest of the user comes once Stytch has answered.
func TestValidJWTWhileStytchIsSilent(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(ctx context.Context, _ stytch.SessionRef) error {
			background.Sleep(ctx, 9*time.Second)
			return nil
		}
		start, jwt := time.Now(), m.stytch.sign("J", "a")
		assert.Equal(t, "a verified, partial | Ja", m.get(jwt))
		assert.Equal(t, 500*time.Millisecond, time.Since(start))
		assert.Equal(t, "a memory, partial | -", m.get(jwt), "and no request waits again so soon")
		time.Sleep(8500 * time.Millisecond)
		synctest.Wait()
		assert.Equal(t, "a verified | -", m.get(jwt), "the answer came after all")
	})
}

// A partial user is asked for again after ten seconds.
func TestPartialUser(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(context.Context, stytch.SessionRef) error { return errDown }
		jwt := m.stytch.openFrom("key", "d").JWT
		require.Equal(t, "d verified, partial | Ed", m.get("Ed"))
		k := m.LookupJWT(string(jwt))
		c := m.stytch.jwts[string(jwt)]
		assert.Equal(t, &stytch.Session{
			ID: "d", UserID: "user-d", Origin: "key", StartedAt: c.SessionStartedAt, ExpiresAt: c.SessionExpiresAt, JWT: jwt, Raw: c,
		}, k.Session)
		assert.Equal(t, "attached to d", k.Attached)
		time.Sleep(10*time.Second - time.Nanosecond)
		assert.Equal(t, "d memory, partial | -", m.get("Ed"))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "d verified, partial | Ed", m.get("Ed"))
		m.stytch.before = nil
		time.Sleep(10 * time.Second)
		assert.Equal(t, "d asked | Ed", m.get("Ed"))
	})
}

// What stays in memory of a JWT cookie is a copy: a Cookie header may be as long as the
// server lets it be, and would be kept alive as a whole.
func TestMemoryKeepsNoHeaderAlive(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(context.Context, stytch.SessionRef) error { return errDown }
		jwt := m.stytch.sign("J", "a")
		live := m.Find(t.Context(), []string{jwt}, nil).Live
		assert.Equal(t, jwt, string(live.Session.JWT))
		assert.NotSame(t, unsafe.StringData(jwt), unsafe.StringData(string(live.Session.JWT)))
	})
}

// The answer comes in the moment in which the request stops waiting: it counts.
func TestUserAtTheLastMoment(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(context.Context, stytch.SessionRef) error {
			_, err := m.Add(m.stytch.open("d", month), time.Now()) // by another request
			assert.NoError(t, err)
			return errDown
		}
		m.stytch.open("d", month)
		assert.Equal(t, "d verified | Ed", m.get("Ed"))
	})
}

// While there is no key to verify a JWT with, Stytch is asked, unless memory knows it.
func TestNoKeySet(t *testing.T) {
	for name, row := range map[string]struct{ cookies, want string }{
		"a JWT":                                {"Ja", "a asked, write | Ja?"},
		"a token and a JWT":                    {"Ta Ja", "a asked, write | Ta?"},
		"two JWTs: about the last":             {"Ja2 Ja", "a asked, write | Ja?"},
		"a JWT, and another project's":         {"F Ja", "a asked, write | Ja?"},
		"a JWT and a token, another project's": {"F Ta Ja", "a asked, write | Ta?"},
		"a JWT that is rubbish":                {"J.b.c", "none | -"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.stytch.keysDown = true
				assert.Equal(t, row.want, m.get(row.cookies))
				m.stytch.before = func(context.Context, stytch.SessionRef) error { return errDown }
				assert.Equal(t, "can't tell | Jb?", m.get("F Jb"), "Stytch is down too")
				known := m.stytch.sign("N", "a")
				_, err := m.Add(&stytch.Session{ID: "a", UserID: "user-a", Token: "Ta", JWT: secret(known)}, time.Now())
				require.NoError(t, err)
				assert.Equal(t, "a memory | -", m.get(known))
			})
		})
	}
}

// What Lookup does not answer: more than one JWT, or one that is too long to be looked
// up, or has expired.
func TestLookup(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		jwt := m.stytch.sign("N", "a")
		long := jwt + "-" + string(make([]byte, sessionjwt.MaxToken-len(jwt)-1))
		longer := long + "-"
		for _, text := range []string{jwt, long, longer} {
			m.stytch.jwts[text] = m.stytch.jwts[jwt]
			k, err := m.Add(&stytch.Session{ID: "a", UserID: "user-a", Token: "Ta", JWT: secret(text), ExpiresAt: time.Now().Add(month)}, time.Now())
			require.NoError(t, err)
			assert.Same(t, k, m.LookupJWT(text))
			assert.Equal(t, text != longer, m.Lookup([]string{text}) == k)
			assert.Nil(t, m.Lookup([]string{text, text}))
		}
		assert.Nil(t, m.Lookup(nil))
		time.Sleep(5*time.Minute - time.Nanosecond)
		assert.NotNil(t, m.LookupJWT(longer))
		time.Sleep(time.Nanosecond)
		assert.Nil(t, m.LookupJWT(longer))
	})
}

// The hot path allocates nothing, also where a logout has left its marks.
func TestLookupAllocatesNothing(t *testing.T) {
	m := newMachine(newStytch(), nil)
	s := m.stytch.open("a", month)
	_, err := m.Add(s, time.Now())
	require.NoError(t, err)
	m.Tombstones.MarkCookie([32]byte{})
	m.End("another")
	jwts := []string{string(s.JWT)}
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if m.Lookup(jwts) == nil || m.LookupJWT(jwts[0]) == nil {
			t.Error("not found")
		}
	}))
}

// An answer that contradicts itself vouches for nothing.
func TestAddOfAContradiction(t *testing.T) {
	for name, row := range map[string]struct {
		change func(f *fakeStytch, s *stytch.Session)
		want   string
	}{
		"the session is past":       {func(_ *fakeStytch, s *stytch.Session) { s.ExpiresAt = time.Now() }, "session.expires_at is past"},
		"its JWT is foreign":        {func(_ *fakeStytch, s *stytch.Session) { s.JWT = "F" }, "session_jwt is of another project"},
		"its JWT is another user's": {func(_ *fakeStytch, s *stytch.Session) { s.UserID = "user-b" }, "session_jwt is not of the session that it came with"},
		"its JWT is another's":      {func(f *fakeStytch, s *stytch.Session) { s.JWT = f.sessions["a2"].JWT }, "session_jwt is not of the session that it came with"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				out := *m.stytch.sessions["a"]
				row.change(m.stytch, &out)
				k, err := m.Add(&out, time.Now())
				assert.Nil(t, k)
				assert.EqualError(t, err, "stytchmigrate: answer: "+row.want)
				assert.Equal(t, stytch.CantTell, stytch.AnswerOf(err))
				assert.Nil(t, m.LookupJWT(string(out.JWT)))
				assert.Empty(t, m.log.String())
			})
		})
	}
}

// A JWT of an answer that can't be read says that a setting is wrong. The session is
// served by its token, for a minute.
func TestAddOfAnUnreadableJWT(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		out := *m.stytch.sessions["a"]
		out.JWT = "unreadable"
		_, err := m.Add(&out, time.Now())
		require.NoError(t, err)
		assert.Contains(t, m.log.String(), `level=ERROR msg="stytchmigrate: session_jwt of an answer is no session JWT of this project" setting="Config.ProjectID or Config.BaseURL"`)
		assert.Nil(t, m.LookupJWT("unreadable"))
		time.Sleep(time.Minute - time.Nanosecond)
		assert.Equal(t, "a memory | -", m.get("Ta"))
		time.Sleep(time.Nanosecond)
		assert.Equal(t, "a asked, write | Ta", m.get("Ta"))
	})
}

// Stytch's schema lets a session be without an expiry: its JWT says it, if it can be
// read and says more than its own. Otherwise a month is as long as a cookie may last.
func TestAddWithoutExpiry(t *testing.T) {
	for name, row := range map[string]struct {
		life time.Duration // by the JWT
		want time.Duration
	}{
		"the JWT says it":          {day, day},
		"the JWT says its own":     {5 * time.Minute, month},
		"the JWT can't be read":    {0, month},
		"the JWT says a bit more":  {5*time.Minute + time.Second, 5*time.Minute + time.Second},
		"the JWT says even a year": {365 * day, 365 * day},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				out := *m.stytch.open("d", row.life)
				if out.ExpiresAt = (time.Time{}); row.life == 0 {
					out.JWT = "unreadable"
				}
				k, err := m.Add(&out, time.Now())
				require.NoError(t, err)
				assert.Equal(t, row.want, time.Until(k.Session.ExpiresAt))
				assert.True(t, out.ExpiresAt.IsZero(), "the answer is not changed")
			})
		})
	}
}

// A later JWT may say that its session lives longer, or is newer itself: each moves
// memory forward, and neither moves it back.
func TestAnotherJWTOfTheSession(t *testing.T) {
	for name, row := range map[string]struct {
		jwt, session time.Duration // by how much its dates are later
		newJWT       bool
	}{
		"neither":            {0, 0, false},
		"the JWT is older":   {-time.Minute, 0, false},
		"the JWT is newer":   {time.Minute, 0, true},
		"the session longer": {-time.Minute, day, false},
		"both":               {time.Minute, day, true},
		"session shorter":    {time.Minute, -day, true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				s := m.stytch.sessions["a"]
				was, err := m.Add(s, time.Now())
				require.NoError(t, err)
				time.Sleep(time.Minute)
				other := m.stytch.sign("J", "a")
				m.stytch.jwts[other].ExpiresAt = m.stytch.jwts[string(s.JWT)].ExpiresAt.Add(row.jwt)
				m.stytch.jwts[other].SessionExpiresAt = s.ExpiresAt.Add(row.session)

				live := m.Find(t.Context(), []string{other}, nil).Live
				want := *s
				want.ExpiresAt = s.ExpiresAt.Add(max(0, row.session))
				if row.newJWT {
					want.JWT, want.Newer = secret(other), m.stytch.jwts[other]
				}
				assert.Equal(t, &want, live.Session)
				assert.Equal(t, was.VouchedAt, live.VouchedAt)
				assert.Equal(t, "attached to a", live.Attached)
				assert.Equal(t, row.newJWT, m.LookupJWT(other) == live)
				assert.Equal(t, !row.newJWT, m.LookupJWT(string(s.JWT)) == live, "memory has one JWT of a session")
				assert.Equal(t, s.JWT, was.Session.JWT, "what a request has is not changed")
			})
		})
	}
}

// A session takes its share of memory however many JWTs it has had.
func TestMemoryOfOneSession(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		var had []string
		for range 20 {
			jwt := m.stytch.sign("N", "a")
			k, err := m.Add(&stytch.Session{ID: "a", UserID: "user-a", Token: "Ta", JWT: secret(jwt), ExpiresAt: m.stytch.sessions["a"].ExpiresAt}, time.Now())
			require.NoError(t, err)
			for _, old := range had {
				assert.True(t, m.LookupJWT(old) == nil)
				assert.Equal(t, "a verified | -", m.get(old), "an older one is verified, each time")
			}
			assert.Same(t, k, m.LookupJWT(jwt))
			had = append(had, jwt)
			time.Sleep(3 * time.Second)
		}
	})
}

// An error of a kind that Stytch does not give is "can't tell".
func TestUnknownError(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(context.Context, stytch.SessionRef) error { return errors.New("a bug") }
		assert.Equal(t, "can't tell | Ta?", m.get("Ta"))
		assert.Equal(t, "a verified, partial | Ja", m.get("Ja"))
	})
}
