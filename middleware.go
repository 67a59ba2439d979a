// Package stytchmigrate moves the signed-in users of a net/http application to
// Stytch, in the requests they make anyway, without signing anyone out.
//
// [Middleware.Handler] wraps the handlers that exist. A request that carries the
// old session cookie is exchanged for a Stytch session: Stytch's
// POST /v1/sessions/migrate is called, the cookies are swapped in the response,
// and the handler finds the Stytch user in the request's context. The requests
// that follow are authenticated by their Stytch session JWT, without a call. When
// everybody has moved, Config.Legacy is emptied.
//
// Three answers are kept apart: yes, no, and can't tell. No outage reads as a
// no, so that none signs anybody out.
package stytchmigrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/flight"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/sessionjwt"
)

// Middleware authenticates requests by their Stytch session, and gives one to
// those that have only a legacy session. Make it with [New]; the zero value is of
// no use. It is safe for concurrent use.
type Middleware struct {
	// Pointers only, so that printing a Middleware prints no secret.
	cfg      *Config
	browser  *browser
	client   *client
	sessions *sessions
	migrator *migrator
	rollout  *rollout
	probes   *client // of Check: its calls count in no lane, and are not logged

	elsewhere  atomic.Bool  // said that hosts are outside of Cookies.Domain
	keysFailed atomic.Bool  // the last fetch of the key set did
	aloud      flight.Queue // what concerns no single request
}

// Format writes the type's name. In a verb that it rejects, package fmt would
// print what the pointers lead to, secrets too.
func (*Middleware) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, "*stytchmigrate.Middleware") }

// New returns a Middleware, or an error that names every field of cfg that is
// wrong. It makes no call: a Stytch that is down when the application starts
// is found out about by the first request that needs it.
func New(cfg Config) (*Middleware, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	c := &client{
		base: cfg.BaseURL, projectID: cfg.ProjectID, secret: cfg.Secret, log: cfg.Logger, createsUsers: cfg.CreateUsers,
	}
	m := &Middleware{cfg: &cfg, client: c, browser: newBrowser(&cfg), rollout: newRollout(cfg.Rollout)}
	plain := transportOf(cfg.HTTPClient)
	probes := *c
	probes.http, m.probes = newHTTPClient(plain), &probes
	c.http = newHTTPClient(outbound.New(outbound.Config{Base: plain, Timeout: cfg.Timeout, MaxBody: maxBody, Notify: m.noticed}))
	// Stytch names itself by the host that a session was made through.
	issuers := []string{"stytch.com/" + cfg.ProjectID, cfg.BaseURL}
	keys := sessionjwt.NewKeys(c.jwks, m.jwksFetched)
	m.sessions = &sessions{
		client: c, by: m.browser, verifier: sessionjwt.New(cfg.ProjectID, issuers, keys),
		limit: 3 * cfg.Timeout, flights: flight.Group[*known]{Limit: 3 * cfg.Timeout, Left: errNoAnswer}, log: cfg.Logger, loud: m.loud,
		known: newLRU[knownKey, *known](maxKnown), ended: newLRU[string, struct{}](maxEnded),
		endedCookies: newLRU[cookieKey, struct{}](maxEnded), unknown: newMemory(maxUnknown),
	}
	if !cfg.FixedExpiry {
		m.sessions.extendBy = cfg.SessionDuration
	}
	m.migrator = &migrator{
		cfg: &cfg, client: c, sessions: m.sessions, records: m.newRecords(), rollout: m.rollout,
		refusals: newLRU[string, *exchange](maxRefusals), flights: flight.Group[*exchange]{Limit: 3 * cfg.Timeout, Left: errNoAnswer},
	}
	m.sessions.originEnded = m.migrator.records.ended.Contains
	m.sessions.endedElsewhere, m.sessions.originEndedElsewhere = m.migrator.records.sessionEnded, m.migrator.records.hasEnded
	if cfg.Tickets != nil {
		m.migrator.mint = cfg.Tickets.Minter(cfg.ProjectID)
	}
	return m, nil
}

func (m *Middleware) newRecords() *records {
	r := &records{
		key: m.cfg.RecordKey, lease: m.cfg.Timeout / 2, loud: m.loud,
		local: newMemory(maxRecords), ended: newLRU[string, struct{}](maxEnded),
	}
	if m.cfg.Store != nil {
		r.shared = newSharedStore(m.cfg.Store, m.cfg.Timeout/10, func(err error) { m.loud(kindStore, err) })
	}
	return r
}

// newLRU returns a cache of a size that lru.New accepts.
func newLRU[K comparable, V any](size int) *lru.Cache[K, V] {
	c, err := lru.New[K, V](size)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return c
}

// Handler returns a handler that finds out whose request it is and passes it
// on to next, unless the client has left while the request waited for Stytch.
// What it found is in the request's context: see [UserFromContext],
// [LegacyFromContext] and [OutcomeFromContext].
//
// Requests that Config.Skip picks and CORS preflights are passed on untouched.
func (m *Middleware) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.excluded(r) {
			next.ServeHTTP(w, r)
			return
		}
		if m.quick(w, r, next) {
			return
		}
		start := time.Now()
		cookies := m.browser.read(r)
		quiet := m.decide(r, &cookies)
		if quiet.nothing() && len(cookies.tokens) == 0 && m.goesUntold(r.Context()) { // a token may have cost a call
			next.ServeHTTP(w, r)
			return
		}
		v := quiet // for the context: what did not get here is not allocated
		v.by = m.browser
		m.report(r.Context(), &v, time.Since(start))
		if v.gone {
			return
		}
		m.act(w, r, &cookies, &v, next)
	})
}

func (m *Middleware) excluded(r *http.Request) bool {
	// Wrapped twice: the outer one has done it all.
	if f := foundIn(r.Context()); f != nil && f.by == m.browser {
		return true
	}
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	return preflight || m.cfg.Skip != nil && m.cfg.Skip(r)
}

// verdict is what decide says of a request: what the handler is told, and
// what becomes of the browser's cookies.
type verdict struct {
	found
	change change
	event  string // what deserves an event of its own
	userID string // that the event is about, where it is not found.user's
	gone   bool   // the client went away while the request waited
}

// nothing reports a request that carried no session, and of which there is
// nothing to say or to change.
func (v *verdict) nothing() bool {
	return v.outcome == OutcomeAnonymous && v.err == nil && v.event == "" && !v.gone && v.legacy == nil && v.change.none() && !v.change.strip
}

// decide gives the verdict on a request. It touches neither the request nor
// the response.
func (m *Middleware) decide(r *http.Request, c *requestCookies) verdict {
	if c.empty() {
		return verdict{}
	}
	ctx := r.Context()
	if c.hasStytch() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.cfg.Timeout)
		defer cancel()
	}
	v := m.decideStytch(ctx, r, c)
	ended := m.hide(ctx, &v)
	// The old code serves this user, and may log them out: whoever is at the browser
	// next must not be the one of the Stytch cookies. It does so too where an expired
	// JWT is of another session: it knows of its cookie alone.
	if c.hasStytch() && v.session == nil && v.legacy != nil && !ended && len(v.change.expire) == 0 {
		v.change.watch = true
	}
	v.gone = errors.Is(v.err, errNoAnswer) && errors.Is(r.Context().Err(), context.Canceled)
	return v
}

// hide keeps handlers from serving, by its old cookie, a user who has logged out
// on this machine or another, and reports that. Without StartedAt it may be a new
// sign-in.
func (m *Middleware) hide(ctx context.Context, v *verdict) (ended bool) {
	told := v.outcome == OutcomeRefused || v.outcome == OutcomeUnavailable
	if told && v.legacy != nil && !v.legacy.session.StartedAt.IsZero() {
		ended = m.migrator.records.hasEnded(context.WithoutCancel(ctx), m.migrator.key(v.legacy))
	}
	v.hidden = v.hidden || ended
	return ended
}

// decideStytch judges a request by its Stytch session, if it has one.
func (m *Middleware) decideStytch(ctx context.Context, r *http.Request, c *requestCookies) verdict {
	st := stytchState{alive: m.sessions.remembered(c), cause: causeMemory}
	if st.alive == nil && c.hasStytch() {
		st = m.sessions.find(ctx, c)
	}
	if st.ended != "" {
		_ = m.migrator.records.end(ctx, st.ended)
	}
	switch {
	case st.err != nil:
		f, err := m.stillServed(r, c)
		m.logError(r.Context(), err)
		v := verdict{found: found{outcome: OutcomeUnavailable, legacy: f, err: st.err}}
		if err != nil { // whoever looks whether old cookies still come must hear of this one
			v.cause = causeApplication
		}
		v.hidden = f != nil && st.stale != nil && st.stale.LegacySession != m.migrator.key(f)
		return v
	case st.nobody:
		return verdict{}
	case st.alive == nil:
		v := m.decideLegacy(ctx, r, c)
		v.change.clear = st.clear
		if v.event == "" {
			v.event = st.event
		}
		return v
	}
	v := verdict{found: found{outcome: OutcomeAuthenticated, cause: st.cause, user: st.alive.user, session: st.alive.session}}
	if st.write {
		v.change.set = &st.alive.tokens
	}
	if c.hasLegacy {
		return m.decideBoth(ctx, r, c, st.alive, v)
	}
	return v
}

// act hands the request on, with the verdict in its context and the cookies of
// the response changed where they may be.
func (m *Middleware) act(w http.ResponseWriter, r *http.Request, c *requestCookies, v *verdict, next http.Handler) {
	write := !v.change.none() && m.browser.mayWrite(r)
	if v.change.set != nil && !inDomain(hostname(r.Host), m.cfg.Cookies.Domain) {
		if !m.elsewhere.Swap(true) { // sync.Once would have others wait for the log
			m.cfg.Logger.LogAttrs(r.Context(), slog.LevelWarn, "stytchmigrate: no cookies are written in answer to hosts outside of Cookies.Domain", slog.String("setting", "Config.Cookies.Domain"))
		}
	}
	if !write && v.change.watch {
		v.change = change{watch: true}
	}
	if write || v.change.strip || v.change.watch {
		var s *swap
		v.original = r
		s, r = m.browser.swap(r, c, v)
		if write {
			s.ended = m.endedMeanwhile(r.Context(), v.session)
		}
		if write || v.change.watch {
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
		if v.swap.said() == userLeft {
			m.left(r.Context(), c, v)
		}
	}()
	next.ServeHTTP(v.swap.wrap(w), r)
	v.swap.commit(w) // where the handler wrote nothing, net/http sends a 200 after this
}

// endedMeanwhile is hasEnded for the session that a response hands out, if any.
func (m *Middleware) endedMeanwhile(ctx context.Context, session *Session) func() bool {
	return func() bool { return session != nil && m.hasEnded(ctx, session.SessionID) }
}

// hasEnded reports whether a session that is about to be handed out was logged
// out while the handler ran, on this machine or another.
func (m *Middleware) hasEnded(ctx context.Context, sessionID string) bool {
	if m.sessions.ended.Contains(sessionID) {
		return true
	}
	if !m.migrator.records.sessionEnded(context.WithoutCancel(ctx), sessionID) {
		return false
	}
	m.sessions.end(sessionID)
	return true
}

// RequireUser returns a handler that passes requests with a Stytch user on to
// next, and answers others with Config.Deny: by default 401 where there is no
// user, and 503 where it can't be told. Wrap it in [Middleware.Handler]. It is
// for when the migration is over: until then users of outcome Legacy, Refused and
// Unavailable are still served by the old code, see [LegacyFromContext].
func (m *Middleware) RequireUser(next http.Handler) http.Handler {
	deny := m.cfg.Deny
	if deny == nil {
		deny = http.HandlerFunc(m.deny)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := UserFromContext(r.Context()); ok {
			next.ServeHTTP(w, r)
			return
		}
		deny.ServeHTTP(w, r)
	})
}

// deny answers as RFC 9110 sections 15.5.2 and 15.6.4 ask. There is no
// registered scheme for cookies; a 401 has to name one.
func (m *Middleware) deny(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if OutcomeFromContext(r.Context()) == OutcomeUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(m.retryAfter(r.Context())))
		http.Error(w, "Signing in can't be checked right now. Please try again.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("WWW-Authenticate", `Cookie cookie-name="`+m.cfg.Cookies.SessionName+`"`)
	http.Error(w, "Please sign in.", http.StatusUnauthorized)
}

// retryAfter is in seconds: what Stytch asked for, or the time in which most
// outages that users notice have passed.
func (m *Middleware) retryAfter(ctx context.Context) int {
	var call *callError
	if f := foundIn(ctx); f != nil && errors.As(f.err, &call) && call.retryAfter > 0 {
		return int(call.retryAfter / time.Second)
	}
	return 5
}
