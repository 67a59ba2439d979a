package statuspage_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// What is too long is shown again in part, and is no other number for that.
func TestLongInput(t *testing.T) {
	for name, row := range map[string]struct{ form, kept string }{
		"a number that goes on": {"hold_back=0." + strings.Repeat("0", 62) + "1", `value="0.` + strings.Repeat("0", 62) + `…"`},
		"half a character":      {"hold_back=" + strings.Repeat("x", 63) + "é", `value="` + strings.Repeat("x", 63) + "\ufffd…\""},
		"no character at all":   {"hold_back=%ff1%00", "value=\"\ufffd1\ufffd\""},
	} {
		t.Run(name, func(t *testing.T) {
			got := stytchmigrate.Rollout{HoldBack: 55}
			w := post(statuspage.New(statuspage.Options{Dial: turnable(&got, nil)}), "stage=keep&per_second=x&"+row.form)
			assert.Equal(t, http.StatusUnprocessableEntity, w.Code)
			assert.Contains(t, w.Body.String(), row.kept)
			assert.Contains(t, w.Body.String(), "Give a number from 0 to 100.")
			assert.Equal(t, 55.0, got.HoldBack)
			elements(t, w.Body.String())
		})
	}
}

// An error of Set is shown as far as it is short, and by itself.
func TestLongErrorOfSet(t *testing.T) {
	page := statuspage.New(statuspage.Options{Dial: turnable(new(stytchmigrate.Rollout), errors.New(strings.Repeat("x", 299)+"é"+strings.Repeat("y", 1000)))})
	body := post(page, "stage=keep&hold_back=0&per_second=0").Body.String()
	assert.Contains(t, body, "<li>"+strings.Repeat("x", 299)+"\ufffd…</li>")
	elements(t, body)
}

// The dial as it is shown, and sent back as it is shown: nothing changes.
func TestDialAsItIs(t *testing.T) {
	zone := time.FixedZone("", 3600)
	now := stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 1e-9, PerSecond: 1e21, Until: time.Date(2030, 1, 31, 19, 0, 5, 0, zone)}
	want := now
	page := statuspage.New(statuspage.Options{Dial: turnable(&now, nil)})
	var form []string
	for _, e := range elements(t, get(page, "/?saved=0").Body.String()) {
		if e.Name.Local == "input" {
			form = append(form, attr(e, "name")+"="+attr(e, "value"))
		}
	}
	assert.Equal(t, []string{"hold_back=0.000000001", "per_second=1000000000000000000000", "until=2030-01-31T18:00:05"}, form)
	assert.Equal(t, http.StatusSeeOther, post(page, "stage=keep&"+strings.Join(form, "&")).Code)
	assert.True(t, want.Until.Equal(now.Until))
	now.Until = want.Until
	assert.Equal(t, want, now)

	assert.Equal(t, http.StatusSeeOther, post(page, "stage=keep&hold_back=0&per_second=0&until=2030-01-31T18:00:05%2b01:00").Code)
	assert.True(t, time.Date(2030, 1, 31, 17, 0, 5, 0, time.UTC).Equal(now.Until), "a zone that is named counts")
}
