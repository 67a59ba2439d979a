package cookies

import (
	"net/http"
	"slices"
	"strings"
)

// fieldLines returns the lines of a header field, in the order in which net/http sends
// them. A handler that writes to the map may spell the name in any case: net/http sends
// it as it is, and browsers and proxies compare names without regard to case (RFC 9110
// section 5.1).
func fieldLines(h http.Header, name string) (lines []string) {
	for _, key := range spellings(h, name) {
		lines = append(lines, h[key]...)
	}
	return lines
}

// setField replaces a header field, however its name is spelled. Without lines it
// removes the field.
func setField(h http.Header, name string, lines []string) {
	for _, key := range spellings(h, name) {
		delete(h, key)
	}
	if len(lines) > 0 {
		h[name] = lines
	}
}

// spellings returns the keys of h that are that name.
func spellings(h http.Header, name string) (keys []string) {
	for key := range h {
		if len(key) == len(name) && strings.EqualFold(key, name) { // the length keeps out letters that are not ASCII
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// clearsCookies reports whether Clear-Site-Data makes browsers drop every cookie of the
// site, those that the same response sets among them. Its values are quoted, and their
// case counts (W3C Clear Site Data, section 3.1).
func clearsCookies(h http.Header) bool {
	for _, line := range fieldLines(h, "Clear-Site-Data") {
		for value := range strings.SplitSeq(line, ",") {
			if value = strings.Trim(value, " \t"); value == `"cookies"` || value == `"*"` {
				return true
			}
		}
	}
	return false
}
