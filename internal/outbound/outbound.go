// Package outbound decides which calls to Stytch are made, made again, or held
// back, so that a Stytch in trouble is not asked more than it can answer, and
// those who wait for it are not kept waiting for nothing.
//
// Calls go in lanes that share nothing. A flood of sessions that somebody made up
// fills a lane of its own, and leaves alone the users who are vouched for here.
package outbound

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"
)

// Config is what a Transport needs to know. All but Notify is required.
type Config struct {
	Base    http.RoundTripper
	Timeout time.Duration // how long a request of the application waits, all calls together
	MaxBody int64         // bytes of an answer that are of use; one more is read, to tell

	// Notify hears what happens to a lane. It runs in a goroutine of its own, one
	// notice at a time and in order, and may panic or take its time: no call waits
	// for it. If it is so slow that many notices wait, the oldest are lost.
	Notify func(Notice)
}

// Notice is a change in what a lane lets through.
type Notice struct {
	Lane     string
	What     string        // "breaker open", "breaker half-open", "breaker closed" or "paused"
	Failures uint32        // calls that failed in a row, for a breaker
	For      time.Duration // how long it is going to last, if open or paused; else since the breaker opened first
}

// HeldBack is the error for a call that was not sent.
type HeldBack struct {
	Reason     string        // fixed text, which holds nothing of a peer's
	RetryAfter time.Duration // in whole seconds, one at least
	Full       bool          // for want of a place in flight, and nothing else
}

func (e *HeldBack) Error() string { return "held back: " + e.Reason }

// heldBack rounds up, for Retry-After counts in seconds: who comes back a
// moment early comes back for nothing.
func heldBack(reason string, rest time.Duration) *HeldBack {
	return &HeldBack{Reason: reason, RetryAfter: max(rest+time.Second-1, time.Second).Truncate(time.Second)}
}

type vouchedKey struct{}

// Vouched marks a call about something that was checked here: a JWT of the
// project, though it has expired, or a token known in memory. What anybody may
// have made up is held to a limit, and this is not.
func Vouched(ctx context.Context) context.Context {
	return context.WithValue(ctx, vouchedKey{}, true)
}

// Transport is an http.RoundTripper over another one. It reads answers to their
// end itself, so that one that breaks off counts as what it is. Make it with
// New; it is safe for concurrent use.
type Transport struct {
	cfg   Config
	lanes [len(limits)]*lane
}

// New returns a Transport.
func New(c Config) *Transport {
	t := &Transport{cfg: c}
	n := &notices{to: c.Notify}
	for i := range limits {
		t.lanes[i] = newLane(limits[i], n)
	}
	return t
}

// RoundTrip sends a request in its lane, at most twice, and returns an answer
// whose body is in memory. A request without GetBody is sent once. What belongs
// to no lane, as the public key set, is sent as it is.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	l := t.lane(req)
	if l == nil {
		return t.cfg.Base.RoundTrip(req)
	}
	if req.Body != nil && req.GetBody != nil {
		defer req.Body.Close() // each try has one of its own
	}
	p, err := l.enter(req.Context())
	if err != nil {
		if req.Body != nil && req.GetBody == nil {
			req.Body.Close()
		}
		return nil, err
	}
	outcome := errFailed // also where Base panics, or leaves by runtime.Goexit
	defer func() { p.leave(outcome) }()

	c := call{lane: l, cfg: &t.cfg, req: req, start: time.Now(), probe: p.probe}
	got := c.run()
	if l.pauses && got.throttled() {
		l.pause(got.retryAfter())
	}
	outcome = got.outcome(t.cfg.MaxBody)
	return got.response(req)
}

// What a call counts as for the breaker; nil is a success.
var (
	errFailed     = errors.New("can't tell")
	errNotCounted = errors.New("the caller left")
)

// lane returns the lane of a request, or nil.
func (t *Transport) lane(req *http.Request) *lane {
	vouched, _ := req.Context().Value(vouchedKey{}).(bool)
	path := req.URL.Path
	switch {
	case strings.HasSuffix(path, "/sessions/migrate"):
		return t.lanes[exchange]
	case strings.HasSuffix(path, "/v1/users") && req.Method == http.MethodPost:
		return t.lanes[user]
	case strings.HasSuffix(path, "/sessions/authenticate") && vouched:
		return t.lanes[session]
	case strings.HasSuffix(path, "/sessions/authenticate"):
		return t.lanes[unvouchedSession]
	case strings.HasSuffix(path, "/sessions/revoke") && vouched:
		return t.lanes[revoke]
	case strings.HasSuffix(path, "/sessions/revoke"):
		return t.lanes[unvouchedRevoke]
	}
	return nil
}
