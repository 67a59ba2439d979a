package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// visit is a request to a machine, and what it comes to.
type visit struct {
	at   time.Duration // since the exchange began elsewhere
	on   int           // the machine
	want string
	took time.Duration
}

// walk makes visits in order, each at its time, to machines that share a store.
func walk(t *testing.T, api *fake, store *storetest.Memory, visits []visit) {
	t.Helper()
	machines := []*machine{newMachine(api, store), newMachine(api, store)}
	start := time.Now()
	for _, v := range visits {
		time.Sleep(v.at - time.Since(start))
		what, took := machines[v.on].ask(t)
		assert.Equal(t, v.want, what, "at %v on machine %d", v.at, v.on)
		assert.InDelta(t, v.took, took, float64(80*time.Millisecond), "at %v on machine %d", v.at, v.on)
	}
}

// kill starts an exchange on a machine, and makes the store lose what that machine
// says after its claim: it was killed.
func kill(t *testing.T, api *fake, store *storetest.Memory) {
	t.Helper()
	store.Fail(func(op, _ string) error {
		if op == "put" || op == "release" {
			return errors.New("killed")
		}
		return nil
	})
	api.slow(time.Nanosecond)
	newMachine(api, store).do(t, "key")
	api.slow(0)
	store.Fail(nil)
}

// A machine was killed in an exchange. Its claim ends with the lease, 20 s later.
// Until then a request on each other machine waits for 2.5 s, once. All others are
// not kept waiting: the old code serves them, and nobody is refused. Then the session
// moves.
func TestClaimOfAKilledMachine(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		kill(t, api, store)
		walk(t, api, store, []visit{
			{0, 0, "no room", 2500 * time.Millisecond},
			{3 * time.Second, 0, "no room", 0},
			{3 * time.Second, 0, "no room", 0},
			{4 * time.Second, 1, "no room", 2500 * time.Millisecond},
			{7 * time.Second, 1, "no room", 0},
			{19900 * time.Millisecond, 0, "no room", 0},
			{20 * time.Second, 0, "exchanged session-2", time.Second},
			{22 * time.Second, 1, "recorded session-2", 0},
		})
		assert.Equal(t, 2, api.count(stytch.Migrate))
	})
}

// An exchange on another machine takes 4 s. What a request has waited for in vain is
// found by the next one at once, as soon as it is there.
func TestSlowExchangeElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		api.slow(4 * time.Second)
		slow := newMachine(api, store)
		done := make(chan string)
		go func() { what, _ := slow.ask(t); done <- what }()
		synctest.Wait()
		walk(t, api, store, []visit{
			{0, 0, "no room", 2500 * time.Millisecond},
			{3 * time.Second, 0, "no room", 0},
			{3 * time.Second, 1, "recorded session-1", time.Second},
			{4 * time.Second, 0, "recorded session-1", 0},
		})
		assert.Equal(t, "exchanged session-1", <-done)
		assert.Equal(t, 1, api.count(stytch.Migrate))
		assert.Empty(t, api.revoked)
	})
}

// An exchange that takes nearly as long as it may live, 15 s, has its claim to the end.
func TestLongestExchangeKeepsItsClaim(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		api.slow(3*timeout - time.Millisecond)
		slow := newMachine(api, store)
		go slow.ask(t)
		synctest.Wait()
		walk(t, api, store, []visit{
			{0, 0, "no room", 2500 * time.Millisecond},
			{14900 * time.Millisecond, 0, "no room", 0},
			{15 * time.Second, 0, "recorded session-1", 0},
		})
		assert.Equal(t, 1, api.count(stytch.Migrate))
	})
}

// Requests that meet the claim of a killed machine at the same time wait together, and
// no request waits longer than one.
func TestManyWaitTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		kill(t, api, store)
		m := newMachine(api, store)
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				what, took := m.ask(t)
				assert.Equal(t, "no room", what)
				assert.LessOrEqual(t, took, max(0, 2500*time.Millisecond-time.Duration(i)*50*time.Millisecond))
			})
		}
		wg.Wait()
		assert.Equal(t, 4950*time.Millisecond, time.Since(start))
		assert.Equal(t, 1, api.count(stytch.Migrate))
	})
}

// A process waits for one claim. When that has ended, and the process had the next one
// itself, it waits for the claim after that as if it had not waited before.
func TestEachClaimIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		down := gone(stytch.Migrate, "internal_server_error", 500)
		api.script(stytch.Migrate, down, down)
		first, second := newMachine(api, store), newMachine(api, store)
		go first.ask(t)
		synctest.Wait()
		what, took := second.ask(t)
		assert.Equal(t, "can't tell", what, "it claims after a second, and fails too")
		assert.InDelta(t, 2*time.Second, took, float64(80*time.Millisecond))
		time.Sleep(time.Second)
		go first.ask(t)
		synctest.Wait()
		what, took = second.ask(t)
		assert.Equal(t, "recorded session-1", what)
		assert.InDelta(t, time.Second, took, float64(80*time.Millisecond))
	})
}

// While a process waits, a third machine takes the claim over and is killed too. Its
// lease is waited for no more than the first one's.
func TestClaimThatChangesHands(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		kill(t, api, store)
		time.AfterFunc(2400*time.Millisecond, func() {
			store.LoseClaims()
			_, err := store.Claim(context.Background(), "key", "a third machine", 20*time.Second)
			assert.NoError(t, err)
		})
		walk(t, api, store, []visit{
			{0, 0, "no room", 2500 * time.Millisecond},
			{22300 * time.Millisecond, 0, "no room", 0},
			{22400 * time.Millisecond, 0, "exchanged session-2", time.Second},
		})
	})
}

// A wait concerns one legacy session: another one moves meanwhile.
func TestWaitConcernsOneSession(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		kill(t, api, store)
		m := newMachine(api, store)
		assert.Equal(t, "no room", said(m.do(t, "key")))
		assert.Equal(t, "exchanged session-2", said(m.do(t, "another key")))
	})
}

// An exchange that fails gives its claim back: the next machine need not wait.
func TestFailedExchangeReleasesItsClaim(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		api.script(stytch.Migrate, gone(stytch.Migrate, "internal_server_error", 500))
		walk(t, api, store, []visit{
			{0, 0, "can't tell", time.Second},
			{2 * time.Second, 1, "exchanged session-1", time.Second},
		})
	})
}

// A store that loses its data loses the claim of an exchange that is under way. The
// session of the machine that claimed next counts, and the other one is revoked.
func TestLostClaimLosesItsSession(t *testing.T) {
	for name, row := range map[string]struct {
		secondTakes time.Duration
		first       string
		revoked     int
	}{
		"the other machine is done by then": {time.Millisecond, "recorded session-1", 1},
		"the other machine is done soon":    {2 * time.Second, "recorded session-2", 1},
		"the other machine takes too long":  {6 * time.Second, "no room", 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
				first := make(chan string)
				go func() { what, _ := newMachine(api, store).ask(t); first <- what }()
				time.Sleep(time.Second / 2)
				store.LoseClaims()
				api.slow(row.secondTakes)
				second := make(chan string)
				go func() { what, _ := newMachine(api, store).ask(t); second <- what }()
				assert.Equal(t, row.first, <-first)
				<-second
				time.Sleep(10 * time.Second)
				assert.Len(t, api.revoked, row.revoked)
				assert.Equal(t, 1, api.living())
			})
		})
	}
}

// A session that is made, and whose claim was lost, needs no more room.
func TestLostClaimNeedsNoRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		time.AfterFunc(time.Second/2, store.LoseClaims)
		what, _ := newMachine(api, store, func(c *exchange.Config) { c.Limiter = &limit{room: 1} }).ask(t)
		assert.Equal(t, "exchanged session-1", what)
		assert.Equal(t, 1, api.living())
	})
}

// lateClaims is a store whose first Claim gets no answer in time, and comes into force
// later.
type lateClaims struct {
	*storetest.Memory
	after time.Duration
	once  sync.Once
}

func (s *lateClaims) Claim(ctx context.Context, key, owner string, lease time.Duration) (ok bool, err error) {
	s.once.Do(func() {
		err = errors.New("no answer")
		time.AfterFunc(s.after, func() { _, _ = s.Memory.Claim(context.Background(), key, owner, lease) })
	})
	if err != nil {
		return false, err
	}
	return s.Memory.Claim(ctx, key, owner, lease)
}

// A Claim that gets no answer may come into force at any time. The machine that sent it
// does not wait for itself, and leaves no claim that others would have to wait for.
func TestClaimWithoutAnAnswer(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second / 2} {
		for name, fails := range map[string]error{"the exchange is made": nil, "the exchange fails": gone(stytch.Migrate, "internal_server_error", 500)} {
			t.Run(fmt.Sprint(name, ", the claim comes after ", after), func(t *testing.T) {
				inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
					api.script(stytch.Migrate, fails)
					m := newMachine(api, &lateClaims{Memory: store, after: after})
					what, took := m.ask(t)
					if fails == nil {
						assert.Equal(t, "exchanged session-1", what)
					}
					assert.InDelta(t, time.Second, took, float64(100*time.Millisecond))
					what, took = newMachine(api, store).ask(t)
					assert.Contains(t, what, "session-1")
					assert.LessOrEqual(t, took, time.Second)
					assert.Equal(t, 1, api.living())
				})
			})
		}
	}
}

// A Claim that got no answer comes into force after another machine had the claim and
// used it. Both hand out one session.
func TestLateClaimDoesNotReplaceASession(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		first := make(chan string)
		m := newMachine(api, &lateClaims{Memory: store, after: 900 * time.Millisecond})
		go func() { what, _ := m.ask(t); first <- what }()
		synctest.Wait()
		api.slow(time.Second / 2)
		what, _ := newMachine(api, store).ask(t)
		api.slow(0)
		assert.Equal(t, "exchanged session-1", what)
		assert.Equal(t, "recorded session-1", <-first)
		time.Sleep(time.Second)
		assert.Equal(t, 1, api.living())
	})
}
