package stytchmigrate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// wallet is what the rows of a table make Cookie headers of.
type wallet struct {
	a              *app
	ada, bob, ada2 stytchtest.Session // ada2 is another of ada's, on another device
}

func newWallet(a *app) wallet {
	session := func(u stytchtest.User) stytchtest.Session { return a.stytch.NewSession(u.ID, 30*24*time.Hour) }
	return wallet{a, session(a.ada), session(a.bob), session(a.ada)}
}

// header writes out the names: a for ada's, b for bob's, a2 for ada's other
// one; T for the token, J for a valid JWT, E for one that has expired, and F
// for another project's.
func (w wallet) jwtHeader(names string) string {
	var pairs []string
	for name := range strings.SplitSeq(names, " ") {
		s := map[string]stytchtest.Session{"a": w.ada, "b": w.bob, "a2": w.ada2}[name[1:]]
		switch name[0] {
		case 'T':
			pairs = append(pairs, "stytch_session="+s.Token)
		case 'E':
			pairs = append(pairs, "stytch_session_jwt="+s.JWT)
		case 'J':
			pairs = append(pairs, "stytch_session_jwt="+w.a.stytch.JWT(s.ID))
		case 'F':
			pairs = append(pairs, "stytch_session_jwt="+w.foreign())
		case 'X':
			pairs = append(pairs, "stytch_session"+name[1:])
		}
	}
	return strings.Join(pairs, "; ")
}

// foreign is a JWT of another project, as good as they come there.
func (w wallet) foreign() string {
	const other = "project-test-00000000-0000-4000-8000-000000000000"
	return w.a.stytch.SignJWT(changed(w.a.stytch.Claims(w.ada.ID), object{"iss": "stytch.com/" + other, "aud": []string{other}}), nil)
}

func TestSeveralSessionsInOneRequest(t *testing.T) {
	const (
		none    = "anonymous | - | - | "
		bob     = "authenticated bob | +stytch_session +stytch_session_jwt | no-store | authenticate"
		differs = "anonymous | -stytch_session -stytch_session_jwt | no-store | "
	)
	for name, row := range map[string]struct{ cookies, want string }{
		"two JWTs of one session, the newer last":   {"Ea Ja", fromJWT + "authenticate"},
		"two JWTs of one session, the newer first":  {"Ja Ea", fromJWT + "authenticate"},
		"two JWTs of two sessions of one user":      {"Ja Ja2", fromJWT + "authenticate"},
		"valid JWTs of two users":                   {"Ja Jb", none + "-"},
		"expired JWTs of two users":                 {"Ea Eb", none + "-"},
		"valid JWTs of two users, and a token":      {"Ja Jb Ta", refreshed},
		"two tokens of one session's user":          {"Ta Ta2", refreshed + " authenticate"},
		"tokens of two users":                       {"Ta Tb", none + "authenticate authenticate"},
		"a token of nobody, then one that is good":  {"X=AAAA Ta", refreshed + " authenticate"},
		"tokens of two users, an expired JWT of a":  {"Tb Ta Ea", refreshed},
		"tokens of two users, an expired JWT of b":  {"Tb Ta Eb", bob},
		"three tokens: each is asked about":         {"X=A1 X=A2 Ta", refreshed + " authenticate authenticate"},
		"four tokens: three are asked about":        {"X=A1 X=A2 X=A3 Ta", none + "authenticate authenticate authenticate"},
		"a token of b, a valid JWT of a":            {"Tb Ja", fromJWT + "authenticate"},
		"a token of b, an expired JWT of a":         {"Tb Ea", differs + "authenticate"},
		"a token of b, a JWT that is rubbish":       {"Tb X_jwt=a.b.c", bob},
		"a token of another of the user's sessions": {"Ta2 Ea", refreshed},
		"another project's":                         {"Ta F", none + "-"},
		"another project's JWT alone":               {"F", none + "-"},
		"another project's, and a valid JWT of a":   {"F Ta Ja", fromJWT + "authenticate"},
		"another project's, and an expired JWT":     {"F Ta Ea", refreshed},
		"a token that is no token":                  {"X=a\x7fb Ja", fromJWT + "authenticate"},
		"a token of 4 KB":                           {"X=" + strings.Repeat("A", 4096), differs + "authenticate"},
		"a token of 4 KB and a byte":                {"X=" + strings.Repeat("A", 4097), none + "-"},
		"five JWTs: each is looked at":              {"X_jwt=1 X_jwt=2 X_jwt=3 X_jwt=4 Ja", fromJWT + "authenticate"},
		"six JWTs: none is":                         {"X_jwt=1 X_jwt=2 X_jwt=3 X_jwt=4 X_jwt=5 Ja", none + "-"},
		"empty cookies":                             {"X= X_jwt=", none + "-"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				w := newWallet(a)
				time.Sleep(6 * time.Minute)
				assert.Equal(t, row.want, a.get(w.jwtHeader(row.cookies)).String())
				mismatch := strings.HasPrefix(row.cookies, "Tb Ea")
				assert.Equal(t, mismatch, len(a.events) == 1 && a.events[0].Kind == "mismatch", "%v", a.events)
			})
		})
	}
}

// Of two JWTs of one session the newer one counts, in what Stytch is asked too.
func TestNewestJWT(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		older := a.stytch.NewSession(a.ada.ID, time.Hour)
		time.Sleep(time.Minute)
		newer := a.stytch.JWT(older.ID)
		cookies := "stytch_session_jwt=" + older.JWT + "; stytch_session_jwt=" + newer
		require.Equal(t, fromJWT+"authenticate", a.get(cookies).String())
		assert.Equal(t, newer, a.stytch.Calls()[len(a.stytch.Calls())-1].SessionJWT)
		assert.Equal(t, fromJWT+"-", a.get(cookies).String())
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
			inBubble(t, func(t *testing.T, a *app) {
				old, s := a.signedIn(a.ada)
				time.Sleep(wait)
				require.Equal(t, refreshed, a.get("stytch_session="+s.Token).String())
				require.Equal(t, fromJWT+"-", a.get(old).String())
				time.Sleep(time.Minute)
				late := a.get(old)
				require.Equal(t, strings.TrimSuffix(refreshed, "authenticate")+"-", late.String())
				assert.Equal(t, fromJWT+"-", a.get(late.jar(old)).String(), "what it was given is current")
			})
		})
	}
}

// Stytch cookies of another project are left alone; the legacy session counts. The
// log says so, once: the project may be the wrong one.
func TestAnotherProjectsCookies(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		theirs := newWallet(a).jwtHeader("Ta F")
		first := a.get(theirs + "; sid=ada-1")
		require.Equal(t, swapped, first.String())
		// Theirs are of another Domain, so that the browser keeps and sends both.
		assert.Equal(t, fromJWT+"-", a.get(theirs + "; " + first.jar("") + "; " + "theme=dark").String()[:len(fromJWT)]+"-")
		assert.Equal(t, 1, strings.Count(a.log.String(), `"setting":"Config.ProjectID"`))
	})
}

// Stytch's answer is about another user than the JWT that was asked about.
func TestAnswerAboutSomebodyElse(t *testing.T) {
	for _, cookies := range []string{"session", "jwt", "both", "valid"} {
		t.Run(cookies, func(t *testing.T) {
			inBubble(t, func(t *testing.T, a *app) {
				bob := a.stytch.NewSession(a.bob.ID, time.Hour)
				sent, _ := a.expired(a.ada, cookies)
				if cookies == "valid" {
					sent, _ = a.signedIn(a.ada)
				}
				a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Mutate(func(b object) {
					b["session_token"], b["session_jwt"] = bob.Token, a.stytch.JWT(bob.ID)
					b["user"].(object)["user_id"] = bob.UserID
					b["session"].(object)["user_id"], b["session"].(object)["session_id"] = bob.UserID, bob.ID
				}))
				want := signedOut
				if cookies == "session" { // nothing says who that ought to be
					want = strings.Replace(refreshed, "ada", "bob", 1)
				}
				assert.Equal(t, want, a.get(sent).String())
			})
		})
	}
}

// Or it is about another of the user's sessions than the JWT is of: that one may
// have ended.
func TestAnswerAboutAnotherSession(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		sent, _ := a.signedIn(a.ada)
		other := a.stytch.NewSession(a.ada.ID, time.Hour)
		a.stytch.FailAll(stytchtest.Authenticate, stytchtest.Mutate(func(b object) {
			b["session_token"], b["session_jwt"] = other.Token, a.stytch.JWT(other.ID)
			b["session"].(object)["session_id"] = other.ID
		}))
		assert.Equal(t, signedOut, a.get(sent).String())
		require.Len(t, a.events, 1)
		assert.Equal(t, "mismatch", a.events[0].Kind)
	})
}

// An older legacy session of somebody else goes when a Stytch session begins,
// or the browser would fall back to that person when this one's session ends.
func TestNeverBackToSomebodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T, a *app) {
		signedInAt := time.Now()
		a.resolve = func(value string) (stytchmigrate.LegacySession, error) {
			s := legacySession("ada", value)
			s.StartedAt = signedInAt
			return s, nil
		}
		time.Sleep(time.Hour)
		s := a.stytch.NewSession(a.bob.ID, time.Hour)
		before := "sid=ada-1; stytch_session=" + s.Token + "; stytch_session_jwt=" + s.JWT
		first := a.get(before)
		assert.Equal(t, "authenticated bob | -sid | no-store | authenticate", first.String())
		time.Sleep(2 * time.Hour)
		assert.Equal(t, signedOut, a.get(first.jar(before)).String())
	}, func(c *stytchmigrate.Config) { c.FixedExpiry = true })
}
