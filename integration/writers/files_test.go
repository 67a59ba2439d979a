package writers

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const size = 3 << 20

// film is what is in the file: counted, so that no buffer of 4 or 32 KB is like the
// next one.
func film() string {
	var period strings.Builder
	for i := range 997 {
		fmt.Fprintf(&period, "%6d\n", i)
	}
	return strings.Repeat(period.String(), size/period.Len()+1)[:size]
}

func saved() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// serveFile serves a file of some MB by http.ServeFile.
func (v *visit) serveFile(outside ...func(http.Handler) http.Handler) {
	v.t.Helper()
	name := filepath.Join(v.t.TempDir(), "film.bin")
	require.NoError(v.t, os.WriteFile(name, []byte(film()), 0o600))
	require.NoError(v.t, os.Chtimes(name, saved(), saved()))
	v.serve(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }, outside...)
}

// wholly asserts that a response has the whole file.
func (v *visit) wholly(got *http.Response) {
	v.t.Helper()
	body, err := io.ReadAll(got.Body)
	require.NoError(v.t, err)
	assert.True(v.t, string(body) == film(), "the file, not %d bytes of something", len(body))
	assert.Equal(v.t, v.wants("200 -"), v.headed(got, ""))
}

func servesFile(v *visit) {
	v.serveFile()
	got := v.get()
	assert.EqualValues(v.t, size, got.ContentLength)
	v.wholly(got)
	v.comesBack(true)
}

func servesFileHead(v *visit) {
	v.serveFile()
	got := v.send(http.MethodHead, "/", nil)
	assert.EqualValues(v.t, size, got.ContentLength)
	assert.Equal(v.t, v.wants("200 -"), v.told(got))
	v.comesBack(true)
}

// sink is the server's ResponseWriter, and counts what reaches its ReadFrom, which
// is where net/http has the kernel send a file.
type sink struct {
	http.ResponseWriter
	read  *atomic.Int64 // bytes
	files *atomic.Int64 // of which from a file, as it is
}

func (s sink) ReadFrom(src io.Reader) (int64, error) {
	n, err := s.ResponseWriter.(io.ReaderFrom).ReadFrom(src)
	s.read.Add(n)
	if l, ok := src.(*io.LimitedReader); ok {
		src = l.R
	}
	if _, ok := src.(*os.File); ok {
		s.files.Add(n)
	}
	return n, err
}

func servesByReadFrom(v *visit) {
	v.sends(func(s sink) http.ResponseWriter {
		return struct {
			sink
			http.Flusher
		}{s, s.ResponseWriter.(http.Flusher)}
	})
}

func servesBehindUnwrap(v *visit) {
	v.sends(func(s sink) http.ResponseWriter { return unwrapping{s, s.ResponseWriter} })
}

// unwrapping is a ResponseWriter of a middleware outside that leaves flushing to
// the writer inside, as ResponseController has it.
type unwrapping struct {
	sink
	inner http.ResponseWriter
}

func (u unwrapping) Unwrap() http.ResponseWriter { return u.inner }

func (v *visit) sends(by func(sink) http.ResponseWriter) {
	v.t.Helper()
	var read, files atomic.Int64
	v.serveFile(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(by(sink{w, &read, &files}), r)
		})
	})
	v.wholly(v.get())
	assert.EqualValues(v.t, size, read.Load(), "by ReadFrom of the server's own writer")
	assert.EqualValues(v.t, size, files.Load(), "of which from the file itself")
	v.comesBack(true)
}

// copies is that ReadFrom comes first of all: nothing was written before it.
func copies(v *visit) {
	v.serve(func(w http.ResponseWriter, _ *http.Request) {
		src, dst := io.Pipe()
		go func() {
			_, err := io.WriteString(dst, film())
			dst.CloseWithError(err)
		}()
		n, err := w.(io.ReaderFrom).ReadFrom(src)
		assert.NoError(v.t, err)
		assert.EqualValues(v.t, size, n)
	})
	v.wholly(v.get())
	v.comesBack(true)
}

// askFor sends a request for a part of the file.
func (v *visit) askFor(name, value string) *http.Response {
	v.t.Helper()
	v.serveFile()
	r := v.request(http.MethodGet, "/", nil)
	r.Header.Set(name, value)
	return v.do(r)
}

func servesRange(v *visit) {
	got := v.askFor("Range", "bytes=1048570-1048585")
	assert.Equal(v.t, "bytes 1048570-1048585/3145728", got.Header.Get("Content-Range"))
	assert.Equal(v.t, v.wants("206 "+film()[1048570:1048586]), v.told(got))
	v.comesBack(true)
}

func servesRanges(v *visit) {
	got := v.askFor("Range", "bytes=0-9,2000000-2000009")
	_, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	require.NoError(v.t, err)
	parts := multipart.NewReader(got.Body, params["boundary"])
	for _, from := range []int{0, 2000000} {
		part, err := parts.NextPart()
		require.NoError(v.t, err)
		body, err := io.ReadAll(part)
		assert.NoError(v.t, err)
		assert.Equal(v.t, film()[from:from+10], string(body))
	}
	assert.Equal(v.t, v.wants("206 -"), v.headed(got, ""))
	v.comesBack(true)
}

func servesNotModified(v *visit) {
	got := v.askFor("If-Modified-Since", saved().Format(http.TimeFormat))
	assert.Equal(v.t, v.wants("304 -"), v.told(got))
	v.comesBack(true)
}
