package cookies_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/cookies"
)

// Each row is what a response has before a sign-in and after it, and its cookies: those
// where lines were pending, and those where none were.
func TestSignInLines(t *testing.T) {
	for name, row := range map[string]struct {
		before, after      func(h http.Header)
		expire             []int
		pending, immediate string
	}{
		"nothing":                  {nil, nil, []int{0}, "+token +jwt -sid -csrf", "+token +jwt -sid -csrf"},
		"no legacy cookie":         {nil, nil, nil, "+token +jwt", "+token +jwt"},
		"own tokens before":        {add("token=OLD", "jwt=OLD"), nil, nil, "+token +jwt", "+token +jwt"},
		"a deletion before":        {add("token=; Max-Age=0", "jwt=; Max-Age=0; Domain=example.com"), nil, nil, "+token +jwt", "+token +jwt"},
		"an own token after":       {nil, add("token=OWN"), nil, "+token +jwt", "+token +jwt +token"},
		"a deletion after":         {nil, add("jwt=; Max-Age=0"), []int{0}, "-jwt -sid -csrf", "+token +jwt -sid -csrf -jwt"},
		"the old cookie again":     {add("sid=ada-1"), nil, []int{0}, "+token +jwt -sid -csrf", "+token +jwt -sid -csrf"},
		"a new old cookie":         {add("sid=ada-2"), nil, []int{0}, "+sid +token +jwt -csrf", "+sid +token +jwt -csrf"},
		"no room for the JWT":      {long(3850), nil, nil, "+token", "+token"},
		"no room for anything":     {long(9000), nil, nil, "+token", "+token"},
		"Clear-Site-Data after it": {nil, func(h http.Header) { h.Set("Clear-Site-Data", `"*"`) }, nil, "", "+token +jwt"},
	} {
		t.Run(name, func(t *testing.T) {
			p := cookies.New(defaults(), sid)
			r := request("sid=ada-1")
			for i := range 4 {
				waits, in := i%2 == 0, cookies.SignIn{Set: *session(), Expire: row.expire}
				in.Set.UntilBrowserCloses = i > 1 // its cookies have no Max-Age
				w := httptest.NewRecorder()
				var pending *cookies.Pending
				want := row.immediate
				if waits {
					pending, _ = p.Prepare(r, swap(), cookies.Handler{Shown: 0, Classify: func(int, string) cookies.Action { return cookies.Overruled }})
					want = row.pending
				}
				if row.before != nil {
					row.before(w.Header())
				}
				require.NoError(t, p.CanSignIn(w.Header(), pending))
				require.NoError(t, p.SignIn(w.Header(), r, pending, in))
				if row.after != nil {
					row.after(w.Header())
				}
				if waits {
					pending.Commit(w)
					assert.Equal(t, cookies.NoAction, pending.Action())
				}
				assert.Equal(t, want, names(w.Header()))
			}
		})
	}
}

func add(lines ...string) func(http.Header) {
	return func(h http.Header) { h["Set-Cookie"] = append(h["Set-Cookie"], lines...) }
}

func long(n int) func(http.Header) {
	return func(h http.Header) { h.Set("Link", strings.Repeat("x", n)) }
}

// The session that was signed in has ended before the lines go out. Whether the one of
// before has ended does not count any more.
func TestSignInOfASessionThatHasEnded(t *testing.T) {
	for _, ended := range []bool{true, false} {
		p := cookies.New(defaults(), sid)
		w, r := httptest.NewRecorder(), request("sid=ada-1")
		h := deaf
		h.Ended = func() bool { return !ended }
		pending, _ := p.Prepare(r, swap(), h)
		require.NoError(t, p.SignIn(w.Header(), r, pending, cookies.SignIn{Set: *session(), Ended: func() bool { return ended }}))
		pending.Commit(w)
		assert.Equal(t, map[bool]string{true: "", false: "+token +jwt"}[ended], names(w.Header()))
	}
}

// The last of the two counts.
func TestSignInAndLogOut(t *testing.T) {
	p, r := cookies.New(defaults(), sid), request("sid=ada-1")
	for _, waits := range []bool{true, false} {
		for _, logOutLast := range []bool{true, false} {
			w := httptest.NewRecorder()
			var pending *cookies.Pending
			if waits {
				pending, _ = p.Prepare(r, swap(), deaf)
			}
			signIn := func() {
				require.NoError(t, p.SignIn(w.Header(), r, pending, cookies.SignIn{Set: *session(), Expire: []int{0}}))
				assert.Contains(t, p.Planned(w.Header(), pending), "TOKEN")
			}
			if !logOutLast {
				require.NoError(t, p.LogOut(w.Header(), r, pending))
				signIn()
			} else {
				signIn()
				require.NoError(t, p.LogOut(w.Header(), r, pending))
				assert.Empty(t, p.Planned(w.Header(), pending))
			}
			if waits {
				pending.Commit(w)
			}
			for _, name := range []string{"token", "jwt"} {
				assert.Equal(t, !logOutLast, strings.Contains(names(w.Header()), "+"+name))
				assert.Equal(t, logOutLast, strings.Contains(names(w.Header()), "-"+name))
			}
		}
	}
}

// Nothing is done when the response has begun, or would have the cookies dropped.
func TestNoSignIn(t *testing.T) {
	p, r, w := cookies.New(defaults(), sid), request("sid=ada-1"), httptest.NewRecorder()
	pending, _ := p.Prepare(r, swap(), deaf)
	pending.Commit(w)
	assert.ErrorContains(t, p.CanSignIn(w.Header(), pending), "after the response began")
	assert.ErrorContains(t, p.SignIn(w.Header(), r, pending, cookies.SignIn{Set: *session()}), "after the response began")
	assert.Equal(t, "+token +jwt -sid -csrf", names(w.Header()))
	w.Header().Set("Clear-Site-Data", `"cookies"`)
	assert.ErrorContains(t, p.CanSignIn(w.Header(), nil), "Clear-Site-Data")
}
