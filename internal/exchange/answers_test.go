package exchange_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/identity"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/userinfo"
)

var (
	bob   = identity.User{HasDetails: true, Emails: []identity.Email{{Address: "bob@example.com", Verified: true}}}
	bobID = userinfo.Identity{Subject: "bob", Email: "bob@example.com", EmailVerified: true}
)

// Each row is what Stytch answers to an exchange, what that comes to, the calls that are
// made, and for how long Stytch is not asked again.
func TestAnswers(t *testing.T) {
	none := func(*stytch.Session) {}
	const migrate = stytch.Migrate
	for name, row := range map[string]struct {
		err    error
		change func(*stytch.Session)
		want   string
		calls  string
		kept   time.Duration
	}{
		"no":                            {gone(migrate, "user_not_found", 404), none, "refused", "migrate", time.Minute},
		"the user is locked":            {gone(migrate, "user_lock_limit_reached", 429), none, "refused", "migrate", time.Minute},
		"the UserInfo endpoint is down": {gone(migrate, stytch.NoUserInfo, 400), none, "can't tell", "migrate", 5 * time.Second},
		"too many requests":             {gone(migrate, "too_many_requests", 429), none, "can't tell", "migrate", 0},
		"down":                          {gone(migrate, "internal_server_error", 500), none, "can't tell", "migrate", 0},
		"no answer":                     {stytch.ErrNoAnswer, none, "can't tell", "migrate", 0},
		"no place in flight":            {&stytch.CallError{Op: migrate, NoSlot: true}, none, "no room", "migrate", 0},
		"another person's session":      {nil, func(s *stytch.Session) { s.User = bob }, "refused", "migrate revoke", time.Minute},
		"a user with an unverified email": {nil, func(s *stytch.Session) {
			s.User.Emails = []identity.Email{{Address: "ada@example.com"}, {Address: "b@example.com"}}
		}, "refused", "migrate revoke", time.Minute},
		"a session without an id":         {nil, func(s *stytch.Session) { s.ID = "" }, "can't tell", "migrate revoke", 5 * time.Second},
		"a 200 that can't be used":        {unusable("token-x"), none, "can't tell", "migrate revoke", 5 * time.Second},
		"one that names no session":       {unusable(""), none, "can't tell", "migrate", 5 * time.Second},
		"another person's, without an id": {nil, func(s *stytch.Session) { s.ID, s.User = "", bob }, "refused", "migrate revoke", time.Minute},
		"a session that has run out":      {nil, func(s *stytch.Session) { s.ExpiresAt = time.Now() }, "can't tell", "migrate revoke", 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
				api.script(migrate, row.err)
				api.change = row.change
				m := newMachine(api, store)
				what, _ := m.ask(t)
				assert.Equal(t, row.want, what)
				assert.Equal(t, row.calls, api.said())
				if row.kept > 0 {
					time.Sleep(row.kept - 1)
					again, took := m.ask(t)
					assert.Equal(t, row.want, again)
					assert.Zero(t, took)
					assert.Equal(t, row.calls, api.said())
					time.Sleep(time.Nanosecond)
				}
				m.ask(t)
				assert.Equal(t, 2, api.count(migrate), "Stytch is asked again")
			})
		})
	}
}

// unusable is the error of an answer 200 that can't be used, and names a session by its
// token, or none.
func unusable(token redact.Secret) error {
	return &stytch.CallError{Op: stytch.Migrate, Reason: "cut off", Unusable: true, Made: stytch.SessionRef{Token: token}}
}

// The session of such an answer is revoked after the time of the exchange too, and in the
// shadow.
func TestSessionOfAnUnusableAnswerIsRevoked(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
		api.script(stytch.Migrate, unusable("token-x"))
		newMachine(api, nil).Shadow(t.Context(), &exchange.Legacy{Key: "key", ID: "id", Identity: id}, request, func(_ context.Context, r exchange.ShadowResult) {
			assert.Equal(t, stytch.CantTell, stytch.AnswerOf(r.Err))
		})
		time.Sleep(timeout)
		synctest.Wait()
		assert.Equal(t, []stytch.SessionRef{{Token: "token-x"}}, api.revoked)
	})
}

// An answer that can't be used is logged, with the time that the call took.
func TestAnswerOfNoUseIsLogged(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
		api.change = func(s *stytch.Session) { s.ID = "" }
		var logged []string
		m := newMachine(api, nil, func(c *exchange.Config) {
			c.LogError = func(_ context.Context, op stytch.Op, took time.Duration, err error) {
				logged = append(logged, string(op), took.String(), err.Error())
			}
		})
		m.ask(t)
		assert.Equal(t, []string{"migrate", "1s", "stytchmigrate: migrate: answer 200 could not be used: session is missing, and session_jwt can't be read"}, logged)
	})
}

// A panic in the shared work is can't tell, and ends neither the process nor what comes
// next.
func TestPanicInSharedWork(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		api.change = func(*stytch.Session) { panic("x") }
		m := newMachine(api, store)
		what, _ := m.ask(t)
		assert.Equal(t, "can't tell", what)
		api.change = nil
		store.LoseClaims() // as the lease would end
		what, _ = m.ask(t)
		assert.Equal(t, "exchanged session-2", what)
	})
}

// A request that leaves gets no answer. The work goes on, for 15 s at most, and the next
// request has what it came to.
func TestFirstRequestLeaves(t *testing.T) {
	for name, row := range map[string]struct {
		takes time.Duration
		want  string
	}{
		"in time":  {15*time.Second - 1, "recorded session-1"},
		"too late": {15*time.Second + 1, "exchanged session-1"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
				api.slow(row.takes)
				m := newMachine(api, nil)
				ctx, leave := context.WithTimeout(t.Context(), time.Second)
				defer leave()
				x := m.Exchange(ctx, &exchange.Legacy{Key: "key", ID: "id", Identity: id}, request)
				assert.Equal(t, stytch.ErrNoAnswer, x.Err)
				assert.Equal(t, stytch.CantTell, x.Answer)
				time.Sleep(15 * time.Second)
				api.slow(0)
				what, _ := m.ask(t)
				assert.Equal(t, row.want, what)
			})
		})
	}
}

// Each row is why the request for an exchange could not be made. Stytch is not asked. A
// refusal is logged once a minute, and the application not asked again meanwhile.
func TestNotPrepared(t *testing.T) {
	for name, row := range map[string]struct {
		err      error
		want     string
		asked    int
		logLines int
	}{
		"nothing verifies the identity": {&stytch.CallError{Op: stytch.Migrate, Reason: "email is not verified", Answer: stytch.No}, "refused", 1, 1},
		"a setting is wrong":            {redact.Setting("SessionClaims returned more than 4 KB"), "can't tell", 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
				m, asked := newMachine(api, nil), 0
				do := func() {
					x := m.Exchange(t.Context(), &exchange.Legacy{Key: "key"}, func() (stytch.ExchangeRequest, error) { asked++; return stytch.ExchangeRequest{}, row.err })
					assert.Equal(t, row.want, said(x))
					assert.Equal(t, row.err, x.Err)
				}
				do()
				do()
				time.Sleep(time.Minute - 1)
				do()
				assert.Equal(t, row.asked, asked)
				assert.Equal(t, row.logLines, strings.Count(m.log.String(), "legacy session refused"))
				time.Sleep(time.Nanosecond)
				do()
				assert.Equal(t, row.asked+1, asked)
				assert.Empty(t, api.said())
			})
		})
	}
}

// A legacy session without a token is exchanged by a ticket.
func TestTicket(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		want string
		sent redact.Secret
	}{
		"minted":     {nil, "exchanged session-1", "ticket of ada"},
		"not minted": {errors.New("canary"), "can't tell", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
				m := newMachine(api, store, func(c *exchange.Config) {
					c.Mint = func(id userinfo.Identity) (redact.Secret, error) {
						return redact.Secret("ticket of " + id.Subject), row.err
					}
				})
				x := m.Exchange(t.Context(), &exchange.Legacy{Key: "key", ID: "id", Identity: id}, func() (stytch.ExchangeRequest, error) { return stytch.ExchangeRequest{}, nil })
				assert.Equal(t, row.want, said(x))
				assert.Equal(t, row.sent, api.request.Token)
				if row.err != nil {
					assert.Equal(t, redact.Setting("Config.Tickets could not mint a ticket"), x.Err)
					what, took := newMachine(api, store).ask(t)
					assert.Equal(t, "exchanged session-1", what)
					assert.Equal(t, time.Second, took, "no claim is left behind")
				}
			})
		})
	}
}

// Beyond the pace of the rollout a legacy session is left alone. One that moved before
// takes no room, and an exchange that found no place in flight gives its room back.
func TestPace(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		l := &limit{room: 1}
		m := newMachine(api, store, func(c *exchange.Config) { c.Limiter = l })
		api.script(stytch.Migrate, &stytch.CallError{Op: stytch.Migrate, NoSlot: true})
		assert.Equal(t, "no room", said(m.do(t, "key")))
		assert.Equal(t, "exchanged session-1", said(m.do(t, "key")), "the room was given back")
		assert.Equal(t, "recorded session-1", said(m.do(t, "key")))
		x := m.do(t, "another")
		assert.Equal(t, "no room", said(x))
		assert.Equal(t, exchange.ErrPace, x.Err)
		l.Return()
		assert.Equal(t, "exchanged session-2", said(m.do(t, "another")))
	})
}

// lastRoom is a Limiter whose room is taken between the question and Take.
type lastRoom struct{ limit }

func (*lastRoom) HasRoom() bool { return true }

// The room may be taken while the store is asked. Then the claim is given back.
func TestRoomIsTakenMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		what, _ := newMachine(api, store, func(c *exchange.Config) { c.Limiter = &lastRoom{} }).ask(t)
		assert.Equal(t, "no room", what)
		assert.Empty(t, api.said())
		what, took := newMachine(api, store).ask(t)
		assert.Equal(t, "exchanged session-1", what)
		assert.Equal(t, time.Second, took)
	})
}

// forgetful grants claims and has lost them by the time of the Put, as a Redis that
// evicts what is volatile.
type forgetful struct {
	*storetest.Memory
	puts atomic.Int64
}

func (s *forgetful) Put(ctx context.Context, key, owner string, v []byte, ttl time.Duration) (bool, error) {
	if owner == "" {
		return s.Memory.Put(ctx, key, owner, v, ttl)
	}
	s.puts.Add(1)
	time.Sleep(time.Millisecond) // or time would never pass for a job that asks without a pause
	return false, nil
}

// A store that loses each claim is asked with pauses, until the time of the work is over.
// The one session that was made is revoked then, although that time is over. If it was
// over during a Put, the store counts as down: the session is kept in this process, and
// the next request has it.
func TestStoreThatLosesClaims(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, store *storetest.Memory) {
		s := &forgetful{Memory: store}
		m := newMachine(api, s)
		what, took := m.ask(t)
		assert.Equal(t, "can't tell", what)
		assert.Equal(t, timeout, took)
		time.Sleep(3*timeout - took - time.Millisecond)
		assert.Equal(t, "migrate", api.said())
		time.Sleep(time.Second)
		assert.Greater(t, s.puts.Load(), int64(100))
		assert.Less(t, s.puts.Load(), int64(500))
		living := api.living()
		what, _ = m.ask(t)
		assert.Equal(t, living == 1, what == "recorded session-1", "alive, and no request has it")
	})
}
