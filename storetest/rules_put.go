package storetest

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

var putRules = []rule{
	{"Put by the one that has the claim stores", func(s *subject) {
		s.put("", "old", long, true)
		s.claim("one", long, true)
		s.put("one", "new", long, true)
		s.has("new")
	}},
	{"Put by the one that has the claim takes it away", func(s *subject) {
		s.claim("one", long, true)
		s.put("one", "value", long, true)
		s.claim("two", long, true)
		s.put("one", "late", long, false)
		s.has("value")
	}},
	{"Put by one that never had a claim stores nothing", func(s *subject) {
		s.put("one", "value", long, false)
		s.hasNone()
	}},
	{"Put by one whose lease is over stores nothing", func(s *subject) {
		s.put("", "old", long, true)
		s.claim("one", short, true)
		s.wait(short)
		s.put("one", "late", long, false)
		s.has("old")
	}},
	{"Put by one whose claim another has got since stores nothing, and leaves the other's claim", func(s *subject) {
		s.claim("one", short, true)
		s.wait(short)
		s.claim("two", long, true)
		s.put("one", "late", long, false)
		s.hasNone()
		s.put("two", "value", long, true)
		s.has("value")
	}},
	{"Put by one that has released its claim stores nothing", func(s *subject) {
		s.claim("one", long, true)
		s.release("one")
		s.put("one", "late", long, false)
		s.hasNone()
	}},
	{"Put by nobody stores, whoever has the claim", func(s *subject) {
		s.claim("one", long, true)
		s.put("", "value", long, true)
		s.has("value")
	}},
	{"Put by nobody takes the claim away, whoever has it", func(s *subject) {
		s.claim("one", long, true)
		s.put("", "value", long, true)
		s.put("one", "late", long, false)
		s.has("value")
		s.claim("two", long, true)
	}},
	{"Put that stores nothing does not prolong the value", func(s *subject) {
		s.put("", "old", short, true)
		s.put("one", "late", long, false)
		s.wait(short)
		s.hasNone()
	}},
}

// sharedRules are about many goroutines at once, and a context that is done.
var sharedRules = []rule{
	{"Of many that claim at the same time one gets it", func(s *subject) {
		for range 10 {
			s.with(newKey(), func(s *subject) { race(s, 50) })
		}
	}},
	{"What is read and put under a claim is never lost", func(s *subject) { countUp(s, 8, 5) }},
	{"With a context that is done no answer is a wrong no", contextDone},
}

// contextDone lets a Store do what it is asked nonetheless, if it tells the truth.
func contextDone(s *subject) {
	s.put("", "value", long, true)
	s.claim("one", long, true)
	done, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, found, err := s.store.Get(done, s.key); !found && err == nil {
		s.failf("Get finds nothing where there is a value, and returns no error")
	}
	if claimed, err := s.store.Claim(done, s.key, "one", long); !claimed && err == nil {
		s.failf("Claim turns down the one that has it, and returns no error")
	}
	if err := s.store.Release(done, s.key, "one"); err == nil {
		s.claim("two", long, true) // Release said that it did
		s.release("two")
	}
	if stored, err := s.store.Put(done, s.key, "", []byte("new"), long); !stored && err == nil {
		s.failf("Put by nobody stores nothing, and returns no error")
	}
}

// race has n claim s.key at the same time.
func race(s *subject, n int) {
	var wg sync.WaitGroup
	var won, failed atomic.Int64
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			switch claimed, err := s.store.Claim(s.ctx, s.key, "owner "+strconv.Itoa(i), long); {
			case err != nil:
				failed.Add(1)
			case claimed:
				won.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	if won.Load() != 1 || failed.Load() != 0 {
		s.failf("of %d, %d got the claim and %d failed, want 1 and 0", n, won.Load(), failed.Load())
	}
}

// countUp has some owners add one to a number, each so many times, and looks
// whether the number is right in the end.
func countUp(s *subject, owners, times int) {
	var wg sync.WaitGroup
	errs := make(chan error, owners)
	for i := range owners {
		one := &subject{ctx: s.ctx, store: s.store, key: s.key}
		wg.Go(func() {
			for n := 0; n < times && one.err == nil; {
				if one.increment("owner " + strconv.Itoa(i)) {
					n++
				}
			}
			errs <- one.err
		})
	}
	wg.Wait()
	for range owners {
		if err := <-errs; err != nil {
			s.failf("%w", err)
		}
	}
	s.has(strconv.Itoa(owners * times))
}

// increment says whether owner got the claim, and so added one.
func (s *subject) increment(owner string) bool {
	claimed, err := s.store.Claim(s.ctx, s.key, owner, long)
	if err != nil {
		s.failf("Claim: %w", err)
		return false
	}
	if !claimed && s.ctx.Err() != nil {
		s.failf("nobody gets the claim any more: does a Put take it away, and is a value no hindrance?")
	}
	if !claimed {
		time.Sleep(time.Millisecond) // real time: others are at it
		return false
	}
	value, _, err := s.store.Get(s.ctx, s.key)
	if err != nil {
		s.failf("Get: %w", err)
		return false
	}
	n, _ := strconv.Atoi(string(value)) // none is 0
	s.put(owner, strconv.Itoa(n+1), long, true)
	return s.err == nil
}
