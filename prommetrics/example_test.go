package prommetrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/prommetrics"
)

func Example() {
	reg := prometheus.NewRegistry()
	metrics := prommetrics.New(reg)
	auth, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID:  "project-test-11111111-1111-4111-8111-111111111111",
		Secret:     "secret-test-11111111111",
		OnEvent:    metrics.Observe,
		HTTPClient: &http.Client{Transport: metrics.Transport(nil)},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.Handle("/", auth.Handler(http.NotFoundHandler()))

	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	page := httptest.NewRecorder()
	mux.ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(page.Body.String()) {
		if strings.HasPrefix(line, `stytchmigrate_requests_total{outcome="an`) {
			fmt.Print(line)
		}
	}
	// Output: stytchmigrate_requests_total{outcome="anonymous"} 1
}
