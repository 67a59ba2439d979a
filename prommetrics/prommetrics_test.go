package prommetrics_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/prommetrics"
)

func newMetrics() (*prometheus.Registry, *prommetrics.Metrics) {
	reg := prometheus.NewRegistry()
	return reg, prommetrics.New(reg)
}

func observe(m *prommetrics.Metrics, events ...stytchmigrate.Event) {
	for _, e := range events {
		m.Observe(context.Background(), e)
	}
}

func request(o stytchmigrate.Outcome) stytchmigrate.Event {
	return stytchmigrate.Event{Kind: "request", Outcome: o, Duration: 20 * time.Millisecond}
}

// series returns the values that are not 0, of counters and gauges, and of
// histograms how many were observed.
func series(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if v != 0 {
				out[strings.TrimPrefix(name, "stytchmigrate_")] = v
			}
		}
	}
	return out
}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg, m := newMetrics()
		legacy := request(stytchmigrate.OutcomeRefused)
		legacy.Fingerprint, legacy.ErrorType, legacy.Err = "a", "session_not_found", errors.New("x")
		unanswered := request(stytchmigrate.OutcomeUnavailable)
		unanswered.Err = errors.New("x")
		unheard := request(stytchmigrate.OutcomeUnavailable)
		unheard.ErrorType = "unheard_of"
		breaker := func(text string) stytchmigrate.Event {
			return stytchmigrate.Event{Kind: "breaker", Err: errors.New("stytchmigrate: " + text)}
		}
		observe(m, request(stytchmigrate.OutcomeAnonymous), legacy, legacy, unanswered, unheard, request(17), request(-1),
			stytchmigrate.Event{Kind: "created"}, stytchmigrate.Event{Kind: "unheard of"}, stytchmigrate.Event{Kind: ""},
			breaker("exchange: breaker open"), breaker("user: breaker open"), breaker("user: breaker closed"),
			breaker("unvouched session: breaker half-open"), breaker("session: on fire"), breaker("nobody: breaker open"),
			stytchmigrate.Event{Kind: "breaker"})
		assert.Equal(t, map[string]float64{
			"requests_total anonymous": 1, "requests_total refused": 2, "requests_total unavailable": 2, "requests_total other": 2,
			"request_duration_seconds anonymous": 1, "request_duration_seconds refused": 2, "request_duration_seconds unavailable": 2, "request_duration_seconds other": 2,
			"legacy_session_requests_total refused": 2, "last_legacy_session_timestamp_seconds": float64(time.Now().Unix()),
			"errors_total session_not_found": 2, "errors_total none": 1, "errors_total other": 1,
			"events_total created": 1, "events_total other": 2, "events_total breaker": 7,
			"breaker_state exchange": 2, "breaker_state unvouched session": 1,
		}, series(t, reg))
	})
}

func TestConventions(t *testing.T) {
	reg, _ := newMetrics()
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	assert.Empty(t, problems)
}

// All series are there from the start, and none is added by what comes.
func TestSeriesAreBounded(t *testing.T) {
	reg, m := newMetrics()
	before, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	for i := range 5000 {
		odd := fmt.Sprint("odd\xff\n", i)
		e := stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.Outcome(i - 2500), ErrorType: odd, RequestID: odd, UserID: odd, Subject: odd, Fingerprint: odd}
		observe(m, e, stytchmigrate.Event{Kind: odd}, stytchmigrate.Event{Kind: "breaker", Err: errors.New("stytchmigrate: " + odd + ": breaker open")})
	}
	after, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	assert.Equal(t, before, after)
	assert.Less(t, after, 120)
}

func TestTwiceIsAMistake(t *testing.T) {
	reg, _ := newMetrics()
	assert.Panics(t, func() { prommetrics.New(reg) })
}

// What the dashboard asks for is there.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var board struct {
		Panels []struct{ Targets []struct{ Expr string } }
	}
	require.NoError(t, json.Unmarshal(text, &board))
	reg, _ := newMetrics()
	families, err := reg.Gather()
	require.NoError(t, err)
	labels, shown := map[string]string{}, map[string]bool{}
	for _, f := range families {
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels[f.GetName()] += l.GetName() + " "
		}
		labels[f.GetName()] += "le job"
	}
	name, by := regexp.MustCompile(`stytchmigrate_\w+`), regexp.MustCompile(`by \(([\w, ]+)\)`)
	for _, found := range name.FindAllString(string(text), -1) {
		assert.Contains(t, labels, strings.TrimSuffix(found, "_bucket"))
		shown[strings.TrimSuffix(found, "_bucket")] = true
	}
	assert.Len(t, shown, len(labels), "each is on it")
	for _, p := range board.Panels {
		require.NotEmpty(t, p.Targets)
		for _, target := range p.Targets {
			for _, m := range by.FindAllStringSubmatch(target.Expr, -1) {
				for label := range strings.SplitSeq(m[1], ", ") {
					assert.Contains(t, labels[strings.TrimSuffix(name.FindString(target.Expr), "_bucket")], label, target.Expr)
				}
			}
		}
	}
}

func TestObserveAllocatesNothing(t *testing.T) {
	_, m := newMetrics()
	e := request(stytchmigrate.OutcomeUnavailable)
	e.Fingerprint, e.ErrorType = "a", "too_many_requests"
	assert.Zero(t, testing.AllocsPerRun(1000, func() { m.Observe(context.Background(), e) }))
}

func BenchmarkObserve(b *testing.B) {
	failed := request(stytchmigrate.OutcomeUnavailable)
	failed.Fingerprint, failed.ErrorType = "a", "too_many_requests"
	for name, e := range map[string]stytchmigrate.Event{"authenticated": request(stytchmigrate.OutcomeAuthenticated), "unavailable": failed} {
		_, m := newMetrics()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Observe(context.Background(), e)
			}
		})
	}
}
