package check

import (
	"context"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/rawjson"
)

// userInfo asks the endpoint as Stytch does (OpenID Connect Core section 5.3.1),
// over the transport that the application gave for calls to Stytch: its proxy is
// the way out for these as well. The project's secret stays here.
func (c *check) userInfo(ctx context.Context, token string) probed {
	return c.probe(ctx, http.MethodGet, c.UserInfoURL, "", func(r *http.Request) {
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
	})
}

// judgeUserInfo names one cause: what is in front of an endpoint, or missing,
// shows in the answers to all three requests.
func (c *check) judgeUserInfo() {
	if !c.asksUserInfo() {
		return
	}
	c.judgePlace()
	before := len(c.dangers) + len(c.Problems)
	switch {
	case c.tells(&c.bare, "without a token"), c.tells(&c.made, "with a made-up token"):
	case c.isServed() && c.refuses(&c.bare, "without a token") && c.refuses(&c.made, "with a made-up token"):
		c.judgeTicketed()
	}
	c.badUserInfo = len(c.dangers)+len(c.Problems) > before
}

// judgePlace finds a URL that only this network knows. Where Stytch itself is a
// stand-in, it is one that both know.
func (c *check) judgePlace() {
	base, _ := url.Parse(c.BaseURL) // New has parsed both
	u, _ := url.Parse(c.UserInfoURL)
	stytch := cookies.DomainMatch(base.Hostname(), "stytch.com") || cookies.DomainMatch(base.Hostname(), "stytch.dev")
	c.Add(stytch && isPrivateHost(u.Hostname()), "UserInfoURL: is an address that only this network knows: Stytch can't reach it, and nobody can move; give the endpoint a public name")
}

func isPrivateHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
	}
	return !strings.Contains(host, ".") ||
		slices.ContainsFunc([]string{"localhost", "local", "internal", "invalid", "test"}, func(top string) bool { return cookies.DomainMatch(host, top) })
}

// isServed reports whether an endpoint is there at all. A call that was not made
// has nothing against it.
func (c *check) isServed() bool {
	for _, p := range []*probed{&c.bare, &c.made, &c.ticketed} {
		switch {
		case p.Status == 0 && p.Failure == "":
		case p.Status == 0:
			c.Add(!c.cut, "UserInfoURL: can't be reached from here (%s): it can't be told whether it is right; check the machine there, or leave the field empty if Stytch alone can reach it", p.answer())
			return false
		case p.Status >= 300 && p.Status < 400, p.Status == http.StatusOK && p.mediaType() == "text/html", p.asksForLogin():
			c.Add(true, "UserInfoURL: answers with a redirect or a page (%d), as behind a login or the middleware: %s", p.Status, c.stuck("mount userinfo.Handler outside of both"))
			return false
		case p.Status == http.StatusNotFound, p.Status == http.StatusMethodNotAllowed, p.Status == http.StatusGone:
			c.Add(true, "UserInfoURL: nothing is mounted there (%d): %s", p.Status, c.stuck("mount userinfo.Handler at that path"))
			return false
		case p.busy():
			c.Add(true, "UserInfoURL: the endpoint fails (%d): %s", p.Status, c.stuck("see the log of the machine there"))
			return false
		}
	}
	return true
}

// stuck is the effect and the remedy of a finding about the endpoint. That Stytch
// got through says that this field is what is wrong, or the way from here.
func (c *check) stuck(remedy string) string {
	if c.migrate.api != nil && c.migrate.api.IsUnknownUser() {
		return "users do move, for Stytch got through by the URL in its dashboard; correct this field, or " + remedy
	}
	return "nobody can move; " + remedy
}

func (p *probed) mediaType() string {
	t, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type"))
	return t
}

// asksForLogin reports a 401 of something that knows no bearer tokens.
func (p *probed) asksForLogin() bool {
	challenges := p.Header.Values("WWW-Authenticate")
	return p.Status == http.StatusUnauthorized && len(challenges) > 0 &&
		!slices.ContainsFunc(challenges, func(v string) bool { return cookies.HasPrefixFold(v, "Bearer") })
}

// tells reports whether a request that anybody can send was told who somebody is,
// which Stytch takes for proof. It comes before all else: whatever the other
// answers are like, and whatever this one says of its type.
func (c *check) tells(p *probed, how string) bool {
	var id struct {
		Subject string `json:"sub"`
		Email   string `json:"email"`
	}
	told := p.Status == http.StatusOK && (rawjson.Decode(p.Body, &id) != nil && p.mediaType() == "application/json" || id.Subject != "" || id.Email != "")
	c.dangers.Add(told, "UserInfoURL: answers 200 to a request %s: whoever asks for it may be given anybody's account; don't launch until userinfo.Handler alone answers there", how)
	return told
}

// refuses reports whether a request was refused that anybody can send.
func (c *check) refuses(p *probed, how string) bool {
	c.Add(p.Status != http.StatusUnauthorized,
		"UserInfoURL: answers %d in place of 401 to a request %s: something in front of userinfo.Handler stops Stytch too; let all requests for that path through", p.Status, how)
	return p.Status == http.StatusUnauthorized
}

// judgeTicketed holds the answer to a good ticket against what Stytch needs.
func (c *check) judgeTicketed() {
	p := &c.ticketed
	if p.Status == 0 { // there is no ticket
		return
	}
	if p.Status != http.StatusOK {
		c.Add(p.Status == http.StatusUnauthorized, "UserInfoURL: refuses a good ticket (401): the machine there has other keys than Tickets here, or another time: %s", c.stuck("give all machines the same keys"))
		c.Add(p.Status != http.StatusUnauthorized, "UserInfoURL: answers %d in place of 200 to a good ticket: %s", p.Status, c.stuck("let all requests for that path through to userinfo.Handler"))
		return
	}
	var id struct {
		Subject  string `json:"sub" required:"true"`
		Email    string `json:"email" required:"true"`
		Verified bool   `json:"email_verified" required:"true"`
	}
	err := rawjson.Decode(p.Body, &id)
	switch {
	case p.Failure != "":
		c.badAnswer("its body breaks off")
	case len(p.Body) > client.MaxBody:
		c.badAnswer("its body is longer than 1 MiB")
	case err != nil:
		c.badAnswer(err.Error())
	case id.Subject != c.nobody.Subject || id.Email != c.nobody.Email:
		c.dangers.Add(true, "UserInfoURL: answers a ticket with another identity than is in it: sessions go to the wrong people; don't launch until userinfo.Handler alone answers there")
	case !id.Verified:
		c.badAnswer("email_verified is not true")
	case p.mediaType() != "application/json":
		c.badAnswer("its content type is not application/json")
	case !noStored(p.Header):
		c.Add(true, "UserInfoURL: may be kept by a cache on the way, for want of Cache-Control: no-store: who comes later is taken for somebody else; let no proxy change the answer's headers")
	}
}

func (c *check) badAnswer(why string) {
	c.Add(true, "UserInfoURL: answers a good ticket, but %s: %s", why, c.stuck("serve userinfo.Handler there, and let no proxy change its answers"))
}

func noStored(h http.Header) bool {
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(directive), "no-store") {
			return true
		}
	}
	return false
}
