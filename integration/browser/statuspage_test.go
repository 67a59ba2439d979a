package browser

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// cutOff are the labels of the chart that nobody sees whole.
const cutOff = `[...document.querySelectorAll("svg text")].filter(label => {
	const svg = label.closest("svg"), inside = getComputedStyle(svg).overflow === "visible" ? document.body : svg
	const a = label.getBoundingClientRect(), b = inside.getBoundingClientRect()
	return a.left < b.left || a.right > b.right
}).map(label => label.textContent)`

// hiddenCode are the error types and request ids that are not to be seen whole.
const hiddenCode = `[...document.querySelectorAll("td code, th code")].filter(code => {
	const inside = code.closest(".scroll").getBoundingClientRect(), a = code.getBoundingClientRect()
	return a.left < inside.left || a.right > inside.right + 1
}).map(code => code.textContent)`

// Each state of the page on each screen: nothing is written to the console,
// nothing is cut off, and axe-core finds nothing.
func TestStatusPageLooks(t *testing.T) {
	look := httptest.NewRequest(http.MethodGet, "/ops", nil)
	for _, state := range []struct {
		name string
		page http.Handler
		want int64
	}{
		{"busy", printed(t, look, busyDays), http.StatusOK},
		{"empty", printed(t, look, func(*statuspage.Page) {}), http.StatusOK},
		{"wrong", printed(t, wrongForm(), busyDays), http.StatusUnprocessableEntity},
	} {
		url := listen(t, state.page)
		small := screen{name: "small", width: 360, height: 740, phone: true}
		for _, s := range []screen{desktop, phone, small, dark} {
			t.Run(state.name+" "+s.name, func(t *testing.T) {
				p := newChromiumTab(t, s)
				status := p.leaves(chromedp.Navigate(url + "/ops"))
				if status == http.StatusOK { // of any other the browser itself tells
					assert.Empty(t, p.said(), "console")
				}
				assert.Equal(t, state.want, status)
				p.do(chromedp.Click(chromedp.CSS("summary"))) // the table by hour is looked at too
				p.shoot("statuspage-" + state.name + "-" + s.name)
				assert.Equal(t, s.width, get(p, chromedp.Evaluate[int64](`document.scrollingElement.scrollWidth`)), "nothing to scroll sideways")
				assert.Empty(t, get(p, chromedp.Evaluate[[]string](cutOff)), "labels of the chart that are cut off")
				assert.Empty(t, get(p, chromedp.Evaluate[[]string](`[...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth).map(e => e.ariaLabel)`)), "tables that do not fit")
				assert.Empty(t, get(p, chromedp.Evaluate[[]string](hiddenCode)), "request ids that are cut off")
				assert.Empty(t, axe(t, p))
			})
		}
	}
}

// fill types into a field in place of what is there, as a person does.
func fill(id, text string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(
		chromedp.Click(chromedp.ID(id), chromedp.NodeVisible),
		chromedp.KeyEvent("a", chromedp.KeyModifiers(2)),
		chromedp.KeyEvent(text),
	)
}

// The rollout is changed by keyboard and mouse, with scripts and without.
func TestStatusPageDial(t *testing.T) {
	for _, tt := range []struct {
		name      string
		noScripts bool
	}{{"with scripts", false}, {"without scripts", true}} {
		t.Run(tt.name, func(t *testing.T) {
			rollout := stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve, HoldBack: 99}
			url := listen(t, statuspage.New(statuspage.Options{Dial: dialOf(&rollout)}))
			p := newChromiumTab(t, desktop)
			p.do(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: tt.noScripts}))
			p.do(chromedp.Navigate(url + "/ops"))

			status := p.leaves(chromedp.Focus(chromedp.ID("stage")), chromedp.KeyEvent("keep"),
				fill("hold_back", "12.5"), fill("per_second", "3"), fill("until", "2030-01-31T18:00"), chromedp.Click(chromedp.CSS("form button")))
			assert.EqualValues(t, http.StatusOK, status)
			assert.Equal(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 12.5, PerSecond: 3, Until: time.Date(2030, 1, 31, 18, 0, 0, 0, time.UTC)}, rollout)
			assert.Equal(t, "The rollout was changed.", get(p, chromedp.Text(chromedp.CSS("[role=status]"))))
			assert.Equal(t, "keep", get(p, chromedp.Value(chromedp.ID("stage"))))
			assert.Equal(t, "12.5", get(p, chromedp.Value(chromedp.ID("hold_back"))))
			assert.Empty(t, p.said(), "console")
		})
	}
}

// What is wrong is said where it was typed, and nothing that was typed is lost.
func TestStatusPageDialWrong(t *testing.T) {
	rollout := stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 90}
	url := listen(t, statuspage.New(statuspage.Options{Dial: dialOf(&rollout)}))
	p := newChromiumTab(t, phone)
	p.do(chromedp.Navigate(url + "/ops"))

	assert.EqualValues(t, http.StatusUnprocessableEntity, p.leaves(fill("hold_back", "half"), chromedp.KeyEvent("\r")))
	assert.Equal(t, "Give a number from 0 to 100.", get(p, chromedp.Text(chromedp.ID("hold_back-wrong"))))
	assert.Equal(t, "half", get(p, chromedp.Value(chromedp.ID("hold_back"))))
	p.do(chromedp.Click(chromedp.CSS("[role=alert] a")))
	assert.Equal(t, "hold_back", get(p, chromedp.Evaluate[string](`document.activeElement.id`)), "the link leads to the field")

	assert.EqualValues(t, http.StatusUnprocessableEntity, p.leaves(fill("hold_back", "66.6"), chromedp.KeyEvent("\r")))
	assert.Contains(t, get(p, chromedp.Text(chromedp.CSS("[role=alert]"))), "not while the release is frozen")
	assert.EqualValues(t, 90, rollout.HoldBack)

	assert.EqualValues(t, http.StatusOK, p.leaves(fill("hold_back", "66"), chromedp.Tap(chromedp.CSS("form button"))))
	assert.EqualValues(t, 66, rollout.HoldBack)
	p.do(chromedp.Reload())
	assert.EqualValues(t, 66, rollout.HoldBack, "a reload repeats nothing")
}
