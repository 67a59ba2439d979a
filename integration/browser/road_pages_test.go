package browser

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// parts has a page ask for twenty images and make twenty fetches. It says how
// many of them came whole.
const parts = `window.parts = Promise.all(Array.from({length: 20}, (_, n) => [
	new Promise(done => { const i = new Image(); i.onload = () => done(true); i.onerror = () => done(false); i.src = "/part/image/" + n }),
	fetch("/part/fetch/" + n).then(r => r.ok),
]).flat()).then(all => all.filter(Boolean).length)`

// servesParts adds them to an application, whose images caches may keep.
func (a *app) servesParts() {
	a.pages.HandleFunc("/part/image/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/svg+xml")
		w.Header().Set("Cache-Control", "public, max-age=3600")
		fmt.Fprint(w, `<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>`)
	})
}

// holds makes the exchange wait.
func (a *app) holds(t *testing.T) (release func()) {
	hold := new(stytchtest.Hold)
	a.stytch.Fail(stytchtest.Migrate, stytchtest.Fault{}.WithHold(hold))
	t.Cleanup(hold.Release)
	return hold.Release
}

// comes waits until n requests have come.
func (a *app) comes(t *testing.T, path string, n int) {
	t.Helper()
	require.Eventually(t, func() bool { return len(a.seen(path)) >= n }, patience, time.Millisecond, "%d requests for %s", n, path)
}

// A page from before the switch is open. All that it asks for comes at once, with
// the old cookie: that is one exchange, and everything sees Ada.
func TestPartsOfAPageComeAtOnce(t *testing.T) { inEngines(t, partsOfAPageComeAtOnce) }

func partsOfAPageComeAtOnce(t *testing.T, e *engine, table *results) {
	for _, tt := range []struct {
		name string
		serve
		atOnce int // what browsers have under way to one host
	}{{"over HTTP/1.1", newApp, 6}, {"over HTTP/2", newSecureApp, e.atOnce}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, p := tt.serve(t), newTab(t, e)
			a.servesParts()
			release := a.holds(t)
			a.opens(p, a.before("app.test", newOld("Path=/; HttpOnly")))
			p.do(run("void (" + parts + ")"))
			a.comes(t, "/part/", tt.atOnce)
			release()
			assert.Equal(t, 40, evaluate[int](p, "window.parts"), "came whole")
			table.say(t, "%s", a.movedOnce(p, 40))
		})
	}
	t.Run("with the page itself", func(t *testing.T) {
		t.Parallel()
		a, p := newSecureApp(t), newTab(t, e)
		a.servesParts()
		a.pages.HandleFunc("/part/page", func(w http.ResponseWriter, _ *http.Request) { write(w, "parts", "<script>"+parts+"</script>") })
		a.opens(p, a.before("app.test", newOld("Path=/; HttpOnly")))
		a.opens(p, a.at("app.test", "/part/page"))
		assert.Equal(t, 40, evaluate[int](p, "window.parts"), "came whole")
		table.say(t, "%s", a.movedOnce(p, 41))
	})
}

// movedOnce holds what became of n requests against one exchange.
func (a *app) movedOnce(p *tab, n int) string {
	p.t.Helper()
	by := a.sawAda(p.t, n)
	assert.Equal(p.t, 1, a.stytch.Count(stytchtest.Migrate), "exchanges")
	assert.Len(p.t, a.stytch.Sessions(), 1)
	agree(p, a)
	assert.Equal(p.t, knownAda, a.opens(p, a.at("app.test", "/next")).who())
	assert.Equal(p.t, []string{tokenCookie, jwtCookie}, agree(p, a))
	last := a.opens(p, a.at("app.test", "/last"))
	assert.Equal(p.t, knownAda, last.who())
	assert.Equal(p.t, []string{tokenCookie, jwtCookie}, last.names())
	return fmt.Sprintf("one exchange, %d requests migrated, %d authenticated", by["migrated"], by["authenticated"])
}

// sawAda counts the outcomes of n requests for parts. Caches may keep the images,
// and so none sets a cookie; they may keep nothing that does.
func (a *app) sawAda(t *testing.T, n int) (by map[string]int) {
	t.Helper()
	by = map[string]int{}
	for _, v := range a.seen("/part/") {
		by[v.outcome.String()]++
		assert.Equal(t, "ada@example.com", v.user, v.path)
		if v.dest == "image" {
			assert.Empty(t, v.set, v.path)
			assert.Equal(t, "public, max-age=3600", v.cacheControl)
		}
		assert.Equal(t, len(v.set) > 0, v.cacheControl == "no-store", v.path)
	}
	assert.Equal(t, n, by["migrated"]+by["authenticated"])
	return by
}

// Two tabs of one browser that are restored at the same time.
func TestTwoTabsMoveOnce(t *testing.T) { inEngines(t, twoTabsMoveOnce) }

func twoTabsMoveOnce(t *testing.T, e *engine, table *results) {
	a, p := newApp(t), newTab(t, e)
	other := p.another()
	release := a.holds(t)
	a.opens(p, a.before("app.test", newOld("Path=/")))
	one, two := p.begins(a.at("app.test", "/tab/1")), other.begins(a.at("app.test", "/tab/2"))
	a.comes(t, "/tab/", 2)
	release()
	one()
	two()
	assert.Equal(t, movedAda, p.says())
	assert.Equal(t, movedAda, other.says())
	assert.Len(t, a.stytch.Sessions(), 1)
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate), "exchanges")
	assert.Equal(t, []string{oldCookie, tokenCookie, jwtCookie}, agree(p, a))
	for _, in := range []*tab{p, other} {
		assert.Equal(t, knownAda, a.opens(in, a.at("app.test", "/next")).who())
		assert.Equal(t, []string{tokenCookie, jwtCookie}, agree(p, a))
	}
	table.say(t, "one exchange, one session, both tabs signed in")
}
