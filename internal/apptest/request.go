package apptest

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func Header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func Method(name string) func(*http.Request) { return func(r *http.Request) { r.Method = name } }

// RawRequest sends the lines of a request over a socket and returns the response.
func RawRequest(t *testing.T, s *httptest.Server, head string) *http.Response {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	go func() { _, _ = conn.Write([]byte(head + "\r\nConnection: close\r\n\r\n")) }() // the server may answer before the end
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	return resp
}

// FetchMetadata sets the Fetch Metadata of a request: Site, Mode, Dest.
func FetchMetadata(metadata string) func(*http.Request) {
	return func(r *http.Request) {
		for i, v := range strings.Fields(metadata) {
			r.Header.Set([]string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest"}[i], v)
		}
	}
}
