package stytchmigrate_test

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

const (
	staysAlone = "authenticated ada" + keep + "-"
	staysAnd   = "authenticated ada | -sid | no-store | -"
	neither    = "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | -"
	bobWins    = "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | migrate revoke"
)

// asks makes the middleware know the session in cookies, by one request.
func (a *app) asks(t *testing.T, cookies string) {
	t.Helper()
	require.Equal(t, "authenticated ada"+keep+"authenticate", a.get(cookies).String())
}

// settled is the reply once what goes on behind the request is over too.
func (r *reply) settled() string {
	synctest.Wait()
	return r.String()
}

// legacyOf makes "bob+1h" the legacy session of bob, who signed in an hour
// after the test began, "ada" one of ada's without a time, and so on. What
// change says is true of each.
func legacyOf(began time.Time, change func(*stytchmigrate.LegacySession)) func(string) (stytchmigrate.LegacySession, error) {
	return func(v string) (stytchmigrate.LegacySession, error) {
		at := strings.IndexAny(v, "+-")
		name, when := v, ""
		if at >= 0 {
			name, when = v[:at], v[at:]
		}
		if name != "ada" && name != "bob" {
			return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
		}
		s := legacySession(name, v)
		if d, err := time.ParseDuration(when); err == nil {
			s.StartedAt = began.Add(d)
		}
		if change != nil {
			change(&s)
		}
		return s, nil
	}
}

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
		"the same person, an image":     {"ada", nil, nil, image, staysAlone, "S sid=ada"},
		"the same email in other case":  {"ada", setIdentity(userinfo.Identity{Subject: "ada", Email: "ADA@Example.com", EmailVerified: true}), nil, nil, staysAnd, "S"},
		"no session":                    {"nobody", nil, nil, nil, staysAlone, "S sid=nobody"},
		"another person, later":         {"bob+1h", nil, nil, nil, bobWins, "N"},
		"another person, later, a form": {"bob+1h", nil, nil, post, bobWins, "sid=bob+1h N"},
		"another person, later, an image, which changes no cookie": {"bob+1h", nil, nil, image, "migrated bob" + keep + "migrate revoke", "S sid=bob+1h"},
		"another person, earlier":                                  {"bob-1h", nil, nil, nil, staysAnd, "S"},
		"another person, earlier, a form":                          {"bob-1h", nil, nil, post, staysAnd, "S"},
		"another person, earlier, an image":                        {"bob-1h", nil, nil, image, staysAlone, "S"},
		"another person, at the same moment":                       {"bob+0s", nil, nil, nil, staysAnd, "S"},
		"another person, unknown when":                             {"bob", nil, nil, nil, neither, ""},
		"another person, unknown when, a form":                     {"bob", nil, nil, post, neither, ""},
		"another person, unknown when, an image":                   {"bob", nil, nil, image, anonymous, ""},

		"nobody knows whose":                       {"bob", nobody, nil, nil, staysAlone, "S sid=bob"},
		"no email":                                 {"bob", setIdentity(userinfo.Identity{Subject: "bob"}), nil, nil, staysAlone, "S sid=bob"},
		"her email, which nobody verified":         {"ada", unverified, nil, nil, staysAlone, "S sid=ada"},
		"her email, which Stytch has not verified": {"ada", nil, func(u *stytchtest.User) { u.Emails[0].Verified, u.HasPasskey = false, true }, nil, staysAlone, "S sid=ada"},
		"her email, and she has nothing else":      {"ada", nil, func(u *stytchtest.User) { u.Emails[0].Verified = false }, nil, staysAnd, "S"},
		"her second email": {"ada", nil, func(u *stytchtest.User) {
			u.Emails = append([]stytchtest.Email{{Email: "a@example.com", Verified: true}}, u.Emails...)
		}, nil, staysAnd, "S"},
		"another's email, which nobody verified":    {"bob", unverified, nil, nil, neither, ""},
		"later, another's email, nobody verified":   {"bob+1h", unverified, nil, nil, refused, "S sid=bob+1h"},
		"her external id, another email":            {"bob", nil, func(u *stytchtest.User) { u.ExternalID = "bob" }, nil, staysAnd, "S"},
		"her email, another external id":            {"ada", nil, func(u *stytchtest.User) { u.ExternalID = "another" }, nil, neither, ""},
		"her email, another external id, earlier":   {"ada-1h", nil, func(u *stytchtest.User) { u.ExternalID = "another" }, nil, staysAnd, "S"},
		"her external id, without a subject beside": {"ada", setIdentity(userinfo.Identity{Email: "ada@example.com", EmailVerified: true}), func(u *stytchtest.User) { u.ExternalID = "ada" }, nil, staysAlone, "S sid=ada"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				if row.user != nil {
					a.stytch.UpdateUser(a.ada.ID, row.user)
				}
				cookies, _ := a.signedIn(a.ada)
				a.asks(t, cookies)
				a.resolve = legacyOf(time.Now(), row.legacy)
				var change []func(*http.Request)
				if row.request != nil {
					change = append(change, row.request)
				}
				both := cookies + "; sid=" + row.sid
				first := a.get(both, change...)
				assert.Equal(t, row.want, first.settled())
				assert.Equal(t, row.passedOn, a.short(cookies, a.passedOn[1]))
				if strings.Contains(row.want, "ada") || row.passedOn == "" {
					assert.Equal(t, row.want, a.get(both, change...).settled(), "the same again")
				}
			})
		})
	}
}

// short is a Cookie header with S for the given Stytch cookies and N for others.
func (a *app) short(stytch, header string) string {
	header = strings.ReplaceAll(header, stytch, "S")
	for _, s := range a.stytch.Sessions() {
		header = strings.ReplaceAll(header, "stytch_session="+s.Token+"; stytch_session_jwt="+s.JWT, "N")
	}
	return strings.ReplaceAll(header, "; ", " ")
}

// Of the events, and of the sessions at Stytch, after each kind of ruling.
func TestTwoSessionsAfterwards(t *testing.T) {
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
			inBubble(t, func(t *testing.T, a *app) {
				a.resolve = legacyOf(time.Now(), nil)
				cookies, _ := a.signedIn(a.ada)
				a.asks(t, cookies)
				a.get(cookies + "; sid=" + row.sid).settled()
				var alive []string
				for _, s := range a.stytch.Sessions() {
					if s.Live {
						alive = append(alive, map[string]string{a.ada.ID: "ada", a.bob.ID: "bob"}[s.UserID])
					}
				}
				assert.Equal(t, row.alive, strings.Join(alive, " "))
				var events []string
				for _, e := range a.events {
					events = append(events, e.Kind)
					assert.NotEmpty(t, e.Fingerprint)
				}
				assert.Equal(t, row.events, events)
				assert.NotContains(t, a.log.String(), "@example")
			})
		})
	}
}

// The legacy session that the Stytch session came from is no other person's,
// whatever Resolve says of it by now.
func TestOriginIsTheSame(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		id := "ada@example.com"
		a.resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{ID: "1", Identity: userinfo.Identity{Subject: "17", Email: id, EmailVerified: true}, Token: "ada-token"}, nil
		}
		cookies := a.get("sid=1").jar("")
		id = "bob@example.com" // an address that changed in the old system
		assert.Equal(t, staysAnd, a.get(cookies+"; sid=1").String())
	})
}

// What can't be judged leaves the Stytch session as it is.
func TestResolveFailsBesideStytch(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		cookies, _ := a.signedIn(a.ada)
		a.asks(t, cookies)
		a.resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, errors.New("canary")
		}
		assert.Equal(t, staysAlone, a.get(cookies+"; sid=bob").String())
		assert.Contains(t, a.log.String(), `Resolve of cookie \"sid\" failed (*errors.errorString)`)
		assert.NotContains(t, a.log.String(), "canary")

		a.resolve = func(string) (stytchmigrate.LegacySession, error) { panic("mine") }
		assert.PanicsWithValue(t, "mine", func() { a.get(cookies + "; sid=bob") })

		a.resolve = legacyOf(time.Now(), nil)
		assert.Equal(t, neither, a.get(cookies+"; sid=bob").String(), "it is judged when it can be")
	})
}

// Each row is a further request, and whether it is judged anew.
func TestJudgedOnce(t *testing.T) {
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
			inBubble(t, func(t *testing.T, a *app) {
				var calls atomic.Int32
				a.resolve = func(v string) (stytchmigrate.LegacySession, error) {
					calls.Add(1)
					return legacyOf(time.Now(), nil)(v)
				}
				cookies, _ := a.signedIn(a.ada)
				a.asks(t, cookies)
				for range 10 {
					require.Equal(t, staysAlone, a.get(cookies+"; sid=nobody").String())
				}
				require.Equal(t, int32(1), calls.Load())
				time.Sleep(row.after)
				assert.Equal(t, staysAlone, a.get(cookies+"; "+row.sid).String())
				assert.Equal(t, row.calls, calls.Load())
			}, olderCookie)
		})
	}
}

// What was ruled of a legacy session counts for a minute, or for as long as it lives.
func TestJudgedUntilItRunsOut(t *testing.T) {
	const minute, half = time.Minute, time.Minute / 2
	for _, row := range []struct {
		runsOut, after time.Duration // 0: it is unknown when it runs out
		calls          int
	}{{0, minute - 1, 1}, {0, minute, 2}, {time.Hour, minute - 1, 1}, {time.Hour, minute, 2}, {half, half - 1, 1}, {half, half, 2}} {
		inBubble(t, func(t *testing.T, a *app) {
			cookies, _ := a.signedIn(a.ada)
			a.asks(t, cookies)
			calls, s := 0, legacySession("ada", "ada-1")
			if row.runsOut != 0 {
				s.ExpiresAt = time.Now().Add(row.runsOut)
			}
			a.resolve = func(string) (stytchmigrate.LegacySession, error) { calls++; return s, nil }
			require.Equal(t, staysAlone, a.get(cookies+"; sid=ada-1").String())
			time.Sleep(row.after)
			assert.Equal(t, staysAlone, a.get(cookies+"; sid=ada-1").String())
			assert.Equal(t, row.calls, calls, "%v", row)
		}, stage(stytchmigrate.StageKeep))
	}
}

// olderCookie adds a second legacy cookie, "older", of the same values.
func olderCookie(c *stytchmigrate.Config) {
	c.Legacy = append(c.Legacy, stytchmigrate.LegacyCookie{Name: "older", Resolve: c.Legacy[0].Resolve})
}

// A ruling on one cookie is none on another that happens to have its value.
func TestJudgementIsOfTheCookie(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), nil)
		cookies, _ := a.signedIn(a.ada)
		a.asks(t, cookies)
		assert.Equal(t, staysAnd, a.get(cookies+"; sid=ada").String())
		assert.Equal(t, "authenticated ada | -older | no-store | -", a.get(cookies+"; older=ada").String())
	}, olderCookie)
}

// A Stytch session known by its token alone is judged like any other.
func TestTwoSessionsByToken(t *testing.T) {
	for name, row := range map[string]struct{ sid, want string }{
		"the same person": {"ada", "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate"},
		"later":           {"bob+1h", "migrated bob | +stytch_session +stytch_session_jwt -sid | no-store | authenticate migrate revoke"},
		"earlier":         {"bob-1h", "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate"},
		"unknown when":    {"bob", "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | authenticate"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				a.resolve = legacyOf(time.Now(), nil)
				_, s := a.signedIn(a.ada)
				assert.Equal(t, row.want, a.get("stytch_session="+s.Token+"; sid="+row.sid).settled())
			})
		})
	}
}

// Where Stytch can't say who the user is, only the origin can be judged: nobody
// is taken for another person on a guess.
func TestTwoSessionsPartial(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		a.resolve = legacyOf(time.Now(), nil)
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "server_unavailable"))
		cookies, _ := a.signedIn(a.ada)
		assert.Equal(t, "authenticated partial ada"+keep+"authenticate authenticate", a.get(cookies+"; sid=bob").String())
		a.stytch.Heal(stytchtest.Any)
		time.Sleep(11 * time.Second)
		assert.Equal(t, "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | authenticate", a.get(cookies+"; sid=bob").String())
	})
}

// A legacy session that was judged is none any more once it has expired.
func TestJudgedUntilItExpires(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		ends := time.Now().Add(30 * time.Second)
		a.resolve = legacyOf(time.Now(), func(s *stytchmigrate.LegacySession) { s.ExpiresAt = ends })
		cookies, _ := a.signedIn(a.ada)
		a.asks(t, cookies)
		assert.Equal(t, staysAnd, a.get(cookies+"; sid=ada").String())
		time.Sleep(30*time.Second - time.Nanosecond)
		assert.Equal(t, staysAnd, a.get(cookies+"; sid=ada").String())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, staysAlone, a.get(cookies+"; sid=ada").String())
	})
}
