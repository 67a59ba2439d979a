package stytchmigrate

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"time"
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

// decideBoth judges a request with a Stytch session alive and a legacy cookie.
// v is the verdict on the Stytch session alone.
func (m *Middleware) decideBoth(ctx context.Context, r *http.Request, c *requestCookies, k *known, v verdict) verdict {
	now := m.rollout.inForce.Load()
	if now.retired() {
		return m.retireBeside(c, v)
	}
	j, err := m.judge(r, c, k)
	if err != nil {
		m.logError(r.Context(), err)
		return v
	}
	if j.legacy != nil {
		v.legacy = j.legacy
	}
	if now.Stage == StageRetired && j.legacy != nil && !m.migrator.isHeldBack(now.HoldBack, j.legacy) {
		return m.retireBeside(c, v)
	}
	switch j.ruling {
	case superseded:
		set := v.change.set
		v.change = beside(m.stageOf(now, j.legacy), j.legacy)
		v.change.set = set
	case nothingAgainst: // the user's, for all that anybody knows
		v.change.watch = j.legacy != nil && m.stageOf(now, j.legacy) != StageReplace
	case outdated:
		v.change.expire, v.change.strip = []*LegacyCookie{j.legacy.cookie}, true
	case overtaken:
		won := m.move(ctx, r, j.legacy)
		if won.outcome == OutcomeMigrated {
			m.migrator.revokeLater(ctx, k.session.SessionID)
		}
		return won
	case conflict:
		return verdict{
			found:  found{legacy: j.legacy},
			change: change{clear: true, expire: []*LegacyCookie{j.legacy.cookie}, strip: true},
			event:  kindConflict,
		}
	}
	return v
}

// retireBeside expires the legacy cookies beside a Stytch session, which stays,
// whoever they are of.
func (m *Middleware) retireBeside(c *requestCookies, v verdict) verdict {
	set := v.change.set
	v.change = m.retire(c)
	v.change.set = set
	return v
}

// judge rules on the legacy cookies of a request beside the session k. What
// was ruled of the same cookies before is taken from k.
func (m *Middleware) judge(r *http.Request, c *requestCookies, k *known) (*judgement, error) {
	values := valuesOf(c)
	now := time.Now()
	if j := k.judged.Load(); j != nil && j.values == values && now.Before(j.until) {
		return j, nil
	}
	f, err := m.browser.findLegacy(r, c)
	if err != nil {
		return nil, err
	}
	// A minute, for a value that is no session may become one, as where a second
	// factor was pending.
	j := &judgement{values: values, legacy: f, until: now.Add(time.Minute)}
	if f != nil {
		j.ruling, f.fingerprint = m.rule(k, f), m.migrator.fingerprint(f)
		if at := f.session.ExpiresAt; !at.IsZero() && at.Before(j.until) {
			j.until = at
		}
	}
	k.judged.Store(j)
	return j, nil
}

// valuesOf is the SHA-256 of the legacy cookies of a request, each under its
// entry of Config.Legacy: what they are may be long, and stays in memory with
// the session. No cookie's value has ";" or a line break in it.
func valuesOf(c *requestCookies) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, values := range c.legacy {
		for _, v := range values {
			_, _ = io.WriteString(h, v+";")
		}
		_, _ = io.WriteString(h, "\n")
	}
	h.Sum(sum[:0])
	return sum
}

func (m *Middleware) rule(k *known, f *foundLegacy) ruling {
	if k.origin != "" && k.origin == m.migrator.key(f) {
		return superseded
	}
	same, known := isSamePerson(k.user, f.session)
	switch {
	case !known:
		return nothingAgainst
	case same:
		return superseded
	case f.session.StartedAt.IsZero():
		return conflict
	case f.session.StartedAt.After(k.session.StartedAt):
		return overtaken
	}
	return outdated
}
