package stories_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
)

// A browser steps its session up at Stytch, and brings the new JWT. Handlers see what it
// says at once, and the full user, without a call. What an older JWT says counts no more.
func TestNewerJWTOfAKnownSession(t *testing.T) {
	for name, after := range map[string]time.Duration{"a minute later": time.Minute, "in the same second": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
				before, s := a.SignedIn(a.Ada)
				require.Equal(t, "authenticated ada", a.Get(before).Saw)
				time.Sleep(after)
				now, ends := time.Now().UTC(), time.Now().UTC().Add(60*24*time.Hour).Truncate(time.Second)
				claims := a.Stytch.Claims(s.ID)
				in := claims["https://stytch.com/session"].(map[string]any)
				in["authentication_factors"] = append(in["authentication_factors"].([]any), map[string]any{
					"type": "totp", "delivery_method": "authenticator_app", "authenticator_app_factor": map[string]any{"totp_id": "totp-1"},
				})
				in["roles"], claims["plan"] = []any{"stytch_user", "admin"}, "gold"
				in["last_accessed_at"], in["expires_at"] = now.Format(time.RFC3339Nano), ends.Format(time.RFC3339)
				after := "stytch_session=" + s.Token + "; stytch_session_jwt=" + a.Stytch.SignJWT(claims, nil)
				var got *stytchmigrate.Session
				a.Handler = func(_ http.ResponseWriter, r *http.Request) {
					got, _ = stytchmigrate.SessionFromContext(r.Context())
					user, _ := stytchmigrate.UserFromContext(r.Context())
					assert.False(t, user.Partial, "the full user stays")
				}
				for _, cookies := range []string{after, after, before} {
					assert.Equal(t, "authenticated ada | - | - | -", a.Get(cookies).String())
					factors := got.AuthenticationFactors
					assert.Equal(t, "totp", factors[len(factors)-1].Type)
					assert.Equal(t, "totp-1", factors[len(factors)-1].AuthenticatorAppFactor.TOTPID)
					assert.Equal(t, []string{"stytch_user", "admin"}, got.Roles)
					assert.Equal(t, "gold", got.CustomClaims["plan"])
					assert.Equal(t, now, got.LastAccessedAt)
					assert.Equal(t, ends, got.ExpiresAt)
				}
			})
		})
	}
}

// A newer JWT that says nothing of roles, factors and the end leaves them as they are.
func TestNewerJWTThatSaysLess(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		var got *stytchmigrate.Session
		a.Handler = func(_ http.ResponseWriter, r *http.Request) { got, _ = stytchmigrate.SessionFromContext(r.Context()) }
		cookies, s := a.SignedIn(a.Ada)
		a.Get(cookies)
		was := *got
		time.Sleep(time.Minute)
		claims := a.Stytch.Claims(s.ID)
		for _, name := range []string{"authentication_factors", "roles", "expires_at", "last_accessed_at"} {
			delete(claims["https://stytch.com/session"].(map[string]any), name)
		}
		a.Get("stytch_session_jwt=" + a.Stytch.SignJWT(claims, nil))
		was.CustomClaims = got.CustomClaims
		assert.Equal(t, was, *got)
	})
}
