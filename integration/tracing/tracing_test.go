package tracing

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// app is an application whose requests and calls are traced.
type app struct {
	http.Handler
	stytch *stytchtest.Server
	spans  *tracetest.SpanRecorder
}

func newApp(t *testing.T) app {
	t.Helper()
	a := app{stytch: startStytch(), spans: tracetest.NewSpanRecorder()}
	t.Cleanup(a.stytch.Close)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(a.spans))
	auth, err := stytchmigrate.New(a.config(traced(provider)))
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /home", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) { _ = auth.Logout(w, r) })
	a.Handler = otelhttp.NewHandler(auth.Handler(mux), "page", otelhttp.WithTracerProvider(provider))
	return a
}

func (a app) config(t http.RoundTripper) stytchmigrate.Config {
	return stytchmigrate.Config{
		ProjectID: a.stytch.ProjectID, Secret: stytchmigrate.Secret(a.stytch.Secret), BaseURL: a.stytch.URL,
		HTTPClient: &http.Client{Transport: t},
		Legacy:     []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolve}},
		Timeout:    time.Second,
		Logger:     slog.New(slog.DiscardHandler),
	}
}

// A call goes on when the request that began it has left, and serves the others.
// Its span stays below that request's, which ended before it.
func TestSharedCall(t *testing.T) {
	a := newApp(t)
	hold := new(stytchtest.Hold)
	a.stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold))
	var both sync.WaitGroup
	defer both.Wait()
	first, leave := context.WithCancel(t.Context())
	both.Go(func() { a.get(first) })
	<-hold.Arrived()
	both.Go(func() { a.get(t.Context()) })
	require.Eventually(t, func() bool { return len(a.spans.Started()) == 3 }, 5*time.Second, time.Millisecond)
	leave()
	require.Eventually(t, func() bool { return len(a.spans.Ended()) == 1 }, 5*time.Second, time.Millisecond)
	hold.Release()
	both.Wait()
	assert.Equal(t, "  GET 200\n    POST /v1/sessions/migrate 200\n  GET /home 200\n", tree(a.spans.Ended()))
	assert.Equal(t, "GET", a.spans.Ended()[0].Name(), "the request that left")
}

func (a app) get(ctx context.Context) {
	r := httptest.NewRequestWithContext(ctx, "GET", "https://app.example.com/home", nil)
	r.Header.Set("Cookie", "sid=ada-legacy-token")
	a.ServeHTTP(httptest.NewRecorder(), r)
}

// Traces are read by more people than may have a session's token.
func TestSpansHoldNoSecret(t *testing.T) {
	a := newApp(t)
	a.stytch.Fail(stytchtest.Migrate, stytchtest.Reset())
	moved := map[string]string{"sid": "ada-legacy-token"}
	browse(a, "GET /home", moved)
	secrets := []string{"ada-legacy-token", "ada@example.com", moved["stytch_session"], moved["stytch_session_jwt"], a.stytch.Secret,
		base64.StdEncoding.EncodeToString([]byte(a.stytch.ProjectID + ":" + a.stytch.Secret))}
	other := a.stytch.NewSession(a.stytch.Sessions()[0].UserID, time.Hour)
	secrets = append(secrets, other.Token, other.JWT)
	browse(a, "GET /home", map[string]string{"stytch_session_jwt": other.JWT})
	browse(a, "GET /home", map[string]string{"stytch_session": other.Token})
	browse(a, "POST /logout", moved)
	browse(a, "GET /home", map[string]string{"stytch_session": secrets[2]})

	for _, call := range []string{"migrate no answer", "migrate 200", "jwks 200", "authenticate 200", "revoke 200"} {
		assert.Contains(t, tree(a.spans.Ended()), "/v1/sessions/"+call)
	}
	all, err := json.Marshal(tracetest.SpanStubsFromReadOnlySpans(a.spans.Ended()))
	require.NoError(t, err)
	for _, secret := range secrets {
		require.Greater(t, len(secret), 10)
		assert.NotContains(t, string(all), secret)
	}
}

// Whatever the application tells the services that are its own.
func TestStytchIsToldOfNoTrace(t *testing.T) {
	own := otel.GetTextMapPropagator()
	otel.SetTextMapPropagator(propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}))
	t.Cleanup(func() { otel.SetTextMapPropagator(own) })
	a := newApp(t)
	r := httptest.NewRequest("GET", "https://app.example.com/home", nil)
	r.Header.Set("Cookie", "sid=ada-legacy-token")
	r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	r.Header.Set("Baggage", "person=ada")
	a.ServeHTTP(httptest.NewRecorder(), r)
	require.Len(t, a.stytch.Calls(), 1)
	header := a.stytch.Calls()[0].Header
	assert.Equal(t, []string{"Accept", "Accept-Encoding", "Content-Length", "Content-Type", "User-Agent"}, slices.Sorted(maps.Keys(header)))
	for _, s := range a.spans.Ended() {
		assert.Equal(t, "0af7651916cd43dd8448eb211c80319c", s.SpanContext().TraceID().String(), "%s is part of the trace", s.Name())
	}
}
