package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/endings"
	"example.com/stytchmigrate/internal/flight"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
)

// ender ends sessions: here first, then on other machines, at Stytch and at the
// source.
type ender struct {
	browser  *browser.Browser
	legacy   *legacy
	sessions *session.Sessions
	endings  *endings.Endings
	records  *records.Records
	api      stytch.API
	tell     *teller
	timeout  time.Duration
}

// leaving is what ends with one logout.
type leaving struct {
	legacy []*foundLegacy
	ids    map[string]bool // of Stytch sessions
	keys   map[string]bool // of legacy sessions' records
	blind  []stytch.Proof  // what the browser sent, where no id is known
}

func (l *leaving) add(sessionID, key string) {
	if sessionID != "" {
		l.ids[sessionID] = true
	}
	if key != "" {
		l.keys[key] = true
	}
}

// proofs are of all Stytch sessions that are to be revoked.
func (l *leaving) proofs() []stytch.Proof {
	all := slices.Clone(l.blind)
	for id := range l.ids {
		all = append(all, stytch.Proof{ID: id})
	}
	return all
}

func (e *ender) logout(w http.ResponseWriter, r *http.Request) error {
	f := foundIn(r.Context())
	if f != nil && f.original != nil {
		r = f.original.WithContext(r.Context())
	}
	var pending *browser.Swap
	if f != nil {
		pending = f.swap
	}
	errs := []error{e.browser.LogOut(w.Header(), r, pending)}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), e.timeout)
	defer cancel()
	cookies := e.browser.Read(r)
	if cookies.TooMany(r) {
		errs = append(errs, errTooMany)
	}
	legacy, err := e.legacyOf(f, r, &cookies)
	l := e.here(ctx, f, legacy, &cookies)
	errs = append(errs, err, e.everywhere(ctx, l))
	for _, p := range l.proofs() {
		errs = append(errs, e.api.Revoke(ctx, p))
	}
	told := errors.Join(errs...)
	for _, s := range append(legacy, e.sources(r.Context(), l)...) {
		if err := e.endAtSource(r.Context(), s); err != nil {
			errs = append(errs, fmt.Errorf("stytchmigrate: End of cookie %q: %w", s.cookie.Name, err))
			told = errors.Join(told, fmt.Errorf("stytchmigrate: End of cookie %q failed (%T)", s.cookie.Name, err))
		}
	}
	e.tell.loggedOut(r.Context(), f, legacy, told)
	return errors.Join(errs...)
}

var errTooMany = errors.New("stytchmigrate: more cookies than Logout looks at: a session may not have been ended")

// left ends the sessions of a user whom the handler has logged out by itself: by
// expiring the legacy cookie. It is logout, but nobody waits for Stytch. The Stytch
// session may have come from another legacy session, as at a sign-in by the old
// login that was not the last one; or nobody could tell whose it is.
func (e *ender) left(ctx context.Context, c *browser.Cookies, f *found) {
	ctx = context.WithoutCancel(ctx)
	l := e.here(ctx, f, []*foundLegacy{f.legacy}, c)
	_ = e.everywhere(ctx, l)
	flight.Apart(func() {
		ctx, cancel := context.WithTimeout(ctx, 3*e.timeout)
		defer cancel()
		for _, p := range l.proofs() {
			e.sessions.Abandon(ctx, p)
		}
	})
}

// legacyOf returns the legacy sessions that a request came with, each once. What
// was found before need not be resolved again.
func (e *ender) legacyOf(f *found, r *http.Request, c *browser.Cookies) ([]*foundLegacy, error) {
	all, err := e.legacy.every(r, c)
	if f != nil && f.legacy != nil {
		all = append(all, f.legacy)
	}
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(l *foundLegacy) bool {
		key := l.key
		defer func() { seen[key] = true }()
		return seen[key]
	})
	return all, err
}

// here makes this process refuse every session of a request from now on. It
// comes before Stytch or the store hear of it: no answer that is under way brings
// back what has ended here.
func (e *ender) here(ctx context.Context, f *found, legacy []*foundLegacy, c *browser.Cookies) *leaving {
	l := &leaving{legacy: legacy, ids: map[string]bool{}, keys: map[string]bool{}}
	end := func(sessionID, key string) {
		if l.add(sessionID, key); key != "" {
			e.endings.EndLegacyHere(key)
		}
	}
	if f != nil && f.session != nil {
		origin, _ := f.session.CustomClaims[stytch.OriginClaim].(string)
		end(f.session.SessionID, origin)
	}
	for _, s := range legacy {
		end("", s.key)
	}
	l.blind = e.sessions.EndCookies(ctx, c.Tokens, c.JWTs, end)
	for id := range l.ids { // now that nothing more is looked up by a cookie
		e.sessions.End(id)
	}
	return l
}

// everywhere tells the other machines, and adds the Stytch sessions that the
// legacy ones became. They are looked up after the records are ended: who
// remembers one after that discards it.
func (e *ender) everywhere(ctx context.Context, l *leaving) (err error) {
	for key := range l.keys {
		err = errors.Join(err, e.endings.EndLegacy(ctx, key))
	}
	for _, s := range l.legacy {
		if r := e.records.Load(ctx, s.key, string(s.session.ID)); r != nil {
			l.add(r.Session.ID, "")
			e.sessions.End(r.Session.ID)
		}
	}
	for id := range l.ids {
		err = errors.Join(err, e.endings.EndSessionElsewhere(ctx, id))
	}
	return err
}

// sources returns the legacy sessions whose cookie the browser has no more, and
// that are to be ended at their source.
func (e *ender) sources(ctx context.Context, l *leaving) (out []*foundLegacy) {
	if !slices.ContainsFunc(e.legacy.cookies, func(c LegacyCookie) bool { return c.End != nil }) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
	defer cancel()
	for key := range l.keys {
		came := slices.ContainsFunc(l.legacy, func(f *foundLegacy) bool { return f.key == key })
		if f := e.sourceOf(ctx, key); f != nil && !came {
			out = append(out, f)
		}
	}
	return out
}

// endAtSource calls End, with time of its own: a Stytch that is silent has used
// up the rest, and must not keep the old session alive.
func (e *ender) endAtSource(ctx context.Context, legacy *foundLegacy) error {
	if legacy.cookie.End == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
	defer cancel()
	return legacy.cookie.End(ctx, legacy.session)
}

// sourceOf returns the legacy session of a record, if it is to be ended at its
// source.
func (e *ender) sourceOf(ctx context.Context, key string) *foundLegacy {
	src, found := e.records.Source(ctx, key)
	i := src.Entry
	if !found || i >= len(e.legacy.cookies) || e.legacy.cookies[i].Name != src.Cookie || e.legacy.cookies[i].End == nil {
		return nil // of a configuration that is no more
	}
	return &foundLegacy{entry: i, key: key, cookie: &e.legacy.cookies[i], session: LegacySession{
		ID: Secret(src.ID), Token: Secret(src.Token), Identity: src.Identity, StartedAt: src.StartedAt, ExpiresAt: src.ExpiresAt,
	}}
}
