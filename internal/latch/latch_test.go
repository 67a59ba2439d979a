package latch_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/latch"
)

func TestLatch(t *testing.T) {
	var l latch.Latch
	assert.False(t, l.Clear(), "it is clear at first")
	assert.False(t, l.IsSet())
	assert.True(t, l.Set())
	assert.True(t, l.IsSet())
	assert.False(t, l.Set(), "set already")
	assert.True(t, l.Clear())
	assert.False(t, l.Clear())
	assert.True(t, l.Set(), "set again")
}

func TestLatchEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l latch.Latch
		assert.True(t, l.SetEvery(time.Minute))
		time.Sleep(time.Minute - 1)
		assert.False(t, l.SetEvery(time.Minute))
		assert.True(t, l.Clear())
		assert.False(t, l.SetEvery(time.Minute), "clearing makes no new report due")
		assert.False(t, l.Clear(), "what was not reported is not set")
		time.Sleep(time.Nanosecond)
		assert.True(t, l.SetEvery(time.Minute))
	})
}

// Of many callers at the same moment, one reports.
func TestLatchOfMany(t *testing.T) {
	var once, every latch.Latch
	var first, due atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if once.Set() {
				first.Add(1)
			}
			if every.SetEvery(time.Hour) {
				due.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, first.Load())
	assert.EqualValues(t, 1, due.Load())
}
