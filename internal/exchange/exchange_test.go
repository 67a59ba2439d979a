package exchange_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/userinfo"
)

// However many requests bring a legacy session, and to however many machines, it
// becomes one Stytch session.
func TestOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api, store := new(fake), new(storetest.Memory)
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := map[string]int{}
		for range 3 {
			m := newMachine(api, store)
			for range 100 {
				wg.Go(func() {
					x := m.do(t, "key")
					mu.Lock()
					defer mu.Unlock()
					got[x.Entry.Session.ID]++
				})
			}
		}
		wg.Wait()
		assert.Equal(t, map[string]int{"session-1": 300}, got)
		assert.Equal(t, 1, api.count(stytch.Migrate))
		assert.Empty(t, api.revoked)
	})
}

// A logout during an exchange, on this machine or another, is heard before anybody is
// handed what comes of it.
func TestLogoutMeanwhile(t *testing.T) {
	for name, elsewhere := range map[string]bool{"here": false, "elsewhere": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				api, store := new(fake), new(storetest.Memory)
				m, other := newMachine(api, store), newMachine(api, store)
				go func() {
					time.Sleep(500 * time.Millisecond)
					if on := m; elsewhere {
						on = other
						assert.NoError(t, on.tombstones.MarkLegacy(context.Background(), "key"))
					} else {
						assert.NoError(t, on.tombstones.MarkLegacy(context.Background(), "key"))
					}
				}()
				x := m.do(t, "key")
				assert.Equal(t, exchange.ErrLoggedOut, x.Err)
				time.Sleep(time.Second)
				assert.Equal(t, []stytch.SessionRef{{ID: "session-1"}}, api.revoked)
			})
		})
	}
}

// Another person's session is given up, told of once, and not asked for again for a
// minute.
func TestAnotherPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := new(fake)
		m := newMachine(api, nil)
		told := 0
		for range 3 {
			x := m.Exchange(t.Context(), &exchange.Legacy{Key: "key", Identity: userinfo.Identity{Subject: "bob", Email: "bob@example.com", EmailVerified: true}},
				func() (stytch.ExchangeRequest, error) { return stytch.ExchangeRequest{Token: "legacy"}, nil })
			assert.Equal(t, stytch.No, x.Answer)
			if x.Event == exchange.Mismatch {
				told++
			}
		}
		assert.Equal(t, 1, told)
		assert.Equal(t, 1, api.count(stytch.Migrate))
		assert.Equal(t, []stytch.SessionRef{{Token: "token-session-1", Vouched: true}}, api.revoked)
		time.Sleep(time.Minute)
		m.do(t, "key")
		assert.Equal(t, 2, api.count(stytch.Migrate))
	})
}
