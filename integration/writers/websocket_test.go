package writers

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// socket is one end of a WebSocket, of either library.
type socket interface {
	send(text string) error
	receive() (string, error)
	bye() error         // tells the other end that all is said
	saidBye(error) bool // by receive
	CloseNow() error    // in any case
}

type (
	accept func(http.ResponseWriter, *http.Request) (socket, error)
	dial   func(url string) (socket, *http.Response, error)
)

func coderWebSocket(v *visit) {
	ctx, cancel := context.WithTimeout(v.t.Context(), patience)
	v.t.Cleanup(cancel)
	v.talks(func(w http.ResponseWriter, r *http.Request) (socket, error) {
		conn, err := coder.Accept(w, r, nil)
		return coderSocket{conn, ctx}, err
	}, func(url string) (socket, *http.Response, error) {
		conn, resp, err := coder.Dial(ctx, url, &coder.DialOptions{HTTPClient: v.client})
		return coderSocket{conn, ctx}, resp, err
	})
}

func gorillaWebSocket(v *visit) { v.talksByGorilla() }

// loggedWebSocket has a ResponseWriter outside as loggers have it: it is asked for
// its status, is a Hijacker, and leaves the rest to Unwrap.
func loggedWebSocket(v *visit) {
	v.talksByGorilla(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(logged{w}, r)
		})
	})
}

type logged struct{ http.ResponseWriter }

func (l logged) Unwrap() http.ResponseWriter { return l.ResponseWriter }

func (l logged) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(l.ResponseWriter).Hijack()
}

func (v *visit) talksByGorilla(outside ...func(http.Handler) http.Handler) {
	v.t.Helper()
	v.talks(func(w http.ResponseWriter, r *http.Request) (socket, error) {
		conn, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
		return gorillaSocket{conn}, err
	}, func(url string) (socket, *http.Response, error) {
		dialer := gorilla.Dialer{Jar: v.client.Jar, HandshakeTimeout: patience, TLSClientConfig: v.tls()}
		conn, resp, err := dialer.Dial(url, nil)
		return gorillaSocket{conn}, resp, err
	}, outside...)
}

// talks is a handshake by which somebody may move: the handler knows them, no
// cookie changes, and the next page changes them.
func (v *visit) talks(accept accept, dial dial, outside ...func(http.Handler) http.Handler) {
	v.t.Helper()
	ended := make(chan bool, 1)
	v.serve(func(w http.ResponseWriter, r *http.Request) {
		s, err := accept(w, r)
		ended <- assert.NoError(v.t, err) && repeat(s, who(r))
	}, outside...)
	s, resp, err := dial("ws" + strings.TrimPrefix(v.url, "http"))
	require.NoError(v.t, err)
	v.t.Cleanup(func() { _ = s.CloseNow() })
	assert.Equal(v.t, http.StatusSwitchingProtocols, resp.StatusCode)
	assert.Empty(v.t, cookiesOf(resp.Header))
	assert.NotContains(v.t, resp.Header["Cache-Control"], "no-store")
	assert.Equal(v.t, v.calledFor(), v.calls())
	v.converses(s)
	assert.True(v.t, <-ended, "the handler was told of the end")
	v.comesBack(false)
}

// converses has messages go both ways, and ends that.
func (v *visit) converses(s socket) {
	v.t.Helper()
	v.hears(s, v.upgrades())
	for _, word := range []string{"one", strings.Repeat("long ", 5000)} {
		assert.NoError(v.t, s.send(word))
		v.hears(s, "you said "+word)
	}
	assert.NoError(v.t, s.bye())
}

func (v *visit) hears(s socket, want string) {
	v.t.Helper()
	got, err := s.receive()
	require.NoError(v.t, err)
	assert.Equal(v.t, want, got)
}

// repeat says first, and then what it is told, until the other end says good bye.
func repeat(s socket, first string) (bye bool) {
	defer s.CloseNow()
	err := s.send(first)
	for err == nil {
		var word string
		if word, err = s.receive(); err == nil {
			err = s.send("you said " + word)
		}
	}
	return s.saidBye(err)
}

type coderSocket struct {
	*coder.Conn
	ctx context.Context
}

func (s coderSocket) send(text string) error { return s.Write(s.ctx, coder.MessageText, []byte(text)) }

func (s coderSocket) receive() (string, error) {
	_, p, err := s.Read(s.ctx)
	return string(p), err
}

func (s coderSocket) bye() error { return s.Close(coder.StatusNormalClosure, "") }

func (coderSocket) saidBye(err error) bool {
	return coder.CloseStatus(err) == coder.StatusNormalClosure
}

type gorillaSocket struct{ *gorilla.Conn }

func (s gorillaSocket) send(text string) error {
	return s.WriteMessage(gorilla.TextMessage, []byte(text))
}

func (s gorillaSocket) receive() (string, error) {
	_ = s.SetReadDeadline(time.Now().Add(patience))
	_, p, err := s.ReadMessage()
	return string(p), err
}

func (s gorillaSocket) bye() error {
	return s.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(gorilla.CloseNormalClosure, ""))
}

func (gorillaSocket) saidBye(err error) bool {
	return gorilla.IsCloseError(err, gorilla.CloseNormalClosure)
}

func (s gorillaSocket) CloseNow() error { return s.Close() }
