package check

import (
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

const withoutToken, withMadeUpToken = "without a token", "with a made-up token"

// judgeUserInfo names one cause and stops there: whatever is in front of an endpoint
// shows in the replies to all three requests. It reports whether it added a finding.
func (c *check) judgeUserInfo() (blamed bool) {
	if !c.probesUserInfo() {
		return false
	}
	before := len(c.dangers) + len(c.Problems)
	switch { // each case adds its finding
	case c.givesIdentity(&c.bare, withoutToken), c.givesIdentity(&c.madeUp, withMadeUpToken):
	case c.isNotServed(&c.bare), c.isNotServed(&c.madeUp), c.isNotServed(&c.ticketed):
	case c.isStopped(&c.bare, withoutToken), c.isStopped(&c.madeUp, withMadeUpToken):
	default:
		c.judgeTicketed()
	}
	return len(c.dangers)+len(c.Problems) > before
}

// judgeUserInfoAddress finds a URL that only this network can resolve. A stand-in for
// Stytch may be in the same network, and is left out.
func (c *check) judgeUserInfoAddress() {
	if !c.probesUserInfo() {
		return
	}
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

// givesIdentity reports whether a request that anyone can send was answered with an
// identity, which Stytch takes for proof. It is judged before all else, whatever the
// other replies are, and whatever content type this one claims.
func (c *check) givesIdentity(r *reply, how string) bool {
	var id struct {
		Subject string `json:"sub"`
		Email   string `json:"email"`
	}
	unreadable := rawjson.Decode(r.Body, &id) != nil && r.mediaType() == "application/json"
	gives := r.Status == http.StatusOK && (unreadable || id.Subject != "" || id.Email != "")
	c.dangers.Add(gives, "UserInfoURL: answers 200 to a request %s: whoever asks for it may be given anybody's account; don't launch until userinfo.Handler alone answers there", how)
	return gives
}

// isNotServed reports whether there is no endpoint at all. A reply to a probe that
// was not sent says nothing.
func (c *check) isNotServed(r *reply) bool {
	switch {
	case r.failed():
		c.Add(!c.interrupted, "UserInfoURL: can't be reached from here (%s): it can't be told whether it is right; check the machine there, or leave the field empty if Stytch alone can reach it", r.summary())
	case r.Status >= 300 && r.Status < 400, r.Status == http.StatusOK && r.mediaType() == "text/html", r.asksForLogin():
		c.Add(true, "UserInfoURL: answers with a redirect or a page (%d), as behind a login or the middleware: %s", r.Status, c.stuck("mount userinfo.Handler outside of both"))
	case r.Status == http.StatusNotFound, r.Status == http.StatusMethodNotAllowed, r.Status == http.StatusGone:
		c.Add(true, "UserInfoURL: nothing is mounted there (%d): %s", r.Status, c.stuck("mount userinfo.Handler at that path"))
	case r.isTemporary():
		c.Add(true, "UserInfoURL: the endpoint fails (%d): %s", r.Status, c.stuck("see the log of the machine there"))
	default:
		return false
	}
	return true
}

// isStopped reports whether something in front of the endpoint answered a request
// that the endpoint refuses.
func (c *check) isStopped(r *reply, how string) bool {
	stopped := r.Status != http.StatusUnauthorized
	c.Add(stopped, "UserInfoURL: answers %d in place of 401 to a request %s: something in front of userinfo.Handler stops Stytch too; let all requests for that path through", r.Status, how)
	return stopped
}

// judgeTicketed compares the reply to a good ticket with what Stytch needs.
func (c *check) judgeTicketed() {
	switch r := &c.ticketed; {
	case !r.answered(): // there is no ticket
	case r.Status == http.StatusUnauthorized && !r.sawToken():
		c.Add(true, "UserInfoURL: answers a good ticket as if no token came with it (401 without an error code): the Authorization header does not reach userinfo.Handler: %s", c.stuck("let the proxy in front pass that header on"))
	case r.Status == http.StatusUnauthorized:
		c.Add(true, "UserInfoURL: refuses a good ticket (401): the machine there has other keys than Tickets here, or another time: %s", c.stuck("give all machines the same keys"))
	case r.Status != http.StatusOK:
		c.Add(true, "UserInfoURL: answers %d in place of 200 to a good ticket: %s", r.Status, c.stuck("let all requests for that path through to userinfo.Handler"))
	default:
		c.judgeIdentity(r)
	}
}

// judgeIdentity compares the identity in a 200 with the ticket's.
func (c *check) judgeIdentity(r *reply) {
	var id struct {
		Subject  string `json:"sub" required:"true"`
		Email    string `json:"email" required:"true"`
		Verified bool   `json:"email_verified" required:"true"`
	}
	err := rawjson.Decode(r.Body, &id)
	switch {
	case r.Failure != "":
		c.badAnswer("its body breaks off")
	case len(r.Body) > client.MaxBody:
		c.badAnswer("its body is longer than 1 MiB")
	case err != nil:
		c.badAnswer(err.Error())
	case id.Subject != c.stranger.Subject || id.Email != c.stranger.Email:
		c.dangers.Add(true, "UserInfoURL: answers a ticket with another identity than is in it: sessions go to the wrong people; don't launch until userinfo.Handler alone answers there")
	case !id.Verified:
		c.badAnswer("email_verified is not true")
	case r.mediaType() != "application/json":
		c.badAnswer("its content type is not application/json")
	case !r.forbidsCaching():
		c.Add(true, "UserInfoURL: may be kept by a cache on the way, for want of Cache-Control: no-store: who comes later is taken for somebody else; let no proxy change the answer's headers")
	}
}

func (c *check) badAnswer(why string) {
	c.Add(true, "UserInfoURL: answers a good ticket, but %s: %s", why, c.stuck("serve userinfo.Handler there, and let no proxy change its answers"))
}

// stuck is the effect and the remedy of a finding about the endpoint. Where Stytch got
// through by the URL in its dashboard, only this field is wrong, or the network from
// here to the endpoint.
func (c *check) stuck(remedy string) string {
	if c.exchange.saysUnknownUser() {
		return "users do move, for Stytch got through by the URL in its dashboard; correct this field, or " + remedy
	}
	return "nobody can move; " + remedy
}

func (r *reply) mediaType() string {
	t, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return t
}

// asksForLogin reports a 401 of a server that knows no bearer tokens.
func (r *reply) asksForLogin() bool {
	challenges := r.Header.Values("WWW-Authenticate")
	return r.Status == http.StatusUnauthorized && len(challenges) > 0 &&
		!slices.ContainsFunc(challenges, func(v string) bool { return cookies.HasPrefixFold(v, "Bearer") })
}

// sawToken reports a 401 that is about a token. To a request without one, a challenge has
// no error code (RFC 6750 section 3.1).
func (r *reply) sawToken() bool {
	return slices.ContainsFunc(r.Header.Values("WWW-Authenticate"), func(v string) bool { return strings.Contains(strings.ToLower(v), "error=") })
}

// forbidsCaching reports whether Cache-Control has no-store (RFC 9111 section 5.2.2.5).
func (r *reply) forbidsCaching() bool {
	for directive := range strings.SplitSeq(strings.Join(r.Header.Values("Cache-Control"), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(directive), "no-store") {
			return true
		}
	}
	return false
}
