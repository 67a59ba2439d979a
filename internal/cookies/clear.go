package cookies

import (
	"net"
	"net/http"
	"strings"
)

// IsDroppedInClear reports whether the Stytch cookies are Secure and r came over plain HTTP,
// as far as it tells: most browsers drop such cookies (RFC 6265bis section 5.7). A proxy that
// ends TLS may not say so. Then what a browser sends over HTTPS alone may tell.
func (p *Policy) IsDroppedInClear(r *http.Request) bool {
	return !p.opts.Insecure && r.TLS == nil && !isForwardedFromTLS(r.Header) && !p.isHTTPSToBrowser(r)
}

// forwarded are the headers by which proxies tell that the browser's request came over TLS.
var forwarded = map[string]string{
	"X-Forwarded-Proto": "https", "X-Forwarded-Scheme": "https", "X-Forwarded-Protocol": "https", "X-Url-Scheme": "https", "X-Scheme": "https",
	"Cloudfront-Forwarded-Proto": "https", "Cf-Visitor": "https", "X-Forwarded-Ssl": "on", "Front-End-Https": "on", "X-Arr-Ssl": "", "X-Forwarded-Port": "443",
	"Forwarded": "proto=https", // RFC 7239 section 5.4
}

// isForwardedFromTLS takes the word anywhere in the value: there may be a list, of several
// proxies, or quotes.
func isForwardedFromTLS(h http.Header) bool {
	for name, word := range forwarded {
		for _, v := range h[name] {
			if strings.Contains(strings.ReplaceAll(strings.ToLower(v), `"`, ""), word) {
				return true
			}
		}
	}
	return false
}

// isHTTPSToBrowser goes by what browsers say. They send Fetch Metadata to trustworthy URLs
// alone (W3C, section 2): those of HTTPS, and of a loopback host.
func (p *Policy) isHTTPSToBrowser(r *http.Request) bool {
	return SchemeOfPage(r) == "https" || r.Header.Get("Sec-Fetch-Site") != "" && !isLoopback(hostname(r.Host))
}

// SchemeOfPage returns http or https where a browser tells that the page which sent r is of
// the host of r, and of that scheme. Else it returns "".
func SchemeOfPage(r *http.Request) string {
	for _, scheme := range []string{"http", "https"} {
		page := scheme + "://" + r.Host
		if r.Host != "" && (r.Header.Get("Origin") == page || strings.HasPrefix(r.Header.Get("Referer"), page+"/")) {
			return scheme
		}
	}
	return ""
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
