package exchange_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/userinfo"
)

// slowAuthenticate is a Stytch that takes a while to look a session up.
type slowAuthenticate struct {
	*fake
	takes time.Duration
}

func (s *slowAuthenticate) Authenticate(ctx context.Context, p stytch.SessionRef, m int) (*stytch.Session, error) {
	time.Sleep(s.takes)
	return s.fake.Authenticate(ctx, p, m)
}

func (m *machine) askAs(t *testing.T, who userinfo.Identity) string {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return said(m.Exchange(ctx, &exchange.Legacy{Key: "key", ID: "id", Identity: who}, request))
}

// F-A. One machine revokes the session for a mismatch while another one asks Stytch about
// it. That is no logout: the person may move again.
func TestMismatchWhileAnotherMachineAsksIsNoLogout(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		newMachine(api, store).ask(t)
		time.Sleep(time.Minute)
		changed := id
		changed.Email = "ada@new.example" // the application changed the address
		first, second := newMachine(api, store), newMachine(&slowAuthenticate{api, time.Second}, store)
		done := make(chan string)
		go func() { done <- second.askAs(t, changed) }()
		synctest.Wait() // the second machine has asked the store, and now asks Stytch
		assert.Equal(t, "refused", first.askAs(t, changed))
		synctest.Wait()
		assert.Equal(t, 0, api.living(), "revoked for the mismatch")
		assert.Equal(t, "refused", <-done)
		for key := range store.Values() {
			assert.False(t, strings.HasSuffix(key, ".ended"), "the legacy session was marked as logged out")
		}
		time.Sleep(2 * time.Minute) // a refusal is remembered for one
		assert.Equal(t, "exchanged", strings.Fields(newMachine(api, store).askAs(t, id))[0])
	})
}

// F-B. The same, and the store misses the mark of the revocation.
func TestMismatchWhoseMarkIsLostIsNoLogout(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		newMachine(api, store).ask(t)
		time.Sleep(time.Minute)
		changed := id
		changed.Email = "ada@new.example"
		first, second := newMachine(api, store), newMachine(api, store)
		store.Fail(func(op, key string) error {
			if op == "put" && strings.HasSuffix(key, ".over") {
				return errors.New("a hiccup")
			}
			return nil
		})
		assert.Equal(t, "refused", first.askAs(t, changed))
		synctest.Wait()
		store.Fail(nil)
		time.Sleep(11 * time.Second)
		second.askAs(t, changed)
		for key := range store.Values() {
			assert.False(t, strings.HasSuffix(key, ".ended"), "the legacy session was marked as logged out")
		}
	})
}

// F-C. Stytch answers an exchange a moment before its time is over. The user logged out
// on another machine long before. The store is healthy, and takes 20 ms for each answer.
func TestLogoutElsewhereBeforeALateAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		api.slow(3*timeout - 90*time.Millisecond) // three gets and a claim come first, 80 ms
		store.Fail(func(_, _ string) error { time.Sleep(20 * time.Millisecond); return nil })
		slow, other := newMachine(api, store), newMachine(api, store)
		go slow.ask(t)
		time.Sleep(5 * time.Second)
		assert.NoError(t, other.tombstones.MarkLegacy(t.Context(), "key"))
		time.Sleep(6 * time.Second)
		what, took := slow.ask(t) // joins the exchange
		assert.Equal(t, "refused", what, "after %v", took)
		time.Sleep(time.Minute)
		assert.Equal(t, 0, api.living())
	})
}

// F-C2. Without a logout: the session is handed out, and the store does not have it.
func TestLateAnswerIsRecorded(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		api.slow(3*timeout - 90*time.Millisecond)
		store.Fail(func(_, _ string) error { time.Sleep(20 * time.Millisecond); return nil })
		slow, other := newMachine(api, store), newMachine(api, store)
		go slow.ask(t)
		time.Sleep(11 * time.Second)
		what, _ := slow.ask(t)
		assert.Equal(t, "exchanged session-1", what)
		api.slow(0)
		time.Sleep(timeout + time.Second) // its claim is left behind
		what, _ = other.ask(t)
		assert.Equal(t, "recorded session-1", what)
		assert.Equal(t, 1, api.living())
	})
}

// F-D. A process that has waited before must not wait for its own claim.
func TestOwnLateClaimIsNotWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		kill(t, api, store)
		late := &lateClaims{Memory: store, after: time.Second / 2}
		late.once.Do(func() {})
		m := newMachine(api, late)
		what, _ := m.ask(t)
		assert.Equal(t, "no room", what)
		time.Sleep(18 * time.Second) // the lease of the killed machine has ended
		late.once = sync.Once{}
		what, _ = m.ask(t)
		assert.Equal(t, "exchanged session-2", what)
		assert.Equal(t, 2, api.count(stytch.Migrate))
		assert.Empty(t, api.revoked)
	})
}
