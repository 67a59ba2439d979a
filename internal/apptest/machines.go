package apptest

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
)

// InCluster is InBubble with three machines that share a store. A test names the
// machine that takes a request: a.On(m[1]).Get("sid=ada-1").
func InCluster(t *testing.T, f func(t *testing.T, a *App, m []*stytchmigrate.Middleware, s *storetest.Memory), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	InBubble(t, func(t *testing.T, a *App) {
		s := new(storetest.Memory)
		f(t, a, a.Machines(t, 3, append(change, SharedStore(s))...), s)
	})
}

// Machines makes n more middlewares of the application. Each is a machine of its
// own: it shares no memory with the others.
func (a *App) Machines(t *testing.T, n int, change ...func(*stytchmigrate.Config)) []*stytchmigrate.Middleware {
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

// On sends the requests that follow to m. It returns the same App, for a request
// on the same line.
func (a *App) On(m *stytchmigrate.Middleware) *App { a.Middleware = m; return a }

// Restart gives the application a middleware that remembers nothing.
func (a *App) Restart(t *testing.T) {
	t.Helper()
	a.Middleware = a.Machines(t, 1)[0]
}

// ErrStoreDown is what a store says that can't be reached. No log may show it.
var ErrStoreDown = errors.New("dial tcp 192.0.2.7:6379: connection refused to canary-secret")

// StoreDown is a storetest fault: each operation fails with ErrStoreDown.
func StoreDown(_, _ string) error { return ErrStoreDown }
