package stytchmigrate

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"example.com/stytchmigrate/internal/browser"
	"example.com/stytchmigrate/internal/safe"
	"example.com/stytchmigrate/userinfo"
)

const (
	defaultDuration = 30 * 24 * time.Hour
	minDuration     = 5 * time.Minute
	maxDuration     = 366 * 24 * time.Hour
	defaultTimeout  = 5 * time.Second
	maxTimeout      = time.Hour
)

// Config tells [New] about the project, the old cookies and the new ones.
// ProjectID and Secret are required; Legacy too, until the migration is over.
// Every other field may be left out.
//
// Functions of a Config are called by several requests at once, each in the
// goroutine of a request, and never while a lock is held. Off requests, in
// goroutines of their own: OnEvent for what concerns no single request (kinds
// revocation, jwks, store, brake, breaker and paused, and shadow and mismatch in StageShadow),
// and the methods of Store.
type Config struct {
	ProjectID string // project-live-… or project-test-…
	Secret    Secret // the project's secret

	// BaseURL is where Stytch's API is, by default https://api.stytch.com for a
	// live project and https://test.stytch.com for a test project. Set it to a
	// custom domain of the project. http:// is for loopback only.
	BaseURL string

	// HTTPClient gives the transport for the calls to Stytch: tracing, a proxy.
	// It is used as it is; http.DefaultTransport below it keeps two connections
	// idle, and the middleware's own 32. The other fields are not used.
	HTTPClient *http.Client

	// Legacy are the cookies of the old sessions. They are tried in order, and
	// the first with a session decides. Leave it empty once the migration is over.
	Legacy []LegacyCookie

	// SessionDuration is how long a Stytch session lives, from 5 minutes to 366
	// days; default 30 days. Sessions in use, those that Stytch's own login made
	// too, are extended by it once less than half of it is left, unless FixedExpiry
	// is set.
	SessionDuration time.Duration
	FixedExpiry     bool

	// CreateUsers makes a user at Stytch (POST /v1/users) for a legacy session whose
	// Identity Stytch finds no user for, and exchanges it then: Email, the names,
	// and Subject as external_id, where Stytch has a form for it (128 letters, digits
	// or ._-| at most). By default such a session is refused, for the rest of a
	// minute without a call; import the users beforehand. Without Identity nobody is
	// created.
	CreateUsers bool

	// SessionClaims returns custom claims for a new Stytch session: 4 KB at most,
	// and none of the registered names of RFC 7519 or of Stytch's own. It sees the
	// legacy session alone, for parallel requests share one exchange.
	SessionClaims func(LegacySession) map[string]any

	// TelemetryID returns Stytch's telemetry_id of the request that starts an
	// exchange, or "".
	TelemetryID func(*http.Request) string

	// Tickets mints the token that Stytch is given where a LegacySession has an
	// Identity and no Token. Mount userinfo.Handler(tickets.Redeem) where the
	// Stytch dashboard's UserInfo URL points to.
	Tickets *userinfo.Tickets

	// UserInfoURL is the UserInfo URL as it stands in the Stytch dashboard. Only
	// [Middleware.Check] uses it: it asks there, through HTTPClient's transport,
	// with a ticket of nobody's and without the project's secret. Leave it empty
	// where this machine can't reach it. http:// is for loopback only.
	UserInfoURL string

	// RecordKey, 32 bytes or more, keys what is remembered of legacy sessions.
	// By default it is derived from Secret; rotating that forgets who logged out.
	RecordKey Secret

	// Cookies say how the Stytch cookies are written.
	Cookies CookieOptions

	// Timeout is how long a request waits for Stytch, all calls together;
	// default 5 s, an hour at most. A call that takes longer goes on for the requests
	// to come, for three times as long; so with more than 20 s it may outlive its ticket.
	Timeout time.Duration

	// Skip excludes a request, which is then passed on untouched.
	Skip func(*http.Request) bool

	// Rollout says which legacy sessions move, and how. The zero value moves them
	// all. [Middleware.SetRollout] changes it at run time.
	Rollout Rollout

	// Store is the memory that machines share; see [Store]. By default each
	// process remembers for itself: a legacy session that several machines meet at
	// the same time becomes a Stytch session on each.
	Store Store

	// Deny answers in place of a handler that RequireUser guards. By default it
	// is 401, or 503 with Retry-After where the outcome is Unavailable.
	Deny http.Handler

	// OnEvent is called once for each request, before its handler, and as
	// Event.Kind says.
	OnEvent func(context.Context, Event)

	// Logger is where failed calls and wrong settings are logged; default
	// slog.Default(). Anonymous and signed-in requests log nothing.
	Logger *slog.Logger
}

// complete fills in the defaults and reports everything that is wrong.
func (c *Config) complete() error {
	c.Legacy = slices.Clone(c.Legacy)
	for i := range c.Legacy {
		l := &c.Legacy[i]
		l.Also, l.Scopes = slices.Clone(l.Also), slices.Clone(l.Scopes)
	}
	c.Cookies.OldScopes = slices.Clone(c.Cookies.OldScopes)
	c.SessionDuration = orDefault(c.SessionDuration, defaultDuration)
	c.Timeout = orDefault(c.Timeout, defaultTimeout)
	c.Cookies.SessionName = orDefault(c.Cookies.SessionName, "stytch_session")
	c.Cookies.JWTName = orDefault(c.Cookies.JWTName, "stytch_session_jwt")
	c.Cookies.Path = orDefault(c.Cookies.Path, "/")
	c.Cookies.SameSite = orDefault(c.Cookies.SameSite, http.SameSiteLaxMode)
	c.Logger = orDefault(c.Logger, slog.Default())

	var p problems
	c.checkProject(&p)
	c.checkUserInfoURL(&p)
	p.add(c.SessionDuration < minDuration || c.SessionDuration > maxDuration, "SessionDuration %v: must be from 5 minutes to 366 days", c.SessionDuration)
	p.add(c.Timeout < 0 || c.Timeout > maxTimeout, "Timeout %v: must be from 0 to 1 hour", c.Timeout)
	p.add(c.RecordKey != "" && len(c.RecordKey) < 32, "RecordKey: must be 32 bytes or more")
	c.checkCookies(&p)
	c.checkLegacy(&p)
	c.Rollout.check(&p)
	if err := errors.Join(p...); err != nil {
		return err
	}
	if c.RecordKey == "" {
		key, err := hkdf.Key(sha256.New, []byte(c.Secret), []byte(c.ProjectID), "stytchmigrate record key", 32)
		if err != nil {
			return fmt.Errorf("stytchmigrate: RecordKey: %w", err)
		}
		c.RecordKey = Secret(key)
	}
	return nil
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// problems collects what is wrong, so that it is mended in one go.
type problems []error

func (p *problems) add(wrong bool, format string, args ...any) {
	if wrong {
		*p = append(*p, fmt.Errorf("stytchmigrate: "+format, args...))
	}
}

// checkProject echoes neither field: somebody may have confused the two.
func (c *Config) checkProject(p *problems) {
	id, live := strings.CutPrefix(c.ProjectID, "project-live-")
	test := false
	if !live {
		id, test = strings.CutPrefix(id, "project-test-")
	}
	p.add(!live && !test || safe.Only(id, "-", 100) == "", "ProjectID: must be project-live- or project-test- and an id")
	p.add(c.Secret == "", "Secret: must not be empty")
	p.add(strings.ContainsFunc(string(c.Secret), isSpaceOrControl), "Secret: must not hold spaces or line breaks")
	p.add(live && strings.HasPrefix(string(c.Secret), "secret-test-"), "Secret: is a test project's, ProjectID is a live project's")
	p.add(test && strings.HasPrefix(string(c.Secret), "secret-live-"), "Secret: is a live project's, ProjectID is a test project's")
	if c.BaseURL == "" {
		c.BaseURL = "https://test.stytch.com"
		if live {
			c.BaseURL = "https://api.stytch.com"
		}
	}
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		p.add(true, "BaseURL: must be https://host")
		return
	}
	p.add(live && strings.EqualFold(u.Hostname(), "test.stytch.com"), "BaseURL: is for test projects, ProjectID is a live project's")
	p.add(test && strings.EqualFold(u.Hostname(), "api.stytch.com"), "BaseURL: is for live projects, ProjectID is a test project's")
	c.checkURL(p, u)
}

// checkURL does not echo a URL that may hold a password.
func (c *Config) checkURL(p *problems, u *url.URL) {
	p.add(u.User != nil, "BaseURL: must not hold a user name or password")
	p.add(u.RawQuery != "" || u.ForceQuery || strings.Contains(c.BaseURL, "#"), "BaseURL: must not hold a query or fragment")
	p.add(u.Scheme == "http" && !isLoopback(u.Hostname()), "BaseURL: http:// sends the project's secret in the clear; use https://")
}

// checkUserInfoURL echoes nothing either: a query may hold a key.
func (c *Config) checkUserInfoURL(p *problems) {
	if c.UserInfoURL == "" {
		return
	}
	u, err := url.Parse(c.UserInfoURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		p.add(true, "UserInfoURL: must be https://host/path")
		return
	}
	p.add(u.User != nil, "UserInfoURL: must not hold a user name or password")
	p.add(strings.Contains(c.UserInfoURL, "#"), "UserInfoURL: must not hold a fragment")
	p.add(u.Scheme == "http" && !isLoopback(u.Hostname()), "UserInfoURL: http:// sends users' tokens in the clear; use https://")
}

func isSpaceOrControl(c rune) bool { return c <= ' ' || c == 0x7f }

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *Config) checkCookies(p *problems) {
	o := &c.Cookies
	for _, f := range []struct{ field, name string }{{"Cookies.SessionName", o.SessionName}, {"Cookies.JWTName", o.JWTName}} {
		checkName(p, f.field, f.name)
		p.add(browser.HasPrefixFold(f.name, "__Host-") && (o.Domain != "" || o.Path != "/"), "%s %q: a __Host- cookie has no Domain, and Path=/", f.field, f.name)
		secure := browser.HasPrefixFold(f.name, "__Host-") || browser.HasPrefixFold(f.name, "__Secure-")
		p.add(secure && o.Insecure, "%s %q: a browser refuses this name with Cookies.Insecure", f.field, f.name)
	}
	p.add(o.SessionName == o.JWTName, "Cookies.JWTName %q: must differ from Cookies.SessionName", o.JWTName)
	p.add(o.SameSite == http.SameSiteNoneMode && o.Insecure, "Cookies.SameSite: a browser refuses None with Cookies.Insecure")
	p.add(o.SameSite < http.SameSiteDefaultMode || o.SameSite > http.SameSiteNoneMode, "Cookies.SameSite %d: unknown", o.SameSite)
	checkScope(p, "Cookies", CookieScope{o.Domain, o.Path})
	for i, s := range o.OldScopes {
		checkScope(p, fmt.Sprintf("Cookies.OldScopes[%d]", i), s)
		p.add(s.normal() == (CookieScope{o.Domain, o.Path}).normal(), "Cookies.OldScopes[%d]: is the scope in use", i)
	}
}

func (c *Config) checkLegacy(p *problems) {
	for i := range c.Legacy {
		l := &c.Legacy[i]
		field := fmt.Sprintf("Legacy[%d]", i)
		at := field + ".Name"
		for j, name := range l.names() {
			if j > 0 {
				at = fmt.Sprintf("%s.Also[%d]", field, j-1)
			}
			checkName(p, at, name)
			p.add(name == c.Cookies.SessionName || name == c.Cookies.JWTName, "%s %q: is a Stytch cookie's name", at, name)
		}
		p.add(l.Resolve == nil, "%s.Resolve: must not be nil", field)
		for _, w := range l.wrong {
			p.add(true, "%s: %s", field, w)
		}
		for j, s := range l.Scopes {
			checkScope(p, fmt.Sprintf("%s.Scopes[%d]", field, j), s)
		}
	}
}

// checkName wants a token, as RFC 6265 section 4.1.1 does.
func checkName(p *problems, field, name string) {
	p.add((&http.Cookie{Name: name, Value: "v"}).Valid() != nil, "%s %q: is no cookie name", field, name)
}

func checkScope(p *problems, field string, s CookieScope) {
	p.add((&http.Cookie{Name: "n", Value: "v", Domain: s.Domain}).Valid() != nil, "%s: Domain %q is no domain", field, s.Domain)
	bare := strings.Trim(s.Domain, ".")
	known := (&http.Cookie{Name: "n", Value: "v", Domain: s.Domain}).Valid() == nil
	p.add(known && bare != "" && bare != "localhost" && !strings.Contains(bare, "."), "%s: Domain %q: browsers keep no cookie for a whole top-level domain", field, s.Domain)
	p.add(s.Path != "" && (s.Path[0] != '/' || (&http.Cookie{Name: "n", Value: "v", Path: s.Path}).Valid() != nil), "%s: Path %q is no path", field, s.Path)
}
