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
	"example.com/stytchmigrate/internal/tombstones"
)

// logOut ends the sessions of a request here, as a logout does first. It returns the
// sessions that are known, each with its origin, and what else has to be revoked.
func (m *machine) logOut(cookies string) (ended []string, unknown []stytch.SessionRef) {
	jwts, tokens := m.cookies(cookies)
	var ids []string
	unknown = m.EndCookies(context.Background(), tokens, jwts, func(id, origin string) {
		ids, ended = append(ids, id), append(ended, strings.TrimSpace(id+" "+origin))
	})
	for _, id := range ids {
		m.End(id)
	}
	return ended, unknown
}

// A logout is of every session that a cookie of the request is of.
func TestEndCookies(t *testing.T) {
	for name, row := range map[string]struct {
		known, cookies string
		ended          []string
		unknown        []stytch.SessionRef
	}{
		"a token that memory knows":         {"Ta", "Ta", []string{"a"}, nil},
		"a JWT that memory knows":           {"Jd-", "Jd-", []string{"d key"}, nil},
		"a valid JWT":                       {"", "Jd", []string{"d key"}, nil},
		"an expired JWT":                    {"", "Ed", []string{"d key"}, nil},
		"two JWTs, of two users":            {"", "Ja Jb", []string{"a", "b"}, nil},
		"a JWT that is rubbish":             {"", "J.b.c", nil, nil},
		"another project's JWT":             {"", "F", nil, nil},
		"a token that memory does not know": {"", "Ta", nil, []stytch.SessionRef{{Token: "Ta"}}},
		"a token that Stytch can't know":    {"", "T\x7f", nil, nil},
		"all of one session":                {"Ta", "Ta Ea Ja", []string{"a", "a", "a"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.stytch.openFrom("key", "d")
				time.Sleep(6 * time.Minute)
				m.stytch.jwts["Jd-"] = m.stytch.jwts[m.stytch.sign("J", "d")]
				m.get(row.known)
				ended, unknown := m.logOut(row.cookies)
				assert.Equal(t, row.ended, ended)
				assert.Equal(t, row.unknown, unknown)
				for range 2 {
					assert.Contains(t, m.get(row.cookies), "none", "and stays so")
				}
			})
		})
	}
}

// What memory knows ends before a JWT is verified, which may wait for the key set.
func TestKnownSessionsEndFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.get("Ta")
		ended, _ := m.logOut("Jb Ta " + string(m.LookupJWT(m.current("a")).Session.JWT))
		assert.Equal(t, []string{"a", "a", "b"}, ended)
	})
}

// current is the JWT of a session in memory.
func (m *machine) current(id string) string {
	return string(m.Find(context.Background(), nil, []string{"T" + id}).Live.Session.JWT)
}

// There is no key to verify a JWT with at the logout. It is refused afterwards, whether
// there is a key by then or not, and when it has expired. So is each of several.
func TestLogoutInAKeySetOutage(t *testing.T) {
	for name, row := range map[string]struct {
		keysDown bool
		after    time.Duration
	}{
		"there is a key again":        {false, 0},
		"there is none still":         {true, 0},
		"there is one, it expired":    {false, 6 * time.Minute},
		"there is none, and expired":  {true, 6 * time.Minute},
		"there is one after a minute": {false, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.stytch.keysDown = true
				a, b := m.stytch.sign("J", "a"), m.stytch.sign("J", "b")
				ended, unknown := m.logOut(b + " " + a)
				assert.Empty(t, ended)
				assert.Equal(t, []stytch.SessionRef{{JWT: secret(b)}, {JWT: secret(a)}}, unknown)
				m.stytch.keysDown = row.keysDown
				time.Sleep(row.after)
				assert.Equal(t, "none | -", m.get(a))
				assert.Equal(t, "none | -", m.get(b))
				assert.NotContains(t, m.get("Jc"), "none", "no other JWT")
			})
		})
	}
}

// After a logout no cookie of the session counts here, though its JWTs verify, and
// though Stytch may never hear of it.
func TestLogoutEndsEveryJWT(t *testing.T) {
	for name, cookies := range map[string]string{"by its JWT": "Ja", "by its token, which is known": "Ta"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.get("Ta")
				known, valid := m.current("a"), m.stytch.sign("J", "a")
				m.logOut(cookies)
				assert.Nil(t, m.LookupJWT(known))
				for _, jwt := range []string{known, valid} {
					assert.Equal(t, "none, clear | -", m.get(jwt))
				}
				assert.Equal(t, "none, clear | Ta?", m.get("Ta"))
				time.Sleep(6 * time.Minute)
				assert.Equal(t, "none, clear | -", m.get(valid), "expired")
			})
		})
	}
}

// What ended is known by nothing any more, and no answer brings it back.
func TestEnd(t *testing.T) {
	for name, end := range map[string]func(*machine){
		"the session":        func(m *machine) { m.End("d") },
		"its legacy session": func(m *machine) { m.Tombstones.MarkLegacyLocal("key") },
		"its token":          func(m *machine) { m.Tombstones.MarkCookie(tombstones.HashCookie('t', "Td")) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				s := m.stytch.openFrom("key", "d")
				for range 2 {
					_, err := m.Add(s, time.Now())
					require.NoError(t, err)
					end(m)
					assert.Nil(t, m.LookupJWT(string(s.JWT)))
				}
				m.stytch.keysDown = true
				known, unknown := m.logOut("Td " + string(s.JWT))
				assert.Empty(t, known, "memory does not keep it")
				assert.Equal(t, []stytch.SessionRef{{Token: "Td"}, {JWT: s.JWT}}, unknown)
				assert.Contains(t, m.get("Td"), "none, clear")
			})
		})
	}
}

// End reports whether the session had ended before.
func TestEndedAlready(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		assert.False(t, m.End("a"))
		assert.True(t, m.End("a"))
	})
}

// The legacy session was logged out, and the exchange that made the session could not
// ask the store: the session ends and is revoked, and a failure of that is reported.
func TestSessionOfAnEndedOrigin(t *testing.T) {
	for name, fails := range map[string]error{"it is revoked": nil, "it can't be revoked": errDown} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.stytch.openFrom("key", "d")
				require.NoError(t, m.Tombstones.MarkLegacy(t.Context(), "key"))
				m.stytch.revoke = func() error { return fails }
				assert.Equal(t, "none, clear | Td?", m.get("Td"))
				assert.Equal(t, []string{"d"}, m.stytch.revoked)
				if fails != nil {
					assert.Equal(t, []error{fails}, m.unwanted)
				} else {
					assert.Empty(t, m.unwanted)
				}
				assert.True(t, m.Tombstones.SessionEndedLocal("d"))
			})
		})
	}
}

// A refresh is under way when the user logs out in another tab. Whether Stytch had
// answered by then or not, no request is handed the session.
func TestLogoutDuringARefresh(t *testing.T) {
	for name, answered := range map[string]bool{"Stytch answers after the logout": false, "Stytch has answered": true} {
		for _, cookies := range []string{"Ta", "Ea", "Ta Ea", "Ja"} {
			for _, by := range []string{"Jd", "Ta", "Ea"} {
				t.Run(name+"/"+cookies+"/"+by, func(t *testing.T) {
					inBubble(t, func(t *testing.T, m *machine) {
						time.Sleep(6 * time.Minute)
						if by == "Jd" {
							by = m.stytch.sign("J", "a")
						}
						wait := func(ctx context.Context) { background.Sleep(ctx, 400*time.Millisecond) }
						if answered {
							m.stytch.after = func(ctx context.Context, _ *stytch.Session) { wait(ctx) }
						} else {
							m.stytch.before = func(ctx context.Context, _ stytch.SessionRef) error { wait(ctx); return nil }
						}
						got := make(chan string)
						go func() { got <- m.get(cookies) }()
						synctest.Wait()
						m.logOut(by)
						assert.Regexp(t, "^none, clear", <-got)
					})
				})
			}
		}
	}
}

// The user logs out while a valid JWT's request waits for the full user in vain.
func TestLogoutWhileTheUserIsAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(ctx context.Context, _ stytch.SessionRef) error { <-ctx.Done(); return errDown }
		go func() {
			time.Sleep(100 * time.Millisecond)
			m.logOut("Ja")
		}()
		assert.Equal(t, "none, clear | Ja", m.get("Ja"))
	})
}

// The user logs out while a JWT waits to be verified, and at the logout there was no key.
func TestLogoutWhileAJWTIsVerified(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		jwt := m.stytch.sign("J", "a")
		m.stytch.verify = func() { m.Tombstones.MarkCookie(tombstones.HashCookie('j', jwt)) }
		assert.Equal(t, "none, clear | -", m.get(jwt))
	})
}

// A user of whom only the JWT is known, since Stytch is silent, logs out.
func TestLogoutOfAPartialUser(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(context.Context, stytch.SessionRef) error { return errDown }
		jwt := m.stytch.sign("J", "a")
		require.Equal(t, "a verified, partial | Ja", m.get(jwt))
		m.logOut("Ta " + jwt)
		assert.Equal(t, "none, clear | -", m.get(jwt))
		assert.Equal(t, "none, clear | -", m.get("Ja"))
	})
}
