package prommetrics

import (
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The calls of Stytch's API, and what came of them, as indices of the names.
const (
	callMigrate = iota
	callAuthenticate
	callRevoke
	callCreateUser
	callJWKS
	callOther
)

const (
	result2xx = iota
	result3xx
	result4xx
	result429 // not among 4xx: it is Stytch's answer to too many calls
	result5xx
	resultNone
	resultOther
)

var (
	callNames   = [...]string{"migrate", "authenticate", "revoke", "create_user", "jwks", other}
	resultNames = [...]string{"2xx", "3xx", "4xx", "429", "5xx", "no answer", other}

	// callBuckets go up to where even those who do not wait any more are answered.
	callBuckets = []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15}
)

// callMetrics are those of one kind of call.
type callMetrics struct {
	results [len(resultNames)]prometheus.Counter
	took    prometheus.Observer
}

func newCalls(reg prometheus.Registerer) (out [len(callNames)]callMetrics) {
	results := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "api_calls_total",
		Help: "Calls sent to Stytch through Metrics.Transport, each try, by result; no answer: also one given up.",
	}, []string{"call", "result"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "api_call_duration_seconds", Help: "How long such a call took, until the header of its answer.", Buckets: callBuckets,
	}, []string{"call"})
	reg.MustRegister(results, took)
	for c, call := range callNames {
		out[c].took = took.WithLabelValues(call)
		for r, result := range resultNames {
			out[c].results[r] = results.WithLabelValues(call, result)
		}
	}
	return out
}

// Transport returns a transport that counts the calls that are sent through base.
// It is for Config.HTTPClient:
//
//	HTTPClient: &http.Client{Transport: metrics.Transport(nil)},
//
// Each try counts, so one more than the call where it was sent again. What is held
// back, by a breaker or for want of room, is not sent. The calls of Check count too;
// that of the UserInfo URL is "other".
//
// With a nil base calls go through a copy of [http.DefaultTransport] that keeps as
// many idle connections as the middleware's own. A base of yours is used as it is:
// set its MaxIdleConnsPerHost, which is 2 by default, to 32 or so. Tracing may be
// around this transport or within it.
func (m *Metrics) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
		if t, ok := base.(*http.Transport); ok {
			t = t.Clone()
			t.MaxIdleConnsPerHost = 32
			t.MaxResponseHeaderBytes = 64 << 10
			base = t
		}
	}
	return &transport{base, &m.calls}
}

type transport struct {
	base  http.RoundTripper
	calls *[len(callNames)]callMetrics
}

// RoundTrip counts in a defer: base may be anybody's, and panic.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	start, result := time.Now(), resultNone
	c := &t.calls[callOf(r)]
	defer func() {
		c.results[result].Inc()
		c.took.Observe(time.Since(start).Seconds())
	}()
	resp, err := t.base.RoundTrip(r)
	if err == nil && resp != nil {
		result = resultOf(resp.StatusCode)
	}
	return resp, err
}

// callOf looks at the path's end: Config.BaseURL may have a path of its own.
func callOf(r *http.Request) int {
	path := r.URL.Path
	switch {
	case r.Method == http.MethodGet && strings.Contains(path, "/v1/sessions/jwks/"):
		return callJWKS
	case r.Method != http.MethodPost:
		return callOther
	case strings.HasSuffix(path, "/v1/sessions/migrate"):
		return callMigrate
	case strings.HasSuffix(path, "/v1/sessions/authenticate"):
		return callAuthenticate
	case strings.HasSuffix(path, "/v1/sessions/revoke"):
		return callRevoke
	case strings.HasSuffix(path, "/v1/users"):
		return callCreateUser
	}
	return callOther
}

func resultOf(status int) int {
	if status == http.StatusTooManyRequests {
		return result429
	}
	switch status / 100 {
	case 2:
		return result2xx
	case 3:
		return result3xx
	case 4:
		return result4xx
	case 5:
		return result5xx
	}
	return resultOther
}
