package stytchtest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"example.com/stytchmigrate/stytchtest"
	"github.com/stretchr/testify/require"
)

// object is a JSON object.
type object = map[string]any

// ways are the ways to reach a server: what holds must hold for both.
var ways = []struct {
	name      string
	inProcess bool
}{{"socket", false}, {"in process", true}}

// client is a plain client of one server, with the server's credentials.
type client struct {
	*stytchtest.Server
	http *http.Client
}

func start(t *testing.T, cfg stytchtest.Config) client {
	t.Helper()
	s := stytchtest.NewServer(t, cfg)
	if cfg.InProcess {
		return client{s, s.Client()}
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return client{s, &http.Client{Transport: transport}}
}

func (c client) request(t *testing.T, method, path string, body any) *http.Request {
	t.Helper()
	var in io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		in = bytes.NewReader([]byte(body))
	default:
		b, err := json.Marshal(body)
		require.NoError(t, err)
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, c.URL+path, in)
	require.NoError(t, err)
	r.SetBasicAuth(c.ProjectID, c.Secret)
	return r
}

// call returns the status and the JSON object of an answer.
func (c client) call(t *testing.T, method, path string, body any) (int, object) {
	t.Helper()
	resp, err := c.http.Do(c.request(t, method, path, body))
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	var o object
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&o))
	require.EqualValues(t, resp.StatusCode, o["status_code"])
	require.Regexp(t, `^request-id-test-`+uuid+`$`, o["request_id"])
	return resp.StatusCode, o
}

func (c client) migrate(t *testing.T, body object) (int, object) {
	t.Helper()
	return c.call(t, "POST", "/v1/sessions/migrate", body)
}

func (c client) authenticate(t *testing.T, body object) (int, object) {
	t.Helper()
	return c.call(t, "POST", "/v1/sessions/authenticate", body)
}

const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`
