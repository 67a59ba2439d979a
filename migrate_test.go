package stytchmigrate_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// Each row is a legacy session. The claim legacy_session differs for each of them.
func TestOriginClaim(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*stytchmigrate.LegacySession){
		"ada's":              func(*stytchmigrate.LegacySession) {},
		"another id":         func(s *stytchmigrate.LegacySession) { s.ID = "ada-2" },
		"another user":       func(s *stytchmigrate.LegacySession) { s.Identity.Subject = "bob" },
		"a later sign-in":    func(s *stytchmigrate.LegacySession) { s.StartedAt = time.Unix(1, 0) },
		"the parts run on":   func(s *stytchmigrate.LegacySession) { s.ID, s.Identity.Subject = "ada-1a", "da" },
		"no identity at all": func(s *stytchmigrate.LegacySession) { s.Identity = userinfo.Identity{} },
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
				s := apptest.LegacySession("ada", "ada-1")
				change(&s)
				return s, nil
			}
			require.Equal(t, apptest.Moved, a.Get("sid=x").String())
			origin := a.Stytch.Calls()[0].CustomClaims["legacy_session"].(string)
			assert.NotContains(t, seen, origin, name)
			seen[origin] = name
		}, func(c *stytchmigrate.Config) { c.RecordKey = stytchmigrate.Secret(strings.Repeat("k", 32)) })
	}
}

// A Stytch session lives for SessionDuration, or for as long as the legacy session if
// that is longer, or for the 366 days that Stytch allows.
func TestDurationOfSession(t *testing.T) {
	const day = 24 * 60
	for name, row := range map[string]struct {
		left time.Duration // until ExpiresAt; 0: unknown, -1: the year 9999
		want int           // session_duration_minutes
	}{
		"unknown":              {0, 30 * day},
		"sooner":               {time.Hour, 30 * day},
		"later":                {90 * 24 * time.Hour, 90 * day},
		"later by a second":    {30*24*time.Hour + time.Second, 30*day + 1},
		"90 days and a second": {90*24*time.Hour + time.Second, 90*day + 1},
		"later than Stytch's":  {500 * 24 * time.Hour, 366 * day},
		"in a century or more": {292 * 365 * 24 * time.Hour, 366 * day},
		"at the end of time":   {-1, 366 * day},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
					s := apptest.LegacySession("ada", "ada-1")
					switch {
					case row.left > 0:
						s.ExpiresAt = time.Now().Add(row.left)
					case row.left < 0:
						s.ExpiresAt = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
					}
					return s, nil
				}
				require.Equal(t, apptest.Moved, a.Get("sid=ada-1").String())
				assert.Equal(t, row.want, a.Stytch.Calls()[0].DurationMinutes)
			})
		})
	}
}

// Bob's sign-in ended ada's Stytch session. Her legacy session gets a new one.
func TestEndedSessionIsNotHandedOut(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		started := time.Now()
		a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
			name, _, _ := strings.Cut(v, "-")
			s := apptest.LegacySession(name, v)
			s.StartedAt = started.Add(time.Duration(len(name+v)) * time.Nanosecond)
			if name == "bob" {
				s.StartedAt = time.Now().Add(time.Second) // at ada's browser
			}
			return s, nil
		}
		cookies := a.Get("sid=ada-1").Jar("")
		out := a.Get(cookies + "; sid=bob-1")
		assert.Equal(t, "migrated bob | +stytch_session +stytch_session_jwt | no-store | migrate", out.Saw+strings.TrimSuffix(out.String()[len(out.Saw):], " revoke"))
		time.Sleep(time.Second)
		require.False(t, a.Stytch.Sessions()[0].Live)
		assert.Equal(t, apptest.Moved, a.Get("sid=ada-1").String(), "and not the session that is revoked")
	})
}

// Stytch calls the UserInfo endpoint of the application over sockets, as in production.
func TestTicketsOverSockets(t *testing.T) {
	tickets, setting := apptest.WithTickets(t)
	mux := http.NewServeMux()
	mux.Handle("/userinfo", userinfo.Handler(tickets.Redeem))
	a := apptest.New(t, stytchtest.Config{}, setting)
	srv := httptest.NewServer(a.Middleware.Handler(mux))
	t.Cleanup(srv.Close)
	a.Stytch.SetUserInfoURL(srv.URL + "/userinfo")

	first := a.Get("sid=ada-1")
	assert.Equal(t, apptest.Moved, first.String())
	call := a.Stytch.Calls()[0]
	assert.NoError(t, call.UserInfoErr)
	assert.NotContains(t, call.SessionToken, "example")
	assert.Equal(t, apptest.Replaced, a.Get(first.Jar("sid=ada-1")).String())
	assert.Equal(t, "migrated ada", a.Get("sid=ada-1").Saw)
	assert.Empty(t, a.Stytch.Calls(), "the cookie's value stands for the session")

	a.Stytch.SetUserInfoURL(srv.URL + "/nowhere")
	assert.Equal(t, "unavailable"+apptest.CookiesUntouched+"migrate", a.Get("sid=bob-1").String(), "Stytch could not ask")
}

// The request of an exchange, member by member.
func TestWhatStytchIsSent(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		require.Equal(t, apptest.Moved, a.Get("sid=ada-1", func(r *http.Request) { r.Header.Set("X-Telemetry", "telemetry-1") }).String())
		call := a.Stytch.Calls()[0]
		assert.Equal(t, "POST /v1/sessions/migrate", call.Method+" "+call.Path)
		assert.True(t, call.BasicAuth)
		assert.Equal(t, "ada-token", call.SessionToken)
		assert.Equal(t, 45*24*60, call.DurationMinutes)
		assert.Equal(t, "telemetry-1", call.TelemetryID)
		assert.Equal(t, "application/json", call.Header.Get("Content-Type"))
		assert.Regexp(t, `^stytchmigrate-go/\d`, call.Header.Get("User-Agent"))
		assert.Empty(t, call.Header.Get("Cookie"))

		origin, _ := call.CustomClaims["legacy_session"].(string)
		key, err := base64.RawURLEncoding.DecodeString(origin)
		require.NoError(t, err)
		assert.Len(t, key, 32)
		delete(call.CustomClaims, "legacy_session")
		assert.Equal(t, map[string]any{"plan": "gold", "of": "ada"}, call.CustomClaims)
	}, func(c *stytchmigrate.Config) {
		c.SessionDuration = 45 * 24 * time.Hour
		c.TelemetryID = func(r *http.Request) string { return r.Header.Get("X-Telemetry") }
		c.SessionClaims = func(s stytchmigrate.LegacySession) map[string]any {
			return map[string]any{"plan": "gold", "of": s.Identity.Subject}
		}
	})
}

// Custom claims are in the session's JWT. Handlers get them after a restart and during
// an outage too.
func TestSessionClaimsAreThereAtAllTimes(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var claims []any
		a.Handler = func(_ http.ResponseWriter, r *http.Request) {
			s, _ := stytchmigrate.SessionFromContext(r.Context())
			claims = append(claims, s.CustomClaims["user"])
		}
		cookies := a.Get("sid=ada-1").Jar("")
		a.Get(cookies)
		time.Sleep(6 * time.Minute)
		cookies = a.Get(cookies).Jar("")
		a.Restart(t)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "server_unavailable"))
		assert.Equal(t, "authenticated partial ada", a.Get(cookies).Saw)
		assert.Equal(t, []any{"17", "17", "17", "17"}, claims)
	}, claiming("user", "17"))
}

// Each row is a refusal, and how long it is remembered: until then Stytch is not asked
// again about that session.
func TestRefusalIsRememberedForAMinute(t *testing.T) {
	for name, row := range map[string]struct {
		fault       stytchtest.Fault
		first, kept string
		lasts       time.Duration
	}{
		"a no":              {stytchtest.Error(404, "user_not_found"), apptest.RefusedUntouched + "migrate", apptest.RefusedUntouched + "-", time.Minute},
		"UserInfo's no":     {stytchtest.Error(400, "migrate_from_external_unexpected_response"), apptest.UnavailableUntouched + "migrate", apptest.UnavailableUntouched + "-", 5 * time.Second},
		"a no, told slowly": {stytchtest.Error(404, "user_not_found").WithDelay(2 * time.Second), apptest.RefusedUntouched + "migrate", apptest.RefusedUntouched + "-", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Stytch.FailAll(stytchtest.Migrate, row.fault)
				assert.Equal(t, row.first, a.Get("sid=ada-1").String())
				time.Sleep(row.lasts - time.Nanosecond)
				assert.Equal(t, row.kept, a.Get("sid=ada-1").String())
				time.Sleep(time.Nanosecond)
				assert.Equal(t, row.first, a.Get("sid=ada-1").String())
				assert.Equal(t, apptest.Moved, func() string { a.Stytch.Heal(stytchtest.Any); return a.Get("sid=ada-2").String() }(), "of that session alone")
			})
		})
	}
}

// Each row is what SessionClaims or Resolve returns. The log names the setting at error
// level, and no cookie changes.
func TestWrongSettingIsLoggedAndChangesNoCookie(t *testing.T) {
	rows := map[string]struct {
		change func(*stytchmigrate.Config)
		log    string
	}{
		"claims of 4 KB and a byte": {claiming("a", strings.Repeat("a", claimsOf4KB+1)), "SessionClaims returned more than 4 KB"},
		"claims that are no JSON":   {claiming("a", func() {}), "SessionClaims returned a value that JSON has no form for"},
		"claims of an error":        {claiming("a", noJSON{}), "SessionClaims returned a value that JSON has no form for"},
		"121 claims beside ours": {func(c *stytchmigrate.Config) { claims(121)(c); apptest.ResolveAlways(forgotten)(c) },
			"SessionClaims returned more than 120 claims, or claims that are nested too deep"},
		"121 claims":               {claims(121), "SessionClaims returned more than 120 claims, or claims that are nested too deep"},
		"claims 64 levels deep":    {claiming("a", nestedIn(64)), "SessionClaims returned more than 120 claims, or claims that are nested too deep"},
		"the origin's claim":       {claiming("legacy_session", "a"), `SessionClaims returned the reserved name \"legacy_session\"`},
		"neither token nor person": {apptest.ResolveAlways(stytchmigrate.LegacySession{ID: "1"}), `Resolve of cookie \"sid\" returned neither Identity nor Token`},
		"no token and no tickets":  {apptest.ResolveAlways(stytchmigrate.LegacySession{ID: "1", Identity: apptest.LegacySession("ada", "").Identity}), `Resolve of cookie \"sid\" returned no Token, and Config.Tickets is not set`},
	}
	for _, name := range []string{"until_browser_closes", "iss", "sub", "aud", "exp", "nbf", "iat", "jti", "https://stytch.com/session"} {
		row := rows["the origin's claim"]
		row.change, row.log = claiming(name, 1), `SessionClaims returned the reserved name \"`+name+`\"`
		rows["a claim named "+name] = row
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				assert.Equal(t, apptest.UnavailableUntouched+"-", a.Get("sid=ada-1").String())
				assert.Contains(t, a.Log.String(), `"level":"ERROR","msg":"stytchmigrate: wrong setting: `+row.log+`"`)
			}, row.change)
		})
	}
}

// claimsOf4KB is the length of a claim "a" that makes the encoded claims 4,096 bytes long,
// with the 43 characters of the claim legacy_session.
const claimsOf4KB = 4<<10 - len(`{"a":"","legacy_session":""}`) - 43

// claims are so many claims.
func claims(n int) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		all := map[string]any{}
		for i := range n {
			all[fmt.Sprint("c", i)] = i
		}
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any { return all }
	}
}

// forgotten is a session of ada's whose cookie goes when the browser is closed.
var forgotten = func() stytchmigrate.LegacySession {
	s := apptest.LegacySession("ada", "1")
	s.UntilBrowserCloses = true
	return s
}()

// nestedIn is a value in so many lists.
func nestedIn(depth int) (v any) {
	for range depth {
		v = []any{v}
	}
	return v
}

// What is accepted here is accepted in the JWT that comes back: the next request is
// served by it, without a call.
func TestMostSessionClaims(t *testing.T) {
	for name, change := range map[string]func(*stytchmigrate.Config){
		"120 claims beside ours": func(c *stytchmigrate.Config) { claims(120)(c); apptest.ResolveAlways(forgotten)(c) },
		"120 claims":             claims(120), "63 levels deep": claiming("a", nestedIn(63)), "4 KB": claiming("a", strings.Repeat("a", claimsOf4KB-1)),
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			moved := a.Get("sid=ada-1")
			assert.Equal(t, "migrated ada", moved.Saw, name)
			a.Restart(t)
			jwt := a.Stytch.JWT(a.Stytch.Sessions()[0].ID)
			a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
			assert.Equal(t, "authenticated partial ada", a.Get("stytch_session_jwt="+jwt).Saw, name)
		}, change)
	}
}

func TestSessionClaimsMayBe4KB(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		assert.Equal(t, "migrated ada", a.Get("sid=ada-1").Saw)
	}, claiming("a", strings.Repeat("a", claimsOf4KB)))
}

func claiming(name string, v any) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) {
		c.SessionClaims = func(stytchmigrate.LegacySession) map[string]any { return map[string]any{name: v} }
	}
}

type noJSON struct{}

func (noJSON) MarshalJSON() ([]byte, error) { return nil, errors.New("no") }

// A logout holds after the project's secret was rotated, if RecordKey is set. The key
// that is derived from Secret forgets it.
func TestRecordKeyRemembersLogoutsAcrossSecrets(t *testing.T) {
	for key, want := range map[stytchmigrate.Secret]string{
		"a record key of 32 bytes or more": apptest.Refused,
		"":                                 "unavailable" + apptest.CookiesUntouched + "migrate", // for the stand-in knows the first secret alone
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			store := new(storetest.Memory)
			for _, secret := range []stytchmigrate.Secret{stytchmigrate.Secret(a.Stytch.Secret), "rotated"} {
				a.On(a.Machines(t, 1, apptest.SharedStore(store), func(c *stytchmigrate.Config) { c.Secret, c.RecordKey = secret, key })[0])
				if secret != "rotated" {
					a.LogOut("sid=ada-1")
				}
			}
			assert.Equal(t, want, a.Get("sid=ada-1").String())
		})
	}
}
