// Package check tries out the settings of a Middleware, and describes what is wrong
// with them. Its calls create no user and no session.
//
// [Run] has three steps: it sends all probes side by side, it waits for the replies,
// and it judges them field by field, in the order in which findings are printed.
// Judging comes last because one cause shows in several replies, and is to be
// reported once.
package check

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/userinfo"
)

// Config holds the settings to try out.
type Config struct {
	Client *client.Client // only for probes: its calls take no slot in flight, and are not logged

	ProjectID, BaseURL string
	UserInfoURL        string                                         // "": this machine does not probe the endpoint
	Mint               func(userinfo.Identity) (redact.Secret, error) // mints a ticket; nil without Config.Tickets
	Store              sealedstore.Backend                            // nil: machines share nothing
	Timeout            time.Duration                                  // for all calls together

	Policy          *cookies.Policy
	Cookies         cookies.Options
	Legacy          []cookies.Legacy
	SessionDuration time.Duration
}

// Run returns an error that joins one line for each finding, or nil. Findings that
// give accounts away come first.
func Run(ctx context.Context, cfg Config) error {
	c := &check{Config: cfg, stranger: newStranger()}
	c.mintTicket() // "Tickets"
	c.probeAll(ctx)
	c.judgeStytch()             // "BaseURL", "ProjectID", "Secret", and billing
	c.judgeClock()              // "clock of this machine"
	c.judgeUserInfoAddress()    // "UserInfoURL"
	blamed := c.judgeUserInfo() // "UserInfoURL"
	c.judgeDashboard(blamed)    // "UserInfo URL in the Stytch dashboard"
	c.judgeStore()              // "Store"
	c.judgeCookies()            // "Cookies", "Legacy[i]"
	c.judgeCompleteness()       // "Check"
	return errors.Join(append(c.dangers, c.Problems...)...)
}

// check is one run: the replies, and the findings.
type check struct {
	Config
	stranger userinfo.Identity // whom the ticket is about
	ticket   redact.Secret     // "" without Tickets, or without legacy cookies

	// From Stytch.
	user, keySet, exchange reply
	// From UserInfoURL: to a request without a token, with a made-up one, and with the ticket.
	bare, madeUp, ticketed reply
	storeProblem           string // what is wrong with Store, or ""

	interrupted bool // the caller's context ended before all replies were there

	dangers         redact.Problems // findings that give accounts away
	redact.Problems                 // all other findings
}

// newStranger returns an identity that Stytch has no user for. The address is
// random, so that an outsider can't have signed up with it beforehand. It is in
// .invalid, which receives no mail (RFC 2606 section 2).
func newStranger() userinfo.Identity {
	id := "stytchmigrate-check-" + strings.ToLower(rand.Text())
	return userinfo.Identity{Subject: id, Email: id + "@stytchmigrate.invalid", EmailVerified: true}
}

func (c *check) hasLegacy() bool { return len(c.Legacy) > 0 }

func (c *check) mintTicket() {
	if c.Mint == nil || !c.hasLegacy() {
		return
	}
	var err error
	c.ticket, err = c.Mint(c.stranger)
	c.Add(err != nil, "Tickets: was not made by userinfo.NewTickets: nobody can move; make it so")
}

func (c *check) judgeStore() {
	c.Add(c.storeProblem != "" && !c.interrupted, "Store: %s: machines do not know what others have exchanged or ended; mend it, or leave Store out", c.storeProblem)
}

func (c *check) judgeCompleteness() {
	c.Add(c.interrupted, "Check: ended before all answers were there: what is not said here is not known; give its context more time")
}
