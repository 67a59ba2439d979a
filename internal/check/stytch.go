package check

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// maxSkew is a warning: it is reached before session JWTs are refused.
const maxSkew = 10 * time.Second

// acceptsCredentials reports whether Stytch let the request in. It then answers that
// it does not know the user, or complains about another part of the request.
func (c *check) acceptsCredentials() bool {
	u := &c.user
	return u.isFromStytch() && !u.isTemporary() && (u.api == nil || u.api.Setting() == "")
}

// judgeStytch finds what is wrong with BaseURL, ProjectID and Secret. The key set is
// public, and so its reply tells a wrong ProjectID from a wrong Secret.
func (c *check) judgeStytch() {
	u := &c.user
	switch {
	case c.acceptsCredentials():
		c.judgeKeySet()
	case !u.answered():
		c.Add(!c.interrupted, "BaseURL: Stytch can't be reached (%s): nobody can move, and no session can be refreshed; check the network, the proxy and BaseURL", u.summary())
	case u.isTemporary():
		c.Add(true, "BaseURL: Stytch does not answer now (%s): it can't be told whether ProjectID and Secret are right; check again later", u.summary())
	case !u.isFromStytch():
		c.Add(true, "BaseURL: what answers there is not Stytch's API (%s): nobody can move; correct it, or let the proxy on the way through", u.summary())
	case u.api.RefusesProject() && !u.api.RefusesCredentials():
		c.addRefusal(u)
	case c.keySet.errorType() == "project_not_found":
		c.Add(true, "ProjectID: Stytch knows no such project (%s): nobody can move; copy it from the Stytch dashboard", u.summary())
	case c.keySet.Status == http.StatusOK:
		c.Add(true, "Secret: Stytch refuses it for this ProjectID (%s): nobody can move, and no session can be refreshed; copy both from the same project", u.summary())
	default:
		c.Add(true, "ProjectID or Secret: Stytch refuses them (%s): nobody can move, and no session can be refreshed; copy both from the same project", u.summary())
	}
}

// addRefusal adds the setting because of which Stytch refuses the project's calls: a B2B
// project, another environment, or its billing, for example.
func (c *check) addRefusal(r *reply) {
	c.Add(true, "%s: Stytch refuses the project's calls (%s): nobody can move, and no session can be refreshed; correct it",
		strings.ReplaceAll(r.api.Setting(), "Config.", ""), r.summary())
}

// judgeKeySet finds a key set that verifies no session JWT.
func (c *check) judgeKeySet() {
	reason := c.keySet.summary()
	if c.keySet.Status == http.StatusOK {
		reason = c.keySet.keySetProblem()
	}
	wrong := reason != "" && (c.keySet.answered() || !c.interrupted)
	c.Add(wrong, "BaseURL: Stytch's key set is of no use (%s): no session JWT can be verified, and requests wait for Stytch; let GET /v1/sessions/jwks through unchanged", reason)
}

// keySetProblem says what is wrong with a 200 that should hold a key set, or "".
func (r *reply) keySetProblem() string {
	if r.Failure != "" {
		return "answer broke off: " + r.Failure
	}
	if _, err := sessionjwt.Parse(r.Body); err != nil {
		return strings.TrimPrefix(err.Error(), "sessionjwt: ")
	}
	return ""
}

// judgeClock compares the clocks of this machine and of Stytch. It allows for the
// time of the call: Stytch may have read its clock at any moment of that.
func (c *check) judgeClock() {
	u := &c.user
	if !u.hasSkew || !u.isFromStytch() || u.skew.Abs()-u.took/2 <= maxSkew {
		return
	}
	by, direction := u.skew.Abs().Round(time.Second), "ahead of"
	if u.skew < 0 {
		direction = "behind"
	}
	effect := fmt.Sprintf("from %v on, session JWTs are refused", sessionjwt.Leeway)
	if by > sessionjwt.Leeway {
		effect = "session JWTs are refused, and their users' requests wait for Stytch"
	}
	c.Add(true, "clock of this machine: is %v %s Stytch's: %s; set it, by NTP", by, direction, effect)
}

// judgeDashboard reads what Stytch made of the ticket. It adds nothing where a finding
// about UserInfoURL (blamed) is the cause.
func (c *check) judgeDashboard(blamed bool) {
	const field = "UserInfo URL in the Stytch dashboard: "
	if c.ticket == "" || !c.acceptsCredentials() {
		return
	}
	x := &c.exchange
	kind := x.errorType()
	switch {
	case !x.answered():
		c.Add(!c.interrupted, field+"it can't be told whether Stytch reaches it (%s): nobody can move if not; check again", x.summary())
	case x.Status == http.StatusOK && x.isFromStytch(), kind == "user_lock_limit_reached":
		c.dangers.Add(len(c.dangers) == 0, field+"Stytch took a ticket of nobody's for a user (%s): sessions go to the wrong people; don't launch until the endpoint gives the identity in the ticket, and no other", x.summary())
	case x.isFromStytch() && !x.isTemporary() && x.api.RefusesProject(): // the key set and users are open to it
		c.addRefusal(x)
	case x.saysUnknownUser():
		// The endpoint told Stytch the stranger's identity, and Stytch has no such user.
	case kind == "migrate_from_external_missing_userinfo", kind == "invalid_userinfo_url":
		c.Add(true, field+"there is none, or it is no URL (%s): nobody can move; set it to where userinfo.Handler is mounted", x.summary())
	case kind == "migrate_from_external_unexpected_response":
		c.Add(!blamed, field+"Stytch got no good answer there to a good ticket (%s): nobody can move; see that userinfo.Handler is mounted there, is open to the internet, and has the keys of Tickets", x.summary())
	default:
		c.Add(true, field+"it can't be told whether Stytch reaches it (%s): nobody can move if not; check again", x.summary())
	}
}

// saysUnknownUser reports that Stytch got through to the endpoint.
func (r *reply) saysUnknownUser() bool { return r.api != nil && r.api.IsUnknownUser() }
