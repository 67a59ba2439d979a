package stytchtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
)

// RoundTripper returns a transport that calls the server in the caller's
// process, whichever host the request names. To the client it looks like a
// connection: the answer's body arrives as it is written, a context that ends
// ends the call, answers compressed by gzip are unpacked as http.Transport does,
// a reset is a *net.OpError for ECONNRESET, and a closed server is one for
// ECONNREFUSED.
func (s *Server) RoundTripper() http.RoundTripper { return transport{s} }

// Client returns a client with that transport, and with no time limit.
func (s *Server) Client() *http.Client {
	return &http.Client{Transport: s.RoundTripper()}
}

type transport struct{ server *Server }

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := readRequest(r)
	if err != nil {
		return nil, err
	}
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	if t.server.enter() != nil {
		return nil, netError("dial", "connect", syscall.ECONNREFUSED)
	}
	// Values of the client's context don't travel to a server.
	ctx, cancel := context.WithCancel(context.Background())
	in, out := io.Pipe()
	w := &pipeWriter{header: make(http.Header), out: out, began: make(chan struct{})}
	stopClient := context.AfterFunc(r.Context(), func() {
		out.CloseWithError(context.Cause(r.Context())) // first, or the handler's end is the error
		cancel()
	})
	stopServer := context.AfterFunc(t.server.ctx, func() {
		out.CloseWithError(netError("read", "read", syscall.ECONNRESET))
	})
	go func() {
		defer t.server.running.Done()
		defer cancel()
		defer stopClient()
		defer stopServer()
		w.serve(t.server, serverRequest(ctx, r, body))
	}()
	select {
	case <-w.began:
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	}
	if w.err != nil {
		return nil, w.err
	}
	return w.response(r, &pipeBody{in, cancel}), nil
}

// readRequest reads the request's body, and closes it in any case.
func readRequest(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

func netError(op, call string, errno syscall.Errno) error {
	return &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(call, errno)}
}

// serverRequest is r as the server's side sees it.
func serverRequest(ctx context.Context, r *http.Request, body []byte) *http.Request {
	in := &http.Request{
		Method: r.Method, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL:  &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		Host: r.Host, RequestURI: r.URL.RequestURI(), RemoteAddr: "192.0.2.1:1234",
		Header: r.Header.Clone(), Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	if in.Header == nil {
		in.Header = make(http.Header)
	}
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if r.Header.Get("User-Agent") == "" {
		in.Header.Set("User-Agent", "Go-http-client/1.1")
	}
	if unpacks(r) {
		in.Header.Set("Accept-Encoding", "gzip")
	}
	return in.WithContext(ctx)
}

// unpacks is whether http.Transport would ask for gzip by itself, and undo it.
func unpacks(r *http.Request) bool {
	return r.Header.Get("Accept-Encoding") == "" && r.Header.Get("Range") == "" && r.Method != http.MethodHead
}

const socketBuffers = 32 << 10

// pipeWriter is the server's end. The server's goroutine alone uses it until
// began is closed; then the client may read status, sent and err, which do not
// change any more.
type pipeWriter struct {
	header http.Header
	out    *io.PipeWriter
	buf    []byte // stands for the buffers of a socket, and grows up to theirs

	once   sync.Once
	began  chan struct{}
	status int
	sent   http.Header
	err    error
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if status < 200 {
		return
	}
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.began)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	w.buf = append(w.buf, b...)
	if len(w.buf) < socketBuffers {
		return len(b), nil
	}
	return len(b), w.flush()
}

// flush returns once the client has read all that was written. To write nothing
// to a pipe waits for a reader as well.
func (w *pipeWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.out.Write(w.buf)
	w.buf = w.buf[:0]
	return err
}

// FlushError is what http.ResponseController looks for.
func (w *pipeWriter) FlushError() error {
	w.WriteHeader(http.StatusOK)
	return w.flush()
}

// serve runs the handler, and ends the connection as net/http does if it panics.
func (w *pipeWriter) serve(s *Server, r *http.Request) {
	defer func() {
		v := recover()
		if v == nil {
			w.WriteHeader(http.StatusOK)
			_ = w.flush() // the client may have left
			w.out.Close()
			return
		}
		if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
			log.Printf("stytchtest: panic serving %s: %v\n%s", r.URL.Path, v, debug.Stack())
		}
		w.once.Do(func() {
			w.err = netError("read", "read", syscall.ECONNRESET)
			close(w.began)
		})
		w.out.CloseWithError(io.ErrUnexpectedEOF)
	}()
	s.ServeHTTP(w, r)
}

// response is what the client gets once the answer has begun.
func (w *pipeWriter) response(r *http.Request, body io.ReadCloser) *http.Response {
	resp := &http.Response{
		Status:     strconv.Itoa(w.status) + " " + http.StatusText(w.status),
		StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: body, ContentLength: -1, Request: r,
	}
	if n, err := strconv.ParseInt(w.sent.Get("Content-Length"), 10, 64); err == nil {
		resp.ContentLength = n
	}
	if unpacks(r) && w.sent.Get("Content-Encoding") == "gzip" {
		resp.Body = &gzipBody{packed: body}
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.ContentLength, resp.Uncompressed = -1, true
	}
	return resp
}
