package cookies_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/cookies"
)

// Each row is a cookie-name, and what browsers demand of a cookie of that name.
func TestDemandsOf(t *testing.T) {
	type d = cookies.Demands
	secure, http := d{Secure: true}, d{Secure: true, HTTPOnly: true}
	host, both := d{Secure: true, HostOnly: true}, d{Secure: true, HostOnly: true, HTTPOnly: true}
	for name, want := range map[string]d{
		"__Secure-sid": secure, "__secure-sid": secure, "__SECURE-": secure,
		"__Host-sid": host, "__host-sid": host, "__HOST-": host, "__Host-https-sid": host, "__Host-Secure-sid": host,
		"__Http-sid": http, "__HTTP-sid": http, "__http-": http,
		"__Host-Http-sid": both, "__host-HTTP-": both,
		"sid": {}, "": {}, "__Host": {}, "__Http": {}, "x__Host-sid": {}, "__Hosts-sid": {}, "Http-sid": {},
	} {
		assert.Equal(t, want, cookies.DemandsOf(name), name)
	}
}

// Each row is a cookie-name, and whether it has the prefix __Host-.
func TestHasPrefixFold(t *testing.T) {
	for name, want := range map[string]bool{
		"__Host-sid": true, "__host-sid": true, "__HOST-": true, "__Host": false, "x__Host-sid": false, "": false,
	} {
		assert.Equal(t, want, cookies.HasPrefixFold(name, "__Host-"), name)
	}
}
