package redact

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a token, a key or an id that must not reach a log. It prints, logs
// and encodes as [redacted]. Convert it to a string where the value itself is
// needed. The zero value is empty.
type Secret string

const redacted = "[redacted]"

// Format writes [redacted] for every verb. A String method would not cover %d
// and %x, which print a string's bytes.
func (Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, redacted) }

// LogValue returns [redacted].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "[redacted]". A struct that is stored as JSON needs fields
// of type string.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
