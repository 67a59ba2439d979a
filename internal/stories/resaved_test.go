package stories_test

import (
	"fmt"
	"strings"
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
					assert.Contains(t, out.String(), "migrated ada | +stytch_session +stytch_session_jwt -sid |")
					exchanged += a.Stytch.Count(stytchtest.Migrate)
					last = out.Jar("")
					time.Sleep(time.Second)
				}
				assert.Equal(t, row.exchanges, exchanged)
				assert.Len(t, a.Stytch.Sessions(), row.exchanges)
				out := a.Get(last + "; sid=saved-20")
				assert.True(t, strings.HasPrefix(out.String(), "authenticated ada | -sid |"), "no exchange beside Stytch's cookies: %s", out)
			})
		})
	}
}
