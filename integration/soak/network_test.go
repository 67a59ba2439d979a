package soak

import (
	"context"
	"io"
	"net"
	"sync"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// network is what lies between the machines and Stytch: a proxy on the loopback
// interface, each connection of which runs through toxiproxy's toxics. The proxy is
// not toxiproxy's own: that stands still for good if a toxic is taken away while an
// answer is on its way to a client that has left.
type network struct {
	upstream string
	tasks    sync.WaitGroup // all that it runs

	mu       sync.Mutex   // guards all below
	listener net.Listener // nil: an outage
	addr     string       // where it listens, or did last
	now      fault
	links    map[*link]bool
}

// fault is what happens to the bytes on their way up and down.
type fault struct{ up, down toxics.Toxic }

// link is one direction of a connection.
type link struct {
	src, dst *net.TCPConn
	down     bool
	stub     *toxics.ToxicStub
	in, out  chan *stream.StreamChunk
}

func newNetwork(upstream string) (*network, error) {
	n := &network{upstream: upstream, links: map[*link]bool{}, now: fault{new(toxics.NoopToxic), new(toxics.NoopToxic)}}
	return n, n.enable()
}

// dial is a transport's DialContext. In an outage nothing listens.
func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	addr := n.addr
	n.mu.Unlock()
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// enable listens anew, on another port: the last one may be somebody else's by now.
func (n *network) enable() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.listener, n.addr = l, l.Addr().String()
	n.mu.Unlock()
	n.tasks.Go(func() { n.serve(l) })
	return nil
}

func (n *network) serve(l net.Listener) {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", n.upstream)
		if err != nil {
			client.Close()
			continue
		}
		n.join(l, client.(*net.TCPConn), server.(*net.TCPConn))
	}
}

func (n *network) join(l net.Listener, client, server *net.TCPConn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listener != l {
		client.Close()
		server.Close()
		return
	}
	for _, k := range []*link{{src: client, dst: server}, {src: server, dst: client, down: true}} {
		k.in, k.out = make(chan *stream.StreamChunk), make(chan *stream.StreamChunk)
		k.stub = toxics.NewToxicStub(k.in, k.out)
		n.links[k] = true
		n.tasks.Go(k.read)
		n.tasks.Go(func() { n.write(k) })
		n.run(k)
	}
}

// read runs until src is closed, at the latest by the other direction's write.
func (k *link) read() {
	w := stream.NewChanWriter(k.in)
	_, _ = io.Copy(w, k.src)
	w.Close()
}

// write goes on to read when nobody wants it any more: else the toxic would wait
// for it, and whoever wants to change the toxic for that.
func (n *network) write(k *link) {
	_, _ = io.Copy(k.dst, stream.NewChanReader(k.out))
	k.dst.Close()
	for range k.out {
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, k)
}

// run lets the toxic of the moment at a link. It is called with mu held.
func (n *network) run(k *link) {
	toxic := n.now.of(k)
	if t, ok := toxic.(toxics.StatefulToxic); ok {
		k.stub.State = t.NewState()
	}
	linger := -1
	if _, ok := toxic.(*toxics.ResetToxic); ok {
		linger = 0 // what closes a connection then is a reset
	}
	_, _ = k.src.SetLinger(linger), k.dst.SetLinger(linger)
	n.tasks.Go(func() {
		k.stub.Run(&toxics.ToxicWrapper{Toxic: toxic, Toxicity: 1})
		k.drain()
	})
}

// drain reads what a toxic that has closed its link reads no more.
func (k *link) drain() {
	if k.stub.Closed() {
		for range k.in {
		}
	}
}

func (f fault) of(k *link) toxics.Toxic {
	if k.down {
		return f.down
	}
	return f.up
}

// set changes what happens to all connections, from now on and on the fly. Where
// bytes got lost on one that still stands, it breaks: no network goes on behind them.
func (n *network) set(f fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.now
	n.now = f
	for k := range n.links {
		if !k.stub.InterruptToxic() {
			continue // it is over
		}
		if t, ok := before.of(k).(toxics.CleanupToxic); ok {
			t.Cleanup(k.stub)
			n.tasks.Go(k.drain)
			continue
		}
		n.run(k)
	}
}

func (n *network) mend() { n.set(fault{new(toxics.NoopToxic), new(toxics.NoopToxic)}) }

// disable is the beginning of an outage: connections are reset, new ones refused.
func (n *network) disable() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listener.Close()
	n.listener = nil
	for k := range n.links {
		_ = k.src.SetLinger(0)
		k.src.Close()
	}
}

// close returns when nothing runs any more.
func (n *network) close() {
	n.disable()
	n.tasks.Wait()
}
