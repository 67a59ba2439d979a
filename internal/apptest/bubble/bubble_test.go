package bubble_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/apptest/bubble"
)

func TestGoroutines(t *testing.T) {
	assert.Panics(t, func() { bubble.Goroutines() }, "outside of a bubble")
	go time.Sleep(time.Second) // of no bubble
	synctest.Test(t, func(t *testing.T) {
		alone := bubble.Goroutines()
		for range 100 {
			go time.Sleep(time.Second)
		}
		synctest.Wait()
		assert.Equal(t, 100, bubble.Goroutines()-alone)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Equal(t, alone, bubble.Goroutines())
	})
}
