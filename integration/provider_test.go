package integration

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/userinfo"
)

// provider is an identity provider that the application has had all along. Its
// access tokens are claims and a signature.
type provider struct {
	*httptest.Server
	key ed25519.PrivateKey

	mu      sync.Mutex
	down    bool            // guarded by mu, and so is
	revoked map[string]bool // by token
}

type access struct {
	Subject  string    `json:"sub"`
	Audience string    `json:"aud"`
	Expires  time.Time `json:"exp"`
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	p := &provider{key: key, revoked: map[string]bool{}}
	p.Server = httptest.NewServer(http.HandlerFunc(p.userInfo))
	t.Cleanup(p.Close)
	return p
}

func (p *provider) set(token string, revoked, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked[token], p.down = revoked, down
}

func sign(key ed25519.PrivateKey, c access) string {
	claims, _ := json.Marshal(c)
	b64 := base64.RawURLEncoding
	return b64.EncodeToString(claims) + "." + b64.EncodeToString(ed25519.Sign(key, claims))
}

// read is the check of an access token that any client of the provider makes.
func (p *provider) read(token string) (c access, ok bool) {
	first, second, _ := strings.Cut(token, ".")
	claims, err1 := base64.RawURLEncoding.DecodeString(first)
	signature, err2 := base64.RawURLEncoding.DecodeString(second)
	ok = err1 == nil && err2 == nil && ed25519.Verify(p.key.Public().(ed25519.PublicKey), claims, signature) &&
		json.Unmarshal(claims, &c) == nil && time.Now().Before(c.Expires)
	return c, ok
}

func (p *provider) userInfo(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	c, ok := p.read(token)
	switch {
	case p.down:
		http.Error(w, "down", http.StatusServiceUnavailable)
	case !ok || p.revoked[token]:
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		http.Error(w, "no", http.StatusUnauthorized)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(userinfo.Identity{Subject: c.Subject, Email: "ada@example.com", EmailVerified: true})
	}
}

// resolve checks what the provider's library does, and the audience: tokens of
// another client are good at the provider too.
func (p *provider) resolve(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	c, ok := p.read(value)
	if !ok || c.Audience != "our-client" {
		return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
	}
	return stytchmigrate.LegacySession{Token: stytchmigrate.Secret(value), ExpiresAt: c.Expires}, nil
}

// trusting passes every cookie on, and leaves all to the provider.
func trusting(_ *http.Request, value string) (stytchmigrate.LegacySession, error) {
	return stytchmigrate.LegacySession{Token: stytchmigrate.Secret(value)}, nil
}

// An application whose provider has a UserInfo endpoint passes its access tokens
// on as they are. Nothing of ours is mounted.
func TestApplicationWithAccessTokens(t *testing.T) {
	const refused, unknown = "anonymous | sid", "unavailable user  | sid"
	p, other := newProvider(t), newProvider(t)
	good := access{"17", "our-client", time.Now().Add(time.Hour)}
	foreign := access{"17", "their-client", good.Expires}
	expired := access{"17", "our-client", time.Now().Add(-time.Second)}
	for name, row := range map[string]struct {
		claims        access
		issuer        *provider
		revoked, down bool
		checked       string // where the application checks the token
		calls         int
		unchecked     string // where it does not
	}{
		"a good token":            {good, p, false, false, moved, 1, moved},
		"one that has expired":    {expired, p, false, false, refused, 0, unknown},
		"one that was revoked":    {good, p, true, false, unknown, 1, unknown},
		"one of another key":      {good, other, false, false, refused, 0, unknown},
		"one for another project": {foreign, p, false, false, refused, 0, moved}, // see ExampleLegacyCookie_accessToken
		"a provider that is down": {good, p, false, true, unknown, 1, unknown},
	} {
		t.Run(name, func(t *testing.T) {
			token := sign(row.issuer.key, row.claims)
			p.set(token, row.revoked, row.down)
			a := newTokenApp(t, p.resolve)
			a.stytch.SetUserInfoURL(p.URL)
			a.machine(t)
			b := a.signedIn(t, token)
			assert.Equal(t, row.checked, b.look())
			assert.Equal(t, row.calls, a.migrates())

			if row.down {
				p.set(token, false, false)
				a.machine(t)
				assert.Equal(t, moved, b.look(), "mended")
				return
			}
			a.cfg.Legacy[0].Resolve = trusting
			a.machine(t)
			assert.Equal(t, row.unchecked, a.signedIn(t, token).look(), "left to the provider")
		})
	}
}
