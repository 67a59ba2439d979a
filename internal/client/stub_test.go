package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/stytch"
)

const timeout = 5 * time.Second

// stub is the application's transport.
type stub func(*http.Request) (*http.Response, error)

func (f stub) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answer answers every call in the same way.
func answer(status int, body string, header ...string) stub {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func apiError(status int, errorType string, header ...string) stub {
	return answer(status, fmt.Sprintf(`{"error_type":%q,"request_id":"request-1"}`, errorType), header...)
}

func fail(err error) stub {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}

// reading answers 200 with a body.
func reading(body io.Reader) stub {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
	}
}

func silence(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// drip answers with a byte a second.
func drip(r *http.Request) (*http.Response, error) {
	return reading(reader(func(p []byte) (int, error) {
		select {
		case <-time.After(time.Second):
			p[0] = ' '
			return 1, nil
		case <-r.Context().Done():
			return 0, r.Context().Err()
		}
	}))(r)
}

// reader is a body.
type reader func([]byte) (int, error)

func (f reader) Read(p []byte) (int, error) { return f(p) }

// newClient returns a client as the middleware has it, over the application's
// HTTP client.
func newClient(c *http.Client) *client.Client {
	return &client.Client{
		Base: "https://test.stytch.com", ProjectID: "project-test-1", Secret: "secret-test-1", Log: slog.New(slog.DiscardHandler),
		HTTP:      client.NewHTTPClient(outbound.New(outbound.Config{Base: client.Transport(c), Timeout: timeout})),
		ReadError: readError,
	}
}

func over(s stub) *client.Client { return newClient(&http.Client{Transport: s}) }

// readError stands in for the application's error type.
func readError(status int, body []byte) *stytch.APIError {
	var e struct {
		Type      string `json:"error_type"`
		RequestID string `json:"request_id"`
	}
	_ = json.Unmarshal(body, &e)
	return &stytch.APIError{Status: status, Type: e.Type, RequestID: e.RequestID, Err: fmt.Errorf("stytch answered %d", status)}
}

// migrate makes one call, in the time that a call which requests share has.
func migrate(t *testing.T, c *client.Client) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*timeout)
	defer cancel()
	var out struct {
		UserID string `json:"user_id" need:"value"`
	}
	return c.Post(ctx, client.Call{Op: stytch.Migrate, Path: "/v1/sessions/migrate", In: map[string]int{"a": 1}, Out: &out})
}

// logOf makes a call and returns what was logged.
func logOf(t *testing.T, c *client.Client) string {
	t.Helper()
	var log bytes.Buffer
	c.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	_ = migrate(t, c)
	return log.String()
}
