package check_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const private = "UserInfoURL: is an address that only this network knows: Stytch can't reach it, and nobody can move; give the endpoint a public name"

func leak(how string) string {
	return "UserInfoURL: answers 200 to a request " + how + ": whoever asks for it may be given anybody's account; don't launch until userinfo.Handler alone answers there"
}

// unreached is what Stytch says of an endpoint that gives no good answer to it either.
var unreached = on(stytchError(400, "migrate_from_external_unexpected_response"), exchange)

func endpoint(a answer) change { return all(on(a, allOfEndpoint...), unreached) }

// Each row is what answers at UserInfoURL in the endpoint's place, and all that is
// found then.
func TestEndpoint(t *testing.T) {
	const (
		moving  = "users do move, for Stytch got through by the URL in its dashboard; correct this field, or "
		page    = "), as behind a login or the middleware: nobody can move; mount userinfo.Handler outside of both"
		mount   = "mount userinfo.Handler at that path"
		log     = "): nobody can move; see the log of the machine there"
		stopped = "something in front of userinfo.Handler stops Stytch too; let all requests for that path through"
		reach   = ": it can't be told whether it is right; check the machine there, or leave the field empty if Stytch alone can reach it"
	)
	identity := `{"sub":"ada","email":"ada@example.com","email_verified":true}`
	for name, row := range map[string]struct {
		change change
		want   string
	}{
		"a page":                  {endpoint(reply(200, "canary", "Content-Type", "text/html; charset=utf-8")), "UserInfoURL: answers with a redirect or a page (200" + page},
		"a redirect":              {endpoint(reply(302, "", "Location", "/login?canary")), "UserInfoURL: answers with a redirect or a page (302" + page},
		"the first redirect":      {endpoint(reply(300, "")), "UserInfoURL: answers with a redirect or a page (300" + page},
		"the last redirect":       {endpoint(reply(399, "")), "UserInfoURL: answers with a redirect or a page (399" + page},
		"a password":              {endpoint(reply(401, "", "WWW-Authenticate", `Basic realm="canary"`)), "UserInfoURL: answers with a redirect or a page (401" + page},
		"RequireUser":             {endpoint(reply(401, "", "WWW-Authenticate", `Cookie cookie-name="stytch_session"`)), "UserInfoURL: answers with a redirect or a page (401" + page},
		"nothing":                 {endpoint(reply(404, "")), "UserInfoURL: nothing is mounted there (404): nobody can move; " + mount},
		"another method":          {endpoint(reply(405, "")), "UserInfoURL: nothing is mounted there (405): nobody can move; " + mount},
		"nothing any more":        {endpoint(reply(410, "")), "UserInfoURL: nothing is mounted there (410): nobody can move; " + mount},
		"not the dashboard's URL": {on(reply(404, ""), allOfEndpoint...), "UserInfoURL: nothing is mounted there (404): " + moving + mount},
		"a failure":               {endpoint(reply(502, "")), "UserInfoURL: the endpoint fails (502" + log},
		"too many requests":       {endpoint(reply(429, "")), "UserInfoURL: the endpoint fails (429" + log},
		"a firewall":              {endpoint(reply(403, "")), "UserInfoURL: answers 403 in place of 401 to a request without a token: " + stopped},
		"a firewall for tokens":   {all(on(reply(403, ""), madeUp, ticketed), unreached), "UserInfoURL: answers 403 in place of 401 to a request with a made-up token: " + stopped},
		"a 200 without a body":    {endpoint(reply(200, "")), "UserInfoURL: answers 200 in place of 401 to a request without a token: " + stopped},
		"silence":                 {endpoint(silent), "UserInfoURL: can't be reached from here (timed out)" + reach},
		"silence for one":         {on(silent, madeUp), "UserInfoURL: can't be reached from here (timed out)" + reach},
		"a failure for a ticket":  {all(on(reply(500, ""), ticketed), unreached), "UserInfoURL: the endpoint fails (500" + log},
		"a 401 without challenge": {on(reply(401, ""), bare, madeUp), ""},

		"an identity":              {endpoint(reply(200, identity, "Content-Type", "application/json")), leak("without a token")},
		"an identity for a token":  {all(on(reply(404, ""), bare), on(reply(200, identity, "Content-Type", "text/html"), madeUp, ticketed), unreached), leak("with a made-up token")},
		"a subject":                {endpoint(reply(200, `{"sub":"ada"}`)), leak("without a token")},
		"an email":                 {endpoint(reply(200, `{"email":"ada@example.com"}`)), leak("without a token")},
		"JSON that is unreadable":  {endpoint(reply(200, `{"sub":`, "Content-Type", "application/json")), leak("without a token")},
		"JSON without identity":    {on(reply(200, `{}`, "Content-Type", "application/json"), bare), "UserInfoURL: answers 200 in place of 401 to a request without a token: " + stopped},
		"an identity, but not 200": {endpoint(reply(404, identity)), "UserInfoURL: nothing is mounted there (404): nobody can move; " + mount},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, row.want, findings(t, row.change)) })
	}
}

// edited is the answer to a ticket, edited on its way.
func edited(edit func(body string) string, header ...string) change {
	return func(s *site) { unreached(s); s.answers[ticketed] = s.identity(edit, header...) }
}

func replaced(old, by string) change {
	return edited(func(body string) string { return strings.Replace(body, old, by, 1) })
}

func headed(header ...string) change {
	return edited(func(body string) string { return body }, header...)
}

// Each row is the answer to a good ticket, and all that is found then.
func TestTicket(t *testing.T) {
	const (
		stripped  = "UserInfoURL: answers a good ticket as if no token came with it (401 without an error code): the Authorization header does not reach userinfo.Handler: nobody can move; let the proxy in front pass that header on"
		unusable  = ": nobody can move; serve userinfo.Handler there, and let no proxy change its answers"
		reached   = ": users do move, for Stytch got through by the URL in its dashboard; correct this field, or serve userinfo.Handler there, and let no proxy change its answers"
		wrongOnes = "UserInfoURL: answers a ticket with another identity than is in it: sessions go to the wrong people; don't launch until userinfo.Handler alone answers there"
		cached    = "UserInfoURL: may be kept by a cache on the way, for want of Cache-Control: no-store: who comes later is taken for somebody else; let no proxy change the answer's headers"
	)
	pad := func(n int) func(string) string {
		return func(body string) string { return body + strings.Repeat(" ", n-len(body)) }
	}
	for name, row := range map[string]struct {
		change change
		want   string
	}{
		"other keys":                    {all(on(reply(401, "", "WWW-Authenticate", `Bearer error="invalid_token"`), ticketed), unreached), "UserInfoURL: refuses a good ticket (401): the machine there has other keys than Tickets here, or another time: nobody can move; give all machines the same keys"},
		"other keys, and a realm":       {all(on(reply(401, "", "WWW-Authenticate", "Basic", "WWW-Authenticate", `bearer realm="x", Error="invalid_token"`), ticketed), unreached), "UserInfoURL: refuses a good ticket (401): the machine there has other keys than Tickets here, or another time: nobody can move; give all machines the same keys"},
		"no Authorization":              {all(on(reply(401, "", "WWW-Authenticate", "Bearer"), allOfEndpoint...), unreached), stripped},
		"no Authorization, and a realm": {all(on(reply(401, "", "WWW-Authenticate", `Bearer realm="x"`), allOfEndpoint...), unreached), stripped},
		"a firewall":                    {all(on(reply(403, ""), ticketed), unreached), "UserInfoURL: answers 403 in place of 200 to a good ticket: nobody can move; let all requests for that path through to userinfo.Handler"},
		"another user":                  {replaced(`"sub":"stytchmigrate-check`, `"sub":"canary`), wrongOnes},
		"another email":                 {replaced(`"email":"stytchmigrate-check`, `"email":"canary`), wrongOnes},
		"not verified":                  {replaced("true", "false"), "UserInfoURL: answers a good ticket, but email_verified is not true" + unusable},
		"verified, in text":             {replaced("true", `"true"`), "UserInfoURL: answers a good ticket, but email_verified is not true or false" + unusable},
		"no email":                      {replaced(`"email"`, `"mail"`), "UserInfoURL: answers a good ticket, but email is missing" + unusable},
		"no JSON":                       {replaced("{", ""), "UserInfoURL: answers a good ticket, but body is not one JSON value" + unusable},
		"as much as may be":             {edited(pad(1 << 20)), ""},
		"far too much":                  {edited(pad(1<<20 + 1)), "UserInfoURL: answers a good ticket, but its body is longer than 1 MiB" + unusable},
		"half an answer":                {func(s *site) { s.answers[ticketed] = brokenOff(s.answers[ticketed]) }, "UserInfoURL: answers a good ticket, but its body breaks off" + reached},
		"text":                          {headed("Content-Type", "", "Content-Type", "text/plain"), "UserInfoURL: answers a good ticket, but its content type is not application/json" + unusable},
		"with a charset":                {headed("Content-Type", "", "Content-Type", "application/json; charset=utf-8"), ""},
		"a cache":                       {headed("Cache-Control", "", "Cache-Control", "max-age=60, no-stores"), cached},
		"no cache control":              {headed("Cache-Control", ""), cached},
		"a second line":                 {headed("Cache-Control", "", "Cache-Control", "private", "Cache-Control", "no-store"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			want := row.want
			if want == "" || want == cached {
				row.change = all(row.change, on(stytchError(404, "user_not_found"), exchange))
			}
			assert.Equal(t, want, findings(t, row.change))
		})
	}
}

// Each row is a UserInfo URL, and whether Stytch can reach it.
func TestPrivateUserInfoURL(t *testing.T) {
	const public = ""
	for url, row := range map[string]struct{ base, want string }{
		"https://app.example.com/userinfo":      {"https://test.stytch.com", public},
		"https://8.8.8.8/userinfo":              {"https://test.stytch.com", public},
		"https://internal.example.com/userinfo": {"https://test.stytch.com", public},
		"http://localhost:8080/userinfo":        {"https://test.stytch.com", private},
		"http://127.0.0.1/userinfo":             {"https://test.stytch.com", private},
		"https://10.1.2.3/userinfo":             {"https://slug.customers.stytch.dev", private},
		"https://[fd00::1]/userinfo":            {"https://test.stytch.com", private},
		"https://169.254.1.2/userinfo":          {"https://test.stytch.com", private},
		"https://0.0.0.0/userinfo":              {"https://test.stytch.com", private},
		"https://app/userinfo":                  {"https://test.stytch.com", private},
		"https://app.corp.internal/userinfo":    {"https://test.stytch.com", private},
		"https://app.corp.Internal./userinfo":   {"https://test.stytch.com", private},
		"http://[::1]:8080/userinfo":            {"http://[::1]:9090", public},
		"https://192.168.0.7/userinfo":          {"https://stytch.invalid", public},
	} {
		t.Run(url, func(t *testing.T) {
			assert.Equal(t, row.want, findings(t, func(s *site) { s.cfg.UserInfoURL, s.cfg.BaseURL = url, row.base }))
		})
	}
	assert.Empty(t, findings(t, func(s *site) {
		s.cfg.BaseURL, s.cfg.UserInfoURL, s.cfg.Legacy = "https://test.stytch.com", "https://app/userinfo", nil
	}), "without legacy cookies the endpoint does not matter")
}
