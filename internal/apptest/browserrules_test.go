package apptest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/apptest"
)

// Each row is a Set-Cookie line of the web platform's tests, and whether
// browsers store it.
func TestRefusedByBrowser(t *testing.T) {
	sized := func(name, value int) string {
		return strings.Repeat("n", name) + "=" + strings.Repeat("v", value)
	}
	for line, stored := range map[string]bool{
		sized(2048, 2048):                  true,
		sized(4096, 0):                     true,
		sized(4097, 0):                     false,
		sized(1, 4095):                     true,
		sized(1, 4096):                     false,
		"__Host-a=b; Secure; Path=/":       true,
		"__Host-a=b; Secure; Path=/x":      false,
		"__host-a=b; Secure":               false,
		"__Host-a=b; Path=/":               false,
		"__Secure-a=b; Path=/":             false,
		"__Http-a=b; Secure; HttpOnly":     true,
		"__http-a=b; Secure":               false,
		"__Http-a=b; HttpOnly":             false,
		"__Host-Http-a=b; Secure; Path=/":  false,
		"a=b; SameSite=None":               false,
		"a=b; SameSite=None; Secure":       true,
		"a=b; Domain=example.com":          true,
		"a=b; Domain=other.example":        false,
		"a=b; Domain=sub.app.example.com":  false,
		"a=b; Domain=.EXAMPLE.com; Path=/": true,
	} {
		c, err := http.ParseSetCookie(line)
		if assert.NoError(t, err) {
			c.Domain = strings.TrimPrefix(c.Domain, ".")
			assert.Equal(t, stored, apptest.RefusedByBrowser(c, "app.example.com") == "", "%.60s", line)
		}
	}
}
