// Package check tries settings out, by calls that make no user and no session, and
// says what is wrong with them.
package check

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/rawjson"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/userinfo"
)

// Config is what is to be tried out.
type Config struct {
	Client *client.Client // its calls count in no lane, and are not logged

	ProjectID, BaseURL string
	UserInfoURL        string
	Mint               func(userinfo.Identity) (redact.Secret, error) // nil: there are no tickets
	HasLegacy          bool                                           // there are old cookies
	Store              sealedstore.Backend                            // nil: there is none
	Timeout            time.Duration

	Policy          *cookies.Policy
	Cookies         cookies.Options
	Legacy          []cookies.Legacy
	SessionDuration time.Duration
}

// Run returns an error that joins a line for each finding.
func Run(ctx context.Context, cfg Config) error {
	c := &check{Config: cfg, nobody: somebodyNew()}
	if c.Mint != nil && c.HasLegacy {
		var err error
		c.ticket, err = c.Mint(c.nobody)
		c.Add(err != nil, "Tickets: was not made by userinfo.NewTickets: nobody can move; make it so")
	}
	c.probeAll(ctx)
	c.judgeStytch()
	c.judgeUserInfo()
	c.judgeDashboard()
	c.Add(c.store != "" && !c.cut, "Store: %s: machines do not know what others have exchanged or ended; mend it, or leave Store out", c.store)
	c.judgeCookies()
	c.Add(c.cut, "Check: ended before all answers were there: what is not said here is not known; give its context more time")
	return errors.Join(append(c.dangers, c.Problems...)...)
}

const maxSkew = 10 * time.Second // of clocks: a warning before JWTs are refused

// somebodyNew is whose ticket the probes are about: nobody, and an address that
// nobody can have signed up with at Stytch beforehand. No mail reaches .invalid
// (RFC 2606 section 2).
func somebodyNew() userinfo.Identity {
	id := "stytchmigrate-check-" + strings.ToLower(rand.Text())
	return userinfo.Identity{Subject: id, Email: id + "@stytchmigrate.invalid", EmailVerified: true}
}

// check is one run of Check. What ask was told is judged when all of it is there,
// for one cause shows in several answers, and is to be named once.
type check struct {
	Config
	nobody userinfo.Identity
	ticket redact.Secret // of nobody; "" where there are no Tickets, or nobody to move

	user, jwks, migrate  probed // of Stytch
	bare, made, ticketed probed // of UserInfoURL: without a token, with a made-up one, with the ticket
	store                string // what is wrong with Config.Store
	cut                  bool   // the caller's context ended before all had answered
	badUserInfo          bool   // there are findings about UserInfoURL

	dangers         redact.Problems // what gives accounts away, and so comes first
	redact.Problems                 // all else
}

// probed is what came of one call.
type probed struct {
	client.Received
	api  *stytch.APIError // what Stytch says, unless it is a 200; nil: no answer
	skew time.Duration    // of this machine's clock, positive: ahead; by Date
	sure bool             // skew is known
	took time.Duration
}

// answer is fit for a finding: the status, and the error type if there is one.
func (p *probed) answer() string {
	switch {
	case p.Status == 0:
		return p.Failure
	case p.api != nil && p.api.Type != "":
		return strconv.Itoa(p.Status) + " " + p.api.Type
	}
	return strconv.Itoa(p.Status)
}

// busy reports an answer that is about the state of the other side.
func (p *probed) busy() bool {
	return p.Status >= 500 || p.Status == http.StatusTooManyRequests || p.Status == http.StatusRequestTimeout
}

// ask makes all calls, side by side.
func (c *check) probeAll(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { c.user = c.stytch(limited, http.MethodGet, "/v1/users/"+c.nobodysID(), "") })
	all.Go(func() { // public: no credentials are sent
		c.jwks = c.probe(limited, http.MethodGet, c.Client.JWKSURL(), "", func(*http.Request) {})
	})
	if c.ticket != "" {
		// Without Tickets there is no token that is good and nobody's. A made-up
		// one would be refused by the endpoint that is right as by any other, and
		// Stytch throttles projects that send many.
		all.Go(func() {
			c.migrate = c.stytch(limited, http.MethodPost, "/v1/sessions/migrate", `{"session_token":"`+string(c.ticket)+`"}`) // a ticket is base64url
		})
	}
	if c.asksUserInfo() {
		all.Go(func() { c.bare = c.userInfo(limited, "") })
		all.Go(func() { c.made = c.userInfo(limited, rand.Text()) })
		if c.ticket != "" {
			all.Go(func() { c.ticketed = c.userInfo(limited, string(c.ticket)) })
		}
	}
	if c.Store != nil {
		all.Go(func() { c.store = sealedstore.Probe(limited, c.Store, c.Timeout) })
	}
	all.Wait()
	c.cut = ctx.Err() != nil && c.unanswered()
}

func (c *check) asksUserInfo() bool { return c.UserInfoURL != "" && c.HasLegacy }

// unanswered reports whether a call that was made had no answer.
func (c *check) unanswered() bool {
	for _, p := range []*probed{&c.user, &c.jwks, &c.migrate, &c.bare, &c.made, &c.ticketed} {
		if p.Status == 0 && p.Failure != "" {
			return true
		}
	}
	return c.store != ""
}

// stytch makes a call of the API. A migrate call without
// session_duration_minutes makes no session.
func (c *check) stytch(ctx context.Context, method, path, body string) probed {
	return c.probe(ctx, method, c.Client.Base+path, body, func(r *http.Request) {
		c.Client.Authorize(r)
	})
}

func (c *check) probe(ctx context.Context, method, to, body string, authorize func(*http.Request)) probed {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(body))
	if err != nil {
		return probed{Received: client.Received{Failure: "request could not be made"}}
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	authorize(req)
	start := time.Now()
	p := probed{Received: c.Client.Send(req), took: time.Since(start)}
	if p.Status != 0 && p.Status != http.StatusOK {
		p.api = c.Client.ReadError(p.Status, p.Body)
	}
	p.readClock(start.Add(p.took / 2))
	return p
}

// readClock compares Date, which is in whole seconds, with the middle of the call.
// One that is absent or no date is no finding: a proxy may take it out,
// and nothing else depends on it. Of what a cache kept (Age) it is of the past.
func (p *probed) readClock(middle time.Time) {
	date, err := http.ParseTime(p.Header.Get("Date"))
	if err == nil && p.Header.Get("Age") == "" {
		p.skew, p.sure = middle.Sub(date), true
	}
}

// nobodysID is formed as Stytch's ids are, and the id of nobody.
func (c *check) nobodysID() string {
	env, _, _ := strings.Cut(strings.TrimPrefix(c.ProjectID, "project-"), "-")
	return "user-" + env + "-00000000-0000-4000-8000-000000000000"
}

// isStytchs reports whether an answer is of Stytch's API: each has a request_id.
func (p *probed) isStytchs() bool {
	var body struct {
		RequestID string `json:"request_id" required:"true"`
	}
	if p.Status == http.StatusOK {
		return rawjson.Decode(p.Body, &body) == nil
	}
	return p.api != nil && p.api.Type != "" && p.api.Type != "route_not_found"
}

// vouches reports whether Stytch took the credentials: it says that it does not
// know the user, or anything else of a request that it has let in.
func (c *check) vouches() bool {
	return c.user.isStytchs() && !c.user.busy() && (c.user.api == nil || c.user.api.Setting() == "")
}

func (c *check) judgeStytch() {
	u := &c.user
	switch {
	case c.vouches():
		c.judgeKeys()
	case u.Status == 0:
		c.Add(!c.cut, "BaseURL: Stytch can't be reached (%s): nobody can move, and no session can be refreshed; check the network, the proxy and BaseURL", u.answer())
	case u.busy():
		c.Add(true, "BaseURL: Stytch does not answer now (%s): it can't be told whether ProjectID and Secret are right; check again later", u.answer())
	case !u.isStytchs():
		c.Add(true, "BaseURL: what answers there is not Stytch's API (%s): nobody can move; correct it, or let the proxy on the way through", u.answer())
	case c.jwks.api != nil && c.jwks.api.Type == "project_not_found":
		c.Add(true, "ProjectID: Stytch knows no such project (%s): nobody can move; copy it from the Stytch dashboard", u.answer())
	case c.jwks.Status == http.StatusOK:
		c.Add(true, "Secret: Stytch refuses it for this ProjectID (%s): nobody can move, and no session can be refreshed; copy both from the same project", u.answer())
	default:
		c.Add(true, "ProjectID or Secret: Stytch refuses them (%s): nobody can move, and no session can be refreshed; copy both from the same project", u.answer())
	}
	c.judgeClock()
}

func (c *check) judgeKeys() {
	reason := c.jwks.answer()
	if c.jwks.Status == http.StatusOK && c.jwks.Failure == "" {
		_, err := sessionjwt.Parse(c.jwks.Body)
		if err == nil {
			return
		}
		reason = strings.TrimPrefix(err.Error(), "sessionjwt: ")
	} else if c.jwks.Status == http.StatusOK {
		reason = "answer broke off: " + c.jwks.Failure
	}
	c.Add(!c.cut || c.jwks.Status != 0, "BaseURL: Stytch's key set is of no use (%s): no session JWT can be verified, and requests wait for Stytch; let GET /v1/sessions/jwks through unchanged", reason)
}

// judgeClock leaves out of account what the call's own time makes uncertain.
func (c *check) judgeClock() {
	p := &c.user
	by := p.skew.Abs().Round(time.Second)
	if !p.sure || !p.isStytchs() || p.skew.Abs()-p.took/2 <= maxSkew {
		return
	}
	way := "ahead of"
	if p.skew < 0 {
		way = "behind"
	}
	effect := fmt.Sprintf("from %v on, session JWTs are refused", sessionjwt.Leeway)
	if by > sessionjwt.Leeway {
		effect = "session JWTs are refused, and their users' requests wait for Stytch"
	}
	c.Add(true, "clock of this machine: is %v %s Stytch's: %s; set it, by NTP", by, way, effect)
}

// judgeDashboard reads what Stytch made of the probe ticket. Where a finding
// above is the cause, there is nothing to add.
func (c *check) judgeDashboard() {
	const field = "UserInfo URL in the Stytch dashboard: "
	p := &c.migrate
	if c.ticket == "" || !c.vouches() {
		return
	}
	kind := ""
	if p.api != nil {
		kind = p.api.Type
	}
	switch {
	case p.Status == 0:
		c.Add(!c.cut, field+"it can't be told whether Stytch reaches it (%s): nobody can move if not; check again", p.answer())
	case p.Status == http.StatusOK && p.isStytchs(), kind == "user_lock_limit_reached":
		c.dangers.Add(len(c.dangers) == 0, field+"Stytch took a ticket of nobody's for a user (%s): sessions go to the wrong people; don't launch until the endpoint gives the identity in the ticket, and no other", p.answer())
	case p.api != nil && p.api.IsUnknownUser():
		// The endpoint said who it is, to Stytch, and Stytch knows nobody like that.
	case kind == "migrate_from_external_missing_userinfo", kind == "invalid_userinfo_url":
		c.Add(true, field+"there is none, or it is no URL (%s): nobody can move; set it to where userinfo.Handler is mounted", p.answer())
	case kind == "migrate_from_external_unexpected_response":
		c.Add(!c.badUserInfo, field+"Stytch got no good answer there to a good ticket (%s): nobody can move; see that userinfo.Handler is mounted there, is open to the internet, and has the keys of Tickets", p.answer())
	default:
		c.Add(true, field+"it can't be told whether Stytch reaches it (%s): nobody can move if not; check again", p.answer())
	}
}
