package check_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/check"
	"example.com/stytchmigrate/internal/cookies"
)

type (
	config = check.Config
	scope  = cookies.Scope
)

func domain(d string) func(*config) { return func(c *config) { c.Cookies.Domain = d } }

// scoped is a legacy cookie in some scopes, beside Stytch cookies in one.
func scoped(ours scope, theirs ...scope) func(*config) {
	return func(c *config) { c.Cookies.Domain, c.Cookies.Path, c.Legacy[0].Scopes = ours.Domain, ours.Path, theirs }
}

func oldScope(ours, old string) func(*config) {
	return func(c *config) { c.Cookies.Domain, c.Cookies.OldScopes = ours, []scope{{Domain: old}} }
}

// prefixed is a legacy cookie of that name, over plain HTTP or not.
func prefixed(name string, insecure bool) func(*config) {
	return func(c *config) { c.Legacy[0].Name, c.Cookies.Insecure = name, insecure }
}

func findingsWith(t *testing.T, f func(*config)) string {
	t.Helper()
	return findings(t, func(s *site) {
		if f(&s.cfg); s.cfg.Cookies.Path == "" {
			s.cfg.Cookies.Path = "/" // New's default
		}
	})
}

// Each row is a setting of cookies that browsers would not go along with, and all
// that is found then.
func TestCookies(t *testing.T) {
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
		"an HTTP name, plain HTTP":  {prefixed("__Http-sid", true), `Legacy[0]: cookie "__Http-sid"` + plain},
		"both, plain HTTP":          {prefixed("__Host-Http-sid", true), `Legacy[0]: cookie "__Host-Http-sid"` + plain},
		"a further name, likewise":  {func(c *config) { c.Legacy[0].Also, c.Cookies.Insecure = []string{"__Secure-cart"}, true }, `Legacy[0]: cookie "__Secure-cart"` + plain},
		"plain HTTP, live":          {func(c *config) { c.ProjectID, c.Cookies.Insecure = "project-live-1", true }, "Cookies.Insecure: ProjectID is a live project's, whose sessions would be sent over plain HTTP too; serve HTTPS, and leave it out"},
		"a long name":               {func(c *config) { c.Cookies.JWTName = strings.Repeat("n", 2500) }, "Cookies: the names and OldScopes" + room},
		"a lot of scopes":           {func(c *config) { c.Legacy[0].Scopes = make([]scope, 30) }, "Legacy[0]: its names and Scopes, with Cookies.OldScopes," + room},
		"a lot of old ones": {func(c *config) {
			for i := range 30 {
				c.Cookies.OldScopes = append(c.Cookies.OldScopes, scope{Path: "/" + strings.Repeat("p", i+1)})
			}
		}, "Cookies: the names and OldScopes" + room},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, row.want, findingsWith(t, row.change)) })
	}
}

// Each row is a setting that an application may well have, and nothing is found.
func TestCookiesThatAreRight(t *testing.T) {
	for name, change := range map[string]func(*config){
		"nothing set":           func(*config) {},
		"a live project":        func(c *config) { c.ProjectID = "project-live-1" },
		"development":           func(c *config) { c.Cookies.Insecure = true },
		"a domain":              domain("example.com"),
		"a domain with a dot":   domain(".example.com"),
		"a domain of a country": domain("example.co.uk"),
		"a subdomain":           domain("app.example.com"),
		"a public suffix":       domain("co.uk"), // only browsers have the list
		"the domain above":      scoped(scope{Domain: "app.example.com"}, scope{Domain: "example.com"}),
		"the domain below":      scoped(scope{Domain: "example.com"}, scope{Domain: ".App.example.com"}),
		"host-only before":      scoped(scope{Domain: "example.com"}, scope{}),
		"host-only now":         scoped(scope{}, scope{Domain: "example.com"}, scope{Domain: "example.org"}),
		"both, before":          scoped(scope{Domain: "example.com"}, scope{}, scope{Domain: "example.com"}, scope{Domain: "www.example.com"}),
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
		"no legacy":         func(c *config) { c.Legacy, c.Mint, c.UserInfoURL = nil, nil, "" },
		"UserInfo by query": func(c *config) { c.UserInfoURL += "&for=stytch" },
		"no UserInfo URL":   func(c *config) { c.UserInfoURL = "" },
		"own tokens":        func(c *config) { c.Mint = nil },
	} {
		t.Run(name, func(t *testing.T) { assert.Empty(t, findingsWith(t, change)) })
	}
}
