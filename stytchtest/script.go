package stytchtest

import (
	"math/rand/v2"
	"sync"
)

// script is which faults are to come. Server.mu guards it.
type script struct {
	dice   *rand.Rand
	next   map[Op][]Fault
	always map[Op]Fault
}

// Fail makes the next calls of op take one of the faults each, in order, after
// those that an earlier Fail scripted. A zero Fault lets one call pass.
func (s *Server) Fail(op Op, faults ...Fault) {
	op.mustExist()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.script.next == nil {
		s.script.next = make(map[Op][]Fault)
	}
	s.script.next[op] = append(s.script.next[op], faults...)
}

// FailAll makes all calls of op take the fault, until Heal. What is scripted
// with Fail comes first, and what is scripted for an op comes before what is
// scripted for Any.
func (s *Server) FailAll(op Op, f Fault) {
	op.mustExist()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.script.always == nil {
		s.script.always = make(map[Op]Fault)
	}
	s.script.always[op] = f
}

// Heal forgets what is scripted for op; for Any, all that is scripted. Calls
// that a fault has befallen already are not changed by it.
func (s *Server) Heal(op Op) {
	op.mustExist()
	s.mu.Lock()
	defer s.mu.Unlock()
	if op == Any {
		s.script.next, s.script.always = nil, nil
		return
	}
	delete(s.script.next, op)
	delete(s.script.always, op)
}

// takeFault decides what befalls a call of op.
func (s *Server) takeFault(op Op) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.script.take(op)
	if f.chance != nil && s.script.dice.Float64() >= *f.chance {
		return Fault{}
	}
	return f
}

func (s *script) take(op Op) Fault {
	for _, op := range []Op{op, Any} {
		if queue := s.next[op]; len(queue) > 0 {
			s.next[op] = queue[1:]
			return queue[0]
		}
		if f, ok := s.always[op]; ok {
			return f
		}
	}
	return Fault{}
}

// Hold keeps calls waiting until a test lets them go, see [Fault.WithHold]. The
// zero value is ready. Its methods may be called by several goroutines at once;
// it must not be copied. In a bubble of testing/synctest it must be used by that
// bubble alone.
type Hold struct {
	mu       sync.Mutex // guards all below
	arrived  chan struct{}
	released chan struct{}
	waiting  int
	open     bool
}

// prepare makes the channels of a zero Hold. It needs mu.
func (h *Hold) prepare() {
	if h.arrived == nil {
		h.arrived, h.released = make(chan struct{}), make(chan struct{})
	}
}

// Arrived returns a channel that is closed when the first call has arrived.
func (h *Hold) Arrived() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.prepare()
	return h.arrived
}

// Waiting returns how many calls wait now.
func (h *Hold) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting
}

// Release lets go the calls that wait and all that come later. It may be called
// more than once.
func (h *Hold) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.prepare()
	if !h.open {
		h.open = true
		close(h.released)
	}
}

// wait waits for Release, or until done is closed.
func (h *Hold) wait(done <-chan struct{}) {
	h.mu.Lock()
	h.prepare()
	select {
	case <-h.arrived:
	default:
		close(h.arrived)
	}
	h.waiting++
	h.mu.Unlock()

	select {
	case <-h.released:
	case <-done:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting--
}
