package exchange_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// Each row is a legacy session that moved, on another machine and an hour before its
// Stytch session ends; what Stytch says of that when the old cookie comes again, so long
// after the exchange; and what that comes to.
func TestResume(t *testing.T) {
	const authenticate = stytch.Authenticate
	unknown := gone(authenticate, "session_not_found", 404)
	for name, row := range map[string]struct {
		after time.Duration
		err   error
		want  string
		calls string
		next  string // the next request, on a third machine; "": as want
	}{
		"a moment later": {10*time.Second - 1, nil, "recorded session-1", "", ""},
		"later":          {10 * time.Second, nil, "recorded session-1", "authenticate", ""},
		"Stytch is down": {time.Minute, gone(authenticate, "internal_server_error", 500), "can't tell", "authenticate", "recorded session-1"},
		"ended so soon that Stytch may not know it yet": {30*time.Second - 1, unknown, "can't tell", "authenticate", "recorded session-1"},
		"ended":                             {30 * time.Second, unknown, "refused", "authenticate", ""},
		"ended long before its time":        {58 * time.Minute, unknown, "refused", "authenticate", ""},
		"ended when its time was nearly up": {58*time.Minute + 1, unknown, "exchanged session-2", "authenticate migrate", "recorded session-2"},
		"its time is up":                    {2 * time.Hour, nil, "exchanged session-2", "authenticate migrate", "recorded session-2"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
				newMachine(api, store).ask(t)
				api.script(authenticate, row.err)
				time.Sleep(row.after)
				m := newMachine(api, store)
				what, _ := m.ask(t)
				assert.Equal(t, row.want, what)
				assert.Equal(t, "migrate"+spaced(row.calls), api.said())
				if row.next == "" {
					row.next = row.want
				}
				what, _ = newMachine(api, store).ask(t)
				assert.Equal(t, row.next, what)
			})
		})
	}
}

func spaced(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// Stytch is asked once in ten seconds by all machines: the one that asked remembers the
// answer for the others.
func TestRecordIsRefreshed(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		newMachine(api, store).ask(t)
		time.Sleep(time.Minute)
		for range 3 {
			what, _ := newMachine(api, store).ask(t)
			assert.Equal(t, "recorded session-1", what)
		}
		assert.Equal(t, "migrate authenticate", api.said())
	})
}

// A session that the package itself revoked was not logged out: a later sign-in replaced
// it. On the machine that did that, and on others, its legacy session may move again, and
// all hand out the new session.
func TestRevokedSessionIsNotResumed(t *testing.T) {
	for name, first := range map[string]int{"this machine first": 0, "another machine first": 1} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
				m := []*machine{newMachine(api, store), newMachine(api, store)}
				m[0].ask(t)
				assert.True(t, m[0].RevokeLater(t.Context(), "session-1"))
				assert.False(t, m[0].RevokeLater(t.Context(), "session-1"), "it has ended already")
				synctest.Wait()
				assert.Equal(t, "migrate revoke", api.said())
				time.Sleep(time.Minute)
				what, _ := m[first].ask(t)
				assert.Equal(t, "exchanged session-2", what)
				what, _ = m[1-first].ask(t)
				assert.Equal(t, "recorded session-2", what)
			})
		})
	}
}

// The session is ended although the request that ends it has been left.
func TestRevokeLaterOutlivesItsRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		m := newMachine(api, store)
		m.ask(t)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		m.RevokeLater(ctx, "session-1")
		synctest.Wait()
		assert.Zero(t, api.living())
		assert.True(t, newMachine(api, store).tombstones.SessionEndedShared(t.Context(), "session-1"))
	})
}

// The application gives another identity under the same session than at the exchange.
// The requests that come with it are refused, one of them reports it, the session is
// revoked, and after a minute the person may move again.
func TestResumedForAnotherPerson(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		m := newMachine(api, store)
		m.ask(t)
		ask := func() exchange.Result {
			return m.Exchange(t.Context(), &exchange.Legacy{Key: "key", ID: "id", Identity: bobID}, request)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		reports := 0
		for range 20 {
			wg.Go(func() {
				x := ask()
				mu.Lock()
				defer mu.Unlock()
				assert.Equal(t, "refused", said(x))
				assert.Equal(t, exchange.ErrAnotherPerson, x.Err)
				if x.Event == exchange.Mismatch {
					reports++
					assert.Equal(t, "user-ada", x.UserID)
				} else {
					assert.Empty(t, x.UserID)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		assert.Equal(t, 1, reports)
		assert.Equal(t, []stytch.SessionRef{{ID: "session-1"}}, api.revoked)
		time.Sleep(time.Minute - 1)
		x := ask()
		assert.Equal(t, "refused", said(x))
		assert.Equal(t, exchange.NoEvent, x.Event)
		time.Sleep(time.Nanosecond)
		api.user = bob
		assert.Equal(t, "exchanged session-2", said(ask()))
	})
}

// beforeOp runs f once, right before the n-th operation of the store from now on.
func beforeOp(store *storetest.Memory, n int, f func()) {
	var mu sync.Mutex
	store.Fail(func(string, string) error {
		mu.Lock()
		n--
		now := n == 0
		mu.Unlock()
		if now {
			f()
		}
		return nil
	})
}

// Before each of the six operations of an exchange, the user logs out on another
// machine, as Logout does: it marks, looks for a record, and revokes what that names. No
// request gets a session, and none stays alive.
func TestLogoutBeforeEachStep(t *testing.T) {
	for n := 1; n <= 6; n++ {
		inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
			m, other := newMachine(api, store), newMachine(api, store)
			beforeOp(store, n, func() {
				assert.NoError(t, other.tombstones.MarkLegacy(t.Context(), "key"))
				if r := other.records.Load(t.Context(), "key", "id"); r != nil {
					assert.NoError(t, api.Revoke(t.Context(), stytch.SessionRef{ID: r.Session.ID}))
				}
			})
			what, _ := m.ask(t)
			assert.Equal(t, "refused", what, "before operation %d", n)
			assert.Zero(t, api.living(), "before operation %d", n)
			if n < 5 {
				assert.Zero(t, api.count(stytch.Migrate), "before operation %d", n)
			}
			store.Fail(nil)
			what, _ = newMachine(api, store).ask(t)
			assert.Equal(t, "refused", what)
		})
	}
}

// Before each of the six operations of an exchange the claim is lost, and another machine
// exchanges. Both hand out one session, and no other stays alive.
func TestOvertakenBeforeEachStep(t *testing.T) {
	for n := 1; n <= 6; n++ {
		inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
			api.slow(time.Millisecond) // within the time of a store operation
			m, other := newMachine(api, store), newMachine(api, store)
			var first exchange.Result
			beforeOp(store, n, func() {
				store.LoseClaims()
				first = other.do(t, "key")
			})
			second := m.do(t, "key")
			require.NotNil(t, first.Entry, "before operation %d", n)
			require.NotNil(t, second.Entry, "before operation %d", n)
			assert.Equal(t, first.Entry.Session.ID, second.Entry.Session.ID, "before operation %d", n)
			assert.Equal(t, 1, api.living(), "before operation %d", n)
		})
	}
}

// While a record is refreshed, a later sign-in on another machine replaces its session.
// That is no logout: the legacy session may move again.
func TestReplacedWhileResumed(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		first, second := newMachine(api, store), newMachine(api, store)
		first.ask(t)
		time.Sleep(time.Minute)
		once := true
		store.Fail(func(op, _ string) error {
			if op == "put" && once {
				once = false
				first.RevokeLater(context.Background(), "session-1")
				time.Sleep(time.Millisecond)
			}
			return nil
		})
		second.ask(t)
		time.Sleep(time.Minute)
		what, _ := newMachine(api, store).ask(t)
		assert.Equal(t, "exchanged session-2", what)
	})
}

// A store that is down costs an exchange on each machine, and loses no user. Each machine
// remembers for itself, and puts that into the store when it is back.
func TestStoreIsDown(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		store.Fail(func(string, string) error { return errors.New("down") })
		m := newMachine(api, store)
		for _, want := range []string{"exchanged session-1", "recorded session-1"} {
			what, _ := m.ask(t)
			assert.Equal(t, want, what)
		}
		what, _ := newMachine(api, store).ask(t)
		assert.Equal(t, "exchanged session-2", what)
		store.Fail(nil)
		time.Sleep(6 * time.Second) // for five the store is left alone
		what, _ = m.ask(t)
		assert.Equal(t, "recorded session-1", what)
		what, _ = newMachine(api, store).ask(t)
		assert.Equal(t, "recorded session-1", what, "shared again")
	})
}
