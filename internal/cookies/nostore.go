package cookies

import (
	"net/http"
	"strings"
)

// noStore keeps a response out of caches. It replaces Cache-Control, and removes the
// headers that CDNs and proxies read in its place (RFC 9213), in whatever case they
// are written.
func noStore(h http.Header) {
	for name := range h {
		canonical := http.CanonicalHeaderKey(name)
		if canonical == "Cache-Control" || strings.HasSuffix(canonical, "-Cache-Control") ||
			canonical == "Surrogate-Control" || canonical == "X-Accel-Expires" {
			delete(h, name)
		}
	}
	h.Set("Cache-Control", "no-store")
}
