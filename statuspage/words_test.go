package statuspage_test

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// Each row is how many legacy sessions came, and how many of them came with a Stytch
// session. Not all is 99 % at most.
func TestProgress(t *testing.T) {
	for _, row := range []struct {
		seen, moved int
		want        string
	}{{3, 0, "0"}, {3, 1, "33"}, {3, 2, "66"}, {26, 25, "96"}, {26, 26, "100"}} {
		page := statuspage.NewApart(statuspage.Options{})
		for i := range row.seen {
			o := stytchmigrate.OutcomeLegacy
			if i < row.moved {
				o = stytchmigrate.OutcomeMigrated
			}
			observe(page, request(o, string(rune('a'+i))))
		}
		body := get(page, "/").Body.String()
		assert.Contains(t, body, row.want+" % of the legacy sessions seen have moved")
		assert.Contains(t, body, `<progress max="100" value="`+row.want+`" aria-label="Legacy sessions that have moved">`)
		assert.Equal(t, fmt.Sprint(row.want), fmt.Sprint(whole(t, page)["legacy_sessions"].(map[string]any)["moved_percent"]))
	}
	nothing := statuspage.New(statuspage.Options{})
	assert.NotContains(t, get(nothing, "/").Body.String(), "<progress", "nothing has come, so there is nothing to move")
	assert.NotContains(t, whole(t, nothing)["legacy_sessions"], "moved_percent")
}

// On a phone a table has no head: each cell names its column.
func TestCellsNameTheirColumn(t *testing.T) {
	page := busy(turnable(new(stytchmigrate.Rollout), nil))
	observe(page, request(stytchmigrate.OutcomeLegacy, "x"))
	var columns []string
	tables, cells, column := 0, 0, 0
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(get(page, "/").Body.String(), "<!DOCTYPE html>")))
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		e, ok := token.(xml.StartElement)
		switch {
		case !ok:
		case e.Name.Local == "table":
			columns = nil
			tables++
		case e.Name.Local == "th" && attr(e, "scope") == "col":
			text, err := d.Token()
			require.NoError(t, err)
			columns = append(columns, string(text.(xml.CharData)))
		case e.Name.Local == "tr":
			column = 0
		case e.Name.Local == "td":
			column++ // the first is the head of the row
			require.Less(t, column, len(columns))
			assert.Equal(t, columns[column], attr(e, "data-label"))
			cells++
		}
	}
	assert.Equal(t, 5, tables)
	assert.Greater(t, cells, 100)
}

// The page says what the documentation calls it. JSON keeps the name "dial".
func TestPageSaysRollout(t *testing.T) {
	now := stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}
	page := busy(turnable(&now, nil))
	for _, body := range []string{
		get(page, "/").Body.String(), get(page, "/?saved=1").Body.String(), post(page, "stage=nowhere").Body.String(),
		get(busy(statuspage.Dial{Get: func() stytchmigrate.Rollout { return now }}), "/").Body.String(),
	} {
		text := regexp.MustCompile(`(?s)<style>.*</style>|<[^>]*>`).ReplaceAllString(body, " ")
		assert.NotContains(t, strings.ToLower(text), "dial")
		assert.Contains(t, body, `<h2 id="rollout">Rollout</h2>`)
	}
	assert.Contains(t, whole(t, page), "dial")
	assert.Equal(t, http.StatusSeeOther, post(page, "stage=keep&hold_back=0&per_second=0").Code)
}
