package writers

import (
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
)

func nothingWritten(v *visit) {
	v.serve(func(http.ResponseWriter, *http.Request) {})
	assert.Equal(v.t, v.wants("200 -"), v.told(v.get()))
	v.comesBack(true)
}

func writesPage(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(who(r))) })
	assert.Equal(v.t, v.wants("200 "+v.page()), v.told(v.get()))
	v.comesBack(true)
}

func writesString(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		_, err := w.(io.StringWriter).WriteString(who(r))
		assert.NoError(v.t, err)
	})
	assert.Equal(v.t, v.wants("200 "+v.page()), v.told(v.get()))
	v.comesBack(true)
}

func answersHead(v *visit) {
	v.serve(page)
	got := v.send(http.MethodHead, "/", nil)
	assert.Equal(v.t, v.wants("200 -"), v.told(got))
	v.comesBack(true)
}

func writesLength(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(who(r))))
		page(w, r)
	})
	got := v.get()
	assert.EqualValues(v.t, len(v.page()), got.ContentLength)
	assert.Equal(v.t, v.wants("200 "+v.page()), v.told(got))
	v.comesBack(true)
}

// writesChunks is too long for net/http to tell how long it is.
func writesChunks(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		for i := range 2000 {
			fmt.Fprintf(w, "%4d", i)
		}
	})
	got := v.get()
	assert.EqualValues(v.t, -1, got.ContentLength)
	if v.wire.proto == "HTTP/1.1" {
		assert.Equal(v.t, []string{"chunked"}, got.TransferEncoding)
	}
	n, err := io.Copy(io.Discard, got.Body)
	assert.NoError(v.t, err)
	assert.EqualValues(v.t, 8000, n)
	assert.Equal(v.t, v.wants("200 -"), v.headed(got, ""))
	v.comesBack(true)
}

func writesStatusTwice(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		w.WriteHeader(http.StatusAccepted)
		page(w, r)
	})
	assert.Equal(v.t, v.wants("201 "+v.page()), v.told(v.get()))
	v.comesBack(true)
}

func writesError(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) { http.Error(w, who(r), http.StatusInternalServerError) })
	assert.Equal(v.t, v.wants("500 "+v.page()+"\n"), v.told(v.get()))
	v.comesBack(true)
}

func redirects(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/page", http.StatusSeeOther) })
	got := v.send(http.MethodPost, "/", nil)
	assert.Equal(v.t, "/page", got.Header.Get("Location"))
	assert.Equal(v.t, v.wants("303 -"), v.told(got))
	v.comesBack(true)
}

func noContent(v *visit) {
	v.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
		_, err := io.WriteString(w, "none")
		assert.ErrorIs(v.t, err, http.ErrBodyNotAllowed)
	})
	assert.Equal(v.t, v.wants("204 -"), v.told(v.get()))
	v.comesBack(true)
}

func notModified(v *visit) {
	v.serve(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	})
	got := v.get()
	assert.Equal(v.t, `"1"`, got.Header.Get("Etag"))
	assert.Equal(v.t, v.wants("304 -"), v.told(got))
	v.comesBack(true)
}

// tooLarge is a body of which a part is read. MaxBytesReader has net/http hang up
// then, if it knows the ResponseWriter for its own; if not, net/http reads on, to
// 256 KB, and hangs up if that is not all.
func tooLarge(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 10))
		assert.ErrorAs(v.t, err, new(*http.MaxBytesError))
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	got := v.send(http.MethodPost, "/", strings.NewReader("longer than that"))
	assert.Equal(v.t, v.wants("413 -"), v.told(got))
	v.comesBack(true)
}

// sameInterfaces is that a handler finds in its ResponseWriter what the server's
// own can, no more and no less.
func sameInterfaces(v *visit) {
	var theirs, ours string
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		ours = interfaces(w)
		page(w, r)
	}, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			theirs = interfaces(w)
			next.ServeHTTP(w, r)
		})
	})
	assert.Equal(v.t, v.wants("200 "+v.page()), v.told(v.get()))
	assert.Contains(v.t, theirs, "Flusher")
	assert.Equal(v.t, theirs, ours)
}

func interfaces(w http.ResponseWriter) (out string) {
	for _, kind := range []reflect.Type{
		reflect.TypeFor[http.Flusher](), reflect.TypeFor[interface{ FlushError() error }](),
		reflect.TypeFor[http.Hijacker](), reflect.TypeFor[http.Pusher](), reflect.TypeFor[io.ReaderFrom](),
		reflect.TypeFor[io.StringWriter](), reflect.TypeFor[interface{ CloseNotify() <-chan bool }](),
		reflect.TypeFor[interface{ SetReadDeadline(time.Time) error }](),
		reflect.TypeFor[interface{ SetWriteDeadline(time.Time) error }](),
		reflect.TypeFor[interface{ EnableFullDuplex() error }](),
	} {
		if reflect.TypeOf(w).Implements(kind) {
			out += " " + kind.String()
		}
	}
	return out
}
