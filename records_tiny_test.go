package stytchmigrate

import (
	"testing"
	"time"
)

// A Config.Timeout of a few nanoseconds, which New accepts,
// leaves no time between two renewals.
func TestTinyTimeout(t *testing.T) {
	s := &records{lease: 5 * time.Nanosecond / 2, shared: newSharedStore(nil, time.Second, func(error) {})}
	s.hold(t.Context(), "key", "owner")()
}
