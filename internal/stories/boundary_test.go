package stories_test

import (
	"cmp"
	"context"
	"io"
	"log/slog"
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

// A request that looked before an exchange, and asks once it is over, finds
// what came of it.
func TestExchangeThatEndsBetweenTwoLooks(t *testing.T) {
	var between func()
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		between = func() { assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String()) }
		assert.Equal(t, apptest.Swapped, a.Get("sid=ada-1").String(), "the one call is that of the request in between")
		assert.Len(t, a.Stytch.Sessions(), 1)
	}, func(c *stytchmigrate.Config) {
		c.TelemetryID = func(*http.Request) string { // runs after the look, before the call
			if f := between; f != nil {
				between = nil
				f()
			}
			return ""
		}
	})
}

// One of two tokens has ended, and of the other nobody can tell.
func TestOneTokenEndedAndOneUnsure(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		first, second := a.Stytch.Sessions()[0], a.Stytch.NewSession(a.Ada.ID, time.Hour*24*30)
		time.Sleep(time.Hour)
		a.Stytch.RevokeSession(first.ID)
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}, stytchtest.Reset(), stytchtest.Reset())
		assert.Equal(t, apptest.UnavailableUntouched+"authenticate authenticate authenticate",
			a.Get("stytch_session="+first.Token+"; stytch_session="+second.Token).String())
	})
}

// panickingLog is a log handler that fails on what is told of a call.
type panickingLog struct{ slog.Handler }

func (panickingLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "call to Stytch failed") {
		panic("ada@example.com")
	}
	return nil
}

func TestPanicOfALogHandlerIsNotQuoted(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Stytch.FailAll(stytchtest.Migrate, stytchtest.Reset())
		assert.Equal(t, "unavailable", a.Get("sid=ada-1").Saw)
		require.Len(t, a.Requests, 1)
		assert.EqualError(t, a.Requests[0].Err, "stytchmigrate: panic in a call to Stytch (string)")
	}, func(c *stytchmigrate.Config) { c.Logger = slog.New(panickingLog{slog.NewTextHandler(io.Discard, nil)}) })
}

// A session that was overtaken was ended here, not by its user: the legacy
// session that it came from is none the worse for it.
func TestOvertakenDoesNotEndTheOrigin(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Resolve = apptest.Accounts(time.Now(), nil)
		cookies := a.Get("sid=ada+0h").Jar("")
		time.Sleep(2 * time.Hour)
		a.Get(cookies + "; sid=bob+1h")
		time.Sleep(time.Minute)
		assert.Equal(t, "migrated ada | +stytch_session +stytch_session_jwt -sid | no-store | authenticate migrate",
			a.Get(cookies+"; sid=ada+0h").String())
	})
}

func TestFingerprintsAreKeyed(t *testing.T) {
	seen := map[string]bool{}
	for _, key := range []string{"k", "l"} {
		a := apptest.New(t, stytchtest.Config{InProcess: true, ProjectID: "project-test-1", Secret: "secret-test-1"}, func(c *stytchmigrate.Config) {
			c.RecordKey = stytchmigrate.Secret(strings.Repeat(key, 32))
		})
		a.Get("sid=ada-1")
		seen[a.Requests[0].Fingerprint] = true
		seen[a.Stytch.Sessions()[0].CustomClaims["legacy_session"].(string)] = true
	}
	assert.Len(t, seen, 4, "nobody without the key can tell whose they are")
}

func TestLogoutBounds(t *testing.T) {
	for cookies, want := range map[string]int{
		"stytch_session=A1; stytch_session=A2; stytch_session=A3; stytch_session=A4":                                                                     4,
		"stytch_session=A; stytch_session=B; stytch_session=C; stytch_session=D; stytch_session=E; stytch_session=F; stytch_session=G; stytch_session=H": 6,
		"stytch_session=" + strings.Repeat("A", 4096):                                                                                                    1,
		"stytch_session=" + strings.Repeat("A", 4097):                                                                                                    0,
		"stytch_session=a\x7fb": 0,
	} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.LogOut(cookies)
			assert.Equal(t, want, a.Stytch.Count(stytchtest.Revoke))
		})
	}
}

func TestUnvouchedIsLoggedOnce(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		a.Get("sid=ada-1")
		a.Get("sid=ada-1")
		assert.Equal(t, 1, strings.Count(a.Log.String(), "legacy session refused"))
	}, apptest.Resolving(stytchmigrate.LegacySession{ID: "1", Token: "ada-token"}), func(c *stytchmigrate.Config) {
		l := &c.Legacy[0]
		inner := l.Resolve
		l.Resolve = func(r *http.Request, v string) (stytchmigrate.LegacySession, error) {
			s, err := inner(r, v)
			s.Identity.Subject = "ada"
			return s, err
		}
	})
}

// To strings.EqualFold these are a k and an s.
func TestLettersThatFoldToASCII(t *testing.T) {
	for _, email := range []string{"\u212aes@example.com", "ke\u017f@example.com"} {
		apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
			a.Stytch.AddUser(stytchtest.Person("kes@example.com"))
			a.Stytch.Accept("kes-token", "kes@example.com")
			a.Stytch.Fail(stytchtest.Migrate, stytchtest.Mutate(func(body map[string]any) {
				body["user"].(map[string]any)["emails"].([]any)[0].(map[string]any)["email"] = email
			}))
			assert.Equal(t, apptest.RefusedUntouched+"migrate revoke", a.Get("sid=kes-1").String())
		}, apptest.Resolving(stytchmigrate.LegacySession{ID: "1", Token: "kes-token",
			Identity: userinfo.Identity{Subject: "kes", Email: "kes@example.com", EmailVerified: true}}))
	}
}

// The same id under another user, start, cookie or project is another session.
func TestWhatMakesARecord(t *testing.T) {
	seen := map[any]string{}
	for name, row := range map[string]struct {
		id, subject, cookie, project string
		startedAt                    time.Time
	}{
		"one":             {id: "1", subject: "ada"},
		"another id":      {id: "2", subject: "ada"},
		"another user":    {id: "1", subject: "eve"},
		"another border":  {id: "1a", subject: "da"},
		"another cookie":  {id: "1", subject: "ada", cookie: "old"},
		"another start":   {id: "1", subject: "ada", startedAt: time.Unix(1, 0)},
		"another project": {id: "1", subject: "ada", project: "project-test-2"},
	} {
		a := apptest.New(t, stytchtest.Config{InProcess: true, ProjectID: cmp.Or(row.project, "project-test-1")}, func(c *stytchmigrate.Config) {
			c.RecordKey = stytchmigrate.Secret(strings.Repeat("k", 32))
			c.Legacy[0].Name = cmp.Or(row.cookie, "sid")
			c.Legacy[0].Resolve = func(*http.Request, string) (stytchmigrate.LegacySession, error) {
				s := apptest.LegacySession("ada", row.id)
				s.Identity.Subject, s.StartedAt = row.subject, row.startedAt
				return s, nil
			}
		})
		require.Equal(t, "migrated ada", a.Get("sid=v; old=v").Saw)
		record := a.Stytch.Sessions()[0].CustomClaims["legacy_session"]
		assert.Empty(t, seen[record], name)
		seen[record] = name
	}
}
