package main

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// row is one line of the table: a scenario, and who does it.
type row struct {
	scenario *scenario
	name     string
	tape     *tape
	// start prepares n steps, and returns what makes the function that takes one.
	// Each goroutine has a function of its own.
	start func(n int) (worker func() func(i int) error, err error)
}

// rows are the lines of a scenario, floors first.
func (s *scenario) rows(t *tape) []row {
	var all []row
	for _, f := range s.floors {
		all = append(all, row{s, f.name, t, func(int) (func() func(int) error, error) {
			return func() func(int) error { return f.work }, nil
		}})
	}
	for _, p := range s.peers {
		all = append(all, row{s, p.name, t, func(n int) (func() func(int) error, error) { return s.visit(p, n) }})
	}
	return all
}

// visit prepares n requests to a peer. Where a cookie may be sent once only, there
// are as many instances as it takes.
func (s *scenario) visit(p peer, n int) (func() func(int) error, error) {
	each := n
	if s.once {
		each = len(s.cookies)
	}
	var handlers []http.Handler
	for range (n + each - 1) / each {
		h, err := s.open(p)
		if err != nil {
			return nil, err
		}
		handlers = append(handlers, h)
	}
	return func() func(int) error {
		v := newVisitor()
		return func(i int) error {
			return s.check(v.send(handlers[i/each], s.cookies[i%len(s.cookies)]))
		}
	}, nil
}

// open returns the handler of an instance that has its keys and knows the warm
// sessions.
func (s *scenario) open(p peer) (http.Handler, error) {
	i, err := p.open()
	if err != nil {
		return nil, err
	}
	warm, v := i.wrap(application(nil, "")), newVisitor()
	for _, c := range s.warm {
		v.send(warm, c)
	}
	return i.wrap(application(i.user, s.want)), nil
}

// check tells a right answer. Who is nobody may be told so by the handler, or be
// sent away by the middleware.
func (s *scenario) check(status int) error {
	if status == rightUser || s.want == "" && status == http.StatusUnauthorized {
		return nil
	}
	return fmt.Errorf("bench: %s: wrong answer: status %d", s.name, status)
}

// bench measures a row. The error is what went wrong in a step, of which
// testing.Benchmark tells nothing, or that the calls to Stytch were others than
// the scenario says.
func (r row) bench(b *testing.B) error {
	worker, err := r.start(b.N)
	if err != nil {
		return err
	}
	calls, missed := r.tape.calls.Load(), r.tape.missed.Load()
	b.ReportAllocs()
	b.ResetTimer()
	if r.scenario.parallel {
		err = inParallel(b, worker)
	} else {
		err = inTurn(b.N, worker())
	}
	b.StopTimer()
	if err != nil {
		return err
	}
	if n := r.tape.missed.Load() - missed; n > 0 {
		return fmt.Errorf("bench: %s, %s: %d calls were not on the tape", r.scenario.name, r.name, n)
	}
	if n := r.tape.calls.Load() - calls; r.name == ourName && n != int64(b.N*r.scenario.calls) {
		return fmt.Errorf("bench: %s: %d calls to Stytch by %d requests", r.scenario.name, n, b.N)
	}
	return nil
}

func inTurn(n int, step func(i int) error) error {
	for i := range n {
		if err := step(i); err != nil {
			return err
		}
	}
	return nil
}

func inParallel(b *testing.B, worker func() func(i int) error) (err error) {
	var next atomic.Int64
	var mu sync.Mutex // guards err
	b.RunParallel(func(pb *testing.PB) {
		step := worker()
		for pb.Next() {
			if e := step(int(next.Add(1) - 1)); e != nil {
				mu.Lock()
				defer mu.Unlock()
				err = errors.Join(err, e)
				return
			}
		}
	})
	return err
}
