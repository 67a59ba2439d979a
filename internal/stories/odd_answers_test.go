package stories_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// remove is the value of a member that change takes away.
var remove any = new(int)

// change sets one member of an answer, at a path such as "session.user_id".
func change(path string, value any) stytchtest.Fault {
	return stytchtest.Mutate(func(body map[string]any) {
		if outer, inner, nested := strings.Cut(path, "."); nested {
			body, _ = body[outer].(map[string]any)
			path = inner
		}
		switch {
		case body == nil: // the answer is an error
		case value == remove:
			delete(body, path)
		default:
			body[path] = value
		}
	})
}

// Only what is acted on is needed of an answer. Any other member may be absent, null or of
// another type. The log names the member once, if the API promises it.
func TestMembersThatAreNotNeeded(t *testing.T) {
	// For these a value of another type is can't tell.
	const needed = " session session.session_id session.user_id session.started_at session.expires_at session_token session_jwt user user.user_id user.emails user.external_id user_id "
	var s map[string]map[string]string
	data, err := os.ReadFile("../../testdata/schema.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &s))
	for _, row := range []struct {
		op      stytchtest.Op
		answer  string
		cookies func(*apptest.App) string
		want    string
	}{
		{stytchtest.Migrate, "MigrateResponse", func(*apptest.App) string { return "sid=ada-1" }, "migrated ada"},
		{stytchtest.Authenticate, "AuthenticateResponse", func(a *apptest.App) string { c, _ := a.Expired(a.Ada, "both"); return c }, "authenticated ada"},
	} {
		paths := map[string]bool{} // and whether the API promises the member
		for name, kind := range s[row.answer] {
			presence, kind, _ := strings.Cut(kind, " ")
			paths[name] = presence == "required"
			for inner, kind := range s[kind] {
				paths[name+"."+inner] = strings.HasPrefix(kind, "required ")
			}
		}
		for path, promised := range paths {
			if strings.Contains(needed, " "+path+" ") || strings.HasPrefix(path, "user_device") || strings.HasPrefix(path, "verdict") {
				continue
			}
			for name, fault := range map[string]stytchtest.Fault{"absent": change(path, remove), "null": change(path, nil), "a number": change(path, 8675309.5), "a list": change(path, []any{1})} {
				t.Run(string(row.op)+"/"+path+"/"+name, func(t *testing.T) {
					apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
						cookies := row.cookies(a)
						a.Stytch.FailAll(row.op, fault)
						for range 2 {
							assert.Equal(t, row.want, a.Get(cookies).Saw)
							a.Restart(t)
						}
						told := regexp.MustCompile(`"path":"` + path + `(\[\])?"`).MatchString(a.Log.String())
						assert.Equal(t, promised || name == "a number" || name == "a list", told)
						assert.NotContains(t, a.Log.String(), "8675309", "no value is told")
					})
				})
			}
		}
	}
}

// The guard must not take a list of factors that is not in the answer for an empty one.
func TestFactorsThatAreNotTold(t *testing.T) {
	for _, path := range strings.Fields("password phone_numbers webauthn_registrations providers totps crypto_wallets biometric_registrations") {
		for name, fault := range map[string]stytchtest.Fault{"as usual": {}, "null": change("user."+path, nil), "a number": change("user."+path, 7)} {
			t.Run(path+"/"+name, func(t *testing.T) {
				apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
					unverified := stytchtest.Person("eve@example.com")
					unverified.Emails[0].Verified = false
					a.Stytch.AddUser(unverified)
					a.Stytch.Accept("eve-token", "eve@example.com")
					a.Stytch.FailAll(stytchtest.Migrate, fault)
					want := "refused"
					if name == "as usual" || path == "password" && name == "null" {
						want = "migrated somebody else"
					}
					a.Resolve = func(v string) (stytchmigrate.LegacySession, error) { return apptest.LegacySession("eve", v), nil }
					assert.Equal(t, want, a.Get("sid=eve-1").Saw)
				})
			})
		}
	}
}
