package stytchtest

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"time"
)

// play lets f befall a call: work does what the call asks for.
func (f Fault) play(w *reply, r *http.Request, work func() answer) {
	var a answer
	if f.afterWork {
		a = work()
	}
	if f.hold != nil {
		f.hold.wait(w.ctx.Done())
	}
	if f.delay > 0 {
		sleep(w.ctx, f.delay)
	}
	if w.ctx.Err() != nil {
		panic(http.ErrAbortHandler) // nobody is there to be answered
	}
	if f.act != nil {
		f.act(w, r)
		return
	}
	if !f.afterWork {
		a = work()
	}
	if f.mutate != nil {
		a.body = decoded(a.body)
		f.mutate(a.body)
	}
	if f.padding > 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.status)
		pad(w, r, strings.TrimSuffix(string(mustJSON(a.body)), "}")+",", int64(f.padding))
		return
	}
	a.write(w)
}

// decoded is body as encoding/json decodes it, so that Mutate finds the types
// that it expects in there, and nothing that the server still uses.
func decoded(body object) object {
	var m object
	if err := json.Unmarshal(mustJSON(body), &m); err != nil {
		panic("stytchtest: " + err.Error())
	}
	return m
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// reply is the ResponseWriter of a call: it notes when the answer begins, and
// does to it what the fault says. One goroutine uses it.
type reply struct {
	http.ResponseWriter
	server *Server
	call   *Call
	ctx    context.Context // ends with the client, and with the server
	fault  Fault
	began  bool
	sent   int // bytes of the body
}

// Unwrap is for http.ResponseController.
func (w *reply) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader begins the answer. The call's record is complete before a byte of
// it is on its way, so that a test that has its answer finds the call ended.
func (w *reply) WriteHeader(status int) {
	if status >= 200 && !w.began {
		w.began = true
		w.Header().Set("Date", w.server.now().Format(http.TimeFormat)) // or net/http would tell its own time
		maps.Copy(w.Header(), w.fault.header)
		w.server.end(w.call, status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// finish completes the call's record without an answer.
func (w *reply) finish() { w.server.end(w.call, 0) }

func (w *reply) Write(b []byte) (int, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	cut := false
	if w.fault.cut > 0 {
		left := max(0, w.fault.cut-1-w.sent)
		cut = len(b) >= left
		b = b[:min(len(b), left)]
	}
	n, err := w.pass(b)
	w.sent += n
	if cut {
		w.flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// pass writes b, one byte at a time if the fault says so.
func (w *reply) pass(b []byte) (int, error) {
	if w.fault.drip <= 0 {
		return w.ResponseWriter.Write(b)
	}
	w.flush() // the header
	for i := range b {
		sleep(w.ctx, w.fault.drip)
		if w.ctx.Err() != nil {
			panic(http.ErrAbortHandler) // not an end that looks like one
		}
		if _, err := w.ResponseWriter.Write(b[i : i+1]); err != nil {
			return i, err
		}
		w.flush()
	}
	return len(b), nil
}

func (w *reply) flush() {
	http.NewResponseController(w.ResponseWriter).Flush()
}
