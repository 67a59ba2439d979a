package exchange_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/exchange"
	"example.com/stytchmigrate/internal/redact"
	"example.com/stytchmigrate/internal/stytch"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/userinfo"
)

// tries are the results that a machine was told of.
type tries struct {
	*machine
	mu   sync.Mutex
	told []exchange.ShadowResult // guarded by mu
}

func (s *tries) tell(_ context.Context, r exchange.ShadowResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, r)
}

// heard returns what was told, once all is.
func (s *tries) heard() []exchange.ShadowResult {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told
}

func newTries(api *fake, change ...func(*exchange.Config)) *tries {
	return &tries{machine: newMachine(api, nil, change...)}
}

// shadow tries a legacy session out, and waits until all is told.
func (s *tries) shadow(t *testing.T, key string, prepare exchange.Prepare) {
	t.Helper()
	s.begin(t.Context(), key, prepare)
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

func (s *tries) begin(ctx context.Context, key string, prepare exchange.Prepare) {
	s.Shadow(ctx, &exchange.Legacy{Key: key, Identity: id}, prepare, s.tell)
}

// Each row is what Stytch makes of a legacy session that is tried out, what is told, and
// how many exchanges three requests make, which come a second, a few seconds and a minute
// later.
func TestShadow(t *testing.T) {
	no := gone(stytch.Migrate, "user_not_found", 404)
	down := gone(stytch.Migrate, "internal_server_error", 500)
	noUserInfo := gone(stytch.Migrate, stytch.NoUserInfo, 400)
	for name, row := range map[string]struct {
		errs  []error
		user  bool // another person's
		want  exchange.ShadowResult
		calls string
	}{
		"would move":                           {nil, false, exchange.ShadowResult{Took: time.Second}, "migrate revoke"},
		"would be refused":                     {[]error{no}, false, exchange.ShadowResult{Took: time.Second, Err: no}, "migrate"},
		"another person":                       {nil, true, exchange.ShadowResult{Took: time.Second, Err: exchange.ErrAnotherPerson, UserID: "user-other"}, "migrate revoke"},
		"down, and tried again":                {[]error{down, down, down}, false, exchange.ShadowResult{Took: time.Second, Err: down}, "migrate migrate migrate"},
		"UserInfo is down: left alone for 5 s": {[]error{noUserInfo, noUserInfo, noUserInfo}, false, exchange.ShadowResult{Took: time.Second, Err: noUserInfo}, "migrate migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
				api.script(stytch.Migrate, row.errs...)
				if row.user {
					api.user = bob
				}
				s := newTries(api)
				s.shadow(t, "key", request)
				s.shadow(t, "key", request)
				time.Sleep(time.Minute)
				s.shadow(t, "key", request)
				assert.Equal(t, row.want, s.heard()[0])
				assert.Equal(t, row.calls, api.said())
				assert.Zero(t, api.living(), "nobody has that session")
			})
		})
	}
}

// A trial says nothing against the exchange that comes next: a "no" is asked for again.
func TestShadowDoesNotRefuse(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
		api.script(stytch.Migrate, gone(stytch.Migrate, "user_not_found", 404))
		s := newTries(api)
		s.shadow(t, "key", request)
		assert.Equal(t, "exchanged session-1", said(s.do(t, "key")))
	})
}

// A session that is tried out is as short as Stytch lets it be, and its ticket is minted
// in the request.
func TestShadowRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
		s := newTries(api, func(c *exchange.Config) {
			c.Mint = func(userinfo.Identity) (redact.Secret, error) { return "ticket", nil }
		})
		s.shadow(t, "key", func() (stytch.ExchangeRequest, error) { return stytch.ExchangeRequest{Minutes: 60}, nil })
		assert.Equal(t, stytch.ExchangeRequest{Token: "ticket", Minutes: 5}, api.request)
		assert.Equal(t, []stytch.SessionRef{{Token: "token-session-1", Vouched: true}}, api.revoked)
	})
}

// What can't be sent is told once for each session.
func TestShadowNotSent(t *testing.T) {
	broken := errors.New("broken")
	for name, row := range map[string]struct{ prepare, mint error }{"not prepared": {broken, nil}, "no ticket": {nil, broken}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
				s := newTries(api, func(c *exchange.Config) {
					c.Mint = func(userinfo.Identity) (redact.Secret, error) { return "ticket", row.mint }
				})
				for range 3 {
					s.shadow(t, "key", func() (stytch.ExchangeRequest, error) { return stytch.ExchangeRequest{}, row.prepare })
				}
				assert.Equal(t, []exchange.ShadowResult{{Err: broken, NotSent: true}}, s.heard())
				assert.Empty(t, api.said())
			})
		})
	}
}

// Four are tried out at a time, and the others come with a later request. So it is where
// the rollout's pace leaves no room, also where that is taken at the last moment.
func TestShadowHasLittleRoom(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
		s := newTries(api)
		for _, key := range []string{"1", "2", "3", "4", "5"} {
			s.begin(t.Context(), key, request)
		}
		synctest.Wait()
		assert.Equal(t, 4, api.count(stytch.Migrate))
		time.Sleep(2 * time.Second)
		for _, key := range []string{"1", "2", "3", "4", "5"} {
			s.shadow(t, key, request)
		}
		assert.Equal(t, 5, api.count(stytch.Migrate))
		assert.Len(t, s.heard(), 5)
	})
	for name, l := range map[string]exchange.Limiter{"no room": &limit{}, "taken meanwhile": &lastRoom{}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
				s := newTries(api, func(c *exchange.Config) { c.Limiter = l })
				for range 6 { // more than may run at a time
					s.shadow(t, "key", request)
				}
				assert.Empty(t, api.said())
				l.Return()
				s.shadow(t, "key", request)
				assert.Equal(t, "migrate revoke", api.said())
			})
		})
	}
}

// One exchange has Config.Timeout, and goes on if the request is left. A session that was
// logged out is not tried out.
func TestShadowOutlivesItsRequest(t *testing.T) {
	inBubble(t, func(t *testing.T, api *fake, _ *storetest.Memory) {
		s := newTries(api)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		api.slow(timeout - 1)
		s.begin(ctx, "key", request)
		time.Sleep(timeout + time.Second)
		assert.Equal(t, []exchange.ShadowResult{{Took: timeout - 1}}, s.heard())

		api.slow(timeout + 1)
		s.begin(ctx, "another", request)
		time.Sleep(timeout + time.Second)
		assert.Equal(t, exchange.ShadowResult{Took: timeout, Err: stytch.ErrNoAnswer}, s.heard()[1])

		s.tombstones.MarkLegacyLocal("third")
		s.begin(ctx, "third", request)
		time.Sleep(timeout + time.Second)
		assert.Len(t, s.heard(), 2)
	})
}
