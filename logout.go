package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"example.com/stytchmigrate/internal/background"
	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

// ender ends sessions: here first, then on other machines, at Stytch and at the
// source.
type logouts struct {
	cookies    *cookies.Policy
	legacy     *legacyResolver
	sessions   *session.Sessions
	tombstones *tombstones.Tombstones
	records    *records.Records
	api        stytch.API
	report     *reporter
	timeout    time.Duration
}

// leaving is what ends with one logout.
type logoutSet struct {
	legacy  []*resolvedSession
	ids     map[string]bool     // of Stytch sessions
	keys    map[string]bool     // of legacy sessions' records
	unknown []stytch.SessionRef // what the browser sent, where no id is known
}

func (l *logoutSet) add(sessionID, key string) {
	if sessionID != "" {
		l.ids[sessionID] = true
	}
	if key != "" {
		l.keys[key] = true
	}
}

// proofs are of all Stytch sessions that are to be revoked.
func (l *logoutSet) proofs() []stytch.SessionRef {
	all := slices.Clone(l.unknown)
	for id := range l.ids {
		all = append(all, stytch.SessionRef{ID: id})
	}
	return all
}

func (e *logouts) logout(w http.ResponseWriter, r *http.Request) error {
	f := infoFrom(r.Context())
	if f != nil && f.original != nil {
		r = f.original.WithContext(r.Context())
	}
	var pending *cookies.Pending
	if f != nil {
		pending = f.pending
	}
	errs := []error{e.cookies.LogOut(w.Header(), r, pending)}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), e.timeout)
	defer cancel()
	cookies := e.cookies.Read(r)
	if cookies.TooMany(r) {
		errs = append(errs, errTooMany)
	}
	legacy, err := e.legacyOf(f, r, &cookies)
	l := e.endLocal(ctx, f, legacy, &cookies)
	errs = append(errs, err, e.endShared(ctx, l))
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
	e.report.loggedOut(r.Context(), f, legacy, told)
	return errors.Join(errs...)
}

var errTooMany = errors.New("stytchmigrate: more cookies than Logout looks at: a session may not have been ended")

// left ends the sessions of a user whom the handler has logged out by itself: by
// expiring the legacy cookie. It is logout, but nobody waits for Stytch. The Stytch
// session may have come from another legacy session, as at a sign-in by the old
// login that was not the last one; or nobody could tell whose it is.
func (e *logouts) legacyLogout(ctx context.Context, c *cookies.Received, f *requestInfo) {
	ctx = context.WithoutCancel(ctx)
	l := e.endLocal(ctx, f, []*resolvedSession{f.legacy}, c)
	_ = e.endShared(ctx, l)
	background.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, 3*e.timeout)
		defer cancel()
		for _, p := range l.proofs() {
			e.sessions.RevokeUnwanted(ctx, p)
		}
	})
}

// legacyOf returns the legacy sessions that a request came with, each once. What
// was found before need not be resolved again.
func (e *logouts) legacyOf(f *requestInfo, r *http.Request, c *cookies.Received) ([]*resolvedSession, error) {
	all, err := e.legacy.every(r, c)
	if f != nil && f.legacy != nil {
		all = append(all, f.legacy)
	}
	seen := map[string]bool{}
	all = slices.DeleteFunc(all, func(l *resolvedSession) bool {
		key := l.key
		defer func() { seen[key] = true }()
		return seen[key]
	})
	return all, err
}

// here makes this process refuse every session of a request from now on. It
// comes before Stytch or the store hear of it: no answer that is under way brings
// back what has ended here.
func (e *logouts) endLocal(ctx context.Context, f *requestInfo, legacy []*resolvedSession, c *cookies.Received) *logoutSet {
	l := &logoutSet{legacy: legacy, ids: map[string]bool{}, keys: map[string]bool{}}
	end := func(sessionID, key string) {
		if l.add(sessionID, key); key != "" {
			e.tombstones.MarkLegacyLocal(key)
		}
	}
	if f != nil && f.session != nil {
		origin, _ := f.session.CustomClaims[stytch.OriginClaim].(string)
		end(f.session.SessionID, origin)
	}
	for _, s := range legacy {
		end("", s.key)
	}
	l.unknown = e.sessions.EndCookies(ctx, c.Tokens, c.JWTs, end)
	for id := range l.ids { // now that nothing more is looked up by a cookie
		e.sessions.End(id)
	}
	return l
}

// everywhere tells the other machines, and adds the Stytch sessions that the
// legacy ones became. They are looked up after the records are ended: who
// remembers one after that discards it.
func (e *logouts) endShared(ctx context.Context, l *logoutSet) (err error) {
	for key := range l.keys {
		err = errors.Join(err, e.tombstones.MarkLegacy(ctx, key))
	}
	for _, s := range l.legacy {
		if r := e.records.Load(ctx, s.key, redact.Secret(s.session.ID)); r != nil {
			l.add(r.Session.ID, "")
			e.sessions.End(r.Session.ID)
		}
	}
	for id := range l.ids {
		err = errors.Join(err, e.tombstones.MarkSessionShared(ctx, id))
	}
	return err
}

// sources returns the legacy sessions whose cookie the browser has no more, and
// that are to be ended at their source.
func (e *logouts) sources(ctx context.Context, l *logoutSet) (out []*resolvedSession) {
	if !slices.ContainsFunc(e.legacy.cookies, func(c LegacyCookie) bool { return c.End != nil }) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
	defer cancel()
	for key := range l.keys {
		came := slices.ContainsFunc(l.legacy, func(f *resolvedSession) bool { return f.key == key })
		if f := e.sourceOf(ctx, key); f != nil && !came {
			out = append(out, f)
		}
	}
	return out
}

// endAtSource calls End, with time of its own: a Stytch that is silent has used
// up the rest, and must not keep the old session alive.
func (e *logouts) endAtSource(ctx context.Context, legacy *resolvedSession) error {
	if legacy.cookie.End == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
	defer cancel()
	return legacy.cookie.End(ctx, legacy.session)
}

// sourceOf returns the legacy session of a record, if it is to be ended at its
// source.
func (e *logouts) sourceOf(ctx context.Context, key string) *resolvedSession {
	src, found := e.records.Source(ctx, key)
	i := src.Entry
	if !found || i >= len(e.legacy.cookies) || e.legacy.cookies[i].Name != src.Cookie || e.legacy.cookies[i].End == nil {
		return nil // of a configuration that is no more
	}
	return &resolvedSession{entry: i, key: key, cookie: &e.legacy.cookies[i], session: LegacySession{
		ID: Secret(src.ID), Token: Secret(src.Token), Identity: src.Identity, StartedAt: src.StartedAt, ExpiresAt: src.ExpiresAt,
	}}
}
