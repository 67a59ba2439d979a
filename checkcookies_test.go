package stytchmigrate_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

type (
	scope  = stytchmigrate.CookieScope
	config = stytchmigrate.Config
)

func domain(d string) func(*config) { return func(c *config) { c.Cookies.Domain = d } }

// scoped is an old cookie in some scopes, beside new ones in one.
func scoped(ours scope, theirs ...scope) func(*config) {
	return func(c *config) {
		c.Cookies.Domain, c.Cookies.Path, c.Legacy[0].Scopes = ours.Domain, ours.Path, theirs
	}
}

// prefixed is an old cookie of that name, over plain HTTP or not.
func prefixed(name string, insecure bool) func(*config) {
	return func(c *config) { c.Legacy[0].Name, c.Cookies.Insecure = name, insecure }
}

// checkWith checks a launch whose cookies are as change says.
func checkWith(t *testing.T, change func(*config)) (said string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		l := newLaunch(t, stytchtest.Config{ProjectID: "project-test-1"})
		change(&l.cfg)
		said = l.check(t)
	})
	return said
}

// Each row is a setting of cookies that browsers would not go along with, and
// all that Check says of it.
func TestCheckOfCookies(t *testing.T) {
	const (
		address = ": is an address, for which not every browser keeps a cookie; leave Domain empty"
		stays   = " may expire a cookie there, and it stays; take the scope out, or correct one of the two"
		nobody  = ": no request that brings the cookie may be answered with the new ones, and nobody moves; set Cookies.Path to one that holds both"
		plain   = " is expired over HTTPS only, and Cookies.Insecure is for plain HTTP: it would stay; serve HTTPS, and leave Insecure out"
		room    = " leave no room for the JWT's cookie in a response, and requests wait for Stytch; name fewer scopes, and shorter"
	)
	for name, row := range map[string]struct {
		change func(*config)
		want   string
	}{
		"an address":                {domain("127.0.0.1"), `Cookies: Domain "127.0.0.1"` + address},
		"an old scope's address":    {func(c *config) { c.Cookies.OldScopes = []scope{{Domain: "127.0.0.1"}} }, `Cookies.OldScopes[0]: Domain "127.0.0.1"` + address},
		"a legacy scope's address":  {scoped(scope{}, scope{}, scope{Domain: "127.0.0.1"}), `Legacy[0].Scopes[1]: Domain "127.0.0.1"` + address},
		"another site":              {scoped(scope{Domain: "example.com"}, scope{Domain: "example.org"}), `Legacy[0].Scopes[0]: Domain "example.org": no page in Cookies.Domain "example.com"` + stays},
		"a name that ends alike":    {scoped(scope{Domain: "example.com"}, scope{Domain: "anexample.com"}), `Legacy[0].Scopes[0]: Domain "anexample.com": no page in Cookies.Domain "example.com"` + stays},
		"a sibling":                 {scoped(scope{Domain: ".app.example.com"}, scope{Domain: "www.example.com"}), `Legacy[0].Scopes[0]: Domain "www.example.com": no page in Cookies.Domain ".app.example.com"` + stays},
		"an old scope elsewhere":    {oldScope("example.com", "example.org"), `Cookies.OldScopes[0]: Domain "example.org": no page in Cookies.Domain "example.com"` + stays},
		"a path beside":             {scoped(scope{Path: "/app"}, scope{Path: "/old"}), `Legacy[0].Scopes: no Path is in Cookies.Path "/app", or above it` + nobody},
		"a path that begins alike":  {scoped(scope{Path: "/app"}, scope{Path: "/apple"}), `Legacy[0].Scopes: no Path is in Cookies.Path "/app", or above it` + nobody},
		"a secure name, plain HTTP": {prefixed("__Secure-sid", true), `Legacy[0]: cookie "__Secure-sid"` + plain},
		"a host name, plain HTTP":   {prefixed("__host-sid", true), `Legacy[0]: cookie "__host-sid"` + plain},
		"a further name, likewise": {func(c *config) {
			c.Legacy[0].Also, c.Cookies.Insecure = []string{"__Secure-cart"}, true
		}, `Legacy[0]: cookie "__Secure-cart"` + plain},
		"a long name":     {func(c *config) { c.Cookies.JWTName = strings.Repeat("n", 2500) }, "Cookies: the names and OldScopes" + room},
		"a lot of scopes": {func(c *config) { c.Legacy[0].Scopes = make([]scope, 30) }, "Legacy[0]: its names and Scopes, with Cookies.OldScopes," + room},
		"a lot of old ones": {func(c *config) {
			for i := range 30 {
				c.Cookies.OldScopes = append(c.Cookies.OldScopes, scope{Path: "/" + strings.Repeat("p", i+1)})
			}
		}, "Cookies: the names and OldScopes" + room},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, row.want, checkWith(t, row.change)) })
	}
}

func oldScope(ours, old string) func(*config) {
	return func(c *config) { c.Cookies.Domain, c.Cookies.OldScopes = ours, []scope{{Domain: old}} }
}

func TestCheckOfInsecureLiveProject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLaunch(t, stytchtest.Config{ProjectID: "project-live-1"})
		assert.Empty(t, l.check(t))
		l.cfg.Cookies.Insecure = true
		assert.Equal(t, "Cookies.Insecure: ProjectID is a live project's, whose sessions would be sent over plain HTTP too; serve HTTPS, and leave it out", l.check(t))
	})
}

// Each row is a setting that somebody may well have, and Check has nothing to say.
func TestCheckIsSilent(t *testing.T) {
	for name, change := range map[string]func(*config){
		"nothing set":                   func(*config) {},
		"a domain":                      domain("example.com"),
		"a domain with a dot":           domain(".example.com"),
		"a domain of a country":         domain("example.co.uk"),
		"a public suffix, unknown here": domain("co.uk"),
		"a subdomain":                   domain("app.example.com"),
		"development":                   func(c *config) { c.Cookies.Insecure = true },
		"the domain above":              scoped(scope{Domain: "app.example.com"}, scope{Domain: "example.com"}),
		"the domain below":              scoped(scope{Domain: "example.com"}, scope{Domain: ".App.example.com"}),
		"host-only before":              scoped(scope{Domain: "example.com"}, scope{}),
		"host-only now":                 scoped(scope{}, scope{Domain: "example.com"}, scope{Domain: "example.org"}),
		"both, before":                  scoped(scope{Domain: "example.com"}, scope{}, scope{Domain: "example.com"}, scope{Domain: "www.example.com"}),
		"an old scope of the SDK": func(c *config) {
			c.Cookies.Domain, c.Cookies.OldScopes = "example.com", []scope{{}, {Domain: "app.example.com"}}
		},
		"a path above":                 scoped(scope{Path: "/app"}, scope{Path: "/"}),
		"a path below":                 scoped(scope{Path: "/app"}, scope{Path: "/app/admin"}),
		"a path with a slash":          scoped(scope{Path: "/app"}, scope{Path: "/app/"}),
		"a path beside, and one above": scoped(scope{Path: "/app"}, scope{Path: "/old"}, scope{}),
		"a new path":                   scoped(scope{Path: "/app"}),
		"a host name":                  prefixed("__Host-sid", false),
		"a secure name":                prefixed("__Secure-sid", false),
		"a host name among others": func(c *config) {
			c.Legacy[0].Also, c.Legacy[0].Scopes = []string{"__Host-csrf"}, []scope{{Domain: "example.com"}, {}}
		},
		"two cookies, three scopes, two old ones": func(c *config) {
			c.Cookies.Domain, c.Cookies.OldScopes = "example.com", []scope{{}, {Path: "/app"}}
			c.Legacy[0].Also, c.Legacy[0].Scopes = []string{"remember_user_token"}, []scope{{}, {Domain: "example.com"}, {Domain: "www.example.com", Path: "/app"}}
		},
		"nobody left to move": func(c *config) { c.Legacy, c.Tickets, c.UserInfoURL = nil, nil, "" },
		"UserInfo by query":   func(c *config) { c.UserInfoURL += "?for=stytch" },
		"no UserInfo URL":     func(c *config) { c.UserInfoURL = "" },
		"own tokens":          func(c *config) { c.Tickets = nil },
	} {
		t.Run(name, func(t *testing.T) { assert.Empty(t, checkWith(t, change)) })
	}
}

// Each row is a UserInfo URL, and whether it is one that Stytch can reach.
func TestCheckOfPrivateUserInfoURL(t *testing.T) {
	const private = "UserInfoURL: is an address that only this network knows: Stytch can't reach it, and nobody can move; give the endpoint a public name"
	for url, row := range map[string]struct{ base, want string }{
		"https://app.example.com/userinfo":      {"https://test.stytch.com", ""},
		"https://8.8.8.8/userinfo":              {"https://test.stytch.com", ""},
		"http://localhost:8080/userinfo":        {"https://test.stytch.com", private},
		"http://127.0.0.1/userinfo":             {"", private},
		"https://10.1.2.3/userinfo":             {"https://slug.customers.stytch.dev", private},
		"https://[fd00::1]/userinfo":            {"https://test.stytch.com", private},
		"https://169.254.1.2/userinfo":          {"https://test.stytch.com", private},
		"https://0.0.0.0/userinfo":              {"https://test.stytch.com", private},
		"https://app/userinfo":                  {"https://test.stytch.com", private},
		"https://app.corp.internal/userinfo":    {"https://test.stytch.com", private},
		"http://[::1]:8080/userinfo":            {"http://[::1]:9090", ""},
		"https://192.168.0.7/userinfo":          {"https://stytch.invalid", ""},
		"https://internal.example.com/userinfo": {"https://test.stytch.com", ""},
	} {
		t.Run(url, func(t *testing.T) {
			assert.Equal(t, row.want, checkWith(t, func(c *config) { c.UserInfoURL, c.BaseURL = url, row.base }))
		})
	}
}
