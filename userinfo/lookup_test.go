package userinfo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/userinfo"
)

// nilError panics when asked anything, as a typed nil does.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }
func (e *nilError) Unwrap() error { return errors.New(e.text) }

func TestLookupAnswers(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want reply
	}{
		{"no error is yes", nil, yes},
		{"ErrInvalidToken is no", userinfo.ErrInvalidToken, badToken},
		{"ErrInvalidToken wrapped is no", fmt.Errorf("ada@example.org: %w", userinfo.ErrInvalidToken), badToken},
		{"any other error can't tell", errors.New("postgres://ada:secret@db: refused"), unavailable},
		{"a deadline can't tell", context.DeadlineExceeded, unavailable},
		{"a deadline reported as an invalid token can't tell", errors.Join(userinfo.ErrInvalidToken, context.DeadlineExceeded), unavailable},
		{"a cancellation reported as an invalid token can't tell", errors.Join(userinfo.ErrInvalidToken, context.Canceled), unavailable},
		{"a typed nil can't tell", (*nilError)(nil), unavailable},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			h := userinfo.Handler(func(context.Context, string) (userinfo.Identity, error) { return ada, tc.err })
			r, _ := withErrorLog(request("GET", "/userinfo", "", "Bearer good"))
			call(t, h, r, tc.want)
		})
	}
}

func TestLookupCutShort(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := userinfo.Handler(func(ctx context.Context, _ string) (userinfo.Identity, error) {
		cancel()
		<-ctx.Done() // hangs unless it is the request's context
		return userinfo.Identity{}, userinfo.ErrInvalidToken
	})
	call(t, h, request("GET", "/userinfo", "", "Bearer good").WithContext(ctx), unavailable)
}

// TestSlowLookup: a lookup that respects the context is over when that is.
func TestSlowLookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := userinfo.Handler(func(ctx context.Context, _ string) (userinfo.Identity, error) {
			select {
			case <-time.After(time.Minute):
				return ada, nil
			case <-ctx.Done():
				return userinfo.Identity{}, fmt.Errorf("canary-dsn: %w", ctx.Err())
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		call(t, h, request("GET", "/userinfo", "", "Bearer good").WithContext(ctx), unavailable)
		assert.Equal(t, 2*time.Second, time.Since(start))
	})
}

// withErrorLog returns r as it comes through a server with an ErrorLog.
func withErrorLog(r *http.Request) (*http.Request, *bytes.Buffer) {
	var logged bytes.Buffer
	srv := &http.Server{ErrorLog: log.New(&logged, "", 0)}
	return r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, srv)), &logged
}

func TestPanickingLookup(t *testing.T) {
	const canary = "canary-3f9a"
	tests := []struct {
		name   string
		value  func(token string) any
		logged string
	}{
		{"with a string", func(token string) any { return "no such token: " + token }, "type string"},
		{"with an error", func(token string) any { return errors.New(token) }, "type *errors.errorString"},
		{"with a value that can't be compared", func(token string) any { return []string{token} }, "type []string"},
		{"with nil", func(string) any { return nil }, "type *runtime.PanicNilError"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			h := userinfo.Handler(func(_ context.Context, token string) (userinfo.Identity, error) { panic(tc.value(token)) })
			r, logged := withErrorLog(request("GET", "/userinfo", "", "Bearer "+canary))
			call(t, h, r, unavailable)
			assert.Contains(t, logged.String(), "lookup panicked with a value of "+tc.logged)
			assert.Contains(t, logged.String(), "userinfo_test.go", "the stack names the culprit")
			assert.NotContains(t, logged.String(), canary)
		})
	}
}

func TestAbortingLookup(t *testing.T) {
	h := userinfo.Handler(func(context.Context, string) (userinfo.Identity, error) { panic(http.ErrAbortHandler) })
	r, logged := withErrorLog(request("GET", "/userinfo", "", "Bearer good"))
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() { h.ServeHTTP(httptest.NewRecorder(), r) })
	assert.Empty(t, logged.String())
}

func TestNilLookup(t *testing.T) {
	assert.Panics(t, func() { userinfo.Handler(nil) })
}

// TestClaims also holds each answer to what OpenID Connect says of its claims.
func TestClaims(t *testing.T) {
	id := func(change func(*userinfo.Identity)) userinfo.Identity {
		id := userinfo.Identity{Subject: "user-17", Email: "ada@example.org", EmailVerified: true}
		change(&id)
		return id
	}
	const subOnly = `{"sub":"user-17"}`
	const subEmail = `{"sub":"user-17","email":"ada@example.org","email_verified":true}`
	tests := []struct {
		name string
		id   userinfo.Identity
		want reply
	}{
		{"every claim", ada, yes},
		{"names are optional", id(func(*userinfo.Identity) {}), claims(subEmail)},
		{"blank names are left out", id(func(i *userinfo.Identity) { i.Name, i.GivenName = " ", "\t\n" }), claims(subEmail)},
		{"names of nothing to see are left out", id(func(i *userinfo.Identity) { i.Name, i.GivenName, i.FamilyName = "\x00", "\u00a0\u200b", "\u2028" }), claims(subEmail)},
		{"names that are null made text are left out", id(func(i *userinfo.Identity) {
			i.Name, i.GivenName, i.MiddleName, i.FamilyName = "null", "NULL", " Null ", "null\n"
		}), claims(subEmail)},
		{"a name with null in it is a name", id(func(i *userinfo.Identity) { i.Name = "Jo Null" }), claims(strings.Replace(subEmail, "}", `,"name":"Jo Null"}`, 1))},
		{"broken UTF-8 in a name is replaced", id(func(i *userinfo.Identity) { i.Name = "Ad\xff" }), claims(strings.Replace(subEmail, "}", `,"name":"Ad\ufffd"}`, 1))},
		{"an email that is not verified is left out", id(func(i *userinfo.Identity) { i.EmailVerified = false }), claims(subOnly)},
		{"a flag without an email is left out", id(func(i *userinfo.Identity) { i.Email = "" }), claims(subOnly)},
		{"two addresses are left out", id(func(i *userinfo.Identity) { i.Email = "ada@example.org,bob@example.org" }), claims(subOnly)},
		{"a display name is left out", id(func(i *userinfo.Identity) { i.Email = "Ada <ada@example.org>" }), claims(subOnly)},
		{"a look-alike is left out", id(func(i *userinfo.Identity) { i.Email = "ada@example.org\u200b" }), claims(subOnly)},
		{"no subject can't be answered", id(func(i *userinfo.Identity) { i.Subject = "" }), unavailable},
		{"a blank subject can't be answered", id(func(i *userinfo.Identity) { i.Subject = " " }), unavailable},
		{"a subject that is null made text can't be answered", id(func(i *userinfo.Identity) { i.Subject = "null" }), unavailable},
		{"a subject that is nil made text can't be answered", id(func(i *userinfo.Identity) { i.Subject = "<nil>" }), unavailable},
		{"a subject of broken UTF-8 can't be answered", id(func(i *userinfo.Identity) { i.Subject = "user\xff17" }), unavailable},
		{"nobody can't be answered", userinfo.Identity{}, unavailable},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) { assertAnswer(t, tc.id, tc.want) })
	}
}

// assertAnswer checks what is answered where the lookup finds id.
func assertAnswer(t *testing.T, id userinfo.Identity, want reply) {
	t.Helper()
	h := userinfo.Handler(func(context.Context, string) (userinfo.Identity, error) { return id, nil })
	r, logged := withErrorLog(request("GET", "/userinfo", "", "Bearer good"))
	call(t, h, r, want)
	if want.status == 200 {
		assertConforms(t, []byte(want.body))
		assert.Empty(t, logged.String())
		return
	}
	assert.Contains(t, logged.String(), "userinfo: lookup returned an unusable Identity: userinfo: subject ")
}
