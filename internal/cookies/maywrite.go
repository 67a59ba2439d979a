package cookies

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// MayWrite reports whether the response to r may change cookies. It may in answer to a
// top-level navigation, and to a fetch of the same site for something that CDNs do not
// keep. Fetch Metadata decides (W3C, section 2), then Origin. A client that sends
// neither is no browser of today, and gets its cookies. A request to switch protocols
// may be ignored (RFC 9110 section 7.8): see [Pending.Wrap] for one that is not.
func (p *Policy) MayWrite(r *http.Request) bool { return p.WhyNotWrite(r) == "" }

// WhyNotWrite returns why the response to r may not change cookies, or "" if it may.
func (p *Policy) WhyNotWrite(r *http.Request) string {
	switch {
	case !p.CoversHost(r):
		return "its host is outside of Cookies.Domain"
	case !PathMatch(r.URL.Path, p.opts.Path):
		return "its path is outside of Cookies.Path"
	}
	dest := r.Header.Get("Sec-Fetch-Dest")
	switch dest {
	case "image", "style", "script", "font", "audio", "video", "track", "manifest",
		"worker", "sharedworker", "serviceworker", "audioworklet", "paintworklet", "xslt":
		return "it fetches a part of a page that caches keep (" + dest + ")"
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "same-site", "none":
		return ""
	case "":
		if p.isSameSite(r) {
			return ""
		}
		return "its Origin is of another host"
	}
	if r.Header.Get("Sec-Fetch-Mode") == "navigate" &&
		(dest == "document" || dest == "empty") { // empty: a service worker passes the navigation on
		return ""
	}
	return "it is a cross-site fetch"
}

// isSameSite goes by the Origin of a request without Fetch Metadata.
func (p *Policy) isSameSite(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" { // as of the origin "null"
		return false
	}
	return u.Host == r.Host || p.opts.Domain != "" && DomainMatch(u.Hostname(), p.opts.Domain)
}

// CoversHost reports whether a browser takes the Stytch cookies from the host of r.
func (p *Policy) CoversHost(r *http.Request) bool {
	return DomainMatch(hostname(r.Host), p.opts.Domain)
}

// DomainMatch reports whether host domain-matches domain (RFC 6265 section 5.1.3).
// Every host matches "", the domain of a host-only cookie.
func DomainMatch(host, domain string) bool {
	host, domain = strings.ToLower(host), strings.ToLower(strings.TrimPrefix(domain, "."))
	return domain == "" || host == domain ||
		strings.HasSuffix(host, "."+domain) && net.ParseIP(host) == nil
}

// PathMatch reports whether a request for path path-matches a cookie of cookiePath
// (RFC 6265 section 5.1.4). Where it does not, the browser would not send back the
// cookies that are set, and this page would be without a session.
func PathMatch(path, cookiePath string) bool {
	rest, ok := strings.CutPrefix(path, cookiePath)
	return ok && (rest == "" || strings.HasSuffix(cookiePath, "/") || rest[0] == '/') || cookiePath == "/"
}

// hostname keeps a dot at the end. To a browser that is another host, which matches no
// Domain without such a dot: it would refuse the cookies that are set, and obey the
// deletion of a host-only one.
func hostname(hostport string) string { return (&url.URL{Host: hostport}).Hostname() }
