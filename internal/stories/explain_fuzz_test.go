package stories_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate"
	"example.com/stytchmigrate/internal/apptest"
)

// No text of Explain holds a cookie value, or anything else that the client wrote. In the
// template a dollar sign stands for a text that must not come back.
func FuzzExplain(f *testing.F) {
	const canary = "canary-3ZfC"
	for _, cookies := range []string{
		"sid=$", "sid=ada-$", "sid=ada-1; x=$", "sid=\"$\"", "$=$", "sid$=1", "sid=$; sid=$2", "stytch_session=$", "stytch_session_jwt=$.$.$",
		"stytch_session_jwt=eyJhbGciOiJSUzI1NiIsImtpZCI6Ij8ifQ.e30.$; sid=$", "sid=fail-$", "sid=panic-$", "sid=old-$", ";;=$", strings.Repeat("sid=$;", 30),
	} {
		f.Add(cookies, "app.example.com", "/$", "GET", "https://$", "image")
	}
	f.Add("sid=$", "$", "$", "$", "$", "$")
	cfg := stytchmigrate.Config{ProjectID: "project-live-7c5fc0a2", Secret: "secret-live-canary", Logger: apptest.DiscardLog, Legacy: []stytchmigrate.LegacyCookie{{Name: "sid"}}}
	cfg.Legacy[0].Resolve = func(_ *http.Request, v string) (stytchmigrate.LegacySession, error) {
		s := apptest.LegacySession("ada", v)
		s.Identity.Email, s.Identity.Name = v, v
		switch kind, _, _ := strings.Cut(v, "-"); kind {
		case "ada":
			s.Identity.Email = "ada@example.com"
		case "fail":
			return s, errors.New(v)
		case "panic":
			panic(v)
		case "old":
			s.ExpiresAt = time.Unix(1, 0)
		}
		return s, nil
	}
	m, err := stytchmigrate.New(cfg)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, cookies, host, path, method, origin, dest string) {
		fill := func(s string) string { return strings.ReplaceAll(s, "$", canary) }
		r := &http.Request{Method: fill(method), Host: fill(host), URL: &url.URL{Path: fill(path), RawQuery: fill(path)}, Header: http.Header{
			"Cookie": {fill(cookies)}, "Origin": {fill(origin)}, "Sec-Fetch-Dest": {fill(dest)}, "Sec-Fetch-Site": {fill(dest)},
		}}
		text := m.Explain(r)
		assert.NotContains(t, text, canary)
		assert.NotContains(t, text, "@example")
		assert.True(t, utf8.ValidString(text))
	})
}
