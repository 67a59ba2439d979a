package writers

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type hijack func(http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error)

func hijacks(v *visit) {
	v.isTakenOver(func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() })
}

func hijacksByController(v *visit) {
	v.isTakenOver(func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
		return http.NewResponseController(w).Hijack()
	})
}

// takesOver writes what it pleases, and answers one line.
func (v *visit) takesOver(by hijack) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := by(w)
		if !assert.NoError(v.t, err) {
			return
		}
		defer conn.Close()
		_, err = w.Write([]byte("not any more"))
		assert.ErrorIs(v.t, err, http.ErrHijacked)
		fmt.Fprintf(rw, "as I please, %s\n", who(r))
		_ = rw.Flush()
		said, _ := rw.ReadString('\n')
		fmt.Fprint(conn, "you said ", said)
	}
}

// isTakenOver is that a connection is the handler's own: what it writes is all
// that arrives, and what it reads is what the client wrote.
func (v *visit) isTakenOver(by hijack) {
	v.t.Helper()
	v.serve(v.takesOver(by))
	conn := v.dial()
	v.ask(conn)
	want := "as I please, " + v.page() + "\n"
	assert.Equal(v.t, want, v.read(conn, len(want)))
	fmt.Fprintln(conn, "hello")
	rest, err := io.ReadAll(conn)
	assert.NoError(v.t, err)
	assert.Equal(v.t, "you said hello\n", string(rest))
	assert.Equal(v.t, v.calledFor(), v.calls())
	v.comesBack(false)
}

// ask sends a request with the visitor's cookies.
func (v *visit) ask(conn net.Conn) {
	v.t.Helper()
	r := v.request(http.MethodGet, "/", nil)
	for _, c := range v.client.Jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	require.NoError(v.t, r.Write(conn))
}

// dial connects, for a client that speaks for itself.
func (v *visit) dial() net.Conn {
	v.t.Helper()
	u, err := url.Parse(v.url)
	require.NoError(v.t, err)
	conn, err := net.DialTimeout("tcp", u.Host, patience)
	require.NoError(v.t, err)
	v.t.Cleanup(func() { conn.Close() })
	require.NoError(v.t, conn.SetDeadline(time.Now().Add(patience)))
	if u.Scheme == "https" {
		return tls.Client(conn, v.tls())
	}
	return conn
}

// tls trusts the server, if that speaks TLS.
func (v *visit) tls() *tls.Config {
	c := v.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	if c != nil {
		c.ServerName = "127.0.0.1"
	}
	return c
}

func cannotHijack(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		_, ok := w.(http.Hijacker)
		assert.False(v.t, ok)
		_, _, err := http.NewResponseController(w).Hijack()
		assert.ErrorIs(v.t, err, http.ErrNotSupported)
		page(w, r)
	})
	assert.Equal(v.t, v.wants("200 "+v.page()), v.told(v.get()))
	v.comesBack(true)
}

// pushes is a push to a client that wants none, as all do today.
func pushes(v *visit) {
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		assert.ErrorIs(v.t, w.(http.Pusher).Push("/page", nil), http.ErrNotSupported)
		page(w, r)
	})
	assert.Equal(v.t, v.wants("200 "+v.page()), v.told(v.get()))
	v.comesBack(true)
}
