package cookies_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/redact"
)

// answerWith is the lines of a response whose handler has set a field of that length.
func answerWith(field int, cookieHeader string, ch *cookies.Change) (lines string, header http.Header) {
	pending, _ := cookies.New(defaults(), sid).Prepare(request(cookieHeader), ch, deaf)
	w := httptest.NewRecorder()
	w.Header()["content-security-policy"] = []string{xs(field)}
	pending.Commit(w)
	return names(w.Header()), w.Header()
}

func longJWT(ch *cookies.Change) *cookies.Change {
	ch.Set.JWT = redact.Secret(xs(1000))
	return ch
}

// Each row is a change, and what a response writes of it with more and more in the
// handler's own header. What signs a user out is never left out.
func TestHandlersHeaderCounts(t *testing.T) {
	for name, row := range map[string]struct {
		change *cookies.Change
		want   [3]string // beside 1, 2.9 and 4 KB
	}{
		"a session that moves":                     {longJWT(swap()), [3]string{"+token +jwt -sid -csrf", "+token -jwt -sid -csrf", ""}},
		"a refresh":                                {longJWT(&cookies.Change{Set: session()}), [3]string{"+token +jwt", "+token -jwt", ""}},
		"a cookie in excess":                       {&cookies.Change{Expire: []int{0}}, [3]string{"-sid -csrf", "-sid -csrf", ""}},
		"a session in place of one that has ended": {longJWT(&cookies.Change{Set: session(), Clear: true}), [3]string{"+token +jwt", "+token -jwt", ""}},
		"a session that has ended":                 {&cookies.Change{Clear: true}, [3]string{"-token -jwt", "-token -jwt", "-token -jwt"}},
		"a conflict":                               {&cookies.Change{Clear: true, Expire: []int{0}}, [3]string{"-token -jwt -sid -csrf", "-token -jwt -sid -csrf", "-token -jwt -sid -csrf"}},
	} {
		for i, size := range []int{1000, 2900, 4000} {
			got, _ := answerWith(size, "sid=ada-1; jwt=j", row.change)
			assert.Equal(t, row.want[i], got, "%s, beside %d bytes", name, size)
		}
	}
}

// A logout is heard, and its lines are written, beside any header.
func TestLogOutBesideALongHeader(t *testing.T) {
	p := cookies.New(defaults(), sid)
	r := request("sid=ada-1", method("POST"))
	for name, logOut := range map[string]func(h http.Header, pending *cookies.Pending){
		"an old logout":   func(h http.Header, _ *cookies.Pending) { h.Set("Set-Cookie", "sid=; Max-Age=0") },
		"Logout":          func(h http.Header, pd *cookies.Pending) { assert.NoError(t, p.LogOut(h, r, pd)) },
		"Clear-Site-Data": func(h http.Header, _ *cookies.Pending) { h.Set("Clear-Site-Data", `"*"`) },
	} {
		pending, _ := p.Prepare(r, swap(), cookies.Handler{Shown: 0, Session: true, Classify: classify})
		w := httptest.NewRecorder()
		w.Header().Set("Content-Security-Policy", xs(5000))
		logOut(w.Header(), pending)
		pending.Commit(w)
		assert.Contains(t, names(w.Header()), "-token -jwt -sid -csrf", name)
	}
}

// What the handler itself set leaves more room, and what goes out as a trailer counts
// for nothing.
func TestWhatCountsOfAHeader(t *testing.T) {
	pending, _ := cookies.New(defaults(), sid).Prepare(request("sid=ada-1"), longJWT(swap()), cookies.Handler{Shown: -1, Classify: classify})
	w := httptest.NewRecorder()
	w.Header()[http.TrailerPrefix+"Checksum"] = []string{xs(4000)}
	pending.Commit(w)
	assert.Equal(t, "+token +jwt -sid -csrf", names(w.Header()))

	many := []cookies.Legacy{{Name: "sid", Scopes: paths()}}
	for line, want := range map[string]string{"theme=1": "+theme", "sid=visitor": "+sid +token"} {
		pending, _ := cookies.New(defaults(), many).Prepare(request("sid=ada-1"), longJWT(swap()), cookies.Handler{Shown: -1, Classify: classify})
		w := httptest.NewRecorder()
		w.Header()["Set-Cookie"] = []string{line}
		w.Header().Set("Link", xs(3200))
		pending.Commit(w)
		assert.Equal(t, want, names(w.Header()))
	}
}

// The limit holds for what a server sends: at no size of the handler's header is the
// whole over 4 KB, and close to it all is written.
func TestHeaderOnTheWireStaysWithinTheLimit(t *testing.T) {
	full := 0
	for size := 500; size < 3700; size += 50 {
		_, h := answerWith(size, "sid=ada-1", longJWT(swap()))
		wire := wireSize(t, h)
		assert.LessOrEqual(t, wire, 4096, size)
		if strings.Contains(names(h), "+jwt") {
			full = wire
		}
	}
	assert.Greater(t, full, 3700, "the room is used")
}

// wireSize is how long a header is as net/http sends it, with the longest of what it adds.
func wireSize(t *testing.T, h http.Header) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, lines := range h {
			w.Header()[name] = lines
		}
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNonAuthoritativeInfo)
		_, _ = w.Write(make([]byte, 5000))
	}))
	defer s.Close()
	c := dial(t, s)
	return bytes.Index(c, []byte("\r\n\r\n")) + len("\r\n\r\n")
}

// dial returns all that the server answers to a plain request.
func dial(t *testing.T, s *httptest.Server) []byte {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if !assert.NoError(t, err) {
		return nil
	}
	defer c.Close()
	_, err = c.Write([]byte("GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n"))
	assert.NoError(t, err)
	all, err := io.ReadAll(c)
	assert.NoError(t, err)
	return all
}

// Lines that wait for another response are reported, and not those that there are none of.
func TestPostponed(t *testing.T) {
	for name, row := range map[string]struct {
		change *cookies.Change
		field  int
		line   string
		want   bool
	}{
		"there is room":              {swap(), 100, "", false},
		"there is none":              {swap(), 4000, "", true},
		"nothing is to be written":   {&cookies.Change{Watch: true}, 4000, "", false},
		"a session that has ended":   {&cookies.Change{Clear: true}, 4000, "", false},
		"the handler sets it itself": {&cookies.Change{Expire: []int{0}}, 100, "sid=visitor", false},
	} {
		pending, _ := cookies.New(defaults(), []cookies.Legacy{{Name: "sid"}}).Prepare(request("sid=ada-1"), row.change, cookies.Handler{Shown: -1, Classify: classify})
		w := httptest.NewRecorder()
		w.Header().Set("Content-Security-Policy", xs(row.field))
		if row.line != "" {
			w.Header().Set("Set-Cookie", row.line)
		}
		pending.Commit(w)
		assert.Equal(t, row.want, pending.Postponed(), name)
	}
}
