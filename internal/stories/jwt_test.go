package stories_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// What becomes of a request with a JWT and nothing else, and how often the key
// set was fetched for it.
const (
	jwtAsked   = "authenticated ada | +stytch_session +stytch_session_jwt | no-store | authenticate | key sets: 1"
	jwtRubbish = "anonymous | - | - | - | key sets: 0" // refused by what it says
	jwtForged  = "anonymous | - | - | - | key sets: 1" // refused by key or signature
)

const sessionClaim = "https://stytch.com/session"

// mint is one way to make a JWT from a session of ada's.
type mint func(t *testing.T, a *apptest.App, s stytchtest.Session) string

// jwtRow is a JWT, and what becomes of a request with it.
type jwtRow struct {
	name string
	mint mint
	want string
}

// assertJWTs sends each JWT to an application that has not met any before.
func assertJWTs(t *testing.T, rows []jwtRow) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				got := a.Get("stytch_session_jwt=" + row.mint(t, a, a.Stytch.NewSession(a.Ada.ID, 30*24*time.Hour)))
				assert.Equal(t, row.want, got.WithKeySets())
				for _, c := range a.Stytch.Calls() {
					assert.Equal(t, "stytch.invalid", c.Host, "a call to where the token said")
					assert.Contains(t, []stytchtest.Op{stytchtest.JWKS, stytchtest.Authenticate}, c.Op)
				}
			})
		})
	}
}

// with changes members of the claims; nil removes one.
func with(changes apptest.Object) mint {
	return func(_ *testing.T, a *apptest.App, s stytchtest.Session) string {
		return a.Stytch.SignJWT(apptest.Changed(a.Stytch.Claims(s.ID), changes), nil)
	}
}

// inSession changes members of the session claim; nil removes one.
func inSession(changes apptest.Object) mint {
	return func(_ *testing.T, a *apptest.App, s stytchtest.Session) string {
		claims := a.Stytch.Claims(s.ID)
		claims[sessionClaim] = apptest.Changed(claims[sessionClaim].(apptest.Object), changes)
		return a.Stytch.SignJWT(claims, nil)
	}
}

// header changes members of the header; nil removes one.
func jwtHeader(changes apptest.Object) mint {
	return func(_ *testing.T, a *apptest.App, s stytchtest.Session) string {
		return a.Stytch.SignJWT(a.Stytch.Claims(s.ID), changes)
	}
}

// payload changes the text of the claims before it is signed.
func payload(change func(claims string) string) mint {
	return func(t *testing.T, a *apptest.App, s stytchtest.Session) string {
		claims, err := json.Marshal(a.Stytch.Claims(s.ID))
		require.NoError(t, err)
		kid, key := a.Stytch.SigningKey()
		input := apptest.EncodeSegment(`{"alg":"RS256","typ":"JWT","kid":"`+kid+`"}`) + "." + apptest.EncodeSegment(change(string(claims)))
		return input + "." + apptest.EncodeSegment(string(rs256(t, key, input)))
	}
}

// spelled changes the text of a JWT that was good.
func spelled(change func(jwt string) string) mint {
	return func(_ *testing.T, a *apptest.App, s stytchtest.Session) string { return change(s.JWT) }
}

func is(v string) func(string) string { return func(string) string { return v } }

func rs256(t *testing.T, key *rsa.PrivateKey, input string) []byte {
	t.Helper()
	sum := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	require.NoError(t, err)
	return signature
}

func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// late delays making a row's changes until its own clock runs.
func late(changes func() apptest.Object) mint {
	return func(t *testing.T, a *apptest.App, s stytchtest.Session) string { return with(changes())(t, a, s) }
}

func TestJWTShapes(t *testing.T) {
	t.Parallel()
	assertJWTs(t, []jwtRow{
		{"the good one", spelled(func(s string) string { return s }), apptest.JWTAccepted},
		{"one letter", spelled(is("a")), jwtRubbish},
		{"two parts", spelled(is("a.b")), jwtRubbish},
		{"four parts", spelled(func(s string) string { return s + ".d" }), jwtRubbish},
		{"five parts, as if encrypted", spelled(is(apptest.EncodeSegment(`{"alg":"RSA-OAEP","enc":"A256GCM"}`) + ".a.b.c.d")), jwtRubbish},
		{"a megabyte of dots", spelled(is(strings.Repeat(".", 1<<20))), jwtRubbish},
		{"no signature", spelled(func(s string) string { return s[:strings.LastIndex(s, ".")+1] }), jwtForged},
		{"a signature cut short", spelled(func(s string) string { return s[:len(s)-2] }), jwtForged},
		{"padded", spelled(func(s string) string { return s + "==" }), jwtRubbish},
		{"padded claims", spelled(func(s string) string { i := strings.LastIndex(s, "."); return s[:i] + "=" + s[i:] }), jwtRubbish},
		{"a space inside", spelled(func(s string) string { return s[:40] + " " + s[40:] }), jwtRubbish},
		{"the other base64", spelled(func(s string) string { return strings.Replace(s, ".", ".+/", 1) }), jwtRubbish},
		{"claims are an array", payload(func(c string) string { return "[" + c + "]" }), jwtRubbish},
		{"claims are a string", payload(is(`"claims"`)), jwtRubbish},
		{"claims are null", payload(is("null")), jwtRubbish},
		{"claims are empty", payload(is("")), jwtRubbish},
		{"claims nest 5000 deep", payload(is(strings.Repeat("[", 5000))), jwtRubbish},
		{"claims nest 1000 deep, and close", payload(func(c string) string {
			return c[:len(c)-1] + `,"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + "}"
		}), jwtRubbish},
		{"claims nest 10,000 deep", payload(is(strings.Repeat("[", 10_000))), jwtRubbish},
		{"a byte after the claims", payload(func(c string) string { return c + "x" }), jwtRubbish},
		{"claims after the claims", payload(func(c string) string { return c + c }), jwtRubbish},
		{"a byte order mark", payload(func(c string) string { return "\ufeff" + c }), jwtRubbish},
		{"bad UTF-8", payload(func(c string) string { return c[:len(c)-1] + ",\"x\":\"\xff\"}" }), jwtRubbish},
		{"sub twice", payload(func(c string) string { return c[:len(c)-1] + `,"sub":"user-test-1"}` }), jwtRubbish},
	})
}

func TestJWTAudienceAndIssuer(t *testing.T) {
	t.Parallel()
	ours := func(change func(project string) any, name string) mint {
		return func(t *testing.T, a *apptest.App, s stytchtest.Session) string {
			return with(apptest.Object{name: change(a.Stytch.ProjectID)})(t, a, s)
		}
	}
	assertJWTs(t, []jwtRow{
		{"aud is the project", ours(func(p string) any { return p }, "aud"), apptest.JWTAccepted},
		{"aud has the project", ours(func(p string) any { return []string{"other", p} }, "aud"), apptest.JWTAccepted},
		{"aud is empty", with(apptest.Object{"aud": []string{}}), jwtRubbish},
		{"aud is another project", with(apptest.Object{"aud": []string{"project-test-other"}}), jwtRubbish},
		{"aud is a number", with(apptest.Object{"aud": 7}), jwtRubbish},
		{"aud is absent", with(apptest.Object{"aud": nil}), jwtRubbish},
		{"iss is another project", with(apptest.Object{"iss": "stytch.com/project-test-other"}), jwtRubbish},
		{"iss is a prefix", ours(func(p string) any { return "stytch.com/" + p[:len(p)-1] }, "iss"), jwtRubbish},
		{"iss begins with ours", ours(func(p string) any { return "stytch.com/" + p + "0" }, "iss"), jwtRubbish},
		{"iss is the live project of the same id", ours(func(p string) any {
			return "stytch.com/" + strings.Replace(p, "-test-", "-live-", 1)
		}, "iss"), jwtRubbish},
		{"iss is a domain that is not configured", with(apptest.Object{"iss": "https://login.example.com"}), jwtRubbish},
		{"iss is another host of the base URL", with(apptest.Object{"iss": "https://other.stytch.invalid"}), jwtRubbish},
	})
}

func TestJWTDates(t *testing.T) {
	t.Parallel()
	at := func(name string, d time.Duration) mint {
		return late(func() apptest.Object { return apptest.Object{name: in(d)} })
	}
	assertJWTs(t, []jwtRow{
		{"exp is absent", with(apptest.Object{"exp": nil}), jwtRubbish},
		{"exp is a string", with(apptest.Object{"exp": "4102444800"}), jwtRubbish},
		{"exp is negative", with(apptest.Object{"exp": -1}), jwtRubbish},
		{"exp is 1e308", with(apptest.Object{"exp": json.RawMessage("1e308")}), jwtRubbish},
		{"exp passed within the leeway", at("exp", -20*time.Second), apptest.JWTAccepted},
		{"exp passed", at("exp", -10*time.Minute), jwtAsked},
		{"iat is absent", with(apptest.Object{"iat": nil}), jwtRubbish},
		{"iat is far ahead", at("iat", 24*time.Hour), jwtRubbish},
		{"nbf is 10 s ahead", at("nbf", 10*time.Second), apptest.JWTAccepted},
		{"nbf is 2 min ahead", at("nbf", 2*time.Minute), jwtAsked},
		{"nbf is 10 min ahead", at("nbf", 10*time.Minute), jwtRubbish},
	})
}

func TestJWTKinds(t *testing.T) {
	t.Parallel()
	machine := apptest.Object{"sub": "m2m-client-test-1", sessionClaim: nil, "scope": "read:users"}
	thirdParty := apptest.Object{sessionClaim: nil, "scope": "openid email", "azp": "connected-app-test-1"}
	assertJWTs(t, []jwtRow{
		{"sub is absent", with(apptest.Object{"sub": nil}), jwtRubbish},
		{"sub is empty", with(apptest.Object{"sub": ""}), jwtRubbish},
		{"sub is a machine", with(apptest.Object{"sub": "m2m-client-test-1"}), jwtRubbish},
		{"sub is a member", with(apptest.Object{"sub": "member-test-1"}), jwtRubbish},
		{"session is absent", with(apptest.Object{sessionClaim: nil}), jwtRubbish},
		{"session is null", with(apptest.Object{sessionClaim: json.RawMessage("null")}), jwtRubbish},
		{"session has no id", inSession(apptest.Object{"id": nil}), jwtRubbish},
		{"session id is empty", inSession(apptest.Object{"id": ""}), jwtRubbish},
		{"session has run out", inSession(apptest.Object{"expires_at": "1999-12-31T00:00:00Z"}), jwtRubbish},
		{"session does not say when it ends", inSession(apptest.Object{"expires_at": nil}), apptest.JWTAccepted},
		{"a machine's token", with(machine), jwtRubbish},
		{"a third party's access token", with(thirdParty), jwtRubbish},
		{"a third party's access token, by type", jwtHeader(apptest.Object{"typ": "at+jwt"}), jwtRubbish},
	})
}

// A good JWT with one bit of one character changed is nobody's, whichever.
func TestJWTWithOneBitChanged(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		s := a.Stytch.NewSession(a.Ada.ID, time.Hour)
		require.Equal(t, apptest.JWTAccepted, a.Get("stytch_session_jwt="+s.JWT).WithKeySets())
		for i := range len(s.JWT) {
			flipped := []byte(s.JWT)
			flipped[i] ^= 1
			require.Equal(t, jwtRubbish, a.Get("stytch_session_jwt="+string(flipped)).WithKeySets(), "at %d", i)
		}
	})
}
