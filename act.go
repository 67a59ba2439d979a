package stytchmigrate

import (
	"context"
	"log/slog"
	"net/http"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/flight"
	"example.com/stytchmigrate/internal/stytch"
)

// act hands the request on, with the verdict in its context and the cookies of
// the response changed where they may be.
func (m *Middleware) act(w http.ResponseWriter, r *http.Request, c *browser.Cookies, v *verdict, next http.Handler) {
	write := !v.change.None() && m.browser.MayWrite(r)
	if v.change.Set != nil && !m.browser.IsOurs(r) {
		if !m.elsewhere.Swap(true) { // sync.Once would have others wait for the log
			m.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, "stytchmigrate: no cookies are written in answer to hosts outside of Cookies.Domain", slog.String("setting", "Config.Cookies.Domain"))
		}
	}
	if !write && v.change.Watch {
		v.change = browser.Change{Watch: true}
	}
	if write || v.change.Strip || v.change.Watch {
		var s *browser.Swap
		v.original = r
		s, r = m.browser.Prepare(r, &v.change, m.listener(r, v, write))
		if write || v.change.Watch {
			v.swap = s
		}
	}
	r = r.WithContext(context.WithValue(r.Context(), contextKey{}, &v.found))
	if v.swap == nil {
		next.ServeHTTP(w, r)
		return
	}
	// Deferred, for a handler may panic after it has answered: the browser's cookies
	// are gone then.
	defer func() {
		if v.swap.Said() == browser.Left {
			m.left(r.Context(), c, v)
		}
	}()
	next.ServeHTTP(v.swap.Wrap(w), r)
	v.swap.Commit(w) // where the handler wrote nothing, net/http sends a 200 after this
}

// listener is what the browser's side has to know of the handler of r: which old
// cookie it sees of the session that the verdict is about, and what those mean that
// it sets.
func (m *Middleware) listener(r *http.Request, v *verdict, write bool) browser.Handler {
	var counts *foundLegacy // the session that moved to Stytch, or stays
	h := browser.Handler{Shown: -1}
	if v.change.Watch || len(v.change.Expire) > 0 && v.session != nil {
		counts = v.legacy
	}
	if counts != nil && v.change.Shows(r) {
		h.Shown = counts.entry
	}
	stays := v.change.Watch
	h.Judge = func(old int, value string) browser.Word {
		f, several, err := legacyCookies(m.cfg.Legacy).find(old, r, []string{value})
		switch {
		case err != nil || several || f != nil && (counts == nil || !isStill(f, counts, stays)):
			return browser.Overruled
		case f != nil:
			return browser.Saved
		}
		return browser.Nothing
	}
	if session := v.session; write && session != nil {
		ctx := context.WithoutCancel(r.Context())
		h.Ended = func() bool { return m.hasEnded(ctx, session.SessionID) }
	}
	return h
}

// isStill reports whether a session that a handler saved is the one that counts.
// Beside a cookie that stays, one of another ID is the person's still: where ID is
// not given, each cookie that is saved again has one of its own.
func isStill(f, counts *foundLegacy, stays bool) bool {
	a, b := f.session, counts.session
	if stays && a.Identity.Subject != "" && a.Identity.Subject == b.Identity.Subject {
		return true
	}
	return a.ID == b.ID && a.Identity.Subject == b.Identity.Subject && a.StartedAt.Equal(b.StartedAt)
}

// hasEnded reports whether a session that is about to be handed out was logged
// out while the handler ran, on this machine or another.
func (m *Middleware) hasEnded(ctx context.Context, sessionID string) bool {
	if m.endings.SessionHere(sessionID) {
		return true
	}
	if !m.endings.SessionElsewhere(ctx, sessionID) {
		return false
	}
	m.sessions.End(sessionID)
	return true
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
