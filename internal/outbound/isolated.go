package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"example.com/stytchmigrate/internal/background"
)

// tryGrace is the time that a try in a lane has to return after its context is done. Most
// transports return at once, and with the status if Stytch sent one: the breaker
// counts by it.
const tryGrace = 100 * time.Millisecond

var errNoResponse = errors.New("transport returned neither an answer nor an error")

// Isolated is an http.RoundTripper over the application's transport, which may do
// anything. A panic and runtime.Goexit in that transport become a
// [*background.Crash]. A call ends soon after its context, even if that transport
// knows no context. Isolated reads the body of each answer, and so all of this
// covers the body too. Make it with [Isolate]; it is safe for concurrent use.
type Isolated struct {
	base    http.RoundTripper
	maxBody int64
}

// listTimes is how much longer an answer of the lane List may be. It is one answer for
// all sessions of a user, and has no pages.
const listTimes = 16

// limit is how many bytes of an answer are kept.
func (i *Isolated) limit(ctx context.Context) int64 {
	if LaneOf(ctx) == List {
		return listTimes * i.maxBody
	}
	return i.maxBody
}

// Isolate returns an Isolated over base. It keeps up to maxBody bytes of an
// answer, and one more, by which the reader can tell that the answer is too long.
func Isolate(base http.RoundTripper, maxBody int64) *Isolated {
	return &Isolated{base, maxBody}
}

// RoundTrip sends a request and returns an answer whose body is in memory. It returns
// as soon as the request's context is done.
func (i *Isolated) RoundTrip(req *http.Request) (*http.Response, error) {
	a := i.send(req.Context(), 0, req)
	return a.response(req)
}

// answer is what sending a request brought.
type answer struct {
	resp *http.Response // nil: there is no answer
	body []byte         // of resp, up to a byte more than maxBody
	err  error          // why there is no answer, or not all of its body
}

func (i *Isolated) send(ctx context.Context, grace time.Duration, req *http.Request) answer {
	a, err := background.Call(ctx, grace, func() (answer, error) { return i.receive(req), nil })
	if err != nil {
		return answer{err: err}
	}
	return a
}

func (i *Isolated) receive(req *http.Request) (a answer) {
	if a.resp, a.err = i.base.RoundTrip(req); a.err != nil {
		return answer{err: a.err}
	}
	if a.resp == nil {
		return answer{err: errNoResponse}
	}
	if a.resp.Body != nil {
		defer a.resp.Body.Close()
		a.body, a.err = io.ReadAll(io.LimitReader(a.resp.Body, i.limit(req.Context())+1))
	}
	return a
}

// response returns the answer with a body that ends as the original did.
func (a *answer) response(req *http.Request) (*http.Response, error) {
	if a.resp == nil {
		return nil, a.err
	}
	var body io.Reader = bytes.NewReader(a.body)
	if a.err != nil {
		body = io.MultiReader(body, brokenOff{a.err})
	}
	a.resp.Body, a.resp.Request = io.NopCloser(body), req
	return a.resp, nil
}

type brokenOff struct{ err error }

func (b brokenOff) Read([]byte) (int, error) { return 0, b.err }
