package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"example.com/stytchmigrate/internal/redact"
)

const proxyRefuses = "the proxy refuses the connection"

// proxyRefusal is the error that a proxy answers a CONNECT with a status other than
// 200. It leaves out the proxy's own words.
func proxyRefusal(status int) redact.Text {
	return redact.Text(strings.TrimSpace(fmt.Sprintf("%s: %d %s", proxyRefuses, status, http.StatusText(status))))
}

// nameProxyRefusal returns an OnProxyConnectResponse that fails with a proxyRefusal. Of
// such a proxy net/http returns only the words in its status line. first may be nil.
func nameProxyRefusal(first func(context.Context, *url.URL, *http.Request, *http.Response) error) func(context.Context, *url.URL, *http.Request, *http.Response) error {
	return func(ctx context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
		if first != nil {
			if err := first(ctx, proxy, req, resp); err != nil {
				return err
			}
		}
		if resp.StatusCode != http.StatusOK {
			return proxyRefusal(resp.StatusCode)
		}
		return nil
	}
}

// refusalOfProxy recognises the error of a transport of the application's whose proxy
// refuses, or returns "". For a CONNECT that is a plain error with the words of the
// status line. Only words that are HTTP's own are taken for that, and none are quoted.
func refusalOfProxy(err error) string {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "socks connect" && isPlain(op.Err) {
		return proxyRefuses + " (SOCKS)"
	}
	if !isPlain(err) {
		return ""
	}
	for status := http.StatusCreated; status < 600; status++ {
		if text := http.StatusText(status); text != "" && strings.EqualFold(text, err.Error()) {
			return string(proxyRefusal(status))
		}
	}
	return ""
}

// isPlain reports an error by errors.New, as io.EOF is one. io's own are not meant.
func isPlain(err error) bool {
	return reflect.TypeOf(err) == reflect.TypeOf(io.EOF) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}
