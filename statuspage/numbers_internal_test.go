package statuspage

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestNumbersForPeople(t *testing.T) {
	v := new(view)
	for n, want := range map[uint64][3]string{ // beside the chart, in the table, and where the chart ends
		0:           {"0", "0", "1"},
		1:           {"1", "1", "1"},
		3:           {"3", "3", "4"},
		5:           {"5", "5", "6"},
		9:           {"9", "9", "10"},
		10:          {"10", "10", "10"},
		11:          {"11", "11", "20"},
		999:         {"999", "999", "1000"},
		1000:        {"1000", "1\u202f000", "1000"},
		9999:        {"9999", "9\u202f999", "10000"},
		10_000:      {"10k", "10\u202f000", "10000"},
		999_999:     {"999k", "999\u202f999", "1000000"},
		1_000_000:   {"1M", "1\u202f000\u202f000", "1000000"},
		999_999_999: {"999M", "999\u202f999\u202f999", "1000000000"},
		2e9:         {"2G", "2\u202f000\u202f000\u202f000", "2000000000"},
		// There are no more than that, but the page must come to its end.
		math.MaxUint64: {"18446744073G", "18\u202f446\u202f744\u202f073\u202f709\u202f551\u202f615", "1000000000000000000"},
	} {
		got := [3]string{short(n), v.Count(n), number(float64(ceiling(n)))}
		assert.Equal(t, want, got, n)
	}
}

func TestTimesForPeople(t *testing.T) {
	now := time.Date(2030, 1, 31, 18, 0, 0, 0, time.FixedZone("", 3600))
	for d, want := range map[time.Duration]string{
		-time.Hour:               "just now", // of a clock that was set back
		0:                        "just now",
		time.Second - 1:          "just now",
		time.Second:              "1 second ago",
		2 * time.Second:          "2 seconds ago",
		time.Minute - 1:          "59 seconds ago",
		time.Minute:              "1 minute ago",
		2*time.Hour - 1:          "1 hour ago",
		23*time.Hour + 3599*1e9:  "23 hours ago",
		24 * time.Hour:           "1 day ago",
		14*24*time.Hour - 1:      "13 days ago",
		400 * 24 * time.Hour:     "400 days ago",
		time.Duration(1<<63 - 1): "106751 days ago",
	} {
		assert.Equal(t, want, ago(now, now.Add(-d)), d)
	}
	assert.Equal(t, "never", ago(now, time.Time{}))
	assert.Equal(t, "less than a second", span(time.Second-1))

	v := &view{status: &status{At: now}}
	assert.Equal(t, moment{}, v.Moment(time.Time{}))
	assert.Equal(t, moment{"2030-01-31T17:00:00Z", "2030-01-31 17:00:00", "just now"}, v.Moment(now))
	assert.Equal(t, moment{"2030-01-31T17:01:30Z", "2030-01-31 17:01:30", "in 1 minute"}, v.Moment(now.Add(90*time.Second)))
}
