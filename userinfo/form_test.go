package userinfo_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/userinfo"
)

const formType = "application/x-www-form-urlencoded"

// formRow is a request with a form, and what is answered to it.
type formRow struct {
	name              string
	method            string
	contentType, body string
	authorization     []string
	want              reply
}

func (row formRow) run(t *testing.T) {
	r := request(row.method, "/userinfo", row.body, row.authorization...)
	r.Header.Set("Content-Type", row.contentType)
	call(t, userinfo.Handler(lookupAda), r, row.want)
}

// TestForm: a POST may carry the token in its form, by the rules of RFC 6750 §2.2,
// but never a second one.
func TestForm(t *testing.T) {
	for _, tc := range []formRow{
		{"a token in the form is answered", "POST", formType, "access_token=good", nil, yes},
		{"a charset is no other type", "POST", formType + "; charset=utf-8", "access_token=good", nil, yes},
		{"the type may be in capitals", "POST", "Application/X-WWW-Form-Urlencoded", "access_token=good", nil, yes},
		{"an escaped token is the same token", "POST", formType, "%61ccess_token=g%6Fod", nil, yes},
		{"other parameters are ignored", "POST", formType, "schema=openid&access_token=good&a=b", nil, yes},
		{"an unknown token is not valid", "POST", formType, "access_token=other", nil, badToken},
		{"a token of 16 KB reaches the lookup", "POST", formType, "access_token=" + strings.Repeat("a", 16<<10), nil, badToken},
		{"a token of 63 KB is not valid", "POST", formType, "access_token=" + strings.Repeat("a", 63<<10), nil, badToken},

		{"no token is no token", "POST", formType, "", nil, noToken},
		{"another parameter is no token", "POST", formType, "token=good", nil, noToken},
		{"a GET has no form", "GET", formType, "access_token=good", nil, noToken},
		{"a HEAD has no form", "HEAD", formType, "access_token=good", nil, noBody(noToken)},
		{"PUT is refused", "PUT", formType, "access_token=good", nil, badMethod},
		{"DELETE is refused", "DELETE", formType, "access_token=good", nil, badMethod},
		{"no type is no form", "POST", "", "access_token=good", nil, noToken},
		{"plain text is no form", "POST", "text/plain", "access_token=good", nil, noToken},
		{"JSON is no form", "POST", "application/json", `{"access_token":"good"}`, nil, noToken},
		{"parts are no form", "POST", "multipart/form-data; boundary=x", parts(t), nil, noToken},
	} {
		t.Run(tc.name, tc.run)
	}
}

func TestMalformedForm(t *testing.T) {
	bearer := []string{"Bearer good"}
	for _, tc := range []formRow{
		{"two equal tokens are malformed", "POST", formType, "access_token=good&access_token=good", nil, badRequest},
		{"two tokens are malformed", "POST", formType, "access_token=good&access_token=", nil, badRequest},
		{"an empty token is malformed", "POST", formType, "access_token=", nil, badRequest},
		{"a token without a value is malformed", "POST", formType, "access_token", nil, badRequest},
		{"a token with a space is malformed", "POST", formType, "access_token=go+od", nil, badRequest},
		{"a token with its scheme is malformed", "POST", formType, "access_token=Bearer%20good", nil, badRequest},
		{"a token with a line break is malformed", "POST", formType, "access_token=good%0D%0A", nil, badRequest},
		{"a token that is not ASCII is malformed", "POST", formType, "access_token=g%C3%B6od", nil, badRequest},
		{"anything that is not ASCII is malformed", "POST", formType, "access_token=good&name=%C3%B6", nil, badRequest},
		{"a form that does not parse is malformed", "POST", formType, "access_token=good&a=%zz", nil, badRequest},
		{"a semicolon is malformed", "POST", formType, "access_token=good;a=b", nil, badRequest},
		{"a form of 64 KB is malformed", "POST", formType, "access_token=" + strings.Repeat("a", 64<<10), nil, badRequest},

		{"a token in form and header is malformed", "POST", formType, "access_token=good", bearer, badRequest},
		{"a charset hides no second token", "POST", formType + "; charset=utf-8", "access_token=good", bearer, badRequest},
		{"a form that may hide a second token is malformed", "POST", formType, "a=%zz", bearer, badRequest},
		{"a long form may hide a second token", "POST", formType, strings.Repeat("a", 64<<10), bearer, badRequest},
		{"a malformed header is not made up for", "POST", formType, "access_token=good", []string{"Bearer"}, badRequest},
		{"two headers are not made up for", "POST", formType, "access_token=good", []string{"Bearer good", "Bearer good"}, badRequest},
		{"beside an empty header there is no form", "POST", formType, "access_token=good", []string{""}, noToken},
		{"beside another scheme there is no form", "POST", formType, "access_token=good", []string{"Basic YWRhOng="}, noToken},
	} {
		t.Run(tc.name, tc.run)
	}
}

func formRequest(body string) *http.Request {
	r := request("POST", "/userinfo", body)
	r.Header.Set("Content-Type", formType)
	return r
}

// parts is a body of type multipart/form-data with the boundary "x".
func parts(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	require.NoError(t, w.SetBoundary("x"))
	require.NoError(t, w.WriteField("access_token", "good"))
	require.NoError(t, w.Close())
	return b.String()
}

func TestFormAndQuery(t *testing.T) {
	r := request("POST", "/userinfo?access_token=good", "access_token=good")
	r.Header.Set("Content-Type", formType)
	call(t, userinfo.Handler(lookupAda), r, badRequest)
}

// TestFormParsedBefore: a handler around ours may have used up the body.
func TestFormParsedBefore(t *testing.T) {
	tests := []struct {
		name              string
		contentType, body string
		authorization     []string
		want              reply
	}{
		{"a token is answered", formType, "access_token=good", nil, yes},
		{"two tokens are malformed", formType, "access_token=good&access_token=good", nil, badRequest},
		{"a token in form and header is malformed", formType, "access_token=good", []string{"Bearer good"}, badRequest},
		{"no token is no token", formType, "a=b", nil, noToken},
		{"a token in parts is malformed", "multipart/form-data; boundary=x", parts(t), nil, badRequest},
		{"a token in parts and header is malformed", "multipart/form-data; boundary=x", parts(t), []string{"Bearer good"}, badRequest},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			r := request("POST", "/userinfo", tc.body, tc.authorization...)
			r.Header.Set("Content-Type", tc.contentType)
			_ = r.ParseMultipartForm(1 << 20) // of another form it is ParseForm, and an error
			call(t, userinfo.Handler(lookupAda), r, tc.want)
		})
	}
}

// meter counts what is read of an endless body.
type meter struct{ read int }

func (m *meter) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	m.read += len(p)
	return len(p), nil
}

func TestBodyRead(t *testing.T) {
	const octets = "application/octet-stream"
	tests := []struct {
		name          string
		contentType   string
		length        int64
		authorization []string
		want          reply
		atMost        int
	}{
		{"10 MB of a form of known length: nothing", formType, 10 << 20, []string{"Bearer good"}, badRequest, 0},
		{"10 MB of a form without a header: nothing", formType, 10 << 20, nil, badRequest, 0},
		{"a form without end: 64 KB", formType, -1, []string{"Bearer good"}, badRequest, 64 << 10},
		{"a form without end and without a header: 64 KB", formType, -1, nil, badRequest, 64 << 10},
		{"10 MB of anything else: nothing", octets, 10 << 20, []string{"Bearer good"}, yes, 0},
		{"10 MB of anything else without a header: nothing", octets, 10 << 20, nil, noToken, 0},
		{"a form without end and an empty header: nothing", formType, -1, []string{""}, noToken, 0},
		{"a form without end and a malformed header: nothing", formType, -1, []string{"Bearer a b"}, badRequest, 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var m meter
			r := httptest.NewRequest("POST", "/userinfo", &m)
			r.ContentLength = tc.length
			r.Header["Content-Type"] = []string{tc.contentType}
			r.Header["Authorization"] = tc.authorization
			call(t, userinfo.Handler(lookupAda), r, tc.want)
			assert.LessOrEqual(t, m.read, tc.atMost, "bytes read")
		})
	}
}

// wire counts what a server reads of its connections.
type wire struct {
	net.Listener
	read atomic.Int64
}

func (w *wire) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	return wireConn{c, w}, err
}

type wireConn struct {
	net.Conn
	wire *wire
}

func (c wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wire.read.Add(int64(n))
	return n, err
}

// TestBodyReadFromTheWire: a body that says it is long is left on the wire. Of one
// that does not say, net/http reads 256 KB itself, twice, after the handler.
func TestBodyReadFromTheWire(t *testing.T) {
	const octets = "application/octet-stream"
	const ours, buffers, servers = 64 << 10, 8 << 10, 2*256<<10 + 16<<10
	for _, row := range []struct {
		name, contentType string
		length            int64 // -1: 10 MB in chunks
		status, atMost    int
	}{
		{"10 MB of a form", formType, 10 << 20, 400, buffers},
		{"10 MB of a form in chunks", formType, -1, 400, ours + buffers + servers},
		{"10 MB of anything else", octets, 10 << 20, 200, buffers},
		{"10 MB of anything else in chunks", octets, -1, 200, buffers + servers},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // net/http waits half a second before it closes
			srv := httptest.NewUnstartedServer(userinfo.Handler(lookupAda))
			w := &wire{Listener: srv.Listener}
			srv.Listener = w
			srv.Start()
			defer srv.Close()
			length := row.length
			if length < 0 {
				length = 10 << 20
			}
			r, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL, io.LimitReader(new(meter), length))
			require.NoError(t, err)
			r.ContentLength = row.length
			r.Header = http.Header{"Content-Type": {row.contentType}, "Authorization": {"Bearer good"}}
			resp, err := srv.Client().Do(r)
			require.NoError(t, err)
			resp.Body.Close()
			assert.Equal(t, row.status, resp.StatusCode)
			assert.LessOrEqual(t, w.read.Load(), int64(row.atMost), "bytes read")
			t.Log(w.read.Load(), "bytes read")
		})
	}
}

func TestBodyThatBreaksOff(t *testing.T) {
	for _, authorization := range [][]string{nil, {"Bearer good"}} {
		r := request("POST", "/userinfo", "", authorization...)
		r.Body = io.NopCloser(io.MultiReader(strings.NewReader("access_token=good"), brokenReader{}))
		r.ContentLength = -1
		r.Header.Set("Content-Type", formType)
		call(t, userinfo.Handler(lookupAda), r, badRequest)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// FuzzForm: of any form, either its one well-formed token is looked up, or none.
func FuzzForm(f *testing.F) {
	for _, seed := range []string{
		"", "access_token=good", "a=b&access_token=a.b-c_d~e%2Bf/g==", "access_token=a+b", "access_token=a&access_token=b",
		"%61ccess_token=good", "access_token=good&a=%zz", "access_token=good;a=b", "access_token", "access_token=\x80", "a=%C3%B6&access_token=x",
	} {
		f.Add(seed)
	}
	token := regexp.MustCompile(`^[A-Za-z0-9\-._~+/]+=*$`)
	f.Fuzz(func(t *testing.T, body string) {
		var got []string
		h := userinfo.Handler(func(_ context.Context, token string) (userinfo.Identity, error) {
			got = append(got, token)
			return ada, nil
		})
		w := httptest.NewRecorder()
		h.ServeHTTP(w, formRequest(body))

		form, err := url.ParseQuery(body)
		values, _ := url.QueryUnescape(body)
		isASCII := !strings.ContainsFunc(values, func(c rune) bool { return c > 127 })
		if err != nil || !isASCII || len(body) >= 64<<10 || len(form["access_token"]) != 1 || !token.MatchString(form.Get("access_token")) {
			assert.Empty(t, got)
			assert.Contains(t, []int{400, 401}, w.Code)
			return
		}
		if len(form.Get("access_token")) > 16<<10 {
			assert.Empty(t, got)
			assert.Equal(t, 401, w.Code)
			return
		}
		assert.Equal(t, 200, w.Code)
		assert.Equal(t, form["access_token"], got)
	})
}
