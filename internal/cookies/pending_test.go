package cookies_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// The lines are written once, and no code of the application runs after that.
func TestCommitOnce(t *testing.T) {
	w := httptest.NewRecorder()
	pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), swap(), cookies.Handler{Shown: -1, Classify: func(int, string) cookies.Action {
		t.Error("the application is asked after the answer")
		return cookies.NoAction
	}})
	pending.Commit(w)
	w.Header()["Set-Cookie"] = []string{"sid=bob-1"}
	pending.Commit(w)
	assert.Equal(t, "+sid", names(w.Header()))
	assert.Equal(t, cookies.NoAction, pending.Action())
}

// The final header goes out while the application's code looks at the handler's cookies:
// what it says comes too late.
func TestCommitInsideCommit(t *testing.T) {
	var pending *cookies.Pending
	w := httptest.NewRecorder()
	calls := 0
	pending, _ = cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), swap(), cookies.Handler{Shown: -1, Classify: func(int, string) cookies.Action {
		if calls++; calls > 1 {
			return cookies.NoAction
		}
		pending.Commit(w)
		return cookies.Overruled
	}})
	w.Header()["Set-Cookie"] = []string{"sid=visitor"}
	pending.Commit(w)
	assert.Equal(t, 2, calls)
	assert.Equal(t, "+sid +token +jwt -csrf", names(w.Header()))
	assert.Equal(t, cookies.NoAction, pending.Action())
}

// A handler that recovers from a panic of the application's code still answers: no
// lock is held.
func TestClassifyPanics(t *testing.T) {
	w := httptest.NewRecorder()
	pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), swap(), cookies.Handler{Shown: -1, Classify: func(int, string) cookies.Action { panic("store") }})
	w.Header()["Set-Cookie"] = []string{"sid=bob-1"}
	assert.Panics(t, func() { pending.Commit(w) })
	w.Header().Del("Set-Cookie")
	pending.Commit(w)
	assert.Equal(t, "+token +jwt -sid -csrf", names(w.Header()))
}

// Another request logged the user out while the handler ran. Its response expired what
// the browser held; what came into the browser since then is newer.
func TestEndedWhileTheHandlerRuns(t *testing.T) {
	for ended, want := range map[bool]string{false: "+token +jwt -sid -csrf", true: ""} {
		h := cookies.Handler{Shown: -1, Ended: func() bool { return ended }}
		got, pending := answer(cookies.New(defaults(), sid), request("sid=ada-1"), swap(), h)
		assert.Equal(t, want, names(got))
		assert.Equal(t, cookies.NoAction, pending.Action())
	}
	h := cookies.Handler{Shown: 0, Ended: func() bool { return true }, Classify: classify}
	got, pending := answer(cookies.New(defaults(), sid), request("sid=ada-1", method("POST")), swap(), h, "sid=; Max-Age=0")
	assert.Equal(t, "-sid", names(got))
	assert.Equal(t, cookies.LoggedOut, pending.Action(), "its legacy session ends too")
}

// Another request signed a user in while the handler ran, and the handler logs out by code
// from before the migration. The new Stytch cookies stay. Only a logout asks.
func TestReplacedWhileTheHandlerLogsOut(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		h := cookies.Handler{Shown: 0, Replaced: func() bool { return replaced }, Classify: classify}
		got, pending := answer(cookies.New(defaults(), sid), request("sid=ada-1", method("POST")), &cookies.Change{Watch: true}, h, "sid=; Max-Age=0")
		assert.Equal(t, map[bool]string{false: "-sid -token -jwt -sid -csrf", true: "-sid -sid -csrf"}[replaced], names(got))
		assert.Equal(t, cookies.LoggedOut, pending.Action())
	}
	h := cookies.Handler{Shown: 0, Replaced: func() bool { t.Error("asked"); return true }, Classify: classify}
	got, _ := answer(cookies.New(defaults(), sid), request("sid=ada-1", method("POST")), &cookies.Change{Clear: true}, h)
	assert.Equal(t, "-token -jwt", names(got))
}

// A logout expires the cookies of all sessions, in every scope.
func TestLogOutClearsEveryScope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := cookies.New(options(func(o *cookies.Options) { o.OldScopes = []cookies.Scope{{Domain: "example.com"}} }),
			append(sid, cookies.Legacy{Name: "old", Scopes: []cookies.Scope{{}, {Path: "/app"}}}))
		h := http.Header{"Cache-Control": {"public"}}
		assert.NoError(t, p.LogOut(h, request(""), nil))
		assert.Equal(t, []string{
			"token=; Path=/" + expired + usual, "jwt=; Path=/" + expired + usual,
			"token=; Path=/; Domain=example.com" + expired + usual, "jwt=; Path=/; Domain=example.com" + expired + usual,
			noSid, noCSRF, "old=; Path=/" + expired + usual, "old=; Path=/app" + expired + usual,
		}, h["Set-Cookie"])
		assert.Equal(t, []string{"no-store"}, h["Cache-Control"])
	})
}

// Each row is what the handler had set before it calls LogOut, and what then is on the
// response. The browser sent "sid=ada-1; csrf=".
func TestLogOutAfterTheHandlerSetCookies(t *testing.T) {
	for before, want := range map[string]string{
		"theme=dark":      "+theme -token -jwt -sid -csrf",
		"token=own":       "-token -jwt -sid -csrf",
		"jwt=own":         "-token -jwt -sid -csrf",
		"sid=ada-1":       "-token -jwt -sid -csrf",
		"sid=visitor":     "+sid -token -jwt -csrf",
		"sid=; Max-Age=0": "-sid -token -jwt -sid -csrf",
		"csrf=":           "+csrf -token -jwt -sid",
	} {
		h := http.Header{"Set-Cookie": {before}}
		assert.NoError(t, cookies.New(defaults(), sid).LogOut(h, request("sid=ada-1; csrf="), nil))
		assert.Equal(t, want, names(h), before)
	}
}

// Each row is what the handler sets after it called LogOut. A sign-in after the logout
// counts, and an old logout adds nothing.
func TestLogOutGoesBeforeWhatIsPending(t *testing.T) {
	for after, want := range map[string]string{
		"theme=dark":      "+theme -token -jwt -sid -csrf",
		"sid=; Max-Age=0": "-sid -token -jwt -sid -csrf",
		"sid=bob-1":       "+sid -token -jwt -csrf",
		"token=own":       "+token -jwt -sid -csrf",
	} {
		p := cookies.New(defaults(), sid)
		r := request("sid=ada-1", method("POST"))
		ended := false
		pending, _ := p.Prepare(r, swap(), cookies.Handler{Shown: 0, Classify: classify, Ended: func() bool { return ended }})
		w := httptest.NewRecorder()
		w.Header()["Set-Cookie"] = []string{"sid=ada-1"}
		assert.NoError(t, p.LogOut(w.Header(), r, pending))
		assert.NotContains(t, w.Header(), "Set-Cookie", "what was set of an ended session is dropped")
		ended = true
		w.Header()["Set-Cookie"] = []string{after}
		pending.Commit(w)
		assert.Equal(t, want, names(w.Header()), after)
		assert.Equal(t, cookies.NoAction, pending.Action())
	}
}

func TestLogOutTooLate(t *testing.T) {
	p := cookies.New(defaults(), sid)
	_, pending := answer(p, request("sid=ada-1"), swap(), deaf)
	assert.EqualError(t, p.LogOut(http.Header{}, request("sid=ada-1"), pending), "stytchmigrate: Logout after the response began: cookies were not cleared")
}
