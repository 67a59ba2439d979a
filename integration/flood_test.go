package integration

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/stytchtest"
)

var floods = flag.Int("flood", 100_000, "how many cookies are made up; a million takes the race detector five minutes")

// mostGrowth is how much a flood of what anybody can make up may leave behind.
const mostGrowth = 8 << 20

// flooded is a middleware whose old cookies are all refused, and whose Stytch
// knows no token.
type flooded struct {
	stytch *stytchtest.Server
	h      http.Handler
	calls  int
	served int // with a user
	in     *http.Request
}

func newFlooded(t *testing.T) *flooded {
	f := &flooded{stytch: stytchtest.NewServer(t, stytchtest.Config{InProcess: true})}
	m, err := stytchmigrate.New(stytchmigrate.Config{
		ProjectID: f.stytch.ProjectID, Secret: stytchmigrate.Secret(f.stytch.Secret), BaseURL: f.stytch.URL,
		HTTPClient: &http.Client{Transport: f}, Logger: slog.New(slog.DiscardHandler),
		Legacy: []stytchmigrate.LegacyCookie{{Name: "sid", Resolve: noSession}},
	})
	require.NoError(t, err)
	f.h = m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if _, ok := stytchmigrate.UserFromContext(r.Context()); ok {
			f.served++
		}
	}))
	f.in = httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
	return f
}

func noSession(*http.Request, string) (stytchmigrate.LegacySession, error) {
	return stytchmigrate.LegacySession{}, stytchmigrate.ErrNoSession
}

// RoundTrip answers for Stytch at once, for a stand-in would remember each call.
func (f *flooded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/authenticate") || f.served > 0 {
		return f.stytch.RoundTripper().RoundTrip(r)
	}
	f.calls++
	body := fmt.Sprintf(`{"status_code":404,"request_id":"request-%d","error_type":"session_not_found","error_message":"","error_url":""}`, f.calls)
	return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

func (f *flooded) get(cookies string) *httptest.ResponseRecorder {
	f.in.Header.Set("Cookie", cookies)
	w := httptest.NewRecorder()
	f.h.ServeHTTP(w, f.in)
	return w
}

// heap is what is in use once the garbage is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What anybody can send leaves no more behind than fits into the caches that are
// meant for it, however much of it comes, and most of it costs no call.
func TestFloodLeavesLittle(t *testing.T) {
	for name, row := range map[string]struct {
		n, calls int // calls at most: what is made up is limited
		cookie   func(i int) string
	}{
		"old cookies that are refused": {*floods, 0, func(i int) string { return fmt.Sprintf("sid=%032d", i) }},
		"rubbish JWTs":                 {*floods, 0, func(i int) string { return fmt.Sprintf("stytch_session_jwt=a.%032d.c", i) }},
		"tokens that Stytch refuses":   {*floods / 5, 1000, func(i int) string { return fmt.Sprintf("stytch_session=%044d", i) }},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFlooded(t)
			flood(t, f, row.n, row.cookie)
			assert.LessOrEqual(t, f.calls, row.calls)
		})
	}
}

// flood sends n cookies, and holds what they leave behind against the bound.
func flood(t *testing.T, f *flooded, n int, cookie func(int) string) {
	t.Helper()
	before, start := heap(), time.Now()
	for i := range n {
		f.get(cookie(i))
	}
	grown := heap() - before
	t.Logf("%d in %v leave %d KiB", n, time.Since(start), grown>>10)
	assert.LessOrEqual(t, grown, int64(mostGrowth))
	assert.Zero(t, f.served)
	runtime.KeepAlive(f)
}

// Forged JWTs are the dearest of what costs no call: the signature is looked at.
func TestFloodOfForgedJWTs(t *testing.T) {
	f := newFlooded(t)
	s := f.stytch.NewSession(f.stytch.AddUser(stytchtest.Person("ada@example.com")).ID, time.Hour)
	signed := s.JWT[:strings.LastIndexByte(s.JWT, '.')]
	forged := func(i int) string {
		return "stytch_session_jwt=" + signed + "." + strings.Repeat("A", 331) + fmt.Sprintf("%010dA", i)
	}
	f.get(forged(0))
	require.Equal(t, 1, f.stytch.Count(stytchtest.JWKS), "the signature is looked at")
	flood(t, f, *floods/10, forged)
	assert.Zero(t, f.calls)
}

// One session costs one session's share, though each request has a JWT of its own.
func TestManyJWTsOfOneSession(t *testing.T) {
	f := newFlooded(t)
	f.served = 1 // the stand-in answers
	s := f.stytch.NewSession(f.stytch.AddUser(stytchtest.Person("ada@example.com")).ID, time.Hour)
	jwts := make([]string, 300)
	for i := range jwts {
		claims := f.stytch.Claims(s.ID)
		claims["n"] = i
		jwts[i] = "stytch_session_jwt=" + f.stytch.SignJWT(claims, nil)
	}
	f.get(jwts[0])
	before := heap()
	for range 10 {
		for _, jwt := range jwts {
			f.get(jwt)
		}
	}
	grown := heap() - before
	t.Logf("%d KiB", grown>>10)
	assert.Equal(t, 1+1+3000, f.served)
	assert.LessOrEqual(t, grown, int64(64<<10))
	assert.Equal(t, 1, f.stytch.Count(stytchtest.Authenticate))
	runtime.KeepAlive(jwts)
	runtime.KeepAlive(f)
}
