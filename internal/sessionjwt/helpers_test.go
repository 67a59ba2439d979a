package sessionjwt_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/sessionjwt"
)

const (
	project = "project-test-11111111-1111-4111-8111-111111111111"
	issuer  = "stytch.com/" + project
	domain  = "https://login.example.com"
	session = "https://stytch.com/session"
	keyID   = "jwk-test-1"
)

var (
	projectKey = sync.OnceValue(newKey) // signs for the project, as keyID
	otherKey   = sync.OnceValue(newKey)
)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// object is a JSON object; fragment is JSON that goes in as it is.
type (
	object   = map[string]any
	fragment = json.RawMessage
)

func goodHeader() object { return object{"alg": "RS256", "kid": keyID, "typ": "JWT"} }

// goodClaims are of a JWT made at this moment, in a session of a day.
func goodClaims() object {
	now := time.Now()
	return object{
		"iss": issuer, "aud": []string{project}, "sub": "user-test-1",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Unix() + 300,
		session: object{
			"id": "session-test-1", "started_at": stamp(-time.Hour), "last_accessed_at": stamp(0), "expires_at": stamp(23 * time.Hour),
			"attributes":             object{"ip_address": "192.0.2.1", "user_agent": "Mozilla"},
			"authentication_factors": []object{{"type": "imported"}}, "roles": []string{"stytch_user"},
		},
	}
}

// stamp writes the moment d from now, in whole seconds.
func stamp(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

// in is d from now as a NumericDate.
func in(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// edit changes a good token's claims into those of a row.
type edit func(object)

func with(name string, value any) edit { return func(o object) { o[name] = value } }
func without(name string) edit         { return func(o object) { delete(o, name) } }
func inSession(e edit) edit            { return func(o object) { e(o[session].(object)) } }
func both(a, b edit) edit              { return func(o object) { a(o); b(o) } }
func asIs(object)                      {}

func text(t testing.TB, o object) string {
	t.Helper()
	doc, err := json.Marshal(o)
	require.NoError(t, err)
	return string(doc)
}

// token is the good token with edited claims, signed by the project's key.
func token(t testing.TB, e edit) string {
	t.Helper()
	claims := goodClaims()
	e(claims)
	return sign(t, projectKey(), text(t, goodHeader()), text(t, claims))
}

func withHeader(t testing.TB, e edit) string {
	t.Helper()
	header := goodHeader()
	e(header)
	return sign(t, projectKey(), text(t, header), text(t, goodClaims()))
}

// sign makes an RS256 token of any two texts.
func sign(t testing.TB, key *rsa.PrivateKey, header, payload string) string {
	t.Helper()
	signed := encode(header) + "." + encode(payload)
	signature, err := jwt.SigningMethodRS256.Sign(signed, key)
	require.NoError(t, err)
	return signed + "." + encode(string(signature))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// jwk is what Stytch serves for a key, with what a row has other than that.
func jwk(kid string, key *rsa.PublicKey, changes ...object) object {
	o := object{
		"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "key_ops": []string{"verify"},
		"x5c": []string{"MIICv..."}, "x5tS256": "FyV...=",
		"n": encode(string(key.N.Bytes())), "e": encode(string(big.NewInt(int64(key.E)).Bytes())),
	}
	for _, c := range changes {
		maps.Copy(o, c)
	}
	return o
}

func keySet(t testing.TB, keys ...object) []byte {
	t.Helper()
	return []byte(text(t, object{"keys": keys, "status_code": 200, "request_id": "request-id-test-1"}))
}

// endpoint is a way to answer for the key set.
type endpoint func(context.Context) ([]byte, error)

// stytch is the JWKS endpoint. Its ways may change between fetches.
type stytch struct {
	fetches atomic.Int64
	answer  atomic.Pointer[endpoint]
}

func (s *stytch) fetch(ctx context.Context) ([]byte, error) {
	s.fetches.Add(1)
	return (*s.answer.Load())(ctx)
}

func (s *stytch) be(e endpoint) { s.answer.Store(&e) }

func (s *stytch) serve(body []byte) { s.be(serves(body)) }

func serves(body []byte) endpoint {
	return func(context.Context) ([]byte, error) { return body, nil }
}

// serving is an endpoint that serves the project's key.
func serving(t testing.TB) *stytch {
	t.Helper()
	s := &stytch{}
	s.serve(keySet(t, jwk(keyID, &projectKey().PublicKey)))
	return s
}

func verifier(s *stytch) *sessionjwt.Verifier {
	return sessionjwt.New(project, []string{issuer, domain}, sessionjwt.NewKeys(s.fetch, nil))
}
