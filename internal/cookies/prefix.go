package cookies

import "strings"

// Demands is what browsers demand of a cookie by the prefix of its name. They refuse a
// cookie without it, a deletion too (RFC 6265bis sections 4.1.3 and 5.7).
type Demands struct {
	Secure   bool
	HostOnly bool // no Domain, and Path=/
	HTTPOnly bool
}

// DemandsOf returns what a cookie of that name needs.
func DemandsOf(name string) Demands {
	switch {
	case HasPrefixFold(name, "__Host-Http-"):
		return Demands{Secure: true, HostOnly: true, HTTPOnly: true}
	case HasPrefixFold(name, "__Host-"):
		return Demands{Secure: true, HostOnly: true}
	case HasPrefixFold(name, "__Http-"):
		return Demands{Secure: true, HTTPOnly: true}
	case HasPrefixFold(name, "__Secure-"):
		return Demands{Secure: true}
	}
	return Demands{}
}

// HasPrefixFold compares without regard to case, as browsers do with the prefixes of
// cookie names.
func HasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
