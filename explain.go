package stytchmigrate

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/oldcode"
	"example.com/stytchmigrate/internal/outbound"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/session"
)

// Explain returns what the middleware makes of a request, and why, in plain English and
// one fact a line: each session cookie, the rollout, the outcome that the request comes
// to, and which cookies its response changes. It is for the first day, when users stay
// anonymous, and for support. Call it outside of Handler, or in a handler inside of it:
// there it also tells what was decided, and sees the cookies that the browser sent.
//
// It calls neither Stytch nor Config.Store, and changes nothing. What only Stytch can tell
// it says as "if Stytch …". It does call Config.Skip, and Resolve once for each value, as
// a request does. Of an error of Resolve it tells the type.
//
// The text holds no secret, no cookie value and no email, and has no fixed form. Do not
// show it to users: it tells what the configuration is.
func (m *Middleware) Explain(r *http.Request) string {
	if r == nil {
		r = new(http.Request)
	}
	if r.URL == nil { // no server made it
		r = r.WithContext(r.Context())
		r.URL = new(url.URL)
	}
	x := &explanation{m: m, r: r, rollout: m.rollout.now(), expires: map[string]time.Time{}}
	info, excluded := infoFrom(r.Context()), ""
	if info != nil && info.by == m.cookies {
		e := m.report.event(kindRequest, info)
		x.say("decided: the handler was given outcome %s", withCause(e.Outcome, e.Cause))
		if e.RequestID != "" {
			x.say("decided: Stytch answered %s, request_id %s", e.ErrorType, e.RequestID)
		}
		if info.original != nil {
			x.r = info.original.WithContext(r.Context())
		}
	} else if excluded = x.whyExcluded(); excluded != "" {
		x.say("passed on as it came: %s", excluded)
	}
	x.resolver = &legacyResolver{cookies: x.resolveOnce(), names: m.report.names}
	x.received = m.cookies.Read(x.r)
	x.sayCookies()
	x.sayRollout()
	if excluded == "" {
		x.sayOutcome()
	}
	return strings.Join(x.lines, "\n") + "\n"
}

// explanation is one call of Explain.
type explanation struct {
	m        *Middleware
	r        *http.Request // with the cookies that the browser sent
	rollout  *rolloutInForce
	received cookies.Received
	resolver *legacyResolver      // asks Resolve once for each value
	expires  map[string]time.Time // what Resolve said, by the entry and the value
	lines    []string
}

func (x *explanation) say(format string, args ...any) {
	x.lines = append(x.lines, fmt.Sprintf(format, args...))
}

func (x *explanation) whyExcluded() (why string) {
	defer func() {
		if recover() != nil {
			why = "Config.Skip panicked"
		}
	}()
	switch {
	case x.r.Method == http.MethodOptions && x.r.Header.Get("Access-Control-Request-Method") != "":
		return "it is a CORS preflight"
	case x.m.cfg.Skip != nil && x.m.cfg.Skip(x.r):
		return "Config.Skip picks it"
	}
	return ""
}

// resolveOnce returns Config.Legacy such that each value is resolved once, and a panic in
// Resolve is an error.
func (x *explanation) resolveOnce() []LegacyCookie {
	all := slices.Clone(x.m.cfg.Legacy)
	for i := range all {
		resolve, known := all[i].Resolve, map[string]func() (LegacySession, error){}
		all[i].Resolve = func(r *http.Request, value string) (s LegacySession, err error) {
			if again := known[value]; again != nil {
				return again()
			}
			defer func() {
				if recover() != nil {
					s, err = LegacySession{}, redact.Setting(fmt.Sprintf("Resolve of cookie %q panicked", all[i].Name))
				}
				if err == nil && !s.ExpiresAt.IsZero() {
					x.expires[fmt.Sprint(i, " ", value)] = s.ExpiresAt
				}
				known[value] = func() (LegacySession, error) { return s, err }
			}()
			return resolve(r, value)
		}
	}
	return all
}

func (x *explanation) sayCookies() {
	in := x.m.cookies.Inspect(x.r)
	if in.TooLong {
		x.say("cookies: the Cookie header has more than 3000 pairs, so none is read")
		return
	}
	for _, pair := range in.Session {
		about := fmt.Sprintf("cookie %s: %d bytes, ", pair.Name, pair.Bytes)
		switch {
		case pair.NotRead != "":
			x.say("%s%s", about, pair.NotRead)
		case pair.Name == x.m.cfg.Cookies.JWTName:
			x.say("%s%s", about, x.m.sessions.AboutJWT(pair.Value, x.m.verifier.Inspect))
		case pair.Name == x.m.cfg.Cookies.SessionName:
			x.say("%s%s", about, x.m.sessions.AboutToken(pair.Value))
		default:
			x.sayLegacy(about, pair)
		}
	}
	if in.More > 0 {
		x.say("more cookies of these names: %d", in.More)
	}
	if len(in.Session) == 0 {
		x.say("cookies: none is named %s", strings.Join(x.m.cookies.SessionNames(), ", "))
	}
	x.say("other cookies: %d", in.Others)
}

// sayLegacy says what each entry of Config.Legacy of that name makes of a value.
func (x *explanation) sayLegacy(about string, pair cookies.Pair) {
	var entries []int
	for i := range x.m.cfg.Legacy {
		if x.m.cfg.Legacy[i].Name == pair.Name {
			entries = append(entries, i)
		}
	}
	for _, i := range entries {
		by := ""
		if len(entries) > 1 {
			by = fmt.Sprintf("by Legacy[%d] ", i)
		}
		x.say("%s%s%s", about, by, x.aboutLegacy(i, pair.Value))
	}
}

func (x *explanation) aboutLegacy(entry int, value string) string {
	if len(value) > maxLegacyValue {
		return fmt.Sprintf("over %d bytes: it is not resolved", maxLegacyValue)
	}
	s, err := x.resolver.resolve(entry, x.r, value)
	at, expires := x.expires[fmt.Sprint(entry, " ", value)]
	switch whyNot := x.m.cfg.Legacy[entry].whyNot; {
	case err != nil:
		return ownText(err)
	case s != nil:
		return "a session: " + x.aboutSession(s)
	case expires:
		return fmt.Sprintf("its session expired %v ago, by the ExpiresAt of Resolve", time.Since(at).Truncate(time.Second))
	case whyNot == nil:
		return "Resolve says that it is no session"
	default:
		if why := whyNot(value); why != "" {
			return why
		}
		return "a codec opens it, and resolve says that it is no session"
	}
}

// aboutSession says whose a legacy session is, as events do.
func (x *explanation) aboutSession(s *resolvedSession) string {
	var facts []string
	if subject := s.subject(); subject != "" {
		facts = append(facts, "subject "+subject)
	}
	facts = append(facts, "fingerprint "+x.m.report.fingerprint(s))
	if at := s.session.StartedAt; !at.IsZero() {
		facts = append(facts, fmt.Sprintf("signed in %v ago", time.Since(at).Truncate(time.Second)))
	}
	return strings.Join(facts, ", ")
}

func (x *explanation) sayRollout() {
	x.say("rollout: %s", x.rollout.describe())
	if held := x.m.calls.Held(outbound.Exchange); held != nil {
		x.say("calls of exchanges: %s", held)
	}
	if x.m.sessions.Doubted() {
		x.say("brake: Stytch suddenly knew too few sessions, and is not believed when it knows none")
	}
}

// sayOutcome says what the request comes to, by the rules of decide.go.
func (x *explanation) sayOutcome() {
	p := x.m.sessions.Preview(x.received.JWTs, x.received.Tokens, x.m.verifier.Inspect)
	switch {
	case p.Live != nil:
		x.say("outcome: %s", x.liveOutcome(&p))
	case p.Claims != nil:
		x.say("outcome: authenticated, cause asked, or verified if Stytch does not answer in time")
		x.say("outcome, if Stytch says that the session has ended: %s", x.legacyOutcome())
	case p.Ambiguous:
		x.say("outcome: anonymous: the Stytch cookies are of two people, and none counts")
	case p.Asks:
		x.sayAsked(&p)
	case p.Clear:
		x.say("outcome: %s; the Stytch cookies are expired", x.legacyOutcome())
	default:
		x.say("outcome: %s", x.legacyOutcome())
	}
	if x.m.cookies.IsDroppedInClear(x.r) {
		x.say("response: browsers drop the Stytch cookies, which are Secure, if this request came over plain HTTP, as it seems")
	}
	if why := x.m.cookies.WhyNotWrite(x.r); why != "" {
		x.say("response: it changes no cookie, because %s", why)
	} else {
		x.say("response: it may change cookies")
	}
}

// sayAsked says the outcomes of a request about whose session Stytch is asked first.
func (x *explanation) sayAsked(p *session.Preview) {
	lane := outbound.UnvouchedSession
	if p.Vouched {
		lane = outbound.Session
	}
	if held := x.m.calls.Held(lane); held != nil {
		x.say("outcome: %s: %s; no cookie changes", withCause(OutcomeUnavailable, causeHeldBack), held.Reason)
		return
	}
	x.say("outcome, if Stytch says that the session is alive: authenticated, cause asked")
	x.say("outcome, if Stytch says that the session has ended: %s", x.legacyOutcome())
	x.say("outcome, if Stytch can't tell: unavailable; no cookie changes")
}

const (
	expiresCookie = "; the old cookie is expired"
	keepsCookie   = "; the old cookie stays"
)

// liveOutcome is the outcome of a request with a live Stytch session: see decideBoth.
func (x *explanation) liveOutcome(p *session.Preview) string {
	m, live := x.m.decider.migrator, p.Live.Session
	out := withCause(OutcomeAuthenticated, p.Cause) + ", user " + redact.Identifier(live.UserID)
	if !x.received.HasLegacy {
		return out
	}
	legacy, several, err := x.resolver.first(x.r, &x.received)
	if becomes, retired := x.retires(legacy, several); retired {
		return out + becomes
	}
	if err != nil || legacy == nil {
		return out + keepsCookie
	}
	ruled := ruleBetween(live, legacy)
	if ruled.overStytch() && m.tombstones.LegacyEndedLocal(legacy.key) {
		return out + "; the old session is another person's, who has logged out" + expiresCookie
	}
	switch ruled {
	case samePerson:
		becomes := keepsCookie
		if m.stageForCookie(x.rollout, legacy) == StageReplace && !legacy.mixed {
			becomes = expiresCookie
		}
		return out + ", the same person as the old session" + becomes
	case legacyOlder:
		return out + "; the old session is another person's, who signed in earlier" + expiresCookie
	case legacyNewer:
		return x.legacyOutcome() + "; the Stytch session is another person's, who signed in earlier, and is revoked"
	case conflict:
		return "anonymous: the sessions are of two people, and StartedAt does not tell who signed in later; all cookies are expired"
	}
	return out + "; it can't be told whether the old session is the same person's" + keepsCookie
}

// retires reports whether StageRetired retires legacy sessions, and what becomes of their
// cookies: see decider.retire. It does not ask the store whether another machine has heard
// the old code.
func (x *explanation) retires(legacy *resolvedSession, several bool) (becomes string, retired bool) {
	m := x.m.decider.migrator
	if x.rollout.Stage != StageRetired || m.oldCode.Local() != oldcode.No || legacy == nil && !several || legacy != nil && m.isHeldBack(x.rollout, legacy) {
		return "", false
	}
	entries, all, _ := x.resolver.full(x.r, &x.received)
	for _, s := range all {
		if oldcode.IsNew(s.session.StartedAt) {
			return "", false
		}
		if m.isHeldBack(x.rollout, s) {
			entries = slices.DeleteFunc(entries, func(i int) bool { return i == s.entry })
		}
	}
	if len(entries) == 0 {
		return keepsCookie, true
	}
	return expiresCookie, true
}

// legacyOutcome is the outcome of a request without a live Stytch session.
func (x *explanation) legacyOutcome() string {
	m, now := x.m.decider.migrator, x.rollout
	legacy, several, err := x.resolver.first(x.r, &x.received)
	becomes, retired := x.retires(legacy, several)
	switch {
	case err != nil:
		return withCause(OutcomeUnavailable, causeApplication)
	case retired:
		return OutcomeAnonymous.String() + becomes
	case several:
		return "anonymous: the old cookies are of several people, and none counts"
	case legacy == nil:
		return "anonymous: no cookie holds a session"
	}
	switch subject := legacy.session.Identity.Subject; {
	case now.isFirst(subject):
		x.say("held back: never, because Rollout.First has this user")
	case now.HoldBack > 0:
		x.say("held back: %t, at place %.1f of 100", m.isHeldBack(now, legacy), 100*m.names.Place(subject, string(legacy.session.ID)))
	}
	return m.foresee(now, legacy, x.m.calls.Held(outbound.Exchange))
}
