package cookies_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// Each row is how a handler spells Set-Cookie in the map. It logs out, or signs bob in,
// all the same, and its lines stay in front of the others.
func TestSpellingsOfSetCookie(t *testing.T) {
	for _, name := range []string{"Set-Cookie", "set-cookie", "SET-COOKIE", "Set-cookie"} {
		for line, want := range map[string]string{
			"theme=dark":      "+theme +token +jwt -sid -csrf",
			"sid=; Max-Age=0": "-sid -token -jwt -sid -csrf",
			"sid=bob-1":       "+sid",
			"jwt=own":         "+jwt",
		} {
			p := cookies.New(defaults(), sid)
			pending, _ := p.Prepare(request("sid=ada-1", method("POST")), swap(), cookies.Handler{Shown: 0, Classify: classify})
			w := httptest.NewRecorder()
			w.Header()[name] = []string{line}
			w.Header()["cache-control"] = []string{"public"}
			pending.Commit(w)
			assert.Equal(t, want, names(merged(w.Header())), "%s: %s", name, line)
			assert.Equal(t, http.Header{"Cache-Control": {"no-store"}}, without(w.Header(), "Set-Cookie"))
		}
	}
}

// A name with letters that are not ASCII is another one, and net/http sends no such name.
func TestNameThatOnlyLooksLikeSetCookie(t *testing.T) {
	for _, name := range []string{"Set-Coo\u212aie", "\u017fet-cookie", "Set-Cookie "} {
		pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), swap(), cookies.Handler{Shown: 0, Classify: classify})
		w := httptest.NewRecorder()
		w.Header()[name] = []string{"sid=; Max-Age=0"}
		pending.Commit(w)
		assert.Equal(t, cookies.NoAction, pending.Action())
	}
}

// Of two spellings both count, in the order in which net/http sends them.
func TestTwoSpellingsOfSetCookie(t *testing.T) {
	pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), &cookies.Change{Watch: true}, cookies.Handler{Shown: 0, Classify: classify})
	w := httptest.NewRecorder()
	w.Header()["set-cookie"] = []string{"sid=; Max-Age=0"}
	w.Header()["Set-Cookie"] = []string{"sid=ada-1", "theme=dark"}
	pending.Commit(w)
	assert.Equal(t, "+sid +theme -sid -token -jwt -csrf", names(w.Header()))
	assert.Equal(t, cookies.LoggedOut, pending.Action())
}

// What an ended session had set goes, however it is spelled.
func TestLogOutDropsEverySpelling(t *testing.T) {
	h := http.Header{"set-cookie": {"token=own", "sid=ada-1", "theme=dark"}}
	assert.NoError(t, cookies.New(defaults(), sid).LogOut(h, request("sid=ada-1"), nil))
	assert.Equal(t, "+theme -token -jwt -sid -csrf", names(h))
	h = http.Header{"SET-COOKIE": {"sid=ada-1"}}
	p := cookies.New(defaults(), sid)
	pending, _ := p.Prepare(request("sid=ada-1"), swap(), deaf)
	assert.NoError(t, p.LogOut(h, request("sid=ada-1"), pending))
	assert.Empty(t, h)
}

// merged is h with one spelling of Set-Cookie.
func merged(h http.Header) http.Header {
	out := http.Header{}
	for name, lines := range h {
		for _, line := range lines {
			out.Add(name, line)
		}
	}
	return out
}

func without(h http.Header, name string) http.Header {
	out := merged(h)
	out.Del(name)
	return out
}

// Each row is the lines of Clear-Site-Data, and whether browsers drop all cookies, those
// beside it too. Of a session that does not move or stay it ends nothing.
func TestClearSiteData(t *testing.T) {
	for name, row := range map[string]struct {
		lines   []string
		cleared bool
	}{
		"cookies":                {[]string{`"cookies"`}, true},
		"everything":             {[]string{`"*"`}, true},
		"a list":                 {[]string{`"cache","cookies"`}, true},
		"a list with space":      {[]string{"\"cache\" ,\t\"storage\" , \"cookies\" "}, true},
		"several lines":          {[]string{`"cache"`, `"storage", "*"`}, true},
		"storage":                {[]string{`"storage"`, `"cache", "executionContexts"`}, false},
		"without quotes":         {[]string{"cookies, *"}, false},
		"in capitals":            {[]string{`"Cookies"`}, false},
		"two values in one":      {[]string{`"cache cookies"`}, false},
		"nothing":                {[]string{""}, false},
		"something of that kind": {[]string{`"cookies2"`}, false},
	} {
		for _, spelling := range []string{"Clear-Site-Data", "clear-site-data"} {
			for legacy, want := range map[bool][2]string{
				true:  {"+theme +token +jwt -sid -csrf", "+theme -token -jwt -sid -csrf"},
				false: {"+theme +token +jwt -sid -csrf", "+theme"},
			} {
				pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), swap(), cookies.Handler{Shown: -1, Session: legacy})
				w := httptest.NewRecorder()
				w.Header()["Set-Cookie"] = []string{"theme=dark"}
				w.Header()[spelling] = row.lines
				pending.Commit(w)
				assert.Equal(t, want[index(row.cleared)], names(w.Header()), name)
				assert.Equal(t, row.cleared && legacy, pending.Action() == cookies.LoggedOut, name)
			}
		}
	}
}

// Each row is what else a response with Clear-Site-Data does, and what is on it.
func TestClearSiteDataBesideCookies(t *testing.T) {
	for name, row := range map[string]struct {
		change  *cookies.Change
		session bool
		line    string
		lines   string
		action  cookies.Action
	}{
		"a session that stays":     {&cookies.Change{Watch: true}, true, "theme=dark", "+theme -token -jwt -sid -csrf", cookies.LoggedOut},
		"a sign-in":                {&cookies.Change{Watch: true}, true, "sid=bob-1", "+sid -token -jwt -csrf", cookies.LoggedOut},
		"a session saved again":    {swap(), true, "sid=ada-1", "+sid -token -jwt -csrf", cookies.LoggedOut},
		"a Stytch cookie":          {swap(), true, "token=own", "+token -jwt -sid -csrf", cookies.LoggedOut},
		"a refresh":                {&cookies.Change{Set: session()}, false, "theme=dark", "+theme", cookies.NoAction},
		"a session that has ended": {&cookies.Change{Clear: true}, false, "theme=dark", "+theme -token -jwt", cookies.NoAction},
		"a cookie that retires":    {&cookies.Change{Expire: []int{0}}, false, "theme=dark", "+theme -sid -csrf", cookies.NoAction},
	} {
		pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), row.change, cookies.Handler{
			Shown: 0, Session: row.session, Classify: classify, Gone: func() bool { t.Error("asked"); return true },
		})
		w := httptest.NewRecorder()
		w.Header()["Set-Cookie"] = []string{row.line}
		w.Header().Set("Clear-Site-Data", `"*"`)
		pending.Commit(w)
		assert.Equal(t, row.lines, names(w.Header()), name)
		assert.Equal(t, row.action, pending.Action(), name)
	}
}

func index(second bool) int {
	if second {
		return 1
	}
	return 0
}
