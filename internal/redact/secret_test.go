package redact_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/stytchmigrate/internal/redact"
)

// No verb, log handler or encoder prints a Secret, alone or inside a struct.
func TestSecretIsRedacted(t *testing.T) {
	s := redact.Secret("canary")
	holder := struct{ Token redact.Secret }{s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t"} {
		assert.NotContains(t, fmt.Sprintf(verb, s), "canary", verb)
		assert.NotContains(t, fmt.Sprintf(verb, holder), "canary", verb)
		assert.NotContains(t, fmt.Sprintf(verb, holder), "63616e617279", verb)
	}
	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("a line", "secret", s, "in a struct", holder)
	}
	assert.Contains(t, log.String(), "[redacted]")
	assert.NotContains(t, log.String(), "canary")
	encoded, err := json.Marshal(holder)
	require.NoError(t, err)
	assert.Equal(t, `{"Token":"[redacted]"}`, string(encoded))
}
