package integration

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seed   = flag.Uint64("seed", 0, "of the interleavings; 0: another each time")
	only   = flag.Int("world", -1, "the one interleaving to run, with -seed")
	worlds = flag.Int("worlds", 800, "how many interleavings")
)

// Two people at a few browsers of each, two or three machines, and whatever can
// happen to them, in random orders. Nobody ever gets anything of the other's,
// nobody gets back what was logged out, and nobody is lost to whom nothing
// happened that may lose a session.
//
// Each run draws other orders, as many as fit into half a minute under the race
// detector; -worlds=10000 takes five.
func TestTwoUsers(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("-seed=%d", *seed)
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			for i := int(next.Add(1)) - 1; i < *worlds && !t.Failed(); i = int(next.Add(1)) - 1 {
				if *only < 0 || *only == i {
					synctest.Test(t, func(t *testing.T) { live(t, i) })
				}
			}
		})
	}
}

// live lets one world happen.
func live(t *testing.T, i int) {
	w := newWorld(t, rand.New(rand.NewPCG(*seed, uint64(i))))
	for range 8 + w.dice.IntN(10) {
		w.step()
	}
	w.settle()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) == 0 {
		return
	}
	t.Errorf("%s\nblind %t, lossy %t, store fails %t, plants %t; again by -run TestTwoUsers -seed=%d -world=%d",
		strings.Join(w.wrong, "\n"), w.blind, w.lossy, w.storeFailed, w.plants, *seed, i)
	for _, line := range w.trace {
		t.Log(line())
	}
}

// step does what the dice say.
func (w *world) step() {
	b := w.browsers[w.dice.IntN(len(w.browsers))]
	switch n := w.dice.IntN(100); {
	case n < 25:
		w.load(b, 1)
	case n < 37:
		w.load(b, 2+w.dice.IntN(4))
	case n < 43:
		w.leave(b)
	case n < 50:
		w.late(b)
	case n < 54:
		w.logOut(b, w.dice.IntN(3) > 0)
	case n < 58:
		w.race(b)
	case n < 66:
		w.signInAgain(b)
	case n < 69:
		w.copyTo(b)
	case n < 73:
		w.plant(b)
	case n < 83:
		w.failStytch()
	case n < 87:
		w.release()
	case n < 90:
		w.failStore()
	default:
		w.pass()
	}
	if w.dice.IntN(3) == 0 {
		w.pass()
	}
}

// pass lets time pass, mostly a little.
func (w *world) pass() {
	time.Sleep(time.Duration(1 + w.dice.IntN(int([]time.Duration{
		time.Millisecond, 100 * time.Millisecond, time.Second, 5 * time.Second, 20 * time.Second,
		time.Minute, 6 * time.Minute, 20 * time.Minute,
	}[w.dice.IntN(8)]))))
}

func (w *world) machine() int { return w.dice.IntN(len(w.machines)) }

// little is a delay of a request on its way, mostly none.
func (w *world) little() time.Duration {
	if w.dice.IntN(3) > 0 {
		return 0
	}
	return time.Duration(w.dice.IntN(int(3 * time.Second)))
}
