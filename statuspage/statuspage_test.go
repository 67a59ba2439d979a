package statuspage_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// told is the page as a program reads it.
type told struct {
	Removal struct {
		Safe    bool
		Reasons []struct {
			Holds bool
			Text  string
		}
	}
	Stages   []stage
	Sessions struct {
		ToMove                               uint64 `json:"to_move"`
		Seen, Migrated, Refused, Unavailable uint64
		Left                                 uint64  `json:"left_alone"`
		ErrorPercent                         float64 `json:"error_percent"`
	} `json:"legacy_sessions"`
	LastLegacy time.Time `json:"last_legacy_session"`
	Requests   map[string]uint64
	Hours      []struct {
		From                     time.Time
		Seen, Migrated, Requests uint64
	}
	Failures []struct {
		Type  string `json:"error_type"`
		Count uint64
		Last  time.Time
		IDs   []string `json:"request_ids"`
	}
	Held []struct {
		Calls, Breaker string
		PausedUntil    time.Time `json:"paused_until"`
	} `json:"held_back"`
	Kinds []struct {
		Kind      string
		Count     uint64
		Recovered time.Time
		Failing   bool
	} `json:"events"`
}

type stage struct {
	Stage          string
	Seen, Migrated uint64
	Left           uint64 `json:"left_alone"`
	Refused        uint64
}

func get(h http.Handler, target string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func read(t *testing.T, page *statuspage.Page) told {
	t.Helper()
	w := get(page, "/ops?format=json")
	require.Equal(t, http.StatusOK, w.Code)
	var out told
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out), w.Body.String())
	return out
}

// request is the event of a request with a legacy session, or without where it
// is empty.
func request(o stytchmigrate.Outcome, fingerprint string) stytchmigrate.Event {
	return stytchmigrate.Event{Kind: "request", Outcome: o, Fingerprint: fingerprint}
}

func observe(page *statuspage.Page, events ...stytchmigrate.Event) {
	for _, e := range events {
		page.Observe(context.Background(), e)
	}
}

func TestLegacySessionsAreCountedOnce(t *testing.T) {
	page := statuspage.NewApart(statuspage.Options{})
	for range 3 {
		observe(page,
			request(stytchmigrate.OutcomeMigrated, "a"), request(stytchmigrate.OutcomeMigrated, "b"),
			request(stytchmigrate.OutcomeRefused, "c"), request(stytchmigrate.OutcomeLegacy, "d"),
			request(stytchmigrate.OutcomeUnavailable, "e"), request(stytchmigrate.OutcomeMigrated, "e"),
			request(stytchmigrate.OutcomeAuthenticated, "f"), request(stytchmigrate.OutcomeAuthenticated, ""),
			request(stytchmigrate.OutcomeAnonymous, ""), request(stytchmigrate.Outcome(17), "g"), request(stytchmigrate.Outcome(-1), "g"))
	}
	got := read(t, page)
	assert.EqualValues(t, 6, got.Sessions.Seen)
	assert.EqualValues(t, 3, got.Sessions.Migrated)
	assert.EqualValues(t, 1, got.Sessions.Refused)
	assert.EqualValues(t, 1, got.Sessions.Left)
	assert.EqualValues(t, 1, got.Sessions.Unavailable)
	assert.Equal(t, map[string]uint64{"anonymous": 3, "authenticated": 6, "migrated": 9, "legacy": 3, "refused": 3, "unavailable": 3}, got.Requests)
	assert.Equal(t, 1.6, got.Sessions.ErrorPercent)
}

func TestManySessionsAreEstimated(t *testing.T) {
	page := statuspage.New(statuspage.Options{})
	for i := range 100_000 {
		observe(page, request(stytchmigrate.OutcomeMigrated, fmt.Sprintf("%016x", i)))
	}
	assert.InEpsilon(t, 100_000, read(t, page).Sessions.Seen, 0.1) // six standard errors
}

func TestHoursOfTheDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.NewApart(statuspage.Options{})
		observe(page, request(stytchmigrate.OutcomeMigrated, "a"))
		time.Sleep(90 * time.Minute)
		observe(page, request(stytchmigrate.OutcomeMigrated, "a"), request(stytchmigrate.OutcomeMigrated, "b"), request(stytchmigrate.OutcomeAnonymous, ""))
		last := time.Now().UTC()

		hours := read(t, page).Hours
		require.Len(t, hours, 24)
		assert.Equal(t, last.Truncate(time.Hour), hours[23].From)
		assert.Equal(t, []uint64{2, 2, 3}, []uint64{hours[23].Seen, hours[23].Migrated, hours[23].Requests})
		assert.Equal(t, []uint64{1, 1, 1}, []uint64{hours[22].Seen, hours[22].Migrated, hours[22].Requests})
		assert.Zero(t, hours[0].Requests)

		time.Sleep(23 * time.Hour)
		hours = read(t, page).Hours
		assert.EqualValues(t, 2, hours[0].Seen, "the oldest that is shown")
		time.Sleep(time.Hour)
		for _, h := range read(t, page).Hours {
			assert.Zero(t, h.Requests, "a day is over, though nothing came since")
		}
		observe(page, request(stytchmigrate.OutcomeMigrated, "c"))
		assert.EqualValues(t, 1, read(t, page).Hours[23].Seen, "in the place of an hour of the day before")
		assert.Equal(t, time.Now().UTC(), read(t, page).LastLegacy)
	})
}

func TestFailures(t *testing.T) {
	page := statuspage.New(statuspage.Options{})
	failed := func(o stytchmigrate.Outcome, cause, errorType, id string, err error) stytchmigrate.Event {
		return stytchmigrate.Event{Kind: "request", Outcome: o, Cause: cause, ErrorType: errorType, RequestID: id, Err: err}
	}
	for i := range 7 {
		observe(page, failed(stytchmigrate.OutcomeUnavailable, "stytch", "too_many_requests", fmt.Sprintf("request-id-test-%d", i), errors.New("x")))
	}
	observe(page,
		failed(stytchmigrate.OutcomeRefused, "identity", "", "", errors.New("stytchmigrate: no verified email")),
		failed(stytchmigrate.OutcomeUnavailable, "no_answer", "", "", errors.New("ada@example.com: connection refused")),
		failed(stytchmigrate.OutcomeUnavailable, "of_tomorrow", "", "", errors.New("x")),
		failed(stytchmigrate.OutcomeLegacy, "in_flight", "", "", errors.New("no room")), failed(stytchmigrate.OutcomeLegacy, "observe", "", "", nil),
		failed(stytchmigrate.OutcomeRefused, "stytch", "ada@example.com", "<script>", nil))
	got := map[string][]string{}
	for _, f := range read(t, page).Failures {
		got[fmt.Sprintf("%d %s", f.Count, f.Type)] = f.IDs
	}
	assert.Equal(t, map[string][]string{
		"7 too_many_requests":                {"request-id-test-6", "request-id-test-5", "request-id-test-4", "request-id-test-3", "request-id-test-2"},
		"1 (nobody verified who it is)":      {},
		"1 (no answer that can be used)":     {},
		"1 (of a later version)":             {},
		"1 (left alone: no place in flight)": {},
		"1 (not a word)":                     {},
	}, got)
	assert.NotContains(t, get(page, "/").Body.String(), "example.com")
}

func TestWhatIsHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.New(statuspage.Options{})
		breaker := func(calls, state string) stytchmigrate.Event {
			return stytchmigrate.Event{Kind: "breaker", Calls: calls, Cause: state}
		}
		state := func() (out []string) {
			for _, h := range read(t, page).Held {
				out = append(out, fmt.Sprintf("%s %s %t", h.Calls, h.Breaker, !h.PausedUntil.IsZero()))
			}
			return out
		}
		assert.Empty(t, state())
		observe(page, breaker("unvouched session", "open"), breaker("exchange", "half_open"),
			stytchmigrate.Event{Kind: "paused", Calls: "exchange", Duration: time.Minute},
			breaker("", "open"), breaker("ada@example.com", "open"), breaker("user", "on fire"), breaker("session", ""))
		assert.Equal(t, []string{"exchange half-open true", "unvouched session open false"}, state())
		time.Sleep(time.Minute)
		observe(page, breaker("unvouched session", "closed"), breaker("unvouched session", "on fire"))
		assert.Equal(t, []string{"exchange half-open false", "unvouched session closed false"}, state())
	})
}

func TestKindsAreCounted(t *testing.T) {
	page := statuspage.New(statuspage.Options{})
	for i, kind := range []string{"created", "mismatch", "conflict", "logout", "jwks", "store", "brake", "revocation", "not_kept", "wrong_cookie", "no_old_cookie", "comes_again", "plain_http", "signin", "still_set", "unheard_logout", "new", "newer"} {
		for range i + 1 {
			observe(page, stytchmigrate.Event{Kind: kind, Fingerprint: "a"})
		}
	}
	got := map[string]uint64{}
	for _, k := range read(t, page).Kinds {
		got[k.Kind] = k.Count
	}
	assert.Equal(t, map[string]uint64{"created": 1, "mismatch": 2, "conflict": 3, "logout": 4, "jwks": 5, "store": 6, "brake": 7, "revocation": 8, "not_kept": 9, "wrong_cookie": 10, "no_old_cookie": 11, "comes_again": 12, "plain_http": 13, "signin": 14, "still_set": 15, "unheard_logout": 16, "other": 35}, got)
	assert.Zero(t, read(t, page).Sessions.Seen, "the event of the request counts its session")
}

// Whatever comes, memory and page stay as they are.
func TestNothingGrows(t *testing.T) {
	page := statuspage.New(statuspage.Options{})
	long := strings.Repeat("x", 1<<16)
	flood := func(n int) {
		for i := range n {
			observe(page,
				stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeRefused, Fingerprint: fmt.Sprint(i), ErrorType: fmt.Sprintf("type_%d", i), RequestID: fmt.Sprint("id", i)},
				stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeRefused, ErrorType: long[:len(long)-i], RequestID: long, Fingerprint: long},
				stytchmigrate.Event{Kind: fmt.Sprint("kind", i)},
				stytchmigrate.Event{Kind: "breaker", Calls: "lane" + strings.Repeat("y", i%60), Cause: "open"})
		}
	}
	flood(1000)
	before, size := heap(), len(get(page, "/").Body.String())
	flood(20_000)
	after := heap()
	assert.Less(t, after, before+1<<20)
	runtime.KeepAlive(page)

	got := read(t, page)
	assert.Len(t, got.Held, 8)
	require.Len(t, got.Failures, 33)
	assert.Contains(t, []string{got.Failures[0].Type, got.Failures[1].Type}, "type_19999", "the latest is there")
	assert.Equal(t, "(others, longer ago)", got.Failures[32].Type)
	total := uint64(0)
	for _, f := range got.Failures {
		total += f.Count
	}
	assert.EqualValues(t, 42_000, total, "and none is lost")
	assert.Less(t, len(get(page, "/").Body.String()), size+10_000)
}

// A word of an answer does not keep the answer in memory.
func TestNothingIsHeldOnTo(t *testing.T) {
	page, before := statuspage.New(statuspage.Options{}), heap()
	for i := range 16 {
		answer := strings.Repeat("x", 1<<20)
		observe(page, stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeRefused, ErrorType: answer[:i+1]})
		answer = strings.Repeat("x", 1<<20)
		observe(page, stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeRefused, ErrorType: "one", RequestID: answer[:i%5+1]})
		answer = strings.Repeat("x", 1<<20)
		observe(page, stytchmigrate.Event{Kind: "breaker", Cause: "open", Calls: answer[:i%8+1]})
	}
	assert.Less(t, heap(), before+1<<20)
	runtime.KeepAlive(page)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkObserve(b *testing.B) {
	for _, tt := range []struct {
		name  string
		event stytchmigrate.Event
	}{
		{"anonymous", request(stytchmigrate.OutcomeAnonymous, "")},
		{"migrated", request(stytchmigrate.OutcomeMigrated, "0123456789abcdef")},
		{"unavailable", stytchmigrate.Event{Kind: "request", Outcome: stytchmigrate.OutcomeUnavailable, Fingerprint: "0123456789abcdef",
			ErrorType: "too_many_requests", RequestID: "request-id-test-11111111-1111-4111-8111-111111111111", Err: context.DeadlineExceeded}},
	} {
		page := statuspage.New(statuspage.Options{})
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				page.Observe(context.Background(), tt.event)
			}
		})
		b.Run(tt.name+"/parallel", func(b *testing.B) {
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					page.Observe(context.Background(), tt.event)
				}
			})
		})
	}
}

// What a request costs is counted too, where it does not depend on the machine.
func TestObserveAllocates(t *testing.T) {
	page, i := statuspage.New(statuspage.Options{}), 0
	ids := []string{"request-id-test-1", "request-id-test-2"}
	for limit, e := range map[float64]stytchmigrate.Event{
		0: request(stytchmigrate.OutcomeMigrated, "a"),
		1: {Kind: "request", Outcome: stytchmigrate.OutcomeUnavailable, ErrorType: "too_many_requests"},
	} {
		assert.LessOrEqual(t, testing.AllocsPerRun(1000, func() {
			i++
			if e.ErrorType != "" {
				e.RequestID = ids[i%2]
			}
			page.Observe(context.Background(), e)
		}), limit, e.Outcome)
	}
}
