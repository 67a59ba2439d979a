package integration

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// issuer is who signs the JWTs: the old code, or an identity provider.
type issuer struct {
	table
	signer
	name     string
	verifies any // the key
	keysDown atomic.Bool
}

type signer struct {
	method jwt.SigningMethod
	kid    string
	key    any
}

// ownJWTs are of the old code, and accessTokens of a provider.
func ownJWTs() *issuer {
	return &issuer{name: "https://old.example.com", verifies: hashKey, signer: signer{jwt.SigningMethodHS256, "1", hashKey}}
}

func providersTokens() *issuer {
	public, private, _ := ed25519.GenerateKey(nil)
	return &issuer{name: "https://id.example.com", verifies: public, signer: signer{jwt.SigningMethodEdDSA, "1", private}}
}

// find is a keyFunc.
func (i *issuer) find(_ context.Context, kid string) (any, error) {
	switch {
	case i.keysDown.Load():
		return nil, errors.New("keys: connection refused")
	case kid != i.kid:
		return nil, errNoKey
	}
	return i.verifies, nil
}

func (i *issuer) claims(s signIn) oldClaims {
	now := time.Now()
	c := oldClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: i.name, Subject: s.user, Audience: jwt.ClaimStrings{"shop"}, ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Hour)),
		},
		SecondFactorPending: s.pending,
		SessionID:           rand.Text(),
		SignedInAt:          *jwt.NewNumericDate(now),
	}
	if s.impersonated {
		c.Actor = map[string]any{"sub": "18"}
	}
	return c
}

func (s signer) sign(claims jwt.Claims) string {
	token := jwt.NewWithClaims(s.method, claims)
	token.Header["kid"] = s.kid
	signed, err := token.SignedString(s.key)
	if err != nil {
		panic(err)
	}
	return signed
}

// subject is whom a token is about, whichever application it was issued to.
func (i *issuer) subject(token string) string {
	var c oldClaims
	_, _ = jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return i.verifies, nil })
	return c.Subject
}

func (i *issuer) email(ctx context.Context, token string) (string, error) {
	u, err := i.Find(ctx, i.subject(token))
	return u.Email, err
}

// ServeHTTP is the UserInfo endpoint of a provider.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u, err := i.Find(r.Context(), i.subject(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	if err != nil {
		http.Error(w, "invalid token", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"sub": u.ID, "email": u.Email, "email_verified": u.EmailVerified})
}

// sessions are the handlers that both kinds have in common.
func (i *issuer) sessions(cookie stytchmigrate.LegacyCookie) oldApp {
	return oldApp{
		cookie: cookie,
		login: func(w http.ResponseWriter, _ *http.Request, s signIn) error {
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: i.sign(i.claims(s)), Path: "/"})
			return nil
		},
		logout: func(w http.ResponseWriter, _ *http.Request) error {
			http.SetCookie(w, &http.Cookie{Name: "sid", Path: "/", MaxAge: -1})
			return nil
		},
		user: func(r *http.Request) string {
			c, err := r.Cookie("sid")
			if err != nil {
				return ""
			}
			return i.subject(c.Value)
		},
		outage: func() (over func()) {
			i.keysDown.Store(true)
			return func() { i.keysDown.Store(false) }
		},
		afterLogout: "refused",
	}
}

func jwtSessions(*testing.T) oldApp { return ownJWTs().own() }

func (i *issuer) own() oldApp { return i.sessions(ownJWTCookie(i.find, &i.table)) }

func accessTokens(t *testing.T) oldApp { return providersTokens().provide(t) }

func (i *issuer) provide(t *testing.T) oldApp {
	provider := httptest.NewServer(i)
	t.Cleanup(provider.Close)
	old := i.sessions(accessTokenCookie(i.find))
	old.userInfoURL, old.blind = provider.URL, true
	return old
}

// alongJWTs runs a test with an application of either kind of JWTs.
func alongJWTs(t *testing.T, road func(t *testing.T, a *app, i *issuer)) {
	t.Helper()
	t.Run("JWT", func(t *testing.T) { i := ownJWTs(); road(t, newApp(t, i.own()), i) })
	t.Run("access token", func(t *testing.T) { i := providersTokens(); road(t, newApp(t, i.provide(t)), i) })
}

// What is no session costs no call, also where the UserInfo endpoint would take
// it: a token that another application was given would open the account here.
func TestJWTsThatAreNoSession(t *testing.T) {
	for name, change := range map[string]func(s *signer, c *oldClaims, i *issuer){
		"issued to another application": func(_ *signer, c *oldClaims, _ *issuer) { c.Audience = jwt.ClaimStrings{"the other shop"} },
		"issued to no application":      func(_ *signer, c *oldClaims, _ *issuer) { c.Audience = nil },
		"by another issuer":             func(_ *signer, c *oldClaims, _ *issuer) { c.Issuer = "https://evil.example.com" },
		"expired": func(_ *signer, c *oldClaims, _ *issuer) {
			c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Second))
		},
		"without an expiry": func(_ *signer, c *oldClaims, _ *issuer) { c.ExpiresAt = nil },
		"without ids":       func(_ *signer, c *oldClaims, _ *issuer) { c.ID, c.SessionID = "", "" },
		"without times":     func(_ *signer, c *oldClaims, _ *issuer) { c.IssuedAt, c.SignedInAt = nil, jwt.NumericDate{} },
		"of an unknown key": func(s *signer, _ *oldClaims, _ *issuer) { s.kid = "2" },
		"of another key":    func(s *signer, _ *oldClaims, _ *issuer) { s.method, s.key = jwt.SigningMethodHS256, blockKey },
		"of another algorithm": func(s *signer, _ *oldClaims, i *issuer) {
			s.method, s.key = jwt.SigningMethodHS384, reflect.ValueOf(i.verifies).Bytes()
		},
		"not signed": func(s *signer, _ *oldClaims, _ *issuer) {
			s.method, s.key = jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType
		},
	} {
		t.Run(name, func(t *testing.T) {
			alongJWTs(t, func(t *testing.T, a *app, i *issuer) {
				c, s := i.claims(signIn{user: "17"}), i.signer
				b := a.newBrowser(t)
				b.set("sid", s.sign(c))
				require.Equal(t, "migrated"+adaMoves, b.get("/"), "as it is")
				a.stytch.ResetCalls()

				change(&s, &c, i)
				b = a.newBrowser(t)
				b.set("sid", s.sign(c))
				assert.Equal(t, "anonymous | sid", b.get("/"))
				assert.Empty(t, a.stytch.Calls())
			})
		})
	}
}

// The last character of a signature holds bits that stand for nothing: a JWT has
// several values, all of them good.
func TestJWTWrittenInAnotherWay(t *testing.T) {
	alongJWTs(t, func(t *testing.T, a *app, i *issuer) {
		value := i.sign(i.claims(signIn{user: "17"}))
		b, other := a.newBrowser(t), a.newBrowser(t)
		b.set("sid", value)
		last := len(value) - 1
		other.set("sid", value[:last]+string(value[last]+1))
		thief := other.copy()
		assert.Equal(t, "migrated"+adaMoves, b.get("/"))
		assert.Equal(t, "migrated"+adaMoves, other.get("/"))
		b.get("/logout")
		assert.Equal(t, "refused | sid", thief.get("/"))
		assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
	})
}

// A provider hands out another access token every few minutes. It is the same
// session, and was logged out with it.
func TestAccessTokenRefreshed(t *testing.T) {
	i := providersTokens()
	a := newApp(t, i.provide(t))
	first := i.claims(signIn{user: "17"})
	second := first
	second.ID, second.ExpiresAt = "another", jwt.NewNumericDate(first.ExpiresAt.Add(time.Minute))
	b, late := a.newBrowser(t), a.newBrowser(t)
	b.set("sid", i.sign(first))
	assert.Equal(t, "migrated"+adaMoves, b.get("/"))
	b.get("/logout")
	late.set("sid", i.sign(second))
	assert.Equal(t, "refused | sid", late.get("/"))
	assert.Equal(t, 1, a.stytch.Count(stytchtest.Migrate))
}

// One session at a provider may be of several accounts, one after the other or
// by a token exchange. Whose a token is, its sub says.
func TestAccessTokensOfTwoPeopleInOneSession(t *testing.T) {
	i := providersTokens()
	a := newApp(t, i.provide(t))
	adas := i.claims(signIn{user: "17"})
	bobs := adas
	bobs.Subject = "18"
	b, other := a.newBrowser(t), a.newBrowser(t)
	b.set("sid", i.sign(adas))
	other.set("sid", i.sign(bobs))
	assert.Equal(t, "migrated"+adaMoves, b.get("/"))
	assert.Equal(t, "migrated"+bobMoves, other.get("/"))
}
