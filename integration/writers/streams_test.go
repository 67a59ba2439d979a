package writers

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// step is where a handler waits until the test has seen what it sent.
type step chan struct{}

func (s step) wait(r *http.Request) {
	select {
	case <-s:
	case <-r.Context().Done():
	}
}

// on fails where no handler waits any more.
func (s step) on(v *visit) {
	v.t.Helper()
	select {
	case s <- struct{}{}:
	case <-time.After(patience):
		require.Fail(v.t, "the handler is not there")
	}
}

func flushes(v *visit) {
	v.flushedBy(func(w http.ResponseWriter) error { w.(http.Flusher).Flush(); return nil })
}

func flushesByController(v *visit) {
	v.flushedBy(func(w http.ResponseWriter) error { return http.NewResponseController(w).Flush() })
}

// flushedBy is that the header arrives while the handler waits, before a first
// byte is written, and then each part.
func (v *visit) flushedBy(flush func(http.ResponseWriter) error) {
	seen := make(step)
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(v.t, flush(w))
		seen.wait(r)
		page(w, r)
		assert.NoError(v.t, flush(w))
		seen.wait(r)
	})
	got := v.get()
	assert.Equal(v.t, v.wants("200 -"), v.headed(got, ""))
	seen.on(v)
	assert.Equal(v.t, v.page(), v.read(got.Body, len(v.page())))
	seen.on(v)
	v.comesBack(true)
}

func (v *visit) read(from io.Reader, n int) string {
	v.t.Helper()
	p := make([]byte, n)
	_, err := io.ReadFull(from, p)
	require.NoError(v.t, err)
	return string(p)
}

// sendsEvents is that each event arrives before there is a next one.
func sendsEvents(v *visit) {
	seen := make(step)
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d %s\n\n", i, who(r))
			w.(http.Flusher).Flush()
			seen.wait(r)
		}
	})
	got := v.get()
	assert.Equal(v.t, "text/event-stream", got.Header.Get("Content-Type"))
	assert.Equal(v.t, v.wants("200 -"), v.headed(got, ""))
	for i := range 5 {
		event := fmt.Sprintf("data: %d %s\n\n", i, v.page())
		assert.Equal(v.t, event, v.read(got.Body, len(event)))
		seen.on(v)
	}
	rest, err := io.ReadAll(got.Body)
	assert.NoError(v.t, err)
	assert.Empty(v.t, rest)
	v.comesBack(true)
}

// pipe is a body that is written while it is sent. It breaks off when time is up:
// net/http's client would wait for it.
func (v *visit) pipe() (io.Reader, io.WriteCloser) {
	body, w := io.Pipe()
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	v.t.Cleanup(cancel)
	context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
	return body, w
}

// readDeadline is that a body that does not come is not waited for.
func readDeadline(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(v.t, http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second)))
		_, err := r.Body.Read(make([]byte, 1))
		assert.ErrorIs(v.t, err, os.ErrDeadlineExceeded)
		_, _ = io.WriteString(w, "too late")
	})
	body, _ := v.pipe()
	assert.Equal(v.t, v.wants("200 too late"), v.told(v.send(http.MethodPost, "/", body)))
	v.comesBack(true)
}

// writeDeadline is that nothing arrives after it.
func writeDeadline(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		assert.NoError(v.t, control.SetWriteDeadline(time.Now().Add(-time.Second)))
		page(w, r)
		assert.Error(v.t, control.Flush())
	})
	_, err := v.client.Do(v.request(http.MethodGet, "/", nil))
	assert.Error(v.t, err)
	assert.Equal(v.t, v.calledFor(), v.calls())
	v.comesBack(false)
}

// fullDuplex is a conversation: without it, net/http reads all of a body of
// HTTP/1.1 before the first byte of an answer.
func fullDuplex(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(v.t, http.NewResponseController(w).EnableFullDuplex())
		fmt.Fprintln(w, "hello")
		w.(http.Flusher).Flush()
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			fmt.Fprintln(w, "you said", lines.Text())
			w.(http.Flusher).Flush()
		}
	})
	body, say := v.pipe()
	got := v.send(http.MethodPost, "/", body)
	assert.Equal(v.t, v.wants("200 -"), v.headed(got, ""))
	assert.Equal(v.t, "hello\n", v.read(got.Body, len("hello\n")))
	for _, word := range []string{"one", "two"} {
		fmt.Fprintln(say, word)
		want := "you said " + word + "\n"
		assert.Equal(v.t, want, v.read(got.Body, len(want)))
	}
	say.Close()
	v.comesBack(true)
}

// clientLeaves is in the middle of a response: the handler hears of it.
func clientLeaves(v *visit) {
	left := make(chan error, 2)
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		page(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		left <- r.Context().Err()
		var err error
		for err == nil {
			_, err = w.Write(make([]byte, 1<<16))
		}
		left <- err
	})
	got := v.get()
	assert.Equal(v.t, v.page(), v.read(got.Body, len(v.page())))
	got.Body.Close()
	assert.ErrorIs(v.t, <-left, context.Canceled)
	assert.Error(v.t, <-left)
	assert.Equal(v.t, v.wants("200 -"), v.headed(got, ""))
	v.comesBack(true)
}

func aborts(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		page(w, r)
		panic(http.ErrAbortHandler)
	})
	_, err := v.client.Do(v.request(http.MethodGet, "/", nil))
	assert.Error(v.t, err)
	assert.Equal(v.t, v.calledFor(), v.calls())
	v.comesBack(false)
}

// abortsInside is that a client whose page breaks off has its cookies.
func abortsInside(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		page(w, r)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	got := v.get()
	body, err := io.ReadAll(got.Body)
	assert.Error(v.t, err)
	assert.Equal(v.t, v.wants("200 "+v.page()), v.headed(got, string(body)))
	v.comesBack(true)
}
