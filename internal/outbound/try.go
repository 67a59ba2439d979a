package outbound

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"
)

// call is one call in at most two tries. The breaker counts it once, and it is in
// flight until its last try has ended.
type call struct {
	lane  *lane
	cfg   *Config
	req   *http.Request
	start time.Time
	probe bool
}

// run makes the tries and returns the one that counts.
func (c *call) run() try {
	first := c.try(c.replayable())
	if c.req.Context().Err() != nil || !c.replayable() || !first.isRetryable() {
		return first
	}
	wait := 50*time.Millisecond + rand.N(100*time.Millisecond)
	if asked := first.retryAfter(); asked > 0 {
		if time.Since(c.start)+asked >= c.cfg.Timeout {
			return first // the request will not wait that long
		}
		wait = asked
	}
	if !first.hedged && !c.lane.retries.take() || !c.sleep(wait) {
		return first
	}
	return c.try(false)
}

func (c *call) replayable() bool { return c.req.Body == nil || c.req.GetBody != nil }

// sleep reports false if the caller cancels before d has passed.
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

// try sends the request once.
//
// With hedge, the try is cancelled after half of Timeout, so that a second try can
// still be in time for the request. It is not cancelled if no retry is left to
// take.
//
// The last try goes on until the request's context ends. An answer that comes late
// is remembered, so even a slow Stytch gets all users through. Only a probe has to
// end within Timeout, because all other calls are held back until it does.
func (c *call) try(hedge bool) try {
	ctx, cancel := context.WithCancel(c.req.Context())
	defer cancel()
	if c.probe {
		ctx, cancel = context.WithDeadline(ctx, c.start.Add(c.cfg.Timeout))
		defer cancel()
	}
	var hedged atomic.Bool
	if hedge {
		timer := time.AfterFunc(c.cfg.Timeout/2, func() {
			if c.lane.retries.take() {
				hedged.Store(true)
				cancel()
			}
		})
		defer timer.Stop()
	}
	t := try{answer: c.send(ctx)}
	if t.hedged = hedged.Load(); t.hedged && t.err != nil {
		t.err = context.DeadlineExceeded // in place of the transport's error for a cancelled context
	}
	t.cancelled = t.err != nil && errors.Is(c.req.Context().Err(), context.Canceled)
	return t
}

func (c *call) send(ctx context.Context) answer {
	req := c.req.Clone(ctx)
	if c.req.Body != nil && c.req.GetBody != nil {
		body, err := c.req.GetBody()
		if err != nil {
			return answer{err: err}
		}
		req.Body = body
	}
	return c.cfg.Base.send(ctx, tryGrace, req)
}
