package statuspage_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// drawn is each bar, line and text of a page's chart.
func drawn(t *testing.T, page *statuspage.Page) (bars, lines, texts []string) {
	t.Helper()
	for _, e := range elements(t, get(page, "/").Body.String()) {
		switch e.Name.Local {
		case "rect":
			bars = append(bars, fmt.Sprintf("%s x=%s+%s y=%s+%s", attr(e, "class"), attr(e, "x"), attr(e, "width"), attr(e, "y"), attr(e, "height")))
		case "line":
			lines = append(lines, attr(e, "y1"))
		case "text":
			texts = append(texts, attr(e, "x")[:2]+" "+attr(e, "y"))
		}
	}
	return bars, lines, texts
}

// Each outcome has its place in the bar of its hour, and all of them together
// make its height.
func TestChartOfAllOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := statuspage.NewApart(statuspage.Options{})
		_, lines, _ := drawn(t, page)
		assert.Equal(t, []string{"180", "14"}, lines, "half of 1 is no number")
		time.Sleep(5 * time.Hour)
		for o, sessions := range map[stytchmigrate.Outcome]string{
			stytchmigrate.OutcomeAuthenticated: "mnopqrst", // moved before: not in the chart
			stytchmigrate.OutcomeMigrated:      "a", stytchmigrate.OutcomeLegacy: "bc", stytchmigrate.OutcomeRefused: "defg", stytchmigrate.OutcomeUnavailable: "h",
		} {
			for _, s := range sessions {
				observe(page, request(o, string(s)))
			}
		}
		want := []string{"x=693.9+24.1 y=159.3+20.8", "x=693.9+24.1 y=117.8+41.5", "x=693.9+24.1 y=34.8+83", "x=693.9+24.1 y=14+20.8"}
		for i, class := range []string{"migrated ", "left ", "refused ", "unavailable "} {
			want[i] = class + want[i]
		}
		bars, lines, texts := drawn(t, page)
		assert.Equal(t, want, bars)
		assert.Equal(t, []string{"180", "97", "14"}, lines, "0, 4 and 8")
		assert.Equal(t, []string{"46 180", "46 97", "46 14"}, texts[:3])
		body := get(page, "/").Body.String()
		assert.Contains(t, body, "<title>05:00 to 06:00: 1 migrated, 2 left alone, 4 refused, 1 unavailable</title>")
		assert.Contains(t, body, "Added up: 1 migrated, 2 left alone, 4 refused, 1 unavailable.")
		var hours []string
		for _, line := range strings.Split(body, "\n") {
			if strings.Contains(line, `dy="22"`) {
				hours = append(hours, line[strings.Index(line, ">")+1:strings.Index(line, "</")])
			}
		}
		assert.Equal(t, []string{"06:00", "12:00", "18:00", "00:00"}, hours)
	})
}
