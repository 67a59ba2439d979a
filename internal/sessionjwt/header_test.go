package sessionjwt_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/sessionjwt"
)

// refuses wants a token refused by a rule that needs no key.
func refuses(t *testing.T, name, token string) {
	t.Helper()
	claims, fetches, err := fresh(t, token)
	assert.ErrorIs(t, err, refused, name)
	assert.Nil(t, claims, name)
	assert.Zero(t, fetches, "fetched for a token that no key could help: %s", name)
}

func headerRows() []row {
	pub := &projectKey().PublicKey
	return []row{
		{"nothing changed", asIs, accepted},
		{"typ is absent", without("typ"), accepted},
		{"typ is lower case", with("typ", "jwt"), refused},
		{"typ is an access token's", with("typ", "at+jwt"), refused},
		{"typ is empty", with("typ", ""), refused},
		{"typ is null", with("typ", nil), refused},
		{"typ is an array", with("typ", []string{"JWT"}), refused},
		{"alg is absent", without("alg"), refused},
		{"alg is null", with("alg", nil), refused},
		{"alg is an array", with("alg", []string{"RS256"}), refused},
		{"alg is empty", with("alg", ""), refused},
		{"alg is lower case", with("alg", "rs256"), refused},
		{"alg ends with a space", with("alg", "RS256 "), refused},
		{"alg has a capital name", both(without("alg"), with("ALG", "RS256")), refused},
		{"kid is absent", without("kid"), refused},
		{"kid is empty", with("kid", ""), refused},
		{"kid is null", with("kid", nil), refused},
		{"kid is a number", with("kid", 1), refused},
		{"kid is an array", with("kid", []string{keyID}), refused},
		{"kid is too long", with("kid", strings.Repeat("k", 201)), refused},
		{"kid is a megabyte", with("kid", strings.Repeat("k", 1<<20)), refused},
		{"crit is there", with("crit", []string{"exp"}), refused},
		{"crit is empty", with("crit", []string{}), refused},
		{"b64 is false", with("b64", false), refused},
		{"b64 is true", with("b64", true), refused},
		{"cty is JWT", with("cty", "JWT"), refused},
		{"zip is there", with("zip", "DEF"), refused},
		{"jwk is the project's key", with("jwk", jwk(keyID, pub)), refused},
		{"jku is there", with("jku", "https://stytch.com/jwks"), refused},
		{"x5u is there", with("x5u", "https://stytch.com/cert"), refused},
		{"x5c is there", with("x5c", []string{"MIIC"}), refused},
		{"x5t is there", with("x5t", "abc"), refused},
		{"x5t#S256 is there", with("x5t#S256", "abc"), refused},
		{"another name is there", with("hint", "x"), accepted},
	}
}

func TestVerifyJudgesHeaders(t *testing.T) {
	for _, r := range headerRows() {
		if r.want != nil {
			refuses(t, r.name, withHeader(t, r.edit))
			continue
		}
		_, _, err := fresh(t, withHeader(t, r.edit))
		assert.NoError(t, err, r.name)
	}
}

// A kid names a key and nothing else: no file, no address.
func TestUnknownKidsAreRefusedAfterOneFetch(t *testing.T) {
	for _, kid := range []string{"../x", "/dev/null", "https://evil.example/jwks", "' or 1=1", keyID + " ", strings.Repeat("k", 200)} {
		_, fetches, err := fresh(t, withHeader(t, with("kid", kid)))
		assert.ErrorIs(t, err, refused, kid)
		assert.EqualValues(t, 1, fetches, kid)
	}
}

func TestUnsignedTokensAreRefused(t *testing.T) {
	for i := range 16 {
		none := []byte("none")
		for bit := range none {
			if i>>bit&1 == 1 {
				none[bit] -= 'a' - 'A'
			}
		}
		unsigned := encode(`{"alg":"`+string(none)+`","kid":"`+keyID+`"}`) + "." + encode(text(t, goodClaims()))
		refuses(t, string(none), unsigned+".")
		refuses(t, string(none)+" without dot", unsigned)
		refuses(t, string(none)+" with a signature", unsigned+"."+encode("signature"))
	}
	good := token(t, asIs)
	_, _, err := fresh(t, good[:strings.LastIndex(good, ".")+1])
	assert.ErrorIs(t, err, refused, "RS256 without a signature")
	_, _, err = fresh(t, good[:len(good)-2])
	assert.ErrorIs(t, err, refused, "a signature cut short")
}

// Each of these is a token that a library verifies when a caller lets the token
// choose the method.
func TestOtherAlgorithmsAreRefused(t *testing.T) {
	pub := &projectKey().PublicKey
	pkix, err := x509.MarshalPKIXPublicKey(pub)
	require.NoError(t, err)
	pkcs1 := x509.MarshalPKCS1PublicKey(pub)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	for _, row := range []struct {
		name   string
		method jwt.SigningMethod
		key    crypto.PrivateKey
	}{
		{"HS256 keyed with the public key, PKIX DER", jwt.SigningMethodHS256, pkix},
		{"HS256 keyed with the public key, PKIX PEM", jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})},
		{"HS256 keyed with the public key, PKCS #1 DER", jwt.SigningMethodHS256, pkcs1},
		{"HS256 keyed with the public key, PKCS #1 PEM", jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1})},
		{"HS256 keyed with the modulus", jwt.SigningMethodHS256, pub.N.Bytes()},
		{"HS256 keyed with nothing", jwt.SigningMethodHS256, []byte{}},
		{"HS512", jwt.SigningMethodHS512, pkix},
		{"RS384", jwt.SigningMethodRS384, projectKey()},
		{"RS512", jwt.SigningMethodRS512, projectKey()},
		{"PS256", jwt.SigningMethodPS256, projectKey()},
		{"PS512", jwt.SigningMethodPS512, projectKey()},
		{"ES256", jwt.SigningMethodES256, p256},
		{"EdDSA", jwt.SigningMethodEdDSA, ed},
	} {
		for _, alg := range []string{row.method.Alg(), "RS256"} {
			signed := encode(text(t, object{"alg": alg, "kid": keyID, "typ": "JWT"})) + "." + encode(text(t, goodClaims()))
			signature, err := row.method.Sign(signed, row.key)
			require.NoError(t, err, row.name)
			forged := signed + "." + encode(string(signature))
			if alg != "RS256" {
				refuses(t, row.name, forged)
				continue
			}
			_, _, err = fresh(t, forged) // the same signature under our label
			assert.ErrorIs(t, err, refused, row.name)
		}
	}
}

func TestTokensThatAreNoTokensAreRefused(t *testing.T) {
	good := token(t, asIs)
	p := strings.Split(good, ".")
	for name, bad := range map[string]string{
		"empty": "", "one part": "a", "two parts": "a.b", "four parts": "a.b.c.d", "dots": "..",
		"good and a part more": good + ".a", "five parts, as a JWE has": good + ".a.b", "good and a dot": good + ".",
		"padded header": p[0] + "=." + p[1] + "." + p[2], "padded payload": p[0] + "." + p[1] + "==." + p[2],
		"padded signature": good + "==", "space before": " " + good, "space after": good + " ",
		"line end after": good + "\n", "line end in signature": good[:len(good)-4] + "\r\n" + good[len(good)-4:],
		"line end in header": good[:4] + "\n" + good[4:], "tab in payload": p[0] + ".\t" + p[1] + "." + p[2],
		"space in payload": p[0] + "." + p[1][:9] + " " + p[1][9:] + "." + p[2],
		"base64 with plus": p[0] + "." + p[1] + ".+" + p[2][1:], "Bearer": "Bearer " + good,
		"opaque token": strings.Repeat("A", 44), "null byte": good + "\x00",
		"too long":           encode(`{"alg":"RS256","kid":"` + keyID + `","x":"` + strings.Repeat("x", 8<<10) + `"}`),
		"JSON serialization": `{"payload":"` + p[1] + `","protected":"` + p[0] + `","signature":"` + p[2] + `"}`,
	} {
		refuses(t, name, bad)
	}
}

// The last character of a part whose length is no multiple of three bytes has
// bits to spare: each spelling of the same bytes but one is refused.
func TestASignatureHasOneSpelling(t *testing.T) {
	good := token(t, asIs)
	last := strings.IndexByte(alphabet, good[len(good)-1])
	for spare := 1; spare < 16; spare++ { // 256 bytes leave four bits
		refuses(t, "spare bits", good[:len(good)-1]+string(alphabet[last|spare]))
	}
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

func TestTextsThatAreNoObjectsAreRefused(t *testing.T) {
	header, claims := text(t, goodHeader()), text(t, goodClaims())
	rows := map[string]func(string) string{
		"byte order mark":  func(s string) string { return "\ufeff" + s },
		"trailing byte":    func(s string) string { return s + "x" },
		"two objects":      func(s string) string { return s + s },
		"bad UTF-8":        func(s string) string { return `{"x":"` + "\xff" + `",` + s[1:] },
		"bad UTF-8 name":   func(s string) string { return `{"` + "\xc0\xae" + `":1,` + s[1:] },
		"array":            func(s string) string { return "[" + s + "]" },
		"string":           func(s string) string { return `"x"` },
		"null":             func(s string) string { return "null" },
		"empty":            func(s string) string { return "" },
		"spaces":           func(s string) string { return "  " },
		"empty object":     func(s string) string { return "{}" },
		"half":             func(s string) string { return s[:len(s)-1] },
		"comma at the end": func(s string) string { return s[:len(s)-1] + ",}" },
		"comment":          func(s string) string { return "/**/" + s },
		"NaN":              func(s string) string { return `{"x":NaN,` + s[1:] },
		"deep": func(s string) string {
			return `{"x":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "," + s[1:]
		},
		"10,000 deep": func(s string) string {
			return `{"x":` + strings.Repeat("[", 1e4) + strings.Repeat("]", 1e4) + "," + s[1:]
		},
		"unclosed depths": func(s string) string { return strings.Repeat(`{"x":`, 1000) },
		"name twice":      func(s string) string { return `{"x":1,"x":1,` + s[1:] },
	}
	for name, spoil := range rows {
		refuses(t, name+" as header", sign(t, projectKey(), spoil(header), claims))
		refuses(t, name+" as claims", sign(t, projectKey(), header, spoil(claims)))
	}
	spaced := " \r\n\t" + strings.ReplaceAll(claims, `,"`, " ,\n\t\"") + " \n"
	_, _, err := fresh(t, sign(t, projectKey(), header, spaced))
	assert.NoError(t, err, "white space is JSON too")
}

func TestNamesThatComeTwiceAreRefused(t *testing.T) {
	header, claims := text(t, goodHeader()), text(t, goodClaims())
	for _, name := range []string{"alg", "kid", "typ", `\u0061lg`} {
		refuses(t, name, sign(t, projectKey(), `{"`+name+`":"RS256",`+header[1:], claims))
	}
	for _, name := range []string{"iss", "aud", "sub", "exp", "iat", "nbf", `\u0065xp`, session, "id"} {
		doc := `{"` + name + `":1,` + claims[1:]
		if name == "id" {
			doc = strings.Replace(claims, `"id":`, `"id":"session-test-2","id":`, 1)
		}
		refuses(t, name, sign(t, projectKey(), header, doc))
	}
	_, _, err := fresh(t, sign(t, projectKey(), header, strings.Replace(claims, `"sub"`, `"\u0073ub"`, 1)))
	assert.NoError(t, err, "an escaped name is the name")
}

func TestEachFlippedBitIsRefused(t *testing.T) {
	good := token(t, asIs)
	s := serving(t)
	v := verifier(s)
	_, err := v.Verify(t.Context(), good)
	require.NoError(t, err)
	for i := range len(good) * 8 {
		flipped := []byte(good)
		flipped[i/8] ^= 1 << (i % 8)
		claims, err := v.Verify(t.Context(), string(flipped))
		require.ErrorIs(t, err, refused, "bit %d of byte %d", i%8, i/8)
		require.Nil(t, claims)
	}
	assert.EqualValues(t, 1, s.fetches.Load())
}

func TestLengthIsJudgedFirst(t *testing.T) {
	dots := strings.Repeat(".", 1<<20)
	v := verifier(serving(t))
	refuses(t, "a megabyte of dots", dots)
	assert.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = v.Verify(t.Context(), dots) }), 1.0)
	best := time.Hour
	for range 20 {
		start := time.Now()
		_, err := v.Verify(t.Context(), dots)
		best = min(best, time.Since(start))
		require.ErrorIs(t, err, sessionjwt.ErrRefused)
	}
	assert.Less(t, best, 50*time.Microsecond)

	// 8192 bytes are the most, and the control.
	pad := func(n int) string { return withHeader(t, with("x", strings.Repeat("x", n))) }
	n := 0
	for len(pad(n)) < 8190 {
		n += max(1, (8190-len(pad(n)))*3/4)
	}
	for ; len(pad(n)) <= 8<<10; n++ {
		_, _, err := fresh(t, pad(n))
		assert.NoError(t, err)
	}
	refuses(t, "just too long", pad(n))
}

// A header that has passed is known again by its text, and no other is.
func TestHeadersAfterAGoodOne(t *testing.T) {
	v := verifier(serving(t))
	good := token(t, asIs)
	for range 2 {
		_, err := v.Verify(t.Context(), good)
		require.NoError(t, err)
		for name, value := range map[string]any{"alg": "none", "crit": []string{"b64"}, "jwk": object{}, "typ": "at+jwt", "kid": ""} {
			_, err := v.Verify(t.Context(), withHeader(t, with(name, value)))
			assert.ErrorIs(t, err, sessionjwt.ErrRefused, name)
		}
	}
}

// So is that of the next key, once a token of it was right.
func TestHeaderOfTheNextKey(t *testing.T) {
	s := serving(t)
	s.serve(oneSet(t, keyID, "jwk-test-2"))
	v := verifier(s)
	costs := func(kid string) float64 {
		next := withHeader(t, with("kid", kid))
		return testing.AllocsPerRun(100, func() {
			_, err := v.Verify(t.Context(), next)
			require.NoError(t, err)
		})
	}
	assert.InDelta(t, costs(keyID), costs("jwk-test-2"), 1)
}
