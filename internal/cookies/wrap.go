package cookies

import (
	"io"
	"net/http"

	"github.com/felixge/httpsnoop"
)

// Wrap returns a ResponseWriter with every interface that w has, which writes
// the lines with the final header. Informational headers (1xx) go out as they
// are: cookies on them are lost by some clients and doubled by others.
func (s *Pending) Wrap(w http.ResponseWriter) http.ResponseWriter {
	commit := func() { s.Commit(w) }
	return httpsnoop.Wrap(flushing(w), httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(code int) {
				if code >= 200 {
					commit()
				}
				next(code)
			}
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(p []byte) (int, error) { commit(); return next(p) }
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(p string) (int, error) { commit(); return next(p) }
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) { commit(); return next(src) }
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() { commit(); next() }
		},
		FlushError: func(next httpsnoop.FlushErrorFunc) httpsnoop.FlushErrorFunc {
			return func() error { commit(); return next() }
		},
	})
}

// flushing returns w, or one that flushes where w leaves that to the writer inside:
// http.ResponseController would else find it past our hooks.
func flushing(w http.ResponseWriter) http.ResponseWriter {
	_, flushes := w.(http.Flusher)
	if _, unwraps := w.(interface{ Unwrap() http.ResponseWriter }); flushes || !unwraps {
		return w
	}
	if h, ok := w.(http.Hijacker); ok {
		return hijackFlusher{flusher{w}, h}
	}
	return flusher{w}
}

// flusher keeps what handlers ask a ResponseWriter for by its type. It is a Pusher
// and a ReaderFrom in any case: where w is not, a push is not supported, and a copy
// takes w's Write. A Hijacker that can't hijack would mislead WebSocket libraries.
type flusher struct{ http.ResponseWriter }

func (f flusher) Unwrap() http.ResponseWriter { return f.ResponseWriter }
func (f flusher) FlushError() error           { return http.NewResponseController(f.ResponseWriter).Flush() }

func (f flusher) ReadFrom(src io.Reader) (int64, error) { return io.Copy(f.ResponseWriter, src) }

func (f flusher) Push(target string, opts *http.PushOptions) error {
	if p, ok := f.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

type hijackFlusher struct {
	flusher
	http.Hijacker
}
