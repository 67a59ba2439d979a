package soak

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

var (
	stormy = flag.Duration("soak", 5*time.Second, "how long the storm lasts; before and after it, some seconds more")
	many   = flag.Int("browsers", 60, "how many")
	seed   = flag.Uint64("seed", 0, "of the dice; 0: another each time")
)

const (
	manyMachines = 3
	manyTurns    = 1500 // sign-ins and logouts in all: what is kept of each must not hide what leaks

	mended = 30 * time.Second // a breaker's five, a flight of three timeouts, and slack
)

// soak is all that is there.
type soak struct {
	stytch   *stytchtest.Server
	net      *network
	store    *storetest.Memory
	machines []*machine
	browsers []*browser
	began    time.Time // the storm
	turns    atomic.Int64
	people   atomic.Int64
	lag      atomic.Int64       // how late a timer is now, in nanoseconds
	late     atomic.Int64       // and was at worst
	kept     atomic.Int64       // nanoseconds in which none was late
	stop     context.CancelFunc // the storm, when enough went wrong

	mu          sync.Mutex // guards all below
	ids         map[string]string
	wrong       []string
	tally       counts // what went wrong, and what was judged
	faults      counts
	events      counts
	outcomes    counts
	took        [10_000]int // visits, by milliseconds
	storeFailed time.Time
}

// Hundreds of browsers at three machines that share a store, and a network between
// these and Stytch that fails in every way. Nobody ever sees anybody else, nobody
// is signed out or comes back, nobody waits too long, no more calls are in flight
// than may be, and nothing is left over.
func TestSoak(t *testing.T) {
	s := newSoak(t)
	goroutines, empty := runtime.NumGoroutine(), s.heap()
	s.rush()
	s.everybody(func(b *browser) { b.signIn() })
	s.settle()
	warm, known := s.heap(), len(s.stytch.Sessions())

	s.storm(t)
	s.settle()
	left := s.fewer(goroutines)
	assert.LessOrEqual(t, left, goroutines, "goroutines")
	// What was kept of a session at the beginning, for each since; and 4 MiB.
	end, more := s.heap(), len(s.stytch.Sessions())-known
	most := warm + (warm-empty)/uint64(known)*uint64(more) + 4<<20
	assert.LessOrEqual(t, end, most, "heap")

	s.everybody(func(b *browser) { b.leave() })
	t.Logf("heap %d KiB before the storm, %d after it and %d more sessions, %d at most; goroutines %d before, %d after",
		warm>>10, end>>10, more, most>>10, goroutines, left)
	s.report(t)
}

func newSoak(t *testing.T) *soak {
	s := &soak{store: new(storetest.Memory), ids: map[string]string{}, tally: counts{}, faults: counts{}, events: counts{}, outcomes: counts{}}
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed=%d", *seed)
	s.stytch = stytchtest.NewServer(t, stytchtest.Config{JWTLifetime: jwtLife})
	for i := range 200 { // of 400; the others are made when they move
		s.stytch.AddUser(stytchtest.Person(fmt.Sprintf("p%d@example.com", i)))
	}
	tickets, err := newTickets(s.stytch)
	require.NoError(t, err)
	s.net, err = newNetwork(strings.TrimPrefix(s.stytch.URL, "http://"))
	require.NoError(t, err)
	t.Cleanup(s.net.close)
	for range manyMachines {
		m, err := newMachine(s, tickets)
		require.NoError(t, err)
		t.Cleanup(m.base.CloseIdleConnections)
		s.machines = append(s.machines, m)
	}
	for i := range *many {
		s.browsers = append(s.browsers, s.newBrowser(*seed, i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.watch(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// rush brings twice as many old sessions at once as a machine may exchange, while
// Stytch is slow.
func (s *soak) rush() {
	s.net.set(fault{new(toxics.NoopToxic), &toxics.LatencyToxic{Latency: 700}})
	defer s.net.mend()
	var wg sync.WaitGroup
	for i := range 2 * bounds["migrate"] {
		name := fmt.Sprint("p", i)
		sid := &http.Cookie{Name: oldCookie, Value: fmt.Sprintf("%s.%032d.%d", name, i, time.Now().UnixNano())}
		wg.Go(func() { s.send(&visit{path: "page", owner: name, cookies: []*http.Cookie{sid}}) })
	}
	wg.Wait()
}

// storm is the weather and the load.
func (s *soak) storm(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), *stormy)
	defer cancel()
	s.mu.Lock()
	s.began, s.stop = time.Now(), cancel
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, b := range s.browsers {
		wg.Go(func() { b.live(ctx) })
	}
	wg.Go(func() { s.rotate(ctx) })
	err := s.net.weather(ctx, rand.New(rand.NewPCG(*seed, uint64(*many))), func(kind string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults[kind]++
	})
	wg.Wait()
	require.NoError(t, err)
}

// rotate signs by another key now and then, so that the key set is fetched.
func (s *soak) rotate(ctx context.Context) {
	for rest(ctx, *stormy/3); ctx.Err() == nil; rest(ctx, 2*time.Minute) {
		s.stytch.RotateKey()
	}
}

// everybody does something, a few at a time.
func (s *soak) everybody(do func(*browser)) {
	var wg sync.WaitGroup
	few := make(chan struct{}, 8)
	for _, b := range s.browsers {
		few <- struct{}{}
		wg.Go(func() { do(b); <-few })
	}
	wg.Wait()
}

// settle waits until everybody who is signed in is who they are.
func (s *soak) settle() {
	s.everybody(func(b *browser) {
		if stray := b.settle(); stray != nil {
			s.tell("lost", "not back after the storm", stray)
		}
	})
}

// watch notes how late this machine is with what is due, and keeps a clock that
// stands still while it is.
func (s *soak) watch(ctx context.Context) {
	const step = 20 * time.Millisecond
	for ctx.Err() == nil {
		due := time.Now().Add(step)
		rest(ctx, step)
		late := int64(time.Since(due))
		s.kept.Add(int64(step))
		s.lag.Store(max(late, s.lag.Load()*9/10))
		s.late.Store(max(s.late.Load(), late))
	}
}

// mayTurn says whether one more sign-in or logout is due.
func (s *soak) mayTurn() bool {
	due := int64(manyTurns * time.Since(s.began) / *stormy)
	n := s.turns.Load()
	return n < due && s.turns.CompareAndSwap(n, n+1)
}

// name is somebody's, now and then of whom nobody has heard.
func (s *soak) name(dice *rand.Rand) string {
	if dice.IntN(8) == 0 {
		return fmt.Sprint("new", s.people.Add(1))
	}
	return fmt.Sprint("p", dice.IntN(400))
}

// fewer waits until no more than most goroutines are left, and counts them.
func (s *soak) fewer(most int) int {
	for until := time.Now().Add(mended); time.Now().Before(until); rest(context.Background(), 50*time.Millisecond) {
		if s.hangUp(); runtime.NumGoroutine() <= most {
			break
		}
	}
	return runtime.NumGoroutine()
}

// hangUp closes the connections that nobody uses.
func (s *soak) hangUp() {
	for _, m := range s.machines {
		m.base.CloseIdleConnections()
	}
}

// heap is what is in use, without the calls that the stand-in keeps.
func (s *soak) heap() uint64 {
	s.hangUp()
	s.stytch.ResetCalls()
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // what has a finalizer
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}
