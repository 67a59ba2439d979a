package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate"
)

const (
	perSecond = 500
	stytchIs  = 20 * time.Millisecond // how long the stand-in takes for a migration under load
)

// scale writes what users cost beyond this process: calls to Stytch, operations
// of the store, time under load, and memory.
func (w *world) scale(out io.Writer, tables [][]*cell, o options) error {
	spent, err := w.storeOperations(out)
	if err != nil {
		return err
	}
	if err := w.migrationLatency(out, o.load); err != nil {
		return err
	}
	if err := w.throughput(out, o.rounds, o.load/5); err != nil {
		return err
	}
	each, err := w.memory(out, o.sessions)
	if err != nil {
		return err
	}
	if o.rubbish > 0 {
		if err := w.rubbish(out, o.rubbish); err != nil {
			return err
		}
	}
	sums(out, tables, spent, each)
	return nil
}

// cost is what one request costs others than this process.
type cost struct{ calls, operations int }

const (
	migrated  = "legacy cookie, migrated"
	refreshed = "expired JWT, refreshed"
	jwtLife   = 300 // seconds, as Stytch's JWTs have
)

// sums multiplies what was measured: sessions that are in use all the time, each
// with one refresh in a JWT's life.
func sums(out io.Writer, tables [][]*cell, spent map[string]cost, each float64) {
	var ns float64
	for _, cells := range tables {
		for _, c := range cells {
			if c.name == ourName && c.scenario.name == refreshed {
				ns = median(c.ns)
			}
		}
	}
	fmt.Fprintf(out, "\n### What it adds up to\n\nComputed from the above, for sessions that are in use without a pause: one refresh in the %d seconds of a JWT's life. All machines together.\n\n", jwtLife)
	fmt.Fprintf(out, "| active sessions | refreshes a second | their store operations a second | processors that they keep busy | memory, all known | calls to migrate them, once | store operations for that |\n")
	fmt.Fprintf(out, "| --: | --: | --: | --: | --: | --: | --: |\n")
	for _, n := range []int{1e4, 1e6, 1e8} {
		persec := float64(n) / jwtLife
		fmt.Fprintf(out, "| %d | %.0f | %.0f | %.2f | %.2f GB | %d | %d |\n", n,
			persec*float64(spent[refreshed].calls), persec*float64(spent[refreshed].operations), persec*ns/1e9,
			float64(n)*each/1e9, n*spent[migrated].calls, n*spent[migrated].operations)
	}
}

// counting is a Store for one process, which counts.
type counting struct {
	mu     sync.Mutex
	n      int
	values map[string][]byte
	owners map[string]string
}

func (c *counting) Get(_ context.Context, key string) ([]byte, bool, error) {
	defer c.count()()
	v, ok := c.values[key]
	return v, ok, nil
}

func (c *counting) Claim(_ context.Context, key, owner string, _ time.Duration) (bool, error) {
	defer c.count()()
	if c.owners[key] == "" {
		c.owners[key] = owner
	}
	return c.owners[key] == owner, nil
}

func (c *counting) Put(_ context.Context, key, owner string, value []byte, _ time.Duration) (bool, error) {
	defer c.count()()
	if owner != "" && c.owners[key] != owner {
		return false, nil
	}
	delete(c.owners, key)
	c.values[key] = value
	return true, nil
}

func (c *counting) Release(_ context.Context, key, owner string) error {
	defer c.count()()
	if c.owners[key] == owner {
		delete(c.owners, key)
	}
	return nil
}

func (c *counting) count() (unlock func()) {
	c.mu.Lock()
	c.n++
	return c.mu.Unlock
}

// storeOperations counts what single requests to a machine with a store cost.
func (w *world) storeOperations(out io.Writer) (map[string]cost, error) {
	store := &counting{values: make(map[string][]byte), owners: make(map[string]string)}
	cfg := w.config()
	cfg.Store = store
	m, err := stytchmigrate.New(cfg)
	if err != nil {
		return nil, err
	}
	spent := make(map[string]cost)
	h, v := m.Handler(application(ourUser, w.userID)), newVisitor()
	fmt.Fprintf(out, "\n### Calls of one request\n\n| request | to Stytch | to the store |\n| --- | --: | --: |\n")
	for _, r := range []struct{ name, cookie string }{
		{migrated, olds(w.old...)[0]},
		{"the same legacy cookie again", olds(w.old...)[0]},
		{"new JWT of a new session", jwts(w.strangers...)[0]},
		{"known session", jwts(w.strangers...)[0]},
		{refreshed, jwts(w.stale...)[1]},
	} {
		calls, n := w.tape.calls.Load(), store.n
		if status := v.send(h, r.cookie); status != rightUser {
			return nil, fmt.Errorf("bench: with a store: %s: status %d", r.name, status)
		}
		c := cost{int(w.tape.calls.Load() - calls), store.n - n}
		spent[r.name] = c
		fmt.Fprintf(out, "| %s | %d | %d |\n", r.name, c.calls, c.operations)
	}
	return spent, nil
}

// migrationLatency sends legacy sessions at a steady rate, and writes how much
// longer they took than the same calls at the same rate by net/http alone. On a
// machine that stands still for a moment more of them come together than are
// exchanged at a time; the rest is told to come again, and is counted apart.
func (w *world) migrationLatency(out io.Writer, load time.Duration) error {
	n := int(load.Seconds() * perSecond)
	s := scenario{name: "migrations under load", cookies: olds(w.old...), want: w.userID, once: true, warm: jwts(w.jwt)}
	var later atomic.Int64
	worker, err := s.visit(w.orLater(&later), n)
	if err != nil {
		return err
	}
	w.tape.delay.Store(int64(stytchIs))
	defer w.tape.delay.Store(0)
	alone, err := steadily(n, func(i int) error { return w.callAlone("migrate").work(i) })
	if err != nil {
		return err
	}
	took, err := steadily(n, func(i int) error { return worker()(i) })
	if err != nil {
		return err
	}
	took = took[later.Load():] // they did not wait for Stytch, and are the first
	if len(took) == 0 {
		return errors.New("bench: migrations under load: none was exchanged")
	}
	fmt.Fprintf(out, "\n%d migrations at %d a second, with a Stytch that takes %v:\n\n| | median | 99 %% within |\n| --- | --: | --: |\n", n, perSecond, stytchIs)
	at := func(all []time.Duration, percent int) float64 { return milli(all[len(all)*percent/100]) }
	fmt.Fprintf(out, "| the call alone, by net/http | %.2f ms | %.2f ms |\n| migrated | %.2f ms | %.2f ms |\n| beyond the call | %.2f ms | %.2f ms |\n\n%d were told to come again.\n",
		at(alone, 50), at(alone, 99), at(took, 50), at(took, 99), at(took, 50)-at(alone, 50), at(took, 99)-at(alone, 99), later.Load())
	return nil
}

// steadily does the work n times, perSecond times a second, whether what went
// before is done or not. It returns how long each took, the shortest first.
func steadily(n int, work func(i int) error) ([]time.Duration, error) {
	took, errs := make([]time.Duration, n), make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * time.Second / perSecond)
		time.Sleep(time.Until(due))
		wg.Go(func() {
			began := time.Now()
			errs[i] = work(i)
			took[i] = time.Since(began)
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took, errors.Join(errs...)
}

// orLater is ours where "it can't be told now" is a right answer too, and counted.
func (w *world) orLater(n *atomic.Int64) peer {
	return peer{ourName, func() (i instance, err error) {
		i, err = w.ours().open()
		i.user = func(r *http.Request) string {
			if stytchmigrate.OutcomeFromContext(r.Context()) == stytchmigrate.OutcomeUnavailable {
				n.Add(1)
				return w.userID
			}
			return ourUser(r)
		}
		return i, err
	}}
}

func milli(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
