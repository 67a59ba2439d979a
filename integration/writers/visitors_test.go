package writers

import (
	"net/http"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
)

const (
	both = " stytch_session stytch_session_jwt"  // what the handler sees of a swap
	set  = "+stytch_session +stytch_session_jwt" // and the browser
)

// visitor is who comes, and what has to come of it by whatever a handler answers.
type visitor struct {
	name  string
	stage stytchmigrate.Stage
	who   string // that the handler finds
	sees  string // the cookies that it sees
	lines string // the cookies of the response; none: they stay as they are
}

// visitors are those whose response is the server's own, and those for whom it is
// wrapped: to swap the cookies, to add some, and to hear whether the handler logs out.
var visitors = []visitor{
	{name: "no session", who: "anonymous"},
	{name: "migrates", who: "migrated ada", sees: both, lines: set + " -sid"},
	{name: "known", who: "authenticated ada", sees: both},
	{name: "keep", stage: stytchmigrate.StageKeep, who: "migrated ada", sees: " sid" + both, lines: set},
	{name: "keep, known", stage: stytchmigrate.StageKeep, who: "authenticated ada", sees: " sid" + both},
}

func (v visitor) signedIn() bool { return v.who != "anonymous" }

func (v visitor) moves() bool { return v.lines != "" }

// page is what a handler finds.
func (v visitor) page() string { return v.who + v.sees }

// upgrades is what a handler finds in a handshake, in answer to which no cookie
// changes, and so none of the request.
func (v visitor) upgrades() string {
	if v.moves() {
		return v.who + " sid"
	}
	return v.page()
}

// wants is what told has to say where the handler answered: the cookies are there
// once, and what they are in is for no cache.
func (v visitor) wants(answer string) string {
	if !v.moves() {
		return answer + " | - | public | -"
	}
	return answer + " | " + v.lines + " | no-store | migrate"
}

// calledFor is the calls that a request led to of which no answer came.
func (v visitor) calledFor() string {
	if v.moves() {
		return "migrate"
	}
	return ""
}

// comesBack looks at the next page: who was given cookies is known by them, and
// who was not is given them now. Nobody moves twice.
func (v *visit) comesBack(swapped bool) {
	v.t.Helper()
	want := "200 " + v.page() + " | - | - | -"
	if v.moves() {
		want = "200 authenticated ada" + v.sees + " | - | - | -"
		if !swapped {
			want = "200 " + v.page() + " | " + v.lines + " | no-store | -"
		}
	}
	assert.Equal(v.t, want, v.told(v.send(http.MethodGet, "/page", nil)))
}
