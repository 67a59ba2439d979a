package cookies

import (
	"net/http"
	"slices"
)

// maxPairsTold is how many session cookies of one request [Policy.Inspect] tells one by
// one. A request may bring thousands.
const maxPairsTold = 20

// Pair is one session cookie of a request, as [Policy.Read] sees it.
type Pair struct {
	Name    string
	Value   string // without quotes; "" if it is not read
	Bytes   int    // of the value as it came
	NotRead string // why Read passes it over; "" if it does not
}

// Inspection is all cookies of a request, for a person who asks why it was not signed in.
type Inspection struct {
	Session []Pair // in the order of the Cookie header, the first 20
	More    int    // session cookies that are not in Session
	Others  int    // cookies that the Policy does not know
	TooLong bool   // the header has more pairs than net/http takes: no cookie is read
}

// Inspect tells the cookies of r one by one, those of Legacy.Also too.
func (p *Policy) Inspect(r *http.Request) (in Inspection) {
	if in.TooLong = isTooLong(r.Header["Cookie"]); in.TooLong {
		return in
	}
	for name, raw := range pairs(r.Header["Cookie"]) {
		switch {
		case name == "" && raw == "":
		case !p.isStytch(name) && !p.isLegacy(name):
			in.Others++
		case len(in.Session) == maxPairsTold:
			in.More++
		default:
			in.Session = append(in.Session, in.pair(p, name, raw))
		}
	}
	return in
}

func (in *Inspection) pair(p *Policy, name, raw string) Pair {
	x := Pair{Name: name, Bytes: len(raw)}
	value, ok := cookieValue(raw)
	switch {
	case !p.isRead(name):
		x.NotRead = "it goes with the old session's cookie, and no session is found by it"
	case !ok:
		x.NotRead = "it has characters that no cookie value may have, so it is not read"
	case value == "":
		x.NotRead = "it is empty"
	case slices.ContainsFunc(in.Session, func(y Pair) bool { return y.Name == name && y.Value == value }):
		x.NotRead = "the same value came before"
	default:
		x.Value = value
	}
	return x
}

// SessionNames returns the names of the cookies that a session is found by: first the
// legacy ones, each once.
func (p *Policy) SessionNames() (names []string) {
	for i := range p.legacy {
		if name := p.legacy[i].Name; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return append(names, p.opts.SessionName, p.opts.JWTName)
}

// LegacyNames returns the names of the legacy cookies, by index.
func (p *Policy) LegacyNames() (names []string) {
	for i := range p.legacy {
		names = append(names, p.legacy[i].Name)
	}
	return names
}
