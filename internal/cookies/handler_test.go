package cookies_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// classify knows the session of the request, ada-1, and others of ada and bob. It must
// not be asked about an empty value, and would spoil the row.
func classify(_ int, value string) cookies.Action {
	switch value {
	case "ada-1":
		return cookies.Renewed
	case "ada-2", "bob-1", "":
		return cookies.Overruled
	}
	return cookies.NoAction
}

// answer prepares ch, lets the handler set the lines, and commits.
func answer(p *cookies.Policy, r *http.Request, ch *cookies.Change, h cookies.Handler, lines ...string) (http.Header, *cookies.Pending) {
	pending, _ := p.Prepare(r, ch, h)
	w := httptest.NewRecorder()
	w.Header()["Set-Cookie"] = lines
	w.Header().Set("Cache-Control", "public")
	pending.Commit(w)
	return w.Header(), pending
}

// Each row is a request whose legacy session moves, and whose handler sets cookies of
// its own. By GET the handler does not see the legacy cookie, by POST it does.
func TestWhatTheHandlerDoesWins(t *testing.T) {
	const (
		all       = "+token +jwt -sid -csrf"
		stays     = "+token +jwt -csrf"
		loggedOut = "-token -jwt -sid -csrf"
	)
	for name, row := range map[string]struct {
		method  string
		handler []string
		lines   string
		action  cookies.Action
	}{
		"nothing":                           {"POST", nil, all, cookies.NoAction},
		"a cookie of its own":               {"POST", []string{"theme=dark"}, "+theme " + all, cookies.NoAction},
		"a line that is no cookie":          {"GET", []string{"\u00e9"}, all, cookies.NoAction},
		"a companion of the session":        {"GET", []string{"csrf=2"}, "+csrf +token +jwt -sid", cookies.NoAction},
		"expires a companion":               {"POST", []string{"csrf=; Max-Age=0"}, "-csrf " + all, cookies.NoAction},
		"signs bob in":                      {"POST", []string{"sid=bob-1"}, "+sid", cookies.Overruled},
		"signs bob in, by GET":              {"GET", []string{"sid=bob-1"}, "+sid", cookies.Overruled},
		"signs ada in again":                {"POST", []string{"sid=ada-2"}, "+sid", cookies.Overruled},
		"deletes, then signs bob in":        {"POST", []string{"sid=; Max-Age=0", "sid=bob-1"}, "-sid +sid", cookies.Overruled},
		"signs bob in, then deletes":        {"POST", []string{"sid=bob-1", "sid=; Max-Age=0"}, "+sid -sid", cookies.Overruled},
		"sets a Stytch cookie":              {"GET", []string{"token=own"}, "+token", cookies.Overruled},
		"sets a Stytch JWT":                 {"GET", []string{"jwt=own"}, "+jwt", cookies.Overruled},
		"deletes a Stytch cookie":           {"GET", []string{"token=; Max-Age=0"}, "-token", cookies.Overruled},
		"a Stytch cookie in a broken line":  {"GET", []string{" token =\x00"}, "", cookies.Overruled},
		"saves the session again":           {"POST", []string{"sid=ada-1"}, "+sid " + stays, cookies.NoAction},
		"moves it to another path":          {"POST", []string{"sid=; Path=/old; Max-Age=0", "sid=ada-1; Path=/"}, "-sid +sid " + stays, cookies.NoAction},
		"moves it to another domain":        {"POST", []string{"sid=ada-1; Domain=example.com", "sid=; Max-Age=0"}, "+sid -sid " + stays, cookies.NoAction},
		"saves, then deletes":               {"POST", []string{"sid=ada-1", "sid=; Max-Age=0; Path=/"}, "+sid -sid -token -jwt -csrf", cookies.LoggedOut},
		"saves, then deletes, by a Domain":  {"POST", []string{"sid=ada-1; Domain=.Example.com", "sid=; Domain=example.com; Max-Age=0"}, "+sid -sid -token -jwt -csrf", cookies.LoggedOut},
		"deletes, then saves":               {"POST", []string{"sid=; Max-Age=0", "sid=ada-1"}, "-sid +sid " + stays, cookies.NoAction},
		"a visitor's session":               {"GET", []string{"sid=visitor"}, "+sid " + stays, cookies.NoAction},
		"an empty session":                  {"GET", []string{"sid=; Path=/"}, "+sid " + stays, cookies.NoAction},
		"deletes what it can't see":         {"GET", []string{"sid=; Max-Age=0"}, "-sid " + all, cookies.NoAction},
		"logs out":                          {"POST", []string{"sid=; Max-Age=0"}, "-sid " + loggedOut, cookies.LoggedOut},
		"logs out in two places":            {"POST", []string{"sid=; Max-Age=0", "sid=; Path=/app; Max-Age=0"}, "-sid -sid " + loggedOut, cookies.LoggedOut},
		"logs out by an empty session":      {"POST", []string{"sid="}, "+sid -token -jwt -csrf", cookies.LoggedOut},
		"logs out by a visitor's session":   {"POST", []string{"sid=visitor"}, "+sid -token -jwt -csrf", cookies.LoggedOut},
		"logs out, and a cookie of its own": {"POST", []string{"theme=dark", "sid=; Max-Age=0", "csrf=; Max-Age=0"}, "+theme -sid -csrf " + loggedOut, cookies.LoggedOut},
		"deletes a value that has ada in":   {"POST", []string{"sid=ada-1; Max-Age=0"}, "-sid " + loggedOut, cookies.LoggedOut},
		"a legacy cookie it can't parse":    {"POST", []string{"sid=\x00"}, "-token -jwt -csrf", cookies.LoggedOut},
	} {
		inBubble(t, name, func(t *testing.T) {
			h := cookies.Handler{Shown: -1, Classify: classify}
			if row.method == "POST" {
				h.Shown = 0
			}
			got, pending := answer(cookies.New(defaults(), sid), request("sid=ada-1", method(row.method)), swap(), h, row.handler...)
			assert.Equal(t, row.lines, names(got))
			assert.Equal(t, row.action, pending.Action())
			assert.Equal(t, []string{"no-store"}, got["Cache-Control"])
		})
	}
}

// The legacy cookie stays in the browser, and the handler sees it by GET too.
func TestHandlerOfASessionThatStays(t *testing.T) {
	for line, row := range map[string]struct {
		lines  string
		action cookies.Action
	}{
		"theme=dark":      {"+theme", cookies.NoAction},
		"sid=ada-1":       {"+sid", cookies.NoAction},
		"sid=; Max-Age=0": {"-sid -token -jwt -sid -csrf", cookies.LoggedOut},
		"sid=visitor":     {"+sid -token -jwt -csrf", cookies.LoggedOut},
		"sid=bob-1":       {"+sid", cookies.Overruled},
	} {
		inBubble(t, line, func(t *testing.T) {
			h := cookies.Handler{Shown: 0, Classify: classify}
			got, pending := answer(cookies.New(defaults(), sid), request("sid=ada-1"), &cookies.Change{Watch: true}, h, line)
			assert.Equal(t, row.lines, names(got))
			assert.Equal(t, row.action, pending.Action())
		})
	}
}

// Where no session cookie is written, neither by the handler, a cache may keep the response.
func TestResponseWithoutSessionCookies(t *testing.T) {
	got, _ := answer(cookies.New(defaults(), sid), request("sid=ada-1"), &cookies.Change{Watch: true}, cookies.Handler{Shown: 0}, "theme=dark")
	assert.Equal(t, []string{"public"}, got["Cache-Control"])
}

// Each row is what one entry of a cookie, and then a second one, reads in a value.
func TestTwoFormatsOfOneCookie(t *testing.T) {
	const none, same, other = cookies.NoAction, cookies.Renewed, cookies.Overruled
	for name, row := range map[string]struct {
		read  [2]cookies.Action
		lines string
	}{
		"no session":             {[2]cookies.Action{none, none}, "+sid -token -jwt -other"},
		"the first reads it":     {[2]cookies.Action{same, none}, "+sid +token +jwt"},
		"the second reads it":    {[2]cookies.Action{none, same}, "+sid +token +jwt"},
		"the first reads bob's":  {[2]cookies.Action{other, same}, "+sid"},
		"the second reads bob's": {[2]cookies.Action{same, other}, "+sid"},
	} {
		t.Run(name, func(t *testing.T) {
			p := cookies.New(defaults(), []cookies.Legacy{{Name: "sid"}, {Name: "other"}, {Name: "sid"}})
			h := cookies.Handler{Shown: 2, Classify: func(i int, value string) cookies.Action {
				assert.Equal(t, "new", value)
				return row.read[i/2]
			}}
			got, _ := answer(p, request("sid=ada-1", method("POST")), &cookies.Change{Set: session(), Expire: []int{2}}, h, "sid=new")
			assert.Equal(t, row.lines, names(got))
		})
	}
}

// A session that the handler saves under another legacy name is the same one.
func TestRenamedCookie(t *testing.T) {
	p := cookies.New(defaults(), []cookies.Legacy{{Name: "sid"}, {Name: "sid2"}})
	h := cookies.Handler{Shown: 0, Classify: classify}
	got, pending := answer(p, request("sid=ada-1", method("POST")), swap(), h, "sid=; Max-Age=0", "sid2=ada-1")
	assert.Equal(t, "-sid +sid2 +token +jwt -sid", names(got))
	assert.Equal(t, cookies.NoAction, pending.Action())
}

// A legacy cookie with a value may be a session, by each entry that reads its name.
func TestLegacySet(t *testing.T) {
	p := cookies.New(defaults(), []cookies.Legacy{{Name: "sid", Also: []string{"csrf"}}, {Name: "old"}, {Name: "sid"}})
	for lines, want := range map[string]string{
		"":                               "",
		"theme=dark":                     "",
		"sid=ada-1; Path=/app|old=bob-1": "0 ada-1, 2 ada-1, 1 bob-1",
		"sid=; Path=/":                   "",
		"sid=ada-1; Max-Age=0":           "",
		"csrf=1|token=T|jwt=J":           "",
	} {
		h := http.Header{}
		for line := range strings.SplitSeq(lines, "|") {
			h["set-cookie"] = append(h["set-cookie"], line)
		}
		var got []string
		for i, v := range p.LegacySet(h) {
			got = append(got, fmt.Sprint(i, " ", v))
		}
		assert.Equal(t, want, strings.Join(got, ", "), lines)
	}
}

// Each row is what is on the response when a handler has returned whose legacy session is
// no session any more at its source. A line after "|" comes from a middleware outside.
func TestGoneWithoutASetCookie(t *testing.T) {
	for name, row := range map[string]struct {
		change *cookies.Change
		lines  string
		action cookies.Action
		asked  int
	}{
		"nothing":                  {&cookies.Change{Watch: true}, "", cookies.LoggedOut, 1},
		"as it moves":              {&cookies.Change{Set: session(), Watch: true}, "", cookies.LoggedOut, 1},
		"as its cookie goes":       {swap(), "", cookies.LoggedOut, 1},
		"a cookie of its own":      {&cookies.Change{Watch: true}, "theme=dark", cookies.LoggedOut, 1},
		"a companion":              {&cookies.Change{Watch: true}, "csrf=2", cookies.LoggedOut, 1},
		"a visitor's":              {&cookies.Change{Watch: true}, "sid=visitor", cookies.LoggedOut, 0},
		"expired":                  {&cookies.Change{Watch: true}, "sid=; Max-Age=0", cookies.LoggedOut, 0},
		"a sign-in":                {&cookies.Change{Watch: true}, "sid=bob-1", cookies.Overruled, 0},
		"a session saved again":    {&cookies.Change{Watch: true}, "sid=ada-1", cookies.NoAction, 0},
		"saved under another name": {&cookies.Change{Watch: true}, "old=ada-1", cookies.NoAction, 0},
		"a Stytch cookie":          {&cookies.Change{Watch: true}, "token=own", cookies.Overruled, 0},
		"saved outside":            {&cookies.Change{Watch: true}, "|sid=ada-1", cookies.NoAction, 0},
		"a sign-in outside":        {&cookies.Change{Watch: true}, "|sid=bob-1", cookies.NoAction, 0},
		"a visitor's, outside":     {&cookies.Change{Watch: true}, "|sid=visitor", cookies.LoggedOut, 1},
		"expired outside":          {&cookies.Change{Watch: true}, "|sid=; Max-Age=0", cookies.LoggedOut, 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			h := cookies.Handler{Shown: 0, Classify: classify, Gone: func() bool { asked++; return true }}
			pending, _ := cookies.New(defaults(), append(sid, cookies.Legacy{Name: "old"})).Prepare(request("sid=ada-1", method("POST")), row.change, h)
			w := httptest.NewRecorder()
			inside, outside, _ := strings.Cut(row.lines, "|")
			addLine(w, inside)
			pending.Commit(w)
			addLine(w, outside)
			pending.Finish(w)
			assert.Equal(t, row.action, pending.Action())
			assert.Equal(t, row.asked, asked)
		})
	}
}

func addLine(w http.ResponseWriter, line string) {
	if line != "" {
		w.Header().Add("Set-Cookie", line)
	}
}

// A session that goes on is no logout, nor is one that can't be told.
func TestNotGone(t *testing.T) {
	h := cookies.Handler{Shown: 0, Classify: classify, Gone: func() bool { return false }}
	pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1", method("POST")), &cookies.Change{Watch: true}, h)
	w := httptest.NewRecorder()
	pending.Finish(w)
	assert.Equal(t, cookies.NoAction, pending.Action())
	assert.Empty(t, names(w.Header()))
}

// What has ended the session otherwise is not asked about.
func TestGoneIsNotAskedAfterALogout(t *testing.T) {
	p := cookies.New(defaults(), sid)
	r := request("sid=ada-1", method("POST"))
	pending, _ := p.Prepare(r, swap(), cookies.Handler{Shown: 0, Classify: classify, Gone: func() bool { t.Error("asked"); return true }})
	w := httptest.NewRecorder()
	assert.NoError(t, p.LogOut(w.Header(), r, pending))
	pending.Finish(w)
	assert.Equal(t, "-token -jwt -sid -csrf", names(w.Header()))
}
