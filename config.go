package stytchmigrate

import (
	"cmp"
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

	"example.com/stytchmigrate/internal/cookies"
	"example.com/stytchmigrate/internal/redact"
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
	//
	// A transport of your own should set HTTP2.SendPingTimeout and HTTP2.PingTimeout,
	// to 4 and 3 seconds for example. A NAT may forget a connection without telling.
	// HTTP/2 sends all calls on one connection, so without pings all calls are lost
	// until the kernel gives up. For HTTP/1.1 set a short IdleConnTimeout.
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
	// minute without a call; import the users beforehand. Without Identity no user
	// is created.
	CreateUsers bool

	// SessionClaims returns custom claims for a new Stytch session: 120 claims
	// and 4 KB at most, and none of the registered names of RFC 7519 or of Stytch's own,
	// nor of legacy_session and until_browser_closes, which this package sets. It sees the
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
	c.SessionDuration = cmp.Or(c.SessionDuration, defaultDuration)
	c.Timeout = cmp.Or(c.Timeout, defaultTimeout)
	c.Cookies.SessionName = cmp.Or(c.Cookies.SessionName, "stytch_session")
	c.Cookies.JWTName = cmp.Or(c.Cookies.JWTName, "stytch_session_jwt")
	c.Cookies.Path = cmp.Or(c.Cookies.Path, "/")
	c.Cookies.SameSite = cmp.Or(c.Cookies.SameSite, http.SameSiteLaxMode)
	c.Logger = cmp.Or(c.Logger, slog.Default())

	var p redact.Problems
	c.checkProject(&p)
	c.checkUserInfoURL(&p)
	p.Add(c.SessionDuration < minDuration || c.SessionDuration > maxDuration, "SessionDuration %v: must be from 5 minutes to 366 days", c.SessionDuration)
	p.Add(c.Timeout < 0 || c.Timeout > maxTimeout, "Timeout %v: must be from 0 to 1 hour", c.Timeout)
	p.Add(c.RecordKey != "" && len(c.RecordKey) < 32, "RecordKey: must be 32 bytes or more")
	c.Cookies.check(&p)
	for i := range c.Legacy {
		c.Legacy[i].check(&p, fmt.Sprintf("Legacy[%d]", i), &c.Cookies)
	}
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

// extendBy is by how much sessions in use are extended; zero: not at all.
func (c *Config) extendBy() time.Duration {
	if c.FixedExpiry {
		return 0
	}
	return c.SessionDuration
}

// minter returns a function that mints tickets, or nil if Tickets is not set.
func (c *Config) minter() func(userinfo.Identity) (redact.Secret, error) {
	if c.Tickets == nil {
		return nil
	}
	mint := c.Tickets.Minter(c.ProjectID)
	return func(id userinfo.Identity) (redact.Secret, error) {
		ticket, err := mint(id)
		return redact.Secret(ticket), err
	}
}

// checkProject echoes neither field: somebody may have confused the two.
func (c *Config) checkProject(p *redact.Problems) {
	id, live := strings.CutPrefix(c.ProjectID, "project-live-")
	test := false
	if !live {
		id, test = strings.CutPrefix(id, "project-test-")
	}
	p.Add(!live && !test || redact.Only(id, "-", 100) == "", "ProjectID: must be project-live- or project-test- and an id")
	p.Add(c.Secret == "", "Secret: must not be empty")
	p.Add(strings.ContainsFunc(string(c.Secret), isSpaceOrControl), "Secret: must not hold spaces or line breaks")
	p.Add(live && strings.HasPrefix(string(c.Secret), "secret-test-"), "Secret: is a test project's, ProjectID is a live project's")
	p.Add(test && strings.HasPrefix(string(c.Secret), "secret-live-"), "Secret: is a live project's, ProjectID is a test project's")
	if c.BaseURL == "" {
		c.BaseURL = "https://test.stytch.com"
		if live {
			c.BaseURL = "https://api.stytch.com"
		}
	}
	c.BaseURL = strings.TrimRight(c.BaseURL, "/")
	u, err := url.Parse(c.BaseURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		p.Add(true, "BaseURL: must be https://host")
		return
	}
	p.Add(live && strings.EqualFold(u.Hostname(), "test.stytch.com"), "BaseURL: is for test projects, ProjectID is a live project's")
	p.Add(test && strings.EqualFold(u.Hostname(), "api.stytch.com"), "BaseURL: is for live projects, ProjectID is a test project's")
	c.checkURL(p, u)
}

// checkURL does not echo a URL that may hold a password.
func (c *Config) checkURL(p *redact.Problems, u *url.URL) {
	p.Add(u.User != nil, "BaseURL: must not hold a user name or password")
	p.Add(u.RawQuery != "" || u.ForceQuery || strings.Contains(c.BaseURL, "#"), "BaseURL: must not hold a query or fragment")
	p.Add(u.Scheme == "http" && !isLoopback(u.Hostname()), "BaseURL: http:// sends the project's secret in the clear; use https://")
}

// checkUserInfoURL echoes nothing either: a query may hold a key.
func (c *Config) checkUserInfoURL(p *redact.Problems) {
	if c.UserInfoURL == "" {
		return
	}
	u, err := url.Parse(c.UserInfoURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" {
		p.Add(true, "UserInfoURL: must be https://host/path")
		return
	}
	p.Add(u.User != nil, "UserInfoURL: must not hold a user name or password")
	p.Add(strings.Contains(c.UserInfoURL, "#"), "UserInfoURL: must not hold a fragment")
	p.Add(u.Scheme == "http" && !isLoopback(u.Hostname()), "UserInfoURL: http:// sends users' tokens in the clear; use https://")
}

func isSpaceOrControl(c rune) bool { return c <= ' ' || c == 0x7f }

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Store is a memory that several machines share, so that a legacy session
// becomes one Stytch session however many of them meet it, and a logout on one
// holds on all. Without one each process remembers for itself. Module redisstore
// has one for Redis and Valkey; package storetest has the tests that any other
// has to pass.
//
// A key has at most one value and at most one claim. Keys are printable ASCII of
// at most 100 bytes, in which any of it may occur, and case counts; values are sealed, and of a few KB. Every method is called
// by many goroutines at once, has to return soon after its context is done, and
// tells an error from an answer: "I can't tell" must never read as "there is
// none". A Store that fails, panics or hangs costs one exchange per process and
// loses nobody.
//
// The log, Event.Err and [Middleware.Check] don't show the text of an error, which
// may hold a key or a password. They show the error's type, or what the operating
// system says. A Store that knows better gives its error a method
//
//	SafeText() string
//
// The method returns the text to show instead, which must hold no key, owner, value,
// user name or password. It is looked for with errors.As. Of its text the first 200
// characters are shown, on one line. "" means that the error is not vouched for.
type Store interface {
	// Get returns the value of key. found is false, and err nil, where there is
	// none or its time is over. A claim is no value, and hides none.
	Get(ctx context.Context, key string) (value []byte, found bool, err error)

	// Claim gives owner the claim on key for the time of lease, if nobody else
	// has it, and says whether owner has it now. Where owner has it already it is
	// renewed. Of two that ask at the same time one gets it. It is no matter
	// whether there is a value. A claim whose lease is over is nobody's.
	Claim(ctx context.Context, key, owner string, lease time.Duration) (claimed bool, err error)

	// Put sets the value of key for the time of ttl, and takes the claim on key
	// away, in one step. With an owner it does so only if that owner has the claim
	// at this moment, else it changes nothing and returns false: a claim that was
	// lost loses its Put. With owner "" it always does, whoever has the claim.
	Put(ctx context.Context, key, owner string, value []byte, ttl time.Duration) (stored bool, err error)

	// Release gives the claim on key back, if owner has it. Else it does nothing,
	// and that is no error.
	Release(ctx context.Context, key, owner string) error
}

func (o *CookieOptions) check(p *redact.Problems) {
	for _, f := range []struct{ field, name string }{{"Cookies.SessionName", o.SessionName}, {"Cookies.JWTName", o.JWTName}} {
		checkName(p, f.field, f.name)
		demands := cookies.DemandsOf(f.name)
		p.Add(demands.HostOnly && (o.Domain != "" || o.Path != "/"), "%s %q: a __Host- cookie has no Domain, and Path=/", f.field, f.name)
		p.Add(demands.Secure && o.Insecure, "%s %q: a browser refuses this name with Cookies.Insecure", f.field, f.name)
		p.Add(demands.HTTPOnly && o.ReadableByScripts, "%s %q: a browser refuses this name with Cookies.ReadableByScripts", f.field, f.name)
	}
	p.Add(o.SessionName == o.JWTName, "Cookies.JWTName %q: must differ from Cookies.SessionName", o.JWTName)
	p.Add(o.SameSite == http.SameSiteNoneMode && o.Insecure, "Cookies.SameSite: a browser refuses None with Cookies.Insecure")
	p.Add(o.SameSite < http.SameSiteDefaultMode || o.SameSite > http.SameSiteNoneMode, "Cookies.SameSite %d: unknown", o.SameSite)
	checkScope(p, "Cookies", CookieScope{o.Domain, o.Path})
	for i, s := range o.OldScopes {
		checkScope(p, fmt.Sprintf("Cookies.OldScopes[%d]", i), s)
		p.Add(s.normal() == (CookieScope{o.Domain, o.Path}).normal(), "Cookies.OldScopes[%d]: is the scope in use", i)
	}
}

func (l *LegacyCookie) check(p *redact.Problems, field string, o *CookieOptions) {
	at := field + ".Name"
	for j, name := range l.names() {
		if j > 0 {
			at = fmt.Sprintf("%s.Also[%d]", field, j-1)
		}
		checkName(p, at, name)
		p.Add(name == o.SessionName || name == o.JWTName, "%s %q: is a Stytch cookie's name", at, name)
	}
	p.Add(l.Resolve == nil, "%s.Resolve: must not be nil", field)
	for _, w := range l.wrong {
		p.Add(true, "%s: %s", field, w)
	}
	for j, s := range l.Scopes {
		checkScope(p, fmt.Sprintf("%s.Scopes[%d]", field, j), s)
	}
}

// checkName requires a token (RFC 6265 section 4.1.1).
func checkName(p *redact.Problems, field, name string) {
	p.Add((&http.Cookie{Name: name, Value: "v"}).Valid() != nil, "%s %q: is no cookie name", field, name)
}

func checkScope(p *redact.Problems, field string, s CookieScope) {
	valid := (&http.Cookie{Name: "n", Value: "v", Domain: s.Domain}).Valid() == nil
	p.Add(!valid, "%s: Domain %q is no domain", field, s.Domain)
	bare := strings.Trim(s.Domain, ".")
	p.Add(valid && bare != "" && bare != "localhost" && !strings.Contains(bare, "."), "%s: Domain %q: browsers keep no cookie for a whole top-level domain", field, s.Domain)
	p.Add(s.Path != "" && (s.Path[0] != '/' || (&http.Cookie{Name: "n", Value: "v", Path: s.Path}).Valid() != nil), "%s: Path %q is no path", field, s.Path)
}
