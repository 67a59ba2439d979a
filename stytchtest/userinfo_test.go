package stytchtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"example.com/stytchmigrate/stytchtest"
	"github.com/stretchr/testify/assert"
)

const goodUserInfo = `{"sub":"7","email":"jane@example.com","email_verified":true}`

var userInfoRows = []struct {
	name        string
	status      int
	contentType string
	body        string
	want        int
}{
	{"good", 200, "application/json", goodUserInfo, 200},
	{"good with a charset", 200, "application/json; charset=utf-8", goodUserInfo, 200},
	{"refused", 401, "application/json", goodUserInfo, 400},
	{"down", 503, "application/json", goodUserInfo, 400},
	{"created", 201, "application/json", goodUserInfo, 400},
	{"redirect", 302, "application/json", goodUserInfo, 400},
	{"HTML", 200, "text/html", goodUserInfo, 400},
	{"no JSON", 200, "application/json", "jane", 400},
	{"no sub", 200, "application/json", `{"email":"jane@example.com","email_verified":true}`, 400},
	{"no email", 200, "application/json", `{"sub":"7","email_verified":true}`, 400},
	{"unverified", 200, "application/json", `{"sub":"7","email":"jane@example.com"}`, 400},
	{"verified as a string", 200, "application/json", `{"sub":"7","email":"jane@example.com","email_verified":"true"}`, 400},
	{"over a megabyte", 200, "application/json", goodUserInfo + strings.Repeat(" ", 1<<20), 400},
	{"somebody else", 200, "application/json", strings.Replace(goodUserInfo, "jane", "joe", 1), 404},
}

func TestUserInfo(t *testing.T) {
	for _, row := range userInfoRows {
		t.Run(row.name, func(t *testing.T) {
			followed := false
			endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				followed = r.URL.Path == "/followed"
				assert.Equal(t, "GET", r.Method)
				assert.Equal(t, []string{"Bearer legacy"}, r.Header["Authorization"])
				w.Header().Set("Content-Type", row.contentType)
				w.Header().Set("Location", "/followed")
				w.WriteHeader(row.status)
				io.WriteString(w, row.body)
			}))
			defer endpoint.Close()
			c := start(t, stytchtest.Config{UserInfoURL: endpoint.URL})
			c.AddUser(stytchtest.Person("jane@example.com"))
			status, got := c.migrate(t, object{"session_token": "legacy", "session_duration_minutes": 5})
			assert.Equal(t, row.want, status)
			assert.False(t, followed)
			failure := c.Calls()[0].UserInfoErr
			if status == 400 {
				assertError(t, "migrate_from_external_unexpected_response", got)
				assert.Error(t, failure)
				return
			}
			assert.NoError(t, failure)
		})
	}
}

func TestUserInfoIsOneOf(t *testing.T) {
	c := start(t, stytchtest.Config{InProcess: true})
	c.AddUser(stytchtest.Person("jane@example.com"))
	migrate := func(token string) any {
		_, got := c.migrate(t, object{"session_token": token})
		return got["error_type"]
	}
	assert.Equal(t, "migrate_from_external_missing_userinfo", migrate("a"))

	c.SetUserInfoURL("http://127.0.0.1:1")
	c.SetUserInfoClient(&http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("refused")
	})})
	assert.Equal(t, "migrate_from_external_unexpected_response", migrate("a"))
	assert.Equal(t, "migrate_from_external_unexpected_response", migrate("a\nb"), "no header field")

	c.SetUserInfo(func(_ context.Context, token string) (string, error) {
		if token == "a" {
			return "jane@example.com", nil
		}
		return "", errors.New("no such token")
	})
	assert.Nil(t, migrate("a"))
	assert.Equal(t, "migrate_from_external_unexpected_response", migrate("b"))
	c.Accept("b", "jane@example.com")
	assert.Nil(t, migrate("b"))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
