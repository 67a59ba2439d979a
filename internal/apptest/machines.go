package apptest

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/storetest"
)

// InCluster runs a test with several machines that share a store.
func InCluster(t *testing.T, f func(t *testing.T, a *App, m []*stytchmigrate.Middleware, s *storetest.Memory), change ...func(*stytchmigrate.Config)) {
	t.Helper()
	InBubble(t, func(t *testing.T, a *App) {
		s := new(storetest.Memory)
		f(t, a, a.Machines(t, 3, append(change, SharedStore(s))...), s)
	})
}

// Across sends n requests with one old cookie at once, over all machines.
func CrowdAcross(machines []*stytchmigrate.Middleware, n int) []*Visitor {
	out := make([]*Visitor, n)
	var wg sync.WaitGroup
	for i := range out {
		v := &Visitor{ResponseRecorder: httptest.NewRecorder()}
		out[i] = v
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
			r.Header.Set("Cookie", "sid=ada-1")
			start := time.Now()
			machines[i%len(machines)].Handler(v).ServeHTTP(v, r)
			v.Took = time.Since(start)
		})
	}
	wg.Wait()
	return out
}

var ErrStoreDown = errors.New("dial tcp 192.0.2.7:6379: connection refused to canary-secret")

func StoreDown(string, string) error { return ErrStoreDown }

// BeforeStoreOp runs f once, right before the store's next op.
func BeforeStoreOp(s *storetest.Memory, op string, f func()) {
	once := true
	s.Fail(func(now, _ string) error {
		if now == op && once {
			once = false
			f()
		}
		return nil
	})
}
