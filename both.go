package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

// ruling says which of two sessions in one request counts.
type ruling int

const (
	nothingAgainst ruling = iota // the Stytch session stays, and so does the legacy cookie
	superseded                   // the same person: the legacy cookie has done its work
	outdated                     // another person, who signed in earlier: that cookie must go
	overtaken                    // another person, who signed in later: the legacy session wins
	conflict                     // another person, and nobody knows when: neither counts
)

// judgement is a ruling and the legacy cookies that it is about. It stays with
// the known session, so that a repeat costs one comparison, and an event nothing.
type judgement struct {
	values [sha256.Size]byte // of the legacy cookies, see valuesOf
	legacy *foundLegacy
	ruling ruling
	until  time.Time
}

// kept is what stays beside a session in memory.
type kept struct {
	found  *found                    // what a request is told that is served from memory
	judged atomic.Pointer[judgement] // of the legacy cookies that came with it last
}

func keep(b *browser.Browser, s *stytch.Session) any {
	user, session := told(s)
	return &kept{found: &found{by: b, outcome: OutcomeAuthenticated, cause: causeMemory, user: user, session: session}}
}

func keptWith(k *session.Known) *kept { return k.Attached.(*kept) }

// decideBoth judges a request with a Stytch session alive and a legacy cookie.
// v is the verdict on the Stytch session alone.
func (j *judge) decideBoth(ctx context.Context, r *http.Request, c *browser.Cookies, k *session.Known, v verdict) verdict {
	now := j.rollout.now()
	if now.retired() {
		return j.retireBeside(c, v)
	}
	ruled, err := j.ruleOn(r, c, k)
	if err != nil {
		j.tell.logError(r.Context(), err)
		return v
	}
	if ruled.legacy != nil {
		v.legacy = ruled.legacy
	}
	if now.Stage == StageRetired && ruled.legacy != nil && !j.isHeldBack(now, ruled.legacy) {
		return j.retireBeside(c, v)
	}
	switch ruled.ruling {
	case superseded:
		set := v.change.Set
		v.change = beside(j.stageOf(now, ruled.legacy), ruled.legacy)
		v.change.Set = set
	case nothingAgainst: // the user's, for all that anybody knows
		v.change.Watch = ruled.legacy != nil && j.stageOf(now, ruled.legacy) != StageReplace
	case outdated:
		v.change.Expire, v.change.Strip = []int{ruled.legacy.entry}, true
	case overtaken:
		won := j.move(ctx, r, ruled.legacy)
		if won.outcome == OutcomeMigrated {
			j.exchanges.RevokeLater(ctx, k.Session.ID)
		}
		return won
	case conflict:
		return verdict{
			found:  found{legacy: ruled.legacy},
			change: browser.Change{Clear: true, Expire: []int{ruled.legacy.entry}, Strip: true},
			event:  kindConflict,
		}
	}
	return v
}

// retireBeside expires the legacy cookies beside a Stytch session, which stays,
// whoever they are of.
func (j *judge) retireBeside(c *browser.Cookies, v verdict) verdict {
	set := v.change.Set
	v.change = j.retire(c)
	v.change.Set = set
	return v
}

// ruleOn rules on the legacy cookies of a request beside the session k. What
// was ruled of the same cookies before is taken from k.
func (j *judge) ruleOn(r *http.Request, c *browser.Cookies, k *session.Known) (*judgement, error) {
	values := valuesOf(c)
	now := time.Now()
	judged := &keptWith(k).judged
	if ruled := judged.Load(); ruled != nil && ruled.values == values && now.Before(ruled.until) {
		return ruled, nil
	}
	f, err := j.legacy.first(r, c)
	if err != nil {
		return nil, err
	}
	// A minute, for a value that is no session may become one, as where a second
	// factor was pending.
	ruled := &judgement{values: values, legacy: f, until: now.Add(time.Minute)}
	if f != nil {
		ruled.ruling, f.fingerprint = j.rule(k.Session, f), j.tell.fingerprint(f)
		if at := f.session.ExpiresAt; !at.IsZero() && at.Before(ruled.until) {
			ruled.until = at
		}
	}
	judged.Store(ruled)
	return ruled, nil
}

// valuesOf is the SHA-256 of the legacy cookies of a request, each under its
// entry of Config.Legacy: what they are may be long, and stays in memory with
// the session. No cookie's value has ";" or a line break in it.
func valuesOf(c *browser.Cookies) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, values := range c.Old {
		for _, v := range values {
			_, _ = io.WriteString(h, v+";")
		}
		_, _ = io.WriteString(h, "\n")
	}
	h.Sum(sum[:0])
	return sum
}

func (j *judge) rule(s *stytch.Session, f *foundLegacy) ruling {
	if s.Origin != "" && s.Origin == f.key {
		return superseded
	}
	same, known := s.Who.Compare(f.session.Identity)
	switch {
	case !known:
		return nothingAgainst
	case same:
		return superseded
	case f.session.StartedAt.IsZero():
		return conflict
	case f.session.StartedAt.After(s.StartedAt):
		return overtaken
	}
	return outdated
}
