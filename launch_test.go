package stytchmigrate_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const userInfoURL = "https://app.example.com/userinfo"

// launch is an application that is about to be launched. Everything about it is
// as it must be, until a test changes that.
type launch struct {
	cfg      stytchmigrate.Config
	stytch   *stytchtest.Server
	endpoint http.Handler // at userInfoURL, for Stytch and for Check
	mu       sync.Mutex   // guards requests
	requests []string     // that Check made, in no order
}

func newLaunch(t *testing.T, stytch stytchtest.Config) *launch {
	t.Helper()
	tickets, err := userinfo.NewTickets(apptest.KeyOf('t', 32), apptest.KeyOf('u', 32))
	require.NoError(t, err)
	l := &launch{endpoint: userinfo.Handler(tickets.Redeem)}
	stytch.InProcess, stytch.UserInfoURL, stytch.UserInfoClient = true, userInfoURL, &http.Client{Transport: apptest.RoundTripper(l.serve)}
	l.stytch = stytchtest.NewServer(t, stytch)
	t.Cleanup(func() { time.Sleep(15 * time.Second) }) // for calls that nobody waits for any more
	l.cfg = stytchmigrate.Config{
		ProjectID: l.stytch.ProjectID, Secret: stytchmigrate.Secret(l.stytch.Secret), BaseURL: l.stytch.URL,
		HTTPClient: &http.Client{Transport: apptest.RoundTripper(l.send)}, Logger: slog.New(slog.DiscardHandler),
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: noSession}}, Tickets: tickets, UserInfoURL: userInfoURL,
	}
	return l
}

// serve is the application's own side.
func (l *launch) serve(r *http.Request) (*http.Response, error) {
	in := httptest.NewRequest(r.Method, r.URL.String(), nil).WithContext(r.Context())
	in.Header = r.Header.Clone()
	w := httptest.NewRecorder()
	mux := http.NewServeMux()
	mux.Handle("/userinfo", l.endpoint)
	mux.ServeHTTP(w, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// send is the way out of Check.
func (l *launch) send(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.requests = append(l.requests, strings.TrimSpace(r.Method+" "+r.URL.String()+" "+r.Header.Get("Content-Type")))
	l.mu.Unlock()
	if strings.HasPrefix(r.URL.Path, "/userinfo") {
		return l.serve(r)
	}
	return l.stytch.RoundTripper().RoundTrip(r)
}

// check returns the findings, less their prefix.
func (l *launch) check(t *testing.T) string {
	t.Helper()
	m, err := stytchmigrate.New(l.cfg)
	require.NoError(t, err)
	return findings(t, m.Check(t.Context()))
}

func findings(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		assert.True(t, strings.HasPrefix(lines[i], "stytchmigrate: "), lines[i])
		lines[i] = strings.TrimPrefix(lines[i], "stytchmigrate: ")
	}
	return strings.Join(lines, "\n")
}

// answers is an endpoint that says the same to everybody.
func answers(status int, header, value, body string) func(*launch) {
	return func(l *launch) {
		l.endpoint = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(header, value)
			w.WriteHeader(status)
			io.WriteString(w, body)
		})
	}
}

// rewritten is the right endpoint behind something that changes its good answer.
func rewritten(change func(h http.Header, body string) string) func(*launch) {
	return func(l *launch) {
		good := l.endpoint
		l.endpoint = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			in := httptest.NewRecorder()
			good.ServeHTTP(in, r)
			body := in.Body.String()
			if in.Code == http.StatusOK {
				body = change(in.Header(), body)
			}
			for name, values := range in.Header() {
				w.Header()[name] = values
			}
			w.WriteHeader(in.Code)
			io.WriteString(w, body)
		})
	}
}

// brokenOff cuts off each body that the endpoint sends to this machine.
func brokenOff(l *launch) {
	l.cfg.HTTPClient.Transport = apptest.RoundTripper(func(r *http.Request) (*http.Response, error) {
		resp, err := l.send(r)
		if r.URL.Path == "/userinfo" {
			resp.Body = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF))
		}
		return resp, err
	})
}

func replaced(old, by string) func(*launch) {
	return rewritten(func(_ http.Header, body string) string { return strings.Replace(body, old, by, 1) })
}

func headed(name, value string) func(*launch) {
	return rewritten(func(h http.Header, body string) string { h.Set(name, value); return body })
}

func failing(op stytchtest.Op, f stytchtest.Fault) func(*launch) {
	return func(l *launch) { l.stytch.FailAll(op, f) }
}

func clockOff(by time.Duration) func(*launch) {
	return func(l *launch) { l.stytch.SetClock(func() time.Time { return time.Now().Add(by) }) }
}

func storing(change func(*storetest.Memory)) func(*launch) {
	return func(l *launch) {
		s := new(storetest.Memory)
		change(s)
		l.cfg.Store = s
	}
}
