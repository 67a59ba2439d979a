package stories_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
	"example.com/stytchmigrate/stytchtest"
)

// inUse is what is alive on the heap.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// What stays in memory of a request's legacy cookie, beside its Stytch session,
// keeps no header alive: one may be as long as the server lets it be.
func TestHeadersAreNotKept(t *testing.T) { // not in parallel: it measures the process
	const header = 1 << 20
	a := apptest.New(t, stytchtest.Config{InProcess: true}, func(c *stytchmigrate.Config) { c.OnEvent = nil })
	h := a.Middleware.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	send := func(cookies string) {
		r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
		r.Header.Set("Cookie", cookies)
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	before := inUse()
	for range 32 {
		cookies, _ := a.SignedIn(a.Ada)
		send(cookies + "; sid=ada-1; junk=" + strings.Repeat("x", header))
	}
	assert.Less(t, int64(inUse()-before), int64(8*header), "of 32 MiB")
	runtime.KeepAlive(h)
}
