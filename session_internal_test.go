package stytchmigrate

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/stytchtest"
)

// A session costs its share of memory however many JWTs it has had, of which
// each is good, and whether Stytch answers or not.
func TestMemoryOfOneSession(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]stytchtest.Fault{"Stytch answers": {}, "Stytch is down": stytchtest.Reset()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := stytchtest.NewServer(t, stytchtest.Config{InProcess: true})
				session := s.NewSession(s.AddUser(stytchtest.Person("ada@example.com")).ID, 30*24*time.Hour)
				s.FailAll(stytchtest.Authenticate, fault)
				m, err := New(Config{
					ProjectID: s.ProjectID, Secret: Secret(s.Secret), BaseURL: s.URL, HTTPClient: s.Client(),
					Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
				})
				require.NoError(t, err)
				h := m.RequireUser(http.NotFoundHandler())
				for i := range 20 {
					time.Sleep(3 * time.Second)
					r := httptest.NewRequest(http.MethodGet, "/", nil)
					claims := s.Claims(session.ID)
					claims["n"] = i
					r.AddCookie(&http.Cookie{Name: "stytch_session_jwt", Value: s.SignJWT(claims, nil)})
					w := httptest.NewRecorder()
					m.Handler(h).ServeHTTP(w, r)
					require.Equal(t, http.StatusNotFound, w.Code, "signed in")
				}
				assert.LessOrEqual(t, m.sessions.known.Len(), 3)
			})
		})
	}
}
