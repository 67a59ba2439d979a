package writers

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
)

const (
	both = " stytch_session stytch_session_jwt"  // what the handler sees of a Stytch session
	set  = "+stytch_session +stytch_session_jwt" // what the browser gets
	gone = "-sid"
)

// visitor is who comes, and what has to come of it by whatever a handler answers.
type visitor struct {
	name  string
	stage stytchmigrate.Stage
	pages int    // that the visitor has looked at before; -1: a visitor without a session
	who   string // that the handler finds
	sees  string // the cookies that it sees
	lines string // the cookies of the response; none: they stay as they are
	next  string // the handler's and the response's cookies of the page after it
}

// visitors are those whose response is the server's own, and those for whom it is
// wrapped: to set cookies, to expire one, to add some, and to hear whether the handler
// logs out.
var visitors = []visitor{
	{name: "no session", pages: -1, who: "anonymous", next: " | -"},
	{name: "moves", who: "migrated ada", sees: " sid" + both, lines: set, next: both + " | " + gone},
	{name: "comes back", pages: 1, who: "authenticated ada", sees: both, lines: gone, next: both + " | -"},
	{name: "known", pages: 2, who: "authenticated ada", sees: both, next: both + " | -"},
	{name: "keep", stage: stytchmigrate.StageKeep, who: "migrated ada", sees: " sid" + both, lines: set, next: " sid" + both + " | -"},
	{name: "keep, known", stage: stytchmigrate.StageKeep, pages: 1, who: "authenticated ada", sees: " sid" + both, next: " sid" + both + " | -"},
}

func (v visitor) signedIn() bool { return v.pages >= 0 }

func (v visitor) moves() bool { return v.lines == set }

// page is what a handler finds.
func (v visitor) page() string { return v.who + v.sees }

// upgrades is what a handler finds in a handshake, in answer to which no cookie
// changes, and so none of the request.
func (v visitor) upgrades() string {
	switch v.lines {
	case set:
		return v.who + " sid"
	case gone:
		return v.who + " sid" + both
	}
	return v.page()
}

// wants is what told has to say where the handler answered: the cookies are there
// once, and what they are in is for no cache.
func (v visitor) wants(answer string) string {
	if v.lines == "" {
		return answer + " | - | public | -"
	}
	return answer + " | " + v.lines + " | no-store | " + cmp.Or(v.calledFor(), "-")
}

// calledFor is the calls that a request led to of which no answer came.
func (v visitor) calledFor() string {
	if v.moves() {
		return "migrate"
	}
	return ""
}

// comesBack looks at the next page: what the response before did to the cookies holds,
// and what it could not do is done now. Nobody moves twice.
func (v *visit) comesBack(written bool) {
	v.t.Helper()
	want := strings.Replace(v.who, "migrated", "authenticated", 1) + v.next
	if !written && v.lines != "" {
		want = v.page() + " | " + v.lines
	}
	caches := "no-store"
	if strings.HasSuffix(want, "| -") {
		caches = "-"
	}
	assert.Equal(v.t, "200 "+want+" | "+caches+" | -", v.told(v.send(http.MethodGet, "/page", nil)))
}
