package stytchmigrate_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func BenchmarkHotPath(b *testing.B) {
	h, _, signedIn := newBenched(b)
	for name, cookies := range map[string]string{"anonymous": "", "othercookies": "theme=dark; consent=1; visitor=4b1f3a0c9d", "known": signedIn} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "https://app.example.com/page", nil)
			if cookies != "" {
				r.Header.Set("Cookie", cookies)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			h.ServeHTTP(w, r)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}
