package storetest

import (
	"context"
	"testing"
	"time"
)

// sticky never gives a claim.
type sticky struct{}

func (sticky) Get(context.Context, string) ([]byte, bool, error) { return nil, false, nil }
func (sticky) Claim(context.Context, string, string, time.Duration) (bool, error) {
	return false, nil
}
func (sticky) Put(context.Context, string, string, []byte, time.Duration) (bool, error) {
	return false, nil
}
func (sticky) Release(context.Context, string, string) error { return nil }

// A rule ends, whatever the Store does.
func TestRulesEnd(t *testing.T) {
	for _, r := range sharedRules {
		done := make(chan error, 1)
		go func() { done <- r.check(sticky{}, time.Second) }()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: check never ends", r.name)
		}
	}
}
