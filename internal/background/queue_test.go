package background_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/background"
)

// A function that does not return costs the oldest functions behind it, and not
// ever more memory.
func TestQueueIsBounded(t *testing.T) {
	const maxWaiting = 1000
	synctest.Test(t, func(t *testing.T) {
		var q background.Queue
		var ran []int
		hold := make(chan struct{})
		q.Add(func() { <-hold })
		for i := range maxWaiting + 2 {
			q.Add(func() { ran = append(ran, i) })
		}
		close(hold)
		synctest.Wait()
		assert.Len(t, ran, maxWaiting)
		assert.Equal(t, []int{2, maxWaiting + 1}, []int{ran[0], ran[len(ran)-1]})
	})
}

// The functions run one at a time and in order, whatever each of them does.
func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q background.Queue
		var ran []int
		for i := range 10 {
			q.Add(func() {
				time.Sleep(time.Duration(10-i) * time.Second)
				switch ran = append(ran, i); i % 3 {
				case 1:
					panic("canary")
				case 2:
					runtime.Goexit()
				}
			})
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, ran)
		q.Add(func() { ran = nil })
		synctest.Wait()
		assert.Empty(t, ran, "an idle queue starts again")
	})
}
