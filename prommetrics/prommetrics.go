// Package prommetrics counts the events of stytchmigrate, and its calls to Stytch,
// for Prometheus. It is a module of its own, so that only who uses it depends on
// Prometheus's client.
//
//	metrics := prommetrics.New(prometheus.DefaultRegisterer)
//	auth, err := stytchmigrate.New(stytchmigrate.Config{
//		OnEvent:    metrics.Observe,
//		HTTPClient: &http.Client{Transport: metrics.Transport(nil)},
//		…
//	})
//
// dashboard.json beside it is a dashboard for Grafana.
//
// The number of time series is bounded, whatever requests and answers hold: no
// label is anything but a word of a fixed list.
package prommetrics

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/stytchmigrate"
)

const (
	namespace = "stytchmigrate"
	outcomes  = int(stytchmigrate.OutcomeUnavailable) + 1
	other     = "other"
	mistake   = "mistake" // any of mistakes
)

// Metrics are the counters. Make them with [New]. They are safe for concurrent
// use.
type Metrics struct {
	// By outcome; the last: of a later version. Resolved beforehand: looking a
	// label up at each request costs more than counting.
	requests [outcomes + 1]prometheus.Counter
	took     [outcomes + 1]prometheus.Observer
	legacy   [outcomes + 1]prometheus.Counter

	lastLegacy prometheus.Gauge
	shadow     map[string]prometheus.Counter
	kinds      map[string]prometheus.Counter
	errors     map[string]prometheus.Counter
	causes     [outcomes]map[string]prometheus.Counter // nil: the outcome has none
	failing    map[string]prometheus.Gauge
	breakers   map[string]prometheus.Gauge
	calls      [len(callNames)]callMetrics
}

// The values that labels have, besides "other".
var (
	kinds = []string{
		"mismatch", "created", "conflict", "logout", "revocation", "jwks", "store", "brake", "breaker", "paused", "not_kept", "signin", "still_set", mistake,
	}

	// mistakes are the kinds that come once in a process. They are one series: the event
	// and the log say which it was.
	mistakes = []string{"wrong_cookie", "no_old_cookie", "comes_again", "plain_http", "unheard_logout"}

	// What Stytch answers to exchanges and session calls. "none" is for errors
	// without a type: no answer, or a rule of the middleware's.
	errorTypes = []string{
		"none", "bad_request", "email_not_found", "internal_server_error", "invalid_project_id_authentication",
		"invalid_secret_authentication", "invalid_session_token", "invalid_userinfo_url", "jwt_invalid_audience",
		"jwt_invalid_claims", "jwt_invalid_issuer", "migrate_from_external_email_does_not_exist",
		"migrate_from_external_missing_userinfo", "migrate_from_external_unexpected_response", "project_not_found",
		"server_unavailable", "session_not_found", "too_few_tokens_authenticated", "too_many_requests",
		"unable_to_parse_session_jwt", "unauthorized_credentials", "user_lock_limit_reached", "user_not_found",
	}

	causes = [outcomes][]string{
		stytchmigrate.OutcomeAuthenticated: {"memory", "verified", "asked"},
		stytchmigrate.OutcomeMigrated:      {"exchange", "record"},
		stytchmigrate.OutcomeLegacy:        {"observe", "shadow", "held_back", "until", "per_second", "in_flight"},
		stytchmigrate.OutcomeRefused:       {"logged_out", "identity", "another_person", "unverified", "stytch"},
		stytchmigrate.OutcomeUnavailable:   {"timed_out", "no_answer", "stytch", "held_back", "brake", "application"},
	}

	lanes  = []string{"exchange", "user", "session", "unvouched session"}
	states = map[string]float64{"closed": 0, "half_open": 1, "open": 2}

	parts = []string{"jwks", "store", "brake"} // events say when they fail, and when no longer
)

// buckets go from an answer of memory to the longest that a request waits.
var buckets = []float64{.00001, .0001, .001, .01, .05, .1, .25, .5, 1, 2.5, 5, 10}

// New registers the metrics with reg. It panics where metrics of these names are
// registered already, as two of them would count everything twice.
func New(reg prometheus.Registerer) *Metrics {
	requests := newCounter(reg, "requests_total", "Requests by what the middleware found out about them.", "outcome")
	legacy := newCounter(reg, "legacy_session_requests_total", "Requests that carried a legacy session, by outcome.", "outcome")
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "request_duration_seconds", Help: "How long the middleware took, without the handler.", Buckets: buckets,
	}, []string{"outcome"})
	m := &Metrics{
		lastLegacy: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: namespace, Name: "last_legacy_session_timestamp_seconds", Help: "When a legacy session was last seen; 0: not since the start.",
		}),
		shadow: resolve(newCounter(reg, "shadow_exchanges_total", "Legacy sessions that StageShadow tried out, by what they would have come to.", "outcome"),
			[]string{"migrated", "refused", "unavailable"}),
		kinds:    resolve(newCounter(reg, "events_total", "Events that deserve a look, logouts and sign-ins, by kind.", "kind"), kinds),
		errors:   resolve(newCounter(reg, "errors_total", "Requests with an error, by Stytch's error type; none: a rule, or no answer.", "error_type"), errorTypes),
		failing:  newGauges(reg, "failing", "Whether the key set, the store or the brake is in trouble: 1 from its event until that says that it recovered.", "kind", parts),
		breakers: newGauges(reg, "breaker_state", "Whether calls to Stytch are held back: 0 closed, 1 half-open, 2 open.", "calls", lanes),
		calls:    newCalls(reg),
	}
	reg.MustRegister(took, m.lastLegacy)
	for i := range m.requests {
		name := other
		if i < outcomes {
			name = stytchmigrate.Outcome(i).String()
		}
		m.requests[i], m.took[i], m.legacy[i] = requests.WithLabelValues(name), took.WithLabelValues(name), legacy.WithLabelValues(name)
	}
	why := newCounter(reg, "causes_total", "Requests by why their outcome is what it is; see Event.Cause.", "outcome", "cause")
	for o, words := range causes {
		if words != nil {
			m.causes[o] = resolve(why.MustCurryWith(prometheus.Labels{"outcome": stytchmigrate.Outcome(o).String()}), words)
		}
	}
	return m
}

func newCounter(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	reg.MustRegister(v)
	return v
}

func newGauges(reg prometheus.Registerer, name, help, label string, values []string) map[string]prometheus.Gauge {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, []string{label})
	reg.MustRegister(v)
	out := make(map[string]prometheus.Gauge)
	for _, value := range values {
		out[value] = v.WithLabelValues(value)
	}
	return out
}

// resolve makes all series there will be: they begin with 0, so that the first
// event of a kind is an increase.
func resolve(v *prometheus.CounterVec, values []string) map[string]prometheus.Counter {
	out := map[string]prometheus.Counter{"": v.WithLabelValues(other)}
	for _, value := range values {
		out[value] = v.WithLabelValues(value)
	}
	return out
}

// Observe counts an event. It is for Config.OnEvent, alone or called by a function
// that also does something else. It does not wait.
func (m *Metrics) Observe(_ context.Context, e stytchmigrate.Event) {
	switch e.Kind {
	case "request":
		m.request(&e)
		return
	case "shadow":
		count(m.shadow, e.Outcome.String())
		return
	}
	switch {
	case e.Cause == "recovered": // which deserves no look
	case slices.Contains(mistakes, e.Kind):
		count(m.kinds, mistake)
	default:
		count(m.kinds, e.Kind)
	}
	if gauge := m.failing[e.Kind]; gauge != nil {
		switch e.Cause {
		case "failed":
			gauge.Set(1)
		case "recovered":
			gauge.Set(0)
		}
	}
	if e.Kind == "breaker" {
		state, known := states[e.Cause]
		if gauge := m.breakers[e.Calls]; gauge != nil && known {
			gauge.Set(state)
		}
	}
}

func (m *Metrics) request(e *stytchmigrate.Event) {
	i := outcomes
	if e.Outcome >= 0 && int(e.Outcome) < outcomes {
		i = int(e.Outcome)
	}
	m.requests[i].Inc()
	m.took[i].Observe(e.Duration.Seconds())
	if i < outcomes && m.causes[i] != nil && e.Cause != "" {
		count(m.causes[i], e.Cause)
	}
	if e.Fingerprint != "" {
		m.legacy[i].Inc()
		m.lastLegacy.Set(float64(time.Now().UnixMilli()) / 1000)
	}
	switch {
	case e.ErrorType != "":
		count(m.errors, e.ErrorType)
	case e.Err != nil:
		count(m.errors, "none")
	}
}

// count adds to "other" what is not in the list.
func count(by map[string]prometheus.Counter, value string) {
	c, ok := by[value]
	if !ok {
		c = by[""]
	}
	c.Inc()
}
