package background

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
)

// Who listens and does not return costs the oldest of what was to be told, not memory.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var q Queue
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
