package outbound

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"
)

// call is one call in at most two tries. It counts once, and is in flight until
// both have ended.
type call struct {
	lane  *lane
	cfg   *Config
	req   *http.Request
	start time.Time
	probe bool
}

var errNoResponse = errors.New("transport returned neither an answer nor an error")

// run makes the tries and returns the one that counts.
func (c *call) run() try {
	first := c.try(c.replayable())
	if c.req.Context().Err() != nil || !c.replayable() || !first.again() {
		return first
	}
	wait := 50*time.Millisecond + rand.N(100*time.Millisecond)
	if asked := first.retryAfter(); asked > 0 {
		if time.Since(c.start)+asked >= c.cfg.Timeout {
			return first // nobody would be there any more
		}
		wait = asked
	}
	if !first.paid && !c.lane.retries.take() || !c.sleep(wait) {
		return first
	}
	return c.try(false)
}

func (c *call) replayable() bool { return c.req.Body == nil || c.req.GetBody != nil }

// sleep reports whether the caller is still there after it.
func (c *call) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.req.Context().Done():
		return false
	}
}

// try sends the request once. Where another try may follow, this one is given
// half of the time that a request waits, so that the other one may still be in
// time. It is not cut short in favour of a try that there is no budget for, and
// the last one goes on until the request's context ends: an answer that comes
// late is remembered, so that a slow Stytch gets everybody through. Only a
// probe, for whose end all others wait, has to be in time.
func (c *call) try(another bool) try {
	ctx, cancel := context.WithCancel(c.req.Context())
	defer cancel()
	if c.probe {
		ctx, cancel = context.WithDeadline(ctx, c.start.Add(c.cfg.Timeout))
		defer cancel()
	}
	var cut atomic.Bool
	if another {
		timer := time.AfterFunc(c.cfg.Timeout/2, func() {
			if c.lane.retries.take() {
				cut.Store(true)
				cancel()
			}
		})
		defer timer.Stop()
	}
	t := c.send(ctx)
	if t.paid = cut.Load(); t.paid && t.err != nil {
		t.err = context.DeadlineExceeded // and not what the transport makes of cancel
	}
	t.left = t.err != nil && errors.Is(c.req.Context().Err(), context.Canceled)
	return t
}

func (c *call) send(ctx context.Context) (t try) {
	req := c.req.Clone(ctx)
	if c.req.Body != nil && c.req.GetBody != nil {
		body, err := c.req.GetBody()
		if err != nil {
			return try{err: err}
		}
		req.Body = body
	}
	return apart(ctx, func() (t try) { return c.receive(req) })
}

func (c *call) receive(req *http.Request) (t try) {
	if t.resp, t.err = c.cfg.Base.RoundTrip(req); t.err != nil {
		return try{err: t.err}
	}
	if t.resp == nil {
		return try{err: errNoResponse}
	}
	if t.resp.Body != nil {
		defer t.resp.Body.Close()
		t.body, t.err = io.ReadAll(io.LimitReader(t.resp.Body, c.cfg.MaxBody+1))
	}
	return t
}

// apart runs f in a goroutine of its own, and leaves when ctx is done: a transport
// that knows no context must not keep its place, nor be the probe for ever. A panic
// and runtime.Goexit are as if f had run here.
func apart(ctx context.Context, f func() try) try {
	done := make(chan func() try, 1)
	go func() {
		out := func() try { runtime.Goexit(); return try{} }
		defer func() {
			if p := recover(); p != nil {
				out = func() try { panic(p) }
			}
			done <- out
		}()
		t := f()
		out = func() try { return t }
	}()
	select {
	case out := <-done:
		return out()
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case out := <-done: // with the status at least, if there was one
		return out()
	case <-timer.C:
		return try{err: ctx.Err()}
	}
}

const grace = 100 * time.Millisecond // for a transport to hear of its context
