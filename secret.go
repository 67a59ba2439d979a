package stytchmigrate

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a value that must not be seen in a log: a project secret, a token,
// the id of a legacy session. It prints, logs and encodes as [redacted], an empty
// one too, so that nobody learns from a log which settings are empty. Convert
// it to a string where the value itself is needed; decoding JSON into a Secret
// works as it does for a string. The zero value is empty.
//
// Package fmt calls no methods on what it finds in unexported fields, in a verb
// that it rejects (%p of a Secret, %w of a non-error; go vet reports both), and
// package encoding/json none on a map's keys. A Secret is no secret there.
type Secret string

const redacted = "[redacted]"

// Format writes [redacted] for every verb. String and GoString would leave %d
// and %x, which print a string's bytes.
func (Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, redacted) }

// LogValue is [redacted].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON writes "[redacted]", so that a struct that holds a Secret can be
// logged as JSON.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
