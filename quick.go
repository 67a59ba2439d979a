package stytchmigrate

import (
	"context"
	"net/http"
	"time"
)

// quick serves the two kinds of requests that are nearly all: those with no
// cookie that matters, and those of a session in memory. What they are told is
// there beforehand, and none of their cookies changes. It does what decide and
// act would do, at no cost that can be seen.
func (m *Middleware) quick(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	var start time.Time
	if m.cfg.OnEvent != nil {
		start = time.Now()
	}
	jwt, ok := m.browser.glance(r)
	if !ok {
		return false
	}
	f := m.browser.nobody
	if jwt != "" {
		k := m.sessions.recognized(jwt)
		if k == nil {
			return false
		}
		f = k.found
	}
	ctx := r.Context()
	if m.cfg.OnEvent != nil {
		e := m.event(kindRequest, f)
		e.Duration, e.Stage = time.Since(start), m.rollout.inForce.Load().Stage
		m.emit(ctx, e)
	} else if jwt == "" && m.goesUntold(ctx) {
		next.ServeHTTP(w, r)
		return true
	}
	next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, contextKey{}, f)))
	return true
}

// goesUntold reports that an anonymous request may be passed on as it is: nobody
// hears of it, and the context holds nobody whom another middleware found.
func (m *Middleware) goesUntold(ctx context.Context) bool {
	return m.cfg.OnEvent == nil && foundIn(ctx) == nil
}

// glance is read for what most requests carry: one JWT, beside an opaque token
// or not, or nothing that matters. It allocates nothing. ok is false where it
// takes more than a glance.
func (b *browser) glance(r *http.Request) (jwt string, ok bool) {
	token := false
	for name, raw := range pairs(r.Header["Cookie"]) {
		switch {
		case raw == "" || !b.matters(name):
		case name == b.opts.SessionName:
			token = true
		case name == b.opts.JWTName && jwt == "":
			jwt = raw
		default:
			return "", false
		}
	}
	return jwt, jwt != "" || !token
}
