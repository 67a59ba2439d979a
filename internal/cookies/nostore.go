package cookies

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// noStore keeps a response out of caches. It takes out what lets a cache store the
// response, and leaves everything else that the handler said: no-transform keeps
// proxies from buffering an event stream, and content="ESI/1.0" has the page assembled.
// It edits every header by which browsers, CDNs and proxies cache: Cache-Control, the
// targeted fields of RFC 9213 that they read in its place, Surrogate-Control,
// Edge-Control (Akamai), X-Accel-Expires (nginx), and those of HTTP/1.0.
func noStore(h http.Header) {
	fields := map[string]bool{"Cache-Control": true}
	for key := range h {
		fields[http.CanonicalHeaderKey(key)] = true
	}
	for field := range fields {
		switch {
		case field == "Cache-Control":
			editDirectives(h, field, true)
		case field == "Surrogate-Control", field == "Edge-Control", field == "Pragma", strings.HasSuffix(field, "-Cache-Control"):
			editDirectives(h, field, false)
		case field == "X-Accel-Expires", field == "Expires" && slices.ContainsFunc(fieldLines(h, field), isToCome):
			setField(h, field, nil)
		}
	}
}

// editDirectives takes the directives out of a field that let a cache store, and adds
// no-store to those that are left. A field of which nothing is left is removed, unless
// it must stay.
func editDirectives(h http.Header, field string, mustStay bool) {
	var kept []string
	for _, line := range fieldLines(h, field) {
		kept = append(kept, slices.DeleteFunc(directives(line), letsStore)...)
	}
	isNoStore := func(d string) bool { return strings.EqualFold(d, "no-store") }
	if (mustStay || len(kept) > 0) && field != "Pragma" && !slices.ContainsFunc(kept, isNoStore) {
		kept = append(kept, "no-store")
	}
	if len(kept) == 0 {
		setField(h, field, nil)
		return
	}
	setField(h, field, []string{strings.Join(kept, ", ")})
}

// letsStore reports whether a directive lets a cache store a response, or some of it:
// no-cache="Set-Cookie" lets it store the rest (RFC 9111 section 5.2.2.4). By
// must-understand a cache leaves no-store alone (section 5.2.2.3).
func letsStore(directive string) bool {
	name, argument := directive, ""
	if i := strings.IndexAny(directive, "=;"); i >= 0 {
		name, argument = directive[:i], directive[i:]
	}
	switch name = strings.ToLower(strings.TrimSpace(name)); name {
	case "no-store", "no-cache", "private":
		return argument != ""
	case "public", "cache", "immutable", "durable", "must-revalidate", "proxy-revalidate", "must-understand", "no-store-remote":
		return true
	}
	return strings.HasPrefix(name, "!") || // as in !no-store of Edge-Control
		strings.HasPrefix(name, "stale-") || strings.Contains(name, "max-age") || strings.Contains(name, "maxage") || strings.HasSuffix(name, "ttl")
}

// directives splits a field at the commas that are not inside a quoted string (RFC 9110
// section 5.6.4). A string without an end is left out: caches do not agree on what it is.
func directives(line string) (out []string) {
	start, quoted := 0, false
	for i := 0; i <= len(line); i++ {
		switch {
		case i == len(line) && quoted:
		case i == len(line), line[i] == ',' && !quoted:
			if d := strings.Trim(line[start:i], " \t"); d != "" {
				out = append(out, d)
			}
			start = i + 1
		case line[i] == '"':
			quoted = !quoted
		case line[i] == '\\' && quoted:
			i++
		}
	}
	return out
}

// isToCome reports whether an Expires lets a cache of HTTP/1.0 store the response. What
// is no date is in the past (RFC 9111 section 5.3).
func isToCome(expires string) bool {
	at, ok := parseDate(expires)
	return ok && at.After(time.Now())
}
