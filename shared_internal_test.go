package stytchmigrate

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// failingOnce is a Store of which the first Get fails, and no other.
type failingOnce struct {
	Store
	asked bool
}

func (f *failingOnce) Get(context.Context, string) ([]byte, bool, error) {
	if f.asked {
		return nil, false, nil
	}
	f.asked = true
	return nil, false, errors.New("reset")
}

// A call works at the moment at which another's failure is told of: that the store
// has recovered is told after it.
func TestRecoveredIsTheLastWord(t *testing.T) {
	var told []string
	var s *sharedStore
	get := func() { _, _, _ = s.get(t.Context(), "key") }
	s = newSharedStore(&failingOnce{}, time.Minute, func(err error) {
		if err == nil {
			told = append(told, "recovered")
			return
		}
		get()
		told = append(told, "failed")
	})
	get()
	get()
	assert.Equal(t, []string{"failed", "recovered"}, told)
}
