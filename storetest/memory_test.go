package storetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) stytchmigrate.Store { return new(storetest.Memory) })
}

// What a test does to a Memory: it fails, loses claims and goes back in time.
func TestMemoryThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m storetest.Memory
		ctx := context.Background()
		down := errors.New("down")
		var ops []string
		m.Fail(func(op, _ string) error { ops = append(ops, op); return down })
		_, _, err := m.Get(ctx, "k")
		assert.ErrorIs(t, err, down)
		_, err = m.Claim(ctx, "k", "a", time.Minute)
		assert.ErrorIs(t, err, down)
		_, err = m.Put(ctx, "k", "", []byte("v"), time.Minute)
		assert.ErrorIs(t, err, down)
		assert.ErrorIs(t, m.Release(ctx, "k", "a"), down)
		assert.Equal(t, []string{"get", "claim", "put", "release"}, ops)
		m.Fail(nil)
		assert.Empty(t, m.Values(), "nothing was stored")

		claimed, err := m.Claim(ctx, "k", "a", time.Minute)
		require.NoError(t, err)
		require.True(t, claimed)
		m.LoseClaims()
		stored, err := m.Put(ctx, "k", "a", []byte("v"), time.Minute)
		require.NoError(t, err)
		assert.False(t, stored, "the claim was lost")

		_, err = m.Put(ctx, "k", "", []byte("old"), time.Minute)
		require.NoError(t, err)
		restore := m.Snapshot()
		_, err = m.Put(ctx, "k", "", []byte("new"), time.Minute)
		require.NoError(t, err)
		_, err = m.Put(ctx, "k2", "", []byte("later"), time.Minute)
		require.NoError(t, err)
		restore()
		assert.Equal(t, map[string][]byte{"k": []byte("old"), "k2": []byte("later")}, m.Values())
		time.Sleep(time.Minute)
		assert.Empty(t, m.Values(), "their time to live has passed")
	})
}
