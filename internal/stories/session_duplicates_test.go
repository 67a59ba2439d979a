package stories_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

func TestSeveralSessionsInOneRequest(t *testing.T) {
	const (
		none    = "anonymous | - | - | "
		bob     = "authenticated bob | +stytch_session +stytch_session_jwt | no-store | authenticate"
		differs = "anonymous | -stytch_session -stytch_session_jwt | no-store | "
	)
	for name, row := range map[string]struct{ cookies, want string }{
		"two JWTs of one session, the newer last":   {"Ea Ja", apptest.FromJWT + "authenticate"},
		"two JWTs of one session, the newer first":  {"Ja Ea", apptest.FromJWT + "authenticate"},
		"two JWTs of two sessions of one user":      {"Ja Ja2", apptest.FromJWT + "authenticate"},
		"valid JWTs of two users":                   {"Ja Jb", none + "-"},
		"expired JWTs of two users":                 {"Ea Eb", none + "-"},
		"valid JWTs of two users, and a token":      {"Ja Jb Ta", apptest.Refreshed},
		"two tokens of one session's user":          {"Ta Ta2", apptest.Refreshed + " authenticate"},
		"tokens of two users":                       {"Ta Tb", none + "authenticate authenticate"},
		"a token of nobody, then one that is good":  {"X=AAAA Ta", apptest.Refreshed + " authenticate"},
		"tokens of two users, an expired JWT of a":  {"Tb Ta Ea", apptest.Refreshed},
		"tokens of two users, an expired JWT of b":  {"Tb Ta Eb", bob},
		"three tokens: each is asked about":         {"X=A1 X=A2 Ta", apptest.Refreshed + " authenticate authenticate"},
		"four tokens: three are asked about":        {"X=A1 X=A2 X=A3 Ta", none + "authenticate authenticate authenticate"},
		"a token of b, a valid JWT of a":            {"Tb Ja", apptest.FromJWT + "authenticate"},
		"a token of b, an expired JWT of a":         {"Tb Ea", differs + "authenticate"},
		"a token of b, a JWT that is rubbish":       {"Tb X_jwt=a.b.c", bob},
		"a token of another of the user's sessions": {"Ta2 Ea", apptest.Refreshed},
		"another project's":                         {"Ta F", none + "-"},
		"another project's JWT alone":               {"F", none + "-"},
		"another project's, and a valid JWT of a":   {"F Ta Ja", apptest.FromJWT + "authenticate"},
		"another project's, and an expired JWT":     {"F Ta Ea", apptest.Refreshed},
		"a token that is no token":                  {"X=a\x7fb Ja", apptest.FromJWT + "authenticate"},
		"a token of 4 KB":                           {"X=" + strings.Repeat("A", 4096), differs + "authenticate"},
		"a token of 4 KB and a byte":                {"X=" + strings.Repeat("A", 4097), none + "-"},
		"five JWTs: each is looked at":              {"X_jwt=1 X_jwt=2 X_jwt=3 X_jwt=4 Ja", apptest.FromJWT + "authenticate"},
		"six JWTs: none is":                         {"X_jwt=1 X_jwt=2 X_jwt=3 X_jwt=4 X_jwt=5 Ja", none + "-"},
		"empty cookies":                             {"X= X_jwt=", none + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				w := apptest.NewWallet(a)
				time.Sleep(6 * time.Minute)
				assert.Equal(t, row.want, a.Get(w.JWTHeader(row.cookies)).String())
				mismatch := strings.HasPrefix(row.cookies, "Tb Ea")
				assert.Equal(t, mismatch, len(a.Events) == 1 && a.Events[0].Kind == "mismatch", "%v", a.Events)
			})
		})
	}
}

// Of two JWTs of one session the newer one counts, in what Stytch is asked too.
func TestNewestJWT(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		older := a.Stytch.NewSession(a.Ada.ID, time.Hour)
		time.Sleep(time.Minute)
		newer := a.Stytch.JWT(older.ID)
		cookies := "stytch_session_jwt=" + older.JWT + "; stytch_session_jwt=" + newer
		require.Equal(t, apptest.FromJWT+"authenticate", a.Get(cookies).String())
		assert.Equal(t, newer, a.Stytch.Calls()[len(a.Stytch.Calls())-1].SessionJWT)
		assert.Equal(t, apptest.FromJWT+"-", a.Get(cookies).String())
	})
}

// A browser that got ahead of this process, or of another of its tabs, is never
// given an older JWT than the newest that is known.
func TestNoOldJWTIsHandedOut(t *testing.T) {
	for name, wait := range map[string]time.Duration{
		"a JWT that verifies though it has expired": 5*time.Minute + 10*time.Second,
		"a JWT that is about to expire":             4*time.Minute + 50*time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				old, s := a.SignedIn(a.Ada)
				time.Sleep(wait)
				require.Equal(t, apptest.Refreshed, a.Get("stytch_session="+s.Token).String())
				require.Equal(t, apptest.FromJWT+"-", a.Get(old).String())
				time.Sleep(time.Minute)
				late := a.Get(old)
				require.Equal(t, strings.TrimSuffix(apptest.Refreshed, "authenticate")+"-", late.String())
				assert.Equal(t, apptest.FromJWT+"-", a.Get(late.Jar(old)).String(), "what it was given is current")
			})
		})
	}
}

// Stytch cookies of another project are left alone; the legacy session counts. The
// log says so, once: the project may be the wrong one.
func TestAnotherProjectsCookies(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		theirs := apptest.NewWallet(a).JWTHeader("Ta F")
		first := a.Get(theirs + "; sid=ada-1")
		require.Equal(t, apptest.Swapped, first.String())
		// Theirs are of another Domain, so that the browser keeps and sends both.
		assert.Equal(t, apptest.FromJWT+"-", a.Get(theirs + "; " + first.Jar("") + "; " + "theme=dark").String()[:len(apptest.FromJWT)]+"-")
		assert.Equal(t, 1, strings.Count(a.Log.String(), `"setting":"Config.ProjectID"`))
	})
}

// Stytch's answer is about another user than the JWT that was asked about.
func TestAnswerAboutSomebodyElse(t *testing.T) {
	for _, cookies := range []string{"session", "jwt", "both", "valid"} {
		t.Run(cookies, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				bob := a.Stytch.NewSession(a.Bob.ID, time.Hour)
				sent, _ := a.Expired(a.Ada, cookies)
				if cookies == "valid" {
					sent, _ = a.SignedIn(a.Ada)
				}
				a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Mutate(func(b apptest.Object) {
					b["session_token"], b["session_jwt"] = bob.Token, a.Stytch.JWT(bob.ID)
					b["user"].(apptest.Object)["user_id"] = bob.UserID
					b["session"].(apptest.Object)["user_id"], b["session"].(apptest.Object)["session_id"] = bob.UserID, bob.ID
				}))
				want := apptest.SignedOut
				if cookies == "session" { // nothing says who that ought to be
					want = strings.Replace(apptest.Refreshed, "ada", "bob", 1)
				}
				assert.Equal(t, want, a.Get(sent).String())
			})
		})
	}
}

// Or it is about another of the user's sessions than the JWT is of: that one may
// have ended.
func TestAnswerAboutAnotherSession(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		sent, _ := a.SignedIn(a.Ada)
		other := a.Stytch.NewSession(a.Ada.ID, time.Hour)
		a.Stytch.FailAll(stytchtest.Authenticate, stytchtest.Mutate(func(b apptest.Object) {
			b["session_token"], b["session_jwt"] = other.Token, a.Stytch.JWT(other.ID)
			b["session"].(apptest.Object)["session_id"] = other.ID
		}))
		assert.Equal(t, apptest.SignedOut, a.Get(sent).String())
		require.Len(t, a.Events, 1)
		assert.Equal(t, "mismatch", a.Events[0].Kind)
	})
}

// An older legacy session of somebody else goes when a Stytch session begins,
// or the browser would fall back to that person when this one's session ends.
func TestNeverBackToSomebodyElse(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		signedInAt := time.Now()
		a.Resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := apptest.LegacySession("ada", value)
			s.StartedAt = signedInAt
			return s, nil
		}
		time.Sleep(time.Hour)
		s := a.Stytch.NewSession(a.Bob.ID, time.Hour)
		before := "sid=ada-1; stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
		first := a.Get(before)
		assert.Equal(t, "authenticated bob | -sid | no-store | authenticate", first.String())
		time.Sleep(2 * time.Hour)
		assert.Equal(t, apptest.SignedOut, a.Get(first.Jar(before)).String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}
