package stytchmigrate

import (
	"context"
	"log/slog"
	"net/http"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/latch"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/tombstones"
)

// actor carries verdicts out.
type applier struct {
	cookies    *cookies.Policy
	legacy     *legacyResolver
	sessions   *session.Sessions
	tombstones *tombstones.Tombstones
	logouts    *logouts
	log        *slog.Logger

	foreignHostReported latch.Latch // said that hosts are outside of Cookies.Domain
}

// act hands the request on, with the verdict in its context and the cookies of
// the response changed where they may be.
func (a *applier) apply(w http.ResponseWriter, r *http.Request, c *cookies.Received, v *decision, next http.Handler) {
	write := !v.change.None() && a.cookies.MayWrite(r)
	if v.change.Set != nil && !a.cookies.CoversHost(r) {
		if a.foreignHostReported.Set() {
			a.log.LogAttrs(r.Context(), slog.LevelWarn, "stytchmigrate: no cookies are written in answer to hosts outside of Cookies.Domain", slog.String("setting", "Config.Cookies.Domain"))
		}
	}
	if !write && v.change.Watch {
		v.change = cookies.Change{Watch: true}
	}
	if write || v.change.Hide || v.change.Watch {
		var s *cookies.Pending
		v.original = r
		s, r = a.cookies.Prepare(r, &v.change, a.handlerOf(r, v, write))
		if write || v.change.Watch {
			v.pending = s
		}
	}
	r = r.WithContext(context.WithValue(r.Context(), contextKey{}, &v.requestInfo))
	if v.pending == nil {
		next.ServeHTTP(w, r)
		return
	}
	// Deferred, for a handler may panic after it has answered: the browser's cookies
	// are gone then.
	defer func() {
		if v.pending.Action() == cookies.LoggedOut {
			a.logouts.legacyLogout(r.Context(), c, &v.requestInfo)
		}
	}()
	next.ServeHTTP(v.pending.Wrap(w), r)
	v.pending.Commit(w) // where the handler wrote nothing, net/http sends a 200 after this
}

// listener is what the browser's side has to know of the handler of r: which old
// cookie it sees of the session that the verdict is about, and what those mean that
// it sets.
func (a *applier) handlerOf(r *http.Request, v *decision, write bool) cookies.Handler {
	var counts *resolvedSession // the session that moved to Stytch, or stays
	h := cookies.Handler{Shown: -1}
	if v.change.Watch || len(v.change.Expire) > 0 && v.session != nil {
		counts = v.legacy
	}
	if counts != nil && v.change.Shows(r) {
		h.Shown = counts.entry
	}
	stays := v.change.Watch
	h.Classify = func(old int, value string) cookies.Action {
		f, several, err := a.legacy.find(old, r, []string{value})
		switch {
		case err != nil || several || f != nil && (counts == nil || !isSameSession(f, counts, stays)):
			return cookies.Overruled
		case f != nil:
			return cookies.Renewed
		}
		return cookies.NoAction
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
func isSameSession(f, counts *resolvedSession, stays bool) bool {
	x, y := f.session, counts.session
	if stays && x.Identity.Subject != "" && x.Identity.Subject == y.Identity.Subject {
		return true
	}
	return x.ID == y.ID && x.Identity.Subject == y.Identity.Subject && x.StartedAt.Equal(y.StartedAt)
}

// hasEnded reports whether a session that is about to be handed out was logged
// out while the handler ran, on this machine or another.
func (a *applier) hasEnded(ctx context.Context, sessionID string) bool {
	if a.tombstones.SessionEndedLocal(sessionID) {
		return true
	}
	if !a.tombstones.SessionEndedShared(ctx, sessionID) {
		return false
	}
	a.sessions.End(sessionID)
	return true
}
