package stories_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// canaries are the values that must appear nowhere, by the name for a failure.
type canaries map[string]string

func planted() canaries {
	return canaries{
		"project secret": "canary-secret-5QxR", "record key": "canary-record-key-6TzW-0123456789abcdef",
		"hash key": "canary-hash-key-7UaX-0123456789abcdef", "block key": "canary-block-8VbY-0123456789abcd"[:32],
		"legacy token": "canary-token-9WcZ", "legacy id": "canary-id-1XdA", "legacy value": "canary-value-2YeB",
		"peer's text": "canary-text-3ZfC", "ada": "ada@example.com", "bob": "bob@example.com",
	}
}

func (c canaries) all() string {
	var b strings.Builder
	for _, v := range c {
		b.WriteString(v + " ")
	}
	return b.String()
}

func (c canaries) without(names ...string) canaries {
	out := canaries{}
	for name, v := range c {
		out[name] = v
	}
	for _, name := range names {
		delete(out, name)
	}
	return out
}

// in returns the names of the canaries in a text: as they are, in hex as %x prints
// them, and in base64 at any offset of a longer text.
func (c canaries) in(text string) (found []string) {
	lower := strings.ToLower(text)
	for name, v := range c {
		forms := []string{strings.ToLower(v), hex.EncodeToString([]byte(v))}
		if strings.HasPrefix(v, "canary-") { // the others are made in each request: two forms are enough for them
			forms = append(forms, fmt.Sprintf("% x", v), strings.Trim(fmt.Sprint([]byte(v)), "[]"))
			for before := range 3 {
				b := base64.StdEncoding.EncodeToString([]byte("..."[:before] + v))
				b = strings.ToLower(b[(before+2)/3*4 : len(b)-4])
				forms = append(forms, b, strings.NewReplacer("+", "-", "/", "_").Replace(b))
			}
		}
		if slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(lower, f) }) {
			found = append(found, name)
		}
	}
	return found
}

func TestCanariesAreFound(t *testing.T) {
	c := canaries{"x": "canary-secret-5QxR"}
	v := c["x"]
	for _, text := range []string{v, fmt.Sprintf("%x", v), fmt.Sprintf("%X", v), fmt.Sprintf("% x", v), fmt.Sprintf("%q", v), fmt.Sprintf("%d", []byte(v)),
		base64.StdEncoding.EncodeToString([]byte("a" + v)), base64.URLEncoding.EncodeToString([]byte("project:" + v + "!"))} {
		assert.Equal(t, []string{"x"}, c.in("before "+text+" after"), text)
	}
	assert.Empty(t, c.in("nothing"))
}

// printed returns v in every form in which fmt and slog print it: itself, behind a
// pointer, and inside other values.
func printed(v any) string {
	var b bytes.Buffer
	type holder struct{ V any }
	for _, x := range []any{v, &v, holder{v}, &holder{v}, []any{v}, map[string]any{"v": v}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%d", "%s", "%q", "%x", "%X", "% x", "%10.50s", "%t", "%08b"} {
			fmt.Fprintf(&b, verb+"\n", x)
		}
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		log := slog.New(h)
		log.Info("m", "v", v)
		log.With("v", v).WithGroup("g").Info("m", slog.Group("h", "v", v))
	}
	return b.String()
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	return fmt.Sprint(string(b), err)
}

// twoHandlers passes each record to both.
type twoHandlers [2]slog.Handler

func (h twoHandlers) Enabled(context.Context, slog.Level) bool { return true }

func (h twoHandlers) WithAttrs([]slog.Attr) slog.Handler { panic("not used") }

func (h twoHandlers) WithGroup(string) slog.Handler { panic("not used") }

func (h twoHandlers) Handle(ctx context.Context, r slog.Record) error {
	return errors.Join(h[0].Handle(ctx, r.Clone()), h[1].Handle(ctx, r))
}
