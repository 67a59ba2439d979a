package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	errs := []error{m.clearCookies(w, f)}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), m.cfg.Timeout)
	defer cancel()
	cookies := m.browser.read(r)
	legacy, err := m.legacyOf(f, r, &cookies)
	errs = append(errs, err)

	ids, others := m.sessionsOf(ctx, f, legacy, &cookies)
	m.endRecords(f, legacy)
	for id := range ids {
		m.sessions.end(id) // before Stytch hears of it: no answer under way brings it back
		others = append(others, revokeRequest{SessionID: id})
	}
	for _, in := range others {
		errs = append(errs, m.client.revoke(ctx, in))
	}
	told := errors.Join(errs...)
	if legacy != nil && legacy.cookie.End != nil {
		if err := legacy.cookie.End(ctx, legacy.session); err != nil {
			errs = append(errs, fmt.Errorf("stytchmigrate: End of cookie %q: %w", legacy.cookie.Name, err))
			told = errors.Join(told, fmt.Errorf("stytchmigrate: End of cookie %q failed (%T)", legacy.cookie.Name, err))
		}
	}
	m.reportLogout(r.Context(), f, legacy, told)
	return errors.Join(errs...)
}

// clearCookies puts the deletions in place of whatever cookies are pending on
// this response, or writes them at once where none are.
func (m *Middleware) clearCookies(w http.ResponseWriter, f *found) error {
	lines := m.browser.clearAll()
	m.browser.dropStytch(w.Header())
	if f != nil && f.swap != nil {
		return f.swap.replace(lines)
	}
	writeCookies(w.Header(), m.browser.yield(w.Header(), lines, true))
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
func (m *Middleware) sessionsOf(ctx context.Context, f *found, legacy *foundLegacy, c *requestCookies) (ids map[string]bool, others []revokeRequest) {
	ids = map[string]bool{}
	if f != nil && f.session != nil {
		ids[f.session.SessionID] = true
	}
	if legacy != nil {
		if x := m.migrator.remembered(m.migrator.key(legacy)); x != nil && x.answer == yes {
			ids[x.known.session.SessionID] = true
		}
	}
	for _, t := range c.tokens[:min(len(c.tokens), maxTokens)] {
		if k, ok := m.sessions.known.Peek(keyOf('t', t)); ok {
			ids[k.session.SessionID] = true
		} else if len(t) <= maxToken && isCookieValue(t) {
			others = append(others, revokeRequest{SessionToken: t})
		}
	}
	if len(ids)+len(others) == 0 {
		j := m.sessions.readJWTs(ctx, c.jwts)
		for _, jwt := range []string{j.liveJWT, j.staleJWT, j.unsure} {
			if jwt != "" {
				others = append(others, revokeRequest{SessionJWT: jwt})
			}
		}
	}
	return ids, others
}

// endRecords keeps the legacy sessions of a request from being exchanged
// again: the one that it carries, and the one that its Stytch session came from.
func (m *Middleware) endRecords(f *found, legacy *foundLegacy) {
	if f != nil && f.session != nil {
		origin, _ := f.session.CustomClaims[originClaim].(string)
		m.migrator.end(origin)
	}
	if legacy != nil {
		m.migrator.end(m.migrator.key(legacy))
	}
}
