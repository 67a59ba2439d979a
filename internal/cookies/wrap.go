package cookies

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/felixge/httpsnoop"
)

// Wrap returns a ResponseWriter with every interface that w has. It commits before the
// final header goes out. Informational headers (1xx) go out as they are: some clients
// lose cookies on them, and others get them twice. A connection that switches to another
// protocol is left alone: the handler takes it over, or answers 101, or 2xx to CONNECT.
func (pd *Pending) Wrap(w http.ResponseWriter) http.ResponseWriter {
	commit := func() { pd.commit(w, http.StatusOK) }
	return httpsnoop.Wrap(withFlush(w), httpsnoop.Hooks{
		WriteHeader: func(next httpsnoop.WriteHeaderFunc) httpsnoop.WriteHeaderFunc {
			return func(code int) {
				if code >= 200 || code == http.StatusSwitchingProtocols {
					pd.commit(w, code)
				}
				next(code)
			}
		},
		Write: func(next httpsnoop.WriteFunc) httpsnoop.WriteFunc {
			return func(b []byte) (int, error) { commit(); return next(b) }
		},
		WriteString: func(next httpsnoop.WriteStringFunc) httpsnoop.WriteStringFunc {
			return func(s string) (int, error) { commit(); return next(s) }
		},
		ReadFrom: func(next httpsnoop.ReadFromFunc) httpsnoop.ReadFromFunc {
			return func(src io.Reader) (int64, error) { commit(); return next(src) }
		},
		Hijack: func(next httpsnoop.HijackFunc) httpsnoop.HijackFunc {
			return func() (net.Conn, *bufio.ReadWriter, error) {
				conn, buf, err := next()
				if err == nil {
					pd.leaveAlone()
				}
				return conn, buf, err
			}
		},
		Flush: func(next httpsnoop.FlushFunc) httpsnoop.FlushFunc {
			return func() { commit(); next() }
		},
		FlushError: func(next httpsnoop.FlushErrorFunc) httpsnoop.FlushErrorFunc {
			return func() error { commit(); return next() }
		},
	})
}

// withFlush returns w, or a writer that flushes where w leaves that to its Unwrap.
// http.ResponseController would otherwise find the inner writer's Flush, and so go
// past our hooks.
func withFlush(w http.ResponseWriter) http.ResponseWriter {
	_, flushes := w.(http.Flusher)
	if _, unwraps := w.(interface{ Unwrap() http.ResponseWriter }); flushes || !unwraps {
		return w
	}
	if h, ok := w.(http.Hijacker); ok {
		return hijackFlusher{flusher{w}, h}
	}
	return flusher{w}
}

// flusher adds FlushError to a writer, and keeps the interfaces that handlers look
// for. It is a Pusher and a ReaderFrom even where the writer inside is not: a push is
// then not supported, and a copy goes through Write. It is a Hijacker only where the
// writer inside is, because WebSocket libraries go by the type.
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
