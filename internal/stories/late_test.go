package stories_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/storetest"
	"example.com/stytchmigrate/stytchtest"
)

// lateStore is machine 0's way to the store. Its first Claim is lost at once (a
// stall); its renewal is under way until let go.
type lateStore struct {
	*storetest.Memory
	claims  atomic.Int32
	gets    atomic.Int32
	letGo   chan struct{}
	landed  chan struct{}
	between func()
}

func (s *lateStore) Claim(ctx context.Context, key, owner string, lease time.Duration) (bool, error) {
	n := s.claims.Add(1)
	if n > 1 { // sent; what the server does with it no context stops
		<-s.letGo
		ok, err := s.Memory.Claim(context.WithoutCancel(ctx), key, owner, lease)
		close(s.landed)
		return ok, err
	}
	ok, err := s.Memory.Claim(ctx, key, owner, lease)
	_ = s.Release(ctx, key, owner)
	return ok, err
}

func (s *lateStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	v, ok, err := s.Memory.Get(ctx, key)
	if strings.HasSuffix(key, ".ended") && s.gets.Add(1) == 3 {
		s.between()
		close(s.letGo)
		<-s.landed
	}
	return v, ok, err
}

// A renewal reaches the store after the claim was lost and another machine used
// it. Both hand out one session.
func TestLateRenewal(t *testing.T) {
	apptest.InBubble(t, func(t *testing.T, a *apptest.App) {
		mem := new(storetest.Memory)
		late := &lateStore{Memory: mem, letGo: make(chan struct{}), landed: make(chan struct{})}
		m0 := a.Machines(t, 1, apptest.SharedStore(late), func(c *stytchmigrate.Config) { c.Timeout = 6 * time.Second })[0]
		m1 := a.Machines(t, 1, apptest.SharedStore(mem), func(c *stytchmigrate.Config) { c.Timeout = 6 * time.Second })[0]
		a.Stytch.Fail(stytchtest.Migrate, stytchtest.Delay(1100*time.Millisecond))
		var second []*apptest.Visitor
		late.between = func() { second = apptest.CrowdAcross([]*stytchmigrate.Middleware{m1}, 1) }
		first := apptest.CrowdAcross([]*stytchmigrate.Middleware{m0}, 1)
		assert.Equal(t, first[0].Result().Cookies()[0].Value, second[0].Result().Cookies()[0].Value)
		live := 0
		for _, s := range a.Stytch.Sessions() {
			if s.Live {
				live++
			}
		}
		assert.Equal(t, 1, live)
	})
}

// Somebody logs out between a machine's last look and its Put.
func TestLogoutRightBeforeThePut(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		apptest.BeforeStoreOp(s, "put", func() {
			r := httptest.NewRequest(http.MethodPost, "https://app.example.com/logout", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			assert.NoError(t, m[1].Logout(httptest.NewRecorder(), r))
		})
		assert.Equal(t, "refused | - | - | migrate revoke", a.On(m[0]).Get("sid=ada-1").String())
		assert.False(t, a.Stytch.Sessions()[0].Live)
	})
}

// A claim is lost, and used, between a machine's last look and its Put.
func TestClaimIsLostRightBeforeThePut(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, s *storetest.Memory) {
		var winner []*apptest.Visitor
		apptest.BeforeStoreOp(s, "put", func() {
			s.LoseClaims()
			winner = apptest.CrowdAcross(m[1:2], 1)
		})
		loser := apptest.CrowdAcross(m[:1], 1)
		assert.Equal(t, winner[0].Result().Cookies()[0].Value, loser[0].Result().Cookies()[0].Value)
		live := 0
		for _, x := range a.Stytch.Sessions() {
			if x.Live {
				live++
			}
		}
		assert.Equal(t, 1, live)
	})
}

// A session of Stytch's own login is refreshed on one machine, and logged out on
// another before the answer is there.
func TestLogoutDuringARefreshOfANativeSession(t *testing.T) {
	apptest.InCluster(t, func(t *testing.T, a *apptest.App, m []*stytchmigrate.Middleware, _ *storetest.Memory) {
		cookies, _ := a.SignedIn(a.Ada)
		time.Sleep(6 * time.Minute)
		hold := &stytchtest.Hold{}
		a.Stytch.Fail(stytchtest.Authenticate, stytchtest.Fault{}.WithHold(hold).AfterWork())
		v := &apptest.Visitor{ResponseRecorder: httptest.NewRecorder()}
		done := make(chan bool)
		go func() {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
			r.Header.Set("Cookie", cookies)
			m[0].Handler(v).ServeHTTP(v, r)
			close(done)
		}()
		<-hold.Arrived()
		a.On(m[2]).LogOut(cookies)
		hold.Release()
		<-done
		assert.Empty(t, v.User)
	})
}
