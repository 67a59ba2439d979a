package stytchtest_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"example.com/stytchmigrate/stytchtest"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keySet parses the published keys by a library that the server does not use.
func (c client) keySet(t *testing.T) jose.JSONWebKeySet {
	t.Helper()
	_, got := c.call(t, "GET", "/v1/sessions/jwks/"+c.ProjectID, nil)
	b, err := json.Marshal(got)
	require.NoError(t, err)
	var set jose.JSONWebKeySet
	require.NoError(t, json.Unmarshal(b, &set))
	for _, k := range set.Keys {
		require.True(t, k.Valid())
		require.True(t, k.IsPublic())
		require.Len(t, k.Certificates, 1)
	}
	return set
}

// verify verifies a JWT with the published keys.
func (c client) verify(t *testing.T, token string) (header, claims object, err error) {
	t.Helper()
	set := c.keySet(t)
	parsed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.RS256})
	require.NoError(t, err)
	payload, err := parsed.Verify(set)
	if err != nil {
		return nil, nil, err
	}
	raw, err := base64.RawURLEncoding.DecodeString(token[:strings.IndexByte(token, '.')])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &header))
	require.NoError(t, json.Unmarshal(payload, &claims))
	return header, claims, nil
}

func TestJWTShape(t *testing.T) {
	c := start(t, stytchtest.Config{JWTLifetime: time.Minute})
	now := time.Date(2030, 1, 2, 3, 4, 5, 678901000, time.UTC)
	c.SetClock(func() time.Time { return now })
	jane := c.AddUser(stytchtest.Person("jane@example.com"))
	x := c.NewSession(jane.ID, time.Hour)
	c.authenticate(t, object{"session_token": x.Token, "session_custom_claims": object{"plan": "gold"}})
	x, _ = c.Session(x.ID)

	kid, _ := c.SigningKey()
	assert.Regexp(t, `^jwk-test-`+uuid+`$`, kid)
	header, claims, err := c.verify(t, x.JWT)
	require.NoError(t, err)
	assert.Equal(t, object{"alg": "RS256", "typ": "JWT", "kid": kid}, header)
	assert.Equal(t, object{
		"iss": "stytch.com/" + c.ProjectID,
		"aud": []any{c.ProjectID},
		"sub": jane.ID,
		"iat": float64(now.Unix()), "nbf": float64(now.Unix()), "exp": float64(now.Unix() + 60),
		"plan": "gold",
		"https://stytch.com/session": object{
			"id":         x.ID,
			"started_at": "2030-01-02T03:04:05Z", "last_accessed_at": "2030-01-02T03:04:05Z",
			"expires_at": "2030-01-02T04:04:05Z",
			"attributes": object{"ip_address": "", "user_agent": ""},
			"authentication_factors": []any{object{
				"type": "password", "delivery_method": "knowledge", "last_authenticated_at": "2030-01-02T03:04:05Z",
			}},
			"roles": []any{"stytch_user"},
		},
	}, claims)
}

func TestConfiguredIssuer(t *testing.T) {
	c := start(t, stytchtest.Config{Issuer: "https://login.example.com"})
	x := c.NewSession(c.AddUser(stytchtest.User{}).ID, 0)
	_, claims, err := c.verify(t, c.JWT(x.ID))
	require.NoError(t, err)
	assert.Equal(t, "https://login.example.com", claims["iss"])
	assert.Equal(t, claims["iat"].(float64)+300, claims["exp"])
	status, _ := c.authenticate(t, object{"session_jwt": x.JWT})
	assert.Equal(t, 200, status)
}

func TestSignJWT(t *testing.T) {
	c := start(t, stytchtest.Config{})
	_, claims, err := c.verify(t, c.SignJWT(object{"sub": 7}, nil))
	require.NoError(t, err)
	assert.Equal(t, object{"sub": 7.0}, claims)

	header, claims, err := c.verify(t, c.SignJWT(nil, object{"typ": nil, "extra": true}))
	require.NoError(t, err)
	kid, _ := c.SigningKey()
	assert.Equal(t, object{"alg": "RS256", "kid": kid, "extra": true}, header)
	assert.Empty(t, claims)
	assert.Panics(t, func() { c.SignJWT(object{"f": func() {}}, nil) })
}

func TestRotation(t *testing.T) {
	c := start(t, stytchtest.Config{})
	x := c.NewSession(c.AddUser(stytchtest.User{}).ID, 0)
	before := x.JWT
	first, _ := c.SigningKey()
	second := c.RotateKey()
	assert.NotEqual(t, first, second)
	after := c.JWT(x.ID)
	for _, token := range []string{before, after} {
		_, _, err := c.verify(t, token)
		assert.NoError(t, err, "both keys are published")
	}
	set := c.keySet(t)
	require.Len(t, set.Keys, 2)
	assert.NotEqual(t, set.Keys[0].Key, set.Keys[1].Key)

	c.DropOldKeys()
	assert.Len(t, c.keySet(t).Keys, 1)
	_, _, err := c.verify(t, before)
	assert.Error(t, err)
	status, got := c.authenticate(t, object{"session_jwt": before})
	assert.Equal(t, 400, status)
	assertError(t, "unable_to_parse_session_jwt", got)
	header, _, err := c.verify(t, after)
	require.NoError(t, err)
	assert.Equal(t, second, header["kid"])
}

func TestForeignKey(t *testing.T) {
	c := start(t, stytchtest.Config{})
	x := c.NewSession(c.AddUser(stytchtest.User{}).ID, 0)
	forged := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims(c.Claims(x.ID)))
	forged.Header["kid"], _ = c.SigningKey()
	token, err := forged.SignedString(stytchtest.ForeignKey())
	require.NoError(t, err)
	status, got := c.authenticate(t, object{"session_jwt": token})
	assert.Equal(t, 400, status)
	assertError(t, "unable_to_parse_session_jwt", got)
}
