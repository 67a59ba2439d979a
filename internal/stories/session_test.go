package stories_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// The story of a Stytch session, from its first request to its last, and of everything
// that a browser may send with it. The tests of package session cover each decision. Here
// are its results: the outcome, the cookies, and what happens to a legacy session beside
// it.

// Stytch decides whether a session is alive. If it is not, the legacy session is tried.
func TestStytchSaysNo(t *testing.T) {
	const thenBob = "migrated bob | +stytch_session +stytch_session_jwt | no-store | authenticate migrate"
	for name, row := range map[string]struct{ cookies, legacy, want string }{
		"a token":                                      {"session", "", apptest.SignedOut},
		"an expired JWT":                               {"jwt", "", apptest.SignedOut},
		"a token and an expired JWT":                   {"both", "", apptest.SignedOut + " authenticate"}, // which may be of two sessions
		"a valid JWT":                                  {"valid", "", apptest.SignedOut},
		"a token, and a legacy session":                {"session", "; sid=bob-1", thenBob},
		"an expired JWT, and a legacy session":         {"jwt", "; sid=bob-1", thenBob},
		"a token, an expired JWT and a legacy session": {"both", "; sid=bob-1", strings.Replace(thenBob, "authenticate", "authenticate authenticate", 1)},
		"a valid JWT, and a legacy session":            {"valid", "; sid=bob-1", thenBob},
		"a token, and a legacy cookie of nobody":       {"session", "; sid=nobody", apptest.SignedOut},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies, s := a.Expired(a.Ada, row.cookies)
				if row.cookies == "valid" {
					cookies = "stytch_session=" + s.Token + "; stytch_session_jwt=" + a.Stytch.JWT(s.ID)
				}
				a.Stytch.RevokeSession(s.ID)
				assert.Equal(t, row.want, a.Get(cookies+row.legacy).String())
			})
		})
	}
}

// A user who keeps coming stays signed in, at every pace, and with either of the two
// cookies alone.
func TestActiveUsersStaySignedIn(t *testing.T) {
	for name, row := range map[string]struct {
		every, duration time.Duration
		only            string // the cookie that the browser keeps
	}{
		"a visit each day":                    {24 * time.Hour, 15 * 24 * time.Hour, ""},
		"a visit each week":                   {7 * 24 * time.Hour, 30 * 24 * time.Hour, ""},
		"a page a minute":                     {time.Minute, 30 * time.Minute, ""},
		"a poll every 40 s":                   {40 * time.Second, 20 * time.Minute, ""},
		"a visit each day, the token alone":   {24 * time.Hour, 15 * 24 * time.Hour, "stytch_session="},
		"a visit each day, the JWT alone":     {24 * time.Hour, 15 * 24 * time.Hour, "stytch_session_jwt="},
		"a poll every 40 s, the JWT alone":    {40 * time.Second, 20 * time.Minute, "stytch_session_jwt="},
		"a page each minute, the token alone": {time.Minute, 30 * time.Minute, "stytch_session="},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				s := a.Stytch.NewSession(a.Ada.ID, row.duration)
				b := &apptest.Browser{App: a, Cookies: "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT, Until: s.ExpiresAt}
				for start := time.Now(); time.Since(start) < 3*row.duration; time.Sleep(row.every) {
					b.KeepOnly(row.only)
					require.Contains(t, b.Visit().String(), "authenticated ada |", "after %v", time.Since(start))
				}
				s, _ = a.Stytch.Session(s.ID)
				// Stytch is not asked before the next visit, nor while a JWT is valid.
				assert.Greater(t, time.Until(s.ExpiresAt), row.duration/2-row.every-6*time.Minute)
			}, func(c *stytchmigrate.Config) { c.SessionDuration = row.duration })
		})
	}
}

// Processes that restart, and so remember nothing, extend a session too.
func TestActiveUserAcrossRestarts(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := a.Stytch.NewSession(a.Ada.ID, 30*24*time.Hour)
		b := &apptest.Browser{App: a, Cookies: "stytch_session=" + s.Token, Until: s.ExpiresAt}
		for range 90 {
			time.Sleep(24 * time.Hour)
			a.Restart(t)
			b.KeepOnly("stytch_session=")
			require.Contains(t, b.Visit().String(), "authenticated ada |")
			b.KeepOnly("stytch_session=")
			require.Contains(t, b.Visit().String(), "authenticated ada |") // the page's second request
		}
	})
}

// A refresh never shortens a session.
func TestSessionsAreNeverShortened(t *testing.T) {
	for name, d := range map[string]time.Duration{
		"a month": 30 * 24 * time.Hour, "a month and a day": 31 * 24 * time.Hour, "a year": 365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				s := a.Stytch.NewSession(a.Ada.ID, d)
				b := &apptest.Browser{App: a, Cookies: "stytch_session=" + s.Token, Until: s.ExpiresAt}
				for range 20 {
					time.Sleep(d / 21)
					require.Contains(t, b.Visit().String(), "authenticated ada |")
					now, _ := a.Stytch.Session(s.ID)
					require.False(t, now.ExpiresAt.Before(s.ExpiresAt))
					require.WithinDuration(t, now.ExpiresAt, b.Until, time.Second, "the cookie lives as long")
					s = now
				}
			})
		})
	}
}

func TestFixedExpiry(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, s := a.SignedIn(a.Ada)
		b := &apptest.Browser{App: a, Cookies: cookies, Until: s.ExpiresAt}
		for range 29 {
			time.Sleep(24 * time.Hour)
			require.Contains(t, b.Visit().String(), "authenticated ada |")
		}
		now, _ := a.Stytch.Session(s.ID)
		assert.Equal(t, s.ExpiresAt, now.ExpiresAt)
		time.Sleep(24 * time.Hour)
		assert.Equal(t, "anonymous | - | - | -", b.Visit().String(), "the browser has forgotten it")
		assert.Equal(t, apptest.SignedOut, a.Get(cookies).String(), "and so has Stytch")
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// A session whose JWT is too long for a cookie is known by its token, until
// that JWT expires: it costs a call every five minutes, not every request.
func TestTokenStaysKnown(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { return apptest.LegacySession("ada", "ada-1"), nil }
		first := a.Get("sid=ada-1")
		require.Equal(t, "migrated ada | +stytch_session | no-store | migrate", first.String())
		cookies := first.Jar("")
		time.Sleep(6 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session | no-store | authenticate", a.Get(cookies).String())
		for range 4 {
			time.Sleep(time.Minute)
			assert.Equal(t, apptest.AuthenticatedUntouched+"-", a.Get(cookies).String())
		}
		time.Sleep(2 * time.Minute)
		assert.Equal(t, "authenticated ada | +stytch_session | no-store | authenticate", a.Get(cookies).String())
	}, func(c *stytchmigrate.Config) {
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"long": strings.Repeat("x", 3500)}
		}
	})
}

// What becomes of the browser's cookies if it sends several sessions: they are deleted
// only if they contradict each other.
func TestSeveralSessionsInOneRequest(t *testing.T) {
	const none, cleared = "anonymous | - | - | ", "anonymous | -stytch_session -stytch_session_jwt | no-store | "
	for name, row := range map[string]struct{ cookies, want string }{
		"one user's":                            {"Ta Ta2", apptest.Refreshed + " authenticate"},
		"two users'":                            {"Ta Tb", none + "authenticate authenticate"},
		"a token of b, an expired JWT of a":     {"Tb Ea", cleared + "authenticate"},
		"a token that Stytch does not know":     {"X=A", cleared + "authenticate"},
		"more such tokens than are asked about": {"X=A1 X=A2 X=A3 X=A4", none + "authenticate authenticate authenticate"},
		"another project's":                     {"Ta F", none + "-"},
		"empty cookies":                         {"X= X_jwt=", none + "-"},
		"rubbish before a valid JWT":            {"X=a\x7fb X_jwt=1 Ja", apptest.AuthenticatedUntouched + "authenticate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				w := apptest.NewWallet(a)
				time.Sleep(6 * time.Minute)
				assert.Equal(t, row.want, a.Get(w.CookieHeader(row.cookies)).String())
				mismatch := row.cookies == "Tb Ea"
				assert.Equal(t, mismatch, len(a.Events) == 1 && a.Events[0].Kind == "mismatch", "%v", a.Events)
			})
		})
	}
}

// Made-up tokens beside a session delete no cookie and end no session.
func TestPlantedRubbishSignsNobodyOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		first := a.Get("sid=ada-1")
		cookies := first.Jar("")
		time.Sleep(6 * time.Minute)
		got := a.Get("stytch_session=A1; stytch_session=A2; stytch_session=A3; " + cookies)
		assert.Equal(t, apptest.Refreshed, got.String())
		assert.Equal(t, "migrated ada", a.Get("sid=ada-1").Saw)
	})
}

// With sessions of two users neither counts, and a legacy cookie beside them does not
// decide between them.
func TestPlantedLegacyCookieBesideTwoPeople(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		ada, _ := a.SignedIn(a.Ada)
		_, b := a.SignedIn(a.Bob)
		got := a.Get(ada + "; stytch_session_jwt=" + b.JWT + "; stytch_session=" + b.Token + "; sid=bob-1")
		assert.NotContains(t, got.String(), "bob")
	})
}

// Stytch cookies of another project are left alone, and the legacy session counts. The log
// says so, once: Config.ProjectID may be wrong.
func TestAnotherProjectsCookies(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		theirs := apptest.NewWallet(a).CookieHeader("Ta F")
		first := a.Get(theirs + "; sid=ada-1")
		require.Equal(t, apptest.Moved, first.String())
		// The other project's are of another Domain, so that the browser keeps and sends both.
		assert.Equal(t, apptest.AuthenticatedUntouched+"-", a.Get(theirs + "; " + first.Jar("") + "; " + "theme=dark").String()[:len(apptest.AuthenticatedUntouched)]+"-")
		assert.Equal(t, 1, strings.Count(a.Log.String(), `"setting":"Config.ProjectID"`))
	})
}

// A Stytch user with a second address can sign in by it. The first one, which is not
// verified, proves nothing.
func TestSecondEmailIsAWayIn(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.UpdateUser(a.Ada.ID, func(u *stytchtest.User) {
			u.Emails = []stytchtest.Email{{Email: "ada@example.com"}, {Email: "mallory@evil.example", Verified: true}}
		})
		assert.NotContains(t, a.Get("sid=ada-1").String(), "migrated ada")
	})
}

// What becomes of a request with a JWT and nothing else, by the verifier's answer, and
// how often the key set is fetched for it.
func TestJWTShapes(t *testing.T) {
	const (
		asked   = "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate | key sets: 1"
		rubbish = "anonymous | - | - | - | key sets: 0" // refused by what it says
		forged  = "anonymous | - | - | - | key sets: 1" // refused by its key or its signature
	)
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, row := range map[string]struct {
		change func(project string) (claims, header apptest.Object)
		want   string
	}{
		"it verifies":            {func(string) (c, h apptest.Object) { return nil, nil }, apptest.JWTAccepted},
		"it has expired":         {func(string) (c, h apptest.Object) { return apptest.Object{"exp": at(-10 * time.Minute)}, nil }, asked},
		"it is not valid yet":    {func(string) (c, h apptest.Object) { return apptest.Object{"nbf": at(2 * time.Minute)}, nil }, asked},
		"it is no session's":     {func(string) (c, h apptest.Object) { return apptest.Object{"sub": "m2m-client-test-1"}, nil }, rubbish},
		"it is another issuer's": {func(p string) (c, h apptest.Object) { return apptest.Object{"iss": "stytch.com/" + p + "0"}, nil }, rubbish},
		"its host is not ours":   {func(string) (c, h apptest.Object) { return apptest.Object{"iss": "https://other.stytch.invalid"}, nil }, rubbish},
		"it names no algorithm":  {func(string) (c, h apptest.Object) { return nil, apptest.Object{"alg": "none"} }, rubbish},
		"it brings its own keys": {func(string) (c, h apptest.Object) { return nil, apptest.Object{"jku": "https://evil.example/keys"} }, rubbish},
		"no key has its kid":     {func(string) (c, h apptest.Object) { return nil, apptest.Object{"kid": "https://evil.example/keys"} }, forged},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				claims, header := row.change(a.Stytch.ProjectID)
				s := a.Stytch.NewSession(a.Ada.ID, 30*24*time.Hour)
				jwt := a.Stytch.SignJWT(apptest.Changed(a.Stytch.Claims(s.ID), claims), header)
				assert.Equal(t, row.want, a.Get("stytch_session_jwt="+jwt).WithKeySets())
				for _, c := range a.Stytch.Calls() {
					assert.Equal(t, "stytch.invalid", c.Host, "a call to where the token said")
				}
			})
		})
	}
}

// Requests with key ids that don't exist cause one fetch of the key set a minute, and none
// of them waits.
func TestUnknownKeys(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		signed := a.Stytch.SignJWT(a.Stytch.Claims(a.Stytch.NewSession(a.Ada.ID, time.Hour).ID), nil)
		_, rest, _ := strings.Cut(signed, ".")
		start, fetched := time.Now(), 0
		for i := range 240 { // two a second
			time.Sleep(500 * time.Millisecond)
			header := apptest.EncodeSegment(`{"alg":"RS256","typ":"JWT","kid":"jwk-` + strings.Repeat("x", 1+i%150) + `"}`)
			got := a.Get("stytch_session_jwt=" + header + "." + rest)
			require.Equal(t, "anonymous | - | - | -", got.String())
			fetched += a.Stytch.Count(stytchtest.JWKS)
		}
		assert.Equal(t, 2*time.Minute, time.Since(start), "no request waited")
		assert.Equal(t, 2, fetched)
	})
}

// The issuer of a project with a custom domain is that domain. It is the project's id for
// sessions that were made through Stytch's own host.
func TestCustomDomain(t *testing.T) {
	const domain = "https://login.example.com"
	for name, row := range map[string]struct{ issuer, baseURL, want string }{
		"the domain's":                  {domain, domain, apptest.JWTAccepted},
		"the domain's, with a slash":    {domain, domain + "/", apptest.JWTAccepted},
		"Stytch's":                      {"", domain, apptest.JWTAccepted},
		"the domain's, with no setting": {domain, "https://test.stytch.com", "anonymous | - | - | - | key sets: 0"},
		"another domain's":              {"https://login.example.org", domain, "anonymous | - | - | - | key sets: 0"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.RunParallel(t)
			synctest.Test(t, func(t *testing.T) {
				a := apptest.New(t, stytchtest.Config{InProcess: true, Issuer: row.issuer}, func(c *stytchmigrate.Config) { c.BaseURL = row.baseURL })
				s := a.Stytch.NewSession(a.Ada.ID, time.Hour)
				assert.Equal(t, row.want, a.Get("stytch_session_jwt="+s.JWT).WithKeySets())
			})
		})
	}
}

// What stays in memory of a request's legacy cookie, beside its Stytch session, must not
// keep the whole Cookie header alive: a header may be as long as the server lets it be.
func TestHeadersAreNotKept(t *testing.T) { // not in parallel: it measures the process
	const header = 1 << 20
	a := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) { c.OnEvent = nil })
	h := a.Middleware.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	send := func(cookies string) {
		r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
		r.Header.Set("Cookie", cookies)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	before := inUse()
	for range 32 {
		cookies, _ := a.SignedIn(a.Ada)
		send(cookies + "; sid=ada-1; junk=" + strings.Repeat("x", header))
	}
	assert.Less(t, int64(inUse()-before), int64(8*header), "of 32 MiB")
	runtime.KeepAlive(h)
}

// inUse returns how many bytes are alive on the heap.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
