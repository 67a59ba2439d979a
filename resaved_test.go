package stytchmigrate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
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
			inBubble(t, func(t *testing.T, a *app) {
				a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
					s := legacySession("ada", "")
					s.ID, s.Token = row.id, stytchmigrate.Secret(value)
					return s, nil
				}
				exchanged, last := 0, ""
				for i := range 20 {
					value := fmt.Sprint("saved-", i)
					a.stytch.Accept(value, "ada@example.com")
					out := a.get("sid=" + value)
					assert.Contains(t, out.String(), "migrated ada | +stytch_session +stytch_session_jwt -sid |")
					exchanged += a.stytch.Count(stytchtest.Migrate)
					last = out.jar("")
					time.Sleep(time.Second)
				}
				assert.Equal(t, row.exchanges, exchanged)
				assert.Len(t, a.stytch.Sessions(), row.exchanges)
				out := a.get(last + "; sid=saved-20")
				assert.True(t, strings.HasPrefix(out.String(), "authenticated ada | -sid |"), "no exchange beside Stytch's cookies: %s", out)
			})
		})
	}
}
