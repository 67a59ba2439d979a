package cache_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cache"
)

// What was not used for longest makes room.
func TestLRU(t *testing.T) {
	c := cache.LRU[string, int](2)
	c.Add("a", 1)
	c.Add("b", 2)
	c.Get("a")
	c.Add("c", 3)
	assert.Equal(t, []string{"a", "c"}, c.Keys())
	assert.Panics(t, func() { cache.LRU[string, int](0) })
}

// A value is there until its time has passed, and may be removed before.
func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cache.NewTTL[string, int](2)
		c.Put("a", 1, time.Second)
		time.Sleep(time.Second - 1)
		v, ok := c.Get("a")
		assert.True(t, ok)
		assert.Equal(t, 1, v)
		time.Sleep(time.Nanosecond)
		v, ok = c.Get("a")
		assert.False(t, ok)
		assert.Zero(t, v)
		assert.Equal(t, 1, c.Len(), "it is held until it makes room")

		c.Put("a", 2, time.Second)
		v, _ = c.Get("a")
		assert.Equal(t, 2, v, "put again, it has a new time")
		c.Remove("a")
		_, ok = c.Get("a")
		assert.False(t, ok)
		for _, key := range []string{"a", "b", "c"} {
			c.Put(key, 3, time.Hour)
		}
		assert.Equal(t, 2, c.Len())
		_, ok = c.Get("a")
		assert.False(t, ok, "no more are held than there is room for")
	})
}
