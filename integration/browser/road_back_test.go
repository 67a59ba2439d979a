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
// stays who she is. On plain HTTP WebKit keeps them.
func TestBackOverTheMove(t *testing.T) { inEngines(t, backOverTheMove) }

func backOverTheMove(t *testing.T, e *engine, table *results) {
	for _, tt := range []struct {
		name string
		serve
		keeps bool // the pages in spite of no-store
	}{{"over TLS", newSecureApp, false}, {"over plain HTTP", newApp, e.keepsPlain}} {
		t.Run(tt.name, func(t *testing.T) {
			a, p := tt.serve(t), newTab(t, e)
			a.opens(p, a.before("app.test", newOld("Path=/")))
			assert.Equal(t, "no-store", a.opens(p, a.at("app.test", "/moves")).cacheControl)
			assert.Equal(t, "no-store", a.opens(p, a.at("app.test", "/replaces")).cacheControl)
			a.opens(p, a.at("app.test", "/next"))
			jar, moved := texts(p.jar()), either(tt.keeps, movedAda, knownAda)
			a.goesBack(p, -1, knownAda, !tt.keeps)
			a.goesBack(p, -1, moved, !tt.keeps)
			forward := 2
			if !tt.keeps { // those are the two that WebKit keeps
				a.goesBack(p, -1, "before the switch", false)
				forward = 3
			}
			says, _ := a.back(p, forward) // WebKit now and then asks for it again
			assert.Equal(t, knownAda, says)
			assert.Equal(t, jar, texts(p.jar()), "no cookie is touched")
			assert.Equal(t, knownAda, a.opens(p, a.at("app.test", "/last")).who())
			assert.Len(t, a.stytch.Sessions(), 1)
			table.say(t, "the page that moved her: %q", moved)
		})
	}
}

// goesBack holds what the page says to which Back leads, and whether the server was
// asked for it.
func (a *app) goesBack(p *tab, by int, says string, asked bool) {
	p.t.Helper()
	said, again := a.back(p, by)
	assert.Equal(p.t, says, said)
	assert.Equal(p.t, asked, again, "asked for %q again", said)
}

func either(first bool, one, other string) string {
	if first {
		return one
	}
	return other
}

// After a logout the Back button shows what the browser was allowed to keep: not
// the page that moved Ada. All her later pages are the application's own to keep
// out of caches, as the example does; browsers show those that it does not. On plain
// HTTP WebKit shows the last two pages whatever they say.
func TestBackAfterLogout(t *testing.T) { inEngines(t, backAfterLogout) }

func backAfterLogout(t *testing.T, e *engine, table *results) {
	for _, tt := range []struct {
		name, cacheControl string
		serve
		kept bool // the last page, not the one that moved her
	}{
		{"pages that are no-store", "no-store", newSecureApp, false},
		{"pages that are no-store, over plain HTTP", "no-store", newApp, e.keepsPlain},
		{"pages that say nothing of caches", "", newSecureApp, true},
		{"pages that are private", "private, max-age=600", newSecureApp, true},
		{"pages that are no-cache", "no-cache", newSecureApp, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, p := tt.serve(t), newTab(t, e)
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
			next := either(tt.kept, knownAda, nobody)
			a.goesBack(p, -1, next, !tt.kept)
			assert.Equal(t, nobody, a.fetches(p, a.at("app.test", "/anything")).who(), "whatever is shown, it can do nothing")
			a.goesBack(p, -2, nobody, true)
			table.say(t, "%q; the page that moved her: %q", next, nobody)
		})
	}
}
