package outbound_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/stytchmigrate/internal/outbound"
)

// The cost of a call without a Transport, through one, and held back by one.
func BenchmarkRoundTrip(b *testing.B) {
	answer := `{"user_id":"` + strings.Repeat("u", 3000) + `"}`
	yes := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(answer))}, nil
	})
	no := roundTripper(func(*http.Request) (*http.Response, error) { return nil, http.ErrSchemeMismatch })
	through := func(base http.RoundTripper) http.RoundTripper {
		return outbound.New(outbound.Config{Base: outbound.Isolate(base, 1<<20), Timeout: time.Second})
	}
	for _, bb := range []struct {
		name string
		rt   http.RoundTripper
	}{{"alone", yes}, {"through", through(yes)}, {"held back", through(no)}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequestWithContext(outbound.In(context.Background(), exchange), http.MethodPost, "https://test.stytch.com/v1/sessions/migrate", strings.NewReader("body"))
				if err != nil {
					b.Fatal(err)
				}
				if resp, err := bb.rt.RoundTrip(r); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
		})
	}
}
