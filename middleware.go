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
	"net/http"
	"strconv"
	"time"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/sealedstore"
	"example.com/stytchmigrate/internal/session"
	"example.com/stytchmigrate/internal/sessionjwt"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/internal/tombstones"
)

// Middleware authenticates requests by their Stytch session, and gives one to
// those that have only a legacy session. Make it with [New]; the zero value is of
// no use. It is safe for concurrent use.
type Middleware struct {
	// Pointers only, so that printing a Middleware prints no secret.
	cfg      *Config
	cookies  *cookies.Policy
	sessions *session.Sessions
	rollout  *rollout
	decider  *decider       // says what is to become of a request
	applier  *applier       // does it
	logouts  *logouts       // logs out
	report   *reporter      // says what happened
	probes   *client.Client // of Check: its calls count in no lane, and are not logged

	anonymous *requestInfo // what a request is told that carries nothing
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
	n := &names.Names{Key: redact.Secret(cfg.RecordKey), Project: cfg.ProjectID}
	tell := &reporter{onEvent: cfg.OnEvent, log: cfg.Logger, names: n}
	b := cookies.New(cfg.Cookies.options(), legacyCookies(cfg.Legacy))

	shared := sealedstore.New(redact.Secret(cfg.RecordKey), cfg.Store, cfg.Timeout/10, tell.storeFailed)
	remembered, ended := records.New(shared, recordCodec, cfg.Timeout/2), tombstones.New(shared, n)

	transport := client.Transport(cfg.HTTPClient)
	calls := client.Client{
		Base: cfg.BaseURL, ProjectID: cfg.ProjectID, Secret: redact.Secret(cfg.Secret), HTTP: client.NewHTTPClient(transport),
		Log: cfg.Logger, CreatesUsers: cfg.CreateUsers, ReadError: readError,
	}
	probes := calls
	calls.HTTP = client.NewHTTPClient(outbound.New(outbound.Config{Base: transport, Timeout: cfg.Timeout, MaxBody: client.MaxBody, Notify: tell.noticed}))

	// Stytch names itself by the host that a session was made through.
	issuers := []string{"stytch.com/" + cfg.ProjectID, cfg.BaseURL}
	verifier := sessionjwt.New(cfg.ProjectID, issuers, sessionjwt.NewKeys(calls.JWKS, tell.jwksFetched))
	api := &consumer{&calls, verifier}

	sessions := session.New(session.Config{
		API: api, Verifier: verifier, Tombstones: ended, Limit: 3 * cfg.Timeout, ExtendBy: cfg.extendBy(), Log: cfg.Logger,
		Attach: func(s *stytch.Session) any { return newAttachment(b, s) }, OnDoubt: tell.doubted, OnRevokeFailed: tell.unrevoked,
	})
	inForce := newRollout(cfg.Rollout)
	exchanges := exchange.New(exchange.Config{
		API: api, Sessions: sessions, Records: remembered, Tombstones: ended, Limiter: inForce, Mint: cfg.minter(),
		Timeout: cfg.Timeout, CreateUsers: cfg.CreateUsers, Log: cfg.Logger, LogError: calls.LogError,
	})

	old := &legacyResolver{cfg.Legacy, n}
	e := &logouts{b, old, sessions, ended, remembered, api, tell, cfg.Timeout}
	return &Middleware{
		cfg: &cfg, cookies: b, sessions: sessions, rollout: inForce, report: tell, logouts: e, probes: &probes, anonymous: &requestInfo{by: b},
		decider: &decider{sessions, exchanges, old, ended, tell, &migrator{&cfg, exchanges, ended, n, inForce, tell}, cfg.Timeout},
		applier: &applier{cookies: b, legacy: old, sessions: sessions, tombstones: ended, logouts: e, log: cfg.Logger},
	}, nil
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
		if m.fastPath(w, r, next) {
			return
		}
		start := time.Now()
		cookies := m.cookies.Read(r)
		quiet := m.decider.decide(r, &cookies)
		if quiet.isNothing() && len(cookies.Tokens) == 0 && m.passesUnreported(r.Context()) { // a token may have cost a call
			next.ServeHTTP(w, r)
			return
		}
		v := quiet // for the context: what did not get here is not allocated
		v.by = m.cookies
		m.report.request(r.Context(), &v.requestInfo, v.notable, m.rollout.now().Stage, time.Since(start))
		if v.gone {
			return
		}
		m.applier.apply(w, r, &cookies, &v, next)
	})
}

func (m *Middleware) excluded(r *http.Request) bool {
	// Wrapped twice: the outer one has done it all.
	if f := infoFrom(r.Context()); f != nil && f.by == m.cookies {
		return true
	}
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	return preflight || m.cfg.Skip != nil && m.cfg.Skip(r)
}

// quick serves the two kinds of requests that are nearly all: those with no
// cookie that matters, and those of a session in memory. What they are told is
// there beforehand, and none of their cookies changes. It does what decide and
// act would do, at no cost that can be seen.
func (m *Middleware) fastPath(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	var start time.Time
	if m.cfg.OnEvent != nil {
		start = time.Now()
	}
	jwt, ok := m.cookies.ReadFast(r)
	if !ok {
		return false
	}
	f := m.anonymous
	if jwt != "" {
		k := m.sessions.LookupJWT(jwt)
		if k == nil {
			return false
		}
		f = attachmentOf(k).info
	}
	ctx := r.Context()
	if m.cfg.OnEvent != nil {
		e := m.report.event(kindRequest, f)
		e.Duration, e.Stage = time.Since(start), m.rollout.now().Stage
		m.report.emit(ctx, e)
	} else if jwt == "" && m.passesUnreported(ctx) {
		next.ServeHTTP(w, r)
		return true
	}
	next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, contextKey{}, f)))
	return true
}

// goesUntold reports that an anonymous request may be passed on as it is: nobody
// hears of it, and the context holds nobody whom another middleware found.
func (m *Middleware) passesUnreported(ctx context.Context) bool {
	return m.cfg.OnEvent == nil && infoFrom(ctx) == nil
}

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
	return m.logouts.logout(w, r)
}

// Rollout returns the rollout in force.
func (m *Middleware) Rollout() Rollout { return *m.rollout.now() }

// SetRollout puts a rollout in force on this process, for the requests that
// come from now on. An application calls it from its own configuration or flags. It
// returns an error that names everything wrong with r, and then changes nothing.
func (m *Middleware) SetRollout(r Rollout) error {
	var p redact.Problems
	if r.check(&p); len(p) > 0 {
		return errors.Join(p...)
	}
	m.rollout.current.Store(&r)
	return nil
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
	if f := infoFrom(ctx); f != nil {
		if call := stytch.AsCall(f.err); call != nil && call.RetryAfter > 0 {
			return int(call.RetryAfter / time.Second)
		}
	}
	return 5
}
