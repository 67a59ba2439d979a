package prommetrics_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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
		observe(m, request(stytchmigrate.OutcomeAnonymous), legacy, legacy, unanswered, unheard, request(17), request(-1),
			stytchmigrate.Event{Kind: "created"}, stytchmigrate.Event{Kind: "unheard of"}, stytchmigrate.Event{Kind: ""},
			stytchmigrate.Event{Kind: "shadow", Outcome: stytchmigrate.OutcomeMigrated}, stytchmigrate.Event{Kind: "shadow", Outcome: 17})
		assert.Equal(t, map[string]float64{
			"requests_total anonymous": 1, "requests_total refused": 2, "requests_total unavailable": 2, "requests_total other": 2,
			"request_duration_seconds anonymous": 1, "request_duration_seconds refused": 2, "request_duration_seconds unavailable": 2, "request_duration_seconds other": 2,
			"legacy_session_requests_total refused": 2, "last_legacy_session_timestamp_seconds": float64(time.Now().Unix()),
			"errors_total session_not_found": 2, "errors_total none": 1, "errors_total other": 1,
			"events_total created": 1, "events_total other": 2,
			"shadow_exchanges_total migrated": 1, "shadow_exchanges_total other": 1,
		}, series(t, reg))
	})
}

// Each word is told apart only of the outcome that it belongs to.
func TestCauses(t *testing.T) {
	reg, m := newMetrics()
	because := func(o stytchmigrate.Outcome, cause string) stytchmigrate.Event {
		e := request(o)
		e.Cause = cause
		return e
	}
	observe(m, because(stytchmigrate.OutcomeAuthenticated, "memory"), because(stytchmigrate.OutcomeAuthenticated, "memory"),
		because(stytchmigrate.OutcomeAuthenticated, "asked"), because(stytchmigrate.OutcomeLegacy, "held_back"),
		because(stytchmigrate.OutcomeUnavailable, "held_back"), because(stytchmigrate.OutcomeUnavailable, "memory"),
		because(stytchmigrate.OutcomeMigrated, "unheard of"), because(stytchmigrate.OutcomeMigrated, "record"),
		because(stytchmigrate.OutcomeRefused, ""), because(stytchmigrate.OutcomeAnonymous, "memory"), because(17, "memory"))
	got := series(t, reg)
	maps.DeleteFunc(got, func(name string, _ float64) bool { return !strings.HasPrefix(name, "causes_total ") })
	assert.Equal(t, map[string]float64{
		"causes_total memory authenticated": 2, "causes_total asked authenticated": 1,
		"causes_total held_back legacy": 1, "causes_total held_back unavailable": 1,
		"causes_total other unavailable": 1, "causes_total other migrated": 1, "causes_total record migrated": 1,
	}, got)
}

// Event promises the words of its comment, and these are counted.
func TestCausesAreThoseOfEvent(t *testing.T) {
	source, err := os.ReadFile("../event.go")
	require.NoError(t, err)
	promised := map[string]string{}
	for _, m := range regexp.MustCompile(`(?s)//   - of (\w+): (.*?)\n\t//(?:   -|\n)`).FindAllSubmatch(bytes.ReplaceAll(source, []byte("\n\t//   -"), []byte("\n\t//\n\t//   -")), -1) {
		promised[string(m[1])] = string(m[2])
	}
	reg, _ := newMetrics()
	families, err := reg.Gather()
	require.NoError(t, err)
	n := 0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); f.GetName() == "stytchmigrate_causes_total" && l[0].GetValue() != "other" {
				assert.Regexp(t, `\b`+l[0].GetValue()+`\b`, promised[l[1].GetValue()])
				n++
			}
		}
	}
	assert.Equal(t, 22, n)
}

// What is over is no event that deserves a look.
func TestFailing(t *testing.T) {
	reg, m := newMetrics()
	observe(m, stytchmigrate.Event{Kind: "jwks", Cause: "failed"}, stytchmigrate.Event{Kind: "jwks", Cause: "recovered"},
		stytchmigrate.Event{Kind: "store", Cause: "failed"}, stytchmigrate.Event{Kind: "store", Cause: "failed"},
		stytchmigrate.Event{Kind: "brake", Cause: "unheard of"}, stytchmigrate.Event{Kind: "created", Cause: "failed"})
	assert.Equal(t, map[string]float64{
		"events_total jwks": 1, "events_total store": 2, "events_total brake": 1, "events_total created": 1, "failing store": 1,
	}, series(t, reg))
}

func TestBreakers(t *testing.T) {
	reg, m := newMetrics()
	breaker := func(calls, cause string) stytchmigrate.Event {
		return stytchmigrate.Event{Kind: "breaker", Calls: calls, Cause: cause}
	}
	observe(m, breaker("exchange", "open"), breaker("user", "open"), breaker("user", "closed"), breaker("unvouched session", "half_open"),
		breaker("session", "on fire"), breaker("nobody", "open"), breaker("", ""), stytchmigrate.Event{Kind: "paused", Calls: "session", Cause: "open"})
	assert.Equal(t, map[string]float64{
		"breaker_state exchange": 2, "breaker_state unvouched session": 1, "events_total breaker": 7, "events_total paused": 1,
	}, series(t, reg))
}

func TestConventions(t *testing.T) {
	reg, _ := newMetrics()
	problems, err := testutil.GatherAndLint(reg)
	require.NoError(t, err)
	assert.Empty(t, problems)
}

// What comes once in a process is one series.
func TestMistakes(t *testing.T) {
	reg, m := newMetrics()
	for _, kind := range []string{"wrong_cookie", "no_old_cookie", "comes_again", "plain_http", "unheard_logout", "still_set"} {
		observe(m, stytchmigrate.Event{Kind: kind})
	}
	assert.Equal(t, map[string]float64{"events_total mistake": 5, "events_total still_set": 1}, series(t, reg))
}

// All series are there from the start, and none is added by what comes.
func TestSeriesAreBounded(t *testing.T) {
	reg, m := newMetrics()
	before, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	for i := range 5000 {
		odd := fmt.Sprint("odd\xff\n", i)
		e := stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.Outcome(i - 2500), ErrorType: odd, RequestID: odd, UserID: odd, Subject: odd, Fingerprint: odd, Cause: odd}
		observe(m, e, stytchmigrate.Event{Kind: odd}, stytchmigrate.Event{Kind: "breaker", Calls: odd, Cause: "open"})
	}
	after, err := testutil.GatherAndCount(reg)
	require.NoError(t, err)
	assert.Equal(t, before, after)
	assert.Less(t, after, 150)
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
	e.Fingerprint, e.ErrorType, e.Cause = "a", "too_many_requests", "stytch"
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
