package userinfo_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/userinfo"
)

var ada = userinfo.Identity{
	Subject: "user-17", Email: "ada@example.org", EmailVerified: true,
	Name: "Ada King Lovelace", GivenName: "Ada", MiddleName: "King", FamilyName: "Lovelace",
}

const adaClaims = `{"sub":"user-17","email":"ada@example.org","email_verified":true,` +
	`"name":"Ada King Lovelace","given_name":"Ada","middle_name":"King","family_name":"Lovelace"}`

// lookupAda knows one token, "good".
func lookupAda(_ context.Context, token string) (userinfo.Identity, error) {
	if token != "good" {
		return userinfo.Identity{}, userinfo.ErrInvalidToken
	}
	return ada, nil
}

// reply is all of a response that a client can see.
type reply struct {
	status int
	header http.Header
	body   string
}

func plain(status int, body string, extra ...string) reply {
	h := http.Header{
		"Content-Type":           {"text/plain; charset=utf-8"},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}
	for i := 0; i < len(extra); i += 2 {
		h.Set(extra[i], extra[i+1])
	}
	return reply{status, h, body}
}

func claims(body string) reply {
	r := plain(200, body)
	r.header.Set("Content-Type", "application/json")
	return r
}

func noBody(r reply) reply {
	r.body = ""
	return r
}

var (
	yes         = claims(adaClaims)
	noToken     = plain(401, "a bearer token is needed, in the Authorization header or a form\n", "WWW-Authenticate", `Bearer`)
	badToken    = plain(401, "the token is not valid\n", "WWW-Authenticate", `Bearer error="invalid_token"`)
	badRequest  = plain(400, "exactly one well-formed bearer token is needed, in the Authorization header or a form\n", "WWW-Authenticate", `Bearer error="invalid_request"`)
	badMethod   = plain(405, "method not allowed\n", "Allow", "GET, HEAD, POST")
	unavailable = plain(503, "the token can't be looked up now\n", "Retry-After", "5")
)

// call sends r and compares everything that comes back.
func call(t *testing.T, h http.Handler, r *http.Request, want reply) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	assert.Equal(t, want, reply{w.Code, w.Header(), w.Body.String()})
}

func request(method, target, body string, authorization ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for _, a := range authorization {
		r.Header.Add("Authorization", a)
	}
	return r
}

func TestAuthorization(t *testing.T) {
	tests := []struct {
		name          string
		authorization []string
		want          reply
	}{
		{"a known token is answered", []string{"Bearer good"}, yes},
		{"the scheme may be in lower case", []string{"bearer good"}, yes},
		{"the scheme may be in upper case", []string{"BEARER good"}, yes},
		{"several spaces before the token are one", []string{"Bearer   good"}, yes},
		{"white space around the header is trimmed", []string{"\t Bearer good \t"}, yes},

		{"no header is no token", nil, noToken},
		{"an empty header is no token", []string{""}, noToken},
		{"a blank header is no token", []string{"  "}, noToken},
		{"Basic is no bearer token", []string{"Basic YWRhOnNlY3JldA=="}, noToken},
		{"another scheme is no bearer token", []string{`Digest username="ada", nonce="x"`}, noToken},
		{"a scheme that starts like Bearer is another", []string{"Bearers good"}, noToken},
		{"a bare token is taken for a scheme", []string{"good"}, noToken},

		{"an unknown token is not valid", []string{"Bearer other"}, badToken},
		{"all characters of a token are allowed", []string{"Bearer aZ09-._~+/=="}, badToken},
		{"a token of 64 KB is not valid", []string{"Bearer " + strings.Repeat("a", 64<<10)}, badToken},
	}
	h := userinfo.Handler(lookupAda)
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			call(t, h, request("GET", "/userinfo", "", tc.authorization...), tc.want)
			call(t, h, request("POST", "/userinfo", "", tc.authorization...), tc.want)
			call(t, h, request("HEAD", "/userinfo", "", tc.authorization...), noBody(tc.want))
		})
	}
}

// TestLongToken: what is longer than any real token reaches no lookup.
func TestLongToken(t *testing.T) {
	var lengths []int
	h := userinfo.Handler(func(_ context.Context, token string) (userinfo.Identity, error) {
		lengths = append(lengths, len(token))
		return ada, nil
	})
	call(t, h, request("GET", "/", "", "Bearer "+strings.Repeat("a", 16<<10)), yes)
	call(t, h, request("GET", "/", "", "Bearer "+strings.Repeat("a", 16<<10+1)), badToken)
	assert.Equal(t, []int{16 << 10}, lengths)
}

func TestMalformedAuthorization(t *testing.T) {
	tests := []struct {
		name          string
		authorization []string
	}{
		{"Bearer alone is malformed", []string{"Bearer"}},
		{"Bearer and a space is malformed", []string{"Bearer "}},
		{"padding alone is no token", []string{"Bearer =="}},
		{"padding inside a token is malformed", []string{"Bearer go=od"}},
		{"a tab does not part scheme and token", []string{"Bearer\tgood"}},
		{"a colon does not part scheme and token", []string{"Bearer: good"}},
		{"two tokens in a header are malformed", []string{"Bearer good good"}},
		{"two credentials in a header are malformed", []string{"Bearer good, Bearer good"}},
		{"a comma between tokens is malformed", []string{"Bearer good,good"}},
		{"a quoted token is malformed", []string{`Bearer "good"`}},
		{"a parameter is malformed", []string{`Bearer token="good"`}},
		{"non-ASCII characters are malformed", []string{"Bearer göod"}},
		{"control characters are malformed", []string{"Bearer go\x00od"}},
		{"a line break is malformed", []string{"Bearer good\r\nX: y"}},
		{"garbage in place of the scheme is malformed", []string{"(@) good"}},
		{"two headers are malformed", []string{"Bearer good", "Bearer other"}},
		{"two equal headers are malformed", []string{"Bearer good", "Bearer good"}},
		{"a second header of another scheme is malformed", []string{"Bearer good", "Basic x"}},
		{"an empty second header is malformed", []string{"Bearer good", ""}},
	}
	h := userinfo.Handler(lookupAda)
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			call(t, h, request("GET", "/userinfo", "", tc.authorization...), badRequest)
			call(t, h, request("POST", "/userinfo", "", tc.authorization...), badRequest)
			call(t, h, request("HEAD", "/userinfo", "", tc.authorization...), noBody(badRequest))
		})
	}
}

func TestRequests(t *testing.T) {
	const form, jsonType = "application/x-www-form-urlencoded", "application/json"
	bearer := []string{"Bearer good"}
	tests := []struct {
		name           string
		method, target string
		contentType    string
		body           string
		authorization  []string
		want           reply
	}{
		{"PUT is refused", "PUT", "/", "", "", bearer, badMethod},
		{"PATCH is refused", "PATCH", "/", "", "", bearer, badMethod},
		{"DELETE is refused", "DELETE", "/", "", "", bearer, badMethod},
		{"OPTIONS is refused, with no CORS headers", "OPTIONS", "/", "", "", nil, badMethod},
		{"a method in lower case is refused", "get", "/", "", "", bearer, badMethod},

		{"a token in the query is malformed", "GET", "/?access_token=good", "", "", nil, badRequest},
		{"a token in query and header is malformed", "GET", "/?access_token=good", "", "", bearer, badRequest},
		{"an empty token in the query is malformed", "GET", "/?access_token=", "", "", bearer, badRequest},
		{"an escaped token in the query is malformed", "GET", "/?%61ccess_token=good", "", "", bearer, badRequest},
		{"a token behind a semicolon is malformed", "GET", "/?a=b;access_token=good", "", "", bearer, badRequest},
		{"other parameters in the query are ignored", "GET", "/?schema=openid", "", "", bearer, yes},

		{"a form without a token is ignored", "POST", "/", form, "a=b", bearer, yes},
		{"a body of another type is ignored", "POST", "/", jsonType, `{"access_token":"good"}`, bearer, yes},
		{"a GET has no form", "GET", "/", form, "access_token=good", bearer, yes},
	}
	h := userinfo.Handler(lookupAda)
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := request(tc.method, tc.target, tc.body, tc.authorization...)
			r.Header.Set("Content-Type", tc.contentType)
			call(t, h, r, tc.want)
		})
	}
}

// TestNothingElseAuthenticates sends the token wherever else one might look.
func TestNothingElseAuthenticates(t *testing.T) {
	r := request("GET", "/userinfo", "")
	r.AddCookie(&http.Cookie{Name: "access_token", Value: "good"})
	r.Header.Set("Proxy-Authorization", "Bearer good")
	r.Header.Set("X-Forwarded-Authorization", "Bearer good")
	call(t, userinfo.Handler(lookupAda), r, noToken)
	r.SetBasicAuth("ada", "good")
	call(t, userinfo.Handler(lookupAda), r, noToken)
}

// TestServer goes through real connections of both protocols.
func TestServer(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("http2 is %v", http2), func(t *testing.T) {
			srv := httptest.NewUnstartedServer(userinfo.Handler(lookupAda))
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			defer srv.Close()
			for _, method := range []string{"GET", "HEAD", "POST"} {
				r, err := http.NewRequestWithContext(t.Context(), method, srv.URL, nil)
				require.NoError(t, err)
				r.Header.Set("Authorization", "Bearer good")
				resp, err := srv.Client().Do(r)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				resp.Body.Close()
				want := adaClaims
				if method == "HEAD" {
					want = ""
				}
				assert.Equal(t, 200, resp.StatusCode, method)
				assert.Equal(t, http2, resp.ProtoMajor == 2)
				assert.Equal(t, "application/json", resp.Header.Get("Content-Type"), method)
				assert.Equal(t, want, string(body), method)
			}
		})
	}
}

// FuzzAuthorization holds the header parser to the grammar of RFC 6750 §2.1.
func FuzzAuthorization(f *testing.F) {
	for _, seed := range []string{
		"", " ", "Bearer", "Bearer ", "Bearer good", "bearer  a.b-c_d~e+f/g==", "Bearer a=b", "Bearer a b",
		"Bearer a,Bearer b", "Basic YTpi", "Bearer\tgood", "Bearer \x80", "Bearer ==", ": x", "\tBearer good\t",
	} {
		f.Add(seed)
	}
	credentials := regexp.MustCompile(`^[ \t]*(?i:bearer) +([A-Za-z0-9\-._~+/]+=*)[ \t]*$`)
	f.Fuzz(func(t *testing.T, value string) {
		var got []string
		h := userinfo.Handler(func(_ context.Context, token string) (userinfo.Identity, error) {
			got = append(got, token)
			return ada, nil
		})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, request("GET", "/userinfo", "", value))

		m := credentials.FindStringSubmatch(value)
		if m == nil || len(m[1]) > 16<<10 {
			assert.Empty(t, got)
			assert.Contains(t, []int{400, 401}, w.Code)
			return
		}
		assert.Equal(t, []string{m[1]}, got)
		assert.Equal(t, 200, w.Code)
	})
}
