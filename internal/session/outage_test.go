package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// No outage of Stytch's deletes a cookie, and the expired JWT still says whose session it
// is. A JWT that verifies does without Stytch.
func TestOutageSignsNobodyOut(t *testing.T) {
	for name, err := range map[string]error{
		"down": errDown, "held back": errHeldBack, "no answer": stytch.ErrNoAnswer, "an error that Stytch does not give": errors.New("a bug"),
	} {
		for _, row := range []struct{ cookies, want, calls string }{
			{"Ta", "can't tell", "Ta?"}, {"Ea", "can't tell of a", "Ea"}, {"Ta Ea", "can't tell of a", "Ta?"}, {"Ja", "a verified, partial", "Ja"},
		} {
			t.Run(name+"/"+row.cookies, func(t *testing.T) {
				inBubble(t, func(t *testing.T, m *machine) {
					time.Sleep(6 * time.Minute)
					m.stytch.before = func(context.Context, stytch.SessionRef) error { return err }
					if name == "held back" && row.cookies == "Ta Ea" {
						row.calls = "Ta? Ea" // TestUnknownTokenIsHeldBack
					}
					assert.Equal(t, row.want+" | "+row.calls, m.get(row.cookies))
					m.stytch.before = nil
					time.Sleep(time.Minute)
					assert.Contains(t, m.get(row.cookies), "a asked", "nothing was lost by it")
				})
			})
		}
	}
}

// A panic in a shared call is an outage too.
func TestPanicOfTheAPI(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(context.Context, stytch.SessionRef) error { panic("out of order") }
		assert.Equal(t, "can't tell | Ta?", m.get("Ta"))
		assert.Equal(t, "a verified, partial | Ja", m.get("Ja"))
	})
}

// Stytch is silent: what a request asks about first uses up its time, and no call is made
// that no request waits for. The shared call is given up in the end.
func TestSilenceIsAskedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		start, gaveUp := time.Now(), time.Duration(0)
		m.stytch.before = func(ctx context.Context, _ stytch.SessionRef) error {
			<-ctx.Done()
			gaveUp = time.Since(start)
			return errDown
		}
		assert.Equal(t, "can't tell | T1?", m.get("T1 T2 T3"))
		assert.Equal(t, 5*time.Second, time.Since(start))
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, m.stytch.asked())
		assert.Equal(t, 15*time.Second, gaveUp)
	})
}

// What Stytch says no to is a no, whatever the request says of it. What is known of a
// token is asked about the JWT too: they may be of two sessions.
func TestStytchSaysNo(t *testing.T) {
	for cookies, want := range map[string]string{
		"Ta":      "none, clear | Ta?",
		"Ea":      "none, clear | Ea",
		"Ta Ea":   "none, clear | Ta? Ea",
		"Ja":      "none, clear | Ja",
		"Ta Ja":   "none, clear | Ja",
		"Ta Ta2":  "a2 asked, write | Ta? Ta2?",
		"Ta2 Ea":  "a2 asked, write | Ta2?",
		"Tb Ea":   "none, clear, mismatch | Tb?",
		"X Tb Ea": "none, clear, mismatch | Ea X? Tb?",
	} {
		t.Run(cookies, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute)
				m.stytch.gone["a"] = true
				assert.Equal(t, want, m.get(cookies))
			})
		})
	}
}

// A cookie that Stytch does not know is not asked about again for a minute, by any
// request.
func TestUnknownTokenIsRemembered(t *testing.T) {
	for _, cookie := range []string{"X", "Ea"} {
		t.Run(cookie, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute)
				m.stytch.gone["a"], m.stytch.gone["b"] = true, true
				first := m.get(cookie)
				assert.Contains(t, first, "none, clear | "+cookie)
				time.Sleep(time.Minute - time.Nanosecond)
				assert.Equal(t, "none, clear | -", m.get(cookie))
				assert.Equal(t, "none, clear | Tb?", m.get("Tb"), "that one alone")
				time.Sleep(time.Nanosecond)
				assert.Equal(t, first, m.get(cookie))
			})
		})
	}
}

// Stytch vouches after all for a session that it did not know a moment ago, as in an
// exchange on this machine: neither its token nor its JWT is unknown any more.
func TestUnknownTokenBecomesKnown(t *testing.T) {
	for _, byJWT := range []bool{false, true} {
		inBubble(t, func(t *testing.T, m *machine) {
			cookie, want := "Ta", "a asked, write | Ta"
			if byJWT {
				cookie, want = m.stytch.sign("J", "a"), "a asked, write | Ja"
			}
			time.Sleep(time.Minute)
			m.stytch.gone["a"] = true
			require.Contains(t, m.get(cookie), "none, clear")
			m.stytch.gone["a"] = false
			out := *m.stytch.sessions["a"]
			if out.JWT = secret(m.stytch.sign("J", "a")); byJWT {
				out.JWT = secret(cookie)
			}
			m.stytch.jwts[string(out.JWT)].ExpiresAt = time.Now().Add(10 * time.Second)
			_, err := m.Add(&out, time.Now())
			require.NoError(t, err)
			time.Sleep(45 * time.Second)
			assert.Equal(t, want, m.get(cookie))
		})
	}
}

// Made-up cookies fill no memory: of 10,000 the first is forgotten.
func TestMemoryOfUnknownTokensIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		for i := range 10_001 {
			m.get(fmt.Sprint("X", i))
		}
		assert.Equal(t, "none, clear | -", m.get("X1"))
		assert.Equal(t, "none, clear | X0?", m.get("X0"))
	})
}

// The JWT is still good, and the answer comes after the half second for which a request
// waits: the next request hears of it, and need not ask again. A request that waits for
// the store besides hears of it too.
func TestALateNoIsRemembered(t *testing.T) {
	for name, row := range map[string]struct {
		slow  func(m *machine, store *storetest.Memory)
		first string
	}{
		"Stytch is slow": {func(m *machine, _ *storetest.Memory) {
			m.stytch.before = func(context.Context, stytch.SessionRef) error { time.Sleep(600 * time.Millisecond); return nil }
		}, "a verified, partial | Ja"},
		"the store is silent": {func(m *machine, s *storetest.Memory) {
			s.Fail(func(string, string) error { time.Sleep(5 * time.Second); return nil })
		}, "none, clear | Ja"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := new(storetest.Memory)
				m := newMachine(newStytch(), store)
				m.stytch.open("a", month)
				jwt := m.stytch.sign("J", "a")
				time.Sleep(time.Minute)
				m.stytch.gone["a"] = true
				row.slow(m, store)
				assert.Equal(t, row.first, m.get(jwt))
				time.Sleep(11 * time.Second)
				assert.Equal(t, "none, clear | -", m.get(jwt))
				time.Sleep(m.Limit)
			})
		})
	}
}

// A token that is not known here may be made up: in a flood of such, calls about them are
// held back. One about the JWT beside it is not.
func TestUnknownTokenIsHeldBack(t *testing.T) {
	for name, row := range map[string]struct {
		known, cookies, want string
		err                  error
	}{
		"an unknown token":                {"", "Ta", "can't tell | Ta?", errHeldBack},
		"an unknown token beside a JWT":   {"", "Ta Ea", "a asked, write | Ta? Ea", errHeldBack},
		"another failure":                 {"", "Ta Ea", "can't tell of a | Ta?", errDown},
		"a known token beside a JWT":      {"Ta", "Ta Ea", "can't tell of a | Ta", errHeldBack},
		"rubbish beside a JWT":            {"", "X Ea", "a asked, write | X? Ea", nil},
		"two pieces of it beside a JWT":   {"", "X1 X2 Ea", "a asked, write | Ea", nil},
		"another user's beside a JWT":     {"", "Tb Ea", "none, clear, mismatch | Tb?", nil},
		"a known token that Stytch lacks": {"Tc", "Tc Ea", "none, clear | Tc", nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.get(row.known)
				time.Sleep(6 * time.Minute)
				m.stytch.gone["c"] = true
				m.stytch.before = func(_ context.Context, ref stytch.SessionRef) error {
					if ref.Token != "" {
						return row.err
					}
					return nil
				}
				assert.Equal(t, row.want, m.get(row.cookies))
			})
		})
	}
}

// A question that is vouched for does not wait for the same question that is not: that
// one may be held back, and its answer has not been through the brake.
func TestVouchedForApart(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.stytch.before = func(ctx context.Context, _ stytch.SessionRef) error { background.Sleep(ctx, time.Second); return nil }
		m.stytch.keysDown = true
		jwt, first := []string{m.stytch.sign("J", "b")}, make(chan string)
		go func() { first <- m.find(jwt, nil) }()
		synctest.Wait()
		m.stytch.keysDown = false
		assert.Equal(t, "b verified, partial", m.find(jwt, nil))
		assert.Equal(t, []string{"Jb?", "Jb"}, m.stytch.asked())
		assert.Equal(t, "b asked, write", <-first)
	})
}
