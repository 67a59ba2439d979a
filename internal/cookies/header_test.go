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
