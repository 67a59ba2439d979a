package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/stytch"
)

func TestPost(t *testing.T) {
	var sent *http.Request
	var body []byte
	c := over(func(r *http.Request) (*http.Response, error) {
		sent = r
		body, _ = io.ReadAll(r.Body)
		return answer(200, `{"user_id":"user-1"}`)(r)
	})
	var out struct {
		UserID string `json:"user_id"`
	}
	require.NoError(t, c.Post(t.Context(), client.Call{
		Op: stytch.Authenticate, Path: "/v1/sessions/authenticate", In: map[string]string{"session_token": "t"}, Out: &out,
		Unusable: func() string { assert.Equal(t, "user-1", out.UserID, "asked after Out is filled"); return "" },
	}))
	assert.Equal(t, "POST https://test.stytch.com/v1/sessions/authenticate", sent.Method+" "+sent.URL.String())
	assert.JSONEq(t, `{"session_token":"t"}`, string(body))
	id, secret, _ := sent.BasicAuth()
	assert.Equal(t, "project-test-1 secret-test-1", id+" "+secret)
	sent.Header.Del("Authorization")
	assert.Equal(t, http.Header{"Accept": {"application/json"}, "Content-Type": {"application/json"}, "User-Agent": {"stytchmigrate-go/0.1"}}, sent.Header)
}

// A GET has its query in the URL, and no body. Its answer may be longer than others.
func TestGet(t *testing.T) {
	var sent *http.Request
	long := 2 << 20
	c := over(func(r *http.Request) (*http.Response, error) {
		sent = r
		return answer(200, `{"sessions":[],"more":"`+strings.Repeat("x", long)+`"}`)(r)
	})
	var out struct {
		Sessions []string `json:"sessions" need:"value"`
	}
	get := func(op stytch.Op) error {
		return c.Get(t.Context(), client.Call{Op: op, Path: "/v1/sessions", Query: url.Values{"user_id": {"auth0|x"}}, Out: &out})
	}
	require.NoError(t, get(stytch.List))
	assert.Equal(t, "GET https://test.stytch.com/v1/sessions?user_id=auth0%7Cx", sent.Method+" "+sent.URL.String())
	assert.Empty(t, sent.Header["Content-Type"])
	_, _, authorized := sent.BasicAuth()
	assert.True(t, authorized)
	assert.ErrorContains(t, get(stytch.Authenticate), "longer than 1 MiB")
	long = 16 << 20
	assert.ErrorContains(t, get(stytch.List), "longer than 16 MiB")
}

// The key set is public: no credentials are sent, and no lane holds the call back.
func TestJWKS(t *testing.T) {
	var sent []*http.Request
	c := over(func(r *http.Request) (*http.Response, error) {
		sent = append(sent, r)
		return answer(503, "")(r)
	})
	c.ProjectID = "project/test"
	for range 10 {
		_, err := c.JWKS(t.Context())
		assert.EqualError(t, err, "stytch answered 503 to jwks")
	}
	require.Len(t, sent, 10, "no retry, and no breaker")
	assert.Equal(t, "GET https://test.stytch.com/v1/sessions/jwks/project%2Ftest", sent[0].Method+" "+sent[0].URL.String())
	assert.Empty(t, sent[0].Header["Authorization"])

	body, err := over(answer(200, `{"keys":[]}`)).JWKS(t.Context())
	assert.NoError(t, err)
	assert.Equal(t, `{"keys":[]}`, string(body))
}

func TestRequestThatCannotBeMade(t *testing.T) {
	c := over(answer(200, "{}"))
	c.Base = "://"
	assert.EqualError(t, migrate(t, c), "stytchmigrate: migrate: request could not be made")
	_, err := c.JWKS(t.Context())
	assert.EqualError(t, err, "stytchmigrate: jwks: request could not be made")
	err = c.Post(t.Context(), client.Call{Op: stytch.Migrate, In: func() {}})
	assert.EqualError(t, err, "stytchmigrate: migrate: request could not be encoded")
}

// fault is what becomes of a connection, or of an answer on its way. None of them
// says anything about the user.
type fault struct {
	name  string
	does  stub
	tries int
	takes time.Duration
	err   string
}

const (
	aPause = 100 * time.Millisecond // before the second try, and up to half of it more or less
	html   = "<html>502 Bad Gateway</html>"
)

func endless(p []byte) (int, error) { return len(p), nil }

func opError(op string, err error) error { return &net.OpError{Op: op, Net: "tcp", Err: err} }

var faults = []fault{
	{"reset", fail(opError("read", os.NewSyscallError("read", syscall.ECONNRESET))), 2, aPause, "stytchmigrate: migrate: read: connection reset by peer"},
	{"refused", fail(opError("dial", os.NewSyscallError("connect", syscall.ECONNREFUSED))), 2, aPause, "stytchmigrate: migrate: dial: connection refused"},
	{"no such host", fail(&net.DNSError{Err: "no such host", Name: "api.stytch.com", IsNotFound: true}), 2, aPause, "stytchmigrate: migrate: host not found"},
	{"resolver down", fail(&net.DNSError{Err: "server misbehaving", Name: "api.stytch.com", IsTemporary: true}), 2, aPause, "stytchmigrate: migrate: host could not be looked up"},
	{"an error of the transport's own", fail(odd{}), 2, aPause, "stytchmigrate: migrate: transport failed (client_test.odd)"},
	{"reset in mid-answer", reading(io.MultiReader(strings.NewReader(`{"us`), reader(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))), 2, aPause,
		"stytchmigrate: migrate: answer 200 broke off: connection closed"},
	{"silence", silence, 2, 3 * timeout, "stytchmigrate: migrate: timed out"},
	{"a byte a second", drip, 2, 3 * timeout, "stytchmigrate: migrate: timed out"},
	{"an answer that never ends", reading(reader(endless)), 1, 0, "stytchmigrate: migrate: answer 200 is longer than 1 MiB"},
	{"a byte too long", answer(200, strings.Repeat(" ", 1<<20+1)), 1, 0, "stytchmigrate: migrate: answer 200 is longer than 1 MiB"},
	{"as long as may be", answer(200, strings.Repeat(" ", 1<<20)), 1, 0, "stytchmigrate: migrate: answer 200 could not be used: body is not one JSON value"},
	{"an answer that is no JSON", answer(200, html), 1, 0, "stytchmigrate: migrate: answer 200 could not be used: body is not one JSON value"},
	{"an answer without what is required", answer(200, "{}"), 1, 0, "stytchmigrate: migrate: answer 200 could not be used: user_id is missing"},
	{"500", answer(500, "{}"), 2, aPause, "stytch answered 500 to migrate"},
	{"502 of a gateway", answer(502, html), 2, aPause, "stytch answered 502 to migrate"},
	{"503 and nothing", answer(503, ""), 2, aPause, "stytch answered 503 to migrate"},
	{"504, cut off", func(r *http.Request) (*http.Response, error) {
		resp, err := reading(reader(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))(r)
		resp.StatusCode = 504
		return resp, err
	}, 2, aPause, "stytch answered 504 to migrate"},
	{"a redirect to another host", answer(307, "", "Location", "https://elsewhere.example"), 1, 0, "stytch answered 307 to migrate"},
	{"a 204", answer(204, ""), 1, 0, "stytch answered 204 to migrate"},
	{"nothing at all", fail(nil), 2, aPause, "stytchmigrate: migrate: transport failed (*errors.errorString)"},
	{"panics", func(*http.Request) (*http.Response, error) { panic("canary") }, 1, 0, "stytchmigrate: migrate: transport panicked (string)"},
	{"exits", func(*http.Request) (*http.Response, error) { runtime.Goexit(); return nil, nil }, 1, 0, "stytchmigrate: migrate: transport left by runtime.Goexit"},
	{"a body that panics", reading(reader(func([]byte) (int, error) { panic("canary") })), 1, 0, "stytchmigrate: migrate: transport panicked (string)"},
}

type odd struct{}

func (odd) Error() string { return "canary" }

func TestFaults(t *testing.T) {
	for _, tt := range faults {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				began := time.Now()
				err := migrate(t, over(func(r *http.Request) (*http.Response, error) { tries++; return tt.does(r) }))
				assert.EqualError(t, err, tt.err)
				assert.Equal(t, stytch.CantTell, stytch.AnswerOf(err))
				assert.Equal(t, strings.HasSuffix(tt.err, ": timed out"), stytch.AsCall(err).TimedOut)
				assert.Equal(t, tt.tries, tries)
				assert.InDelta(t, tt.takes, time.Since(began), float64(aPause/2))
			})
		})
	}
}

// A call fails when its context ends, even if an answer comes a moment later.
func TestCallEndsWithItsContext(t *testing.T) {
	for _, tt := range []struct {
		name  string
		takes time.Duration // of a transport that knows no context
		err   string
	}{
		{"in time", timeout - 1, ""},
		{"a moment later", timeout + 1, "stytchmigrate: jwks: timed out"},
		{"much later", time.Hour, "stytchmigrate: jwks: timed out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				_, err := over(func(r *http.Request) (*http.Response, error) { time.Sleep(tt.takes); return answer(200, "{}")(r) }).JWKS(ctx)
				if tt.err == "" {
					assert.NoError(t, err)
				} else {
					assert.EqualError(t, err, tt.err)
				}
				time.Sleep(time.Hour)
			})
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := over(func(r *http.Request) (*http.Response, error) { cancel(); return silence(r) }).JWKS(ctx)
	assert.EqualError(t, err, "stytchmigrate: jwks: cancelled")
}

// What is read of an answer is a byte more than a megabyte at most, which tells
// that it is too long.
func TestReadsNoMoreThanAMegabyte(t *testing.T) {
	for status, tries := range map[int]int{200: 1, 404: 1, 502: 2} {
		synctest.Test(t, func(t *testing.T) {
			read := 0
			err := migrate(t, over(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: status, Body: io.NopCloser(reader(func(p []byte) (int, error) { read += len(p); return len(p), nil }))}, nil
			}))
			assert.Error(t, err)
			assert.LessOrEqual(t, read, tries*(1<<20+1))
		})
	}
}

// Unusable is asked about an answer that could be read.
func TestUnusable(t *testing.T) {
	c := over(answer(200, "{}"))
	var out struct{}
	err := c.Post(t.Context(), client.Call{Op: stytch.Revoke, Path: "/", Out: &out, Unusable: func() string { return "user_id is no id" }})
	assert.EqualError(t, err, "stytchmigrate: revoke: answer 200 could not be used: user_id is no id")
	assert.Equal(t, stytch.CantTell, stytch.AnswerOf(err))
}

// What was read of an answer 200 that can't be used is looked at once more, for the
// session that it made. An error's body, and an answer that can be used, are not.
func TestOnUnusable(t *testing.T) {
	cutOff := func(*http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"a":"b"`), reader(func([]byte) (int, error) { return 0, errors.New("reset") }))
		return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
	}
	for name, row := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		wrong  string
		want   string
	}{
		"no JSON":         {answer(200, `{"a"`), "", `{"a"`},
		"a bad member":    {answer(200, `{"a":"b"}`), "a is no id", `{"a":"b"}`},
		"cut off":         {cutOff, "", `{"a":"b"`},
		"usable":          {answer(200, `{"a":"b"}`), "", ""},
		"an error":        {answer(404, `{"a":"b"}`), "", ""},
		"too long a body": {answer(200, strings.Repeat("x", 1<<20+1)), "", strings.Repeat("x", 1<<20+1)},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			var out struct{}
			err := over(row.answer).Post(t.Context(), client.Call{
				Op: stytch.Revoke, Path: "/", Out: &out, Unusable: func() string { return row.wrong },
				OnUnusable: func(body []byte) { got = string(body) },
			})
			assert.Equal(t, row.want, got)
			if call := stytch.AsCall(err); call != nil {
				assert.Equal(t, row.want != "", call.Unusable)
			}
		})
	}
}

// An error of Stytch keeps its members, and means what package stytch says.
func TestAPIError(t *testing.T) {
	err := migrate(t, over(apiError(404, "user_not_found")))
	call := stytch.AsCall(err)
	require.NotNil(t, call)
	assert.Equal(t, stytch.No, call.Answer)
	assert.Equal(t, []any{404, "user_not_found", "request-1"}, []any{call.API.Status, call.API.Type, call.API.RequestID})
	assert.True(t, errors.Is(err, call.API.Err))
	err = migrate(t, over(reading(strings.NewReader(`{"user_id":"user-1"}`))))
	assert.NoError(t, err)
}

// An answer that is whole counts, though its caller's time ends at that moment: it may
// be a new session, which must be used or revoked.
func TestWholeAnswerCountsThoughTheCallEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := over(func(r *http.Request) (*http.Response, error) { cancel(); return answer(200, `{"user_id":"user-1"}`)(r) })
		var out struct {
			UserID string `json:"user_id" required:"true"`
		}
		assert.NoError(t, c.Post(ctx, client.Call{Op: stytch.Migrate, Path: "/v1/sessions/migrate", Out: &out}))
		assert.Equal(t, "user-1", out.UserID)
	})
}
