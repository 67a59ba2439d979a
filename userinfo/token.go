package userinfo

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"
)

const (
	formTime = 10 * time.Second // for a form to come in

	// maxToken bounds what is handed to a lookup. No ticket comes near it, and
	// the JWTs of identity providers end well below.
	maxToken = 16 << 10

	// maxBody bounds what is read of a POST: a form that holds a token or, beside
	// a header, must not hold a second one.
	maxBody = 64 << 10

	// tokenParam is where RFC 6750 §2.2 and §2.3 put a token in a form or query.
	tokenParam = "access_token"
)

// readToken returns the request's token, or the refusal if it has none to use.
// What costs least is judged first: with an unusable header no body is read.
func readToken(r *http.Request) (string, answer, bool) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		return "", methodNotAllowed, false
	}
	// A query that net/url can't parse may hide a token from us and show it to
	// whatever logs or forwards the URL.
	if query, err := url.ParseQuery(r.URL.RawQuery); err != nil || query.Has(tokenParam) {
		return "", invalidRequest, false
	}

	read := formToken
	switch values := r.Header.Values("Authorization"); len(values) {
	case 0:
	case 1:
		read = headerToken
	default:
		return "", invalidRequest, false
	}
	token, a, ok := read(r)
	if ok && len(token) > maxToken {
		return "", invalidToken, false
	}
	return token, a, ok
}

// headerToken returns the token of the request's only Authorization header. It
// decides alone: a form does not make up for one that is blank or malformed.
func headerToken(r *http.Request) (string, answer, bool) {
	// HTTP/1.1 servers trim the value, HTTP/2 servers need not.
	header := strings.Trim(r.Header.Get("Authorization"), " \t")
	scheme, rest, _ := strings.Cut(header, " ")
	switch {
	case header == "":
		return "", noToken, false
	case !isScheme(scheme):
		return "", invalidRequest, false
	case !strings.EqualFold(scheme, "Bearer"):
		// RFC 6750 §3.1: an unsupported authentication method counts as no
		// authentication information, so the challenge has no error code.
		return "", noToken, false
	}
	token := strings.TrimLeft(rest, " ")
	if !isBearerToken(token) {
		return "", invalidRequest, false
	}
	// RFC 6750 §2 forbids a second one, and a form that can't be read may have it.
	if form, ok := readForm(r); !ok || form.Has(tokenParam) {
		return "", invalidRequest, false
	}
	return token, answer{}, true
}

// formToken returns the token of a request without an Authorization header.
func formToken(r *http.Request) (string, answer, bool) {
	form, ok := readForm(r)
	if ok && !form.Has(tokenParam) {
		return "", noToken, false
	}
	if !ok || len(form[tokenParam]) > 1 || !isBearerToken(form.Get(tokenParam)) || !isASCII(form) || !isForm(r) {
		return "", invalidRequest, false
	}
	return form.Get(tokenParam), answer{}, true
}

// readForm returns the request's form, which is nil if it has none, and false if
// what is in it can't be told. A body that is no form is not read at all.
func readForm(r *http.Request) (url.Values, bool) {
	if r.PostForm != nil { // something before us parsed and used up the body
		return r.PostForm, true
	}
	if !isForm(r) || r.Body == nil {
		return nil, true
	}
	if r.ContentLength >= maxBody {
		return nil, false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || len(body) == maxBody {
		return nil, false
	}
	form, err := url.ParseQuery(string(body))
	return form, err == nil
}

// isForm reports whether the request's body is what RFC 6750 §2.2 lets a token
// be in: of one part, and of a method that gives a body a meaning.
func isForm(r *http.Request) bool {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return r.Method == http.MethodPost && mediaType == "application/x-www-form-urlencoded"
}

// isASCII reports whether the form is of ASCII throughout, as RFC 6750 §2.2 wants
// it: two programs may not decode others alike.
func isASCII(form url.Values) bool {
	beyond := func(c rune) bool { return c > unicode.MaxASCII }
	for name, values := range form {
		if strings.ContainsFunc(name+strings.Join(values, ""), beyond) {
			return false
		}
	}
	return true
}

// isScheme reports whether s is an auth-scheme, a token of RFC 9110 §5.6.2.
func isScheme(s string) bool {
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// isBearerToken reports whether s is a b64token of RFC 6750 §2.1. A space or
// comma is none, so that two tokens in one header are not taken for one.
func isBearerToken(s string) bool {
	s = strings.TrimRight(s, "=")
	for _, c := range []byte(s) {
		if !isAlphanumeric(c) && strings.IndexByte("-._~+/", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
