package stytchmigrate_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// Each row breaks one thing, and tells all that Check says then.
func TestCheck(t *testing.T) {
	const (
		dashboard = "UserInfo URL in the Stytch dashboard: "
		cantTell  = "; check again"
		credText  = "nobody can move, and no session can be refreshed; copy both from the same project"
		moving    = "users do move, for Stytch got through by the URL in its dashboard; correct this field, or "
		behind    = ", as behind a login or the middleware: nobody can move; mount userinfo.Handler outside of both"
		useless   = ": no session JWT can be verified, and requests wait for Stytch; let GET /v1/sessions/jwks through unchanged"
		unusable  = ": nobody can move; serve userinfo.Handler there, and let no proxy change its answers"
		notStytch = "nobody can move; correct it, or let the proxy on the way through"
		refused   = ": session JWTs are refused, and their users' requests wait for Stytch; set it, by NTP"
		apart     = ": machines do not know what others have exchanged or ended; mend it, or leave Store out"
		anybody   = "whoever asks for it may be given anybody's account; don't launch until userinfo.Handler alone answers there"
		wrongOnes = "sessions go to the wrong people; don't launch until userinfo.Handler alone answers there"
	)
	everybody := `{"sub":"ada","email":"ada@example.com","email_verified":true}`
	for name, row := range map[string]struct {
		change func(*launch)
		want   string
	}{
		"everything right":  {func(*launch) {}, ""},
		"users are created": {func(l *launch) { l.cfg.CreateUsers = true }, ""},

		"a wrong secret":  {func(l *launch) { l.cfg.Secret = "canary" }, "Secret: Stytch refuses it for this ProjectID (401 unauthorized_credentials): " + credText},
		"a wrong project": {func(l *launch) { l.cfg.ProjectID = "project-test-9" }, "ProjectID: Stytch knows no such project (401 unauthorized_credentials): nobody can move; copy it from the Stytch dashboard"},
		"wrong credentials, and no key set": {func(l *launch) {
			l.cfg.Secret = "canary"
			l.stytch.FailAll("jwks", stytchtest.Error(503, "server_unavailable"))
		}, "ProjectID or Secret: Stytch refuses them (401 unauthorized_credentials): " + credText},
		"nothing listens":           {func(l *launch) { l.stytch.Close() }, "BaseURL: Stytch can't be reached (dial: connection refused): nobody can move, and no session can be refreshed; check the network, the proxy and BaseURL"},
		"Stytch is silent":          {failing("*", stytchtest.Silence()), "BaseURL: Stytch can't be reached (timed out): nobody can move, and no session can be refreshed; check the network, the proxy and BaseURL"},
		"Stytch fails":              {failing("*", stytchtest.Error(503, "server_unavailable")), "BaseURL: Stytch does not answer now (503 server_unavailable): it can't be told whether ProjectID and Secret are right; check again later"},
		"Stytch is asked too often": {failing("get_user", stytchtest.Error(429, "too_many_requests")), "BaseURL: Stytch does not answer now (429 too_many_requests): it can't be told whether ProjectID and Secret are right; check again later"},
		"another server":            {failing("*", stytchtest.Respond(200, "<html>canary")), "BaseURL: what answers there is not Stytch's API (200): " + notStytch},
		"a portal":                  {failing("*", stytchtest.Redirect("https://portal.example/canary")), "BaseURL: what answers there is not Stytch's API (307): " + notStytch},
		"a firewall":                {failing("*", stytchtest.Respond(403, "canary")), "BaseURL: what answers there is not Stytch's API (403): " + notStytch},
		"a wrong path":              {func(l *launch) { l.cfg.BaseURL += "/canary" }, "BaseURL: what answers there is not Stytch's API (404 route_not_found): " + notStytch},
		"an odd id":                 {failing("get_user", stytchtest.Error(400, "invalid_user_id")), ""},
		"a user after all":          {failing("get_user", stytchtest.Respond(200, `{"request_id":"r"}`)), ""},

		"no key set":           {failing("jwks", stytchtest.Error(503, "server_unavailable")), "BaseURL: Stytch's key set is of no use (503 server_unavailable)" + useless},
		"an empty key set":     {failing("jwks", stytchtest.Respond(200, `{"keys":[]}`)), "BaseURL: Stytch's key set is of no use (key set has no usable key)" + useless},
		"a page for a key set": {failing("jwks", stytchtest.Respond(200, `<html>canary`)), "BaseURL: Stytch's key set is of no use (answer is not a key set)" + useless},
		"a silent key set":     {failing("jwks", stytchtest.Silence()), "BaseURL: Stytch's key set is of no use (timed out)" + useless},
		"a set without end":    {failing("jwks", stytchtest.Endless()), "BaseURL: Stytch's key set is of no use (key set is too large)" + useless},
		"half a key set":       {failing("jwks", stytchtest.Fault{}.WithCut(10)), "BaseURL: Stytch's key set is of no use (answer broke off: connection closed)" + useless},

		"a clock that is behind": {clockOff(2 * time.Minute), "clock of this machine: is 2m0s behind Stytch's" + refused},
		"a clock that is ahead":  {clockOff(-time.Minute), "clock of this machine: is 1m0s ahead of Stytch's" + refused},
		"a clock that soon will": {clockOff(20 * time.Second), "clock of this machine: is 20s behind Stytch's: from 30s on, session JWTs are refused; set it, by NTP"},
		"a clock like any other": {clockOff(9 * time.Second), ""},
		"a date of long ago":     {failing("*", stytchtest.Fault{}.WithHeader("Date", "Mon, 03 Feb 1997 04:05:06 GMT").WithHeader("Age", "86400")), ""},
		"another server's date":  {failing("*", stytchtest.Respond(200, "canary").WithHeader("Date", "Mon, 03 Feb 1997 04:05:06 GMT")), "BaseURL: what answers there is not Stytch's API (200): " + notStytch},
		"no date":                {failing("*", stytchtest.Fault{}.WithHeader("Date", "canary")), ""},
		"answers that take long": {func(l *launch) {
			l.cfg.Timeout = 60 * time.Second
			l.stytch.FailAll("*", stytchtest.Delay(30*time.Second))
		}, ""},

		"no URL in the dashboard":      {func(l *launch) { l.stytch.SetUserInfoURL("") }, dashboard + "there is none, or it is no URL (400 migrate_from_external_missing_userinfo): nobody can move; set it to where userinfo.Handler is mounted"},
		"a wrong URL in the dashboard": {func(l *launch) { l.stytch.SetUserInfoURL(userInfoURL + "/canary") }, dashboard + "Stytch got no good answer there to a good ticket (400 migrate_from_external_unexpected_response): nobody can move; see that userinfo.Handler is mounted there, is open to the internet, and has the keys of Tickets"},
		"an endpoint of one user": {func(l *launch) {
			l.cfg.UserInfoURL = ""
			l.stytch.AddUser(stytchtest.Person("ada@example.com"))
			l.endpoint = userinfo.Handler(func(context.Context, string) (userinfo.Identity, error) {
				return apptest.LegacySession("ada", "").Identity, nil
			})
		}, dashboard + "Stytch took a ticket of nobody's for a user (200): sessions go to the wrong people; don't launch until the endpoint gives the identity in the ticket, and no other"},
		"an outsider who knows of Check": {func(l *launch) {
			l.stytch.AddUser(stytchtest.Person("stytchmigrate-check@stytchmigrate.invalid"))
		}, ""},
		"exchanges are slow":      {failing("migrate", stytchtest.Silence()), dashboard + "it can't be told whether Stytch reaches it (timed out): nobody can move if not" + cantTell},
		"exchanges are throttled": {failing("migrate", stytchtest.Error(429, "too_few_tokens_authenticated")), dashboard + "it can't be told whether Stytch reaches it (429 too_few_tokens_authenticated): nobody can move if not" + cantTell},

		"other keys": {func(l *launch) {
			other, _ := userinfo.NewTickets(apptest.KeyOf('o', 32), apptest.KeyOf('p', 32))
			l.endpoint = userinfo.Handler(other.Redeem)
		}, "UserInfoURL: refuses a good ticket (401): the machine there has other keys than Tickets here, or another time: nobody can move; give all machines the same keys"},
		"behind a login page":    {answers(200, "Content-Type", "text/html; charset=utf-8", "canary"), "UserInfoURL: answers with a redirect or a page (200)" + behind},
		"behind a redirect":      {answers(302, "Location", "/login?canary", ""), "UserInfoURL: answers with a redirect or a page (302)" + behind},
		"behind a password":      {answers(401, "WWW-Authenticate", `Basic realm="canary"`, ""), "UserInfoURL: answers with a redirect or a page (401)" + behind},
		"behind RequireUser":     {answers(401, "WWW-Authenticate", `Cookie cookie-name="stytch_session"`, ""), "UserInfoURL: answers with a redirect or a page (401)" + behind},
		"not mounted":            {answers(404, "X", "", ""), "UserInfoURL: nothing is mounted there (404): nobody can move; mount userinfo.Handler at that path"},
		"not the dashboard's":    {func(l *launch) { l.cfg.UserInfoURL += "/canary" }, "UserInfoURL: nothing is mounted there (404): " + moving + "mount userinfo.Handler at that path"},
		"an endpoint that fails": {answers(502, "X", "", ""), "UserInfoURL: the endpoint fails (502): nobody can move; see the log of the machine there"},
		"a firewall before it":   {answers(403, "X", "", ""), "UserInfoURL: answers 403 in place of 401 to a request without a token: something in front of userinfo.Handler stops Stytch too; let all requests for that path through"},
		"a silent endpoint": {func(l *launch) {
			l.endpoint = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			l.stytch.SetUserInfoURL("")
			l.stytch.Accept("another", "ada@example.com")
		}, "UserInfoURL: can't be reached from here (timed out): it can't be told whether it is right; check the machine there, or leave the field empty if Stytch alone can reach it"},

		"an answer to everybody": {answers(200, "Content-Type", "application/json", everybody), "UserInfoURL: answers 200 to a request without a token: " + anybody},
		"an answer to any token, behind a page": {func(l *launch) {
			l.stytch.SetUserInfoURL("")
			l.stytch.Accept("another", "ada@example.com")
			l.endpoint = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "" {
					w.WriteHeader(404)
				}
				w.Header().Set("Content-Type", "text/html")
				_, _ = w.Write([]byte(everybody))
			})
		}, "UserInfoURL: answers 200 to a request with a made-up token: " + anybody},
		"an answer to any token": {func(l *launch) {
			l.stytch.AddUser(stytchtest.Person("ada@example.com"))
			l.endpoint = userinfo.Handler(func(context.Context, string) (userinfo.Identity, error) {
				return apptest.LegacySession("ada", "").Identity, nil
			})
		}, "UserInfoURL: answers 200 to a request with a made-up token: " + anybody},
		"an answer of another":       {replaced(`"email":"stytchmigrate-check`, `"email":"canary`), "UserInfoURL: answers a ticket with another identity than is in it: " + wrongOnes},
		"an answer of another user":  {replaced(`"sub":"stytchmigrate-check`, `"sub":"canary`), "UserInfoURL: answers a ticket with another identity than is in it: " + wrongOnes},
		"not verified":               {replaced("true", "false"), "UserInfoURL: answers a good ticket, but email_verified is not true" + unusable},
		"verified by a string":       {replaced("true", `"true"`), "UserInfoURL: answers a good ticket, but email_verified is not true or false" + unusable},
		"no email":                   {replaced(`"email"`, `"mail"`), "UserInfoURL: answers a good ticket, but email is missing" + unusable},
		"no JSON":                    {replaced("{", ""), "UserInfoURL: answers a good ticket, but body is not one JSON value" + unusable},
		"text":                       {headed("Content-Type", "text/plain"), "UserInfoURL: answers a good ticket, but its content type is not application/json" + unusable},
		"far too much":               {rewritten(func(_ http.Header, body string) string { return body + strings.Repeat(" ", 2<<20) }), "UserInfoURL: answers a good ticket, but its body is longer than 1 MiB" + unusable},
		"half an answer":             {brokenOff, "UserInfoURL: answers a good ticket, but its body breaks off: " + moving + "serve userinfo.Handler there, and let no proxy change its answers"},
		"a cache":                    {headed("Cache-Control", "max-age=60"), "UserInfoURL: may be kept by a cache on the way, for want of Cache-Control: no-store: who comes later is taken for somebody else; let no proxy change the answer's headers"},
		"tickets of nobody's making": {func(l *launch) { l.cfg.Tickets = new(userinfo.Tickets) }, "Tickets: was not made by userinfo.NewTickets: nobody can move; make it so"},

		"a store that is down":      {storing(func(s *storetest.Memory) { s.Fail(apptest.StoreDown) }), "Store: Get failed (*errors.errorString)" + apart},
		"a store that loses":        {func(l *launch) { l.cfg.Store = amnesic{new(storetest.Memory)} }, "Store: Get does not find what was put" + apart},
		"a store without claims":    {func(l *launch) { l.cfg.Store = generous{new(storetest.Memory)} }, "Store: Claim gives two owners the same" + apart},
		"a store that refuses":      {func(l *launch) { l.cfg.Store = refusing{new(storetest.Memory)} }, "Store: Claim refuses what nobody has" + apart},
		"a store that keeps claims": {func(l *launch) { l.cfg.Store = keeping{new(storetest.Memory)} }, "Store: Release does not give a claim back" + apart},
		"a store that is too slow":  {storing(func(s *storetest.Memory) { s.Fail(func(string, string) error { time.Sleep(time.Second); return nil }) }), "Store: Get timed out" + apart},
		"a nil store":               {func(l *launch) { l.cfg.Store = (*storetest.Memory)(nil) }, "Store: Get panicked (runtime.errorString), for it is a nil *storetest.Memory" + apart},
		"a store that works":        {storing(func(*storetest.Memory) {}), ""},

		"two things": {func(l *launch) {
			l.stytch.SetUserInfoURL("")
			answers(200, "Content-Type", "application/json", everybody)(l)
		}, "UserInfoURL: answers 200 to a request without a token: " + anybody + "\n" +
			dashboard + "there is none, or it is no URL (400 migrate_from_external_missing_userinfo): nobody can move; set it to where userinfo.Handler is mounted"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLaunch(t, stytchtest.Config{})
				row.change(l)
				began := time.Now()
				assert.Equal(t, row.want, l.check(t))
				assert.LessOrEqual(t, time.Since(began), max(l.cfg.Timeout, 5*time.Second))
				assert.Empty(t, l.stytch.Sessions())
				assert.Zero(t, l.stytch.Count("create_user"))
			})
		})
	}
}

// amnesic is a store that keeps no value.
type amnesic struct{ *storetest.Memory }

func (amnesic) Get(context.Context, string) ([]byte, bool, error) { return nil, false, nil }

// generous is a store that gives everybody every claim.
type generous struct{ *storetest.Memory }

func (generous) Claim(context.Context, string, string, time.Duration) (bool, error) { return true, nil }

// refusing is a store that gives nobody a claim.
type refusing struct{ *storetest.Memory }

func (refusing) Claim(context.Context, string, string, time.Duration) (bool, error) {
	return false, nil
}

// keeping is a store that takes no claim back.
type keeping struct{ *storetest.Memory }

func (keeping) Release(context.Context, string, string) error { return nil }

// Where nobody is left to move, or no ticket can be made, less is asked.
func TestCheckAsks(t *testing.T) {
	const user, jwks, exchange, info = "GET https://stytch.invalid/v1/users/user-test-00000000-0000-4000-8000-000000000000",
		"GET https://stytch.invalid/v1/sessions/jwks/project-test-1", "POST https://stytch.invalid/v1/sessions/migrate application/json", "GET " + userInfoURL
	for name, row := range map[string]struct {
		change func(*stytchmigrate.Config)
		want   []string
	}{
		"all":             {func(*stytchmigrate.Config) {}, []string{user, jwks, exchange, info, info, info}},
		"no tickets":      {func(c *stytchmigrate.Config) { c.Tickets = nil }, []string{user, jwks, info, info}},
		"no UserInfo URL": {func(c *stytchmigrate.Config) { c.UserInfoURL = "" }, []string{user, jwks, exchange}},
		"nobody to move":  {func(c *stytchmigrate.Config) { c.Legacy = nil }, []string{user, jwks}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLaunch(t, stytchtest.Config{ProjectID: "project-test-1"})
				row.change(&l.cfg)
				assert.Empty(t, l.check(t))
				assert.ElementsMatch(t, row.want, l.requests)
			})
		})
	}
}

// Check ends with its context, and does not take that for an outage.
func TestCheckIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLaunch(t, stytchtest.Config{})
		l.stytch.FailAll("*", stytchtest.Silence())
		l.cfg.Cookies.Domain = "127.0.0.1"
		l.endpoint = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		m, err := stytchmigrate.New(l.cfg)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		assert.Equal(t, `Cookies: Domain "127.0.0.1": is an address, for which not every browser keeps a cookie; leave Domain empty`+"\n"+
			"Check: ended before all answers were there: what is not said here is not known; give its context more time", findings(t, m.Check(ctx)))
		assert.Equal(t, time.Second, time.Since(began))
	})
}

// However often Check fails, requests don't notice: no breaker is open, no
// exchange waits, the store is used, and there is no event and no log.
func TestCheckLeavesNoTrace(t *testing.T) {
	store := new(storetest.Memory)
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		store.Fail(apptest.StoreDown)
		a.Stytch.FailAll("*", stytchtest.Error(503, "server_unavailable"))
		a.Stytch.FailAll("migrate", stytchtest.Error(429, "too_few_tokens_authenticated"))
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { assert.Error(t, a.Middleware.Check(t.Context())) })
		}
		all.Wait()
		store.Fail(nil)
		a.Stytch.Heal("*")
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String())
		assert.NotEmpty(t, store.Values())
		assert.Empty(t, a.Events)
		assert.Empty(t, a.Log.String())
	}, func(c *stytchmigrate.Config) {
		c.Tickets, _ = userinfo.NewTickets(apptest.KeyOf('t', 32), apptest.KeyOf('u', 32))
		c.Store = store
	})
}

// Users are served while Check runs.
func TestCheckWhileServing(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		done := make(chan error, 8)
		for range cap(done) {
			go func() { done <- a.Middleware.Check(t.Context()) }()
		}
		assert.Equal(t, "migrated ada", a.Get("sid=ada-1").Saw)
		for range cap(done) {
			assert.NoError(t, <-done)
		}
	})
}

// No transport makes Check panic or hang.
func TestCheckOverBrokenTransports(t *testing.T) {
	for name, does := range map[string]apptest.RoundTripper{
		"panics":  func(*http.Request) (*http.Response, error) { panic("canary") },
		"exits":   func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil },
		"nothing": func(*http.Request) (*http.Response, error) { return nil, nil },
		"no body": func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil },
		"hangs":   func(*http.Request) (*http.Response, error) { time.Sleep(10 * time.Second); return nil, io.EOF },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLaunch(t, stytchtest.Config{})
				l.cfg.HTTPClient = &http.Client{Transport: does}
				said := l.check(t)
				assert.Equal(t, 2, strings.Count(said+"\n", "\n"), said) // Stytch, and the endpoint
				assert.NotContains(t, said, "canary")
			})
		})
	}
}

// No finding tells what is secret, however Stytch and the endpoint fail.
func TestCheckTellsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeaky(t)
		for i := range l.failures(httptest.NewRequest("GET", "/", nil)) {
			// Made for each call: it tells what that call sent, a ticket too.
			does := apptest.RoundTripper(func(r *http.Request) (*http.Response, error) { return l.failures(r)[i](r) })
			l.does.Store(&does)
			err := l.Middleware.Check(t.Context())
			l.mustHide(t, "finding", printed(err)+asJSON(err), l.c)
			assert.NotContains(t, findings(t, err), "stytchmigrate-check", "the ticket's identity")
		}
	})
}
