// Package outbound sends calls to Stytch. It retries calls that failed, bounds how
// many are in flight, and stops sending while Stytch is down. So a Stytch in
// trouble gets no more calls than it can answer, and requests don't wait in vain.
//
// Each kind of call has a [Lane] with limits of its own, and lanes share nothing. A
// flood of made-up session cookies fills the lane for such cookies. It does not
// delay calls about sessions that were verified here.
package outbound

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
)

// Config is what a Transport needs. Notify is optional.
type Config struct {
	Base    *Isolated
	Timeout time.Duration // how long a request of the application waits, for both tries of a call together

	// Refuses reports that an error of Stytch's refuses all calls of a lane, whichever
	// user they are about: the credentials are wrong, for example. Exchanges then pause,
	// and in other lanes the breaker counts a failure. It may be nil.
	Refuses func(l Lane, status int, errorType string) bool

	// Notify gets each change of a lane, one at a time and in order, in a goroutine
	// of its own. It may panic or block, for no call waits for it. If many notices
	// wait for it, the oldest are dropped.
	Notify func(Notice)
}

// Notice is a change in what a lane lets through.
type Notice struct {
	Lane     string
	Again    bool          // paused once more: the call after a pause was refused too
	What     string        // "breaker open", "breaker half-open", "breaker closed" or "paused"
	Failures uint32        // calls that failed in a row, for a breaker
	For      time.Duration // if open or paused: how long it will last; else: how long ago the breaker first opened
}

// Level is how loud a notice is. Each pause that follows another is a debugging matter:
// the client logs once a minute what Stytch refuses.
func (n Notice) Level() slog.Level {
	switch {
	case n.Again:
		return slog.LevelDebug
	case n.What == "paused", n.What == "breaker open":
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// HeldBack is the error for a call that was not sent.
type HeldBack struct {
	Reason     string        // fixed text, with nothing from Stytch in it
	RetryAfter time.Duration // in whole seconds, at least one
	Full       bool          // the only reason is that too many calls are in flight
}

func (e *HeldBack) Error() string { return "held back: " + e.Reason }

func heldBack(reason string, rest time.Duration) *HeldBack {
	return &HeldBack{Reason: reason, RetryAfter: max(WholeSeconds(rest), time.Second)}
}

// Held returns the *HeldBack that a call of a lane would get now because the lane is
// paused or its breaker is open, and nil if there is neither. It changes nothing.
func (t *Transport) Held(kind Lane) *HeldBack {
	l := t.lanes[kind]
	if l == nil {
		return nil
	}
	if held := l.paused(); held != nil || l.breaker == nil {
		return held
	}
	return l.breaker.openNow()
}

type laneKey struct{}

// In returns a context for calls of a lane.
func In(ctx context.Context, l Lane) context.Context {
	return context.WithValue(ctx, laneKey{}, l)
}

// LaneOf returns the lane that In put into ctx, or NoLane.
func LaneOf(ctx context.Context) Lane {
	l, _ := ctx.Value(laneKey{}).(Lane)
	return l
}

// Transport is an http.RoundTripper that sends each request in the lane of its
// context: see [In]. Make it with [New]; it is safe for concurrent use.
type Transport struct {
	cfg   Config
	lanes [len(limits)]*lane // by Lane; nil for NoLane
}

// New returns a Transport.
func New(c Config) *Transport {
	t := &Transport{cfg: c}
	n := &notices{notify: c.Notify}
	for l := NoLane + 1; int(l) < len(limits); l++ {
		t.lanes[l] = newLane(limits[l], n)
	}
	return t
}

// RoundTrip sends a request at most twice and returns an answer whose body is in
// memory. It sends a request that has a body but no GetBody once. It sends a
// request in NoLane as it is.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	kind := LaneOf(req.Context())
	l := t.lanes[kind]
	if l == nil {
		return t.cfg.Base.RoundTrip(req)
	}
	if req.Body != nil && req.GetBody != nil {
		defer req.Body.Close() // each try has a body of its own
	}
	p, err := l.admit(req.Context())
	if err != nil {
		if req.Body != nil && req.GetBody == nil {
			req.Body.Close()
		}
		return nil, err
	}
	outcome := errFailed // if GetBody panics
	defer func() { p.release(outcome) }()

	c := call{lane: l, cfg: &t.cfg, req: req, start: time.Now(), probe: p.probe}
	got := c.run()
	outcome = got.outcome(t.cfg.Base.limit(req.Context()))
	switch refused := t.refuses(kind, &got); {
	case l.pauses && got.isThrottled():
		l.pause(got.retryAfter())
	case l.pauses && refused:
		l.refused()
	case refused:
		outcome = errFailed
	case outcome == nil:
		l.accepted()
	}
	if l.breaks && !got.costs(outcome) {
		l.rate.add(1)
	}
	return got.response(req)
}

// refuses reports an answer that refuses all calls of a lane.
func (t *Transport) refuses(l Lane, got *try) bool {
	kind := got.errorType()
	if t.cfg.Refuses == nil {
		return false
	}
	return kind != "" && got.resp.StatusCode >= 400 && got.resp.StatusCode < 500 && t.cfg.Refuses(l, got.resp.StatusCode, kind)
}

// What a call counts as for the breaker. nil is a success.
var (
	errFailed     = errors.New("can't tell")
	errNotCounted = errors.New("the caller cancelled")
)
