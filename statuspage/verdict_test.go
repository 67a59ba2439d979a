package statuspage_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

const week = 7 * 24 * time.Hour

func TestSafeToRemove(t *testing.T) {
	anonymous, authenticated := request(stytchmigrate.OutcomeAnonymous, ""), request(stytchmigrate.OutcomeAuthenticated, "")
	for _, tt := range []struct {
		name  string
		first []stytchmigrate.Event // when the process starts
		wait  time.Duration
		last  []stytchmigrate.Event
		wrong []int // the reasons that do not hold
	}{
		{"everybody has moved", []stytchmigrate.Event{request(stytchmigrate.OutcomeMigrated, "a")}, week, []stytchmigrate.Event{authenticated}, nil},
		{"nobody ever came with one", nil, week, []stytchmigrate.Event{anonymous}, nil},
		{"a second too early", []stytchmigrate.Event{request(stytchmigrate.OutcomeRefused, "a")}, week - time.Second, []stytchmigrate.Event{authenticated}, []int{0, 2, 3}},
		{"a page that is not fed", nil, 2 * week, nil, []int{1}},
		{"a page that is fed no more", []stytchmigrate.Event{authenticated}, week, nil, []int{1}},
		{"one moved just now, after a refusal", []stytchmigrate.Event{request(stytchmigrate.OutcomeRefused, "a")}, week, []stytchmigrate.Event{request(stytchmigrate.OutcomeMigrated, "b")}, []int{2}},
		{"one moved just now", nil, week, []stytchmigrate.Event{request(stytchmigrate.OutcomeMigrated, "a")}, []int{2}},
		{"one beside a Stytch session", nil, week, []stytchmigrate.Event{request(stytchmigrate.OutcomeAuthenticated, "a")}, []int{2}},
		{"one was left alone", nil, week, []stytchmigrate.Event{request(stytchmigrate.OutcomeLegacy, "a")}, []int{2, 3}},
		{"one was refused", nil, week, []stytchmigrate.Event{request(stytchmigrate.OutcomeRefused, "a")}, []int{2, 3}},
		{"one could not be told", nil, week, []stytchmigrate.Event{request(stytchmigrate.OutcomeUnavailable, "a")}, []int{2, 3}},
		{"of one nobody knows", nil, week, []stytchmigrate.Event{request(stytchmigrate.OutcomeUnavailable, "")}, []int{4}},
		{"whose old cookie can't be told", nil, week, []stytchmigrate.Event{caused("application")}, []int{4}},
		{"of rubbish Stytch cookies", nil, week, []stytchmigrate.Event{caused("held_back"), caused("stytch"), caused("no_answer"), caused("timed_out"), caused("brake")}, nil},
		{"the old login is there", nil, week, []stytchmigrate.Event{anonymous, {Kind: "still_set"}}, []int{5}},
		{"the old login was there", []stytchmigrate.Event{{Kind: "still_set"}}, week, []stytchmigrate.Event{anonymous}, nil},
		{"that was long ago", []stytchmigrate.Event{request(stytchmigrate.OutcomeUnavailable, "")}, week, []stytchmigrate.Event{anonymous}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				page := statuspage.New(statuspage.Options{Quiet: week})
				observe(page, tt.first...)
				time.Sleep(tt.wait)
				observe(page, tt.last...)
				got, wrong := read(t, page).Removal, []int(nil)
				for i, r := range got.Reasons {
					if !r.Holds {
						wrong = append(wrong, i)
					}
				}
				assert.Equal(t, tt.wrong, wrong, "%+v", got.Reasons)
				assert.Equal(t, tt.wrong == nil, got.Safe)
			})
		})
	}
}

// caused is a request without a legacy session about which nothing can be told.
func caused(cause string) stytchmigrate.Event {
	e := request(stytchmigrate.OutcomeUnavailable, "")
	e.Cause = cause
	return e
}

// A day is what nobody's request, and one that nobody could tell of, are good for,
// whatever Quiet is.
func TestVerdictToTheMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.New(statuspage.Options{Quiet: time.Hour})
		holds := func(reason int) bool { return read(t, page).Removal.Reasons[reason].Holds }
		observe(page, request(stytchmigrate.OutcomeUnavailable, ""))
		time.Sleep(24*time.Hour - time.Nanosecond)
		assert.True(t, holds(1), "requests come")
		assert.False(t, holds(4), "who could not be told of may not have come again")
		time.Sleep(time.Nanosecond)
		assert.False(t, holds(1))
		assert.True(t, holds(4))
	})
}

func TestQuietByDefault(t *testing.T) {
	for _, quiet := range []time.Duration{0, -1} {
		quietByDefault(t, quiet)
	}
}

func quietByDefault(t *testing.T, quiet time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.New(statuspage.Options{Quiet: quiet})
		time.Sleep(2*week - time.Second)
		observe(page, request(stytchmigrate.OutcomeAnonymous, ""))
		assert.False(t, read(t, page).Removal.Safe)
		assert.Equal(t, "This process has watched for 13 days; it takes 14 days to tell.", read(t, page).Removal.Reasons[0].Text)
		time.Sleep(time.Second)
		assert.True(t, read(t, page).Removal.Safe)
		assert.Contains(t, get(page, "/").Body.String(), "safe to remove, as far as this process saw")
	})
}
