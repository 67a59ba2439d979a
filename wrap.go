package stytchmigrate

import (
	"io"
	"net/http"

	"github.com/felixge/httpsnoop"
)

// wrap returns a ResponseWriter with every interface that w has, which writes
// the lines with the final header. Informational headers (1xx) go out as they
// are: cookies on them are lost by some clients and doubled by others.
func (s *swap) wrap(w http.ResponseWriter) http.ResponseWriter {
	commit := func() { s.commit(w) }
	_, flushes := w.(http.Flusher)
	if _, unwraps := w.(interface{ Unwrap() http.ResponseWriter }); unwraps && !flushes {
		w = flusher{w}
	}
	return httpsnoop.Wrap(w, httpsnoop.Hooks{
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

// flusher flushes a ResponseWriter that leaves it to the one inside, which
// http.ResponseController would else find past our hooks.
type flusher struct{ http.ResponseWriter }

func (f flusher) Unwrap() http.ResponseWriter { return f.ResponseWriter }
func (f flusher) FlushError() error           { return http.NewResponseController(f.ResponseWriter).Flush() }
