package client_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"example.com/stytchmigrate/internal/client"
	"example.com/stytchmigrate/internal/stytch"
)

// Each path is reported once, whatever the call and the element.
func TestOddities(t *testing.T) {
	var log bytes.Buffer
	o := client.Oddities{Log: slog.New(slog.NewTextHandler(&log, nil))}
	for _, path := range []string{"user.roles", "list[0].a[12].b", "list[1].a[0].b", "user.roles", "list[0]"} {
		o.Report(t.Context(), stytch.Migrate, path, "is missing")
		o.Report(t.Context(), stytch.Authenticate, path, "is null")
	}
	assert.Equal(t, 3, strings.Count(log.String(), "level=WARN"))
	for _, line := range []string{"op=migrate path=user.roles reason=\"is missing\"", "path=list[].a[].b", "path=list[] "} {
		assert.Contains(t, log.String(), line)
	}
}

// A member that is not needed does not make an answer unusable.
func TestOddAnswerIsReported(t *testing.T) {
	var log bytes.Buffer
	o := client.Oddities{Log: slog.New(slog.NewTextHandler(&log, nil))}
	var out struct {
		ID   string `json:"id" need:"value"`
		Name string `json:"name" required:"true"`
	}
	for _, odd := range []*client.Oddities{&o, nil} {
		err := over(answer(200, `{"id":"a","name":"canary@example.com"`+`}`)).Post(t.Context(), client.Call{Op: stytch.Revoke, Path: "/", Out: &out, Odd: odd})
		assert.NoError(t, err)
		assert.Empty(t, log.String())
	}
	for _, odd := range []*client.Oddities{nil, &o} {
		err := over(answer(200, `{"id":"a","name":["canary@example.com"]}`)).Post(t.Context(), client.Call{Op: stytch.Revoke, Path: "/", Out: &out, Odd: odd})
		assert.NoError(t, err)
	}
	assert.Contains(t, log.String(), "path=name reason=\"is not a string\"")
	assert.NotContains(t, log.String(), "canary")
}
