package stories_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// signedBy makes a JWT whose header names the method that signs it, under the
// kid of the project's key.
func signedBy(method jwt.SigningMethod, key func(t *testing.T, a *apptest.App) any) mint {
	return func(t *testing.T, a *apptest.App, s stytchtest.Session) string {
		token := jwt.NewWithClaims(method, jwt.MapClaims(a.Stytch.Claims(s.ID)))
		token.Header["kid"], _ = a.Stytch.SigningKey()
		signed, err := token.SignedString(key(t, a))
		require.NoError(t, err)
		return signed
	}
}

func projectKey(_ *testing.T, a *apptest.App) any { _, key := a.Stytch.SigningKey(); return key }

func publicDER(t *testing.T, a *apptest.App) any {
	t.Helper()
	_, key := a.Stytch.SigningKey()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	require.NoError(t, err)
	return der
}

func publicPEM(t *testing.T, a *apptest.App) any {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER(t, a).([]byte)})
}

func ecKey(t *testing.T, _ *apptest.App) any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func edKey(*testing.T, *apptest.App) any { return ed25519.NewKeyFromSeed(make([]byte, 32)) }

// unsigned has an algorithm's name and no signature.
func unsigned(alg string) mint {
	return func(t *testing.T, a *apptest.App, s stytchtest.Session) string {
		kid, _ := a.Stytch.SigningKey()
		claims, err := json.Marshal(a.Stytch.Claims(s.ID))
		require.NoError(t, err)
		return apptest.EncodeSegment(`{"alg":"`+alg+`","typ":"JWT","kid":"`+kid+`"}`) + "." + apptest.EncodeSegment(string(claims)) + "."
	}
}

func TestJWTAlgorithms(t *testing.T) {
	t.Parallel()
	foreign := func(*testing.T, *apptest.App) any { return stytchtest.ForeignKey() }
	assertJWTs(t, []jwtRow{
		{"RS256 by the project", signedBy(jwt.SigningMethodRS256, projectKey), apptest.JWTAccepted},
		{"RS256 by somebody else", signedBy(jwt.SigningMethodRS256, foreign), jwtForged},
		{"none", unsigned("none"), jwtRubbish},
		{"None", unsigned("None"), jwtRubbish},
		{"NONE", unsigned("NONE"), jwtRubbish},
		{"nOnE", unsigned("nOnE"), jwtRubbish},
		{"empty", unsigned(""), jwtRubbish},
		{"rs256", unsigned("rs256"), jwtRubbish},
		{"RS256 without a signature", unsigned("RS256"), jwtForged},
		{"alg is absent", jwtHeader(apptest.Object{"alg": nil}), jwtRubbish},
		{"HS256 by the public key's DER", signedBy(jwt.SigningMethodHS256, publicDER), jwtRubbish},
		{"HS256 by the public key's PEM", signedBy(jwt.SigningMethodHS256, publicPEM), jwtRubbish},
		{"RS384 by the project", signedBy(jwt.SigningMethodRS384, projectKey), jwtRubbish},
		{"RS512 by the project", signedBy(jwt.SigningMethodRS512, projectKey), jwtRubbish},
		{"PS256 by the project", signedBy(jwt.SigningMethodPS256, projectKey), jwtRubbish},
		{"ES256", signedBy(jwt.SigningMethodES256, ecKey), jwtRubbish},
		{"EdDSA", signedBy(jwt.SigningMethodEdDSA, edKey), jwtRubbish},
	})
}

func TestJWTHeaders(t *testing.T) {
	const evil = "https://evil.example/keys"
	assertJWTs(t, []jwtRow{
		{"a member that nobody knows", jwtHeader(apptest.Object{"x": 1}), apptest.JWTAccepted},
		{"typ is absent", jwtHeader(apptest.Object{"typ": nil}), apptest.JWTAccepted},
		{"jwk", jwtHeader(apptest.Object{"jwk": apptest.Object{"kty": "RSA", "n": "AQAB", "e": "AQAB"}}), jwtRubbish},
		{"jku", jwtHeader(apptest.Object{"jku": evil}), jwtRubbish},
		{"x5u", jwtHeader(apptest.Object{"x5u": evil}), jwtRubbish},
		{"x5c", jwtHeader(apptest.Object{"x5c": []string{"AQAB"}}), jwtRubbish},
		{"crit", jwtHeader(apptest.Object{"crit": []string{"exp"}}), jwtRubbish},
		{"b64 is false", jwtHeader(apptest.Object{"b64": false, "crit": []string{"b64"}}), jwtRubbish},
		{"b64 is false, alone", jwtHeader(apptest.Object{"b64": false}), jwtRubbish},
		{"typ is another", jwtHeader(apptest.Object{"typ": "at+jwt"}), jwtRubbish},
		{"kid is absent", jwtHeader(apptest.Object{"kid": nil}), jwtRubbish},
		{"kid is empty", jwtHeader(apptest.Object{"kid": ""}), jwtRubbish},
		{"kid is a number", jwtHeader(apptest.Object{"kid": 1}), jwtRubbish},
		{"kid is an array", jwtHeader(apptest.Object{"kid": []string{"a"}}), jwtRubbish},
		{"kid is a megabyte", jwtHeader(apptest.Object{"kid": strings.Repeat("k", 1<<20)}), jwtRubbish},
		{"kid is 300 bytes", jwtHeader(apptest.Object{"kid": strings.Repeat("k", 300)}), jwtRubbish},
		{"kid is a path", jwtHeader(apptest.Object{"kid": "../x"}), jwtForged},
		{"kid is a URL", jwtHeader(apptest.Object{"kid": evil}), jwtForged},
		{"kid is nobody's", jwtHeader(apptest.Object{"kid": "jwk-test-0"}), jwtForged},
	})
}

// Whoever sends key ids that don't exist makes the key set be fetched once a
// minute, and delays nobody.
func TestUnknownKeys(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		signed := a.Stytch.SignJWT(a.Stytch.Claims(a.Stytch.NewSession(a.Ada.ID, time.Hour).ID), nil)
		_, rest, _ := strings.Cut(signed, ".")
		start, fetched := time.Now(), 0
		for i := range 240 { // two a second
			time.Sleep(500 * time.Millisecond)
			header := apptest.EncodeSegment(`{"alg":"RS256","typ":"JWT","kid":"jwk-` + strings.Repeat("x", 1+i%150) + `"}`)
			got := a.Get("stytch_session_jwt=" + header + "." + rest)
			require.Equal(t, "anonymous | - | - | -", got.String())
			fetched += a.Stytch.Count(stytchtest.JWKS)
		}
		assert.Equal(t, 2*time.Minute, time.Since(start), "nobody waited")
		assert.Equal(t, 2, fetched)
	})
}

// A project with a domain of its own names itself by that, and by its id where
// the session was made through Stytch's own host.
func TestCustomDomain(t *testing.T) {
	const domain = "https://login.example.com"
	for name, row := range map[string]struct{ issuer, baseURL, want string }{
		"the domain's":                  {domain, domain, apptest.JWTAccepted},
		"the domain's, with a slash":    {domain, domain + "/", apptest.JWTAccepted},
		"Stytch's":                      {"", domain, apptest.JWTAccepted},
		"the domain's, with no setting": {domain, "https://test.stytch.com", jwtRubbish},
		"another domain's":              {"https://login.example.org", domain, jwtRubbish},
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleWith(t, stytchtest.Config{InProcess: true, Issuer: row.issuer}, func(t *testing.T, a *apptest.App) {
				s := a.Stytch.NewSession(a.Ada.ID, time.Hour)
				assert.Equal(t, row.want, a.Get("stytch_session_jwt="+s.JWT).WithKeySets())
			}, func(c *stytchmigrate.Config) { c.BaseURL = row.baseURL })
		})
	}
}

// inBubbleWith is inBubble with a stand-in of the given settings.
func inBubbleWith(t *testing.T, sc stytchtest.Config, f func(*testing.T, *apptest.App), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	apptest.RunParallel(t)
	synctest.Test(t, func(t *testing.T) { f(t, apptest.New(t, sc, change...)) })
}
