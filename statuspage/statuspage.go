// Package statuspage is a page for those who run the migration: how many legacy
// sessions have come and what became of them, what fails, what is held back, and
// whether the old cookie may be removed from the code. It is fed by events alone,
// and is mounted behind the application's own access control:
//
//	page := statuspage.New(statuspage.Options{})
//	auth, err := stytchmigrate.New(stytchmigrate.Config{OnEvent: page.Observe, …})
//	mux.Handle("/ops/migration", adminsOnly(page))
//
// It tells of one process, since that process started: of several machines each
// has a page of its own. What has to outlive a deployment is for a system of
// metrics.
//
// The page runs no script, and holds no secret and no email: of an event it takes
// numbers, times, Stytch's error types and request ids.
package statuspage

import (
	"context"
	"hash/maphash"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate"
)

// defaultQuiet is longer than most people stay away from what they use.
const defaultQuiet = 14 * 24 * time.Hour

// Options of a Page. The zero value is a page that shows and changes nothing.
type Options struct {
	// Quiet is how long no legacy session may have been seen before the page says
	// that the old cookie is safe to remove. Zero: 14 days. The process must have
	// run that long to tell. Whoever stays away for longer signs in anew.
	Quiet time.Duration

	// Dial is shown on the page, and changed there. Its zero value is no dial.
	Dial Dial

	// Back is the URL of the application, for a link at the top of the page. Empty: no
	// link.
	Back string
}

// Page is an http.Handler that shows what [Page.Observe] heard. Make it with
// [New]. It is safe for concurrent use, and its memory, some 900 KB, does not grow
// with the number of sessions, users or errors.
type Page struct {
	quiet   time.Duration
	dial    Dial
	back    string
	guard   *http.CrossOriginProtection
	started time.Time
	seed    maphash.Seed // nobody can choose fingerprints that spoil the estimates

	outcomes [outcomes]tally // of all requests
	legacy   [outcomes]tally // of those with a legacy session
	untold   tally           // requests of which it can't be told whether they have one
	distinct distinct
	stages   [stages]distinct
	hours    hours
	kinds    [len(kinds) + 1]tally // the last: of a kind that this package does not know
	over     [len(kinds) + 1]tally // that what failed works again
	failing  [len(kinds) + 1]atomic.Bool
	failures failures
	lanes    lanes
}

const (
	outcomes = int(stytchmigrate.OutcomeUnavailable) + 1
	stages   = int(stytchmigrate.StageRetired) + 1
)

// kinds of events that are counted and no more, and what the page says of each.
var kinds = [...]struct{ name, title string }{
	{"created", "Users created"},
	{"mismatch", "Mismatches: Stytch's user is somebody else"},
	{"conflict", "Conflicts: two people's sessions in one request"},
	{"not_kept", "Browsers that do not keep the Stytch cookies"},
	{"wrong_cookie", "Mistake: the old cookie's name or keys are wrong, or only visitors have it"},
	{"no_old_cookie", "Mistake: no old cookie comes, so its name is wrong"},
	{"comes_again", "Mistake: the old cookie comes again after its deletion"},
	{"plain_http", "Mistake: Secure cookies over plain HTTP"},
	{"still_set", "Old cookie still set: stage retired leaves all alone"},
	{"unheard_logout", "Logout by GET that ended no Stytch session, if it was one"},
	{"logout", "Calls of Logout: a login makes one too"},
	{"signin", "Calls of SignIn, refused ones too"},
	{"revocation", "Session that nobody is to have could not be revoked"},
	{"jwks", "Key set could not be fetched"},
	{"store", "Store failed, or held what can't be read"},
	{"brake", "Stytch knew so few sessions that it was not believed"},
}

// tally is how often something was, and when it last was.
type tally struct {
	n    atomic.Uint64
	last atomic.Int64 // nanoseconds since 1970; 0: never
}

func (t *tally) add(now time.Time) {
	t.n.Add(1)
	t.last.Store(now.UnixNano())
}

// when returns the zero time for never.
func (t *tally) when() time.Time {
	if ns := t.last.Load(); ns != 0 {
		return time.Unix(0, ns).UTC()
	}
	return time.Time{}
}

// New returns a Page that has heard of nothing yet.
func New(o Options) *Page {
	if o.Quiet <= 0 {
		o.Quiet = defaultQuiet
	}
	return &Page{
		quiet: o.Quiet, dial: o.Dial, back: o.Back, guard: http.NewCrossOriginProtection(),
		started: time.Now(), seed: maphash.MakeSeed(),
		failures: failures{by: make(map[string]*failure)}, lanes: lanes{by: make(map[string]*lane)},
	}
}

// Observe takes an event in. It is for Config.OnEvent, alone or called by a
// function that also does something else. It does not wait, and is quick enough
// for every request.
func (p *Page) Observe(_ context.Context, e stytchmigrate.Event) {
	now := time.Now()
	switch e.Kind {
	case "request":
		p.request(now, &e)
	case "shadow":
		if e.Fingerprint != "" && e.Outcome >= 0 && int(e.Outcome) < outcomes {
			p.triedOut(now, &e)
		}
	case "breaker", "paused":
		p.lanes.note(now, &e)
	default:
		p.trouble(now, &e)
	}
}

func kindOf(name string) int {
	for i, k := range kinds {
		if k.name == name {
			return i
		}
	}
	return len(kinds)
}

// trouble counts what deserves a look, but not that it is over.
func (p *Page) trouble(now time.Time, e *stytchmigrate.Event) {
	i := kindOf(e.Kind)
	switch e.Cause {
	case "recovered":
		p.over[i].add(now)
		p.failing[i].Store(false)
		return
	case "failed":
		p.failing[i].Store(true)
	}
	p.kinds[i].add(now)
}

// request counts the one event of a request.
func (p *Page) request(now time.Time, e *stytchmigrate.Event) {
	if e.Outcome < 0 || int(e.Outcome) >= outcomes {
		return // of a later version: rather not counted than as something else
	}
	hour := p.hours.at(now)
	p.outcomes[e.Outcome].add(now)
	hour.requests.Add(1)
	switch {
	case e.Fingerprint != "":
		p.legacy[e.Outcome].add(now)
		hash := maphash.String(p.seed, e.Fingerprint)
		p.distinct.add(e.Outcome, hash)
		hour.distinct.add(e.Outcome, hash)
		if s := e.Stage; s >= 0 && int(s) < stages {
			p.stages[s].add(e.Outcome, hash)
		}
	case e.Outcome == stytchmigrate.OutcomeUnavailable && (e.Cause == "application" || e.Cause == ""):
		// By any other cause there was no legacy cookie: anybody can send made-up Stytch
		// cookies until they are held back, and would keep the verdict waiting for ever.
		p.untold.add(now)
	}
	if e.Err != nil || e.Outcome == stytchmigrate.OutcomeRefused || e.Outcome == stytchmigrate.OutcomeUnavailable {
		p.failures.note(now, e)
	}
}

// triedOut counts what a legacy session would have come to: in the row of its
// stage, and nowhere else among the sessions.
func (p *Page) triedOut(now time.Time, e *stytchmigrate.Event) {
	p.stages[stytchmigrate.StageShadow].add(e.Outcome, maphash.String(p.seed, e.Fingerprint))
	if e.Err != nil {
		p.failures.note(now, e)
	}
}
