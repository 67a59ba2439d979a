package session_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/storetest"
)

// Another machine revoked the session for a mismatch, which is no logout. A request whose
// client has left must not find otherwise.
func TestClientThatLeftFindsNoLogout(t *testing.T) {
	for name, jwt := range map[string]string{"a valid JWT": "Jd", "an expired JWT": "Ed"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, f := new(storetest.Memory), newStytch()
				m, other := newMachine(f, store), newMachine(f, store)
				f.openFrom("key", "d")
				time.Sleep(6 * time.Minute)
				require.NoError(t, other.Tombstones.MarkSessionShared(t.Context(), "d")) // as RevokeLater does
				f.gone["d"] = true
				jwts, _ := m.cookies(jwt)
				assert.Equal(t, "none, clear", describe(m.Find(t.Context(), jwts, nil)))
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				assert.Equal(t, "none, clear", describe(m.Find(ctx, jwts, nil)))
			})
		})
	}
}
