package exchange_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/records"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
)

// The operations that an exchange sends to the store, in order. Each costs a round
// trip, so there are seven and no more:
//
//	get         it may have become a session before: nearly all that come again end here
//	claim       of all machines one exchanges
//	get         another machine may have had the claim since the first get
//	get .ended  a legacy session that was logged out must not be exchanged
//	get .user   all sessions of the user may have been ended while this one was made
//	put         the other machines find the session from now on
//	get .ended  a logout that found no record left a mark before the put
//
// A session whose cookie has an End costs one more, for the record of its source.
// Before a recorded session is handed out, get .over finds whether it was ended on
// another machine for a reason that is not the user's. It comes once more where Stytch is
// asked, after the answer.
const (
	looks     = "get key, "
	claims    = "claim key, get key, get key.ended, "
	resumes   = looks + "get key.ended, get session.over"
	exchanges = looks + claims + "get user, put key, get key.ended"
)

func TestStoreOperations(t *testing.T) {
	source := &records.Source{Cookie: "sid"}
	refused := gone(stytch.Migrate, "user_not_found", 404)
	for name, row := range map[string]struct {
		before func(t *testing.T, m *machine, api *fake)
		source *records.Source
		want   string
	}{
		"an exchange":                          {nil, nil, exchanges},
		"an exchange, and End is to be called": {nil, source, looks + claims + "get user, put key, put key.source, get key.ended"},
		"Stytch says no":                       {func(_ *testing.T, _ *machine, api *fake) { api.script(stytch.Migrate, refused) }, nil, looks + claims + "release key"},
		"it moved before":                      {func(t *testing.T, m *machine, _ *fake) { m.ask(t) }, nil, resumes},
		"it moved a minute ago, and Stytch is asked again": {func(t *testing.T, m *machine, _ *fake) { m.ask(t); time.Sleep(time.Minute) }, nil,
			resumes + ", get session.over, put key"},
		"it moved, and the session has run out": {func(t *testing.T, m *machine, _ *fake) { m.ask(t); time.Sleep(2 * time.Hour) }, nil,
			resumes + ", " + claims + "get user, put key, get key.ended"},
		"it was logged out elsewhere, before it moved": {func(t *testing.T, m *machine, _ *fake) {
			assert.NoError(t, m.tombstones.MarkLegacy(t.Context(), "key"))
		}, nil, looks + claims + "release key"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
				if row.before != nil {
					row.before(t, newMachine(api, store), api)
				}
				var ops []string
				store.Fail(func(op, key string) error {
					if strings.HasSuffix(key, ".over") {
						key = "session.over" // the key is a hash of its id
					} else if strings.HasSuffix(key, ".user") {
						key = "user" // likewise
					}
					ops = append(ops, op+" "+key)
					return nil
				})
				newMachine(api, store).Exchange(t.Context(), &exchange.Legacy{Key: "key", ID: "id", Identity: id, Source: row.source}, request)
				assert.Equal(t, row.want, strings.Join(ops, ", "))
			})
		})
	}
}

// Where the rollout's pace leaves no room, the store is asked for a record and for
// nothing else.
func TestStoreOperationsWithoutRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		var ops []string
		store.Fail(func(op, _ string) error { ops = append(ops, op); return nil })
		newMachine(api, store, func(c *exchange.Config) { c.Limiter = &limit{} }).ask(t)
		assert.Equal(t, []string{"get"}, ops)
	})
}

// A job that waits for another machine asks the store some fifty times in 2.5 s: each 40
// to 80 ms, but more often at first.
func TestStoreOperationsOfAWait(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		kill(t, api, store)
		ops := map[string]int{}
		var first time.Duration
		start := time.Now()
		store.Fail(func(op, _ string) error {
			if ops[op]++; op == "claim" && ops[op] == 2 {
				first = time.Since(start)
			}
			return nil
		})
		newMachine(api, store).ask(t)
		assert.Equal(t, ops["claim"], ops["get"])
		assert.GreaterOrEqual(t, ops["claim"], 32)
		assert.LessOrEqual(t, ops["claim"], 66)
		assert.GreaterOrEqual(t, first, 7*time.Millisecond)
		assert.LessOrEqual(t, first, 15*time.Millisecond)
	})
}
