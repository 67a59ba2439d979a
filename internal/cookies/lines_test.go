package cookies_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/redact"
)

const (
	month   = "; Max-Age=2592000" // the session's 30 days
	expired = "; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0"
	usual   = "; HttpOnly; Secure; SameSite=Lax"
	token   = "token=TOKEN; Path=/" + month + usual
	jwt     = "jwt=JWT; Path=/" + month + usual
	noSid   = "sid=; Path=/" + expired + usual
	noCSRF  = "csrf=; Path=/" + expired + usual
)

// Each row is what is set and expired where a legacy session moves.
func TestSetCookieLines(t *testing.T) {
	type o = cookies.Options
	legacy := func(name string, scopes ...cookies.Scope) cookies.Legacy {
		return cookies.Legacy{Name: name, Scopes: scopes}
	}
	for name, row := range map[string]struct {
		opts   cookies.Options
		legacy cookies.Legacy
		want   []string
	}{
		"defaults": {defaults(), legacy("sid"), []string{token, jwt, noSid}},
		"a domain and a path": {options(func(o *o) { o.Domain, o.Path = ".example.com", "/app" }), legacy("sid"), []string{
			"token=TOKEN; Path=/app; Domain=example.com" + month + usual, "jwt=JWT; Path=/app; Domain=example.com" + month + usual, noSid}},
		"same-site none": {options(func(o *o) { o.SameSite = http.SameSiteNoneMode }), legacy("sid"), []string{
			"token=TOKEN; Path=/" + month + "; HttpOnly; Secure; SameSite=None", "jwt=JWT; Path=/" + month + "; HttpOnly; Secure; SameSite=None",
			"sid=; Path=/" + expired + "; HttpOnly; Secure; SameSite=None"}},
		"readable by scripts": {options(func(o *o) { o.ReadableByScripts = true }), legacy("sid"), []string{
			"token=TOKEN; Path=/" + month + "; Secure; SameSite=Lax", "jwt=JWT; Path=/" + month + "; Secure; SameSite=Lax", noSid}},
		"insecure": {options(func(o *o) { o.Insecure = true }), legacy("sid"), []string{
			"token=TOKEN; Path=/" + month + "; HttpOnly; SameSite=Lax", "jwt=JWT; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"sid=; Path=/" + expired + "; HttpOnly; SameSite=Lax"}},
		"insecure, and a legacy name with the prefix __Secure-": {options(func(o *o) { o.Insecure = true }), legacy("__Secure-sid"), []string{
			"token=TOKEN; Path=/" + month + "; HttpOnly; SameSite=Lax", "jwt=JWT; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"__Secure-sid=; Path=/" + expired + usual}},
		"insecure, and a legacy name with the prefix __Host-": {options(func(o *o) { o.Insecure = true }), legacy("__Host-sid"), []string{
			"token=TOKEN; Path=/" + month + "; HttpOnly; SameSite=Lax", "jwt=JWT; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"__Host-sid=; Path=/" + expired + usual}},
		"insecure, and a legacy name with the prefix __Http-": {options(func(o *o) { o.Insecure = true }), legacy("__Http-sid", cookies.Scope{Path: "/app"}), []string{
			"token=TOKEN; Path=/" + month + "; HttpOnly; SameSite=Lax", "jwt=JWT; Path=/" + month + "; HttpOnly; SameSite=Lax",
			"__Http-sid=; Path=/app" + expired + usual}},
		"readable by scripts, and a legacy name with the prefix __Host-Http-": {options(func(o *o) { o.ReadableByScripts = true }), legacy("__host-http-sid", cookies.Scope{Path: "/app"}), []string{
			"token=TOKEN; Path=/" + month + "; Secure; SameSite=Lax", "jwt=JWT; Path=/" + month + "; Secure; SameSite=Lax",
			"__host-http-sid=; Path=/" + expired + usual}},
		"names with prefixes": {options(func(o *o) { o.SessionName, o.JWTName = "__Host-s", "__Secure-j" }), legacy("sid"), []string{
			"__Host-s=TOKEN; Path=/" + month + usual, "__Secure-j=JWT; Path=/" + month + usual, noSid}},
		"old scopes": {options(func(o *o) { o.OldScopes = []cookies.Scope{{Domain: "example.com"}, {Path: "/app"}} }), legacy("sid"), []string{
			token, jwt, "token=; Path=/; Domain=example.com" + expired + usual, "jwt=; Path=/; Domain=example.com" + expired + usual,
			"token=; Path=/app" + expired + usual, "jwt=; Path=/app" + expired + usual, noSid}},
		"old scopes, and a name that never was in them": {options(func(o *o) {
			o.SessionName, o.OldScopes = "__Host-s", []cookies.Scope{{Domain: "example.com"}}
		}), legacy("sid"), []string{
			"__Host-s=TOKEN; Path=/" + month + usual, jwt, "jwt=; Path=/; Domain=example.com" + expired + usual, noSid}},
		"a prefix in other letters": {options(func(o *o) {
			o.SessionName, o.OldScopes = "__host-s", []cookies.Scope{{Domain: "example.com"}}
		}), legacy("__HOST-sid", cookies.Scope{Path: "/app"}), []string{
			"__host-s=TOKEN; Path=/" + month + usual, jwt, "jwt=; Path=/; Domain=example.com" + expired + usual, "__HOST-sid=; Path=/" + expired + usual}},
		"legacy scopes and companions": {defaults(),
			cookies.Legacy{Name: "sid", Also: []string{"csrf"}, Scopes: []cookies.Scope{{}, {Domain: ".Example.com", Path: "/app"}}}, []string{
				token, jwt, noSid, noCSRF, "sid=; Path=/app; Domain=example.com" + expired + usual, "csrf=; Path=/app; Domain=example.com" + expired + usual}},
		"a legacy name that only a strict deletion expires": {defaults(), legacy("__Host-sid", cookies.Scope{Domain: "example.com", Path: "/app"}), []string{
			token, jwt, "__Host-sid=; Path=/" + expired + usual}},
	} {
		inBubble(t, name, func(t *testing.T) {
			h, _ := commit(cookies.New(row.opts, []cookies.Legacy{row.legacy}), request(""), swap())
			assert.Equal(t, row.want, h["Set-Cookie"])
			assert.Equal(t, []string{"no-store"}, h["Cache-Control"])
		})
	}
}

// The cookies of a session for as long as the browser is open say nothing of an end,
// with the JWT or without it. What is expired beside them is, as ever.
func TestUntilBrowserCloses(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		ch := swap()
		ch.Set.UntilBrowserCloses = true
		h, _ := commit(cookies.New(defaults(), sid[:1]), request(""), ch)
		assert.Equal(t, []string{"token=TOKEN; Path=/" + usual, "jwt=JWT; Path=/" + usual, noSid, noCSRF}, h["Set-Cookie"])
		ch.Set.JWT = redact.Secret(strings.Repeat("j", 5000))
		h, _ = commit(cookies.New(defaults(), sid[:1]), request("jwt=old"), ch)
		assert.Equal(t, []string{"token=TOKEN; Path=/" + usual, "jwt=; Path=/" + expired + usual, noSid, noCSRF}, h["Set-Cookie"])
	})
}

// Each row is a change, the Set-Cookie lines of its response, and the Cookie header
// that the handler gets of "a=1; token=t; jwt=j; sid=s; csrf=c; old=o".
func TestChange(t *testing.T) {
	p := cookies.New(defaults(), append(sid, cookies.Legacy{Name: "old"}))
	for name, row := range map[string]struct {
		change   cookies.Change
		method   string
		lines    string
		passedOn string
	}{
		"nothing":                            {cookies.Change{}, "GET", "", "a=1; token=t; jwt=j; sid=s; csrf=c; old=o"},
		"set":                                {cookies.Change{Set: session()}, "GET", "+token +jwt", "a=1; sid=s; csrf=c; old=o; token=TOKEN; jwt=JWT"},
		"clear":                              {cookies.Change{Clear: true}, "GET", "-token -jwt", "a=1; sid=s; csrf=c; old=o"},
		"set goes before clear":              {cookies.Change{Set: session(), Clear: true}, "GET", "+token +jwt", "a=1; sid=s; csrf=c; old=o; token=TOKEN; jwt=JWT"},
		"expire":                             {cookies.Change{Expire: []int{1}}, "GET", "-old", "a=1; token=t; jwt=j; sid=s; csrf=c"},
		"expire both":                        {cookies.Change{Expire: []int{0, 1}}, "GET", "-sid -csrf -old", "a=1; token=t; jwt=j"},
		"expire, by HEAD":                    {cookies.Change{Expire: []int{0}}, "HEAD", "-sid -csrf", "a=1; token=t; jwt=j; old=o"},
		"expire, by POST":                    {cookies.Change{Expire: []int{0}}, "POST", "-sid -csrf", "a=1; token=t; jwt=j; sid=s; csrf=c; old=o"},
		"expire and hide, by POST":           {cookies.Change{Expire: []int{0}, Hide: true}, "POST", "-sid -csrf", "a=1; token=t; jwt=j; old=o"},
		"clear and expire":                   {cookies.Change{Clear: true, Expire: []int{1}}, "GET", "-token -jwt -old", "a=1; sid=s; csrf=c"},
		"set and expire":                     {cookies.Change{Set: session(), Expire: []int{0}}, "GET", "+token +jwt -sid -csrf", "a=1; old=o; token=TOKEN; jwt=JWT"},
		"set, and watch what stays":          {cookies.Change{Set: session(), Watch: true}, "GET", "+token +jwt", "a=1; sid=s; csrf=c; old=o; token=TOKEN; jwt=JWT"},
		"watch alone leaves all as they are": {cookies.Change{Watch: true}, "GET", "", "a=1; token=t; jwt=j; sid=s; csrf=c; old=o"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request("a=1; token=t; jwt=j; sid=s; csrf=c; old=o", method(row.method))
			h, passedOn := commit(p, r, &row.change)
			assert.Equal(t, row.lines, names(h))
			assert.Equal(t, row.lines != "", h.Get("Cache-Control") == "no-store")
			assert.Equal(t, row.lines == "", row.change.None())
			assert.Equal(t, row.passedOn, passedOn)
			assert.Equal(t, "a=1; token=t; jwt=j; sid=s; csrf=c; old=o", r.Header.Get("Cookie"), "the request of others stays")
		})
	}
}

// Each row is whether a handler sees the legacy cookie of the session that moves or stays.
func TestShows(t *testing.T) {
	for name, row := range map[string]struct {
		change cookies.Change
		method string
		want   bool
	}{
		"a page":                   {cookies.Change{Expire: []int{0}}, "GET", false},
		"its header":               {cookies.Change{Expire: []int{0}}, "HEAD", false},
		"a form":                   {cookies.Change{Expire: []int{0}}, "POST", true},
		"a form, and hidden":       {cookies.Change{Expire: []int{0}, Hide: true}, "POST", false},
		"a page where it stays":    {cookies.Change{Watch: true}, "GET", true},
		"a page where only it may": {cookies.Change{Set: session(), Watch: true}, "GET", true},
	} {
		assert.Equal(t, row.want, row.change.Shows(request("", method(row.method))), name)
	}
}

// Each row is the header Upgrade of a page, and the Cookie header that its handler gets.
// One that most likely switches protocols sees what the browser goes on sending.
func TestRequestOfAHandshake(t *testing.T) {
	const before, after = "sid=s; a=1", "a=1; token=TOKEN; jwt=JWT"
	for upgrade, want := range map[string]string{
		"websocket": before, "WebSocket": before, "h2c, websocket": before,
		"": after, "h2c": after, "websocket2": after,
	} {
		r := request("sid=s; a=1", func(r *http.Request) { r.Header.Set("Upgrade", upgrade) })
		h, passedOn := commit(cookies.New(defaults(), sid), r, swap())
		assert.Equal(t, want, passedOn, upgrade)
		assert.Equal(t, "+token +jwt -sid -csrf", names(h), "for a server that ignores it")
		assert.Equal(t, want == before, swap().Shows(r), upgrade)
		hidden := swap()
		hidden.Hide = true
		_, passedOn = commit(cookies.New(defaults(), sid), r, hidden)
		assert.Equal(t, after, passedOn, upgrade)
	}
	r := request("sid=s; a=1", method(http.MethodConnect))
	_, passedOn := commit(cookies.New(defaults(), sid), r, swap())
	assert.Equal(t, before, passedOn)
}

// The request without a change is the one that came, and without a cookie left it has
// no Cookie header.
func TestRequestOfTheHandler(t *testing.T) {
	p := cookies.New(defaults(), sid)
	r := request("sid=s")
	_, next := p.Prepare(r, &cookies.Change{Watch: true}, deaf)
	assert.Same(t, r, next)
	_, next = p.Prepare(r, &cookies.Change{Expire: []int{0}}, deaf)
	assert.NotContains(t, next.Header, "Cookie")
}

// What stays in the Cookie header stays byte for byte, in one line.
func TestCookieHeaderIsEdited(t *testing.T) {
	const before = `a="q; sid=ada-1;b=x y ; c=%41` + "\u00a0" + `;csrf=1; d`
	const kept = `a="q; b=x y; c=%41` + "\u00a0"
	const added = "; token=TOKEN; jwt=JWT"
	p := cookies.New(defaults(), sid)
	for name, want := range map[string]string{
		http.MethodGet: kept + "; d; e=2" + added, http.MethodHead: kept + "; d; e=2" + added,
		http.MethodPost: strings.ReplaceAll(before, ";b=x y ; c=%41\u00a0;", "; b=x y; c=%41\u00a0; ") + "; e=2" + added,
	} {
		r := request(before, method(name))
		r.Header.Add("Cookie", ";; e=2 ;token =t")
		_, passedOn := commit(p, r, swap())
		assert.Equal(t, want, passedOn, name)
	}
}

// Each row is how long a session has to live, and the Max-Age of its cookies.
func TestMaxAge(t *testing.T) {
	const day = 24 * time.Hour
	for left, want := range map[time.Duration]string{
		day: "86400", 90*time.Second + 1: "90", 90*time.Second - 1: "89",
		400 * day: "34560000", 400*day - time.Second: "34559999", 3650 * day: "34560000",
		time.Second - 1: "1", 0: "1", -day: "1",
	} {
		inBubble(t, left.String(), func(t *testing.T) {
			tokens := session()
			tokens.Expires = time.Now().Add(left)
			h, _ := commit(cookies.New(defaults(), nil), request(""), &cookies.Change{Set: tokens})
			assert.Equal(t, []string{"token=TOKEN; Path=/; Max-Age=" + want + usual, "jwt=JWT; Path=/; Max-Age=" + want + usual}, h["Set-Cookie"])
		})
	}
}

// A line that the response has already is not written twice.
func TestLinesThatAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := cookies.New(defaults(), sid)
		h := http.Header{}
		assert.NoError(t, p.LogOut(h, request(""), nil))
		once := h.Clone()
		assert.NoError(t, p.LogOut(h, request(""), nil))
		assert.ElementsMatch(t, once["Set-Cookie"], h["Set-Cookie"])
	})
}
