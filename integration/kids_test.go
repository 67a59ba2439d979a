package integration

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// asked is what a request with a JWT led to.
type asked struct {
	signedIn bool
	took     time.Duration
}

// ask sends a JWT.
func ask(m *stytchmigrate.Middleware, jwt string) (out asked) {
	r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
	r.AddCookie(&http.Cookie{Name: jwtCookie, Value: jwt})
	start := time.Now()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, out.signedIn = stytchmigrate.UserFromContext(r.Context())
	})).ServeHTTP(httptest.NewRecorder(), r)
	out.took = time.Since(start)
	return out
}

// withKid is a JWT that names another key than its own.
func withKid(jwt, kid string) string {
	_, rest, _ := strings.Cut(jwt, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","kid":"`+kid+`"}`)) + "." + rest
}

// Whoever makes up keys makes us fetch the key set once a minute. While that is
// silent they wait for it themselves, and those with a key that is known do not.
func TestUnknownKidsDelayNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stytch := stytchtest.NewServer(t, stytchtest.Config{InProcess: true, JWTLifetime: time.Hour})
		m, err := stytchmigrate.New(stytchmigrate.Config{
			ProjectID: stytch.ProjectID, Secret: stytchmigrate.Secret(stytch.Secret), BaseURL: stytch.URL,
			HTTPClient: stytch.Client(), Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(t, err)
		s := stytch.NewSession(stytch.AddUser(stytchtest.Person("ada@example.com")).ID, time.Hour)
		require.True(t, ask(m, s.JWT).signedIn)
		for i := range 5000 {
			time.Sleep(36 * time.Millisecond) // three minutes in all
			require.Zero(t, ask(m, withKid(s.JWT, fmt.Sprint("jwk-", i))))
		}
		assert.Equal(t, 3, stytch.Count(stytchtest.JWKS), "one a minute")

		time.Sleep(time.Minute)
		stytch.FailAll(stytchtest.JWKS, stytchtest.Silence())
		var wg sync.WaitGroup
		for i := range 1000 {
			time.Sleep(10 * time.Millisecond)
			wg.Go(func() {
				got := ask(m, withKid(s.JWT, fmt.Sprint("late-", i)))
				assert.False(t, got.signedIn)
				assert.LessOrEqual(t, got.took, 2*time.Second)
			})
			if i%25 == 0 { // one that memory does not know, so that its signature is looked at
				claims := stytch.Claims(s.ID)
				claims["n"] = i
				assert.Equal(t, asked{signedIn: true}, ask(m, stytch.SignJWT(claims, nil)))
			}
		}
		wg.Wait()
		assert.Equal(t, 4, stytch.Count(stytchtest.JWKS))
		time.Sleep(time.Minute) // until the fetch is given up
	})
}
