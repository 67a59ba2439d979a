package stytchmigrate_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
)

var errStoreDown = errors.New("dial tcp 192.0.2.7:6379: connection refused to canary-secret")

func down(string, string) error { return errStoreDown }

// machines returns n more middlewares with the settings of a's, of which each is
// a machine with a memory of its own. on runs f on one.
func (a *app) machines(t *testing.T, n int, change ...func(*stytchmigrate.Config)) []*stytchmigrate.Middleware {
	t.Helper()
	out := make([]*stytchmigrate.Middleware, n)
	for i := range out {
		cfg := a.config()
		for _, f := range change {
			f(&cfg)
		}
		m, err := stytchmigrate.New(cfg)
		require.NoError(t, err)
		out[i] = m
	}
	return out
}

func (a *app) on(m *stytchmigrate.Middleware) *app { a.m = m; return a }

// sharing is a configuration with a store.
func sharing(s stytchmigrate.Store) func(*stytchmigrate.Config) {
	return func(c *stytchmigrate.Config) { c.Store = s }
}
