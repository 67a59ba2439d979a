package session_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// A token, or an expired JWT, costs one call. The session is known by its token until
// its new JWT expires: where a JWT is too long for a cookie, that is one call in five
// minutes, and not one for each request.
func TestTokenStaysKnown(t *testing.T) {
	for cookies, row := range map[string]struct{ first, later, next string }{
		"Ta":    {"a asked, write | Ta?", "a memory | -", "a asked, write | Ta"},
		"Ea":    {"a asked, write | Ea", "a memory, write | -", "a asked, write | Ea"},
		"Ta Ea": {"a asked, write | Ta?", "a memory, write | -", "a asked, write | Ta"},
		// The JWT cookie is rubbish, or another's that ended: it is written over.
		"Ta J.b.c": {"a asked, write | Ta?", "a memory, write | -", "a asked, write | Ta"},
	} {
		t.Run(cookies, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute)
				assert.Equal(t, row.first, m.get(cookies))
				assert.Equal(t, row.later, m.get(cookies))
				time.Sleep(5*time.Minute - time.Nanosecond)
				assert.Equal(t, row.later, m.get(cookies))
				time.Sleep(time.Nanosecond)
				assert.Equal(t, row.next, m.get(cookies))
			})
		})
	}
}

// The token of another session than the JWT's is no proof from memory, though both are
// one user's.
func TestMemoryWantsTheTokenOfTheSession(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		time.Sleep(6 * time.Minute)
		m.get("Ta")
		assert.Equal(t, "a2 asked, write | Ta2?", m.get("Ta2 Ea"))
		assert.Equal(t, "a2 memory, write | -", m.get("Ta2 Ea"))
	})
}

// A page's requests come together. One of them asks, for all. Those that come in the
// moment in which the answer does, or later with the old cookies, ask no more.
func TestOneCallForParallelRequests(t *testing.T) {
	for cookies, row := range map[string]struct{ calls, late string }{
		"Ea":    {"Ea", "a memory, write | -"},
		"Ta Ea": {"Ta?", "a memory, write | -"},
		"Ta":    {"Ta?", "a memory | -"},
		"Ja":    {"Ja", "a verified | -"},
	} {
		t.Run(cookies, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				time.Sleep(6 * time.Minute)
				m.stytch.before = func(ctx context.Context, _ stytch.SessionRef) error {
					background.Sleep(ctx, 300*time.Millisecond)
					return nil
				}
				jwts, tokens := m.cookies(cookies)
				for _, live := range m.each(100, jwts, tokens) {
					assert.Equal(t, "a", live.Session.ID)
				}
				assert.Equal(t, []string{row.calls}, m.stytch.asked())
				time.Sleep(4 * time.Minute)
				assert.Equal(t, row.late, m.get(strings.Join(append(jwts, tokens...), " ")))
			})
		})
	}
}

// each sends n requests at once, and returns the sessions that were found.
func (m *machine) each(n int, jwts, tokens []string) []*session.Entry {
	out := make([]*session.Entry, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { out[i] = m.Find(context.Background(), jwts, tokens).Live })
	}
	wg.Wait()
	return out
}

// Requests that arrive in the moment in which the answer does ask no more.
func TestOneCallForStragglers(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		for i := range 10 {
			id := fmt.Sprint("d", i)
			m.stytch.open(id, month)
			time.Sleep(6 * time.Minute)
			jwts, tokens := m.cookies("E" + id + " T" + id)
			for _, live := range m.each(30, jwts, tokens) {
				require.NotNil(t, live)
			}
			require.Equal(t, []string{"T" + id + "?"}, m.stytch.asked())
		}
	})
}

// The first to ask may leave. The others get the answer.
func TestFirstClientLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		ctx, leave := context.WithCancel(t.Context())
		m.stytch.before = func(ctx context.Context, _ stytch.SessionRef) error {
			background.Sleep(ctx, time.Second)
			return ctx.Err()
		}
		var first string
		go func() { first = describe(m.Find(ctx, nil, []string{"Ta"})) }()
		synctest.Wait()
		leave()
		synctest.Wait()
		assert.Equal(t, "can't tell", first)
		assert.Equal(t, "a asked, write", describe(m.Find(t.Context(), nil, []string{"Ta"})))
		assert.Len(t, m.stytch.asked(), 1)
	})
}

// A session is extended where less than half of its time is left, until it ends.
func TestWhenASessionIsExtended(t *testing.T) {
	for left, want := range map[time.Duration]string{
		month/2 + time.Second: "Ta", month / 2: "Ta", month/2 - time.Second: "Ta+43200", time.Second: "Ta+43200", 0: "Ta",
	} {
		t.Run(left.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				require.Equal(t, "a asked, write | Ta?", m.get("Ta"), "and known")
				time.Sleep(month - left)
				assert.Regexp(t, ` \\| `+regexp.QuoteMeta(want)+"$", m.get("Ta"))
			})
		})
	}
}

// What is known of the expiry may be in memory, or in a JWT: the later one counts, also
// that of a JWT that is valid.
func TestExpiryThatAnExtensionGoesBy(t *testing.T) {
	for name, row := range map[string]struct {
		left    time.Duration // by the JWT
		cookies string
		want    string
	}{
		"an expired JWT, half is left":         {month / 2, "Ed", "Ed"},
		"an expired JWT, less is left":         {month/2 - time.Second, "Ed", "Ed+43200"},
		"a valid JWT, half is left":            {month / 2, "Jd", "Jd"},
		"a valid JWT, less is left":            {month/2 - time.Second, "Jd", "Jd+43200"},
		"a token beside a JWT, less is left":   {month/2 - time.Second, "Td Ed", "Td?+43200"},
		"a token beside a JWT, half is left":   {month / 2, "Td Ed", "Td?"},
		"a known token, and a later JWT":       {month / 2, "Tc Ed", "Tc"},
		"a known token, and a JWT that's less": {month/2 - time.Second, "Tc Ed", "Tc+43200"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.stytch.sessions["c"].ExpiresAt = time.Now().Add(month/2 + 5*time.Minute)
				m.get("Tc")
				m.stytch.open("d", row.left+6*time.Minute)
				time.Sleep(6 * time.Minute)
				assert.Contains(t, m.get(row.cookies)+" ", " | "+row.want+" ")
			})
		})
	}
}

// Of a token alone only the answer tells that it is time to extend its session. If the
// second call fails, the first answer will do.
func TestExtendedOnceTheAnswerTells(t *testing.T) {
	for name, row := range map[string]struct {
		life, want time.Duration
		fails      bool
		calls      string
	}{
		"it is time":         {10 * day, month, false, "d asked, write | Td? Td?+43200"},
		"that fails":         {10 * day, 10 * day, true, "d asked, write | Td? Td?+43200"},
		"half is left":       {month / 2, month / 2, false, "d asked, write | Td?"},
		"less, and a second": {month/2 - time.Second, month, false, "d asked, write | Td? Td?+43200"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				m.stytch.open("d", row.life)
				calls := 0
				m.stytch.before = func(context.Context, stytch.SessionRef) error {
					if calls++; row.fails && calls > 1 {
						return errDown
					}
					return nil
				}
				assert.Equal(t, row.calls, m.get("Td"))
				live := m.Find(t.Context(), nil, []string{"Td"}).Live
				assert.Equal(t, row.want, time.Until(live.Session.ExpiresAt))
			})
		})
	}
}

// With a fixed expiry no session is extended.
func TestFixedExpiry(t *testing.T) {
	inBubble(t, func(t *testing.T, m *machine) {
		m.ExtendBy = 0
		for _, left := range []time.Duration{month / 3, time.Second} {
			time.Sleep(time.Until(m.stytch.sessions["a"].ExpiresAt) - left)
			assert.Regexp(t, `^a asked, write \| Ta\??$`, m.get("Ta"))
		}
	})
}

// Stytch takes whole minutes.
func TestMinutes(t *testing.T) {
	for d, want := range map[time.Duration]int{
		0: 0, time.Nanosecond: 1, time.Minute: 1, time.Minute + 1: 2, month: 30 * 24 * 60, 366 * day: 366 * 24 * 60, 1<<63 - 1: 366 * 24 * 60,
	} {
		assert.Equal(t, want, session.Minutes(d), d)
	}
}

// Confirm asks about a session of a record, unless Stytch vouched for it lately.
func TestConfirm(t *testing.T) {
	const fresh = 10 * time.Second
	for name, row := range map[string]struct {
		age, known time.Duration // since Stytch vouched for it, by the record and by memory; below zero: another machine's clock is ahead
		calls      []string
	}{
		"the record is fresh":           {fresh - 1, month, nil},
		"the record is old":             {fresh, month, []string{"Ta"}},
		"the record is of the future":   {-fresh, month, []string{"Ta"}},
		"and of a near one":             {1 - fresh, month, nil},
		"memory is fresh":               {time.Hour, fresh - 1, nil},
		"memory is old":                 {time.Hour, fresh, []string{"Ta"}},
		"memory is old, the record not": {0, fresh, nil},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, m *machine) {
				was := *m.stytch.sessions["a"]
				if row.known != month {
					_, err := m.Add(&was, time.Now().Add(-row.known))
					require.NoError(t, err)
				}
				at := time.Now().Add(-row.age)
				k, err := m.Confirm(t.Context(), &was, at, fresh)
				require.NoError(t, err)
				assert.Equal(t, row.calls, m.stytch.asked())
				assert.Equal(t, "a", k.Session.ID)
				assert.Same(t, k, m.LookupJWT(string(k.Session.JWT)))
				if row.calls != nil {
					assert.Equal(t, time.Now(), k.VouchedAt)
				} else {
					assert.Equal(t, time.Now().Add(-min(row.known, row.age)), k.VouchedAt)
				}
			})
		})
	}
}

// Confirm says no to a session that was logged out on another machine, and extends one
// whose time has come.
func TestConfirmElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, f := new(storetest.Memory), newStytch()
		one, other := newMachine(f, store), newMachine(f, store)
		was := *f.open("a", 20*day)
		_, err := one.Confirm(t.Context(), &was, time.Now(), time.Minute)
		require.NoError(t, err)
		time.Sleep(10 * day)
		_, err = one.Confirm(t.Context(), &was, time.Time{}, time.Minute)
		require.NoError(t, err)
		assert.Equal(t, []string{"Ta+43200"}, f.asked())

		require.NoError(t, other.Tombstones.MarkSessionShared(t.Context(), "a"))
		_, err = one.Confirm(t.Context(), &was, time.Now(), time.Minute)
		assert.Equal(t, session.ErrEnded, err)
		assert.True(t, errors.Is(err, session.ErrEnded))
	})
}
