package cookies_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// wire is a ResponseWriter with every interface. It keeps what is called, and the
// cookies that are in the header by then.
type wire struct {
	h     http.Header
	calls []string
}

func (w *wire) Header() http.Header { return w.h }

func (w *wire) call(what string) { w.calls = append(w.calls, what+" "+names(w.h)) }

func (w *wire) WriteHeader(code int)                 { w.call(fmt.Sprint(code)) }
func (w *wire) Write(b []byte) (int, error)          { w.call("write"); return len(b), nil }
func (w *wire) WriteString(s string) (int, error)    { w.call("write string"); return len(s), nil }
func (w *wire) ReadFrom(io.Reader) (int64, error)    { w.call("read from"); return 1, nil }
func (w *wire) Flush()                               { w.call("flush") }
func (w *wire) FlushError() error                    { w.call("flush error"); return assert.AnError }
func (w *wire) Push(string, *http.PushOptions) error { w.call("push"); return assert.AnError }
func (w *wire) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.call("hijack")
	return nil, nil, assert.AnError
}

// wrapped returns w as a handler gets it where a legacy session moves.
func wrapped(w http.ResponseWriter) http.ResponseWriter {
	pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), swap(), deaf)
	return pending.Wrap(w)
}

// Each row is a way to answer, and the calls that reach the server's writer, with the
// cookies in the header by then.
func TestCommitBeforeTheFinalHeader(t *testing.T) {
	const all = "+token +jwt -sid -csrf"
	for name, row := range map[string]struct {
		handle func(w http.ResponseWriter)
		want   []string
	}{
		"nothing":             {func(http.ResponseWriter) {}, nil},
		"a status":            {func(w http.ResponseWriter) { w.WriteHeader(204) }, []string{"204 " + all}},
		"the lowest status":   {func(w http.ResponseWriter) { w.WriteHeader(200) }, []string{"200 " + all}},
		"early hints":         {func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(404) }, []string{"103 ", "404 " + all}},
		"an unknown hint":     {func(w http.ResponseWriter) { w.WriteHeader(199) }, []string{"199 "}},
		"write":               {func(w http.ResponseWriter) { _, _ = w.Write([]byte("page")) }, []string{"write " + all}},
		"write a string":      {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "page") }, []string{"write string " + all}},
		"read from":           {func(w http.ResponseWriter) { _, _ = w.(io.ReaderFrom).ReadFrom(nil) }, []string{"read from " + all}},
		"flush":               {func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, []string{"flush " + all}},
		"flush by controller": {func(w http.ResponseWriter) { assert.Error(t, http.NewResponseController(w).Flush()) }, []string{"flush error " + all}},
		"push":                {func(w http.ResponseWriter) { assert.Error(t, w.(http.Pusher).Push("/", nil)) }, []string{"push "}},
		"hijack":              {func(w http.ResponseWriter) { _, _, _ = http.NewResponseController(w).Hijack() }, []string{"hijack "}},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{h: http.Header{}}
			row.handle(wrapped(w))
			assert.Equal(t, row.want, w.calls)
		})
	}
}

// hijacked is a writer whose connection can be taken over.
type hijacked struct{ *wire }

func (w hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.call("hijack")
	return nil, nil, nil
}

// Each row is an answer to a request that asks for another protocol, and the cookies in
// the header in the end. Only what is really switched goes without.
func TestSwitchingProtocols(t *testing.T) {
	const all = "+token +jwt -sid -csrf"
	type w = http.ResponseWriter
	hijack := func(w w) { _, _, _ = http.NewResponseController(w).Hijack() }
	for name, row := range map[string]struct {
		method string
		handle func(w w)
		want   string
	}{
		"ignored":             {"GET", func(w w) { _, _ = w.Write([]byte("page")) }, all},
		"ignored, silently":   {"GET", func(w) {}, all},
		"refused":             {"GET", func(w w) { w.WriteHeader(426) }, all},
		"switched":            {"GET", func(w w) { w.WriteHeader(101); _, _ = w.Write([]byte("frame")) }, ""},
		"early hints":         {"GET", func(w w) { w.WriteHeader(103) }, all},
		"taken over":          {"GET", func(w w) { hijack(w); w.WriteHeader(200) }, ""},
		"a tunnel":            {"CONNECT", func(w w) { w.WriteHeader(200) }, ""},
		"a tunnel, by a byte": {"CONNECT", func(w w) { _, _ = w.Write([]byte("frame")) }, ""},
		"a tunnel, silently":  {"CONNECT", func(w) {}, ""},
		"a tunnel that ends":  {"CONNECT", func(w w) { w.WriteHeader(299) }, ""},
		"no tunnel":           {"CONNECT", func(w w) { w.WriteHeader(300) }, all},
		"a tunnel refused":    {"CONNECT", func(w w) { w.WriteHeader(404) }, all},
	} {
		t.Run(name, func(t *testing.T) {
			pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1", method(row.method)), swap(), deaf)
			w := hijacked{&wire{h: http.Header{}}}
			row.handle(pending.Wrap(w))
			pending.Finish(w)
			assert.Equal(t, row.want, names(w.h))
			assert.Equal(t, cookies.NoAction, pending.Action())
		})
	}
	stuck := &wire{h: http.Header{}} // its connection can't be taken over
	same := wrapped(stuck)
	hijack(same)
	same.WriteHeader(500)
	assert.Equal(t, []string{"hijack ", "500 " + all}, stuck.calls)
}

// kinds tells which interfaces a ResponseWriter has.
func kinds(w http.ResponseWriter) string {
	_, flush := w.(http.Flusher)
	_, flushError := w.(interface{ FlushError() error })
	_, hijack := w.(http.Hijacker)
	_, read := w.(io.ReaderFrom)
	_, push := w.(http.Pusher)
	_, str := w.(io.StringWriter)
	return fmt.Sprint(flush, flushError, hijack, read, push, str)
}

// A wrapped writer can what the server's own can, no more and no less.
func TestWrappedResponseKeepsItsInterfaces(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		var own, inner string
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			assert.Equal(t, http2, r.ProtoMajor == 2)
			own, inner = kinds(w), kinds(wrapped(w))
		}))
		s.EnableHTTP2 = http2
		s.StartTLS()
		defer s.Close()
		got, err := s.Client().Get(s.URL)
		if assert.NoError(t, err) {
			got.Body.Close()
		}
		assert.NotEmpty(t, own)
		assert.Equal(t, own, inner)
	}
	all, only := &wire{h: http.Header{}}, three{httptest.NewRecorder()}
	assert.Equal(t, "true true true true true true", kinds(wrapped(all)))
	assert.Equal(t, "false false false false false false", kinds(wrapped(only)))
	assert.ErrorIs(t, http.NewResponseController(wrapped(only)).Flush(), http.ErrNotSupported)
}

// three hides everything of a ResponseWriter but its three methods.
type three struct{ http.ResponseWriter }

// outer is the writer of another middleware. It has the three methods, and leaves the
// rest to the writer inside.
type outer struct {
	three
	inner http.ResponseWriter
}

func (o outer) Unwrap() http.ResponseWriter { return o.inner }

func newOuter() (outer, *httptest.ResponseRecorder) {
	rec := httptest.NewRecorder()
	return outer{three{rec}, rec}, rec
}

// A middleware outside may leave flushing to the writer inside its own, or flush itself.
func TestFlushThroughAWriterThatUnwraps(t *testing.T) {
	for _, flushes := range []bool{false, true} {
		o, rec := newOuter()
		var w http.ResponseWriter = o
		if flushes {
			w = struct {
				outer
				http.Flusher
			}{o, rec}
		}
		got := wrapped(w)
		_, can := got.(http.Flusher)
		assert.Equal(t, flushes, can)
		assert.NoError(t, http.NewResponseController(got).Flush())
		assert.True(t, rec.Flushed)
		assert.Len(t, rec.Result().Cookies(), 4)
	}
}

// able is a writer that only unwraps to flush, and does all else itself.
type able struct {
	outer
	did *[]string
}

func (a able) does(what string) { *a.did = append(*a.did, what) }

func (a able) Hijack() (net.Conn, *bufio.ReadWriter, error) { a.does("hijack"); return nil, nil, nil }

func (a able) Push(target string, _ *http.PushOptions) error { a.does("push " + target); return nil }

func (a able) ReadFrom(src io.Reader) (int64, error) {
	a.does("read from")
	return io.Copy(a.outer, src)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// Handlers that know of no ResponseController ask such a writer for what it does itself.
func TestAWriterThatOnlyUnwrapsToFlush(t *testing.T) {
	var did []string
	o, rec := newOuter()
	w := wrapped(able{o, &did})
	assert.NoError(t, w.(http.Pusher).Push("/style.css", nil))
	_, err := io.Copy(w, io.LimitReader(zeros{}, 4))
	assert.NoError(t, err)
	assert.Len(t, rec.Result().Cookies(), 4)
	assert.NoError(t, http.NewResponseController(w).Flush())
	_, _, err = w.(http.Hijacker).Hijack()
	assert.NoError(t, err)
	assert.Equal(t, []string{"push /style.css", "read from", "hijack"}, did)
}

// duplex is a writer inside that is asked for full duplex.
type duplex struct{ http.ResponseWriter }

func (duplex) EnableFullDuplex() error { return assert.AnError }

// A writer that can do nothing itself is not said to hijack, and answers without a push.
func TestAWriterThatOnlyUnwraps(t *testing.T) {
	o, rec := newOuter()
	o.inner = duplex{rec}
	w := wrapped(o)
	assert.NotImplements(t, (*http.Hijacker)(nil), w)
	if p, ok := w.(http.Pusher); assert.True(t, ok) {
		assert.ErrorIs(t, p.Push("/style.css", nil), http.ErrNotSupported)
	}
	_, err := io.Copy(w, io.LimitReader(zeros{}, 4))
	assert.NoError(t, err)
	assert.Equal(t, 4, rec.Body.Len())
	assert.ErrorIs(t, http.NewResponseController(w).EnableFullDuplex(), assert.AnError, "the writer inside can")
	assert.Len(t, rec.Result().Cookies(), 4)
}
