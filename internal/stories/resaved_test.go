package stories_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// A store that keeps the session in the cookie writes another value at each
// request. With an ID it is one session all the same. Without one each value is
// a session, and is exchanged, until the browser has Stytch's cookies.
func TestCookieOfManyValues(t *testing.T) {
	for name, row := range map[string]struct {
		id        stytchmigrate.Secret
		exchanges int
	}{
		"with an ID": {"ada-1", 1}, "without": {"", 20},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
					s := apptest.LegacySession("ada", "")
					s.ID, s.Token = row.id, stytchmigrate.Secret(value)
					return s, nil
				}
				exchanged, last := 0, ""
				for i := range 20 {
					value := fmt.Sprint("saved-", i)
					a.Stytch.Accept(value, "ada@example.com")
					out := a.Get("sid=" + value)
					assert.Contains(t, out.String(), "migrated ada | +stytch_session +stytch_session_jwt |")
					exchanged += a.Stytch.Count(stytchtest.Migrate)
					last = out.Jar("")
					time.Sleep(time.Second)
				}
				assert.Equal(t, row.exchanges, exchanged)
				assert.Len(t, a.Stytch.Sessions(), row.exchanges)
				for i := range 10 {
					out := a.Get(last + fmt.Sprint("; sid=saved-", 20+i))
					assert.Equal(t, apptest.Replaced, out.String(), "no exchange beside Stytch's cookies")
				}
			})
		})
	}
}

// A user logs out and signs in again, and the old code gives the new legacy
// session the id of the one before.
func TestSignInAgainUnderTheSameID(t *testing.T) {
	for name, known := range map[string]bool{"known when it started": true, "not known when it started": false} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				signedIn := time.Now()
				a.Resolve = func(v string) (stytchmigrate.LegacySession, error) {
					s := apptest.LegacySession("ada", v)
					if known {
						s.StartedAt = signedIn
					}
					return s, nil
				}
				a.LogOut(a.Get("sid=ada-1").Jar("sid=ada-1"))
				assert.Equal(t, apptest.RefusedUntouched+"-", a.Get("sid=ada-1").String())
				time.Sleep(time.Minute)
				signedIn = time.Now()
				out := a.Get("sid=ada-1")
				if !known {
					assert.Equal(t, apptest.RefusedUntouched+"-", out.String())
					assert.Equal(t, "ada", a.LegacySeen.Identity.Subject, "the old code can still serve the user")
					return
				}
				assert.Equal(t, apptest.Moved, out.String())
				assert.Equal(t, apptest.Replaced, a.Get(out.Jar("sid=ada-1")).String())
			})
		})
	}
}
