package stytchmigrate_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
	"example.com/stytchmigrate/userinfo"
)

// Each row is a row of the README's table "What happens to a request": what was before,
// the cookies that the request carries, and the outcome, the cookies that the response
// changes and the calls to Stytch.
func TestWhatHappensToARequest(t *testing.T) {
	const known, tried = "authenticated ada" + apptest.CookiesUntouched, apptest.CookiesUntouched + "migrate migrate"
	nothing := func(*apptest.App) {}
	moved := func(a *apptest.App) { a.Get("sid=ada-1") }
	down := func(a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Error(503, "down"))
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Error(503, "down"))
	}
	for name, row := range map[string]struct {
		before  func(*apptest.App)
		cookies string // J for a JWT that verifies, E for one that has expired, T for a token
		want    string
	}{
		"a JWT that verifies":            {nothing, "J", known + "authenticate"},
		"a JWT that is known":            {func(a *apptest.App) { a.Get("stytch_session_jwt=" + a.Stytch.Sessions()[0].JWT) }, "J", known + "-"},
		"a JWT, while Stytch is down":    {down, "J", "authenticated partial ada" + apptest.CookiesUntouched + "authenticate authenticate"},
		"a token":                        {nothing, "T", apptest.Refreshed},
		"a token, while Stytch is down":  {down, "T", apptest.UnavailableUntouched + "authenticate authenticate"},
		"a JWT that has expired":         {nothing, "E", apptest.Refreshed},
		"an expired JWT, Stytch is down": {down, "E", apptest.UnavailableUntouched + "authenticate authenticate"},
		"a legacy cookie":                {nothing, "sid=ada-1", apptest.Moved},
		"a legacy cookie that has moved": {moved, "sid=ada-1", apptest.MovedAfter + "-"},
		"both, the next time":            {moved, "both", apptest.Replaced},
		"the same, 10 seconds later":     {func(a *apptest.App) { moved(a); time.Sleep(10 * time.Second) }, "sid=ada-1", apptest.MovedAfter + "authenticate"},
		"a legacy cookie, logged out":    {func(a *apptest.App) { a.LogOut("sid=ada-1") }, "sid=ada-1", apptest.Refused},
		"one that Stytch refuses":        {func(a *apptest.App) { a.Stytch.RemoveUser(a.Ada.ID) }, "sid=ada-1", apptest.RefusedUntouched + "migrate"},
		"one that a rule refuses": {func(a *apptest.App) {
			a.Resolve = apptest.ResolveWithStart(time.Now(), setIdentity(userinfo.Identity{Subject: "ada"}))
		}, "sid=ada", apptest.Refused},
		"one that can't be resolved now":  {func(a *apptest.App) { a.Resolve = apptest.ResolveDuplicates }, "sid=error", apptest.UnavailableUntouched + "-"},
		"a legacy cookie, Stytch is down": {down, "sid=ada-1", "unavailable" + tried},
		"a legacy cookie, but no session": {nothing, "sid=nobody", apptest.Anonymous},
		"cookies of some other purpose":   {nothing, "theme=dark", apptest.Anonymous},
		"no cookie":                       {nothing, "", apptest.Anonymous},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				cookies := row.cookies
				switch both, s := a.SignedIn(a.Ada); cookies {
				case "E":
					time.Sleep(6 * time.Minute)
					fallthrough
				case "J":
					_, cookies, _ = strings.Cut(both, "; ")
				case "T":
					cookies = "stytch_session=" + s.Token
				}
				row.before(a)
				if moved := a.Stytch.Sessions(); cookies == "both" {
					cookies = "sid=ada-1; stytch_session_jwt=" + moved[len(moved)-1].JWT
				}
				assert.Equal(t, row.want, a.Get(cookies).String())
			})
		})
	}
}

// A token or a legacy value elsewhere in a request signs no user in.
func TestOnlyTheCookieHeaderSaysWhoTheUserIs(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		_, s := a.SignedIn(a.Ada)
		for _, value := range []string{"ada-1", s.Token, s.JWT} {
			assert.Equal(t, apptest.Anonymous, a.Get("", func(r *http.Request) {
				r.Header.Set("Authorization", "Bearer "+value)
				r.URL.RawQuery = "sid=" + value + "&stytch_session=" + value + "&stytch_session_jwt=" + value
			}).String())
		}
	})
}

const (
	neither = "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | -"
	bobWins = "migrated bob | +stytch_session +stytch_session_jwt | no-store | migrate revoke"
)

func setIdentity(id userinfo.Identity) func(*stytchmigrate.LegacySession) {
	return func(s *stytchmigrate.LegacySession) { s.Identity = id }
}

// Each row is a native Stytch session of ada, beside a legacy cookie.
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
		legacy   func(*stytchmigrate.LegacySession) // changes what Resolve returns
		user     func(*stytchtest.User)             // changes ada at Stytch
		request  func(*http.Request)                // nil: a GET for a page
		want     string
		passedOn string // what the handler sees: S for ada's Stytch cookies, N for new ones
	}{
		"the same person":               {"ada", nil, nil, nil, apptest.Replaced, "S"},
		"the same person, later":        {"ada+1h", nil, nil, nil, apptest.Replaced, "S"},
		"the same person, a form":       {"ada", nil, nil, post, apptest.Replaced, "S sid=ada"},
		"the same person, an image":     {"ada", nil, nil, image, apptest.Authenticated, "S sid=ada"},
		"the same email in other case":  {"ada", setIdentity(userinfo.Identity{Subject: "ada", Email: "ADA@Example.com", EmailVerified: true}), nil, nil, apptest.Replaced, "S"},
		"no session":                    {"nobody", nil, nil, nil, apptest.Authenticated, "S sid=nobody"},
		"another person, later":         {"bob+1h", nil, nil, nil, bobWins, "sid=bob+1h N"},
		"another person, later, a form": {"bob+1h", nil, nil, post, bobWins, "sid=bob+1h N"},
		"another person, later, an image, which changes no cookie": {"bob+1h", nil, nil, image, "migrated bob" + apptest.CookiesUntouched + "migrate revoke", "S sid=bob+1h"},
		"another person, earlier":                                  {"bob-1h", nil, nil, nil, apptest.Replaced, "S"},
		"another person, earlier, a form":                          {"bob-1h", nil, nil, post, apptest.Replaced, "S"},
		"another person, earlier, an image":                        {"bob-1h", nil, nil, image, apptest.Authenticated, "S"},
		"another person, at the same moment":                       {"bob+0s", nil, nil, nil, apptest.Replaced, "S"},
		"another person, unknown when":                             {"bob", nil, nil, nil, neither, ""},
		"another person, unknown when, a form":                     {"bob", nil, nil, post, neither, ""},
		"another person, unknown when, an image":                   {"bob", nil, nil, image, apptest.Anonymous, ""},

		"without Identity":                    {"bob", nobody, nil, nil, apptest.Authenticated, "S sid=bob"},
		"without an email":                    {"bob", setIdentity(userinfo.Identity{Subject: "bob"}), nil, nil, apptest.Authenticated, "S sid=bob"},
		"her email, unverified":               {"ada", unverified, nil, nil, apptest.Authenticated, "S sid=ada"},
		"her email, unverified at Stytch":     {"ada", nil, func(u *stytchtest.User) { u.Emails[0].Verified, u.HasPasskey = false, true }, nil, apptest.Authenticated, "S sid=ada"},
		"her email, and she has nothing else": {"ada", nil, func(u *stytchtest.User) { u.Emails[0].Verified = false }, nil, apptest.Replaced, "S"},
		"her second email": {"ada", nil, func(u *stytchtest.User) {
			u.Emails = append([]stytchtest.Email{{Email: "a@example.com", Verified: true}}, u.Emails...)
		}, nil, apptest.Replaced, "S"},
		"another's email, unverified":               {"bob", unverified, nil, nil, neither, ""},
		"another's email, unverified, later":        {"bob+1h", unverified, nil, nil, apptest.Refused, "S sid=bob+1h"},
		"her external id, another email":            {"bob", nil, func(u *stytchtest.User) { u.ExternalID = "bob" }, nil, apptest.Replaced, "S"},
		"her email, another external id":            {"ada", nil, func(u *stytchtest.User) { u.ExternalID = "another" }, nil, neither, ""},
		"her email, another external id, earlier":   {"ada-1h", nil, func(u *stytchtest.User) { u.ExternalID = "another" }, nil, apptest.Replaced, "S"},
		"her external id, without a subject beside": {"ada", setIdentity(userinfo.Identity{Email: "ada@example.com", EmailVerified: true}), func(u *stytchtest.User) { u.ExternalID = "ada" }, nil, apptest.Authenticated, "S sid=ada"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				if row.user != nil {
					a.Stytch.UpdateUser(a.Ada.ID, row.user)
				}
				cookies, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
				a.Resolve = apptest.ResolveWithStart(time.Now(), row.legacy)
				var change []func(*http.Request)
				if row.request != nil {
					change = append(change, row.request)
				}
				both := cookies + "; sid=" + row.sid
				first := a.Get(both, change...)
				assert.Equal(t, row.want, first.Settled())
				assert.Equal(t, row.passedOn, a.ShortenCookies(cookies, a.CookiesSeen[1]))
				if strings.Contains(row.want, "ada") || row.passedOn == "" {
					assert.Equal(t, row.want, a.Get(both, change...).Settled(), "the same again")
				}
			})
		})
	}
}

// Each row is a ruling, and which sessions Stytch still has and which events there
// were afterwards.
func TestConflictIsReportedAndAnOlderSessionRevoked(t *testing.T) {
	for name, row := range map[string]struct {
		sid    string
		alive  string // whose sessions are alive at Stytch
		events []string
	}{
		"the same person":         {"ada", "ada", nil},
		"another person, later":   {"bob+1h", "bob", nil},
		"another person, earlier": {"bob-1h", "ada", nil},
		"another, unknown when":   {"bob", "ada", []string{"conflict"}},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
				cookies, _ := a.SignedIn(a.Ada)
				a.LearnSession(t, cookies)
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

// The legacy session that a Stytch session came from is the same person's, whatever
// Resolve returns for it now.
func TestOriginIsTheSamePerson(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		id := "ada@example.com"
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{ID: "1", Identity: userinfo.Identity{Subject: "17", Email: id, EmailVerified: true}, Token: "ada-token"}, nil
		}
		cookies := a.Get("sid=1").Jar("")
		id = "bob@example.com" // the address changed in the old system
		assert.Equal(t, apptest.Replaced, a.Get(cookies+"; sid=1").String())
	})
}

// If Resolve fails, the request is decided by the Stytch session alone.
func TestStytchSessionStaysWhenResolveFails(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, cookies)
		a.Resolve = func(string) (stytchmigrate.LegacySession, error) {
			return stytchmigrate.LegacySession{}, errors.New("canary")
		}
		assert.Equal(t, apptest.Authenticated, a.Get(cookies+"; sid=bob").String())
		assert.Contains(t, a.Log.String(), `Resolve of cookie \"sid\" failed (*errors.errorString)`)
		assert.NotContains(t, a.Log.String(), "canary")

		a.Resolve = func(string) (stytchmigrate.LegacySession, error) { panic("mine") }
		assert.PanicsWithValue(t, "mine", func() { a.Get(cookies + "; sid=bob") })

		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		assert.Equal(t, neither, a.Get(cookies+"; sid=bob").String(), "and by both once Resolve works")
	})
}

// A request with a token and no JWT is decided by the same rules.
func TestTwoSessionsWithATokenAlone(t *testing.T) {
	for name, row := range map[string]struct{ sid, want string }{
		"the same person": {"ada", "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate"},
		"later":           {"bob+1h", "migrated bob | +stytch_session +stytch_session_jwt | no-store | authenticate migrate revoke"},
		"earlier":         {"bob-1h", "authenticated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate"},
		"unknown when":    {"bob", "anonymous | -stytch_session -stytch_session_jwt -sid | no-store | authenticate"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
				_, s := a.SignedIn(a.Ada)
				assert.Equal(t, row.want, a.Get("stytch_session="+s.Token+"; sid="+row.sid).Settled())
			})
		})
	}
}

// A ruling counts for a minute, or until the legacy session expires if that is sooner.
// Then the legacy session is none.
func TestRulingIsRememberedForAMinuteAtMost(t *testing.T) {
	const minute, half = time.Minute, time.Minute / 2
	for _, row := range []struct {
		expires, after time.Duration // expires 0: unknown
		calls          int
		want           string
	}{
		{0, minute - 1, 1, apptest.Replaced}, {0, minute, 2, apptest.Replaced},
		{time.Hour, minute - 1, 1, apptest.Replaced}, {time.Hour, minute, 2, apptest.Replaced},
		{half, half - 1, 1, apptest.Replaced}, {half, half, 2, apptest.Authenticated},
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			cookies, _ := a.SignedIn(a.Ada)
			a.LearnSession(t, cookies)
			calls, s := 0, apptest.LegacySession("ada", "ada-1")
			if row.expires != 0 {
				s.ExpiresAt = time.Now().Add(row.expires)
			}
			a.Resolve = func(string) (stytchmigrate.LegacySession, error) { calls++; return s, nil }
			require.Equal(t, apptest.Replaced, a.Get(cookies+"; sid=ada-1").String())
			time.Sleep(row.after)
			assert.Equal(t, row.want, a.Get(cookies+"; sid=ada-1").String())
			assert.Equal(t, row.calls, calls, "%v", row)
		})
	}
}

// A ruling on one cookie does not count for a cookie of another name with the same
// value.
func TestRulingIsOfOneCookieName(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.ResolveWithStart(time.Now(), nil)
		cookies, _ := a.SignedIn(a.Ada)
		a.LearnSession(t, cookies)
		assert.Equal(t, apptest.Replaced, a.Get(cookies+"; sid=ada").String())
		assert.Equal(t, "authenticated ada | -older | no-store | -", a.Get(cookies+"; older=ada").String())
	}, olderCookie)
}

// olderCookie adds a second legacy cookie, "older", that takes the same values.
func olderCookie(c *stytchmigrate.Config) {
	c.Legacy = append(c.Legacy, stytchmigrate.LegacyCookie{Name: "older", Resolve: c.Legacy[0].Resolve})
}

// Stytch ended the session, in its dashboard for example. Its legacy session is refused
// from then on, or the user would be signed in again by the next request.
func TestSessionThatEndedAtStytchEndsItsLegacySession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		cookies := a.Get("sid=ada-1").Jar("")
		time.Sleep(6 * time.Minute)
		a.Stytch.RevokeSession(a.Stytch.Sessions()[0].ID)
		assert.Equal(t, "refused | -stytch_session -stytch_session_jwt | no-store | authenticate", a.Get(cookies+"; sid=ada-1").String())
		assert.Equal(t, apptest.Refused, a.Get("sid=ada-1").String())
	})
}

// Each row is the Stytch cookies of two people, beside a legacy cookie of ada's: T a
// token, J a JWT that verifies, E an expired one, a and b whose. Neither person is signed
// in by them. If Stytch says that both are, the legacy session is not exchanged either.
func TestStytchCookiesOfTwoPeople(t *testing.T) {
	for name, row := range map[string]struct{ cookies, want, event string }{
		"two JWTs":                      {"Ja Jb", apptest.Moved, ""},
		"two tokens":                    {"Ta Tb", "anonymous" + apptest.CookiesUntouched + "authenticate authenticate", ""},
		"a token that is not the JWT's": {"Tb Ea", apptest.MovedAfter + "authenticate migrate", "mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				w := apptest.NewWallet(a)
				time.Sleep(6 * time.Minute)
				assert.Equal(t, row.want, a.Get(w.CookieHeader(row.cookies)+"; sid=ada-1").String())
				var events string
				for _, e := range a.Events {
					events += e.Kind
				}
				assert.Equal(t, row.event, events)
			})
		})
	}
}
