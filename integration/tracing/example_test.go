package tracing

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// Each call to Stytch is a span below that of the request that it is made for. Of
// requests that share a call, it is the one that began it; that may end earlier.
func Example_openTelemetry() {
	spans := tracetest.NewSpanRecorder() // an application has an exporter in its place
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	stytch := startStytch()
	defer stytch.Close()

	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID:  stytch.ProjectID,
		Secret:     stytchmigrate.Secret(stytch.Secret),
		BaseURL:    stytch.URL,
		HTTPClient: &http.Client{Transport: traced(provider)},
		Legacy:     []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: resolve}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /home", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) { _ = auth.Logout(w, r) })
	app := otelhttp.NewHandler(auth.Handler(mux), "page", otelhttp.WithTracerProvider(provider))

	stytch.Fail(stytchtest.Migrate, stytchtest.Error(503, "service_unavailable")) // once: each try is a span
	cookies := map[string]string{"sid": "ada-legacy-token"}
	for _, page := range []string{"GET /home", "GET /home", "POST /logout"} {
		spans.Reset()
		browse(app, page, cookies)
		fmt.Print(page, ":\n", tree(spans.Ended()))
	}
	// Output:
	// GET /home:
	//   GET /home 200
	//     POST /v1/sessions/migrate 503
	//     POST /v1/sessions/migrate 200
	// GET /home:
	//   GET /home 200
	// POST /logout:
	//   POST /logout 200
	//     POST /v1/sessions/revoke 200
}

// traced is the transport for the calls to Stytch.
func traced(provider trace.TracerProvider) *otelhttp.Transport {
	// A transport that the middleware is given is used as it is. Its own one
	// keeps as many connections as this; http.DefaultTransport keeps two.
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 32
	return otelhttp.NewTransport(base,
		otelhttp.WithTracerProvider(provider),
		// Stytch is somebody else's: ids of traces, and baggage, stay here.
		otelhttp.WithPropagators(propagation.NewCompositeTextMapPropagator()),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
			path, _, _ := strings.Cut(r.URL.Path, "/project-") // that of the key set ends with the project's id
			return r.Method + " " + path
		}))
}

func resolve(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	return stytchmigrate.LegacySession{ID: stytchmigrate.Secret(value), Token: stytchmigrate.Secret(value)}, nil
}

// startStytch starts a stand-in that takes any token for Ada's.
func startStytch() *stytchtest.Server {
	stytch, err := stytchtest.Start(stytchtest.Config{})
	if err != nil {
		panic(err)
	}
	stytch.AddUser(stytchtest.Person("ada@example.com"))
	stytch.SetUserInfo(func(context.Context, string) (string, error) { return "ada@example.com", nil })
	return stytch
}

// browse asks for a page, like "GET /home", as a browser with these cookies does.
func browse(app http.Handler, page string, cookies map[string]string) {
	method, path, _ := strings.Cut(page, " ")
	r, w := httptest.NewRequest(method, "https://app.example.com"+path, nil), httptest.NewRecorder()
	for name, value := range cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	app.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(cookies, c.Name)
		}
	}
}

// tree lists spans by their beginning, each below the one that it is part of.
func tree(spans []sdktrace.ReadOnlySpan) string {
	slices.SortStableFunc(spans, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	var b strings.Builder
	var list func(trace.SpanID, string)
	list = func(parent trace.SpanID, indent string) {
		for _, s := range spans {
			if s.Parent().SpanID() == parent {
				fmt.Fprintf(&b, "%s%s %s\n", indent, s.Name(), cmp.Or(status(s), "no answer"))
				list(s.SpanContext().SpanID(), indent+"  ")
			}
		}
	}
	list(trace.SpanID{}, "  ")
	return b.String()
}

func status(s sdktrace.ReadOnlySpan) string {
	for _, a := range s.Attributes() {
		if a.Key == "http.response.status_code" {
			return a.Value.String()
		}
	}
	return ""
}
