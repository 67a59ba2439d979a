package userinfo_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/userinfo"
)

// checks are what the conformance suite of the OpenID Foundation asks of a
// UserInfo endpoint: how it sends its requests, and what it wants of the claims.
type checks struct {
	Requests []tokenRequest
	Response map[string]string
	Claims   map[string]string `json:"standard_claims"` // by name, the rule
}

type tokenRequest struct {
	Module  string
	Method  string
	TokenIn string `json:"token_in"`
}

// ownChecks are those of the suite that concern the claims an Identity has.
func ownChecks() checks {
	c := checks{Requests: []tokenRequest{
		{"oidcc-userinfo-get", "GET", "Authorization: Bearer"},
		{"oidcc-userinfo-post-header", "POST", "Authorization: Bearer"},
		{"oidcc-userinfo-post-body", "POST", "form access_token"},
	}}
	c.Claims = map[string]string{"email_verified": "boolean"}
	for _, name := range []string{"sub", "email", "name", "given_name", "middle_name", "family_name"} {
		c.Claims[name] = aString
	}
	return c
}

const aString = "non-blank string, not 'null'"

// identities are those that a lookup may find, each a subject to be answered.
func identities() map[string]userinfo.Identity {
	named := func(name string) userinfo.Identity {
		id := ada
		id.Name, id.GivenName, id.MiddleName, id.FamilyName = name, name, name, name
		return id
	}
	all := map[string]userinfo.Identity{
		"every claim":               ada,
		"a subject alone":           {Subject: "17"},
		"an unverified email":       {Subject: "17", Email: ada.Email},
		"a malformed email":         {Subject: "17", Email: "null", EmailVerified: true},
		"a verified lack of one":    {Subject: "17", EmailVerified: true},
		"a subject of 255 bytes":    {Subject: strings.Repeat("s", 255), Email: ada.Email, EmailVerified: true},
		"a subject of many scripts": {Subject: "björn 李 \u0645", Email: ada.Email, EmailVerified: true},
		"markup in the subject":     {Subject: `</script>"\&`, Email: ada.Email, EmailVerified: true},
	}
	for _, name := range []string{
		" ", "\t\r\n", "\u00a0", "\u2003", "\u3000", "\u200b", "\ufeff", "\x00", "\x1c\x1f", "\u0085", "\u2028",
		"null", "NULL", "nUlL", " null ", "null\x00", "\u200bnull", "null\u00a0", "nil", "Null Island", "undefined",
		"Ada\x00King", "Ada\nKing", "\x1b[31mAda", "\x7f", "Ad\xff", "\xff", "\xed\xa0\x80", "\u202eadA",
		"李", "مريم", "Zoë", "e\u0301", "👩‍💻", `"`, `\`, "</script>", "{{.}}", strings.Repeat("a", 100<<10), strings.Repeat("\x00", 10<<10),
	} {
		all["the name "+printable(name)] = named(name)
	}
	return all
}

// printable is s in ASCII, cut off.
func printable(s string) string { return strconv.QuoteToASCII(s[:min(len(s), 20)]) }

// TestConformance holds the endpoint to the checks of the conformance suite.
func TestConformance(t *testing.T) { conforms(t, ownChecks()) }

// TestConformanceVectors does so with all of them, as the file
// oidc-conformance/userinfo_checks.json in STYTCHMIGRATE_VECTORS has them.
func TestConformanceVectors(t *testing.T) {
	dir := os.Getenv("STYTCHMIGRATE_VECTORS")
	if dir == "" {
		t.Log("STYTCHMIGRATE_VECTORS is not set: TestConformance alone has checked")
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, "oidc-conformance", "userinfo_checks.json"))
	require.NoError(t, err)
	var c checks
	require.NoError(t, json.Unmarshal(text, &c))
	require.Len(t, c.Requests, 3)
	require.Equal(t, map[string]string{
		"content_type": "application/json", "body": "one JSON object, non-empty", "sub": "required, non-empty string",
		"nonce": "must be absent from a signed response", "updated_at": "if present: >= 1990-01-01 and <= now+5min", "unknown_claims": "allowed",
	}, c.Response, "the rules that assertClaims and conforms check")
	require.Subset(t, c.Requests, ownChecks().Requests)
	for name, rule := range ownChecks().Claims {
		require.Equal(t, rule, c.Claims[name], name)
	}
	conforms(t, c)
}

// conforms sends each request of the checks for each identity, to a real server.
func conforms(t *testing.T, c checks) {
	t.Helper()
	for name, id := range identities() {
		srv := httptest.NewServer(userinfo.Handler(func(_ context.Context, token string) (userinfo.Identity, error) {
			if token != "good" {
				return userinfo.Identity{}, userinfo.ErrInvalidToken
			}
			return id, nil
		}))
		for _, request := range c.Requests {
			t.Run(name+", "+request.Module, func(t *testing.T) {
				resp, body := send(t, srv, request.Method, request.TokenIn)
				assert.Equal(t, 200, resp.StatusCode)
				assert.Equal(t, "application/json", resp.Header.Get("Content-Type"))
				assertClaims(t, c.Claims, body)
			})
		}
		srv.Close()
	}
}

// send sends the token "good" where the suite puts it.
func send(t *testing.T, srv *httptest.Server, method, tokenIn string) (*http.Response, []byte) {
	t.Helper()
	header, form := http.Header{}, url.Values{}
	switch tokenIn {
	case "Authorization: Bearer":
		header.Set("Authorization", "Bearer good")
	case "form access_token":
		header.Set("Content-Type", formType)
		form.Set("access_token", "good")
	default:
		require.Fail(t, "unknown placement", tokenIn)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, srv.URL, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.Header = header
	resp, err := srv.Client().Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, body
}

func assertConforms(t *testing.T, body []byte) {
	t.Helper()
	assertClaims(t, ownChecks().Claims, body)
}

// assertClaims holds an answer to the rules, and to one of ours: an email is there
// only as a verified one. A claim without a rule is a failure.
func assertClaims(t *testing.T, rules map[string]string, body []byte) {
	t.Helper()
	var got map[string]any
	require.NoError(t, json.Unmarshal(body, &got), "one JSON object")
	assert.NotEmpty(t, got["sub"])
	assert.NotContains(t, got, "nonce")
	assert.Equal(t, got["email"] != nil, got["email_verified"] == true, "email and email_verified come together")
	for name, value := range got {
		assert.True(t, obeys(rules[name], value), "%s %.50q is %q", name, value, rules[name])
	}
	assert.NotContains(t, got, "updated_at", "it would have to lie between 1990 and now")
}

// obeys reports whether a value is what the rule says. The other rules are for
// claims that an Identity has not, and which are so a failure themselves.
func obeys(rule string, value any) bool {
	switch rule {
	case aString:
		s, isString := value.(string)
		bare := strings.TrimFunc(s, func(c rune) bool { return c <= ' ' || unicode.IsSpace(c) })
		return isString && bare != "" && !strings.EqualFold(bare, "null")
	case "boolean":
		_, isBool := value.(bool)
		return isBool
	}
	return false
}
