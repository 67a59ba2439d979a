package prommetrics_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answers(status int) roundTripper {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	}
}

func call(t *testing.T, rt http.RoundTripper, method, path string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequest(method, "https://test.stytch.com"+path, nil)
	require.NoError(t, err)
	return rt.RoundTrip(r)
}

func TestCallsByName(t *testing.T) {
	for path, want := range map[string]string{
		"POST /v1/sessions/migrate":        "migrate",
		"POST /v1/sessions/authenticate":   "authenticate",
		"POST /v1/sessions/revoke":         "revoke",
		"POST /v1/users":                   "create_user",
		"GET /v1/sessions/jwks/project-1":  "jwks",
		"POST /stytch/v1/sessions/migrate": "migrate",
		"GET /v1/users":                    "other",
		"GET /v1/sessions/migrate":         "other",
		"POST /v1/sessions/jwks/project-1": "other",
		"GET /userinfo":                    "other",
		"GET ":                             "other",
		"POST /v1/sessions/migrate/x":      "other",
	} {
		reg, m := newMetrics()
		method, path, _ := strings.Cut(path, " ")
		_, err := call(t, m.Transport(answers(200)), method, path)
		require.NoError(t, err)
		assert.Equal(t, map[string]float64{"api_calls_total " + want + " 2xx": 1, "api_call_duration_seconds " + want: 1}, series(t, reg), path)
	}
}

func TestCallsByResult(t *testing.T) {
	for want, rt := range map[string]roundTripper{
		"2xx": answers(204), "3xx": answers(302), "4xx": answers(404), "429": answers(429), "5xx": answers(503), "other": answers(999),
		"no answer": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
	} {
		reg, m := newMetrics()
		resp, err := call(t, m.Transport(rt), "POST", "/v1/sessions/revoke")
		wantResp, wantErr := rt(nil)
		assert.Equal(t, wantResp, resp, want)
		assert.Equal(t, wantErr, err, want)
		assert.Equal(t, map[string]float64{"api_calls_total revoke " + want: 1, "api_call_duration_seconds revoke": 1}, series(t, reg))
	}
}

// A transport may be anybody's.
func TestTransportThatBreaksOff(t *testing.T) {
	for name, rt := range map[string]roundTripper{
		"panics":  func(*http.Request) (*http.Response, error) { panic("boom") },
		"exits":   func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"is mute": func(*http.Request) (*http.Response, error) { return nil, nil },
	} {
		reg, m := newMetrics()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = recover() }()
			_, _ = call(t, m.Transport(rt), "POST", "/v1/users")
		}()
		<-done
		assert.Equal(t, map[string]float64{"api_calls_total create_user no answer": 1, "api_call_duration_seconds create_user": 1}, series(t, reg), name)
	}
}

// It is the time to the answer's header.
func TestCallDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg, m := newMetrics()
		_, err := call(t, m.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(300 * time.Millisecond)
			return answers(200)(r)
		})), "POST", "/v1/sessions/migrate")
		require.NoError(t, err)
		families, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if f.GetName() == "stytchmigrate_api_call_duration_seconds" {
				for _, h := range f.GetMetric() {
					if h.GetLabel()[0].GetValue() == "migrate" {
						assert.InDelta(t, .3, h.GetHistogram().GetSampleSum(), 1e-9)
						return
					}
				}
			}
		}
		t.Error("no such series")
	})
}

// Each try counts, and no call that is held back, as it never gets here.
func TestTransportOfTheMiddleware(t *testing.T) {
	stytch, err := stytchtest.Start(stytchtest.Config{InProcess: true})
	require.NoError(t, err)
	t.Cleanup(stytch.Close)
	stytch.AddUser(stytchtest.Person("ada@example.com"))
	stytch.SetUserInfo(func(context.Context, string) (string, error) { return "ada@example.com", nil })
	reg, m := newMetrics()
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: stytch.ProjectID, Secret: stytchmigrate.Secret(stytch.Secret), BaseURL: stytch.URL,
		HTTPClient: &http.Client{Transport: m.Transport(stytch.RoundTripper())},
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: func(_ *http.Request, v string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{ID: stytchmigrate.Secret(v), Token: stytchmigrate.Secret(v)}, nil
		}}},
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	stytch.Fail(stytchtest.Migrate, stytchtest.Error(503, "service_unavailable"))
	r := httptest.NewRequest("GET", "https://app.example.com/", nil)
	r.Header.Set("Cookie", "sid=ada-legacy-token")
	auth.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), r)
	got := series(t, reg)
	assert.Equal(t, map[string]float64{"api_calls_total migrate 2xx": 1, "api_calls_total migrate 5xx": 1, "api_call_duration_seconds migrate": 2}, got)
}

// Twenty at once, twice, come over twenty connections: with the two idle ones of
// http.DefaultTransport it would be more.
func TestTransportOfItsOwn(t *testing.T) {
	const n = 20
	var connections atomic.Int32
	var arrived sync.WaitGroup
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Done(); arrived.Wait() }))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	_, m := newMetrics()
	client := &http.Client{Transport: m.Transport(nil)}
	for range 2 {
		arrived.Add(n)
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				resp, err := client.Get(server.URL)
				if assert.NoError(t, err) {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
		}
		all.Wait()
	}
	assert.EqualValues(t, n, connections.Load())
}

func TestNoSeriesIsAddedByCalls(t *testing.T) {
	reg, m := newMetrics()
	before, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	for status := range 1000 {
		_, _ = call(t, m.Transport(answers(status)), "POST", "/odd/"+strings.Repeat("x", status))
	}
	after, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

func TestTransportAllocatesNothing(t *testing.T) {
	_, m := newMetrics()
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	rt := m.Transport(roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil }))
	r, err := http.NewRequest("POST", "https://test.stytch.com/v1/sessions/migrate", nil)
	require.NoError(t, err)
	assert.Zero(t, testing.AllocsPerRun(1000, func() { _, _ = rt.RoundTrip(r) }))
}
