package exchange_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/userinfo"
)

func createUsers(c *exchange.Config) { c.CreateUsers = true }

// unknownUser is Stytch's answer to the exchange of a legacy session whose user it does
// not have.
var unknownUser = gone(stytch.Migrate, "migrate_from_external_email_does_not_exist", 404)

// Each row is what Stytch makes of a user that it does not have yet, what that comes to,
// and the event.
func TestCreateUsers(t *testing.T) {
	const create = "migrate create_user"
	down := gone(stytch.CreateUser, "server_unavailable", 503)
	for name, row := range map[string]struct {
		migrates []error // of the two exchanges
		creates  error
		userID   string // "": another machine has made the user
		want     string
		calls    string
		event    exchange.Event
		again    string // the next request
	}{
		"all is well":                   {[]error{unknownUser}, nil, "user-1", "exchanged session-1", create + " migrate", exchange.Created, "recorded session-1"},
		"another machine was first":     {[]error{unknownUser}, nil, "", "exchanged session-1", create + " migrate", exchange.NoEvent, "recorded session-1"},
		"the user is not found still":   {[]error{unknownUser, unknownUser}, nil, "user-1", "refused", create + " migrate", exchange.Created, "refused"},
		"the user is refused":           {[]error{unknownUser}, gone(stytch.CreateUser, "invalid_email", 400), "", "refused", create, exchange.NoEvent, "refused"},
		"Stytch is down by then":        {[]error{unknownUser}, down, "", "can't tell", create, exchange.NoEvent, "exchanged session-1"},
		"Stytch goes down in between":   {[]error{unknownUser, gone(stytch.Migrate, "server_unavailable", 503)}, nil, "user-1", "can't tell", create + " migrate", exchange.Created, "exchanged session-1"},
		"the secret may not":            {[]error{unknownUser}, gone(stytch.CreateUser, "unauthorized_credentials", 403), "", "can't tell", create, exchange.NoEvent, "exchanged session-1"},
		"another error of the exchange": {[]error{gone(stytch.Migrate, "user_lock_limit_reached", 429)}, nil, "user-1", "refused", "migrate", exchange.NoEvent, "refused"},
		"the UserInfo endpoint is down": {[]error{gone(stytch.Migrate, stytch.NoUserInfo, 400)}, nil, "user-1", "can't tell", "migrate", exchange.NoEvent, "can't tell"},
		"no answer":                     {[]error{stytch.ErrNoAnswer}, nil, "user-1", "can't tell", "migrate", exchange.NoEvent, "exchanged session-1"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
				api.script(stytch.Migrate, row.migrates...)
				api.script(stytch.CreateUser, row.creates)
				api.userID = row.userID
				m := newMachine(api, store, createUsers)
				x := m.do(t, "key")
				assert.Equal(t, row.want, said(x))
				assert.Equal(t, row.calls, api.said())
				assert.Equal(t, row.event, x.Event)
				if row.event == exchange.Created {
					assert.Equal(t, row.userID, x.UserID)
				}
				assert.Equal(t, row.again, said(m.do(t, "key")))
			})
		})
	}
}

// Each row is why no user is created.
func TestNoUserIsCreated(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*exchange.Config)
		id     userinfo.Identity
	}{
		"Config.CreateUsers is off":              {func(*exchange.Config) {}, id},
		"of a token alone it is not known whose": {createUsers, userinfo.Identity{}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
				api.script(stytch.Migrate, unknownUser)
				x := newMachine(api, nil, row.change).Exchange(t.Context(), &exchange.Legacy{Key: "key", Identity: row.id}, request)
				assert.Equal(t, "refused", said(x))
				assert.Equal(t, "migrate", api.said())
			})
		})
	}
}

// After the user is created the session is another person's: the token is that one's, or
// that one signed up by the same address in this very moment. That is worse than that a
// user was created, and is what is reported.
func TestCreatedForAnotherPerson(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
		api.script(stytch.Migrate, unknownUser)
		api.userID, api.user = "user-1", bob
		x := newMachine(api, nil, createUsers).do(t, "key")
		assert.Equal(t, "refused", said(x))
		assert.Equal(t, "migrate create_user migrate revoke", api.said())
		assert.Equal(t, exchange.Mismatch, x.Event)
		assert.Equal(t, "user-other", x.UserID)
		assert.Zero(t, api.living())
	})
}

// Fifty requests at once make one user and one session, and one of them reports it.
func TestUserIsCreatedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
		api.script(stytch.Migrate, unknownUser)
		api.userID = "user-1"
		m := newMachine(api, nil, createUsers)
		var wg sync.WaitGroup
		var mu sync.Mutex
		got := map[exchange.Result]int{}
		for range 50 {
			wg.Go(func() {
				x := m.do(t, "key")
				assert.Equal(t, "exchanged session-1", said(x))
				mu.Lock()
				defer mu.Unlock()
				got[exchange.Result{Event: x.Event, UserID: x.UserID}]++
			})
		}
		wg.Wait()
		assert.Equal(t, map[exchange.Result]int{{Event: exchange.Created, UserID: "user-1"}: 1, {}: 49}, got)
		assert.Equal(t, "migrate create_user migrate", api.said())
	})
}

// All sessions of the user are ended on another machine while the exchange makes one more.
// That one is revoked, and nobody gets it. The legacy session itself has not ended.
func TestSessionsEndedMeanwhile(t *testing.T) {
	for _, shared := range []bool{true, false} {
		inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
			here, elsewhere := newMachine(api, store), newMachine(api, store)
			if !shared {
				here = newMachine(api, nil)
				elsewhere = here
			}
			done := make(chan string)
			go func() { what, _ := here.ask(t); done <- what }()
			time.Sleep(time.Second / 2)
			assert.NoError(t, elsewhere.tombstones.MarkUser(t.Context(), "user-ada", 15*time.Second))
			assert.Equal(t, "no room", <-done)
			assert.Len(t, api.revoked, 1)
			what, _ := here.ask(t)
			assert.Equal(t, "no room", what)
			time.Sleep(15 * time.Second)
			what, _ = here.ask(t)
			assert.Equal(t, "exchanged session-3", what)
		})
	}
}
