package stories_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

func pageWith(cookies string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	for _, f := range change {
		f(r)
	}
	return r
}

var varying = regexp.MustCompile(`(fingerprint|place|request_id) [0-9a-z.-]+`)

// inShort makes a text of Explain fit for a row. F, P and R stand for a fingerprint, a place
// and a request id, and ada and bob for their ids at Stytch. Three lines that most texts
// have are left out.
func inShort(a *apptest.App, text string) string {
	text = strings.NewReplacer(a.Ada.ID, "ada", a.Bob.ID, "bob").Replace(text)
	text = varying.ReplaceAllStringFunc(text, func(s string) string {
		return map[byte]string{'f': "F", 'p': "place P", 'r': "R"}[s[0]]
	})
	text = strings.NewReplacer("other cookies: 0\n", "", "rollout: stage replace\n", "", "response: it may change cookies\n", "").Replace(text)
	return strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", " | ")
}

const (
	isAda    = "cookie sid: 5 bytes, a session: subject ada, F | "
	isBob    = "cookie sid: 5 bytes, a session: subject bob, F | "
	isToken  = "cookie stytch_session: 44 bytes, "
	isJWT    = "cookie stytch_session_jwt: 1292 bytes, "
	moves    = "migrated, cause exchange, if Stytch says yes; the Stytch cookies are set, and the old cookie stays"
	nobody   = "anonymous: no cookie holds a session"
	ifAlive  = "outcome, if Stytch says that the session is alive: authenticated, cause asked | outcome, if Stytch says that the session has ended: "
	ifSilent = " | outcome, if Stytch can't tell: unavailable; no cookie changes"
)

// explainRow is a request, what happened before it, and what Explain says of it. In cookies
// S stands for ada's Stytch cookies, T for her token and J for her JWT.
type explainRow struct {
	cookies string
	before  func(a *apptest.App, stytch string)
	want    string
}

func (row *explainRow) run(t *testing.T, change ...func(*stytchmigrate.Config)) {
	t.Helper()
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		stytch, _ := a.SignedIn(a.Ada)
		token, jwt, _ := strings.Cut(stytch, "; ")
		if row.before != nil {
			row.before(a, stytch)
		}
		events, log := len(a.SettledEvents())+len(a.Requests), a.Log.Len()
		a.Stytch.ResetCalls()
		cookies := regexp.MustCompile(`\b[STJ]\b`).ReplaceAllStringFunc(row.cookies, func(s string) string {
			return map[string]string{"S": stytch, "T": token, "J": jwt}[s]
		})
		text := a.Middleware.Explain(pageWith(cookies))
		assert.Equal(t, row.want, inShort(a, text))
		assert.Equal(t, text, a.Middleware.Explain(pageWith(cookies)), "it changes nothing")
		assert.Empty(t, a.Stytch.Calls())
		assert.Equal(t, events, len(a.SettledEvents())+len(a.Requests))
		assert.Equal(t, log, a.Log.Len(), "it logs nothing")
	}, change...)
}

func resolving(f func(*stytchmigrate.LegacySession)) func(*apptest.App, string) {
	return func(a *apptest.App, _ string) {
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", v)
			f(&s)
			return s, nil
		}
	}
}

func TestExplainLegacyCookie(t *testing.T) {
	failing := func(op stytchtest.Op, f stytchtest.Fault, cookies ...string) func(*apptest.App, string) {
		return func(a *apptest.App, _ string) {
			a.Stytch.FailAll(op, f)
			for _, c := range cookies {
				a.Get(c)
			}
		}
	}
	for name, row := range map[string]explainRow{
		"no cookie":                     {"", nil, "cookies: none is named sid, stytch_session, stytch_session_jwt | outcome: " + nobody},
		"other cookies":                 {"theme=dark; cart=7", nil, "cookies: none is named sid, stytch_session, stytch_session_jwt | other cookies: 2 | outcome: " + nobody},
		"another name":                  {"SID=ada-1", nil, "cookies: none is named sid, stytch_session, stytch_session_jwt | other cookies: 1 | outcome: " + nobody},
		"no session":                    {"sid=nobody", nil, "cookie sid: 6 bytes, Resolve says that it is no session | outcome: " + nobody},
		"an empty value":                {"sid=", nil, "cookie sid: 0 bytes, it is empty | outcome: " + nobody},
		"a bad value":                   {`sid=a"b`, nil, "cookie sid: 3 bytes, it has characters that no cookie value may have, so it is not read | outcome: " + nobody},
		"the same twice":                {"sid=ada-1; sid=ada-1", nil, isAda + "cookie sid: 5 bytes, the same value came before | outcome: " + moves},
		"two people":                    {"sid=ada-1; sid=bob-1", nil, isAda + isBob + "outcome: anonymous: the old cookies are of several people, and none counts"},
		"too long":                      {"sid=" + strings.Repeat("a", 8193), nil, "cookie sid: 8193 bytes, over 8192 bytes: it is not resolved | outcome: " + nobody},
		"too many pairs":                {strings.Repeat("x=1; ", 3000) + "sid=ada-1", nil, "cookies: the Cookie header has more than 3000 pairs, so none is read | outcome: " + nobody},
		"many of one name":              {strings.Repeat("sid=; ", 30), nil, strings.Repeat("cookie sid: 0 bytes, it is empty | ", 20) + "more cookies of these names: 10 | outcome: " + nobody},
		"a session":                     {"sid=ada-1", nil, isAda + "outcome: " + moves},
		"one that has moved":            {"sid=ada-1", func(a *apptest.App, _ string) { a.Get("sid=ada-1") }, isAda + "outcome: migrated, cause record, if the session that it became is alive; the Stytch cookies are set, and the old cookie stays"},
		"logged out":                    {"sid=ada-1", func(a *apptest.App, _ string) { a.LogOut("sid=ada-1") }, isAda + "outcome: refused, cause logged_out"},
		"when it began":                 {"sid=ada-1", resolving(func(s *stytchmigrate.LegacySession) { s.StartedAt = time.Now().Add(-90 * time.Minute) }), "cookie sid: 5 bytes, a session: subject ada, F, signed in 1h30m0s ago | outcome: " + moves},
		"expired":                       {"sid=ada-1", resolving(func(s *stytchmigrate.LegacySession) { s.ExpiresAt = time.Now().Add(-3 * time.Minute) }), "cookie sid: 5 bytes, its session expired 3m0s ago, by the ExpiresAt of Resolve | outcome: " + nobody},
		"a subject that is an email":    {"sid=ada-1", resolving(func(s *stytchmigrate.LegacySession) { s.Identity.Subject = "ada@example.com" }), "cookie sid: 5 bytes, a session: F | outcome: " + moves},
		"an email that nobody verified": {"sid=ada-1", resolving(func(s *stytchmigrate.LegacySession) { s.Identity.Subject, s.Identity.EmailVerified = "", false }), "cookie sid: 5 bytes, a session: F | outcome: refused, cause identity: userinfo: subject is empty, userinfo: email is not verified"},
		"neither Identity nor Token":    {"sid=ada-1", resolving(func(s *stytchmigrate.LegacySession) { *s = stytchmigrate.LegacySession{} }), "cookie sid: 5 bytes, a session: F | outcome: unavailable, cause application: wrong setting: Resolve of cookie \"sid\" returned neither Identity nor Token"},
		"no tickets":                    {"sid=ada-1", resolving(func(s *stytchmigrate.LegacySession) { s.Token = "" }), isAda + "outcome: unavailable, cause application: wrong setting: Resolve of cookie \"sid\" returned no Token, and Config.Tickets is not set"},
		"Resolve failed": {"sid=ada-1", func(a *apptest.App, _ string) {
			a.Resolve = func(v string) (s stytchmigrate.LegacySession, err error) { return s, errors.New(v) }
		}, "cookie sid: 5 bytes, Resolve of cookie \"sid\" failed (*errors.errorString) | outcome: unavailable, cause application"},
		"Resolve panicked": {"sid=ada-1", func(a *apptest.App, _ string) {
			a.Resolve = func(v string) (stytchmigrate.LegacySession, error) { panic(v) }
		},
			"cookie sid: 5 bytes, wrong setting: Resolve of cookie \"sid\" panicked | outcome: unavailable, cause application"},
		"refused by Stytch": {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Error(404, "user_not_found"), "sid=ada-1"),
			isAda + "outcome: refused, cause stytch: stytch answered 404 user_not_found (R) to migrate; this is remembered for 1m0s"},
		"a breaker": {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Error(503, "down"), "sid=bob-1", "sid=bob-2", "sid=bob-3", "sid=bob-4", "sid=bob-5"),
			isAda + "calls of exchanges: held back: breaker is open | outcome: unavailable, cause held_back: breaker is open"},
		"a pause": {"sid=ada-1", failing(stytchtest.Migrate, stytchtest.Error(429, "too_few_tokens_authenticated"), "sid=bob-1"),
			isAda + "calls of exchanges: held back: paused, as Stytch asked | outcome: unavailable, cause held_back: paused, as Stytch asked"},
	} {
		t.Run(name, func(t *testing.T) { row.run(t) })
	}
}

// Each row is a rollout, and what it makes of ada's legacy session.
func TestExplainRollout(t *testing.T) {
	for name, row := range map[string]struct {
		rollout stytchmigrate.Rollout
		want    string
	}{
		"observed":             {stytchmigrate.Rollout{Stage: stytchmigrate.StageObserve}, "rollout: stage observe | outcome: legacy, cause observe"},
		"in the shadow":        {stytchmigrate.Rollout{Stage: stytchmigrate.StageShadow}, "rollout: stage shadow | outcome: legacy, cause shadow"},
		"kept":                 {stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep}, "rollout: stage keep | outcome: " + moves},
		"everyone held back":   {stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 100}, "rollout: stage keep, holds back 100 % | held back: true, at place P of 100 | outcome: legacy, cause held_back"},
		"hardly anyone":        {stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 1e-9}, "rollout: stage keep, holds back 1e-09 % | held back: false, at place P of 100 | outcome: " + moves},
		"held back, but first": {stytchmigrate.Rollout{Stage: stytchmigrate.StageKeep, HoldBack: 100, First: []string{"ada"}}, "rollout: stage keep, holds back 100 %, 1 users first | held back: never, because Rollout.First has this user | outcome: " + moves},
		"over":                 {stytchmigrate.Rollout{Until: time.Unix(9e8, 0)}, "rollout: stage replace, until 1998-07-09T16:00:00Z | outcome: legacy, cause until"},
		"no room in a second":  {stytchmigrate.Rollout{PerSecond: 1}, "rollout: stage replace, 1 exchanges a second | outcome: legacy, cause per_second"},
	} {
		t.Run(name, func(t *testing.T) {
			x := explainRow{"sid=ada-1", func(a *apptest.App, _ string) {
				a.SetRollout(t, row.rollout)
				a.Get("sid=bob-1")
			}, isAda + row.want}
			x.run(t)
		})
	}
}

func TestExplainStytchCookies(t *testing.T) {
	know := func(a *apptest.App, stytch string) { a.Get(stytch) }
	const unknown = "this process does not know it; only Stytch can tell whether its session is alive | "
	for name, row := range map[string]explainRow{
		"a session":               {"S", nil, isToken + unknown + isJWT + "this process has no key yet to verify it with; a request fetches the key set | " + ifAlive + nobody + ifSilent},
		"beside the old one":      {"T; sid=bob-1", nil, isToken + unknown + isBob + ifAlive + moves + ifSilent},
		"no token":                {"stytch_session=made up", nil, "cookie stytch_session: 7 bytes, it is no session token: too long, or with characters that no token has | outcome: " + nobody},
		"Stytch said no to it":    {"stytch_session=madeup", func(a *apptest.App, _ string) { a.Get("stytch_session=madeup") }, "cookie stytch_session: 6 bytes, Stytch did not know it a moment ago | outcome: " + nobody + "; the Stytch cookies are expired"},
		"no JWT":                  {"stytch_session_jwt=a.b", nil, "cookie stytch_session_jwt: 3 bytes, it is no session JWT of this project: not three parts | outcome: " + nobody},
		"known":                   {"S", know, isToken + "this process knows its session, user ada | " + isJWT + "this process knows it, and it expires in 5m0s, user ada | outcome: authenticated, cause memory, user ada"},
		"the same person":         {"J; sid=ada-1", know, isJWT + "this process knows it, and it expires in 5m0s, user ada | " + isAda + "outcome: authenticated, cause memory, user ada, the same person as the old session; the old cookie is expired"},
		"two people":              {"J; sid=bob-1", know, isJWT + "this process knows it, and it expires in 5m0s, user ada | " + isBob + "outcome: anonymous: the sessions are of two people, and StartedAt does not tell who signed in later; all cookies are expired"},
		"beside one logged out":   {"J; sid=bob-1", func(a *apptest.App, s string) { know(a, s); a.LogOut("sid=bob-1") }, isJWT + "this process knows it, and it expires in 5m0s, user ada | " + isBob + "outcome: authenticated, cause memory, user ada; the old session is another person's, who has logged out; the old cookie is expired"},
		"beside no session":       {"J; sid=nobody", know, isJWT + "this process knows it, and it expires in 5m0s, user ada | cookie sid: 6 bytes, Resolve says that it is no session | outcome: authenticated, cause memory, user ada; the old cookie stays"},
		"logged out":              {"S", func(a *apptest.App, s string) { a.Get(s); a.LogOut(s) }, isToken + "this process does not know it; only Stytch can tell whether its session is alive | " + isJWT + "its session was logged out | outcome: " + nobody + "; the Stytch cookies are expired"},
		"an expired JWT":          {"J", func(a *apptest.App, s string) { a.Get(s); time.Sleep(8 * time.Minute) }, isJWT + "its signature is right, and it expired 3m0s ago, user ada | " + ifAlive + nobody + ifSilent},
		"a session not in memory": {"J", func(a *apptest.App, _ string) { other, _ := a.SignedIn(a.Bob); a.Get(other) }, isJWT + "it verifies, and expires in 5m0s, user ada | outcome: authenticated, cause asked, or verified if Stytch does not answer in time | outcome, if Stytch says that the session has ended: " + nobody},
	} {
		t.Run(name, func(t *testing.T) { row.run(t) })
	}
}

// The codecs of SecureCookie tell why they open no value.
func TestExplainSecureCookie(t *testing.T) {
	key := func(c byte) []byte { return apptest.KeyOf(c, 32) }
	old, current, other := securecookie.New(key('o'), nil), securecookie.New(key('c'), nil), securecookie.New(key('x'), nil)
	codecs := []securecookie.Codec{current, old}
	use := func(c *stytchmigrate.Config) {
		c.Legacy[0] = stytchmigrate.SecureCookie(stytchmigrate.LegacyCookie{Name: "sid"}, codecs, func(_ *http.Request, id string) (stytchmigrate.LegacySession, error) {
			if id == "" {
				return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
			}
			return apptest.LegacySession("ada", id), nil
		})
	}
	encode := func(c securecookie.Codec, name string, payload any) string {
		v, err := c.Encode(name, payload)
		require.NoError(t, err)
		return v
	}
	const noMAC = "none of 2 codecs has its MAC: wrong keys or another cookie's name | outcome: " + nobody
	for name, row := range map[string]struct {
		value string
		want  string
		wait  time.Duration
	}{
		"the older codec opens it": {encode(old, "sid", "1"), "a session: subject ada, F | outcome: " + moves, 0},
		"other keys":               {encode(other, "sid", "1"), noMAC, 0},
		"another cookie's name":    {encode(old, "session", "1"), noMAC, 0},
		"a text":                   {"abcd", noMAC, 0},
		"no base64":                {"5f3c7a9e-1b", "it is no base64 as securecookie writes it: another library wrote it | outcome: " + nobody, 0},
		"resolve says no":          {encode(old, "sid", ""), "a codec opens it, and resolve says that it is no session | outcome: " + nobody, 0},
		"of another type":          {encode(old, "sid", 7), "wrong setting: cookie \"sid\" is authentic, but does not decode into string | outcome: unavailable, cause application", 0},
	} {
		t.Run(name, func(t *testing.T) {
			x := explainRow{"sid=" + row.value, nil, row.want}
			x.want = regexp.MustCompile(`^`).ReplaceAllString(row.want, "cookie sid: "+strconv.Itoa(len(row.value))+" bytes, ")
			x.run(t, use)
		})
	}
}

// Each row is a GET of ada's that moves her, and the lines that say where cookies may be
// written and whether the middleware looks at the request at all.
func TestExplainWhereCookiesMayChange(t *testing.T) {
	const may = "response: it may change cookies"
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	path := func(p string) func(*http.Request) { return func(r *http.Request) { r.URL.Path = p } }
	for name, row := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"a page":               {apptest.FetchMetadata("none navigate document"), may},
		"no browser":           {func(*http.Request) {}, may},
		"plain HTTP":           {func(r *http.Request) { r.TLS = nil }, "response: browsers drop the Stytch cookies, which are Secure, if this request came over plain HTTP, as it seems\n" + may},
		"no URL":               {func(r *http.Request) { r.URL = nil }, "response: it changes no cookie, because its path is outside of Cookies.Path"},
		"another host":         {host("10.0.0.1"), "response: it changes no cookie, because its host is outside of Cookies.Domain"},
		"another path":         {path("/admin"), "response: it changes no cookie, because its path is outside of Cookies.Path"},
		"an image":             {apptest.FetchMetadata("same-origin no-cors image"), "response: it changes no cookie, because it fetches a part of a page that caches keep (image)"},
		"a fetch elsewhere":    {apptest.FetchMetadata("cross-site cors empty"), "response: it changes no cookie, because it is a cross-site fetch"},
		"another Origin":       {apptest.Header("Origin", "https://other.example"), "response: it changes no cookie, because its Origin is of another host"},
		"a preflight":          {func(r *http.Request) { r.Method = "OPTIONS"; r.Header.Set("Access-Control-Request-Method", "PUT") }, "passed on as it came: it is a CORS preflight"},
		"Skip":                 {apptest.Header("X-Skip", "1"), "passed on as it came: Config.Skip picks it"},
		"a Skip that panicked": {apptest.Header("X-Skip", "panic"), "passed on as it came: Config.Skip panicked"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				r := pageWith("sid=ada-1", path("/app"), row.change)
				text := a.Middleware.Explain(r)
				assert.Contains(t, "\n"+text, "\n"+row.want+"\n")
				assert.Equal(t, strings.HasPrefix(row.want, "passed on"), !strings.Contains(text, "outcome:"))
			}, apptest.CookieOptions(func(o *stytchmigrate.CookieOptions) { o.Domain, o.Path = "example.com", "/app" }), func(c *stytchmigrate.Config) {
				c.Skip = func(r *http.Request) bool {
					if r.Header.Get("X-Skip") == "panic" {
						panic("skip")
					}
					return r.Header.Get("X-Skip") != ""
				}
			})
		})
	}
}

// A handler sees what was decided, and the cookies that the browser sent, though some are
// hidden from it.
func TestExplainInAHandler(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var got []string
		a.Handler = func(_ http.ResponseWriter, r *http.Request) { got = append(got, inShort(a, a.Middleware.Explain(r))) }
		jar := a.Get("sid=ada-1").Jar("sid=ada-1")
		a.Get(jar)
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(404, "user_not_found"))
		a.Get("sid=bob-1")
		a.Get("")
		assert.Equal(t, []string{
			"decided: the handler was given outcome migrated, cause exchange | " + isAda + "outcome: migrated, cause record, if the session that it became is alive; the Stytch cookies are set, and the old cookie stays",
			"decided: the handler was given outcome authenticated, cause memory | " + isAda + isToken + "this process knows its session, user ada | cookie stytch_session_jwt: 1383 bytes, this process knows it, and it expires in 5m0s, user ada | outcome: authenticated, cause memory, user ada, the same person as the old session; the old cookie is expired",
			"decided: the handler was given outcome refused, cause stytch | decided: Stytch answered user_not_found, R | " + isBob + "outcome: refused, cause stytch: stytch answered 404 user_not_found (R) to migrate; this is remembered for 1m0s",
			"decided: the handler was given outcome anonymous | cookies: none is named sid, stytch_session, stytch_session_jwt | outcome: " + nobody,
		}, got)
		assert.Equal(t, jar, "sid=ada-1; "+a.CookiesSeen[1], "the handler of the second request did not see the old cookie")
	})
}

// What Explain foresees is what happens: each row is a request that needs no call to tell.
func TestExplainForeseesTheOutcome(t *testing.T) {
	for _, stage := range []stytchmigrate.Stage{stytchmigrate.StageReplace, stytchmigrate.StageKeep, stytchmigrate.StageShadow, stytchmigrate.StageObserve, stytchmigrate.StageRetired} {
		for _, holdBack := range []float64{0, 50, 100} {
			for _, cookies := range []string{"", "sid=nobody", "sid=ada-1", "sid=bob-1", "sid=ada-1; sid=bob-1", "S", "S; sid=ada-1", "S; sid=bob-1", "sid=ada-2"} {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					stytch, _ := a.SignedIn(a.Ada)
					a.LearnSession(t, stytch)
					a.LogOut("sid=ada-2")
					a.SetRollout(t, stytchmigrate.Rollout{Stage: stage, HoldBack: holdBack})
					header := strings.ReplaceAll(cookies, "S", stytch)
					text := a.Middleware.Explain(pageWith(header))
					got := a.Get(header)
					last := a.Requests[len(a.Requests)-1]
					want := "outcome: " + last.Outcome.String()
					if last.Cause != "" {
						want += ", cause " + last.Cause
					}
					assert.Contains(t, text, want, "%v, %v %% held back, %q", stage, holdBack, cookies)
					assert.Equal(t, slices.Contains(got.Cookies(), "-sid"), strings.Contains(text, "the old cookie is expired") || strings.Contains(text, "all cookies are expired"), "%v, %v %% held back, %q: %s", stage, holdBack, cookies, text)
				})
			}
		}
	}
}

// Requests may be explained at the same time as others are served.
func TestExplainBesideRequests(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { a.ParallelGet("sid=ada-1") })
			wg.Go(func() { assert.Contains(t, a.Middleware.Explain(pageWith("sid=ada-1")), "outcome: migrated") })
		}
		wg.Wait()
	})
}
