package stytchmigrate

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"example.com/stytchmigrate/internal/flight"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/userinfo"
)

const (
	originClaim = "legacy_session" // custom claim of every session that came from a legacy one

	keepRefusal  = time.Minute // a "no"
	keepUserInfo = 5 * time.Second
	maxRefusals  = 10_000
	maxClaims    = 4 << 10 // session_custom_claims, encoded

	recordVersion = "1"
)

// migrator turns legacy sessions into Stytch sessions: one for each, however
// many requests bring it, and to however many machines.
type migrator struct {
	cfg      *Config
	client   *client
	sessions *sessions
	mint     func(userinfo.Identity) (string, error) // nil without Config.Tickets
	rollout  *rollout

	records  *records
	refusals *lru.Cache[string, *exchange] // of this process, for a while
	flights  flight.Group[*exchange]
}

// exchange is what became of a legacy session.
type exchange struct {
	answer answer
	known  *known // where the answer is yes
	err    error  // where it is not
	event  string // what is worth an event: "mismatch" or "created"
	userID string // of the Stytch user that the event is about
	until  time.Time

	recorded bool // it was made before, see settling.resume

	told atomic.Bool // the event is some request's already
}

// toOne returns x to one request, and to all others an x without the event:
// what happened once is told once.
func (x *exchange) toOne() *exchange {
	if x.event == "" || x.told.CompareAndSwap(false, true) {
		return x
	}
	return &exchange{answer: x.answer, known: x.known, err: x.err, until: x.until, recorded: x.recorded}
}

// migrate exchanges a legacy session, or finds out what it became.
func (m *migrator) migrate(ctx context.Context, r *http.Request, f *foundLegacy) *exchange {
	key := m.key(f)
	if x := m.refused(key); x != nil {
		return x.toOne()
	}
	in, err := m.request(r, f, key)
	if err != nil {
		return m.notAsked(ctx, key, err)
	}
	x, err := m.flights.Do(ctx, key, func(ctx context.Context) (*exchange, error) {
		t := &settling{migrator: m, key: key, cookie: f.cookie, session: f.session, in: in, owner: rand.Text()}
		return t.run(ctx), nil
	})
	switch {
	case m.records.ended.Contains(key):
		return loggedOut()
	case err != nil:
		return &exchange{err: err}
	}
	if x.answer == yes && !isPersonOf(x.known.user, f.session.Identity) {
		return m.disown(ctx, key, x.known)
	}
	return x.toOne()
}

// refused is the "no" that is known of a legacy session without asking.
func (m *migrator) refused(key string) *exchange {
	if m.records.ended.Contains(key) {
		return loggedOut()
	}
	if x, ok := m.refusals.Get(key); ok && time.Now().Before(x.until) {
		return x
	}
	return nil
}

// disown gives up a session that a legacy session once became, and that is not
// its person's any more: the application now gives another identity under the
// same ID and Subject than when the exchange was made. It does not count as
// logged out. Of the requests that share k, the one that ends it tells of it.
func (m *migrator) disown(ctx context.Context, key string, k *known) *exchange {
	x := anotherPerson(k.user)
	m.refusals.Add(key, x) // before the end, or the next request would exchange again
	if !m.revokeLater(ctx, k.session.SessionID) {
		x.told.Store(true)
	}
	return x.toOne()
}

// anotherPerson refuses a Stytch user who is not the legacy session's person.
func anotherPerson(u *User) *exchange {
	return &exchange{answer: no, event: kindMismatch, userID: u.UserID, err: errAnotherPerson, until: time.Now().Add(keepRefusal)}
}

// errAnotherPerson is why the answer of Stytch was not used.
var errAnotherPerson = &callError{op: "migrate", reason: "Stytch's user is not the legacy session's person", answer: no}

// errLoggedOut is why a legacy session is refused that ended: by a Logout, or
// because Stytch no longer knows the session that it became.
var errLoggedOut = errors.New("stytchmigrate: this legacy session was logged out")

func loggedOut() *exchange { return &exchange{answer: no, err: errLoggedOut} }

// notAsked is what becomes of a legacy session that Stytch is not even asked
// about. One that is refused is remembered, and so logged once a minute, as one is
// that Stytch says no to.
func (m *migrator) notAsked(ctx context.Context, key string, err error) *exchange {
	x := &exchange{answer: answerOf(err), err: err}
	if x.answer == no {
		x.until = time.Now().Add(keepRefusal)
		m.refusals.Add(key, x)
		m.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: legacy session refused", slog.String("reason", err.Error()))
	}
	return x
}

// request prepares the call, in the goroutine of a request, for it runs code
// of the application. Its errors are about the session (an identity nobody
// verified: no) or about a setting (can't tell).
func (m *migrator) request(r *http.Request, f *foundLegacy, key string) (in migrateRequest, err error) {
	s := f.session
	if s.Identity != (userinfo.Identity{}) {
		if err := s.Identity.Validate(); err != nil {
			return in, &callError{op: "migrate", reason: err.Error(), answer: no}
		}
	} else if s.Token == "" {
		return in, settingError(fmt.Sprintf("Resolve of cookie %q returned neither Identity nor Token", f.cookie.Name))
	}
	if s.Token == "" && m.mint == nil {
		return in, settingError(fmt.Sprintf("Resolve of cookie %q returned no Token, and Config.Tickets is not set", f.cookie.Name))
	}
	in.SessionToken = string(s.Token)
	in.SessionDurationMinutes = minutes(min(max(m.cfg.SessionDuration, time.Until(s.ExpiresAt)), maxDuration))
	if in.SessionCustomClaims, err = m.claims(s, key); err != nil {
		return in, err
	}
	if m.cfg.TelemetryID != nil {
		in.TelemetryID = m.cfg.TelemetryID(r)
	}
	return in, nil
}

// claims are the session's custom claims, with its origin. They are encoded
// here, for they may hold types of the application's, with methods of its own.
func (m *migrator) claims(s LegacySession, key string) (json.RawMessage, error) {
	claims := map[string]any{}
	if m.cfg.SessionClaims != nil {
		for name, v := range m.cfg.SessionClaims(s) {
			switch name {
			case "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "https://stytch.com/session", originClaim:
				return nil, settingError(fmt.Sprintf("SessionClaims returned the reserved name %q", name))
			}
			claims[name] = v
		}
	}
	claims[originClaim] = key
	encoded, err := json.Marshal(claims)
	if err != nil {
		return nil, settingError("SessionClaims returned a value that JSON has no form for")
	}
	if len(encoded) > maxClaims {
		return nil, settingError("SessionClaims returned more than 4 KB")
	}
	return encoded, nil
}

// call exchanges a legacy session, and before that creates its user where there
// is none and that is wanted.
func (m *migrator) call(ctx context.Context, id userinfo.Identity, in migrateRequest) *exchange {
	x := m.ask(ctx, id, in)
	if isFull(x.err) {
		m.rollout.pace.giveBack()
	}
	var api *Error
	if !m.cfg.CreateUsers || id == (userinfo.Identity{}) || !errors.As(x.err, &api) || !api.isUnknownUser() {
		return x
	}
	userID, err := m.client.createUser(ctx, newUser(id))
	if err != nil {
		return failed(err)
	}
	x = m.ask(ctx, id, in)
	if userID != "" && x.event == "" {
		x.event, x.userID = kindCreated, userID
	}
	return x
}

// failed is the exchange that an error of Stytch makes. A "no" is remembered,
// and so is, for a moment, that the UserInfo endpoint did not answer.
func failed(err error) *exchange {
	x := &exchange{answer: answerOf(err), err: err}
	var api *Error
	switch {
	case x.answer == no:
		x.until = time.Now().Add(keepRefusal)
	case errors.As(err, &api) && api.Type == "migrate_from_external_unexpected_response":
		x.until = time.Now().Add(keepUserInfo)
	}
	return x
}

// ask makes one call for an exchange, and holds its answer against the identity.
func (m *migrator) ask(ctx context.Context, id userinfo.Identity, in migrateRequest) *exchange {
	asked := time.Now()
	out, err := m.client.migrate(ctx, in)
	now := time.Now()
	if err != nil {
		return failed(err)
	}
	if !isPersonOf(&out.User, id) {
		m.revokeToken(ctx, out.SessionToken)
		return anotherPerson(&out.User)
	}
	var k *known
	session, err := m.sessionOf(out, in, asked)
	if err == nil {
		k, err = m.sessions.learn(&AuthenticateResponse{
			RequestID: out.RequestID, StatusCode: out.StatusCode,
			Session: *session, User: out.User, SessionToken: out.SessionToken, SessionJWT: out.SessionJWT,
		}, now)
	}
	if err != nil {
		m.client.logError(ctx, "migrate", now.Sub(asked), err)
		return &exchange{err: err}
	}
	m.sessions.isAlive(k)
	return &exchange{answer: yes, known: k}
}

// sessionOf is the session of an answer. The schema lets it be absent, and its
// expiry too: both are then what was asked for.
func (m *migrator) sessionOf(out *MigrateResponse, in migrateRequest, asked time.Time) (*Session, error) {
	session := out.Session
	if session == nil {
		c, err := m.sessions.verifier.Read(string(out.SessionJWT))
		if err != nil {
			return nil, &callError{op: "migrate", reason: "answer 200 could not be used: session is missing, and session_jwt can't be read"}
		}
		session = &Session{SessionID: c.SessionID, UserID: out.UserID, StartedAt: asked, CustomClaims: c.Custom}
	}
	if session.ExpiresAt.IsZero() {
		session.ExpiresAt = asked.Add(time.Duration(in.SessionDurationMinutes) * time.Minute)
	}
	return session, nil
}

// revoke and revokeToken end a session that must not be used.
func (m *migrator) revoke(ctx context.Context, sessionID string) {
	m.sessions.abandon(ctx, revokeRequest{SessionID: sessionID})
	m.sessions.end(sessionID)
}

func (m *migrator) revokeToken(ctx context.Context, token Secret) {
	m.sessions.abandon(outbound.Vouched(ctx), revokeRequest{SessionToken: string(token)}) // Stytch has just given it
}

// revokeLater ends a Stytch session that nobody is to have any more: overtaken
// by a later sign-in, left by an old logout, or another person's. In this process
// it ends at once, whatever becomes of the calls, which the request does not wait
// for. It returns false if it had ended already. The record of its legacy session
// goes on naming it until another session takes its place; none resumes it.
func (m *migrator) revokeLater(ctx context.Context, sessionID string) bool {
	if over, _ := m.sessions.ended.ContainsOrAdd(sessionID, struct{}{}); over {
		return false
	}
	m.sessions.end(sessionID)
	ctx = context.WithoutCancel(ctx)
	flight.Apart(func() {
		ctx, cancel := context.WithTimeout(ctx, m.sessions.limit)
		defer cancel()
		_ = m.records.endSession(ctx, sessionID)
		m.sessions.abandon(ctx, revokeRequest{SessionID: sessionID})
	})
	return true
}

// sourceOf returns the legacy session of a record, if it is to be ended at its
// source.
func (m *migrator) sourceOf(ctx context.Context, key string) *foundLegacy {
	i := slices.IndexFunc(m.cfg.Legacy, func(l LegacyCookie) bool { return l.End != nil })
	if i < 0 {
		return nil
	}
	src, found := m.records.source(ctx, key)
	i = src.Entry
	if !found || i >= len(m.cfg.Legacy) || m.cfg.Legacy[i].Name != src.Cookie || m.cfg.Legacy[i].End == nil {
		return nil // of a configuration that is no more
	}
	return &foundLegacy{cookie: &m.cfg.Legacy[i], session: LegacySession{
		ID: Secret(src.ID), Token: Secret(src.Token), Identity: src.Identity, StartedAt: src.StartedAt, ExpiresAt: src.ExpiresAt,
	}}
}

// key names the record of a legacy session. It tells nothing of the session
// to those who see it, as the claim legacy_session and in a store; and the same
// id under another user, cookie or project is another record.
func (m *migrator) key(f *foundLegacy) string {
	started := ""
	if !f.session.StartedAt.IsZero() {
		started = f.session.StartedAt.UTC().Format(time.RFC3339Nano)
	}
	sum := m.records.mac("record", recordVersion, m.cfg.ProjectID, f.cookie.Name, string(f.session.ID), f.session.Identity.Subject, started)
	return base64.RawURLEncoding.EncodeToString(sum)
}

// fingerprint tells legacy sessions apart in logs and events, and no more.
func (m *migrator) fingerprint(f *foundLegacy) string {
	if f.fingerprint != "" {
		return f.fingerprint
	}
	return hex.EncodeToString(m.records.mac("fingerprint", m.cfg.ProjectID, f.cookie.Name, string(f.session.ID))[:8])
}
