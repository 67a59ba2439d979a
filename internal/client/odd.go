package client

import (
	"context"
	"log/slog"
	"strings"
	"sync"

	"example.com/stytchmigrate/internal/stytch"
)

// Oddities reports members of answers that are not as Stytch's API describes them, and
// that are not needed: see [rawjson.DecodeNeeded]. Each path is reported once. The paths
// are those of Go types, so there are few. It is safe for concurrent use.
type Oddities struct {
	Log      *slog.Logger
	reported sync.Map // paths
}

// Report reports the member at a path of an answer.
func (o *Oddities) Report(ctx context.Context, op stytch.Op, path, reason string) {
	path = inEachElement(path)
	if _, reported := o.reported.LoadOrStore(path, true); reported {
		return
	}
	o.Log.LogAttrs(ctx, slog.LevelWarn, "stytchmigrate: an answer of Stytch is not as its API describes it",
		slog.String("op", string(op)), slog.String("path", path), slog.String("reason", reason))
}

// inEachElement returns a path without the indexes of elements. An answer may have many.
func inEachElement(path string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(path, "[")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString("[]")
		_, path, _ = strings.Cut(rest, "]")
	}
}
