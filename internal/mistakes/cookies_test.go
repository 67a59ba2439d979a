package mistakes_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/mistakes"
)

// bad notes n different values, and returns how many times that was enough.
func bad(c *mistakes.Cookies, entry, n int) (wrong int) {
	for i := range n {
		if c.Bad(entry, fmt.Sprint(i)) {
			wrong++
		}
	}
	return wrong
}

func TestValuesThatAreNoSession(t *testing.T) {
	c := mistakes.NewCookies([]string{"sid", "sid", "other"})
	assert.Zero(t, bad(c, 0, 19))
	assert.Zero(t, bad(c, 1, 19), "the same values, by the other entry of the name")
	assert.False(t, c.Decided(0))
	assert.Equal(t, 1, bad(c, 1, 20), "the twentieth")
	assert.Zero(t, bad(c, 1, 60), "once")
	assert.True(t, c.Decided(0))
	assert.Zero(t, bad(c, 2, 19), "another name")
	c.Good(2)
	assert.True(t, c.Decided(2))
	assert.Zero(t, bad(c, 2, 60), "it has had a session")
}

func TestOneVerdictOfManyRequests(t *testing.T) {
	c, wrong := mistakes.NewCookies([]string{"sid"}), atomic.Int64{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { wrong.Add(int64(bad(c, 0, 100))) })
	}
	wg.Wait()
	assert.EqualValues(t, 1, wrong.Load())
}
