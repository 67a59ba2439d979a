package statuspage_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/statuspage"
)

// turnable is a dial of s, which fails with err.
func turnable(s *stytchmigrate.Rollout, err error) statuspage.Dial {
	return statuspage.Dial{
		Get: func() stytchmigrate.Rollout { return *s },
		Set: func(_ context.Context, to stytchmigrate.Rollout) error {
			if err == nil {
				*s = to
			}
			return err
		},
	}
}

func post(page *statuspage.Page, form string, header ...string) *httptest.ResponseRecorder {
	return postTo(page, "https://app.example.com/ops", form, header...)
}

func postTo(page http.Handler, target, form string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(form))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	return w
}

func TestTurningTheDial(t *testing.T) {
	for _, tt := range []struct {
		form string
		want stytchmigrate.Rollout
	}{
		{"stage=keep&hold_back=12.5&per_second=3&until=2030-01-31T18:00", stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 12.5, PerSecond: 3, Until: time.Date(2030, 1, 31, 18, 0, 0, 0, time.UTC)}},
		{"stage=replace&hold_back=+100+&per_second=0&until=", stytchmigrate.Rollout{Stage: stytchmigrate.StageReplace, HoldBack: 100}},
		{"stage=observe&hold_back=0&per_second=0.25&until=2030-01-31T18:00:30", stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve, PerSecond: 0.25, Until: time.Date(2030, 1, 31, 18, 0, 30, 0, time.UTC)}},
	} {
		got := stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}
		page := statuspage.New(statuspage.Options{Dial: turnable(&got, nil)})
		w := post(page, tt.form, "Sec-Fetch-Site", "same-origin")
		assert.Equal(t, http.StatusSeeOther, w.Code, w.Body.String())
		assert.Equal(t, "?saved=1", w.Header().Get("Location"))
		assert.Equal(t, tt.want, got)
		shown := get(page, "/ops?saved=1").Body.String()
		assert.Contains(t, shown, "The rollout was changed.")
		assert.Contains(t, shown, `<option selected="selected">`+got.Stage.String()+"</option>")
	}
}

// The list of those who move first is not on the form, and stays. The page says how
// many they are, and not who: a Subject may be an email.
func TestFirstStays(t *testing.T) {
	got := stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve, First: []string{"canary@example.com", "canary-2"}}
	page := statuspage.New(statuspage.Options{Dial: turnable(&got, nil)})
	for range 2 {
		assert.Equal(t, http.StatusSeeOther, post(page, "stage=keep&hold_back=99&per_second=0&first=17&first_count=0").Code)
		assert.Equal(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 99, First: []string{"canary@example.com", "canary-2"}}, got)
	}
	assert.Contains(t, get(page, "/").Body.String(), "2 users move first, whatever is held back")
	assert.NotContains(t, get(page, "/").Body.String()+get(page, "/?format=json").Body.String(), "canary")
	assert.Equal(t, 2.0, whole(t, page)["dial"].(map[string]any)["first_count"])

	got.First = got.First[:1]
	readOnly := statuspage.New(statuspage.Options{Dial: statuspage.Dial{Get: func() stytchmigrate.Rollout { return got }}})
	assert.Contains(t, get(readOnly, "/").Body.String(), "1 user moves first, whatever is held back")
	got.First = nil
	assert.NotContains(t, get(page, "/").Body.String(), "first, whatever")
}

// A wrong field is named, what was sent is kept, and nothing is set.
func TestWrongInput(t *testing.T) {
	for _, tt := range []struct{ name, form, id, text, kept string }{
		{"another stage", "stage=retired&hold_back=0&per_second=0", "stage", "Choose one of the stages.", `<option selected="selected">observe</option>`},
		{"no stage", "hold_back=0&per_second=0", "stage", "Choose one of the stages.", `value="0"`},
		{"no number", "stage=keep&hold_back=half&per_second=7", "hold_back", "Give a number from 0 to 100.", `value="half"`},
		{"more than all", "stage=keep&hold_back=100.1&per_second=7", "hold_back", "Give a number from 0 to 100.", `value="100.1"`},
		{"less than none", "stage=keep&hold_back=-1&per_second=7", "hold_back", "Give a number from 0 to 100.", `value="-1"`},
		{"not a number", "stage=keep&hold_back=NaN&per_second=7", "hold_back", "Give a number from 0 to 100.", `value="NaN"`},
		{"a pace below 0", "stage=keep&hold_back=1&per_second=-1", "per_second", "Give a number that is not below 0; 0 is no limit.", `value="-1"`},
		{"no end to the pace", "stage=keep&hold_back=1&per_second=Inf", "per_second", "Give a number that is not below 0; 0 is no limit.", `value="Inf"`},
		{"nothing", "stage=keep&hold_back=1&per_second=", "per_second", "Give a number that is not below 0; 0 is no limit.", `value="1"`},
		{"no time", "stage=keep&hold_back=1&per_second=1&until=tomorrow", "until", "Give a time like 2030-01-31T18:00, in UTC, or nothing.", `value="tomorrow"`},
		{"a year that JSON has no form for", "stage=keep&hold_back=1&per_second=1&until=9999-12-31T23:59:59-14:00", "until", "Give a time like 2030-01-31T18:00, in UTC, or nothing.", `value="9999-12-31T23:59:59-14:00"`},
		{"the time that stands for never", "stage=keep&hold_back=1&per_second=1&until=0001-01-01T00:00", "until", "Give a time like 2030-01-31T18:00, in UTC, or nothing.", `value="0001-01-01T00:00"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve, HoldBack: 55}
			w := post(statuspage.New(statuspage.Options{Dial: turnable(&got, nil)}), tt.form)
			assert.Equal(t, http.StatusUnprocessableEntity, w.Code)
			body := w.Body.String()
			assert.Contains(t, body, `<a href="#`+tt.id+`">`)
			assert.Regexp(t, `id="`+tt.id+`"[^>]* aria-invalid="true"`, body)
			assert.Equal(t, 2, strings.Count(body, tt.text), "above, and at the field")
			assert.Contains(t, body, tt.kept)
			assert.Contains(t, body, "<title>Not changed: ")
			assert.Equal(t, stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve, HoldBack: 55}, got)
			elements(t, body)
		})
	}
}

func TestErrorOfSetIsShown(t *testing.T) {
	page := statuspage.New(statuspage.Options{Dial: turnable(&stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, errors.New("stytchmigrate: rollout: no <way>"))})
	w := post(page, "stage=replace&hold_back=7&per_second=0")
	assert.Equal(t, http.StatusUnprocessableEntity, w.Code)
	assert.Contains(t, w.Body.String(), "<li>stytchmigrate: rollout: no &lt;way&gt;</li>")
	assert.Contains(t, w.Body.String(), `<option selected="selected">replace</option>`)
	assert.Contains(t, w.Body.String(), `value="7"`)
}

func TestFormFromAnotherSite(t *testing.T) {
	const form = "stage=keep&hold_back=1&per_second=1"
	for _, tt := range []struct {
		name, header, value string
		want                int
	}{
		{"the page's own", "Sec-Fetch-Site", "same-origin", http.StatusSeeOther},
		{"another site's", "Sec-Fetch-Site", "cross-site", http.StatusForbidden},
		{"a sister's", "Sec-Fetch-Site", "same-site", http.StatusForbidden},
		{"an old browser, here", "Origin", "https://app.example.com", http.StatusSeeOther},
		{"an old browser, elsewhere", "Origin", "https://evil.example", http.StatusForbidden},
		{"a sandbox", "Origin", "null", http.StatusForbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}
			w := post(statuspage.New(statuspage.Options{Dial: turnable(&got, nil)}), form, tt.header, tt.value)
			assert.Equal(t, tt.want, w.Code)
			assert.Equal(t, tt.want == http.StatusSeeOther, got.Stage == stytchmigrate.StageKeep)
		})
	}
}

func TestFormThatCannotBeRead(t *testing.T) {
	got := stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}
	page := statuspage.New(statuspage.Options{Dial: turnable(&got, nil)})
	assert.Equal(t, http.StatusBadRequest, post(page, "stage=keep&hold_back=1&per_second=1&x="+strings.Repeat("x", 4<<10)).Code)
	assert.Equal(t, http.StatusBadRequest, post(page, "stage=%zz").Code)
	assert.Equal(t, http.StatusUnprocessableEntity, post(page, `{"stage":"keep"}`, "Content-Type", "application/json").Code)
	assert.Equal(t, http.StatusUnprocessableEntity, func() int {
		r := httptest.NewRequest(http.MethodPost, "/?stage=keep&hold_back=1&per_second=1", nil) // a link is no form
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w.Code
	}())
	assert.Equal(t, stytchmigrate.StageObserve, got.Stage)
}

func TestDialThatIsOnlyShown(t *testing.T) {
	page := statuspage.New(statuspage.Options{Dial: statuspage.Dial{Get: func() stytchmigrate.Rollout {
		return stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 90}
	}}})
	body := get(page, "/").Body.String()
	assert.Contains(t, body, "<dt>held back, percent</dt><dd>90</dd>")
	assert.NotContains(t, body, "<form")
	assert.NotContains(t, get(statuspage.New(statuspage.Options{}), "/").Body.String(), `id="rollout"`)
}

// The stage in force can be chosen whatever is offered: else a form that changes
// another field would change it too.
func TestStagesThatAreOffered(t *testing.T) {
	now := stytchmigrate.Rollout{Stage: stytchmigrate.StageRetired}
	dial := turnable(&now, nil)
	stages := func() []string {
		var out []string
		for _, m := range regexp.MustCompile(`<option[^>]*>(\w+)`).FindAllStringSubmatch(get(statuspage.New(statuspage.Options{Dial: dial}), "/").Body.String(), -1) {
			out = append(out, m[1])
		}
		return out
	}
	assert.Equal(t, []string{"retired", "observe", "shadow", "keep", "replace"}, stages())
	now.Stage = stytchmigrate.StageKeep
	assert.Equal(t, []string{"observe", "shadow", "keep", "replace"}, stages(), "which deletes is not offered")
	dial.Stages = []stytchmigrate.Stage{stytchmigrate.StageKeep, stytchmigrate.StageRetired}
	assert.Equal(t, []string{"keep", "retired"}, stages())
}

// Nobody is told of a change that was not made.
func TestSavedIsShown(t *testing.T) {
	const said = "The rollout was changed."
	dial := turnable(new(stytchmigrate.Rollout), nil)
	shown := func(d statuspage.Dial, target string) bool {
		return strings.Contains(get(statuspage.New(statuspage.Options{Dial: d}), target).Body.String(), said)
	}
	assert.True(t, shown(dial, "/?saved=1"))
	assert.False(t, shown(dial, "/?saved=0"))
	assert.False(t, shown(statuspage.Dial{}, "/?saved=1"))
	assert.False(t, shown(statuspage.Dial{Get: dial.Get}, "/?saved=1"))
	assert.NotContains(t, post(statuspage.New(statuspage.Options{Dial: dial}), "saved=1").Body.String(), said)
	wrong := postTo(statuspage.New(statuspage.Options{Dial: dial}), "/?saved=1", "stage=nowhere").Body.String()
	assert.NotContains(t, wrong, said)
}

// A dial that cannot be read is none.
func TestDialWithoutGet(t *testing.T) {
	page := statuspage.New(statuspage.Options{Dial: statuspage.Dial{Set: func(context.Context, stytchmigrate.Rollout) error { panic("not to be called") }}})
	w := post(page, "stage=keep&hold_back=0&per_second=0")
	assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
	assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
	assert.Contains(t, get(page, "/").Header().Get("Content-Security-Policy"), "form-action 'none'")
	assert.NotContains(t, get(page, "/").Body.String(), "<form")
}

type whose struct{}

// Whose doing it was, an application's own middleware knows.
func TestSetIsGivenTheContext(t *testing.T) {
	var by any
	dial := turnable(new(stytchmigrate.Rollout), nil)
	dial.Set = func(ctx context.Context, _ stytchmigrate.Rollout) error { by = ctx.Value(whose{}); return nil }
	page := statuspage.New(statuspage.Options{Dial: dial})
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), whose{}, "ada")))
	})
	assert.Equal(t, http.StatusSeeOther, postTo(h, "/", "stage=keep&hold_back=0&per_second=0").Code)
	assert.Equal(t, "ada", by)
}
