package client

import (
	"cmp"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/outbound"
)

// A NAT or a firewall may forget a connection and drop all that is sent on it. HTTP/2
// puts every call on one connection, so every call would be lost until the kernel gives
// up, 15 minutes later. A connection that brings nothing for pingAfter is sent a ping,
// and closed if no answer comes for pingFor. Its calls are then sent on another one.
const (
	pingAfter = 4 * time.Second
	pingFor   = 3 * time.Second
)

// Transport returns the application's transport, or a copy of the default one. It
// is isolated, because the application's transport may do anything.
func Transport(c *http.Client) *outbound.Isolated {
	if c != nil && c.Transport != nil {
		return outbound.Isolate(c.Transport, MaxBody)
	}
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // a program may replace the default transport, for tracing
		return outbound.Isolate(http.DefaultTransport, MaxBody)
	}
	t = t.Clone()
	Tune(t)
	return outbound.Isolate(&fresh{Transport: t}, MaxBody)
}

// Tune sets what calls to Stytch need. What the program has set for HTTP/2 stays.
func Tune(t *http.Transport) {
	t.MaxIdleConnsPerHost = 32
	t.MaxResponseHeaderBytes = 64 << 10
	if t.HTTP2 == nil {
		t.HTTP2 = new(http.HTTP2Config)
	}
	t.HTTP2.SendPingTimeout = cmp.Or(t.HTTP2.SendPingTimeout, pingAfter)
	t.HTTP2.PingTimeout = cmp.Or(t.HTTP2.PingTimeout, pingFor)
	t.HTTP2.WriteByteTimeout = cmp.Or(t.HTTP2.WriteByteTimeout, pingAfter)
	t.OnProxyConnectResponse = nameProxyRefusal(t.OnProxyConnectResponse)
}

// fresh is a transport that trusts no idle connection after a call without an answer.
// HTTP/1.1 has no pings: each of many idle connections may be mute, and a try would find
// out about one of them only. So the next try dials.
type fresh struct {
	*http.Transport
	unanswered atomic.Bool
}

// RoundTrip implements http.RoundTripper.
func (f *fresh) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.unanswered.Swap(false) {
		f.CloseIdleConnections()
	}
	resp, err := f.Transport.RoundTrip(r)
	if err != nil && r.Context().Err() != nil {
		f.unanswered.Store(true)
	}
	return resp, err
}
