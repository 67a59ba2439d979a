package check_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/check"
)

func refuseConnection(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "canary", Err: syscall.ECONNREFUSED}
}

// brokenOff sends a part of the body of a, and then an error.
func brokenOff(a answer) answer {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := a(r)
		if err == nil {
			resp.Body = io.NopCloser(io.MultiReader(io.LimitReader(resp.Body, 10), iotest.ErrReader(io.ErrUnexpectedEOF)))
		}
		return resp, err
	}
}

// Each row is a reply of Stytch, or of what answers in its place, and all that is
// found then.
func TestStytch(t *testing.T) {
	const (
		credentials = "nobody can move, and no session can be refreshed; copy both from the same project"
		unreachable = ": nobody can move, and no session can be refreshed; check the network, the proxy and BaseURL"
		correct     = ": nobody can move, and no session can be refreshed; correct it"
		later       = ": it can't be told whether ProjectID and Secret are right; check again later"
		another     = ": nobody can move; correct it, or let the proxy on the way through"
		useless     = ": no session JWT can be verified, and requests wait for Stytch; let GET /v1/sessions/jwks through unchanged"
	)
	refused := on(stytchError(401, "unauthorized_credentials"), user, exchange)
	for name, row := range map[string]struct {
		change change
		want   string
	}{
		"everything right": {all(), ""},
		"an odd id":        {on(stytchError(400, "invalid_user_id"), user), ""},
		"a user after all": {on(reply(200, `{"request_id":"r"}`), user), ""},

		"a wrong secret":                       {refused, "Secret: Stytch refuses it for this ProjectID (401 unauthorized_credentials): " + credentials},
		"a wrong project":                      {all(refused, on(stytchError(404, "project_not_found"), keySet)), "ProjectID: Stytch knows no such project (401 unauthorized_credentials): nobody can move; copy it from the Stytch dashboard"},
		"wrong credentials, and no key set":    {all(refused, on(stytchError(503, "server_unavailable"), keySet)), "ProjectID or Secret: Stytch refuses them (401 unauthorized_credentials): " + credentials},
		"a B2B project":                        {on(stytchError(400, "invalid_consumer_endpoint"), user, exchange), "ProjectID: it is a B2B project, and must be one for consumers: Stytch refuses the project's calls (400 invalid_consumer_endpoint)" + correct},
		"a B2B project, for exchanges":         {on(stytchError(403, "invalid_consumer_endpoint"), exchange), "ProjectID: it is a B2B project, and must be one for consumers: Stytch refuses the project's calls (403 invalid_consumer_endpoint)" + correct},
		"another environment":                  {on(stytchError(400, "wrong_stack_live"), allOfStytch...), "ProjectID or BaseURL: they are of another environment, live or test: Stytch refuses the project's calls (400 wrong_stack_live)" + correct},
		"a bill":                               {on(stytchError(403, "billing_not_verified"), user, exchange), "billing of the project in the Stytch dashboard: Stytch refuses the project's calls (403 billing_not_verified)" + correct},
		"a method that is not let through":     {on(stytchError(405, "method_not_allowed"), user, exchange), "BaseURL: Stytch refuses the project's calls (405 method_not_allowed)" + correct},
		"nothing listens":                      {on(refuseConnection, allOfStytch...), "BaseURL: Stytch can't be reached (dial: connection refused)" + unreachable},
		"Stytch is silent":                     {on(silent, allOfStytch...), "BaseURL: Stytch can't be reached (timed out)" + unreachable},
		"Stytch fails":                         {on(stytchError(503, "server_unavailable"), allOfStytch...), "BaseURL: Stytch does not answer now (503 server_unavailable)" + later},
		"Stytch fails, with the lowest of 5xx": {on(stytchError(500, "internal_server_error"), allOfStytch...), "BaseURL: Stytch does not answer now (500 internal_server_error)" + later},
		"Stytch is asked too often":            {on(stytchError(429, "too_many_requests"), user), "BaseURL: Stytch does not answer now (429 too_many_requests)" + later},
		"Stytch got half of the request":       {on(reply(408, ""), user), "BaseURL: Stytch does not answer now (408)" + later},
		"another server":                       {on(reply(200, "<html>canary"), allOfStytch...), "BaseURL: what answers there is not Stytch's API (200)" + another},
		"another API":                          {on(reply(200, `{"id":"canary"}`), allOfStytch...), "BaseURL: what answers there is not Stytch's API (200)" + another},
		"a portal":                             {on(reply(307, "", "Location", "https://portal.example/canary"), allOfStytch...), "BaseURL: what answers there is not Stytch's API (307)" + another},
		"a firewall":                           {on(reply(403, "canary"), allOfStytch...), "BaseURL: what answers there is not Stytch's API (403)" + another},
		"a wrong path":                         {on(stytchError(404, "route_not_found"), allOfStytch...), "BaseURL: what answers there is not Stytch's API (404 route_not_found)" + another},

		"no key set":           {on(stytchError(503, "server_unavailable"), keySet), "BaseURL: Stytch's key set is of no use (503 server_unavailable)" + useless},
		"an empty key set":     {on(reply(200, `{"keys":[]}`), keySet), "BaseURL: Stytch's key set is of no use (key set has no usable key)" + useless},
		"a page for a key set": {on(reply(200, `<html>canary`), keySet), "BaseURL: Stytch's key set is of no use (answer is not a key set)" + useless},
		"a silent key set":     {on(silent, keySet), "BaseURL: Stytch's key set is of no use (timed out)" + useless},
		"a set without end":    {on(reply(200, strings.Repeat(" ", 2<<20)), keySet), "BaseURL: Stytch's key set is of no use (key set is too large)" + useless},
		"half a key set":       {on(brokenOff(reply(200, goodKeySet())), keySet), "BaseURL: Stytch's key set is of no use (answer broke off: connection closed)" + useless},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, row.want, findings(t, row.change)) })
	}
}

// clock sets Stytch's clock ahead of this machine's.
func clock(ahead time.Duration) change {
	return func(s *site) { s.answers[user] = dated(s.answers[user], ahead) }
}

// dated gives the replies of a the date that a clock has which is so far ahead.
func dated(a answer, ahead time.Duration, header ...string) answer {
	return func(r *http.Request) (*http.Response, error) {
		resp, err := a(r)
		if err == nil {
			resp.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			for i := 0; i < len(header); i += 2 {
				resp.Header.Set(header[i], header[i+1])
			}
		}
		return resp, err
	}
}

func late(a answer, by time.Duration) answer {
	return func(r *http.Request) (*http.Response, error) { time.Sleep(by); return a(r) }
}

// Each row is the clock of Stytch, ahead of this machine's, and the finding.
func TestClock(t *testing.T) {
	const (
		refused = ": session JWTs are refused, and their users' requests wait for Stytch; set it, by NTP"
		soon    = ": from 30s on, session JWTs are refused; set it, by NTP"
		years   = 10 * 365 * 24 * time.Hour
	)
	long := func(s *site) { s.cfg.Timeout = 60 * time.Second }
	for name, row := range map[string]struct {
		change change
		want   string
	}{
		"the same":                   {clock(0), ""},
		"as far as may be":           {clock(10 * time.Second), ""},
		"as far as may be, after":    {clock(-10 * time.Second), ""},
		"a second too far":           {clock(11 * time.Second), "clock of this machine: is 11s behind Stytch's" + soon},
		"a second too far, after":    {clock(-11 * time.Second), "clock of this machine: is 11s ahead of Stytch's" + soon},
		"the leeway of JWTs":         {clock(30 * time.Second), "clock of this machine: is 30s behind Stytch's" + soon},
		"beyond the leeway":          {clock(-31 * time.Second), "clock of this machine: is 31s ahead of Stytch's" + refused},
		"two minutes":                {clock(2 * time.Minute), "clock of this machine: is 2m0s behind Stytch's" + refused},
		"a date in a cache":          {on(dated(stytchError(404, "user_not_found"), -years, "Age", "86400"), user), ""},
		"no date":                    {on(reply(404, `{"error_type":"user_not_found"}`, "Date", "canary"), user), ""},
		"another server's date":      {on(dated(reply(200, "canary"), -years), allOfStytch...), "BaseURL: what answers there is not Stytch's API (200): nobody can move; correct it, or let the proxy on the way through"},
		"a call of half a minute":    {all(long, on(late(dated(stytchError(404, "user_not_found"), 0), 30*time.Second), user)), ""},
		"the same, as far as may be": {all(long, on(late(dated(stytchError(404, "user_not_found"), 10*time.Second), 30*time.Second), user)), ""},
		"the same, and too far":      {all(long, on(late(dated(stytchError(404, "user_not_found"), 11*time.Second), 30*time.Second), user)), "clock of this machine: is 26s behind Stytch's" + soon},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, row.want, findings(t, row.change)) })
	}
}

// Each row is what Stytch made of a ticket for a stranger.
func TestDashboard(t *testing.T) {
	const (
		field   = "UserInfo URL in the Stytch dashboard: "
		missing = "): nobody can move; set it to where userinfo.Handler is mounted"
		unknown = field + "it can't be told whether Stytch reaches it ("
		again   = "): nobody can move if not; check again"
		taken   = "): sessions go to the wrong people; don't launch until the endpoint gives the identity in the ticket, and no other"
		noGood  = field + "Stytch got no good answer there to a good ticket (400 migrate_from_external_unexpected_response): nobody can move; see that userinfo.Handler is mounted there, is open to the internet, and has the keys of Tickets"
	)
	unexpected := on(stytchError(400, "migrate_from_external_unexpected_response"), exchange)
	for name, row := range map[string]struct {
		change change
		want   string
	}{
		"no user of that email":  {on(stytchError(404, "email_not_found"), exchange), ""},
		"no URL":                 {on(stytchError(400, "migrate_from_external_missing_userinfo"), exchange), field + "there is none, or it is no URL (400 migrate_from_external_missing_userinfo" + missing},
		"a URL that is none":     {on(stytchError(400, "invalid_userinfo_url"), exchange), field + "there is none, or it is no URL (400 invalid_userinfo_url" + missing},
		"a wrong URL":            {unexpected, noGood},
		"a user":                 {on(reply(200, `{"request_id":"r"}`), exchange), field + "Stytch took a ticket of nobody's for a user (200" + taken},
		"a user who is locked":   {on(stytchError(429, "user_lock_limit_reached"), exchange), field + "Stytch took a ticket of nobody's for a user (429 user_lock_limit_reached" + taken},
		"another server's 200":   {on(reply(200, "canary"), exchange), unknown + "200" + again},
		"another server's error": {on(reply(502, "canary"), exchange), unknown + "502" + again},
		"nothing":                {on(silent, exchange), unknown + "timed out" + again},
		"not so often":           {on(stytchError(429, "too_few_tokens_authenticated"), exchange), unknown + "429 too_few_tokens_authenticated" + again},
		"nothing, for Stytch is down": {all(on(stytchError(503, "server_unavailable"), user), on(silent, exchange)),
			"BaseURL: Stytch does not answer now (503 server_unavailable): it can't be told whether ProjectID and Secret are right; check again later"},
		"a wrong URL, and the endpoint is not reached from here": {all(unexpected, on(silent, allOfEndpoint...)),
			"UserInfoURL: can't be reached from here (timed out): it can't be told whether it is right; check the machine there, or leave the field empty if Stytch alone can reach it"},
		"a wrong URL, and there is none here": {all(unexpected, func(s *site) { s.cfg.UserInfoURL = "" }), noGood},
		"a wrong URL, and a private one here": {all(unexpected, func(s *site) {
			s.cfg.BaseURL, s.cfg.UserInfoURL = "https://test.stytch.com", "http://localhost/userinfo"
		}), private + "\n" + noGood},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, row.want, findings(t, row.change)) })
	}
}

// What gives accounts away comes first, and once.
func TestOrderOfFindings(t *testing.T) {
	identity := reply(200, `{"sub":"ada"}`, "Content-Type", "application/json")
	const wrong = "UserInfo URL in the Stytch dashboard: there is none, or it is no URL (400 invalid_userinfo_url): nobody can move; set it to where userinfo.Handler is mounted"
	insecure := func(c *check.Config) { c.Cookies.Domain = "127.0.0.1" }
	got := findings(t, all(on(identity, bare), on(stytchError(400, "invalid_userinfo_url"), exchange), clock(20*time.Second), func(s *site) { insecure(&s.cfg) }, failing))
	assert.Equal(t, strings.Join([]string{
		leak("without a token"),
		"clock of this machine: is 20s behind Stytch's: from 30s on, session JWTs are refused; set it, by NTP",
		wrong,
		"Store: Get failed (*errors.errorString)" + apart,
		`Cookies: Domain "127.0.0.1": is an address, for which not every browser keeps a cookie; leave Domain empty`,
	}, "\n"), got)
	assert.Equal(t, leak("without a token"), findings(t, all(on(identity, allOfEndpoint...), on(reply(200, `{"request_id":"r"}`), exchange))))
}
