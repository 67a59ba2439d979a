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

// logouts ends sessions, in this order: in this process, on the other machines, at
// Stytch, and at the source of the legacy session.
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

// logoutSet is all that one logout ends.
type logoutSet struct {
	legacy  []*resolvedSession  // that the request carries
	records map[string]bool     // keys of the legacy sessions
	spared  *session.Entry      // at a sign-in, its session: Stytch sessions of the same user do not end
	stytch  map[string]bool     // ids of the Stytch sessions
	unknown []stytch.SessionRef // tokens and JWTs of Stytch sessions whose id is not known here
}

// spares reports whether the Stytch sessions of a user do not end.
func (l *logoutSet) spares(userID string) bool {
	return l.spared != nil && l.spared.Session.UserID == userID
}

// addStytch and addRecord add a session, if there is one.
func (l *logoutSet) addStytch(id string) {
	if id != "" {
		l.stytch[id] = true
	}
}

func (l *logoutSet) addRecord(key string) {
	if key != "" {
		l.records[key] = true
	}
}

// revocations returns the Stytch sessions that are to be revoked.
func (l *logoutSet) revocations() []stytch.SessionRef {
	all := slices.Clone(l.unknown)
	for id := range l.stytch {
		all = append(all, stytch.SessionRef{ID: id})
	}
	return all
}

// logout is Middleware.Logout.
func (e *logouts) logout(w http.ResponseWriter, r *http.Request) error {
	var pending *cookies.Pending
	info := infoFrom(r.Context())
	if info != nil && info.by != nil && info.by != e.cookies {
		info = nil // of another Middleware
	}
	if info != nil {
		pending = info.pending
		if info.original != nil {
			r = info.original.WithContext(r.Context())
		}
	}
	planned := e.cookies.Planned(w.Header(), pending)
	errs := []error{e.cookies.LogOut(w.Header(), r, pending)}
	received := e.cookies.Read(r)
	if received.TooMany(r) {
		errs = append(errs, errTooMany)
	}
	for _, token := range planned { // of a SignIn in this response
		if e.sessions.IsKnown(token) {
			received.Tokens = append(received.Tokens, token)
		}
	}
	legacy, err := e.legacyOf(info, r, &received)
	errs = append(errs, err)
	full, reported := e.end(r.Context(), info, legacy, &received, nil)
	e.report.logout(r.Context(), info, legacy, errors.Join(errors.Join(errs...), reported))
	return errors.Join(errors.Join(errs...), full)
}

// end ends the sessions of a request, in the order of logouts. spared is that of a
// sign-in, or nil. reported is the error without the text of the application's errors.
func (e *logouts) end(ctx context.Context, info *requestInfo, legacy []*resolvedSession, received *cookies.Received, spared *session.Entry) (full, reported error) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
	defer cancel()
	waiting, stop := context.WithTimeout(limited, e.timeout/2) // for the key set; the rest is for Stytch
	all := e.endLocal(waiting, info, legacy, received, spared)
	stop()
	errs := []error{e.endShared(limited, all)}
	for _, ref := range all.revocations() {
		errs = append(errs, e.api.Revoke(limited, ref))
	}
	sources, err := e.sources(ctx, all)
	errs = append(errs, err)
	reported = errors.Join(errs...)
	for _, s := range append(legacy, sources...) {
		if err := e.endAtSource(context.WithoutCancel(ctx), s); err != nil {
			errs = append(errs, fmt.Errorf("stytchmigrate: End of cookie %q: %w", s.cookie.Name, err))
			reported = errors.Join(reported, fmt.Errorf("stytchmigrate: End of cookie %q failed (%T)", s.cookie.Name, err))
		}
	}
	return errors.Join(errs...), reported
}

var errTooMany = errors.New("stytchmigrate: more cookies than Logout looks at: a session may not have been ended")

// legacyLogout ends the sessions of a user whom the handler has logged out by
// expiring the legacy cookie. It is like logout, but does not wait for Stytch. The
// Stytch session may have come from another legacy session: from an earlier sign-in
// by the old login, or while it could not be told whose it is.
func (e *logouts) legacyLogout(ctx context.Context, c *cookies.Received, info *requestInfo) {
	ctx = context.WithoutCancel(ctx)
	noWait, cancel := context.WithCancel(ctx)
	cancel()                                                                                                        // a JWT whose key is not here is not waited for: Stytch is asked to revoke it
	legacy := slices.DeleteFunc([]*resolvedSession{info.legacy}, func(s *resolvedSession) bool { return s == nil }) // nil: the old cookie did not come
	all := e.endLocal(noWait, info, legacy, c, nil)
	_ = e.endShared(ctx, all)
	background.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, 3*e.timeout)
		defer cancel()
		for _, ref := range all.revocations() {
			e.sessions.RevokeUnwanted(ctx, ref)
		}
	})
}

// legacyOf returns the legacy sessions that a request carries, each once. The one
// that decide resolved is among them even if Resolve fails now. That of
// NewLegacyContext is of no cookie, and nothing here can end it.
func (e *logouts) legacyOf(info *requestInfo, r *http.Request, c *cookies.Received) ([]*resolvedSession, error) {
	all, err := e.legacy.every(r, c)
	if info != nil && info.by != nil && info.legacy != nil {
		all = append(all, info.legacy)
	}
	return distinct(all), err
}

// distinct returns each legacy session once.
func distinct(all []*resolvedSession) []*resolvedSession {
	seen := map[string]bool{}
	return slices.DeleteFunc(all, func(s *resolvedSession) bool {
		again := seen[s.key]
		seen[s.key] = true
		return again
	})
}

// endLocal makes this process refuse every session of a request from now on. It
// comes first: an answer of Stytch or of the store that is under way must not bring
// back a session that has ended here.
func (e *logouts) endLocal(ctx context.Context, info *requestInfo, legacy []*resolvedSession, c *cookies.Received, spared *session.Entry) *logoutSet {
	all := &logoutSet{legacy: legacy, spared: spared, stytch: map[string]bool{}, records: map[string]bool{}}
	end := func(sessionID, key string) {
		all.addStytch(sessionID)
		all.addRecord(key)
		if key != "" {
			e.tombstones.MarkLegacyLocal(key)
		}
	}
	if info != nil && info.session != nil && !all.spares(info.session.UserID) {
		origin, _ := info.session.CustomClaims[stytch.OriginClaim].(string)
		end(info.session.SessionID, origin)
	}
	for _, s := range legacy {
		end("", s.key)
	}
	all.unknown = e.sessions.EndCookies(ctx, c.Tokens, c.JWTs, end)
	for id := range all.stytch { // last: EndCookies finds sessions in memory by their cookies
		e.sessions.End(id)
	}
	return all
}

// endShared ends the sessions on the other machines, and adds the Stytch sessions
// that the legacy ones became. It marks the legacy sessions first and looks for
// their records then: a machine that puts a record after the look finds the mark.
func (e *logouts) endShared(ctx context.Context, all *logoutSet) (err error) {
	for key := range all.records {
		err = errors.Join(err, e.tombstones.MarkLegacy(ctx, key))
	}
	for _, s := range all.legacy {
		record := e.records.Load(context.WithoutCancel(ctx), s.key, redact.Secret(s.session.ID))
		switch {
		case record == nil:
		case all.spares(record.Session.UserID): // another request may be about to set its cookies
			err = errors.Join(err, e.sessions.Replace(ctx, all.spared, []string{string(record.Session.Token)}, nil))
		default:
			all.addStytch(record.Session.ID)
			e.sessions.End(record.Session.ID)
		}
	}
	for id := range all.stytch {
		err = errors.Join(err, e.tombstones.MarkSessionShared(ctx, id), e.tombstones.MarkTied(ctx, id))
	}
	return err
}

// sources returns the legacy sessions that the Stytch sessions came from, if the
// browser no longer has their cookie and they have an End. An error means that there may
// be others.
func (e *logouts) sources(ctx context.Context, all *logoutSet) (out []*resolvedSession, err error) {
	if !slices.ContainsFunc(e.legacy.cookies, func(c LegacyCookie) bool { return c.End != nil }) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
	defer cancel()
	for key := range all.records {
		if slices.ContainsFunc(all.legacy, func(s *resolvedSession) bool { return s.key == key }) {
			continue
		}
		s, failed := e.sourceOf(ctx, key)
		if s != nil {
			out = append(out, s)
		}
		err = errors.Join(err, failed)
	}
	return out, err
}

// sourceOf returns the legacy session of a record, if it has an End.
func (e *logouts) sourceOf(ctx context.Context, key string) (*resolvedSession, error) {
	src, found, err := e.records.Source(ctx, key)
	i := src.Entry
	if !found || i >= len(e.legacy.cookies) || e.legacy.cookies[i].Name != src.Cookie || e.legacy.cookies[i].End == nil {
		return nil, err // not found, or of another configuration
	}
	return &resolvedSession{entry: i, key: key, cookie: &e.legacy.cookies[i], session: LegacySession{
		ID: Secret(src.ID), Token: Secret(src.Token), Identity: src.Identity, StartedAt: src.StartedAt, ExpiresAt: src.ExpiresAt,
		UntilBrowserCloses: src.UntilBrowserCloses,
	}}, nil
}

// endAtSource calls End. It has a timeout of its own: a Stytch that is silent has
// used up the other one, and the old session must end all the same.
func (e *logouts) endAtSource(ctx context.Context, legacy *resolvedSession) error {
	if legacy.cookie.End == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	return legacy.cookie.End(ctx, legacy.session)
}
