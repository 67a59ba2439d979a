// Package stytchmigrate moves the signed-in users of a net/http application to
// Stytch, in the requests they make anyway, without signing anyone out.
//
// [Middleware.Handler] wraps the handlers that exist. A request that carries the
// old session cookie is exchanged for a Stytch session: Stytch's
// POST /v1/sessions/migrate is called, the response sets the Stytch cookies, and
// the handler finds the Stytch user in the request's context. The requests that
// follow are authenticated by their Stytch session JWT, without a call. The first
// of them shows that the browser keeps the Stytch cookies; its response expires
// the old cookie ([StageReplace]), or leaves it ([StageKeep]). When everybody has
// moved, Config.Legacy is emptied.
//
// Three answers are kept apart: yes, no, and can't tell. An error is never treated as
// "not signed in", so an outage signs no user out.
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
	"example.com/stytchmigrate/internal/mistakes"
	"example.com/stytchmigrate/internal/names"
	"example.com/stytchmigrate/internal/oldcode"
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
	cookies  *cookies.Policy   // reads and writes cookies
	sessions *session.Sessions // Stytch sessions in memory, for the fast path
	rollout  *rollout          // the Rollout in force
	decider  *decider          // says what a request is
	applier  *applier          // carries that out
	logouts  *logouts          // ends sessions
	report   *reporter         // sends events, writes the log
	probes   *client.Client    // Check's client, without limits, breaker and log

	verifier *sessionjwt.Verifier // Explain's, as are the calls: it makes none
	calls    *outbound.Transport

	absence   *mistakes.Absence
	names     []string     // of Config.Legacy
	anonymous *requestInfo // of every request without a session, made once
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
	hmacs := &names.Names{Key: redact.Secret(cfg.RecordKey), Project: cfg.ProjectID}
	report := &reporter{onEvent: cfg.OnEvent, log: cfg.Logger, names: hmacs}
	policy := cookies.New(cfg.Cookies.options(), legacyCookies(cfg.Legacy))
	legacy := &legacyResolver{cfg.Legacy, hmacs}
	rollout := newRollout(cfg.Rollout)

	// What machines share.
	store := sealedstore.New(redact.Secret(cfg.RecordKey), cfg.Store, cfg.Timeout/10, report.storeFailed)
	recs := records.New(store, recordCodec)
	ended := tombstones.New(store, hmacs)

	// Calls to Stytch. Check's go past the limits and the breaker, and are not logged.
	transport := client.Transport(cfg.HTTPClient)
	probes := newClient(&cfg, transport)
	limited := outbound.New(outbound.Config{Base: transport, Timeout: cfg.Timeout, Refuses: client.Refuses, Notify: report.limited})
	calls := newClient(&cfg, limited)
	issuers := []string{"stytch.com/" + cfg.ProjectID, cfg.BaseURL} // Stytch names itself by the host that a session was made through
	verifier := sessionjwt.New(cfg.ProjectID, issuers, sessionjwt.NewKeys(calls.JWKS, report.jwksFetched))
	api := &consumer{Client: calls, verifier: verifier, odd: client.Oddities{Log: cfg.Logger}}

	sessions := session.New(session.Config{
		API: api, Verifier: verifier, Tombstones: ended, Limit: 3 * cfg.Timeout, ExtendBy: cfg.extendBy(), Log: cfg.Logger,
		Attach:  func(s *stytch.Session) any { return newAttachment(policy, s) },
		OnDoubt: report.doubted, OnRevokeFailed: report.revokeFailed,
	})
	exchanges := exchange.New(exchange.Config{
		API: api, Sessions: sessions, Records: recs, Tombstones: ended, Limiter: rollout, Mint: cfg.minter(),
		Timeout: cfg.Timeout, CreateUsers: cfg.CreateUsers, Log: cfg.Logger, LogError: calls.LogError,
	})
	migrator := &migrator{
		cfg: &cfg, cookies: policy, exchanges: exchanges, tombstones: ended, names: hmacs, rollout: rollout,
		unkept: mistakes.NewPages(notKeptAfter), again: mistakes.NewPages(comesAgainAfter),
		oldCode: oldcode.New(store, hmacs.OldCode()), legacy: legacy, report: report,
	}
	logouts := &logouts{policy, legacy, sessions, ended, recs, api, report, cfg.Timeout}
	return &Middleware{
		cfg: &cfg, cookies: policy, sessions: sessions, rollout: rollout,
		decider: &decider{sessions, exchanges, legacy, ended, migrator, report, cfg.Timeout, mistakes.NewCookies(policy.LegacyNames())},
		applier: &applier{cookies: policy, legacy: legacy, sessions: sessions, tombstones: ended, logouts: logouts, migrator: migrator, report: report, log: cfg.Logger},
		logouts: logouts, report: report, probes: probes, verifier: verifier, calls: limited, absence: mistakes.NewAbsence(len(cfg.Legacy) > 0), names: policy.LegacyNames(), anonymous: &requestInfo{by: policy},
	}, nil
}

// newClient returns a client of Stytch's API that sends by t.
func newClient(cfg *Config, t http.RoundTripper) *client.Client {
	return &client.Client{
		Base: cfg.BaseURL, ProjectID: cfg.ProjectID, Secret: redact.Secret(cfg.Secret), HTTP: client.NewHTTPClient(t),
		Log: cfg.Logger, CreatesUsers: cfg.CreateUsers, ReadError: readError,
	}
}

// Handler returns a handler that finds out whose request it is and passes it
// on to next, unless the client has left while the request waited for Stytch, or
// for a Resolve that failed then.
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
		if m.rollout.now().Stage == StageRetired {
			defer m.decider.migrator.heard(r, w.Header()) // net/http copies the header for who asks when it was sent
		}
		if m.fastPath(w, r, next) {
			return
		}
		start := time.Now()
		received := m.cookies.Read(r)
		found := m.decider.decide(r, &received)
		if received.HasLegacy || found.session != nil {
			m.absence.End()
		} // Stytch cookies without a session tell nothing: strangers may send a flood of them
		if found.gone && found.outcome == OutcomeAnonymous {
			return // nothing was found out, and so there is nothing to report
		}
		mayHaveAsked := len(received.Tokens) > 0 // then a Handler inside must not ask Stytch again
		if found.isNothing() && !mayHaveAsked && m.passesUnreported(r.Context()) {
			next.ServeHTTP(w, r)
			return
		}
		d := found // the context keeps a copy on the heap; requests that did not get here allocate none
		d.by = m.cookies
		m.report.request(r.Context(), &d, m.rollout.now().Stage, time.Since(start))
		if d.gone {
			return
		}
		m.applier.apply(w, r, &received, &d, next)
	})
}

func (m *Middleware) excluded(r *http.Request) bool {
	if info := infoFrom(r.Context()); info != nil && info.by == m.cookies {
		return true // wrapped twice: the outer Handler has done it all
	}
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	return preflight || m.cfg.Skip != nil && m.cfg.Skip(r)
}

// fastPath serves the two kinds of requests that are nearly all: those without a
// session cookie, and those of a Stytch session in memory. Their context value was
// made before and no cookie changes, so that they allocate next to nothing. It does
// what decide and apply would do; it returns false if a request needs those.
func (m *Middleware) fastPath(w http.ResponseWriter, r *http.Request, next http.Handler) bool {
	var start time.Time
	if m.cfg.OnEvent != nil {
		start = time.Now()
	}
	jwt, some, ok := m.cookies.ReadFast(r)
	if !ok {
		return false
	}
	info := m.anonymous
	if jwt != "" {
		entry := m.sessions.LookupJWT(jwt)
		if entry == nil || len(m.names) > 0 && !isSafe(r) { // the old logout may be heard, and then cookies change
			return false
		}
		known := attachmentOf(entry)
		info = known.info
		m.absence.End()
		if known.expired.Load() { // and the legacy cookie has not come again
			known.expired.Store(false)
			m.decider.migrator.again.Kept(entry.Session.ID)
		}
	} else if some && m.absence.Counts() {
		m.noteOtherCookies(r.Context())
	}
	ctx := r.Context()
	if m.cfg.OnEvent != nil {
		e := m.report.event(kindRequest, info)
		e.Duration, e.Stage = time.Since(start), m.rollout.now().Stage
		m.report.emit(ctx, e)
	} else if jwt == "" && m.passesUnreported(ctx) {
		next.ServeHTTP(w, r)
		return true
	}
	shareTrailer(r)
	passedOn := r.WithContext(context.WithValue(ctx, contextKey{}, info))
	defer giveBack(r, passedOn)
	var absent []string
	if jwt != "" {
		absent = m.names
	}
	m.applier.passOn(w, passedOn, next, absent, info)
	return true
}

// noteOtherCookies notes a request that has cookies, and no session by them. In stage
// Retired no old cookie has to come.
func (m *Middleware) noteOtherCookies(ctx context.Context) {
	if m.rollout.now().Stage != StageRetired && m.absence.Other() {
		m.report.mistake(ctx, kindNoOldCookie, "Config.Legacy[0].Name")
	}
}

// passesUnreported reports whether an anonymous request may be passed on as it is: no
// event is sent of it, and its context holds no user of another Middleware.
func (m *Middleware) passesUnreported(ctx context.Context) bool {
	return m.cfg.OnEvent == nil && infoFrom(ctx) == nil
}

// Logout signs the user out: it expires the cookies of every session, a visitor's legacy
// cookie too, revokes the Stytch session, keeps the legacy session from being exchanged again, and
// calls LegacyCookie.End. Call it before the response's first write.
//
// Call it in the old logout handler, in addition to what that does. Call it in
// the old login handler too, when the password has been checked and before the cookie is
// set: what it sets then is kept. Earlier, a sign-in that fails would sign out the user
// who is there.
//
// A copy of the legacy cookie is refused from then on, and handlers do not see it. What
// they save of that session again is refused too: a legacy cookie of the same person that
// a page sets in answer to a copy, unless its StartedAt is later, or is not known and the
// page did not see the copy.
//
// An old logout handler that does not call Logout is heard if it expires its cookie, seen
// or not, in answer to another method than GET and HEAD, or in answer to a GET that
// brought the cookie. A cookie that it did not see counts only where the status is below
// 400. So an application must not expire LegacyCookie.Name in answer to each POST that
// comes without it.
//
// The cookies are expired in any case, if nothing was written yet. Do not set a cacheable
// Cache-Control after it. An error means that Stytch, or the old session's source, may not
// know: revoke the user's sessions there if that matters.
// The revocation goes on if the client goes away.
func (m *Middleware) Logout(w http.ResponseWriter, r *http.Request) error {
	return m.logouts.logout(w, r)
}

// Rollout returns the rollout in force.
func (m *Middleware) Rollout() Rollout { return m.rollout.copy() }

// SetRollout puts a rollout in force on this process, for the requests that
// come from now on. An application calls it from its own configuration or flags. It
// returns an error that names everything wrong with r, and then changes nothing.
func (m *Middleware) SetRollout(r Rollout) error {
	var p redact.Problems
	if r.check(&p); len(p) > 0 {
		return errors.Join(p...)
	}
	m.rollout.set(r)
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
