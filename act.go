package stytchmigrate

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/endings"
	"example.com/stytchmigrate/internal/session"
)

// actor carries verdicts out.
type actor struct {
	browser  *browser.Browser
	legacy   *legacy
	sessions *session.Sessions
	endings  *endings.Endings
	ender    *ender
	log      *slog.Logger

	elsewhere atomic.Bool // said that hosts are outside of Cookies.Domain
}

// act hands the request on, with the verdict in its context and the cookies of
// the response changed where they may be.
func (a *actor) act(w http.ResponseWriter, r *http.Request, c *browser.Cookies, v *verdict, next http.Handler) {
	write := !v.change.None() && a.browser.MayWrite(r)
	if v.change.Set != nil && !a.browser.IsOurs(r) {
		if !a.elsewhere.Swap(true) { // sync.Once would have others wait for the log
			a.log.LogAttrs(r.Context(), slog.LevelWarn, "stytchmigrate: no cookies are written in answer to hosts outside of Cookies.Domain", slog.String("setting", "Config.Cookies.Domain"))
		}
	}
	if !write && v.change.Watch {
		v.change = browser.Change{Watch: true}
	}
	if write || v.change.Strip || v.change.Watch {
		var s *browser.Swap
		v.original = r
		s, r = a.browser.Prepare(r, &v.change, a.listener(r, v, write))
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
			a.ender.left(r.Context(), c, &v.found)
		}
	}()
	next.ServeHTTP(v.swap.Wrap(w), r)
	v.swap.Commit(w) // where the handler wrote nothing, net/http sends a 200 after this
}

// listener is what the browser's side has to know of the handler of r: which old
// cookie it sees of the session that the verdict is about, and what those mean that
// it sets.
func (a *actor) listener(r *http.Request, v *verdict, write bool) browser.Handler {
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
		f, several, err := a.legacy.find(old, r, []string{value})
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
		h.Ended = func() bool { return a.hasEnded(ctx, session.SessionID) }
	}
	return h
}

// isStill reports whether a session that a handler saved is the one that counts.
// Beside a cookie that stays, one of another ID is the person's still: where ID is
// not given, each cookie that is saved again has one of its own.
func isStill(f, counts *foundLegacy, stays bool) bool {
	x, y := f.session, counts.session
	if stays && x.Identity.Subject != "" && x.Identity.Subject == y.Identity.Subject {
		return true
	}
	return x.ID == y.ID && x.Identity.Subject == y.Identity.Subject && x.StartedAt.Equal(y.StartedAt)
}

// hasEnded reports whether a session that is about to be handed out was logged
// out while the handler ran, on this machine or another.
func (a *actor) hasEnded(ctx context.Context, sessionID string) bool {
	if a.endings.SessionHere(sessionID) {
		return true
	}
	if !a.endings.SessionElsewhere(ctx, sessionID) {
		return false
	}
	a.sessions.End(sessionID)
	return true
}
