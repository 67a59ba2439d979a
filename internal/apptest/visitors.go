package apptest

import (
	"flag"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// Wallet is what the rows of a table make Cookie headers of.
type Wallet struct {
	App            *App
	Ada, Bob, Ada2 stytchtest.Session // ada2 is another of ada's, on another device
}

func NewWallet(a *App) Wallet {
	session := func(u stytchtest.User) stytchtest.Session { return a.Stytch.NewSession(u.ID, 30*24*time.Hour) }
	return Wallet{a, session(a.Ada), session(a.Bob), session(a.Ada)}
}

// Header writes out the names: a for ada's, b for bob's, a2 for ada's other
// one; T for the token, J for a valid JWT, E for one that has expired, and F
// for another project's.
func (w Wallet) CookieHeader(names string) string {
	var pairs []string
	for name := range strings.SplitSeq(names, " ") {
		s := map[string]stytchtest.Session{"a": w.Ada, "b": w.Bob, "a2": w.Ada2}[name[1:]]
		switch name[0] {
		case 'T':
			pairs = append(pairs, "stytch_session="+s.Token)
		case 'E':
			pairs = append(pairs, "stytch_session_jwt="+s.JWT)
		case 'J':
			pairs = append(pairs, "stytch_session_jwt="+w.App.Stytch.JWT(s.ID))
		case 'F':
			pairs = append(pairs, "stytch_session_jwt="+w.foreign())
		case 'X':
			pairs = append(pairs, "stytch_session"+name[1:])
		}
	}
	return strings.Join(pairs, "; ")
}

// Foreign is a JWT of another project, as good as they come there.
func (w Wallet) foreign() string {
	const other = "project-test-00000000-0000-4000-8000-000000000000"
	return w.App.Stytch.SignJWT(Changed(w.App.Stytch.Claims(w.Ada.ID), Object{"iss": "stytch.com/" + other, "aud": []string{other}}), nil)
}

// Visitor is one of many requests at once, and what it got.
type Visitor struct {
	*httptest.ResponseRecorder
	Outcome stytchmigrate.Outcome
	User    string
	Ran     bool
	Took    time.Duration
}

func (v *Visitor) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	v.Ran, v.Outcome = true, stytchmigrate.OutcomeFromContext(r.Context())
	if u, ok := stytchmigrate.UserFromContext(r.Context()); ok {
		v.User = u.UserID
	}
}

var Full = flag.Bool("full", false, "send all the requests that tests speak of, and not a fifth of them")

// Load is n requests, or a fifth of them: as many as still go well beyond the
// bounds that the tests are about, which are the same.
func Scaled(n int) int {
	if *Full {
		return n
	}
	return n / 5
}

// Tab is a browser that forgets a cookie when its time has come.
type Browser struct {
	App     *App
	Cookies string
	Until   time.Time
}

// Visit asks for a page, and returns the reply.
func (b *Browser) Visit(change ...func(*http.Request)) *Reply {
	if !time.Now().Before(b.Until) {
		b.Cookies = ""
	}
	r := b.App.Get(b.Cookies, change...)
	b.Cookies = r.Jar(b.Cookies)
	for _, c := range r.Result().Cookies() {
		if c.Name == "stytch_session" {
			b.Until = time.Now().Add(time.Duration(c.MaxAge) * time.Second)
		}
	}
	return r
}

// Untouched drops the cookies but the one whose pair begins like that.
func (b *Browser) KeepOnly(only string) {
	for pair := range strings.SplitSeq(b.Cookies, "; ") {
		if only != "" && strings.HasPrefix(pair, only) {
			b.Cookies = pair
		}
	}
}
