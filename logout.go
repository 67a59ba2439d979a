package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// Logout signs the user out: it expires the cookies of every session, revokes
// the Stytch session, keeps the legacy session from being exchanged again, and
// calls LegacyCookie.End. Call it before the response's first write.
//
// Call it in the old logout handler, in addition to what that does. Call it in
// the old login handler too, before that sets its cookie: what it sets then is
// kept.
//
// The cookies are expired in any case. An error means that Stytch, or the old
// session's source, may not know: revoke the user's sessions there if that matters.
// The revocation goes on if the client goes away.
func (m *Middleware) Logout(w http.ResponseWriter, r *http.Request) error {
	f := foundIn(r.Context())
	if f != nil && f.original != nil {
		r = f.original.WithContext(r.Context())
	}
	errs := []error{m.clearCookies(w, r, f)}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), m.cfg.Timeout)
	defer cancel()
	cookies := m.browser.read(r)
	legacy, err := m.legacyOf(f, r, &cookies)
	errs = append(errs, err)

	exchanged := m.endRecords(f, legacy)
	ids, others := m.sessionsOf(ctx, f, exchanged, &cookies)
	for id := range ids {
		m.sessions.end(id) // before Stytch hears of it: no answer under way brings it back
		others = append(others, revokeRequest{SessionID: id})
	}
	for _, in := range others {
		errs = append(errs, m.client.revoke(ctx, in))
	}
	told := errors.Join(errs...)
	if err := m.endAtSource(r.Context(), legacy); err != nil {
		errs = append(errs, fmt.Errorf("stytchmigrate: End of cookie %q: %w", legacy.cookie.Name, err))
		told = errors.Join(told, fmt.Errorf("stytchmigrate: End of cookie %q failed (%T)", legacy.cookie.Name, err))
	}
	m.reportLogout(r.Context(), f, legacy, told)
	return errors.Join(errs...)
}

// endAtSource calls End, with time of its own: a Stytch that is silent has used
// up the rest, and must not keep the old session alive.
func (m *Middleware) endAtSource(ctx context.Context, legacy *foundLegacy) error {
	if legacy == nil || legacy.cookie.End == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), m.cfg.Timeout)
	defer cancel()
	return legacy.cookie.End(ctx, legacy.session)
}

// clearCookies puts the deletions in place of whatever cookies are pending on
// this response, or writes them at once where none are.
func (m *Middleware) clearCookies(w http.ResponseWriter, r *http.Request, f *found) error {
	lines := m.browser.clearAll()
	m.browser.dropEnded(w.Header(), r)
	if f != nil && f.swap != nil {
		return f.swap.replace(lines)
	}
	writeCookies(w.Header(), yield(lines, m.browser.setBy(w.Header())))
	return nil
}

// legacyOf returns the legacy session that a request came with, also where its
// cookie was hidden from the handler.
func (m *Middleware) legacyOf(f *found, r *http.Request, c *requestCookies) (*foundLegacy, error) {
	if f != nil && f.legacy != nil {
		return f.legacy, nil
	}
	return m.browser.findLegacy(r, c)
}

// sessionsOf names the Stytch sessions of a request: by id where that is
// known, else by what the browser sent.
func (m *Middleware) sessionsOf(ctx context.Context, f *found, exchanged *known, c *requestCookies) (ids map[string]bool, others []revokeRequest) {
	ids = map[string]bool{}
	if f != nil && f.session != nil {
		ids[f.session.SessionID] = true
	}
	if exchanged != nil {
		ids[exchanged.session.SessionID] = true
	}
	delete(ids, "") // of an answer that did not name its session; the browser has the token
	for _, t := range c.tokens[:min(len(c.tokens), maxTokens)] {
		if k, ok := m.sessions.known.Peek(keyOf('t', t)); ok {
			ids[k.session.SessionID] = true
		} else if len(t) <= maxToken && isCookieValue(t) {
			m.sessions.endToken(t)
			others = append(others, revokeRequest{SessionToken: t})
		}
	}
	var unknown []string // another session's, or one that is being asked about by its token
	for _, jwt := range c.jwts {
		if k, ok := m.sessions.known.Peek(keyOf('j', jwt)); ok {
			ids[k.session.SessionID] = true
		} else {
			unknown = append(unknown, jwt)
		}
	}
	j := m.sessions.readJWTs(ctx, unknown)
	for _, claims := range []*sessionjwt.Claims{j.live, j.stale} {
		if claims != nil {
			ids[claims.SessionID] = true
		}
	}
	if len(ids)+len(others) == 0 && j.unsure != "" {
		others = append(others, revokeRequest{SessionJWT: j.unsure})
	}
	return ids, others
}

// endRecords keeps the legacy sessions of a request from being exchanged
// again: the one that it carries, and the one that its Stytch session came from.
// It returns the session that the former became, if that is in memory.
func (m *Middleware) endRecords(f *found, legacy *foundLegacy) (exchanged *known) {
	if f != nil && f.session != nil {
		origin, _ := f.session.CustomClaims[originClaim].(string)
		m.migrator.end(origin)
	}
	if legacy == nil {
		return nil
	}
	key := m.migrator.key(legacy)
	// Ended first, looked up second: an exchange that completes in between
	// finds it ended, and one that completed before is found here.
	m.migrator.ended.Add(key, struct{}{})
	if x, ok := m.migrator.records.Peek(key); ok && x.answer == yes {
		exchanged = x.known
	}
	m.migrator.end(key)
	return exchanged
}
