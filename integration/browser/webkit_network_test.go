package browser

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
)

// localNetwork is a SOCKS 5 proxy (RFC 1928) by which every name that a test uses
// leads to this machine, and no other leads anywhere. The environment tells WebKit of
// it: WebKitWebDriver 2.50 ignores the capability for SOCKS.
type localNetwork struct {
	listener net.Listener
	blank    *httptest.Server // each host's, at this port
	busy     sync.WaitGroup
}

func newLocalNetwork() (*localNetwork, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &localNetwork{listener: listener}
	n.blank = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { write(w, "blank", "") }))
	n.blank.Config.ErrorLog = quiet
	n.blank.StartTLS()
	n.busy.Go(n.accept)
	return n, nil
}

// blankOf is a blank page of a host, over TLS. Cookies are not for one port (RFC 6265
// section 8.5): there a driver sees those of the host, and the host's server hears
// nothing of it. The path is below all that tests give to cookies.
func (n *localNetwork) blankOf(host string) string {
	return fmt.Sprintf("https://%s:%d/app/blank", host, n.blank.Listener.Addr().(*net.TCPAddr).Port)
}

func (n *localNetwork) address() string { return n.listener.Addr().String() }

func (n *localNetwork) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return // closed
		}
		n.busy.Go(func() {
			defer client.Close()
			n.serve(client)
		})
	}
}

// close waits for the connections, which end with the browsers.
func (n *localNetwork) close() {
	_ = n.listener.Close()
	n.blank.CloseClientConnections()
	n.blank.Close()
	n.busy.Wait()
}

func (n *localNetwork) serve(client net.Conn) {
	to, err := greet(client)
	if err != nil {
		return
	}
	server, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(to)))
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := client.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0}); err != nil { // succeeded
		return
	}
	n.busy.Go(func() { pipe(server, client) })
	pipe(client, server)
}

// greet reads what a client begins with: that it knows a method without a password,
// and to which name and port it wants.
func greet(client net.Conn) (port int, err error) {
	read := func(size byte) []byte {
		b := make([]byte, size)
		if err == nil {
			_, err = io.ReadFull(client, b)
		}
		return b
	}
	methods := read(2)[1]
	read(methods)
	if err != nil {
		return 0, err
	}
	if _, err = client.Write([]byte{5, 0}); err != nil {
		return 0, err
	}
	var host string
	switch kind := read(4)[3]; kind {
	case 1:
		host = net.IP(read(4)).String()
	case 3:
		host = string(read(read(1)[0]))
	}
	port = int(binary.BigEndian.Uint16(read(2)))
	if err == nil && !strings.HasSuffix(host, ".test") && host != "localhost" && host != "127.0.0.1" {
		return 0, fmt.Errorf("no such host: %q", host)
	}
	return port, err
}
