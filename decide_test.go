package stytchmigrate_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// Each row is a request on an application that nobody has visited yet.
func TestDecision(t *testing.T) {
	for name, row := range map[string]struct {
		cookies string
		change  func(*http.Request)
		want    string
	}{
		"no cookie":                   {"", nil, "anonymous" + apptest.Untouched + "-"},
		"a legacy cookie":             {"sid=ada-1", nil, apptest.Swapped},
		"a legacy cookie, no session": {"sid=nobody", nil, "anonymous" + apptest.Untouched + "-"},
		"cors preflight": {"sid=ada-1", func(r *http.Request) {
			r.Method = "OPTIONS"
			r.Header.Set("Access-Control-Request-Method", "PUT")
		}, "anonymous" + apptest.Untouched + "-"},
		"a token that is in no cookie": {"", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer ada-1")
			r.URL.RawQuery = "sid=ada-1&stytch_session=ada-1"
		}, "anonymous" + apptest.Untouched + "-"},
		"skipped": {"sid=ada-1", func(r *http.Request) { r.URL.Path = "/skip" }, "anonymous" + apptest.Untouched + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var change []func(*http.Request)
				if row.change != nil {
					change = append(change, row.change)
				}
				assert.Equal(t, row.want, a.Get(row.cookies, change...).String())
			}, func(c *stytchmigrate.Config) {
				c.Skip = func(r *http.Request) bool { return r.URL.Path == "/skip" }
			})
		})
	}
}

const (
	staysAnd = "authenticated ada | -sid | no-store | -"
	neither  = "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | -"
	bobWins  = "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | migrate revoke"
)

func setIdentity(id userinfo.Identity) func(*stytchmigrate.LegacySession) {
	return func(s *stytchmigrate.LegacySession) { s.Identity = id }
}

// Each row is a native Stytch session of ada and a legacy cookie.
func TestTwoSessions(t *testing.T) {
	image := func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Dest", "image")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	post := func(r *http.Request) { r.Method = http.MethodPost }
	unverified := func(s *stytchmigrate.LegacySession) { s.Identity.EmailVerified = false }
	nobody := setIdentity(userinfo.Identity{})
	for name, row := range map[string]struct {
		sid      string
		legacy   func(*stytchmigrate.LegacySession) // nil: as resolved
		user     func(*stytchtest.User)             // nil: ada as she is
		request  func(*http.Request)                // nil: a page
		want     string
		passedOn string // S for the Stytch cookies of ada, N for new ones
	}{
		"the same person":               {"ada", nil, nil, nil, staysAnd, "S"},
		"the same person, later":        {"ada+1h", nil, nil, nil, staysAnd, "S"},
		"the same person, a form":       {"ada", nil, nil, post, staysAnd, "S sid=ada"},
		"the same person, an image":     {"ada", nil, nil, image, apptest.StaysAlone, "S sid=ada"},
		"the same email in other case":  {"ada", setIdentity(userinfo.Identity{Subject: "ada", Email: "ADA@Example.com", EmailVerified: true}), nil, nil, staysAnd, "S"},
		"no session":                    {"nobody", nil, nil, nil, apptest.StaysAlone, "S sid=nobody"},
		"another person, later":         {"bob+1h", nil, nil, nil, bobWins, "N"},
		"another person, later, a form": {"bob+1h", nil, nil, post, bobWins, "sid=bob+1h N"},
		"another person, later, an image, which changes no cookie": {"bob+1h", nil, nil, image, "migrated bob" + apptest.Untouched + "migrate revoke", "S sid=bob+1h"},
		"another person, earlier":                                  {"bob-1h", nil, nil, nil, staysAnd, "S"},
		"another person, earlier, a form":                          {"bob-1h", nil, nil, post, staysAnd, "S"},
		"another person, earlier, an image":                        {"bob-1h", nil, nil, image, apptest.StaysAlone, "S"},
		"another person, at the same moment":                       {"bob+0s", nil, nil, nil, staysAnd, "S"},
		"another person, unknown when":                             {"bob", nil, nil, nil, neither, ""},
		"another person, unknown when, a form":                     {"bob", nil, nil, post, neither, ""},
		"another person, unknown when, an image":                   {"bob", nil, nil, image, apptest.Anonymous, ""},

		"nobody knows whose":                       {"bob", nobody, nil, nil, apptest.StaysAlone, "S sid=bob"},
		"no email":                                 {"bob", setIdentity(userinfo.Identity{Subject: "bob"}), nil, nil, apptest.StaysAlone, "S sid=bob"},
		"her email, which nobody verified":         {"ada", unverified, nil, nil, apptest.StaysAlone, "S sid=ada"},
		"her email, which Stytch has not verified": {"ada", nil, func(u *stytchtest.User) { u.Emails[0].Verified, u.HasPasskey = false, true }, nil, apptest.StaysAlone, "S sid=ada"},
		"her email, and she has nothing else":      {"ada", nil, func(u *stytchtest.User) { u.Emails[0].Verified = false }, nil, staysAnd, "S"},
		"her second email": {"ada", nil, func(u *stytchtest.User) {
			u.Emails = append([]stytchtest.Email{{Email: "a@example.com", Verified: true}}, u.Emails...)
		}, nil, staysAnd, "S"},
		"another's email, which nobody verified":    {"bob", unverified, nil, nil, neither, ""},
		"later, another's email, nobody verified":   {"bob+1h", unverified, nil, nil, apptest.Refused, "S sid=bob+1h"},
		"her external id, another email":            {"bob", nil, func(u *stytchtest.User) { u.ExternalID = "bob" }, nil, staysAnd, "S"},
		"her email, another external id":            {"ada", nil, func(u *stytchtest.User) { u.ExternalID = "another" }, nil, neither, ""},
		"her email, another external id, earlier":   {"ada-1h", nil, func(u *stytchtest.User) { u.ExternalID = "another" }, nil, staysAnd, "S"},
		"her external id, without a subject beside": {"ada", setIdentity(userinfo.Identity{Email: "ada@example.com", EmailVerified: true}), func(u *stytchtest.User) { u.ExternalID = "ada" }, nil, apptest.StaysAlone, "S sid=ada"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				if row.user != nil {
					a.Stytch.UpdateUser(a.Ada.ID, row.user)
				}
				cookies, _ := a.SignedIn(a.Ada)
				a.Asks(t, cookies)
				a.Resolve = apptest.Accounts(time.Now(), row.legacy)
				var change []func(*http.Request)
				if row.request != nil {
					change = append(change, row.request)
				}
				both := cookies + "; sid=" + row.sid
				first := a.Get(both, change...)
				assert.Equal(t, row.want, first.Settled())
				assert.Equal(t, row.passedOn, a.Short(cookies, a.PassedOn[1]))
				if strings.Contains(row.want, "ada") || row.passedOn == "" {
					assert.Equal(t, row.want, a.Get(both, change...).Settled(), "the same again")
				}
			})
		})
	}
}

// Of the events, and of the sessions at Stytch, after each kind of ruling.
func TestConflictIsReportedAndAnOlderSessionRevoked(t *testing.T) {
	for name, row := range map[string]struct {
		sid    string
		alive  string // whose sessions Stytch still has
		events []string
	}{
		"the same person":         {"ada", "ada", nil},
		"another person, later":   {"bob+1h", "bob", nil},
		"another person, earlier": {"bob-1h", "ada", nil},
		"another, unknown when":   {"bob", "ada", []string{"conflict"}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.Accounts(time.Now(), nil)
				cookies, _ := a.SignedIn(a.Ada)
				a.Asks(t, cookies)
				a.Get(cookies + "; sid=" + row.sid).Settled()
				var alive []string
				for _, s := range a.Stytch.Sessions() {
					if s.Live {
						alive = append(alive, map[string]string{a.Ada.ID: "ada", a.Bob.ID: "bob"}[s.UserID])
					}
				}
				assert.Equal(t, row.alive, strings.Join(alive, " "))
				var events []string
				for _, e := range a.Events {
					events = append(events, e.Kind)
					assert.NotEmpty(t, e.Fingerprint)
				}
				assert.Equal(t, row.events, events)
				assert.NotContains(t, a.Log.String(), "@example")
			})
		})
	}
}

// The legacy session that the Stytch session came from is no other person's,
// whatever Resolve says of it by now.
func TestOriginIsTheSamePerson(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		id := "ada@example.com"
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{ID: "1", Identity: userinfo.Identity{Subject: "17", Email: id, EmailVerified: true}, Token: "ada-token"}, nil
		}
		cookies := a.Get("sid=1").Jar("")
		id = "bob@example.com" // an address that changed in the old system
		assert.Equal(t, staysAnd, a.Get(cookies+"; sid=1").String())
	})
}

// What can't be judged leaves the Stytch session as it is.
func TestStytchSessionStaysWhenResolveFails(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, errors.New("canary")
		}
		assert.Equal(t, apptest.StaysAlone, a.Get(cookies+"; sid=bob").String())
		assert.Contains(t, a.Log.String(), `Resolve of cookie \"sid\" failed (*errors.errorString)`)
		assert.NotContains(t, a.Log.String(), "canary")

		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { panic("mine") }
		assert.PanicsWithValue(t, "mine", func() { a.Get(cookies + "; sid=bob") })

		a.Resolve = apptest.Accounts(time.Now(), nil)
		assert.Equal(t, neither, a.Get(cookies+"; sid=bob").String(), "it is judged when it can be")
	})
}

// A Stytch session known by its token alone is judged like any other.
func TestTwoSessionsWithATokenAlone(t *testing.T) {
	for name, row := range map[string]struct{ sid, want string }{
		"the same person": {"ada", "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate"},
		"later":           {"bob+1h", "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | authenticate migrate revoke"},
		"earlier":         {"bob-1h", "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate"},
		"unknown when":    {"bob", "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | authenticate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.Accounts(time.Now(), nil)
				_, s := a.SignedIn(a.Ada)
				assert.Equal(t, row.want, a.Get("stytch_session="+s.Token+"; sid="+row.sid).Settled())
			})
		})
	}
}

// Where Stytch can't say who the user is, only the origin can be judged: nobody
// is taken for another person on a guess.
func TestTwoSessionsWhileStytchIsDown(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "server_unavailable"))
		cookies, _ := a.SignedIn(a.Ada)
		assert.Equal(t, "authenticated partial ada"+apptest.Untouched+"authenticate authenticate", a.Get(cookies+"; sid=bob").String())
		a.Stytch.Heal(stytchtest.Any)
		time.Sleep(11 * time.Second)
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | authenticate", a.Get(cookies+"; sid=bob").String())
	})
}

// The session that was older is not the user's when the newer one runs out.
func TestEarlierLegacySessionNeverComesBack(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		s := a.Stytch.NewSession(a.Ada.ID, time.Hour)
		cookies := "stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
		a.Asks(t, cookies)
		browser := a.Get(cookies + "; sid=bob-1h").Jar(cookies + "; sid=bob-1h")
		assert.Equal(t, cookies, browser)
		time.Sleep(2 * time.Hour)
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt | no-store | authenticate", a.Get(browser).String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}

// Each row is a further request, and whether it is judged anew.
func TestRulingIsRememberedForTheSameCookies(t *testing.T) {
	const minute = time.Minute
	for name, row := range map[string]struct {
		after time.Duration
		sid   string
		calls int32
	}{
		"the same cookie":                     {0, "sid=nobody", 1},
		"the same cookie, with others beside": {0, "theme=x; sid=nobody", 1},
		"another value":                       {0, "sid=none", 2},
		"the same value twice":                {0, "sid=nobody; sid=nobody", 1},
		"one value more":                      {0, "sid=nobody; sid=none", 3},
		"the same letters in two values":      {0, "sid=no; sid=body", 3},
		"the value under another name":        {0, "older=nobody", 2},
		"the same cookie in a minute":         {minute, "sid=nobody", 2},
		"the same cookie just before":         {minute - 1, "sid=nobody", 1},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				var calls atomic.Int32
				a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
					calls.Add(1)
					return apptest.Accounts(time.Now(), nil)(v)
				}
				cookies, _ := a.SignedIn(a.Ada)
				a.Asks(t, cookies)
				for range 10 {
					require.Equal(t, apptest.StaysAlone, a.Get(cookies+"; sid=nobody").String())
				}
				require.Equal(t, int32(1), calls.Load())
				time.Sleep(row.after)
				assert.Equal(t, apptest.StaysAlone, a.Get(cookies+"; "+row.sid).String())
				assert.Equal(t, row.calls, calls.Load())
			}, olderCookie)
		})
	}
}

// What was ruled of a legacy session counts for a minute, or for as long as it lives.
func TestRulingIsRememberedForAMinute(t *testing.T) {
	const minute, half = time.Minute, time.Minute / 2
	for _, row := range []struct {
		runsOut, after time.Duration // 0: it is unknown when it runs out
		calls          int
	}{{0, minute - 1, 1}, {0, minute, 2}, {time.Hour, minute - 1, 1}, {time.Hour, minute, 2}, {half, half - 1, 1}, {half, half, 2}} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			cookies, _ := a.SignedIn(a.Ada)
			a.Asks(t, cookies)
			calls, s := 0, apptest.LegacySession("ada", "ada-1")
			if row.runsOut != 0 {
				s.ExpiresAt = time.Now().Add(row.runsOut)
			}
			a.Resolve = func(string) (stytchmigrate.LegacySession, error) { calls++; return s, nil }
			require.Equal(t, apptest.StaysAlone, a.Get(cookies+"; sid=ada-1").String())
			time.Sleep(row.after)
			assert.Equal(t, apptest.StaysAlone, a.Get(cookies+"; sid=ada-1").String())
			assert.Equal(t, row.calls, calls, "%v", row)
		}, apptest.Stage(stytchmigrate.StageKeep))
	}
}

// A legacy session that was judged is none any more once it has expired.
func TestRulingEndsWithTheLegacySession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		ends := time.Now().Add(30 * time.Second)
		a.Resolve = apptest.Accounts(time.Now(), func(s *stytchmigrate.LegacySession) { s.ExpiresAt = ends })
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
		assert.Equal(t, staysAnd, a.Get(cookies+"; sid=ada").String())
		time.Sleep(30*time.Second - time.Nanosecond)
		assert.Equal(t, staysAnd, a.Get(cookies+"; sid=ada").String())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, apptest.StaysAlone, a.Get(cookies+"; sid=ada").String())
	})
}

// A ruling on one cookie is none on another that happens to have its value.
func TestRulingIsOfOneCookieName(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.Asks(t, cookies)
		assert.Equal(t, staysAnd, a.Get(cookies+"; sid=ada").String())
		assert.Equal(t, "authenticated ada | -older | no-store | -", a.Get(cookies+"; older=ada").String())
	}, olderCookie)
}

// olderCookie adds a second legacy cookie, "older", of the same values.
func olderCookie(c *stytchmigrate.Config) {
	c.Legacy = append(c.Legacy, stytchmigrate.LegacyCookie{Name: "older", Resolve: c.Legacy[0].Resolve})
}
