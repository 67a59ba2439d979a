package browser

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// back is what came of the Back button, or of Forward: what the page says, and
// whether the server was asked for it.
func (a *app) back(p *tab, by int) (says string, asked bool) {
	p.t.Helper()
	before := len(a.seen("/"))
	p.do(travel(by))
	says = p.says()
	return says, len(a.seen("/")) > before
}

// Back and forward over the page that moved Ada, and the one after it, which took her
// old cookie: they are asked for again, for their answers were not to be kept, and she
// stays who she is.
func TestBackOverTheMove(t *testing.T) { inEngines(t, backOverTheMove, chromium) }

func backOverTheMove(t *testing.T, e *engine, table *results) {
	a, p := newApp(t), newTab(t, e)
	a.opens(p, a.before("app.test", newOld("Path=/")))
	assert.Equal(t, "no-store", a.opens(p, a.at("app.test", "/moves")).cacheControl)
	assert.Equal(t, "no-store", a.opens(p, a.at("app.test", "/replaces")).cacheControl)
	a.opens(p, a.at("app.test", "/next"))
	jar := texts(p.jar())

	for _, step := range []struct {
		by    int
		says  string
		asked bool
	}{
		{-1, knownAda, true},
		{-1, knownAda, true},
		{-1, "before the switch", false},
		{3, knownAda, false},
	} {
		says, asked := a.back(p, step.by)
		assert.Equal(t, step.says, says)
		assert.Equal(t, step.asked, asked, "asked for %q again", says)
		assert.Equal(t, jar, texts(p.jar()), "no cookie is touched")
	}
	assert.Equal(t, knownAda, a.opens(p, a.at("app.test", "/last")).who())
	assert.Len(t, a.stytch.Sessions(), 1)
}

// After a logout the Back button shows what the browser was allowed to keep: not
// the page that moved Ada. All her later pages are the application's own to keep
// out of caches, as the example does; Chromium shows those that it does not.
func TestBackAfterLogout(t *testing.T) { inEngines(t, backAfterLogout, chromium) }

func backAfterLogout(t *testing.T, e *engine, table *results) {
	for _, tt := range []struct {
		name, cacheControl string
		says               string
		asked              bool
	}{
		{"pages that are no-store", "no-store", nobody, true},
		{"pages that say nothing of caches", "", knownAda, false},
		{"pages that are private", "private, max-age=600", knownAda, false},
		{"pages that are no-cache", "no-cache", knownAda, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, p := newApp(t), newTab(t, e)
			a.pages.HandleFunc("/cached/", func(w http.ResponseWriter, r *http.Request) {
				if tt.cacheControl != "" {
					w.Header().Set("Cache-Control", tt.cacheControl)
				}
				a.page(w, r)
			})
			a.opens(p, a.before("app.test", newOld("Path=/")))
			assert.Contains(t, a.opens(p, a.at("app.test", "/cached/moves")).cacheControl, "no-store")
			assert.Contains(t, a.opens(p, a.at("app.test", "/cached/replaces")).cacheControl, "no-store")
			assert.Equal(t, tt.cacheControl, a.opens(p, a.at("app.test", "/cached/next")).cacheControl)
			a.opens(p, a.at("app.test", "/logout"))
			says, asked := a.back(p, -1)
			assert.Equal(t, tt.says, says)
			assert.Equal(t, tt.asked, asked, "the server is asked again")
			assert.Equal(t, nobody, a.fetches(p, a.at("app.test", "/anything")).who(), "whatever is shown, it can do nothing")
			moved, asked := a.back(p, -2)
			assert.Equal(t, nobody, moved, "the page that moved her")
			assert.True(t, asked)
			table.say(t, "%q; the page that moved her: %q", says, moved)
		})
	}
}
