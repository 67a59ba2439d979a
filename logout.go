package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/flight"
	"example.com/stytchmigrate/internal/stytch"
)

// Logout signs the user out: it expires the cookies of every session, revokes
// the Stytch session, keeps the legacy session from being exchanged again, and
// calls LegacyCookie.End. Call it before the response's first write.
//
// Call it in the old logout handler, in addition to what that does. Call it in
// the old login handler too, before that sets its cookie: what it sets then is
// kept.
//
// The cookies are expired in any case, if nothing was written yet; a cacheable
// Cache-Control that the handler sets after it is the handler's mistake. An error means that Stytch, or the old
// session's source, may not know: revoke the user's sessions there if that matters.
// The revocation goes on if the client goes away.
func (m *Middleware) Logout(w http.ResponseWriter, r *http.Request) error {
	f := foundIn(r.Context())
	if f != nil && f.original != nil {
		r = f.original.WithContext(r.Context())
	}
	var pending *browser.Swap
	if f != nil {
		pending = f.swap
	}
	errs := []error{m.browser.LogOut(w.Header(), r, pending)}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), m.cfg.Timeout)
	defer cancel()
	cookies := m.browser.Read(r)
	if cookies.TooMany(r) {
		errs = append(errs, errTooMany)
	}
	legacy, err := m.legacyOf(f, r, &cookies)
	errs = append(errs, err)
	ids, keys, revoke := m.endHere(ctx, f, legacy, &cookies)
	errs = append(errs, m.endEverywhere(ctx, legacy, ids, keys))
	for id := range ids {
		revoke = append(revoke, stytch.Proof{ID: id})
	}
	for _, in := range revoke {
		errs = append(errs, m.api.Revoke(ctx, in))
	}
	told := errors.Join(errs...)
	for _, l := range append(legacy, m.sources(r.Context(), legacy, keys)...) {
		if err := m.endAtSource(r.Context(), l); err != nil {
			errs = append(errs, fmt.Errorf("stytchmigrate: End of cookie %q: %w", l.cookie.Name, err))
			told = errors.Join(told, fmt.Errorf("stytchmigrate: End of cookie %q failed (%T)", l.cookie.Name, err))
		}
	}
	m.tell.loggedOut(r.Context(), f, legacy, told)
	return errors.Join(errs...)
}

var errTooMany = errors.New("stytchmigrate: more cookies than Logout looks at: a session may not have been ended")

// endAtSource calls End, with time of its own: a Stytch that is silent has used
// up the rest, and must not keep the old session alive.
func (m *Middleware) endAtSource(ctx context.Context, legacy *foundLegacy) error {
	if legacy.cookie.End == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.Timeout)
	defer cancel()
	return legacy.cookie.End(ctx, legacy.session)
}

// legacyOf returns the legacy sessions that a request came with, each once. What
// was found before need not be resolved again.
func (m *Middleware) legacyOf(f *found, r *http.Request, c *browser.Cookies) ([]*foundLegacy, error) {
	all, err := m.judge.legacy.every(r, c)
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

// endHere makes this process refuse every session of a request from now on. It
// returns the ids of the Stytch sessions, the keys of the legacy sessions' records,
// and what is to be revoked by what the browser sent, where no id is known. It
// comes before Stytch or the store hear of it: no answer that is under way brings
// back what has ended here.
func (m *Middleware) endHere(ctx context.Context, f *found, legacy []*foundLegacy, c *browser.Cookies) (ids, keys map[string]bool, revoke []stytch.Proof) {
	ids, keys = map[string]bool{}, map[string]bool{}
	end := func(sessionID, key string) {
		if sessionID != "" {
			ids[sessionID] = true
		}
		if key != "" {
			keys[key] = true
			m.endings.EndLegacyHere(key)
		}
	}
	if f != nil && f.session != nil {
		origin, _ := f.session.CustomClaims[stytch.OriginClaim].(string)
		end(f.session.SessionID, origin)
	}
	for _, l := range legacy {
		end("", l.key)
	}
	revoke = m.sessions.EndCookies(ctx, c.Tokens, c.JWTs, end)
	for id := range ids { // now that nothing more is looked up by a cookie
		m.sessions.End(id)
	}
	return ids, keys, revoke
}

// endEverywhere tells the other machines, and adds the Stytch sessions that the
// legacy ones became to ids. They are looked up after the records are ended: who
// remembers one after that discards it.
func (m *Middleware) endEverywhere(ctx context.Context, legacy []*foundLegacy, ids, keys map[string]bool) (err error) {
	for key := range keys {
		err = errors.Join(err, m.endings.EndLegacy(ctx, key))
	}
	for _, l := range legacy {
		if r := m.records.Load(ctx, l.key, string(l.session.ID)); r != nil {
			ids[r.Session.ID] = true
			m.sessions.End(r.Session.ID)
		}
	}
	for id := range ids {
		err = errors.Join(err, m.endings.EndSessionElsewhere(ctx, id))
	}
	return err
}

// sources returns the legacy sessions whose cookie the browser has no more, and
// that are to be ended at their source.
func (m *Middleware) sources(ctx context.Context, legacy []*foundLegacy, keys map[string]bool) (out []*foundLegacy) {
	if !slices.ContainsFunc(m.cfg.Legacy, func(l LegacyCookie) bool { return l.End != nil }) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.Timeout)
	defer cancel()
	for key := range keys {
		came := slices.ContainsFunc(legacy, func(l *foundLegacy) bool { return l.key == key })
		if l := m.sourceOf(ctx, key); l != nil && !came {
			out = append(out, l)
		}
	}
	return out
}

// left ends the sessions of a user whom the handler has logged out by itself: by
// expiring the legacy cookie. It is Logout, but nobody waits for Stytch. The Stytch
// session may have come from another legacy session, as at a sign-in by the old
// login that was not the last one; or nobody could tell whose it is.
func (m *Middleware) left(ctx context.Context, c *browser.Cookies, v *verdict) {
	ctx = context.WithoutCancel(ctx)
	legacy := []*foundLegacy{v.legacy}
	ids, keys, revoke := m.endHere(ctx, &v.found, legacy, c)
	_ = m.endEverywhere(ctx, legacy, ids, keys)
	for id := range ids {
		revoke = append(revoke, stytch.Proof{ID: id})
	}
	flight.Apart(func() {
		ctx, cancel := context.WithTimeout(ctx, 3*m.cfg.Timeout)
		defer cancel()
		for _, p := range revoke {
			m.sessions.Abandon(ctx, p)
		}
	})
}

// sourceOf returns the legacy session of a record, if it is to be ended at its
// source.
func (m *Middleware) sourceOf(ctx context.Context, key string) *foundLegacy {
	src, found := m.records.Source(ctx, key)
	i := src.Entry
	if !found || i >= len(m.cfg.Legacy) || m.cfg.Legacy[i].Name != src.Cookie || m.cfg.Legacy[i].End == nil {
		return nil // of a configuration that is no more
	}
	return &foundLegacy{entry: i, key: key, cookie: &m.cfg.Legacy[i], session: LegacySession{
		ID: Secret(src.ID), Token: Secret(src.Token), Identity: src.Identity, StartedAt: src.StartedAt, ExpiresAt: src.ExpiresAt,
	}}
}
