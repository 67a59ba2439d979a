package stytchmigrate_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

// lateStore is machine 0's way to the store. Its first Claim is lost at once (a
// stall); its renewal is under way until let go.
type lateStore struct {
	*sharedMemory
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
		ok, err := s.sharedMemory.Claim(context.WithoutCancel(ctx), key, owner, lease)
		close(s.landed)
		return ok, err
	}
	ok, err := s.sharedMemory.Claim(ctx, key, owner, lease)
	_ = s.Release(ctx, key, owner)
	return ok, err
}

func (s *lateStore) Get(ctx context.Context, key string) ([]byte, bool, error) {
	v, ok, err := s.sharedMemory.Get(ctx, key)
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
	inBubble(t, func(t *testing.T, a *app) {
		mem := newSharedMemory()
		late := &lateStore{sharedMemory: mem, letGo: make(chan struct{}), landed: make(chan struct{})}
		m0 := a.machines(t, 1, sharing(late), func(c *stytchmigrate.Config) { c.Timeout = 6 * time.Second })[0]
		m1 := a.machines(t, 1, sharing(mem), func(c *stytchmigrate.Config) { c.Timeout = 6 * time.Second })[0]
		a.stytch.Fail(stytchtest.Migrate, stytchtest.Delay(1100*time.Millisecond))
		var second []*visitor
		late.between = func() { second = across([]*stytchmigrate.Middleware{m1}, 1) }
		first := across([]*stytchmigrate.Middleware{m0}, 1)
		assert.Equal(t, first[0].Result().Cookies()[0].Value, second[0].Result().Cookies()[0].Value)
		live := 0
		for _, s := range a.stytch.Sessions() {
			if s.Live {
				live++
			}
		}
		assert.Equal(t, 1, live)
	})
}
